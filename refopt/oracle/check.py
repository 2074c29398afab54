"""The main job: does a target conform to the specification?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from refopt.adapters.adapt import imported
from refopt.adapters.adapter import TargetError
from refopt.optimizer import Optimizer
from refopt.oracle.explanation import Explanation
from refopt.oracle.identify import FRESH, Search
from refopt.oracle.observation import (
    Hypothesis,
    Observation,
    Variation,
    observe,
    weigh,
)
from refopt.oracle.subject import Subject, asked, described, subject_of
from refopt.oracle.verdict import Deviation, Verdict


def check(
    target: Any,
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    timeout: float = 20.0,
    name: str | None = None,
    explain: bool = True,
) -> Verdict:
    """Checks a target against the specification.

    Args:
        target: a factory, a framework's optimizer class, function or instance, or the name of one:
            ``"torch.optim:AdamW"``, ``"path/to/file.py:MyAdam"``, ``"exec:./program --fast"``.
        spec: a name or a composition, ``"gradient_accumulation(sgd, k=4)"``; what it pins stays,
            all other hyperparameters are varied.
        dialect: whose form of it; without one the canonical form.
        dtype: ``"float32"`` or ``"float64"``.
        seed: of the probes' values.
        options: further arguments of the target, passed through as they are.
        timeout: how many seconds a single call of the target may take.
        name: how the verdict calls the target.
        explain: whether to look for the change of the reference that explains a deviation.

    Raises:
        ValueError: the spec, dialect or dtype does not exist, or a number makes no sense.
        TypeError: the spec is not an expression, or a hyperparameter in it does not exist.
    """

    def subject() -> Subject:
        found = imported(target) if isinstance(target, str) else target
        return subject_of(found, [spec], dialect, options or {})

    name = name or (target if isinstance(target, str) else described(target))
    return judged(
        name,
        subject,
        spec,
        dialect=dialect,
        dtype=dtype,
        seed=seed,
        timeout=timeout,
        explain=explain,
    )


def judged(
    name: str,
    subject: Callable[[], Subject],
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    timeout: float = 20.0,
    explain: bool = True,
) -> Verdict:
    """The verdict on a subject, or on why there is none: as :func:`check` has it."""
    reference = asked(spec, dialect, dtype, seed, timeout)
    began = time.perf_counter()

    def verdict(**fields: Any) -> Verdict:
        seconds = time.perf_counter() - began
        return Verdict(name, spec, dialect, dtype, seed, seconds=seconds, **fields)

    def observed(seed: int) -> Observation:
        return observe(found, variation, dtype=dtype, seed=seed, timeout=timeout)

    try:
        found = subject()
        variation = Variation.of(found, reference)
        seen = observed(seed)
    except TargetError as error:
        return verdict(outcome="error", error=str(error))
    notes = (*seen.notes, *_unvaried(reference, variation))
    precision, (worst, deviation, decided) = weigh(Hypothesis(reference), seen)
    ran: dict[str, Any] = {"worst": worst, "probes": seen.ids}
    if deviation is None:
        undecided = () if decided else ("elements whose error nothing bounds were not compared",)
        return verdict(outcome="conforms", precision=precision, notes=notes + undecided, **ran)
    explanations: list[Explanation] = []
    if explain:
        search = Search(seen, partial(observed, seed + FRESH))
        try:
            explanations = search.explanations([spec], dialect)
        except TargetError as error:
            notes += (f"nothing confirmed an explanation: {error}",)
    ran |= {"notes": notes, "explanations": tuple(explanations)}
    if _has_no_numbers(seen, deviation):
        where = f"step {deviation.step} of probe {deviation.probe!r}"
        reason = f"{where} returned no finite number in any parameter"
        return verdict(outcome="error", error=reason, **ran | {"worst": None})
    return verdict(outcome="deviates", deviation=deviation, **ran)


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
