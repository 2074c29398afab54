"""Sorts out hypotheses by a fast run in plain float64, before the bounds decide."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Final

import numpy as np

from refopt.arithmetic.bounds import FORMATS
from refopt.optimizer import Optimizer
from refopt.oracle.observation import Hypothesis, Observation
from refopt.oracle.probes import Probe
from refopt.oracle.run import Trace

DOES_NOT_RUN: Final = (ArithmeticError, ValueError, TypeError, AttributeError, LookupError)
"""What a changed line may raise."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without NumPy's warnings: that the mean of nothing is NaN is nothing to tell the user."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


class TimeIsOverError(Exception):
    """A search has taken all the time that it was given."""


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
        return bool(np.all(self.is_near_at(theta)))

    def is_near_at(self, theta: np.ndarray) -> np.ndarray:
        """Which elements are."""
        with np.errstate(all="ignore"):  # infinities are compared as well
            near = np.asarray(np.abs(self.value - theta) <= self.slack)
        return near if near.all() else near | ~(np.isfinite(self.value) | np.isfinite(theta))


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


class Sieve:
    """Sorts out hypotheses that a target does not even roughly follow, in plain float64.

    Errors up to a thousandth of what a step moves pass; the bounds decide about what is left, and
    about probes with gradients whose squares vanish in the target's precision but not in float64,
    and about long ones.

    Attributes:
        runs: the probes that are run, and what the target did.
        tried: how many hypotheses were sorted out or let pass so far.
        ends: the processor time, in seconds, from which on no more are tried.
    """

    def __init__(self, seen: Observation) -> None:
        every = zip(seen.probes, seen.traces, strict=True)
        self.runs = [
            (probe, trace) for probe, trace in every if not (probe.rests or underflows(probe))
        ]
        self.waypoints = {probe.id: waypoints(probe, trace) for probe, trace in self.runs}
        self._joined = {
            probe.id: waypoints(probe.joined, trace.joined)
            for probe, trace in self.runs
            if probe.joined is not None
        }
        self.tried = 0
        self.ends = math.inf
        self._bases: dict[tuple[int, str], Optimizer] = {}

    def among(self, ids: Collection[str]) -> Sieve:
        """One that runs the probes of these ids alone, and has tried nothing yet."""
        few = copy(self)
        few.runs = [(probe, trace) for probe, trace in self.runs if probe.id in ids]
        few.tried = 0
        return few

    def count(self) -> None:
        """Counts a hypothesis.

        Raises:
            TimeIsOverError: the time is over.
        """
        self.tried += 1
        if time.process_time() > self.ends:
            raise TimeIsOverError

    def passes(self, hypothesis: Hypothesis) -> bool:
        """Whether the target follows a hypothesis in every probe."""
        self.count()
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
        except DOES_NOT_RUN:
            return False

    def _stays_close(self, hypothesis: Hypothesis, probe: Probe, trace: Trace) -> bool:
        base = self._base(hypothesis, probe)
        optimizer = hypothesis.change(base)
        if probe.joined is not None and hypothesis.joins(optimizer, trace):
            probe, trace, places = probe.joined, trace.joined, self._joined[probe.id]
        else:
            places = self.waypoints[probe.id]
        params = [np.asarray(p, np.float64) for p in probe.params]
        state = optimizer.init(params)
        for step, (gradients, rate) in enumerate(zip(probe.gradients, trace.rates, strict=False)):
            grads = [None if g is None else np.asarray(g, np.float64) for g in gradients]
            lr = base.lr * rate if trace.sets_rate else None
            params, state = optimizer.step(params, grads, state, lr=lr)
            if not all(map(Waypoint.is_near, places[step], params)):
                return False
            if step + 1 == trace.resumed_after:
                optimizer = hypothesis.change(base)  # what it remembered besides is gone
                state = hypothesis.reload(state, optimizer.init(params))
        return True


def underflows(probe: Probe) -> bool:
    """Whether a gradient that is not zero has a square that is less than any normal number."""
    return any(
        np.any((g != 0) & (np.square(g.astype(np.float64)) < FORMATS[g.dtype.name].tiny))
        for gradients in probe.gradients
        for g in gradients
        if g is not None
    )
