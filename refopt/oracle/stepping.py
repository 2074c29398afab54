"""Changes of the stepping code: the mistakes that are in no formula.

Counters that advance too often, missing gradients taken for zero, parameters written in part, a
learning rate that stays: each is one line of ``refopt/optimizer.py`` that reads otherwise, or one
line more. The module is compiled from its source with that line changed. What saving and loading
may lose is a change of the state at that moment (:func:`losses`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from typing import Any, Final

from refopt import optimizer as stepping
from refopt.layers import State
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit


@dataclass(frozen=True)
class Line:
    """A change of one line: what stands there, and what is to stand there."""

    description: str
    before: str
    after: str


_PASS: Final = "self._pass(leaves)"
_MISSING: Final = "missing = g is None"
_RATE: Final = "if lr is None:"


def _first(description: str, line: str) -> Line:
    """A line more before the layers run."""
    return Line(description, _PASS, f"for i, x in enumerate(leaves): {line}\n{_PASS}")


def _written(description: str, count: str) -> Line:
    """The parameter is written only up to some element, counted in memory."""
    place = "np.arange(math.prod(x.theta.shape)).reshape(x.theta.shape)"
    kept = f"x.xp.where({place} < {count}, x.theta, thetas[x.name])"
    return Line(description, _PASS, f"{_PASS}\nfor x in leaves: x.theta = {kept}")


LINES: Final = (
    _first(
        "the step count is shared and advances with every parameter",
        "x.t = (x.t - 1) * len(leaves) + i + 1",
    ),
    _first(
        "the powers of the decay rates are shared and advance with every parameter",
        "x.t = (x.t - 1) * len(leaves) + 1",
    ),
    _first("the step count is that of the first parameter", "x.t = leaves[0].t"),
    Line(
        "a missing gradient is taken for zero",
        _MISSING,
        "missing, g = False, (xp.zeros_like(theta) if g is None else g)",
    ),
    Line("the learning rate stays as it was at the start", _RATE, "if True:"),
    _written(
        "only as many elements are written as the first axis is long",
        "max(x.theta.shape[:1], default=1)",
    ),
    _written("the last element is not written", "math.prod(x.theta.shape) - 1"),
    *(
        _written(
            f"what is left over from vectors of {width} elements is not written",
            f"math.prod(x.theta.shape) // {width} * {width}",
        )
        for width in (2, 4, 8)
    ),
    _written(
        "parameters without axes are not written",
        "(math.prod(x.theta.shape) if x.theta.shape else 0)",
    ),
)
"""The mistakes of stepping that people make."""


def stepping_edits() -> Iterator[Edit]:
    """Every change of the stepping code."""
    for line in LINES:
        yield Edit(
            file="refopt/optimizer.py",
            line=_numbers()[line.before],
            before=line.before,
            after=line.after,
            description=line.description,
            apply=partial(_stepped_otherwise, line),
        )


def losses(optimizer: Optimizer) -> dict[str, Callable[[State], State]]:
    """What saving and loading may lose, in words, and the state that is loaded instead."""
    keys = [layer.key(name) for layer in optimizer.layers for name in layer.state_names]
    lost: dict[str, Callable[[State], State]] = {
        "the step count is not saved": partial(_zeroed, ["t"])
    }
    lost |= {f"the state {key} is not saved": partial(_zeroed, [key]) for key in keys}
    lost["no state is saved"] = partial(_zeroed, ["t", *keys])
    if keys:
        lost["the state arrays are not saved, the step count is"] = partial(_zeroed, keys)
    return lost


def _zeroed(keys: Sequence[str], state: State) -> State:
    return {name: own | {key: own[key] * 0 for key in keys} for name, own in state.items()}


@cache
def _numbers() -> dict[str, int]:
    """The line number of each line of the stepping code."""
    lines = inspect.getsource(stepping).splitlines()
    return {line.strip().rstrip(","): number for number, line in enumerate(lines, 1)}


@cache
def _class_with(line: Line) -> type[Optimizer]:
    lines = inspect.getsource(stepping).splitlines()
    number = _numbers()[line.before]
    indent = lines[number - 1][: -len(lines[number - 1].lstrip())]
    lines[number - 1 : number] = [indent + text for text in line.after.splitlines()]
    namespace: dict[str, Any] = {"__name__": stepping.__name__, "math": math}
    exec(compile("\n".join(lines), f"<edited {stepping.__file__}>", "exec"), namespace)  # noqa: S102
    changed: type[Optimizer] = namespace["Optimizer"]
    return changed


def _stepped_otherwise(line: Line, optimizer: Optimizer) -> Optimizer:
    values = {f.name: getattr(optimizer, f.name) for f in fields(Optimizer)}
    return _class_with(line)(**values)
