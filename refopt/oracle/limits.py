"""Limits: floors, ceilings and guards that people add, and clamps that they write otherwise."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from refopt.oracle.scope import Scope
from refopt.oracle.substitutes import Change
from refopt.oracle.trees import call, expression, named, news_of
from refopt.oracle.wording import said

FLOOR: Final = 1e-8
"""What people take for the least that a state or a norm may be."""


def of_update(name: str, value: ast.expr, scope: Scope) -> Iterator[Change]:
    """Floors of a state, where it is updated."""
    if name in scope.states and _is_of_squares(news_of(value)):
        for floor in _floors(scope):
            words = f"{said(named(name))} is at least {said(floor)}"
            yield Change(words, call("maximum", value, floor))


def of_kept(state: ast.Name, scope: Scope) -> Iterator[Change]:
    """Floors of a state, once it has been used."""
    if _is_of_squares(scope.updated.get(state.id)):
        for floor in _floors(scope):
            words = f"{said(state)} is left at least {said(floor)}"
            yield Change(words, call("maximum", state, floor))


def _floors(scope: Scope) -> list[ast.expr]:
    if scope.has_floor:
        return []
    return [*[named("eps")] * ("eps" in scope.hyperparameters), ast.Constant(FLOOR)]


def _is_of_squares(value: ast.expr | None) -> bool:
    """Whether there are squares or magnitudes in it, so that it cannot be negative."""
    text = ast.unparse(value) if value is not None else ""
    return "** 2" in text or "xp.abs" in text


def of_ratio(name: str, value: ast.expr, scope: Scope) -> Iterator[Change]:
    """Limits of ratios and of norms."""
    own = said(named(name))
    if scope.kind(value) == "scalar" and _is_quotient(value):
        one = ast.Constant(1.0)
        yield Change(f"{own} is at most 1", call("minimum", value, one))
        yield Change(f"{own} is at least 1", call("maximum", value, one))
        if name != "factor":  # of clipping, which is near 1 or below it
            limited = call("maximum", value, ast.Constant(0.01))
            limited = call("minimum", limited, ast.Constant(10.0))
            yield Change(f"{own} is between 0.01 and 10", limited)
    if name.startswith("norm"):
        yield Change(f"{own} is at most 10", call("minimum", value, ast.Constant(10.0)))


def _is_quotient(value: ast.expr) -> bool:
    match value:
        case ast.BinOp(op=ast.Div()):
            return True
        case ast.Call(func=ast.Attribute(attr="where"), args=[_, first, second]):
            return _is_quotient(first) or _is_quotient(second)
    return False


def of_quotient(node: ast.BinOp) -> Iterator[Change]:
    """Other scalings to a limit: x in ``x / maximum(norm, x)``."""
    match node:
        case ast.BinOp(
            left=limit,
            op=ast.Div(),
            right=ast.Call(func=ast.Attribute(attr="maximum"), args=[norm, other]),
        ) if ast.unparse(limit) == ast.unparse(other):
            inverse = ast.BinOp(call("minimum", norm, limit), ast.Div(), limit)
            yield Change("the factor is upside down", inverse)
            guarded = call("where", ast.Compare(norm, [ast.LtE()], [ast.Constant(0)]), limit, norm)
            words = f"scaled to {said(limit)} also where {said(norm)} is below it"
            yield Change(words, ast.BinOp(limit, ast.Div(), guarded))


def of_call(node: ast.Call, scope: Scope) -> Iterator[Change]:
    """Guards of roots, and what becomes of elements beyond a limit."""
    match node:
        case ast.Call(func=ast.Attribute(attr="sqrt"), args=[x]) if scope.kind(x) == "array":
            guarded = call("sqrt", call("maximum", x, ast.Constant(0.0)))
            yield Change(f"{said(x)} is taken for zero where it is negative", guarded, "guard")
        case ast.Call(
            func=ast.Attribute(attr="minimum"),
            args=[
                ast.Call(func=ast.Attribute(attr="maximum"), args=[x, ast.UnaryOp(operand=low)]),
                high,
            ],
        ) if ast.unparse(low) == ast.unparse(high):
            beyond = ast.Compare(call("abs", x), [ast.Gt()], [high])
            zero = call("zeros_like", x)
            yield Change(
                f"elements beyond {said(high)} are set to zero",
                call("where", beyond, zero, x),
                "limit",
            )
            largest = expression(f"xp.max(xp.abs({ast.unparse(x)}))")
            factor = ast.BinOp(high, ast.Div(), call("maximum", largest, high))
            yield Change(
                f"scaled so that the largest element is {said(high)}",
                ast.BinOp(factor, ast.Mult(), x),
                "limit",
            )
