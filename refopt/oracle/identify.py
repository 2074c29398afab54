"""Explains a target: which optimizer it is, or which line of the reference it has otherwise.

Hypotheses are tried from the simplest on: the reference and its dialects, then single changes of a
line, of the composition or of the stepping code, then pairs. A fast run in float64 sorts out nearly
all of them within a step or two; what is left must stay inside the bounds of every probe, and of
fresh probes with other values.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Final

import numpy as np

from refopt import catalog, specification
from refopt.adapters.adapt import imported
from refopt.adapters.adapter import TargetError
from refopt.arithmetic.bounds import FLOAT32, FORMATS
from refopt.optimizer import Optimizer
from refopt.oracle.compositions import recompositions
from refopt.oracle.edits import Edit, edits, source, written
from refopt.oracle.explanation import Difference, Explanation
from refopt.oracle.identification import Identification, Outcome
from refopt.oracle.observation import (
    Hypothesis,
    Observation,
    Variation,
    observe,
    weigh,
)
from refopt.oracle.pairs import Waypoint, promising, together, waypoints
from refopt.oracle.probes import Probe
from refopt.oracle.run import Trace
from refopt.oracle.stepping import losses, stepping_edits
from refopt.oracle.subject import asked, described, subject_of

FRESH: Final = 1
"""Added to the seed for the probes that confirm an explanation."""


@dataclass(frozen=True)
class Candidate:
    """A hypothesis, and the explanation that it would be."""

    hypothesis: Hypothesis
    spec: str
    dialect: str | None
    differences: tuple[Difference, ...] = ()
    is_changed: bool = False

    def as_explanation(self, worst: float) -> Explanation:
        """It as the explanation of a target that comes as near as that."""
        return Explanation(self.spec, self.dialect, self.differences, worst, self.is_changed)

    def changed(self, hypothesis: Hypothesis, *differences: Difference) -> Candidate:
        """This candidate with further differences."""
        every = (*self.differences, *differences)
        return Candidate(hypothesis, self.spec, self.dialect, every, is_changed=True)


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
        dtype: of parameters and gradients, as in :func:`refopt.check`.
        seed: of the probes' values.
        options: further arguments of the target, passed through as they are.
        timeout: how many seconds a single call of the target may take.

    Raises:
        ValueError: the spec or the dtype does not exist.
    """
    began = time.perf_counter()
    name = target if isinstance(target, str) else described(target)
    expressions = [spec] if spec is not None else families(name)
    references = [asked(expression, None, dtype, seed, timeout) for expression in expressions]

    def identification(outcome: Outcome, **fields: Any) -> Identification:
        return Identification(name, outcome, seconds=time.perf_counter() - began, **fields)

    try:
        found = imported(target) if isinstance(target, str) else target
        subject = subject_of(found, expressions, None, options or {})
        variation = Variation.of(subject, *references)

        def seen(seed: int) -> Observation:
            return observe(subject, variation, dtype=dtype, seed=seed, timeout=timeout)

        search = Search(seen(seed), partial(seen, seed + FRESH))
        explanations = search.explanations(expressions)
    except TargetError as error:
        return identification("error", error=str(error))
    if not explanations:
        closest = search.closest(expressions)
        return identification("unknown", closest=closest, tried=search.tried)
    best, *others = explanations
    return identification(
        "identified", explanation=best, equivalent=tuple(others), tried=search.tried
    )


def families(target: str) -> list[str]:
    """The optimizers that a target may be when nothing is said: its namesake, or any.

    Each comes with and without weight decay of either kind; one without hyperparameters to vary
    is found by its defaults.
    """
    home = specification.home(target)
    kinds = {name: specification.load(name).kind for name in specification.names()}
    found = [name for name, kind in kinds.items() if kind in ("rule", "composition")]
    found = [name for name in ([home[0]] if home else found) if not catalog.goes_around(name)]
    rules = [name for name in found if kinds[name] == "rule"]
    return [*found, *(f"{decay}({rule})" for rule in rules for decay in ("l2", "weight_decay"))]


class Search:
    """Tries hypotheses on what was seen of a target, the simplest first.

    Attributes:
        tried: how many hypotheses were tried so far.
    """

    def __init__(self, seen: Observation, fresh: Callable[[], Observation]) -> None:
        self.seen = seen
        self.fresh = fresh
        self.sieve = Sieve(seen)
        self.tried = 0

    def explanations(
        self, expressions: Sequence[str], dialect: str | None = None
    ) -> list[Explanation]:
        """The explanations of the simplest kind that has any.

        Args:
            expressions: what the target may be.
            dialect: the form that it should be; changes of it come before those of others.
        """
        for stage in self._stages(expressions, dialect):
            found = self._confirmed(stage)
            if found:
                return found
        return []

    def closest(self, expressions: Sequence[str]) -> str:
        """The form that most probes agree with."""
        forms = [form for expression in expressions for form in _forms(expression)]
        nearest = max(forms, key=lambda form: self.sieve.share(form.hypothesis))
        return str(Explanation(nearest.spec, nearest.dialect, (), math.inf))

    def _confirmed(self, stage: Iterable[Candidate]) -> list[Explanation]:
        hits: list[tuple[Candidate, float]] = []
        for candidate in stage:
            self.tried += 1
            if self.sieve.passes(candidate.hypothesis):
                worst = confirmed(candidate.hypothesis, self.seen)
                if worst is not None:
                    hits.append((candidate, worst))
        if not hits:
            return []
        again = self.fresh()
        return [
            candidate.as_explanation(worst)
            for candidate, worst in hits
            if confirmed(candidate.hypothesis, again) is not None
        ]

    def _stages(
        self, expressions: Sequence[str], dialect: str | None
    ) -> Iterator[Iterable[Candidate]]:
        forms = [form for expression in expressions for form in _forms(expression)]
        forms.sort(key=lambda form: form.dialect != dialect)
        yield forms
        if len(expressions) > 1:
            forms.sort(key=lambda form: -self.sieve.share(form.hypothesis))
        yield _changed(forms[0])
        yield chain.from_iterable(map(_changed, forms[1:4]))
        # in 16 bits so many pairs are near that none of them explains anything
        if len(expressions) == 1 and FORMATS[self.seen.dtype].unit <= FLOAT32.unit:
            yield from _changed_twice(forms[0], self.sieve)


def _forms(expression: str) -> Iterator[Candidate]:
    """The canonical form and every dialect that is another."""
    canonical = specification.resolve(expression)
    forms = {str(canonical)}
    yield Candidate(Hypothesis(canonical), expression, None)
    for key in specification.dialect_keys(expression):
        try:
            optimizer = specification.resolve(expression, key)
        except specification.SpecificationError:  # it lacks a hyperparameter that is pinned
            continue
        if str(optimizer) not in forms:
            forms.add(str(optimizer))
            words = specification.differences(expression, key)
            yield Candidate(
                Hypothesis(optimizer), expression, key, tuple(_between(canonical, optimizer, words))
            )


def _between(canonical: Optimizer, form: Optimizer, words: str) -> Iterator[Difference]:
    """A dialect as differences of the reference: lines of the rule, and the composition."""
    ours, theirs = source(canonical.layers[0].function), source(form.layers[0].function)
    before = [written(statement) for statement in ours.statements]
    after = [written(statement) for statement in theirs.statements]
    if before != after:
        removed = [i for i, line in enumerate(before) if line not in after]
        added = [line for line in after if line not in before]
        first = ours.statements[removed[0]].lineno if removed else 1
        yield Difference(
            ours.file,
            ours.first_line + first - 1,
            "\n".join(before[i] for i in removed),
            "\n".join(added),
            words,
        )
    if [layer.name for layer in canonical.layers[1:]] != [layer.name for layer in form.layers[1:]]:
        yield Difference(
            "expression",
            1,
            str(canonical),
            str(form),
            "the composition" if before != after else words,
        )


def _changed(candidate: Candidate) -> Iterator[Candidate]:
    """A form with one change."""
    optimizer = candidate.hypothesis.optimizer
    for edit in all_edits(optimizer):
        yield candidate.changed(Hypothesis(optimizer, edit.apply), _difference(edit))
    for words, reload in losses(optimizer).items():
        lost = Difference("saving and loading", 0, "", "", words)
        yield candidate.changed(Hypothesis(optimizer, reload=reload), lost)


def _difference(edit: Edit) -> Difference:
    return Difference(edit.file, edit.line, edit.before, edit.after, edit.description)


def all_edits(optimizer: Optimizer) -> Iterator[Edit]:
    """Every single change: of a line of the math, of the composition, of the stepping code."""
    return chain(edits(optimizer), recompositions(optimizer), stepping_edits())


def _changed_twice(candidate: Candidate, sieve: Sieve) -> Iterator[Iterable[Candidate]]:
    """A form with two changes, the likelier ones first."""
    optimizer = candidate.hypothesis.optimizer
    probe, trace = sieve.runs[0]
    for tier in promising(optimizer, candidate.hypothesis.at(probe), probe, trace):
        yield (
            candidate.changed(
                Hypothesis(optimizer, partial(together, several)), *map(_difference, several)
            )
            for several in tier
        )


def confirmed(hypothesis: Hypothesis, seen: Observation) -> float | None:
    """The largest error as a fraction of its bound, or None where it leaves the bound."""
    precision, distance = weigh(hypothesis, seen)
    return None if precision is None else distance.worst


class Sieve:
    """Sorts out hypotheses that a target does not even roughly follow, in plain float64.

    Errors up to a thousandth of what a step moves pass; the bounds decide about what is left.
    """

    def __init__(self, seen: Observation) -> None:
        runs = zip(seen.probes, seen.traces, strict=True)
        self.runs = [(probe, trace) for probe, trace in runs if not probe.rests]
        self.waypoints = {probe.id: waypoints(probe, trace) for probe, trace in self.runs}
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
        params = [np.asarray(p, np.float64) for p in probe.params]
        state = optimizer.init(params)
        for step, (gradients, rate) in enumerate(zip(probe.gradients, trace.rates, strict=False)):
            grads = [None if g is None else np.asarray(g, np.float64) for g in gradients]
            params, state = optimizer.step(params, grads, state, lr=base.lr * rate)
            if not all(map(Waypoint.is_near, self.waypoints[probe.id][step], params)):
                return False
            if step + 1 == trace.resumed_after:
                state = hypothesis.reload(state, optimizer.init(params))
        return True
