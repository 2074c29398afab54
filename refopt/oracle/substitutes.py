"""Another name, or another number, in place of one that a line of the reference has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

from refopt.hyperparameters import DECAY_RATES, DOMAINS, Interval
from refopt.oracle.scope import Scope, are_alike
from refopt.oracle.trees import Path, Place, call, complement, expression, is_field, named
from refopt.oracle.wording import said


class Change(NamedTuple):
    """An expression in place of a part of another: the difference in words, its kind, and where."""

    words: str
    node: ast.expr
    kind: str = ""
    place: Place = ()


def of_kind(kind: str, changes: Iterator[Change]) -> Iterator[Change]:
    """Changes as those of a kind."""
    return (change._replace(kind=kind) for change in changes)


def of_name(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    """What stands in place of a name."""
    kind = scope.kinds.get(name, "other")
    if name in scope.hyperparameters:
        yield from of_kind("quantity", _other_hyperparameters(name, scope, path))
        yield from of_kind("factor", _scaled_hyperparameters(name, scope))
    elif name == "t":
        changes = (Change(words, expression(text)) for text, words in COUNTS.items())
        yield from of_kind("step count", changes)
    elif kind == "array":
        yield from of_kind("quantity", _other_arrays(name, scope, path))
        yield from of_kind("factor", _scaled_arrays(name, scope, path))
        yield from of_kind("epsilon", _with_epsilon(name, scope, path))
    elif kind == "scalar":
        yield from of_kind("quantity", _other_scalars(name, scope, path))
        yield from of_kind("factor", _scaled_scalars(name, scope))


COUNTS: Final = {
    "t - 1": "the step count is one too small",
    "t + 1": "the step count is one too large",
    "2 * t": "the step count advances twice",
    "1": "the step count stays at 1",
    "2": "the step count stays at 2",
}
"""What may stand for the step count, and what is said of it."""


def _other_hyperparameters(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    for other in scope.hyperparameters:
        if other != name and are_alike(other, name):
            yield Change(f"{said(named(other))} in place of {said(named(name))}", named(other))
    domain = DOMAINS[name]
    if isinstance(domain, Interval) and domain.high == 1 and not _is_complement(path):
        yield Change(f"1 - {name} in place of {name}", complement(name))


def _scaled_hyperparameters(name: str, scope: Scope) -> Iterator[Change]:
    own = said(named(name))
    domain = DOMAINS[name]
    if scope.kinds.get(name) == "scalar" and isinstance(domain, Interval) and domain.high > 1:
        yield Change(f"{own} is squared", expression(f"{name}**2"))
        yield Change(f"{own} is doubled", expression(f"2 * {name}"))
        yield Change(f"{own} is halved", expression(f"{name} / 2"))
    if name == "eps" and "beta2" in scope.hyperparameters and scope.has("t"):
        for sign in "*/":
            text = f"eps {sign} xp.sqrt(1 - beta2**t)"
            yield Change("epsilon is scaled by the correction", expression(text))


def _is_complement(path: Path) -> bool:
    """Whether a name stands in ``1 - name``."""
    match path:
        case ((ast.BinOp(left=ast.Constant(value=1), op=ast.Sub()), "right"), *_):
            return True
    return False


def _other_arrays(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    own = named(name)
    for other in (*scope.arrays, *sorted(scope.readable & {"g", "theta", "theta_old"})):
        if other != name:
            yield Change(f"{said(named(other))} in place of {said(own)}", named(other))
    if name in scope.updated:
        yield Change(f"{said(own)} from before its update", named(f"{name}_old"))
        news = scope.updated[name]
        if news is not None:
            yield Change(f"{said(news)} in place of {said(own)}", news)
    if name == "g" and scope.target in scope.states and not is_field(path, ast.Pow, "left"):
        for rate in scope.rates:
            words = f"the gradient looks ahead in {said(named(scope.target))}"
            yield Change(words, expression(f"g + {rate} * {scope.target}"))
    if is_field(path, ast.Pow, "left"):
        for other in [state for state in scope.states if state != name]:
            words = f"the square of the difference from {said(named(other))}"
            yield Change(words, expression(f"{name} - {other}"))


def _with_epsilon(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    is_squared = is_field(path, ast.Pow, "left")
    if "eps" in scope.hyperparameters and (
        (name in scope.states and name != scope.target) or is_squared
    ):
        yield Change(f"epsilon is added to {said(named(name))}", expression(f"{name} + eps"))


def _scaled_arrays(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    own = named(name)
    if name == scope.target and name not in scope.updated:
        # What else is done to it here might as well be done where it is returned.
        if scope.has("lr"):
            words = f"{said(own)} is multiplied by the learning rate"
            yield Change(words, expression(f"lr * {name}"))
        return
    if not is_field(path, ast.Pow, "left"):
        yield Change(f"{said(own)} is squared", expression(f"{name}**2"))
        if name in ("theta", "theta_old", "h", "g"):
            yield Change(f"the sign of {said(own)} in its place", call("sign", own))
        for other in ("lr", *scope.rates):
            if scope.has(other):
                words = f"{said(own)} is multiplied by {said(named(other))}"
                yield Change(words, expression(f"{other} * {name}"))
    elif name == "h" and scope.has("lr"):
        yield Change(f"{said(own)} is multiplied by the learning rate", expression(f"lr * {name}"))
    if name == "theta" and scope.identity is not None:
        for other in [array for array in scope.arrays if array != name]:
            words = f"{said(own)} is multiplied by {said(named(other))}"
            yield Change(words, expression(f"{name} * {other}"))
        if scope.has("xp"):
            unit = expression(f"{name} / xp.sqrt(xp.sum({name}**2))")
            yield Change(f"{said(own)} is divided by its norm", unit)
            guarded = call("where", expression(f"{name} == 0"), own, unit)
            yield Change(f"{said(own)} is divided by its norm where it is not zero", guarded)
    if is_field(path, ast.Div, "right"):
        yield Change(f"the root of {said(own)} in its place", call("sqrt", own))
    if name in scope.states and scope.has("t"):
        yield Change(f"{said(own)} is divided by the step count", expression(f"{name} / t"))
        for rate in scope.rates:
            words = f"{said(own)} is corrected by {rate}"
            yield Change(words, expression(f"{name} / (1 - {rate}**t)"))


def _other_scalars(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    if is_field(path, ast.Mult, "left"):
        yield Change(f"1 minus {said(named(name))} in its place", complement(name))
    for other, kind in scope.kinds.items():
        is_free = other not in scope.hyperparameters or other in DECAY_RATES
        if kind == "scalar" and other != name and is_free:
            yield Change(f"{said(named(other))} in place of {said(named(name))}", named(other))


def _scaled_scalars(name: str, scope: Scope) -> Iterator[Change]:
    own = said(named(name))
    yield Change(f"{own} is squared", expression(f"{name}**2"))
    for other, kind in scope.kinds.items():
        if kind == "scalar" and other not in (name, *scope.hyperparameters) and scope.states:
            words = f"{own} is multiplied by {said(named(other))}"
            yield Change(words, expression(f"{name} * {other}"))


def of_number(value: float, path: Path) -> Iterator[Change]:
    """What stands in place of a number."""
    match path:
        case ((ast.BinOp(op=ast.Pow()), "right"), *_):
            others: tuple[float, ...] = (value + 1,)
        case ((ast.BinOp(op=ast.Sub()), "left"), *_) if value == 1:
            others = ()
        case ((ast.Compare() | ast.Call(func=ast.Name(id="range")), _), *_):
            others = (value - 1, value + 1)
        case _ if 0 < value < 0.1:
            others = (value * 10, value / 10)
        case _:
            others = (value - 1, value + 1, value * 2, value / 2)
    for other in dict.fromkeys(others):
        if other != value:
            number = int(other) if float(other).is_integer() and isinstance(value, int) else other
            yield Change(f"{number} in place of {value}", ast.Constant(number))
