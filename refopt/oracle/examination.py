"""A target, observed once and judged as often as asked: on all probes, or on each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np

from refopt import specification
from refopt.adapters.adapter import TargetError
from refopt.optimizer import Optimizer
from refopt.oracle.explanation import Explanation
from refopt.oracle.identify import FRESH, Search
from refopt.oracle.observation import Hypothesis, Observation, Variation, observe, watched, weigh
from refopt.oracle.reproduction import Reproduction
from refopt.oracle.subject import Subject, asked
from refopt.oracle.verdict import Deviation, Verdict


class Examination:
    """Runs a target through the probes when first asked, and judges it.

    Args:
        name: how verdicts call the target.
        subject: finds it; raises TargetError where it cannot be found.
        spec: the expression to check against.
        dialect: whose form of it.
        dtype: of parameters and gradients.
        seed: of the probes' values.
        timeout: how many seconds a single call of the target may take.
        explain: whether to look for the change of the reference that explains a deviation.

    Raises:
        ValueError: something that was asked makes no sense.
        TypeError: the spec is not an expression, or a hyperparameter in it does not exist.
    """

    def __init__(
        self,
        name: str,
        subject: Callable[[], Subject],
        spec: str,
        *,
        dialect: str | None = None,
        dtype: str = "float32",
        seed: int = 0,
        timeout: float = 20.0,
        explain: bool = True,
    ) -> None:
        self.reference = asked(spec, dialect, dtype, seed, timeout)
        self.name, self.spec, self.dialect, self.dtype = name, spec, dialect, dtype
        self.seed, self.timeout, self.explain = seed, timeout, explain
        self._find = subject

    def verdict(self) -> Verdict:
        """What all probes together say."""
        began = time.perf_counter()
        seen = self.seen
        if isinstance(seen, TargetError):
            return self._verdict(began, outcome="error", error=str(seen))
        return self._verdict(began, **self._judged(seen, self.unvaried))

    def verdict_on(self, probe: str) -> Verdict | None:
        """What one probe says; None where the target does not take it."""
        began = time.perf_counter()
        seen = self.seen
        if isinstance(seen, TargetError):
            return self._verdict(began, outcome="error", error=str(seen))
        if probe not in seen.ids:
            return None
        i = seen.ids.index(probe)
        alone = Observation(seen.dtype, seen.probes[i : i + 1], seen.traces[i : i + 1])
        return self._verdict(began, **self._judged(alone, ()))

    @cached_property
    def subject(self) -> Subject:
        """The target with what is known about it.

        Raises:
            TargetError: it cannot be found.
        """
        return self._find()

    @cached_property
    def variation(self) -> Variation:
        """The hyperparameters that the target is given.

        Raises:
            TargetError: it cannot be found.
        """
        return Variation.of(self.subject, self.reference)

    @cached_property
    def unvaried(self) -> tuple[str, ...]:
        """What no probe varied although nothing pins it, in words.

        Raises:
            TargetError: the target cannot be found.
        """
        return (
            *_unvaried(self.reference, self.variation),
            *_untouched(self.subject, self.variation),
        )

    @cached_property
    def seen(self) -> Observation | TargetError:
        """What the target did, or why it could not be run."""
        try:
            return self._observed(self.seed)
        except TargetError as error:
            return error

    def _verdict(self, began: float, **fields: Any) -> Verdict:
        asked = (self.name, self.spec, self.dialect, self.dtype, self.seed)
        return Verdict(*asked, seconds=time.perf_counter() - began, **fields)

    def _judged(self, seen: Observation, notes: tuple[str, ...]) -> dict[str, Any]:
        precision, (worst, deviation, decided) = weigh(Hypothesis(self.reference), seen)
        notes = (*seen.notes, *notes)
        ran: dict[str, Any] = {"worst": worst, "probes": seen.ids}
        if deviation is None:
            undecided = (
                () if decided else ("elements whose error nothing bounds were not compared",)
            )
            return ran | {"outcome": "conforms", "precision": precision, "notes": notes + undecided}
        explanations, why_none = self._explained if self.explain else ((), ())
        ran |= {"notes": notes + why_none, "explanations": explanations}
        if self.explain and all(math.isinf(each.worst) for each in explanations):
            ran["script"] = self._reproduced(deviation, seen)
        if _has_no_numbers(seen, deviation):
            where = f"step {deviation.step} of probe {deviation.probe!r}"
            reason = f"{where} returned no finite number in any parameter"
            return ran | {"outcome": "error", "error": reason, "worst": None}
        return ran | {"outcome": "deviates", "deviation": deviation}

    def _reproduced(self, deviation: Deviation, seen: Observation) -> str | None:
        asked = (self.name, self.subject, self.variation, self.spec, self.dialect)
        of = Reproduction(*asked, self.reference, self.dtype, self.timeout)
        return of.script(seen.probe(deviation.probe), deviation)

    def _observed(self, seed: int) -> Observation:
        return observe(
            self.subject, self.variation, dtype=self.dtype, seed=seed, timeout=self.timeout
        )

    @cached_property
    def _explained(self) -> tuple[tuple[Explanation, ...], tuple[str, ...]]:
        """What explains the target, and why nothing could."""
        assert isinstance(self.seen, Observation)
        again = partial(
            watched, self.subject, self.variation, dtype=self.dtype, timeout=self.timeout
        )
        search = Search(self.seen, lambda: self._observed(self.seed + FRESH), again)
        try:
            return tuple(search.explanations([self.spec], self.dialect)), ()
        except TargetError as error:
            return (), (f"nothing confirmed an explanation: {error}",)


def _has_no_numbers(seen: Observation, deviation: Deviation) -> bool:
    """Whether a step returned nothing but infinities and NaN."""
    trace = seen.traces[seen.ids.index(deviation.probe)]
    return not any(np.isfinite(p).any() for p in trace.params[deviation.step - 1])


def _unvaried(reference: Optimizer, variation: Variation) -> Iterator[str]:
    """The hyperparameters that no probe varied although nothing pins them."""
    for name, value in reference.hyperparameters().items():
        if name in variation.varied and isinstance(value, bool):
            yield f"{name} stayed {value}; check with {name}={not value} in the spec as well"
        elif name not in variation.varied and name not in variation.fixed:
            yield f"the target takes no {name}: it was expected to be {value!r}"


def _untouched(subject: Subject, variation: Variation) -> Iterator[str]:
    """The arguments of the target that nothing sets although refopt has a name for them.

    One whose value is what the spec pins is in order.
    """
    for part in subject.adapter.parts:
        for argument, default in part.untouched().items():
            is_number = isinstance(default, float | int | tuple)
            names = specification.canonical_names(argument) if is_number and default else ()
            if names and [variation.fixed.get(name) for name in names] != [default]:
                told = "" if argument in names else f": refopt calls it {' and '.join(names)}"
                yield f"the target's argument {argument} stayed {default!r}{told}"
