"""Explains a target: which optimizer it is, or which line of the reference it has otherwise.

Hypotheses are tried from the simplest on: the reference and its dialects, then single changes of a
line, of the composition or of the stepping code, then pairs. A fast run in float64 sorts out nearly
all of them within a step or two; what is left must stay inside the bounds of every probe, and of
fresh probes with other values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations
from typing import Any, Final

import numpy as np

from refopt import specification
from refopt.adapters.adapt import imported
from refopt.adapters.adapter import TargetError
from refopt.optimizer import Optimizer
from refopt.oracle.compositions import recompositions
from refopt.oracle.edits import Edit, edits
from refopt.oracle.identification import Difference, Explanation, Identification
from refopt.oracle.observation import (
    PRECISIONS,
    Hypothesis,
    Observation,
    Variation,
    measure,
    observe,
)
from refopt.oracle.probes import Probe
from refopt.oracle.run import Trace
from refopt.oracle.stepping import losses, stepping_edits
from refopt.oracle.subject import described, subject_of

FRESH: Final = 1
"""Added to the seed for the probes that confirm an explanation."""


@dataclass(frozen=True)
class Candidate:
    """A hypothesis, and the explanation that it would be."""

    hypothesis: Hypothesis
    spec: str
    dialect: str | None
    differences: tuple[Difference, ...] = ()


def identify(
    target: Any,
    spec: str | None = None,
    *,
    dtype: str = "float32",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    timeout: float = 20.0,
) -> Identification:
    """Says which optimizer a target is, or how it differs from the one it should be.

    Args:
        target: as in :func:`refopt.check`.
        spec: what it should be; without one every optimizer of the catalog is tried.
        dtype: ``"float32"`` or ``"float64"``.
        seed: of the probes' values.
        options: further arguments of the target, passed through as they are.
        timeout: how many seconds a single call of the target may take.

    Raises:
        ValueError: the spec or the dtype does not exist.
    """
    began = time.perf_counter()
    name = target if isinstance(target, str) else described(target)
    expressions = [spec] if spec is not None else families()
    references = [specification.resolve(expression) for expression in expressions]
    try:
        found = imported(target) if isinstance(target, str) else target
        subject = subject_of(found, expressions, None, options or {})
        variation = Variation.of(subject, *references)

        def seen(seed: int) -> Observation:
            return observe(subject, variation, dtype=dtype, seed=seed, timeout=timeout)

        explanations, tried = explained(expressions, seen(seed), partial(seen, seed + FRESH))
    except TargetError as error:
        return Identification(name, error=str(error), seconds=time.perf_counter() - began)
    return Identification(
        name,
        explanation=explanations[0] if explanations else None,
        equivalent=tuple(explanations[1:]),
        tried=tried,
        seconds=time.perf_counter() - began,
    )


def families() -> list[str]:
    """The optimizers that a target is compared with when nothing is said about it."""
    kinds = {name: specification.load(name).kind for name in specification.names()}
    return [name for name, kind in kinds.items() if kind in ("rule", "composition")]


def explained(
    expressions: Sequence[str], seen: Observation, fresh: Callable[[], Observation]
) -> tuple[list[Explanation], int]:
    """The explanations of the simplest kind that has any, and how many hypotheses were tried."""
    tried = 0
    sieve = Sieve(seen)
    for stage in _stages(expressions, sieve):
        hits = []
        for candidate in stage:
            tried += 1
            if sieve.passes(candidate.hypothesis):
                worst = confirmed(candidate.hypothesis, seen)
                if worst is not None:
                    hits.append((candidate, worst))
        if hits:
            again = fresh()
            kept = [
                Explanation(c.spec, c.dialect, c.differences, worst)
                for c, worst in hits
                if confirmed(c.hypothesis, again) is not None
            ]
            if kept:
                return kept, tried
    return [], tried


def _stages(expressions: Sequence[str], sieve: Sieve) -> Iterator[Iterable[Candidate]]:
    known = [candidate for expression in expressions for candidate in _forms(expression)]
    yield known
    nearest = known[:1]
    if len(expressions) > 1:
        nearest = sorted(known, key=lambda candidate: -sieve.share(candidate.hypothesis))[:3]
    yield chain.from_iterable(map(_changed, nearest))
    if len(expressions) == 1:
        yield chain.from_iterable(map(_changed, known[1:]))
    yield chain.from_iterable(map(_changed_twice, nearest[:1]))


def _forms(expression: str) -> Iterator[Candidate]:
    """The canonical form and every dialect that is another."""
    canonical = specification.resolve(expression)
    forms = {str(canonical)}
    yield Candidate(Hypothesis(canonical), expression, None)
    for key in specification.dialect_keys(expression):
        optimizer = specification.resolve(expression, key)
        if str(optimizer) not in forms:
            forms.add(str(optimizer))
            yield Candidate(Hypothesis(optimizer), expression, key)


def _changed(candidate: Candidate) -> Iterator[Candidate]:
    """A form with one change."""
    optimizer = candidate.hypothesis.optimizer
    for edit in all_edits(optimizer):
        hypothesis = Hypothesis(optimizer, edit.apply)
        yield replace(candidate, hypothesis=hypothesis, differences=(Difference.of(edit),))
    for words, reload in losses(optimizer).items():
        difference = Difference("saving and loading", 0, "", "", words)
        hypothesis = Hypothesis(optimizer, reload=reload)
        yield replace(candidate, hypothesis=hypothesis, differences=(difference,))


def all_edits(optimizer: Optimizer) -> Iterator[Edit]:
    """Every single change: of a line of the math, of the composition, of the stepping code."""
    return chain(edits(optimizer), recompositions(optimizer), stepping_edits())


def _changed_twice(candidate: Candidate) -> Iterator[Candidate]:
    """A form with two changes that are each likely."""
    optimizer = candidate.hypothesis.optimizer
    for first, second in combinations(list(edits(optimizer)), 2):
        if (first.file, first.line) != (second.file, second.line):
            hypothesis = Hypothesis(optimizer, partial(_both, first, second))
            both = (Difference.of(first), Difference.of(second))
            yield replace(candidate, hypothesis=hypothesis, differences=both)


def _both(first: Edit, second: Edit, optimizer: Optimizer) -> Optimizer:
    return second.apply(first.apply(optimizer))


def confirmed(hypothesis: Hypothesis, seen: Observation) -> float | None:
    """The largest error as a fraction of its bound, or None where it leaves the bound."""
    for precision in PRECISIONS:
        worst, deviation, decided = measure(hypothesis, seen, precision)
        if deviation is None and decided:
            return worst
    return None


class Sieve:
    """Sorts out hypotheses that a target does not even roughly follow, in plain float64.

    Errors up to a thousandth of what a step moves pass; the bounds decide about what is left.
    """

    def __init__(self, seen: Observation) -> None:
        self.runs = list(zip(seen.probes, seen.traces, strict=True))
        self._bases: dict[tuple[int, str], Optimizer] = {}

    def passes(self, hypothesis: Hypothesis) -> bool:
        """Whether the target follows a hypothesis in every probe."""
        return all(self._follows(hypothesis, probe, trace) for probe, trace in self.runs)

    def share(self, hypothesis: Hypothesis) -> float:
        """In how many of the probes it does, from 0 to 1."""
        return float(np.mean([self._follows(hypothesis, p, trace) for p, trace in self.runs]))

    def _base(self, hypothesis: Hypothesis, probe: Probe) -> Optimizer:
        key = id(hypothesis.optimizer), probe.id
        if key not in self._bases:
            self._bases[key] = hypothesis.at(probe)
        return self._bases[key]

    def _follows(self, hypothesis: Hypothesis, probe: Probe, trace: Trace) -> bool:
        try:
            return self._stays_close(hypothesis, probe, trace)
        except (ArithmeticError, ValueError, TypeError, AttributeError, IndexError):
            return False  # a changed line may not even run

    def _stays_close(self, hypothesis: Hypothesis, probe: Probe, trace: Trace) -> bool:
        base = self._base(hypothesis, probe)
        optimizer = hypothesis.change(base)
        start = [np.asarray(p, np.float64) for p in probe.params]
        params = start
        state = optimizer.init(params)
        for step, (gradients, rate) in enumerate(zip(probe.gradients, trace.rates, strict=True)):
            grads = [None if g is None else np.asarray(g, np.float64) for g in gradients]
            params, state = optimizer.step(params, grads, state, lr=base.lr * rate)
            for got, expected, first in zip(trace.params[step], params, start, strict=True):
                slack = 1e-3 * np.abs(got - first) + 1e-5 * np.abs(first)
                close = np.abs(got - expected) <= slack
                if not np.all(close | ~(np.isfinite(got) | np.isfinite(expected))):
                    return False
            if step + 1 == trace.resumed_after:
                state = hypothesis.reload(state)
        return True
