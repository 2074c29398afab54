"""Two changes at once, for targets that no single change explains: the likelier ones first.

There are tens of thousands of them, so each is first tried on a few steps of one parameter, with
functions whose lines are exchanged in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Final

import numpy as np

from refopt import catalog
from refopt.arithmetic.floats import FLOATS
from refopt.layers import Leaf, OnGradients, ParameterState, State
from refopt.optimizer import Optimizer
from refopt.oracle.alternatives import COMMON
from refopt.oracle.compositions import recompositions
from refopt.oracle.edited import Change, exchangeable
from refopt.oracle.edits import Edit, LineEdit, double_edits, edits
from refopt.oracle.elementwise import is_elementwise, is_plain
from refopt.oracle.observation import Hypothesis
from refopt.oracle.probes import Probe
from refopt.oracle.run import Trace
from refopt.oracle.sieve import DOES_NOT_RUN, Sieve, Waypoint, waypoints
from refopt.oracle.stepping import stepping_edits
from refopt.xp import namespace

STEPS: Final = 3
"""The steps that the first trial takes."""

Several = tuple[Edit, ...]
"""Edits that are made one after the other."""


def together(several: Several, optimizer: Optimizer) -> Optimizer:
    """The optimizer with all of the edits.

    Raises:
        ValueError: one has taken away the line of another.
    """
    for edit in several:
        optimizer = edit.apply(optimizer)
    return optimizer


def promising(hypothesis: Hypothesis, sieve: Sieve) -> Iterator[Iterator[Several]]:
    """Two changes that a target roughly follows at first, tier by tier, the likelier ones first.

    Args:
        hypothesis: what is changed.
        sieve: what the target did.
    """
    optimizer, screen = hypothesis.optimizer, Screen.of(hypothesis, sieve)
    lines = list(edits(optimizer))
    near = [edit for edit in recompositions(optimizer) if edit.kind != "rule"]
    yield filter(screen.passes, ((edit,) for edit in double_edits(optimizer)))
    yield filter(screen.passes, _of_lines(lines, _has_guard))
    stacked = [edit for edit in near if edit.kind in ("composition", "form")]
    plain = [edit for edit in stacked if _is_in_catalog(edit.after)]
    yield filter(screen.passes, combinations(plain, 2))
    yield filter(screen.passes, _of_lines(lines, _are_likely))
    yield _of_composition_and_line(near, optimizer, screen)
    outer = [edit for edit in near if edit.kind in ("hyperparameter", "form")]
    yield filter(screen.passes, ((a, b) for a in outer for b in near if a is not b))
    yield _of_change_and_stepping((*lines, *near), hypothesis, sieve)
    yield filter(screen.passes, _of_lines(lines, lambda a, b: not _are_likely(a, b)))


def _is_in_catalog(expression: str) -> bool:
    try:
        catalog.build(expression)
    except (TypeError, ValueError):
        return False
    return True


def _has_guard(first: Edit, second: Edit) -> bool:
    """Whether one of two changes shows only beside another."""
    return "guard" in (first.kind, second.kind)


def _are_likely(first: Edit, second: Edit) -> bool:
    return first.kind == second.kind or (first.kind in COMMON and second.kind in COMMON)


def _of_lines(lines: Sequence[Edit], accepts: Callable[[Edit, Edit], bool]) -> Iterator[Several]:
    for first, second in combinations(lines, 2):
        elsewhere = (first.file, first.line) != (second.file, second.line)
        if elsewhere and accepts(first, second):
            yield first, second


def _of_composition_and_line(
    compositions: Iterable[Edit], optimizer: Optimizer, outer: Screen
) -> Iterator[Several]:
    for first in compositions:
        screen = Screen(first.apply(outer.optimizer), outer.trial, outer.sieve)
        changed = first.apply(optimizer)
        within = edits(changed)
        if first.kind == "form":
            within = chain(within, double_edits(changed))
        for second in within:
            if (first.kind == "form" or second.kind in COMMON) and screen.passes((second,)):
                yield first, second


def _of_change_and_stepping(
    changes: Iterable[Edit], hypothesis: Hypothesis, sieve: Sieve
) -> Iterator[Several]:
    """Judged by the elements that the change of the stepping code leaves alone."""
    probe, trace = sieve.runs[0]
    base = hypothesis.at(probe)
    trial = Trial.of(base, probe, trace, every=True)
    right = trial.course(base)
    left_alone = {
        edit: [a == b for a, b in zip(right, trial.course(edit.apply(base)), strict=True)]
        for edit in stepping_edits()
    }
    seen = [waypoint for step in trial.seen for waypoint in step]
    for change in changes:
        try:
            course = trial.course(change.apply(base))
        except DOES_NOT_RUN:
            continue
        astray = [~place.is_near_at(theta) for place, theta in zip(seen, course, strict=True)]
        for edit, same in left_alone.items():
            if not any(np.any(a & b) for a, b in zip(astray, same, strict=True)):
                yield change, edit


@dataclass(frozen=True)
class Trial:
    """The first steps of a run in float64, of one parameter unless all act together.

    Attributes:
        start: the parameters.
        gradients: of each step; none is missing.
        rates: the learning rate of each step.
        seen: the target's parameters after each step.
    """

    start: list[np.ndarray]
    gradients: list[list[np.ndarray]]
    rates: list[float]
    seen: list[list[Waypoint]]

    @classmethod
    def of(cls, base: Optimizer, probe: Probe, trace: Trace, every: bool = False) -> Trial:
        """The trial of an optimizer on the largest parameter of a probe, or on every one."""
        positions: Sequence[int] = range(len(probe.params))
        if not every and not any(isinstance(layer, OnGradients) for layer in base.layers):
            positions = [max(positions, key=lambda i: probe.params[i].size)]

        def chosen(arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
            return [np.asarray(arrays[i], np.float64) for i in positions]

        return cls(
            chosen(probe.params),
            [chosen(gradients) for gradients in probe.gradients[:STEPS]],
            [base.lr * rate for rate in trace.rates[:STEPS]],
            [[step[i] for i in positions] for step in waypoints(probe, trace)[:STEPS]],
        )

    def course(self, optimizer: Optimizer) -> list[np.ndarray]:
        """Where an optimizer takes the parameters: those of the first step, of the second, ..."""
        params, state = self.start, optimizer.init(self.start)
        places: list[np.ndarray] = []
        for gradients, lr in zip(self.gradients, self.rates, strict=True):
            params, state = optimizer.step(params, gradients, state, lr=lr)
            places += params
        return places

    def follows(self, optimizer: Optimizer, state: State) -> bool:
        """Whether the target roughly follows an optimizer, from its state before the first step."""
        thetas = self.start
        states = list(state.values())
        for t, (gradients, lr, seen) in enumerate(
            zip(self.gradients, self.rates, self.seen, strict=True), 1
        ):
            leaves = [
                Leaf(name, _XP, theta, g, own | {"t": t}, own, lr, t)
                for name, theta, g, own in zip(state, thetas, gradients, states, strict=True)
            ]
            optimizer._pass(leaves)  # a step without its checks takes half the time
            thetas = [leaf.theta for leaf in leaves]
            states = [leaf.state for leaf in leaves]
            if not all(map(Waypoint.is_near, seen, thetas)):
                return False
        return True


_XP: Final = namespace(np.zeros(1))


@dataclass(frozen=True)
class Element:
    """A trial of a single element, in Python's own numbers.

    Attributes:
        start: the parameter.
        gradients: of each step.
        rates: the learning rate of each step.
        seen: where the target took the parameter in each step, and how far from there is near.
    """

    start: float
    gradients: list[float]
    rates: list[float]
    seen: list[tuple[float, float]]

    @classmethod
    def of(cls, trial: Trial) -> Element | None:
        """An element of a trial; None where the target went to infinity, whence NumPy goes on."""
        at = trial.start[0].size // 2
        seen = [(float(s[0].value.flat[at]), float(s[0].slack.flat[at])) for s in trial.seen]
        if len(trial.start) > 1 or not all(map(math.isfinite, chain.from_iterable(seen))):
            return None
        gradients = [float(gradients[0].flat[at]) for gradients in trial.gradients]
        return cls(float(trial.start[0].flat[at]), gradients, trial.rates, seen)

    def rules_out(self, optimizer: Optimizer, state: ParameterState) -> bool:
        """Whether the target surely does not follow an optimizer that treats elements alone."""
        theta = self.start
        steps = zip(self.gradients, self.rates, self.seen, strict=True)
        try:
            for t, (g, lr, (value, slack)) in enumerate(steps, 1):
                leaf = Leaf("0", FLOATS, theta, g, state | {"t": t}, state, lr, t)
                optimizer._pass([leaf])
                theta, state = leaf.theta, leaf.state
                if not abs(theta - value) <= slack:
                    return not isinstance(theta, complex)
        except DOES_NOT_RUN:  # or NumPy has an infinity
            pass
        return False


class Screen:
    """Sorts out changes of an optimizer that a target does not follow in the first steps."""

    def __init__(self, optimizer: Optimizer, trial: Trial, sieve: Sieve) -> None:
        self.optimizer, self.trial, self.sieve = optimizer, trial, sieve
        self.state = optimizer.init(trial.start)
        self.exchangeable, self.functions = exchangeable(optimizer)
        self.element = Element.of(trial) if is_elementwise(optimizer) else None
        if self.element is not None:
            self.numbers: ParameterState = {"t": 0}
            for layer in optimizer.layers:
                self.numbers |= layer.initial_state(FLOATS, self.element.start)

    @classmethod
    def of(cls, hypothesis: Hypothesis, sieve: Sieve) -> Screen:
        """The screen for the changes of a hypothesis, by the first probe of a sieve."""
        probe, trace = sieve.runs[0]
        base = hypothesis.at(probe)
        return cls(base, Trial.of(base, probe, trace), sieve)

    def passes(self, several: Several) -> bool:
        """Whether the target roughly follows the optimizer with these edits."""
        try:
            with np.errstate(all="ignore"):
                follows = self._follows(several)
        except DOES_NOT_RUN:
            follows = False
        if not follows:
            self.sieve.count()
        return follows

    def _follows(self, several: Several) -> bool:
        lines = [edit for edit in several if isinstance(edit, LineEdit)]
        if len(lines) < len(several):
            changed = together(several, self.optimizer)
            return self.trial.follows(changed, changed.init(self.trial.start))
        changes: dict[int, list[Change]] = {}
        for edit in lines:
            changes.setdefault(edit.index, []).append(edit.change)
        for index, function in enumerate(self.functions):
            function.exchange(changes.get(index, ()))
        statements = chain.from_iterable(function.statements for function in self.functions)
        if (
            self.element is not None
            and all(map(is_plain, statements))
            and self.element.rules_out(self.exchangeable, self.numbers)
        ):
            return False
        return self.trial.follows(self.exchangeable, self.state)
