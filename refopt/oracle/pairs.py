"""Two changes at once, for targets that no single change explains: the likelier ones first.

There are tens of thousands of them, so each is first tried on a few steps of one parameter, with
functions whose lines are exchanged in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from refopt.arithmetic.bounds import FORMATS
from refopt.layers import Leaf, OnGradients, State
from refopt.optimizer import Optimizer
from refopt.oracle.alternatives import COMMON
from refopt.oracle.compositions import recompositions
from refopt.oracle.edits import Change, Edit, LineEdit, double_edits, edits, exchangeable
from refopt.oracle.probes import Probe
from refopt.oracle.run import Trace
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


def promising(
    optimizer: Optimizer, base: Optimizer, probe: Probe, trace: Trace
) -> Iterator[Iterator[Several]]:
    """Two changes that a target roughly follows at first, tier by tier, the likelier ones first.

    Args:
        optimizer: what is changed.
        base: the same with the hyperparameters of the probe.
        probe: what the target was fed.
        trace: what it did.
    """
    trial = Trial.of(base, probe, trace)
    lines = list(edits(optimizer))
    near = [edit for edit in recompositions(optimizer) if edit.kind != "rule"]
    values = [edit for edit in near if edit.kind == "hyperparameter"]
    screen = Screen(base, trial)
    yield filter(screen.passes, ((edit,) for edit in double_edits(optimizer)))
    yield filter(screen.passes, _of_lines(lines, _are_likely))
    yield _of_composition_and_line(near, optimizer, base, trial)
    yield filter(screen.passes, ((a, b) for a in values for b in near if a is not b))
    common = [edit for edit in lines if edit.kind in COMMON]
    yield ((a, b) for a in (*common, *near) for b in stepping_edits())
    yield filter(screen.passes, _of_lines(lines, lambda a, b: not _are_likely(a, b)))


def _are_likely(first: Edit, second: Edit) -> bool:
    return first.kind == second.kind or {first.kind, second.kind} <= COMMON


def _of_lines(lines: Sequence[Edit], accepts: Callable[[Edit, Edit], bool]) -> Iterator[Several]:
    for first, second in combinations(lines, 2):
        elsewhere = (first.file, first.line) != (second.file, second.line)
        if elsewhere and accepts(first, second):
            yield first, second


def _of_composition_and_line(
    compositions: Iterable[Edit], optimizer: Optimizer, base: Optimizer, trial: Trial
) -> Iterator[Several]:
    for first in compositions:
        screen = Screen(first.apply(base), trial)
        for second in edits(first.apply(optimizer)):
            if second.kind in COMMON and screen.passes((second,)):
                yield first, second


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
    def of(cls, base: Optimizer, probe: Probe, trace: Trace) -> Trial:
        """The trial of an optimizer on the largest parameter of a probe."""
        positions: Sequence[int] = range(len(probe.params))
        if not any(isinstance(layer, OnGradients) for layer in base.layers):
            positions = [max(positions, key=lambda i: probe.params[i].size)]

        def chosen(arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
            return [np.asarray(arrays[i], np.float64) for i in positions]

        return cls(
            chosen(probe.params),
            [chosen(gradients) for gradients in probe.gradients[:STEPS]],
            [base.lr * rate for rate in trace.rates[:STEPS]],
            [[step[i] for i in positions] for step in waypoints(probe, trace)[:STEPS]],
        )

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
class Waypoint:
    """Where a target took a parameter in a step, and what comes near to that.

    Attributes:
        value: where it took it.
        slack: how far from there is near.
    """

    value: np.ndarray
    slack: np.ndarray

    def is_near(self, theta: np.ndarray) -> bool:
        """Whether a parameter is about there, or as little a number."""
        with np.errstate(all="ignore"):  # infinities are compared as well
            near = np.abs(self.value - theta) <= self.slack
        return bool(near.all() or np.all(near | ~(np.isfinite(self.value) | np.isfinite(theta))))


def waypoints(probe: Probe, trace: Trace) -> list[list[Waypoint]]:
    """Where a target took every parameter in every step of a probe.

    Near is a thousandth of what moved it from where it began, or what rounding may have left of
    the largest value so far; in 16 bits more, since rounding leaves less.
    """
    unit = FORMATS[probe.params[0].dtype.name].unit
    moved, rounded = max(1e-3, 32 * unit), max(1e-5, 8 * unit)
    start = [np.asarray(p, np.float64) for p in probe.params]
    reach = [np.abs(p) for p in start]
    steps = []
    with np.errstate(all="ignore"):
        for params in trace.params:
            values = [np.asarray(p, np.float64) for p in params]
            reach = [np.fmax(r, np.abs(v)) for r, v in zip(reach, values, strict=True)]
            slacks = [
                moved * np.abs(v - p) + rounded * r
                for v, p, r in zip(values, start, reach, strict=True)
            ]
            steps.append(list(map(Waypoint, values, slacks)))
    return steps


class Screen:
    """Sorts out changes of an optimizer that a target does not follow in the first steps."""

    def __init__(self, optimizer: Optimizer, trial: Trial) -> None:
        self.optimizer = optimizer
        self.trial = trial
        self.state = optimizer.init(trial.start)
        self.exchangeable, self.functions = exchangeable(optimizer)

    def passes(self, several: Several) -> bool:
        """Whether the target roughly follows the optimizer with these edits."""
        try:
            with np.errstate(all="ignore"):
                return self._follows(several)
        except (ArithmeticError, ValueError, TypeError, AttributeError, IndexError):
            return False  # a changed line may not even run

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
        return self.trial.follows(self.exchangeable, self.state)
