"""Syntax trees: how the changed expressions are built, put in place and simplified."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeVar

Place = tuple[tuple[str, int], ...]
"""Where a part of an expression is: the fields to go down, with the index in those of lists."""

Path = tuple[tuple[ast.expr, str], ...]
"""The expressions around one, from the innermost outwards, and the fields that it stands in."""


def expression(text: str) -> ast.expr:
    """The tree of an expression."""
    return ast.parse(text, mode="eval").body


def named(name: str) -> ast.expr:
    """The tree of a name that is read."""
    return ast.Name(name, ast.Load())


def call(function: str, *arguments: ast.expr) -> ast.Call:
    """A call of a function of the namespace."""
    return ast.Call(expression(f"xp.{function}"), list(arguments), [])


def total_of(left: ast.expr, right: ast.expr) -> ast.BinOp:
    """A sum."""
    return ast.BinOp(left, ast.Add(), right)


def complement(name: str) -> ast.expr:
    """1 minus what a name stands for."""
    return expression(f"1 - {name}")


def is_field(path: Path, op: type[ast.operator], field: str) -> bool:
    """Whether an expression stands on one side of an operation."""
    match path:
        case ((ast.BinOp(op=around), at), *_):
            return isinstance(around, op) and at == field
    return False


Tree = TypeVar("Tree", bound=ast.AST)


def with_fields(node: Tree, **fields: object) -> Tree:
    """A tree with other parts."""
    parts = {field: getattr(node, field, None) for field in node._fields}
    return ast.copy_location(type(node)(**(parts | fields)), node)


def simplified(node: ast.expr) -> ast.expr:
    """An expression without factors of 1, terms of 0 and sums of numbers."""
    for field, part in parts(node):
        simple = simplified(part) if isinstance(part, ast.expr) else list(map(simplified, part))
        node = with_fields(node, **{field: simple})
    match node:
        case ast.BinOp(
            ast.Constant(int() | float() as a),
            ast.Add() | ast.Sub() as op,
            ast.Constant(int() | float() as b),
        ):
            return ast.Constant(a + b if isinstance(op, ast.Add) else a - b)
        case ast.BinOp(
            ast.BinOp(x, ast.Add() | ast.Sub() as inner, ast.Constant(int() | float() as a)),
            ast.Add() | ast.Sub() as op,
            ast.Constant(int() | float() as b),
        ):
            total = (a if isinstance(inner, ast.Add) else -a) + (
                b if isinstance(op, ast.Add) else -b
            )
            sign: ast.operator = ast.Add() if total > 0 else ast.Sub()
            return ast.BinOp(x, sign, ast.Constant(abs(total))) if total else x
        case (
            ast.BinOp(ast.Constant(1), ast.Mult(), x)
            | ast.BinOp(x, ast.Mult() | ast.Div() | ast.Pow(), ast.Constant(1))
            | ast.BinOp(x, ast.Add() | ast.Sub(), ast.Constant(0))
            | ast.BinOp(ast.Constant(0), ast.Add(), x)
        ):
            return x
        case ast.Call(
            func=ast.Attribute(attr="where" | "maximum" | "minimum"), args=[*_, first, second]
        ) if ast.unparse(first) == ast.unparse(second):
            return first
    return node


def put(node: ast.expr, place: Place, part: ast.expr) -> ast.expr:
    """An expression with another part at a place."""
    if not place:
        return part
    (field, i), *rest = place
    value = getattr(node, field)
    if not isinstance(value, list):
        return with_fields(node, **{field: put(value, tuple(rest), part)})
    items = [*value[:i], put(value[i], tuple(rest), part), *value[i + 1 :]]
    return with_fields(node, **{field: items})


def parts(node: ast.expr) -> Iterator[tuple[str, ast.expr | list[ast.expr]]]:
    """The parts of an expression that people confuse."""
    match node:
        case ast.Call(func=ast.Attribute(attr="zeros_like" | "ndim")):
            pass
        case ast.Call(func=ast.Attribute(attr="full_like" | "scalar_like")):
            yield "args", node.args
        case ast.Call(args=arguments):
            yield "args", arguments
        case ast.BinOp(left=left, right=right):
            yield "left", left
            yield "right", right
        case ast.UnaryOp(operand=operand):
            yield "operand", operand
        case ast.Compare(left=left, comparators=comparators):
            yield "left", left
            yield "comparators", comparators
        case ast.Tuple(elts=elements):
            yield "elts", elements
        case ast.Dict(values=values):
            yield "values", values
        case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
            yield "elt", element


def news_of(value: ast.expr) -> ast.expr | None:
    """What a moving average averages: y in ``rate * x + weight * y``."""
    match value:
        case ast.BinOp(
            left=ast.BinOp(op=ast.Mult()), op=ast.Add(), right=ast.BinOp(op=ast.Mult(), right=news)
        ):
            return news
    return None


def is_correction(node: ast.expr) -> bool:
    """Whether it is ``1 - rate**t``."""
    match node:
        case ast.BinOp(ast.Constant(1), ast.Sub(), ast.BinOp(op=ast.Pow())):
            return True
    return False


class Renamed(ast.NodeTransformer):
    """Puts an expression in place of a name."""

    def __init__(self, name: str, instead: ast.expr) -> None:
        self.name, self.instead = name, instead

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The other expression where it is that name."""
        return self.instead if node.id == self.name else node
