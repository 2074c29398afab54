"""What a deviation hangs on: the circumstance without which a target is right.

Some mistakes are in no line that could be shown: a gradient's array is kept and overwritten, a
fresh optimizer goes on with the state of another. Where no single change of the reference explains
a target, the probes are run again without one circumstance at a time: in arrays of their own,
without saving, at one learning rate. If they all conform then, that is what the mistake is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from refopt.adapters.adapter import TargetError
from refopt.arithmetic.bounds import FORMATS, Mode, modes
from refopt.oracle.explanation import Difference
from refopt.oracle.observation import Hypothesis, Observation, expected, measure, weigh
from refopt.oracle.probes import Probe
from refopt.oracle.run import Trace

Again = Callable[[Sequence[Probe]], Observation]
"""What the target does in other probes."""

REPEATS: Final = 16
"""How often a run that differs is repeated, in the hope that it settles."""


@dataclass(frozen=True)
class Circumstance:
    """Something without which a target may be right.

    Attributes:
        subject: what it is about.
        description: what a mistake that hangs on it does.
        without: the probes, one or several, that a probe becomes without it.
    """

    subject: str
    description: str
    without: Callable[[Probe], Sequence[Probe]]


def hanging_on(reference: Hypothesis, seen: Observation, again: Again) -> Difference | None:
    """What the deviation of a target hangs on; None where it deviates under all circumstances.

    Args:
        reference: what the target should be.
        seen: what it did.
        again: runs it in other probes.
    """
    *_, mode = modes(FORMATS[seen.dtype]).values()
    everything = measure(reference, seen, mode)
    if everything.deviation is None:
        return None
    itself = _differs_from_itself(reference, seen, everything.deviation.probe, mode, again)
    if itself is not None:
        return Difference.of("running it again", 0, "", "", itself)
    conforms = partial(_conforms, reference, is_bounded=everything.decided)
    right = (each for each in CIRCUMSTANCES if _is_right_without(each, conforms, seen, again))
    found = next(right, None)
    if found is None:
        return None
    return Difference.of(found.subject, 0, "", "", found.description)


def _is_right_without(
    circumstance: Circumstance,
    conforms: Callable[[Observation], bool],
    seen: Observation,
    again: Again,
) -> bool:
    """Whether a target conforms in every probe; those that stay as they are need no other run."""
    changed: list[Probe] = []
    kept: list[int] = []
    for i, probe in enumerate(seen.probes):
        others = circumstance.without(probe)
        if len(others) == 1 and others[0] is probe:
            kept.append(i)
        else:
            changed += others
    if not changed:
        return False
    unchanged = Observation(
        seen.dtype, tuple(seen.probes[i] for i in kept), tuple(seen.traces[i] for i in kept)
    )
    if kept and not conforms(unchanged):
        return False
    try:
        # one at a time, as most circumstances are ruled out by the first
        return all(conforms(again([probe])) for probe in changed)
    except TargetError:
        return False


def _conforms(reference: Hypothesis, seen: Observation, *, is_bounded: bool) -> bool:
    """Whether all that was seen is in its bounds, which are finite where they can be."""
    precision, distance = weigh(reference, seen, to_the_end=False)
    return precision is not None and (distance.decided or not is_bounded)


def _of_arrays_of_their_own(probe: Probe) -> Sequence[Probe]:
    return [replace(probe, layout="anew")]


def _contiguous(probe: Probe) -> Sequence[Probe]:
    return [probe if probe.layout == "contiguous" else replace(probe, layout="contiguous")]


def _never_saved(probe: Probe) -> Sequence[Probe]:
    return [probe if probe.resumes_after is None else replace(probe, resumes_after=None)]


def _at_one_rate(probe: Probe) -> Sequence[Probe]:
    changes = len(set(probe.rates)) > 1
    return [replace(probe, rates=(1.0,) * len(probe.rates)) if changes else probe]


def _with_every_gradient(probe: Probe) -> Sequence[Probe]:
    if not probe.has_missing:
        return [probe]
    gradients = tuple(
        tuple(np.zeros_like(p) if g is None else g for p, g in zip(probe.params, gs, strict=True))
        for gs in probe.gradients
    )
    return [replace(probe, gradients=gradients)]


def _without_zeros(probe: Probe) -> Sequence[Probe]:
    """No rest, and in place of zeros a number as small as another of the probe, or 1/8."""
    if probe.rests:
        steps = probe.gradients[probe.rests :]
        probe = replace(probe, gradients=steps, rates=probe.rates[probe.rests :], rests=0)
    given = [g for gs in probe.gradients for g in gs if g is not None]
    if all(np.all(g) for g in given):
        return [probe]
    sizes = [np.abs(g[g != 0]).min() for g in given if np.any(g)]
    least = min(sizes, default=0.125)
    gradients = tuple(
        tuple(None if g is None else np.where(g == 0, g.dtype.type(least), g) for g in gs)
        for gs in probe.gradients
    )
    return [replace(probe, gradients=gradients)]


def _each_parameter_alone(probe: Probe) -> Sequence[Probe]:
    return [
        replace(probe, params=(p,), gradients=tuple((gs[i],) for gs in probe.gradients))
        for i, p in enumerate(probe.params)
        if len(probe.params) > 1
    ] or [probe]


def _of_vectors(probe: Probe) -> Sequence[Probe]:
    if all(p.ndim == 1 for p in probe.params):
        return [probe]
    return [_reshaped(probe, lambda x: x.reshape(-1))]


def _of_whole_blocks(probe: Probe) -> Sequence[Probe]:
    if all(p.size % 16 == 0 for p in probe.params):
        return [probe]
    return [_reshaped(probe, lambda x: np.resize(x, (*x.shape[:-1], 16)) if x.size else x)]


def _reshaped(probe: Probe, change: Callable[[np.ndarray], np.ndarray]) -> Probe:
    gradients = tuple(tuple(None if g is None else change(g) for g in gs) for gs in probe.gradients)
    return replace(probe, params=tuple(map(change, probe.params)), gradients=gradients)


CIRCUMSTANCES: Final = (
    Circumstance(
        "memory",
        "gradients are read as if they were contiguous: it is right where they are",
        _contiguous,
    ),
    Circumstance(
        "memory",
        "an array of a gradient is kept, and changes when the caller writes the gradient of the "
        "next step into it: it is right where every gradient is in an array of its own",
        _of_arrays_of_their_own,
    ),
    Circumstance(
        "saving and loading",
        "what was loaded does not go on as what was saved: it is right where it is never saved",
        _never_saved,
    ),
    Circumstance(
        "learning rate",
        "a change of the learning rate does something else: it is right while that stays",
        _at_one_rate,
    ),
    Circumstance(
        "missing gradients",
        "a missing gradient does something else: it is right where none is missing",
        _with_every_gradient,
    ),
    Circumstance(
        "zeros",
        "zeros in a gradient do something else: it is right where there are none",
        _without_zeros,
    ),
    Circumstance(
        "several parameters",
        "parameters have a part in each other's steps: it is right with each of them alone",
        _each_parameter_alone,
    ),
    Circumstance(
        "sizes",
        "what is left over from blocks of elements is stepped otherwise: it is right where rows "
        "have 16 elements",
        _of_whole_blocks,
    ),
    Circumstance(
        "shapes",
        "the axes of a parameter make a difference: it is right where all parameters are vectors",
        _of_vectors,
    ),
)
"""What is left away, one after the other."""


def _differs_from_itself(
    reference: Hypothesis, seen: Observation, id: str, mode: Mode, again: Again
) -> str | None:
    """What it means that a target does not do the same twice in a probe, if it does not."""
    probe = seen.probe(id)
    first = seen.traces[seen.ids.index(probe.id)]

    def repeated() -> Iterator[Trace]:
        yield first
        for _ in range(REPEATS):
            yield again([probe]).traces[0]

    runs = pairwise(repeated())
    try:
        one, other = next(runs)
        if not _is_beyond_rounding(reference, probe, one, other, mode):
            return None
        settles = any(_are_same(one, other) for one, other in runs)
    except TargetError as error:
        return f"the same run again fails: {error}"
    if settles:
        return (
            "a fresh instance goes on with the state of the one before, as with a mutable default, "
            "an attribute of the class or a global"
        )
    return (
        "it is not deterministic: the same run again gives numbers that differ beyond rounding; "
        "it draws random numbers, or a fresh instance goes on with state of the one before"
    )


def _are_same(one: Trace, other: Trace) -> bool:
    return all(
        np.array_equal(x, y, equal_nan=True)
        for a, b in zip(one.params, other.params, strict=True)
        for x, y in zip(a, b, strict=True)
    )


def _is_beyond_rounding(
    reference: Hypothesis, probe: Probe, one: Trace, other: Trace, mode: Mode
) -> bool:
    """Whether two runs differ by more than two evaluations of the reference could."""
    if _are_same(one, other):
        return False
    with np.errstate(all="ignore"):
        return any(
            bool(np.any(np.abs(x.astype(np.float64) - y) > 2 * bound.error))
            for a, b, bounds in zip(
                one.params, other.params, expected(reference, probe, one, mode), strict=True
            )
            for x, y, bound in zip(a, b, bounds, strict=True)
        )
