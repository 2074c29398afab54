"""What a target did in the probes, and how far that is from an optimizer of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from refopt.arithmetic.bounds import (
    FORMATS,
    Bounded,
    Format,
    Mode,
    Precision,
    distance,
    modes,
)
from refopt.layers import State
from refopt.optimizer import Optimizer
from refopt.oracle.elementwise import is_elementwise
from refopt.oracle.probes import Probe, probes
from refopt.oracle.run import Trace, Worker, run
from refopt.oracle.subject import Subject
from refopt.oracle.verdict import Deviation
from refopt.variants.missing import count_missing


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

    def probe(self, id: str) -> Probe:
        """The probe of that id."""
        return self.probes[self.ids.index(id)]

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be exercised, and why."""
        return tuple(dict.fromkeys(note for trace in self.traces for note in trace.notes))

    def led_by(self, ids: Collection[str]) -> Observation:
        """The same with the probes of these ids first."""
        return self._of(sorted(range(len(self.probes)), key=lambda i: self.probes[i].id not in ids))

    def first(self) -> Observation:
        """The first probe alone."""
        return self._of([0])

    def without_rest(self) -> Observation:
        """The same without the probe that rests."""
        return self._of([i for i, probe in enumerate(self.probes) if not probe.rests])

    def _of(self, places: Sequence[int]) -> Observation:
        return replace(
            self,
            probes=tuple(self.probes[i] for i in places),
            traces=tuple(self.traces[i] for i in places),
        )


class Distance(NamedTuple):
    """How far a target is from the reference.

    Attributes:
        worst: the largest error as a fraction of its bound.
        deviation: the first element outside its bound.
        decided: whether every bound is finite, but for what is no number in both.
    """

    worst: float
    deviation: Deviation | None
    decided: bool


@dataclass(frozen=True)
class Variation:
    """Which hyperparameters a target is given.

    Attributes:
        varied: those that probes choose, with their defaults.
        fixed: those that are always the same.
        lr: the learning rate of a target that does not take one.
    """

    varied: Mapping[str, Any]
    fixed: Mapping[str, Any]
    lr: float

    @classmethod
    def of(cls, subject: Subject, *references: Optimizer) -> Variation:
        """What the target takes and no reference pins is varied."""
        values: dict[str, Any] = {}
        for reference in reversed(references):
            values |= reference.hyperparameters()
        pinned = frozenset[str]().union(*(reference.pinned() for reference in references))
        accepted = subject.adapter.accepted()
        varied = {name: v for name, v in values.items() if name in accepted and name not in pinned}
        fixed = {name: v for name, v in values.items() if name in pinned}
        return cls(varied, fixed, references[0].lr)


def observe(
    subject: Subject, variation: Variation, *, dtype: str, seed: int, timeout: float
) -> Observation:
    """Runs a target through the probes.

    Raises:
        TargetError: it could not be run.
    """
    known = subject.defaults
    varied = {name: known.get(name, value) for name, value in variation.varied.items()}
    ran = tuple(
        probe
        for probe in probes(varied, dtype=dtype, seed=seed)
        if subject.adapter.takes_missing or not probe.has_missing
    )
    return watched(subject, variation, ran, dtype=dtype, timeout=timeout)


def watched(
    subject: Subject, variation: Variation, ran: Sequence[Probe], *, dtype: str, timeout: float
) -> Observation:
    """Runs a target through some probes.

    Raises:
        TargetError: it could not be run.
    """
    traces = []
    with Worker(timeout) as worker:
        for probe in ran:
            given = given_to(subject, variation, probe)
            lr = probe.hyperparameters.get("lr", variation.lr)
            try:
                traces.append(run(subject.adapter, probe, given, lr, worker))
            finally:
                subject.adapter.end_sessions()
    return Observation(dtype, tuple(ran), tuple(traces))


def given_to(subject: Subject, variation: Variation, probe: Probe) -> dict[str, Any]:
    """What the target is started with: its own defaults are tested by not giving them."""
    known = subject.defaults if probe.id == "defaults" else {}
    own = {name: value for name, value in probe.hyperparameters.items() if name not in known}
    return {**own, **variation.fixed}


@dataclass(frozen=True)
class Hypothesis:
    """An optimizer of the reference, or a changed one, that may be what a target computes.

    Attributes:
        optimizer: its composition, with default hyperparameters.
        change: made after the probe's hyperparameters are set.
        reload: the state after loading, from that which was saved and that of a fresh optimizer.
    """

    optimizer: Optimizer
    change: Callable[[Optimizer], Optimizer] = lambda optimizer: optimizer
    reload: Callable[[State, State], State] = lambda state, fresh: state

    def joins(self, changed: Optimizer, trace: Trace) -> bool:
        """Whether it does the same to parameters as to all of them joined.

        Args:
            changed: the optimizer after the change.
            trace: what is compared: loading may do something else to each parameter.
        """
        loads_as_saved = trace.resumed_after is None or self.reload is Hypothesis.reload
        return loads_as_saved and is_elementwise(changed)

    def at(self, probe: Probe) -> Optimizer:
        """The optimizer with the probe's hyperparameters, before the change."""
        known = self.optimizer.hyperparameters()
        values = {name: v for name, v in probe.hyperparameters.items() if name in known}
        return self.optimizer.with_hyperparameters(**values)


def weigh(
    hypothesis: Hypothesis, seen: Observation, *, to_the_end: bool = True
) -> tuple[Precision | None, Distance]:
    """The strictest mode in which a target stays in its bounds, and how far it is then.

    None where it leaves them in every mode; the distance is that of the last. It stops at the
    first probe in which that happens unless it is to go on to the end.
    """
    ways = modes(FORMATS[seen.dtype])
    *_, last = ways
    for precision, mode in ways.items():
        to_its_end = to_the_end and precision == last
        distance = measure(hypothesis, seen, mode, to_the_end=to_its_end)
        if distance.deviation is None:
            return precision, distance
    return None, distance


def astray(hypothesis: Hypothesis, seen: Observation) -> set[str]:
    """The ids of the probes in which a target leaves even the widest bounds of a hypothesis."""
    *_, widest = modes(FORMATS[seen.dtype]).values()
    return {
        probe.id
        for probe, trace in zip(seen.probes, seen.traces, strict=True)
        if _measured(hypothesis, probe, trace, widest).deviation is not None
    }


def measure(
    hypothesis: Hypothesis, seen: Observation, mode: Mode, *, to_the_end: bool = True
) -> Distance:
    """How far a target is from a hypothesis, over all probes or until it leaves its bounds."""
    distances: list[Distance] = []
    for probe, trace in zip(seen.probes, seen.traces, strict=True):
        distances.append(_measured(hypothesis, probe, trace, mode))
        if distances[-1].deviation is not None and not to_the_end:
            break
    return Distance(
        worst=max(distance.worst for distance in distances),
        deviation=next((d.deviation for d in distances if d.deviation is not None), None),
        decided=all(distance.decided for distance in distances),
    )


def share_bounded(hypothesis: Hypothesis, seen: Observation, mode: Mode) -> float:
    """Of the elements in which a target leaves the bounds of what is changed: how many it bounds.

    All, where there is no such element and nothing is changed.
    """
    unchanged = Hypothesis(hypothesis.optimizer)
    outside = bounded = 0
    for probe, trace in zip(seen.probes, seen.traces, strict=True):
        runs = (_expected(each, probe, trace, mode) for each in (unchanged, hypothesis))
        for step, (before, after) in enumerate(zip(*runs, strict=True), 1):
            got = [trace.params[step - 1]]
            if after[1] is not None and trace.resumed_after is not None:
                got.append(trace.beside[step - 1 - trace.resumed_after])
            for arrays, olds, news in zip(got, before, after, strict=False):
                for x, old, new in zip(arrays, olds or (), news or (), strict=True):
                    leaves = distance(x, old) > 1
                    outside += int(leaves.sum())
                    bounded += int((leaves & np.isfinite(new.error)).sum())
    return bounded / outside if outside else float(hypothesis.change is Hypothesis.change)


def _measured(hypothesis: Hypothesis, probe: Probe, trace: Trace, mode: Mode) -> Distance:
    base = hypothesis.at(probe)
    given = probe
    if probe.joined is not None and hypothesis.joins(hypothesis.change(base), trace):
        probe, trace = probe.joined, trace.joined
    worst, first, decided = 0.0, None, True
    reached = _expected(hypothesis, probe, trace, mode)
    compared: tuple[Any, Any] = None, None
    for step, (params, beside) in enumerate(reached, 1):
        if compared[0] is params and compared[1] is trace.params[step - 1]:
            continue
        compared = params, trace.params[step - 1]
        pairs = list(enumerate(zip(trace.params[step - 1], params, strict=True)))
        if beside is not None and trace.resumed_after is not None:
            former = trace.beside[step - 1 - trace.resumed_after]
            pairs += enumerate(zip(former, beside, strict=True))
        for i, (got, value) in pairs:
            errors = distance(got, value)
            farthest = float(np.max(errors, initial=0.0))
            worst = max(worst, farthest)
            decided = decided and bool(np.all(np.isfinite(value.error) | _are_none(got, value)))
            if first is None and farthest > 1:
                index = tuple(int(j) for j in np.argwhere(errors > 1)[0])
                values = {**probe.hyperparameters, "lr": base.lr * trace.rates[step - 1]}
                first = _deviation(probe.id, step, i, index, got, value, mode.params, values)
                if probe is not given:
                    parameter, index = _place([p.shape for p in given.params], *index)
                    first = replace(first, parameter=parameter, index=index)
    return Distance(worst, first, decided)


def _are_none(got: np.ndarray, value: Bounded) -> np.ndarray:
    """Where both are no number, which needs no bound."""
    return np.asarray(np.isnan(got) & np.isnan(np.asarray(value.value, np.float64)))


def _place(shapes: Sequence[tuple[int, ...]], position: int) -> tuple[int, tuple[int, ...]]:
    """The array, and the index in it, of an element of all arrays joined."""
    sizes = [math.prod(shape) for shape in shapes]
    ends = np.cumsum(sizes)
    i = int(np.searchsorted(ends, position, side="right"))
    index = np.unravel_index(position - int(ends[i]) + sizes[i], shapes[i])
    return i, tuple(int(j) for j in index)


def expected(
    hypothesis: Hypothesis, probe: Probe, trace: Trace, mode: Mode
) -> Iterator[list[Bounded]]:
    """The parameters after each step, with their bounds, as the hypothesis has them."""
    return (params for params, _ in _expected(hypothesis, probe, trace, mode))


def _expected(
    hypothesis: Hypothesis, probe: Probe, trace: Trace, mode: Mode
) -> Iterator[tuple[list[Bounded], list[Bounded] | None]]:
    """Those of the target, and of the one that goes on after it was saved."""
    optimizer = hypothesis.at(probe)
    lr = optimizer.lr
    lifted = bounded(optimizer, mode)
    optimizer = older = hypothesis.change(lifted)
    params = [mode.given(p) for p in probe.params]
    reached = Reached(params, optimizer.init(params))
    former: Reached | None = None
    idle = idling(optimizer)
    resting = 0
    for step, (gradients, rate) in enumerate(zip(probe.gradients, trace.rates, strict=True), 1):
        if resting:
            resting -= 1
            reached = idle(reached, mode)
        else:
            grads = [None if g is None else mode.given(g) for g in gradients]
            given = lr * rate if trace.sets_rate else None
            before, reached = reached, stepped(optimizer, reached, grads, given, mode)
            if former is not None:
                former = stepped(older, former, grads, given, mode)
            if step < probe.rests and reached.is_as(idle(before, mode)):
                ends = probe.rests - step, _until_window(optimizer, step), _until_nan(trace, step)
                resting = int(min(ends))
        yield reached.params, None if former is None else former.params
        if step == trace.resumed_after:
            former, older = reached, optimizer
            optimizer = hypothesis.change(lifted)  # what it remembered besides is gone
            state = hypothesis.reload(reached.state, optimizer.init(reached.params))
            reached = Reached(reached.params, state)


def _until_window(optimizer: Optimizer, step: int) -> float:
    """How many steps come after one before a window of k steps ends or begins.

    There some order of evaluation rounds, even at rest: ``(1 - alpha)*slow + alpha*theta``.
    """
    lengths = [
        each.hyperparameters["k"] for each in optimizer.layers if "k" in each.hyperparameters
    ]
    return min((min(k - step % k, (1 - step) % k or k) - 1 for k in lengths), default=math.inf)


def _until_nan(trace: Trace, step: int) -> float:
    """How many steps come after one before the target is no number any more.

    A hypothesis may then have to divide by what underflows, such as a power of a decay rate.
    """
    finite = (all(np.isfinite(p).all() for p in params) for params in trace.params[step:])
    return next((i for i, is_finite in enumerate(finite) if not is_finite), math.inf)


class Reached(NamedTuple):
    """Parameters and state after a step."""

    params: list[Bounded]
    state: State

    def is_as(self, other: Reached) -> bool:
        """Whether parameters and state are the same, with their bounds."""
        ours = [*self.params, *(x for own in self.state.values() for x in own.values())]
        theirs = [*other.params, *(x for own in other.state.values() for x in own.values())]
        return all(
            bool(np.all(x.value == y.value) and np.all(x.error == y.error))
            if isinstance(x, Bounded)
            else x == y
            for x, y in zip(ours, theirs, strict=True)
        )


def idling(optimizer: Optimizer) -> Callable[[Reached, Mode], Reached]:
    """A step that does nothing but count, and move on what depends on the count alone.

    Where gradients and state are zero, and a step does no more, neither does any other, but for
    those in which a window of steps ends or begins.
    """
    if all(layer.missing is None for layer in optimizer.layers):
        return lambda reached, _: Reached(
            reached.params, {name: own | {"t": own["t"] + 1} for name, own in reached.state.items()}
        )
    counting = count_missing(optimizer)

    def counted(reached: Reached, mode: Mode) -> Reached:
        missing = [None] * len(reached.params)
        return Reached(reached.params, stepped(counting, reached, missing, 1.0, mode).state)

    return counted


def bounded(optimizer: Optimizer, mode: Mode) -> Optimizer:
    """An optimizer with hyperparameters as a mode of arithmetic has them."""
    return optimizer.lifted(lambda _, value: mode.hyperparameter(value))


def stepped(
    optimizer: Optimizer,
    reached: Reached,
    grads: Sequence[Bounded | None],
    lr: float | None,
    mode: Mode,
) -> Reached:
    """One step of an optimizer within bounds, and what it leaves in memory."""
    before, old = reached
    rate = None if lr is None else mode.hyperparameter(lr)
    params, state = optimizer.step(before, list(grads), old, lr=rate)
    return Reached(
        [mode.parameter(x, y) for x, y in zip(params, before, strict=True)],
        {
            name: {
                key: mode.state_array(x, old[name][key]) if isinstance(x, Bounded) else x
                for key, x in own.items()
            }
            for name, own in state.items()
        },
    )


def _deviation(
    probe: str,
    step: int,
    parameter: int,
    index: tuple[int, ...],
    got: np.ndarray,
    expected: Bounded,
    format: Format,
    hyperparameters: Mapping[str, Any],
) -> Deviation:
    reference = float(np.asarray(expected.value)[index])
    value = float(got[index])
    with np.errstate(all="ignore"):  # the reference may be infinite or NaN
        ulp = float(np.spacing(format.dtype.type(abs(reference))))
    return Deviation(
        probe=probe,
        step=step,
        parameter=parameter,
        index=index,
        expected=reference,
        got=value,
        bound=float(np.asarray(expected.error)[index]),
        ulps=abs(value - reference) / ulp,
        hyperparameters=hyperparameters,
    )
