"""Sums, means, largest elements and norms: other ones, along other axes, or where none belongs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from refopt.oracle.scope import Scope
from refopt.oracle.substitutes import Change
from refopt.oracle.trees import call, expression, named, with_fields
from refopt.oracle.wording import said


def of_elements(node: ast.expr, scope: Scope) -> Iterator[Change]:
    """One number for a whole parameter where a rule has one for each of its elements."""
    if not scope.states or scope.kind(node) != "array":
        return
    match node:
        case ast.BinOp(op=ast.Pow()) | ast.Call(func=ast.Attribute(attr="abs")):
            for reduced, words in (
                (call("sum", node), "sum"),
                (_mean(node), "mean"),
                (call("max", node), "largest element"),
            ):
                yield Change(f"the {words} of {said(node)} over the parameter", reduced)
        case ast.Call(func=ast.Attribute(attr="sqrt"), args=[x]):
            # sums and means of averages are averages of sums and means
            words = f"the largest element of {said(x)} over the parameter"
            yield Change(words, call("sqrt", call("max", x)))


def of_norm(name: str, value: ast.expr) -> Iterator[Change]:
    """Norms of other kinds."""
    if not name.startswith("norm"):
        return
    own = said(named(name))
    match value:
        case ast.Call(
            func=ast.Attribute(attr="sqrt"),
            args=[ast.Call(func=ast.Attribute(attr="sum"), args=[ast.BinOp(left=x) as squares])],
        ):
            yield Change(f"{own} is the sum of absolute values", call("sum", call("abs", x)))
            yield Change(f"{own} is the largest magnitude", call("max", call("abs", x)))
            words = f"{own} is the root of the mean, not of the sum"
            yield Change(words, call("sqrt", _mean(squares)))
        case ast.Call(
            func=ast.Attribute(attr="sqrt"),
            args=[
                ast.Call(
                    func=ast.Name(id="sum"),
                    args=[
                        ast.GeneratorExp(
                            elt=ast.Call(args=[ast.BinOp(left=x)]) as squares
                        ) as generator
                    ],
                ) as total
            ],
        ):

            def total_of(element: ast.expr) -> ast.expr:
                return with_fields(total, args=[with_fields(generator, elt=element)])

            yield Change(f"{own} is the sum of the norms", total_of(call("sqrt", squares)))
            magnitudes = call("sum", call("abs", x))
            yield Change(f"{own} is the sum of absolute values", total_of(magnitudes))
            largest = with_fields(total_of(call("max", call("abs", x))), func=named("max"))
            yield Change(f"{own} is the largest magnitude", largest)
            mean = ast.BinOp(total, ast.Div(), total_of(_count(x)))
            words = f"{own} is the root of the mean, not of the sum"
            yield Change(words, call("sqrt", mean))
            again = ast.BinOp(squares, ast.Pow(), ast.Constant(2))
            words = f"{own} has the squares of the squared norms"
            yield Change(words, call("sqrt", total_of(again)))


def of_sum(node: ast.BinOp) -> Iterator[Change]:
    """The root of a sum of squares in place of a sum of norms."""
    match node:
        case ast.BinOp(
            left=ast.Name(id=first),
            op=ast.Add(),
            right=ast.BinOp(left=weight, op=ast.Mult(), right=ast.Name(id=second)),
        ) if first.startswith("norm") and second.startswith("norm"):
            squares = f"xp.sqrt({first}**2 + {ast.unparse(weight)} * {second}**2)"
            yield Change("the root of a sum of squares, not a sum of roots", expression(squares))


def of_reduction(node: ast.Call) -> Iterator[Change]:
    """The sum where the mean or any element counts, and other axes than all but the first."""
    match node:
        case ast.Call(func=ast.Attribute(attr="mean"), args=[x]):
            total = with_fields(node, func=expression("xp.sum"))
            yield Change(f"the sum of {said(x)} instead of the mean", total)
        case ast.Call(func=ast.Attribute(attr="any"), args=[x]):
            total = with_fields(node, func=expression("xp.sum"))
            yield Change(
                f"whether the sum of {said(x)} is zero, not whether all of it is",
                ast.Compare(total, [ast.NotEq()], [ast.Constant(0)]),
            )
        case ast.Call(
            func=ast.Name(id="range"),
            args=[ast.Constant(value=1), ast.Call(func=ast.Attribute(attr="ndim")) as count],
        ):
            but_last = ast.BinOp(count, ast.Sub(), ast.Constant(1))
            yield Change(
                "along axis 0: all axes but the last, not but the first",
                with_fields(node, args=[ast.Constant(0), but_last]),
            )
            last = ast.Call(named("max"), [ast.Constant(0), but_last], [])
            yield Change(
                "along the last axis, also where it is the only one",
                with_fields(node, args=[last, count]),
            )


def _mean(x: ast.expr) -> ast.expr:
    """Over all elements of a parameter."""
    return ast.BinOp(call("sum", x), ast.Div(), _count(x))


def _count(x: ast.expr) -> ast.expr:
    """How many elements a parameter has."""
    ones = ast.BinOp(call("zeros_like", x), ast.Add(), ast.Constant(1))
    return call("sum", ones)
