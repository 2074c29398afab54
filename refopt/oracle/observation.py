"""What a target did in the probes, and how far that is from an optimizer of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refopt.adapters.adapter import Adapter
from refopt.arithmetic.bounds import FLOAT32, FLOAT64, FORMATS, Bounded, Format, distance
from refopt.layers import State
from refopt.optimizer import Optimizer
from refopt.oracle.probes import Probe, probes
from refopt.oracle.run import Trace, Worker, run
from refopt.oracle.verdict import Deviation, Precision

PRECISIONS: tuple[Precision, ...] = ("working", "float32-hyperparameters")
"""What hyperparameters may be rounded to, strictest first."""


@dataclass(frozen=True)
class Subject:
    """A target with what is known about it.

    Attributes:
        adapter: starts it.
        defaults: the canonical hyperparameters that it is known to have when it is given none.
    """

    adapter: Adapter
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Observation:
    """The trajectories of a target.

    Attributes:
        dtype: of parameters and gradients.
        probes: those that ran.
        traces: what it did in each.
    """

    dtype: str
    probes: tuple[Probe, ...]
    traces: tuple[Trace, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the probes that ran."""
        return tuple(probe.id for probe in self.probes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be exercised, and why."""
        return tuple(dict.fromkeys(note for trace in self.traces for note in trace.notes))


class Distance(NamedTuple):
    """How far a target is from the reference.

    Attributes:
        worst: the largest error as a fraction of its bound.
        deviation: the first element outside its bound.
    """

    worst: float
    deviation: Deviation | None


def observe(
    subject: Subject, reference: Optimizer, *, dtype: str, seed: int, timeout: float
) -> Observation:
    """Runs a target through the probes; what it takes and the reference does not pin is varied.

    Raises:
        TargetError: it could not be run.
    """
    values, pinned = reference.hyperparameters(), reference.pinned()
    varied = {
        name: subject.defaults.get(name, values[name])
        for name in values
        if name in subject.adapter.accepted() and name not in pinned
    }
    ran = tuple(
        probe
        for probe in probes(varied, dtype=dtype, seed=seed)
        if subject.adapter.takes_missing or not probe.has_missing
    )
    fixed = {name: values[name] for name in values if name in pinned}
    with Worker(timeout) as worker:
        traces = tuple(
            run(
                subject.adapter,
                probe,
                _given(subject, probe) | fixed,
                probe.hyperparameters.get("lr", reference.lr),
                worker,
            )
            for probe in ran
        )
    return Observation(dtype, ran, traces)


def _given(subject: Subject, probe: Probe) -> dict[str, Any]:
    """What the target is started with: its own defaults are tested by not giving them."""
    known = subject.defaults if probe.id == "defaults" else {}
    return {name: value for name, value in probe.hyperparameters.items() if name not in known}


@dataclass(frozen=True)
class Hypothesis:
    """An optimizer of the reference, or a changed one, that may be what a target computes.

    Attributes:
        optimizer: its composition, with default hyperparameters.
        change: made after the probe's hyperparameters are set.
        reload: what the state is after saving and loading.
    """

    optimizer: Optimizer
    change: Callable[[Optimizer], Optimizer] = lambda optimizer: optimizer
    reload: Callable[[State], State] = lambda state: state

    def at(self, probe: Probe) -> Optimizer:
        """The optimizer with the probe's hyperparameters, before the change."""
        known = self.optimizer.hyperparameters()
        values = {name: v for name, v in probe.hyperparameters.items() if name in known}
        return self.optimizer.with_hyperparameters(**values)


def measure(hypothesis: Hypothesis, seen: Observation, precision: Precision) -> Distance:
    """How far a target is from a hypothesis, over all probes."""
    worst, first = 0.0, None
    for probe, trace in zip(seen.probes, seen.traces, strict=True):
        farthest, deviation = _measured(hypothesis, probe, trace, FORMATS[seen.dtype], precision)
        worst, first = max(worst, farthest), first or deviation
    return Distance(worst, first)


def _measured(
    hypothesis: Hypothesis, probe: Probe, trace: Trace, format: Format, precision: Precision
) -> Distance:
    optimizer = hypothesis.at(probe)
    lr = optimizer.lr
    optimizer = hypothesis.change(optimizer.lifted(lambda _, value: bounded(value, precision)))
    params = [Bounded.exact(p, format) for p in probe.params]
    state = optimizer.init(params)
    worst, first = 0.0, None
    for step, (gradients, rate) in enumerate(zip(probe.gradients, trace.rates, strict=True), 1):
        grads = [None if g is None else Bounded.exact(g, format) for g in gradients]
        params, state = optimizer.step(params, grads, state, lr=bounded(lr * rate, precision))
        for i, (got, expected) in enumerate(zip(trace.params[step - 1], params, strict=True)):
            errors = distance(got, expected)
            farthest = float(np.max(errors, initial=0.0))
            worst = max(worst, farthest)
            if first is None and farthest > 1:
                index = tuple(int(j) for j in np.argwhere(errors > 1)[0])
                first = _deviation(probe.id, step, i, index, got, expected, format)
        if step == trace.resumed_after:
            state = hypothesis.reload(state)
    return Distance(worst, first)


def bounded(value: float, precision: Precision) -> Bounded:
    """A hyperparameter: exact, or anywhere between its value and that rounded to float32."""
    if precision == "working":
        return Bounded(value, 0.0, FLOAT64)
    return Bounded(value, abs(value - FLOAT32.nearest(value)), FLOAT32)


def _deviation(
    probe: str,
    step: int,
    parameter: int,
    index: tuple[int, ...],
    got: np.ndarray,
    expected: Bounded,
    format: Format,
) -> Deviation:
    reference = float(np.asarray(expected.value)[index])
    value = float(got[index])
    ulp = float(np.spacing(np.dtype(format.name).type(abs(reference))))
    return Deviation(
        probe=probe,
        step=step,
        parameter=parameter,
        index=index,
        expected=reference,
        got=value,
        bound=float(np.asarray(expected.error)[index]),
        ulps=abs(value - reference) / ulp,
    )
