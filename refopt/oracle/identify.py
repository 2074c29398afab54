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
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Final

import numpy as np

from refopt import catalog, specification
from refopt.adapters.adapt import imported
from refopt.adapters.adapter import TargetError
from refopt.arithmetic.bounds import FLOAT32, FORMATS, modes
from refopt.hyperparameters import DOMAINS
from refopt.optimizer import Optimizer
from refopt.oracle.alternatives import COMMON
from refopt.oracle.circumstances import Again, hanging_on
from refopt.oracle.compositions import recompositions
from refopt.oracle.crossings import crossings
from refopt.oracle.edited import source
from refopt.oracle.edits import Edit, LineEdit, edits
from refopt.oracle.explanation import Difference, Explanation
from refopt.oracle.gates import gates
from refopt.oracle.identification import Identification, Outcome
from refopt.oracle.observation import (
    Hypothesis,
    Observation,
    Variation,
    astray,
    measure,
    observe,
    share_bounded,
    watched,
    weigh,
)
from refopt.oracle.pairs import Screen, promising, together
from refopt.oracle.reproduction import Reproduction
from refopt.oracle.saving import losses
from refopt.oracle.sieve import DOES_NOT_RUN, Sieve, TimeIsOverError, quiet
from refopt.oracle.stepping import stepping_edits
from refopt.oracle.subject import asked, described, subject_of
from refopt.oracle.wording import written

FRESH: Final = 1
"""Added to the seed for the probes that confirm an explanation."""

PATIENCE: Final = 12.0
"""Seconds of processor time that pairs of changes are tried for."""

NEIGHBOURS: Final = 3
"""The forms nearest to a target whose changes are tried as well."""

MOST: Final = 0.5
"""The share of the elements in question that a change has to bound."""

LIKELIER: Final = (*COMMON, "composition", "form", "hyperparameter", "stepping")
"""The kinds of edits of which the likelier ones are the better explanation."""


@dataclass(frozen=True)
class Candidate:
    """A hypothesis, and the explanation that it would be; of equal ones those of low rank first."""

    hypothesis: Hypothesis
    spec: str
    dialect: str | None
    differences: tuple[Difference, ...] = ()
    edits: tuple[Edit, ...] = ()
    is_changed: bool = False
    rank: int = 0

    def as_explanation(self, worst: float) -> Explanation:
        """It as the explanation of a target that comes as near as that."""
        every = (*self.differences, *map(_difference, self.edits))
        return Explanation(self.spec, self.dialect, every, worst, self.is_changed)

    def changed(self, hypothesis: Hypothesis, *differences: Difference) -> Candidate:
        """This candidate with further differences."""
        every = (*self.differences, *differences)
        return replace(self, hypothesis=hypothesis, differences=every, is_changed=True)

    def with_edits(self, *several: Edit) -> Candidate:
        """This candidate with edits."""
        apply = several[0].apply if len(several) == 1 else partial(together, several)
        hypothesis = Hypothesis(self.hypothesis.optimizer, apply)
        rank = max(LIKELIER.index(e.kind) if e.kind in LIKELIER else len(LIKELIER) for e in several)
        return replace(self, hypothesis=hypothesis, edits=several, is_changed=True, rank=rank)


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

    Single changes are all tried; pairs of them for at most :data:`PATIENCE` seconds.

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

        again = partial(watched, subject, variation, dtype=dtype, timeout=timeout)
        search = Search(seen(seed), partial(seen, seed + FRESH), again)
        home = specification.home(name)
        explanations = search.explanations(expressions, home and home[1])
    except TargetError as error:
        return identification("error", error=str(error))
    if not explanations:
        nearest = search.closest(expressions)
        reference = nearest.hypothesis.optimizer
        _, (_, deviation, _) = weigh(nearest.hypothesis, search.seen, to_the_end=False)
        asked_for = (name, subject, variation, nearest.spec, nearest.dialect)
        of = Reproduction(*asked_for, reference, dtype, timeout)
        return identification(
            "unknown",
            closest=str(Explanation(nearest.spec, nearest.dialect, (), math.inf)),
            script=deviation and of.script(search.seen.probe(deviation.probe), deviation),
            tried=search.sieve.tried,
        )
    best, *others = explanations
    return identification(
        "identified", explanation=best, equivalent=tuple(others), tried=search.sieve.tried
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
        telling: what was seen, that first which a changed form has to explain.
        is_over: whether the time for pairs of changes ended before all were tried.
    """

    def __init__(self, seen: Observation, fresh: Callable[[], Observation], again: Again) -> None:
        self.seen = self.telling = seen
        self.fresh = fresh
        self.again = again
        self.sieve = Sieve(seen)
        self.is_over = False

    def explanations(
        self, expressions: Sequence[str], dialect: str | None = None
    ) -> list[Explanation]:
        """The explanations of the simplest kind that has any.

        Args:
            expressions: what the target may be.
            dialect: the form that it should be; changes of it come before those of others.
        """
        forms = [form for expression in expressions for form in _forms(expression, dialect)]
        forms.sort(key=lambda form: form.dialect != dialect)
        stage: Iterable[Candidate]
        for stage in (forms, chain.from_iterable(map(self._at_its_own_rate, forms))):
            found = self._confirmed(stage)
            if found:
                return found
        asked = len(expressions) == 1
        nearest = sorted(forms[asked:], key=self._likeness, reverse=True)
        first, *others = [*forms[:asked], *nearest]
        self.telling = self.seen.led_by(astray(first.hypothesis, self.seen))
        for stage in (
            self._changed(first),
            self._gated(first),
            chain.from_iterable(map(self._changed, others[:NEIGHBOURS])),
        ):
            found = self._confirmed(stage)
            if found:
                return found
        if not asked:
            return []
        hanging = hanging_on(first.hypothesis, self.seen, self.again)
        if hanging is not None:
            return [first.changed(first.hypothesis, hanging).as_explanation(math.inf)]
        # in 16 bits so many pairs are near that none of them explains anything
        if FORMATS[self.seen.dtype].unit > FLOAT32.unit:
            return []
        for stage in self._changed_twice(first):
            found = self._confirmed(stage)
            if found or self.is_over:
                return found
        return []

    def closest(self, expressions: Sequence[str]) -> Candidate:
        """The form that most probes agree with."""
        forms = [form for expression in expressions for form in _forms(expression)]
        return max(forms, key=self._likeness)

    def _likeness(self, form: Candidate) -> tuple[float, float]:
        """The share of the probes that a form agrees with, then that of the hyperparameters."""
        taken = self.seen.probes[0].hyperparameters.keys()
        own = form.hypothesis.optimizer.hyperparameters().keys()
        return self.sieve.share(form.hypothesis), len(taken & own) / max(1, len(taken | own))

    def _confirmed(self, stage: Iterable[Candidate]) -> list[Explanation]:
        hits: list[tuple[Candidate, float]] = []
        try:
            with quiet():
                for candidate in stage:
                    if self.sieve.passes(candidate.hypothesis):
                        worst = confirmed(candidate.hypothesis, self.telling)
                        if worst is not None:
                            hits.append((candidate, worst))
        except TimeIsOverError:
            self.is_over = True
        if not hits:
            return []
        again = self.fresh()
        if not self.telling.probes[0].rests:  # where nothing shows, other values show no more
            again = again.without_rest()
        hits.sort(key=lambda hit: hit[0].rank)
        return [
            candidate.as_explanation(worst)
            for candidate, worst in hits
            if confirmed(candidate.hypothesis, again) is not None
        ]

    def _at_its_own_rate(self, form: Candidate) -> Iterator[Candidate]:
        """A form at the learning rate that the first step tells of a target that takes none.

        People choose numbers of few digits, and more do not show in single precision.
        """
        probe, trace = self.seen.probes[0], self.seen.traces[0]
        if "lr" in probe.hyperparameters:
            return
        optimizer = form.hypothesis.at(probe)
        params = [p.astype(np.float64) for p in probe.params]
        grads = [g if g is None else g.astype(np.float64) for g in probe.gradients[0]]
        steps = optimizer.step(params, grads, optimizer.init(params))[0], trace.params[0]
        expected, got = (
            np.concatenate([np.ravel(p - q) for p, q in zip(params, new, strict=True)])
            for new in steps
        )
        lr = float(f"{optimizer.lr * np.median((got / expected)[expected != 0]):.3g}")
        if lr in DOMAINS["lr"] and lr != optimizer.lr:
            words = f"it is {lr:g}; pin it in the spec: lr={lr:g}"
            own = Difference.of("learning rate", 0, "", "", words)
            yield form.changed(Hypothesis(replace(form.hypothesis.optimizer, lr=lr)), own)

    def _changed(self, form: Candidate) -> Iterator[Candidate]:
        """A form with one change."""
        optimizer, screen = form.hypothesis.optimizer, Screen.of(form.hypothesis, self.sieve)
        for edit in all_edits(optimizer):
            if not isinstance(edit, LineEdit) or screen.passes((edit,)):
                yield form.with_edits(edit)
        for words, reload in losses(optimizer).items():
            lost = Difference.of("saving and loading", 0, "", "", words)
            yield form.changed(Hypothesis(optimizer, reload=reload), lost)

    def _gated(self, form: Candidate) -> Iterator[Candidate]:
        """A form with one change that holds only where a hyperparameter is zero, or is not."""
        for gate, sieve in gates(form.hypothesis, self.sieve):
            screen = Screen.of(form.hypothesis, sieve)
            for edit in all_edits(form.hypothesis.optimizer):
                is_near = not isinstance(edit, LineEdit) or screen.passes((edit,))
                if is_near and sieve.passes(form.with_edits(edit).hypothesis):
                    yield form.with_edits(gate.around(edit))
            self.sieve.tried += sieve.tried

    def _changed_twice(self, form: Candidate) -> Iterator[Iterator[Candidate]]:
        """A form with two changes, the likelier ones first, as long as there is time."""
        self.sieve.ends = time.process_time() + PATIENCE
        for tier in promising(form.hypothesis, self.sieve):
            yield (form.with_edits(*several) for several in tier)


def _forms(expression: str, own: str | None = None) -> Iterator[Candidate]:
    """The canonical form and every dialect that is another, under one's own name for it if any."""
    canonical = specification.resolve(expression)
    forms = {str(canonical)}
    yield Candidate(Hypothesis(canonical), expression, None)
    for key in sorted(specification.dialect_keys(expression), key=lambda key: key != own):
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
        yield Difference.of(
            ours.file,
            ours.first_line + first - 1,
            "\n".join(before[i] for i in removed),
            "\n".join(added),
            words,
        )
    if [layer.name for layer in canonical.layers[1:]] != [layer.name for layer in form.layers[1:]]:
        yield Difference.of(
            "expression",
            1,
            str(canonical),
            str(form),
            "the composition" if before != after else words,
        )


def _difference(edit: Edit) -> Difference:
    return Difference.of(edit.file, edit.line, edit.before, edit.after, edit.description)


def all_edits(optimizer: Optimizer) -> Iterator[Edit]:
    """Every single change: of a line of the math, of the composition, of the stepping code."""
    return chain(
        edits(optimizer), recompositions(optimizer), crossings(optimizer), stepping_edits()
    )


def confirmed(hypothesis: Hypothesis, seen: Observation) -> float | None:
    """The largest error as a fraction of its bound, or None where it leaves the bound.

    Where nothing bounds an error, everything stays inside: such a change explains nothing, unless
    it bounds most of the elements in which the target is not what is changed.
    """
    ways = modes(FORMATS[seen.dtype])
    *_, widest = ways.values()
    try:
        if measure(hypothesis, seen.first(), widest).deviation is not None:
            return None  # nor does it stay inside in a stricter mode
        precision, distance = weigh(hypothesis, seen, to_the_end=False)
        if precision is None:
            return None
        if not distance.decided and share_bounded(hypothesis, seen, ways[precision]) < MOST:
            return None
    except DOES_NOT_RUN:
        return None
    return distance.worst
