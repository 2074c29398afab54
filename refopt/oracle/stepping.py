"""Changes of the stepping code: the mistakes that are in no formula.

Counters that advance too often, missing gradients taken for zero, parameters written in part, a
learning rate that stays: each is one line of ``refopt/optimizer.py`` that reads otherwise, or one
line more. The module is compiled from its source with that line changed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from itertools import chain
from typing import Final

import numpy as np

from refopt import optimizer as stepping
from refopt.arithmetic.bounds import Bounded
from refopt.layers import Leaf
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit
from refopt.oracle.faults import rounded
from refopt.xp import Array


@dataclass(frozen=True)
class Line:
    """A change of one line: what stands there, and what is to stand there."""

    description: str
    before: str
    after: str


_PASS: Final = "self._pass(leaves)"
_MISSING: Final = "missing = g is None"
_ADVANCED: Final = "leaves = self.advanced(thetas, gradients, state, lr)"
_ENTERED: Final = "leaf.entries[layer.index] = Entry(leaf.lr, leaf.t, leaf.g, leaf.theta)"
_CALLS: Final = 'max(y.state["t"] for y in leaves)'
_FRESH: Final = 'self.init(theta)[""]'
_RATE: Final = "if lr is None:"
_STEP: Final = "leaf.theta = theta - (leaf.h if leaf.scaled else leaf.lr * leaf.h)"


def _first(description: str, line: str) -> Line:
    """A line more before the layers run, for each parameter x, the i-th."""
    return Line(description, _PASS, f"for i, x in enumerate(leaves): {line}\n{_PASS}")


def _counted_outside(description: str, count: str) -> Line:
    """Another step count for the variants, while the rule has its own."""
    line = f'leaf.t = {count} if layer.index else leaf.state["t"]'
    return Line(description, _ENTERED, f"{line}\n{_ENTERED}")


def _skipped(
    description: str, condition: str, state: str = "x.state_old", otherwise: str = ""
) -> Line:
    """Parameters that take no part in the step."""
    skip = f"x.depth, x.state = len(self.layers), {state}"
    loop = f"for i, x in enumerate(leaves):\n    if {condition}: {skip}"
    loop += f"\n    else: {otherwise}" * bool(otherwise)
    return Line(description, _PASS, f"{loop}\n{_PASS}")


def _kept(description: str, condition: str) -> Line:
    """Parameters, or elements of them, that stay as they are though their state moves on."""
    kept = f"x.xp.where({condition}, thetas[x.name], x.theta)"
    return Line(description, _PASS, f"{_PASS}\nfor i, x in enumerate(leaves): x.theta = {kept}")


def _shortened_to(format: str) -> Iterator[Line]:
    """Numbers that pass through a shorter format."""
    yield _first(
        f"gradients are rounded to {format}",
        f"x.g = None if x.g is None else rounded(x.g, {format!r})",
    )
    yield Line(
        f"the step is rounded to {format}",
        _STEP,
        f"{_STEP}\nleaf.theta = theta + rounded(leaf.theta - theta, {format!r})",
    )
    yield Line(
        f"parameters are kept in {format}",
        _PASS,
        f"{_PASS}\nfor x in leaves:\n    if x.entries: x.theta = rounded(x.theta, {format!r})",
    )


def _unwritten(description: str, written: str) -> Line:
    """Elements, counted in memory, up to which alone a parameter is written."""
    place = "np.arange(math.prod(x.theta.shape)).reshape(x.theta.shape)"
    return _kept(description, f"{place} >= {written}")


LINES: Final = (
    _first(
        "the step count is shared and advances with every parameter",
        "x.t = counted_together(x, leaves)",
    ),
    _first(
        "the powers of the decay rates are shared and advance with every parameter",
        'x.t = 1 + sum(y.state_old["t"] for y in leaves)',
    ),
    _first(
        "the step count is shared and advances only where no gradient is missing",
        'x.t = x.state["t"] = max(1, max(y.state_old["t"] for y in leaves) '
        "+ all(y.g is not None for y in leaves))",
    ),
    _counted_outside("the variants count the calls, not the steps of each parameter", _CALLS),
    _counted_outside(
        "the variants have one step count, which advances with every parameter",
        "counted_together(leaf, leaves)",
    ),
    Line(
        "the outermost variant counts the calls and acts on parameters without a gradient, too",
        _PASS,
        "replace(self, layers=self.layers[:-1])._pass(leaves)\n"
        f"for x in leaves: x.t, x.theta_old = {_CALLS}, thetas[x.name]\n"
        "self.layers[-1].onward(leaves)",
    ),
    Line(
        "the outermost variant acts before the step",
        _PASS,
        "for x in leaves: x.theta_old = x.theta\n"
        "self.layers[-1].onward([x for x in leaves if x.g is not None])\n"
        "replace(self, layers=self.layers[:-1])._pass(leaves)",
    ),
    _skipped(
        "the first gradient only sets up the state, and does not count",
        "x.g is not None and x.t == 1",
        'x.state_old | {"t": 1}',
        otherwise="x.t -= 1",
    ),
    _first("the step count stops at 256, as in bfloat16", "x.t = min(x.t, 256)"),
    _first("the step count stops at 2048, as in float16", "x.t = min(x.t, 2048)"),
    Line(
        "a missing gradient is taken for zero",
        _MISSING,
        "missing, g = False, (xp.zeros_like(theta) if g is None else g)",
    ),
    Line(
        "a missing gradient is taken for zero once there was one",
        _MISSING,
        'if g is None and state["t"]: g = xp.zeros_like(theta)\nmissing = g is None',
    ),
    Line(
        "a missing gradient is taken for zero, and does not count",
        _MISSING,
        'missing, g = g is None, (xp.zeros_like(theta) if g is None and state["t"] else g)',
    ),
    Line(
        "a missing gradient is taken for the last one",
        _MISSING,
        "g = self.memory.get(name) if g is None else g\nself.memory[name] = g\nmissing = g is None",
    ),
    Line(
        "a missing gradient resets the state",
        _MISSING,
        f"missing = g is None\nif missing: state = {_FRESH}",
    ),
    Line(
        "a missing gradient resets the state, but not the step count",
        _MISSING,
        f'missing = g is None\nif missing: state = {_FRESH} | {{"t": state["t"]}}',
    ),
    _skipped(
        "a missing gradient ends the step: later parameters stay",
        "any(y.g is None for y in leaves[:i])",
    ),
    _skipped("a missing gradient ends the step for all", "any(y.g is None for y in leaves)"),
    _skipped(
        "a gradient of zeros is taken for a missing one",
        'x.g is not None and not np.any(getattr(x.g, "value", x.g))',
    ),
    Line(
        "parameters without a gradient decay all the same",
        _PASS,
        f"{_PASS}\nfor x in leaves:\n    if x.g is None: x.theta = x.theta - "
        'x.lr * self.hyperparameters().get("weight_decay", 0.0) * x.theta',
    ),
    Line(
        "the parameters of the step before are returned",
        _ADVANCED,
        "reached = {**thetas, **self.memory}\n"
        "leaves = self.advanced(reached, gradients, state, lr)\n"
        "self.memory.update((x.name, x.theta) for x in leaves)\n"
        "for x in leaves: x.theta = reached[x.name]",
    ),
    Line("the learning rate stays as it was at the start", _RATE, "if True:"),
    _first(
        "a new learning rate reaches the first parameter alone",
        "x.lr = x.lr if i == 0 else self.lr",
    ),
    Line("the learning rate is not applied", _STEP, "leaf.theta = theta - leaf.h"),
    Line(
        "the step goes up instead of down",
        _STEP,
        "leaf.theta = theta + (leaf.h if leaf.scaled else leaf.lr * leaf.h)",
    ),
    _unwritten(
        "only as many elements are written as the first axis is long",
        "max(x.theta.shape[:1], default=1)",
    ),
    _unwritten("only the first element is written", "1"),
    _unwritten("the last element is not written", "math.prod(x.theta.shape) - 1"),
    _unwritten(
        "the last of several elements is not written", "max(math.prod(x.theta.shape) - 1, 1)"
    ),
    *(
        _unwritten(
            f"what is left over from vectors of {width} elements is not written",
            f"math.prod(x.theta.shape) // {width} * {width}",
        )
        for width in (2, 4, 8)
    ),
    *(
        Line(
            f"the last of several blocks of {width} elements overlaps the one before, "
            "and what both have is stepped twice",
            _PASS,
            f"step_with_overlap(self, leaves, {width})",
        )
        for width in (2, 4, 8)
    ),
    *(
        Line(
            "the gradients lie in one array and are read from one element "
            f"{'further' if by > 0 else 'before'}",
            _ADVANCED,
            f"gradients = from_one_array(thetas, gradients, {by})\n{_ADVANCED}",
        )
        for by in (1, -1)
    ),
    *chain.from_iterable(map(_shortened_to, ("float16", "bfloat16"))),
    _kept("parameters without axes are not written", "x.xp.ndim(x.theta) == 0"),
    _kept("parameters of two axes and more are not written", "x.xp.ndim(x.theta) > 1"),
    _kept("the first parameter is not written", "i == 0"),
    _kept(
        "the last parameter is not written",
        "i == max(j for j, y in enumerate(leaves) if math.prod(y.theta.shape))",
    ),
    _kept("only the first parameter is written", "i > 0"),
    _first(
        "gradients of two axes are read column by column",
        "x.g = None if x.g is None else by_columns(x.g)",
    ),
)
"""The mistakes of stepping that people make."""


def by_columns(x: Array) -> Array:
    """The elements of an array as if it lay in memory column by column."""
    if isinstance(x, Bounded):
        return Bounded(by_columns(x.value), by_columns(x.error), x.format)
    return np.reshape(np.ravel(x, order="F"), np.shape(x))


def counted_together(leaf: Leaf, leaves: Sequence[Leaf]) -> int:
    """The steps of all parameters, those after one in the order of parameters before this call."""
    place = next(i for i, other in enumerate(leaves) if other is leaf)
    return sum((x.state if i <= place else x.state_old)["t"] for i, x in enumerate(leaves))


def step_with_overlap(optimizer: Optimizer, leaves: Sequence[Leaf], width: int) -> None:
    """Steps in blocks of a width, the last of which begins early enough to be whole."""
    before = [replace(leaf, entries={}) for leaf in leaves]
    optimizer._pass(leaves)
    for leaf, again in zip(leaves, before, strict=True):
        again.theta, again.state = leaf.theta, dict(leaf.state)
    optimizer._pass(before)
    for leaf, again in zip(leaves, before, strict=True):
        size = math.prod(leaf.theta.shape)
        place = np.arange(size).reshape(leaf.theta.shape)
        whole = size // width * width
        twice = (place >= size - width) & (place < whole) & (width < size != whole)
        leaf.theta = leaf.xp.where(twice, again.theta, leaf.theta)
        for key, x in leaf.state.items():
            if getattr(x, "shape", None) == leaf.theta.shape:
                leaf.state[key] = leaf.xp.where(twice, again.state[key], x)


def from_one_array(
    thetas: Mapping[str, Array], gradients: Mapping[str, Array], by: int
) -> dict[str, Array]:
    """Gradients as if all lay one after the other and were read from some elements further."""
    given = {
        name: 0 * theta if gradients[name] is None else gradients[name]
        for name, theta in thetas.items()
    }
    first = next(iter(given.values()))
    if isinstance(first, Bounded):
        values = from_one_array(given, {name: g.value for name, g in given.items()}, by)
        errors = from_one_array(given, {name: g.error for name, g in given.items()}, by)
        return {name: Bounded(values[name], errors[name], first.format) for name in given}
    flat = np.roll(np.concatenate([np.ravel(g) for g in given.values()]), -by)
    ends = np.cumsum([np.size(g) for g in given.values()])
    pieces = zip(given.items(), np.split(flat, ends[:-1]), strict=True)
    return {name: piece.reshape(np.shape(g)) for (name, g), piece in pieces}


def stepping_edits() -> Iterator[Edit]:
    """Every change of the stepping code."""
    for line in LINES:
        yield Edit(
            file="refopt/optimizer.py",
            line=_numbers()[line.before],
            before=line.before,
            after=line.after,
            description=line.description,
            kind="stepping",
            apply=partial(_stepped_otherwise, line),
        )


@cache
def _numbers() -> dict[str, int]:
    """The line number of each line of the stepping code."""
    lines = inspect.getsource(stepping).splitlines()
    return {line.strip().rstrip(","): number for number, line in enumerate(lines, 1)}


_USED: Final = (
    math,
    by_columns,
    counted_together,
    from_one_array,
    rounded,
    step_with_overlap,
)
"""What changed lines use besides what is there."""


@cache
def _class_with(line: Line) -> type[Optimizer]:
    lines = inspect.getsource(stepping).splitlines()
    number = _numbers()[line.before]
    indent = lines[number - 1][: -len(lines[number - 1].lstrip())]
    lines[number - 1 : number] = [indent + text for text in line.after.splitlines()]
    names = {"__name__": stepping.__name__, **{used.__name__: used for used in _USED}}
    exec(compile("\n".join(lines), f"<edited {stepping.__file__}>", "exec"), names)  # noqa: S102
    changed: type[Optimizer] = names["Optimizer"]  # type: ignore[assignment]
    return changed


def _stepped_otherwise(line: Line, optimizer: Optimizer) -> Optimizer:
    values = {f.name: getattr(optimizer, f.name) for f in fields(Optimizer)}
    changed = _class_with(line)(**values)
    object.__setattr__(changed, "memory", {})  # what it remembers besides its state
    return changed
