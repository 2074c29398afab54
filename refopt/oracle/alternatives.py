"""What people write instead of a line: the mistakes, as changes of syntax trees.

Every alternative is one that real optimizers have had: an operator, operand or name exchanged, a
term or factor left out, epsilon at another place, a state read before or after its update, a
correction by another power, a norm of another kind. What nobody would write, such as the square of
a condition, is left out, and so is what means the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import Final, NamedTuple

from refopt.hyperparameters import DOMAINS, Interval
from refopt.oracle.limits import of_call, of_kept, of_quotient, of_ratio, of_update
from refopt.oracle.reductions import of_elements, of_norm, of_reduction, of_sum
from refopt.oracle.scope import Kind, Scope
from refopt.oracle.substitutes import Change, of_kind, of_name, of_number
from refopt.oracle.trees import (
    Path,
    Place,
    Renamed,
    call,
    complement,
    expression,
    is_correction,
    named,
    news_of,
    parts,
    put,
    simplified,
    total_of,
    with_fields,
)
from refopt.oracle.wording import said


class Changed(NamedTuple):
    """A statement in place of another, the difference in words, and its kind."""

    words: str
    statement: ast.stmt
    kind: str


COMMON: Final = ("state", "step count", "left out", "epsilon", "choice", "norm", "quantity")
"""The kinds of changes of a line that are common enough to come together with others, the
commonest first."""


def of_statement(statement: ast.stmt, scope: Scope) -> Iterator[Changed]:
    """Every change of a statement; none twice, and none that means the same."""
    seen = {ast.unparse(statement)}
    for change in _of_value(statement, scope):
        changed = _with_changes(statement, change)
        text = ast.unparse(changed)
        if text not in seen:
            seen.add(text)
            yield Changed(change.words, changed, change.kind)


def twice_of_statement(statement: ast.stmt, scope: Scope) -> Iterator[Changed]:
    """Two changes of one kind in the same statement, of parts that do not overlap."""
    changes = list(_of_value(statement, scope))
    for first, second in combinations(changes, 2):
        if first.kind == second.kind and _are_apart(first.place, second.place):
            words = f"{first.words}, and {second.words}"
            yield Changed(words, _with_changes(statement, first, second), first.kind)


def _are_apart(first: Place, second: Place) -> bool:
    length = min(len(first), len(second))
    return first[:length] != second[:length]


def _with_changes(statement: ast.stmt, *changes: Change) -> ast.stmt:
    value: ast.expr = statement.value  # type: ignore[attr-defined]
    for change in changes:
        value = put(value, change.place, change.node)
    return with_fields(statement, value=simplified(value))


def _of_value(statement: ast.stmt, scope: Scope) -> Iterator[Change]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield from of_kind("state", _of_state(name, value, scope))
            yield from of_kind("norm", of_ratio(name, value, scope))
            yield from of_kind("norm", of_norm(name, value))
            yield from of_kind("limit", of_update(name, value, scope))
            yield from _within(value, scope, ())
        case ast.Assign(value=value):
            yield from _within(value, scope, ())
        case ast.Return(value=ast.expr() as value):
            if scope.identity is not None:
                yield from of_kind("condition", _of_gates(value, scope.identity))
            yield from _of_result(value, scope)
            yield from _within(value, scope, ())


def _of_result(value: ast.expr, scope: Scope) -> Iterator[Change]:
    """What else is done to the direction, and what else is kept of a state, as in place."""
    match value:
        case ast.Tuple(elts=[direction, *states]) if scope.states:
            for rate in scope.rates:
                for op, words in ((ast.Mult(), "multiplied"), (ast.Div(), "divided")):
                    scaled = ast.BinOp(direction, op, complement(rate))
                    yield Change(
                        f"the step is {words} by 1 - {rate}", scaled, "factor", (("elts", 0),)
                    )
            for i, state in enumerate(states, 1):
                if isinstance(state, ast.Name):
                    kept = chain(of_kept(state, scope), _overwritten(state, direction, scope))
                    for change in kept:
                        yield change._replace(kind="limit", place=(("elts", i),))


def _overwritten(state: ast.Name, direction: ast.expr, scope: Scope) -> Iterator[Change]:
    """What is computed in the array of a state, and stays there."""
    own = said(state)
    yield Change(f"the root of {own} is kept", call("sqrt", state))
    if scope.has("lr"):
        for name in scope.arrays:
            if name not in (*scope.states, "g", "theta"):
                words = f"{said(named(name))} times the learning rate is kept as {own}"
                yield Change(words, expression(f"lr * {name}"))
    if scope.has("lr") and scope.has("theta"):
        step = ast.BinOp(named("lr"), ast.Mult(), direction)
        words = f"the new parameter is kept as {own}"
        yield Change(words, ast.BinOp(named("theta"), ast.Sub(), step))


def _of_gates(value: ast.expr, identity: str) -> Iterator[Change]:
    """A variant that leaves some parameters alone."""
    for test, words in {
        f"xp.ndim({identity}) > 1": "only for parameters of two axes and more",
        f"xp.ndim({identity}) > 0": "only for parameters with axes",
    }.items():
        yield Change(words, call("where", expression(test), value, named(identity)))


def _within(node: ast.expr, scope: Scope, path: Path) -> Iterator[Change]:
    """An expression with itself or one of its parts changed."""
    yield from _of_expression(node, scope, path)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        targets = [comprehension.target for comprehension in node.generators]
        bound: dict[str, Kind] = {t.id: "array" for t in targets if isinstance(t, ast.Name)}
        scope = replace(scope, kinds={**scope.kinds, **bound})
    for field, part in parts(node):
        for i, item in enumerate(part if isinstance(part, list) else [part]):
            for change in _within(item, scope, ((node, field), *path)):
                yield change._replace(place=((field, i), *change.place))


# Statements


def _of_state(name: str, value: ast.expr, scope: Scope) -> Iterator[Change]:
    """What becomes of the update of a state."""
    if name not in scope.states:
        return
    own = named(name)
    yield Change(f"{said(own)} is not updated", own)
    yield Change(f"added to {said(own)}, not put in its place", total_of(own, value))
    for added, words in {
        "eps": f"epsilon accumulates in {said(own)}",
        "initial_accumulator": f"{said(own)} grows by its initial value in every step",
    }.items():
        if added in scope.hyperparameters:
            yield Change(words, total_of(value, named(added)))
    news = news_of(value)
    if news is not None and scope.has("t"):
        start = call("where", expression("t == 1"), news, value)
        yield Change(f"{said(own)} starts at its first value instead of zero", start)


# Expressions


def _of_expression(node: ast.expr, scope: Scope, path: Path) -> Iterator[Change]:
    match node:
        case ast.Name(id=name):
            yield from of_name(name, scope, path)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            yield from of_kind("number", of_number(value, path))
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd()):
            yield from of_kind("condition", _of_conditions(node, scope))
        case ast.BinOp():
            yield from _of_operation(node, scope)
            yield from of_kind("quantity", _of_terms(node, scope))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for other in _COMPARED[type(op)]:
                changed = ast.Compare(left, [other()], [right])
                yield Change(f"{said(changed)} instead of {said(node)}", changed, "condition")
        case ast.Call(func=ast.Attribute(attr=function), args=arguments):
            yield from of_kind("choice", _of_choice(node, function, arguments, scope))
            yield from of_kind("left out", _without_function(function, arguments))
            yield from of_kind("epsilon", _moved_outside(node, function, arguments))
            yield from of_kind("norm", of_elements(node, scope))
            yield from of_kind("norm", of_reduction(node))
            yield from of_call(node, scope)
        case ast.Call():
            yield from of_kind("norm", of_reduction(node))


_COMPARED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}


_EXCHANGED: Final[dict[type[ast.operator], tuple[type[ast.operator], str]]] = {
    ast.Add: (ast.Sub, "subtracted instead of added"),
    ast.Sub: (ast.Add, "added instead of subtracted"),
    ast.Mult: (ast.Div, "a divisor instead of a factor"),
    ast.Div: (ast.Mult, "a factor instead of a divisor"),
}


def _of_operation(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    left, op, right = node.left, node.op, node.right
    yield from of_kind("left out", _left_out(left, op, right))
    yield from of_kind("operator", _with_another_operator(node, scope))
    yield from of_kind("factor", _averaged(node, scope))
    yield from of_kind("factor", _running(node, scope))
    yield from of_kind("factor", _forgetting(node, scope))
    yield from of_kind("norm", of_elements(node, scope))
    yield from of_kind("norm", of_sum(node))
    yield from of_kind("limit", of_quotient(node))
    yield from of_kind("order", _ordered_otherwise(left, op, right))
    yield from of_kind("epsilon", _moved_inside(left, op, right))
    yield from of_kind("epsilon", _reciprocal(left, op, right, scope))


def _with_another_operator(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    left, op, right = node.left, node.op, node.right
    match op:
        case ast.Pow():
            words = f"{said(left)} times {said(right)} instead of to that power"
            yield Change(words, ast.BinOp(left, ast.Mult(), right))
            if ast.unparse(right) == "2":
                yield Change(f"the magnitude of {said(left)}, not squared", call("abs", left))
        case ast.Mult() if scope.kind(left) != "array" and scope.kind(right) == "array":
            words = f"{said(left)} is a divisor instead of a factor"
            yield Change(words, ast.BinOp(right, ast.Div(), left))
        case ast.Add() | ast.Sub() | ast.Mult() | ast.Div():
            other, words = _EXCHANGED[type(op)]
            yield Change(f"{said(right)} is {words}", ast.BinOp(left, other(), right))
    if isinstance(op, ast.Div) and scope.kind(left) == scope.kind(right) == "count":
        yield Change("the quotient is rounded down", ast.BinOp(left, ast.FloorDiv(), right))
    if isinstance(op, ast.Add) and scope.kind(node) == "array":
        words = f"{said(left)} is subtracted instead of added"
        yield Change(words, ast.BinOp(right, ast.Sub(), left))


def _averaged(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    """A moving average instead of a sum: y in ``rate * x + y`` with the weight ``1 - rate``."""
    for sides in (("left", "right"), ("right", "left")):
        match tuple(getattr(node, side) for side in sides), node.op:
            case (ast.BinOp(left=ast.Name(id=rate), op=ast.Mult()), y), ast.Add() if (
                rate in scope.fractions and f"1 - {rate}" not in ast.unparse(y)
            ):
                weighted = ast.BinOp(complement(rate), ast.Mult(), y)
                words = f"{said(y)} has the weight 1 - {rate}"
                yield Change(words, with_fields(node, **{sides[1]: weighted}))


def _running(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    """A running mean instead of a sum of shares: y in ``x + y / k``."""
    match node:
        case ast.BinOp(
            left=ast.Name(id=name) as x,
            op=ast.Add(),
            right=ast.BinOp(left=y, op=ast.Div(), right=k),
        ) if name == scope.target:
            step = ast.BinOp(ast.BinOp(y, ast.Sub(), x), ast.Div(), k)
            words = f"a moving average of {said(y)} of the weight 1 / {said(k)}"
            yield Change(words, total_of(x, step))


def _forgetting(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    """A state that shrinks before something is added, and a weight that is there twice."""
    match node:
        case ast.BinOp(left=ast.Name(id=name), op=ast.Add()) if name == scope.target:
            for rate in (0.9, 0.99, 0.999):
                shrunk = ast.BinOp(ast.Constant(rate), ast.Mult(), node.left)
                words = f"{said(node.left)} is multiplied by {rate}"
                yield Change(words, with_fields(node, left=shrunk))
        case ast.BinOp(
            left=ast.BinOp(left=ast.Constant(1), op=ast.Sub(), right=ast.Name()) as weight,
            op=ast.Mult(),
        ):
            squared = ast.BinOp(weight, ast.Pow(), ast.Constant(2))
            yield Change(f"the factor {said(weight)} twice", with_fields(node, left=squared))


def _ordered_otherwise(left: ast.expr, op: ast.operator, right: ast.expr) -> Iterator[Change]:
    if isinstance(op, ast.Sub | ast.Div):
        words = f"{said(left)} and {said(right)} exchanged"
        yield Change(words, ast.BinOp(right, op, left))
    yield from _grouped_otherwise(left, op, right)
    yield from _weights_exchanged(left, op, right)


def _of_terms(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    """Another array in place of a whole term."""
    if not isinstance(node.op, ast.Add) or scope.kind(node) != "array":
        return
    for other in scope.arrays:
        for field in ("left", "right"):
            term = getattr(node, field)
            if isinstance(term, ast.BinOp) and scope.kind(term) == "array":
                words = f"{said(named(other))} in place of {said(term)}"
                yield Change(words, named(other), place=((field, 0),))


def _left_out(left: ast.expr, op: ast.operator, right: ast.expr) -> Iterator[Change]:
    match op:
        case ast.Add():
            yield Change(f"{said(left)} is left out", right)
            yield Change(f"{said(right)} is left out", left)
        case ast.Mult():
            yield Change(f"the factor {said(left)} is left out", right)
            yield Change(f"the factor {said(right)} is left out", left)
        case ast.Sub():
            yield Change(f"{said(right)} is not subtracted", left)
            if ast.unparse(left) == "1":
                yield Change(f"{said(right)} instead of 1 minus it", right)
                if isinstance(right, ast.BinOp) and isinstance(right.op, ast.Pow):
                    again = ast.BinOp(left, op, ast.BinOp(left, op, right))
                    yield Change(f"{said(right)} is subtracted from 1 twice", again)
        case ast.Div() if is_correction(right):
            yield Change(f"{said(left)} is not corrected", left)
            root = ast.BinOp(left, op, call("sqrt", right))
            yield Change(f"the root of the correction of {said(left)}", root)
        case ast.Div() | ast.FloorDiv():
            yield Change(f"{said(left)} is not divided by {said(right)}", left)
        case ast.Pow() if ast.unparse(right) == "2":
            yield Change(f"{said(left)} is not squared", left)
        case ast.Pow():
            yield Change(f"{said(left)} is not raised to the power {said(right)}", left)


_PARENTHESES: Final = "parentheses elsewhere"


def _grouped_otherwise(left: ast.expr, op: ast.operator, right: ast.expr) -> Iterator[Change]:
    match left, op, right:
        case _, ast.Add() | ast.Sub(), ast.BinOp(
            left=first, op=ast.Mult() | ast.Div() | ast.Pow() as inner, right=second
        ):
            yield Change(_PARENTHESES, ast.BinOp(ast.BinOp(left, op, first), inner, second))
        case _, ast.Mult() | ast.Div() | ast.Pow(), ast.BinOp(
            left=first, op=ast.Add() | ast.Sub() as inner, right=second
        ) if not _is_one(first):
            yield Change(_PARENTHESES, ast.BinOp(ast.BinOp(left, op, first), inner, second))
    match left, op, right:
        case ast.BinOp(left=first, op=ast.Mult() | ast.Div() as inner, right=second), (
            ast.Add() | ast.Sub()
        ), _:
            yield Change(_PARENTHESES, ast.BinOp(first, inner, ast.BinOp(second, op, right)))
        case ast.BinOp(left=first, op=ast.Add() | ast.Sub() as inner, right=second), (
            ast.Mult() | ast.Div()
        ), _ if not _is_one(first):
            yield Change(_PARENTHESES, ast.BinOp(first, inner, ast.BinOp(second, op, right)))


def _reciprocal(
    left: ast.expr, op: ast.operator, right: ast.expr, scope: Scope
) -> Iterator[Change]:
    match op, right:
        case ast.Div(), ast.BinOp(left=first, op=ast.Add(), right=second) if not _is_one(left):
            reciprocal = ast.BinOp(ast.Constant(1), ast.Div(), first)
            words = f"{said(second)} is added to the reciprocal"
            yield Change(words, ast.BinOp(left, ast.Mult(), total_of(reciprocal, second)))
            if ast.unparse(second) == "eps" and scope.states and scope.has("lr"):
                outside = ast.BinOp(second, ast.Div(), named("lr"))
                quotient = ast.BinOp(left, ast.Div(), first)
                words = f"{said(second)} is added to the parameter, after the division"
                yield Change(words, ast.BinOp(quotient, ast.Sub(), outside))


def _is_one(node: ast.expr) -> bool:
    return ast.unparse(node) == "1"


def _weights_exchanged(left: ast.expr, op: ast.operator, right: ast.expr) -> Iterator[Change]:
    match left, op, right:
        case (
            ast.BinOp(left=first, op=ast.Mult(), right=x),
            ast.Add(),
            ast.BinOp(left=second, op=ast.Mult(), right=y),
        ):
            exchanged = total_of(ast.BinOp(second, ast.Mult(), x), ast.BinOp(first, ast.Mult(), y))
            yield Change(f"the weights of {said(x)} and {said(y)} exchanged", exchanged)
        case _, ast.Add(), ast.BinOp(left=weight, op=ast.Mult(), right=y):
            exchanged = total_of(ast.BinOp(weight, ast.Mult(), left), y)
            words = f"the factor {said(weight)} on {said(left)} instead of {said(y)}"
            yield Change(words, exchanged)
        case ast.BinOp(left=weight, op=ast.Mult(), right=x), ast.Add(), _:
            exchanged = total_of(x, ast.BinOp(weight, ast.Mult(), right))
            words = f"the factor {said(weight)} on {said(right)} instead of {said(x)}"
            yield Change(words, exchanged)


def _moved_inside(left: ast.expr, op: ast.operator, right: ast.expr) -> Iterator[Change]:
    """Epsilon at another place, or a term under another function."""
    match left, op:
        case ast.Call(func=ast.Attribute(attr="sqrt"), args=[inside]), ast.Add():
            joined = call("sqrt", total_of(inside, right))
            yield Change(f"{said(right)} inside the root", joined)
            yield Change(
                f"{said(right)} inside the root as well as outside", total_of(joined, right)
            )
            squared = ast.BinOp(right, ast.Pow(), ast.Constant(2))
            yield Change(
                f"the square of {said(right)} inside the root",
                call("sqrt", total_of(inside, squared)),
            )
            words = f"at least {said(right)}, which the reference adds"
            yield Change(words, call("maximum", left, right))
        case ast.Call(func=ast.Attribute(attr="sign" | "abs"), args=[inside]), ast.Add():
            joined = ast.Call(left.func, [total_of(inside, right)], [])
            yield Change(f"{said(right)} inside the {said(left.func)}", joined)


def _of_conditions(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    yield Change(f"whether {said(node.left)} does not matter", node.right)
    yield Change(f"whether {said(node.right)} does not matter", node.left)
    for name in scope.hyperparameters:
        domain = DOMAINS[name]
        if isinstance(domain, Interval) and not domain.integer and 0 in domain:
            also = ast.BinOp(node, ast.BitOr(), expression(f"({name} == 0)"))
            yield Change(f"also where {said(named(name))} is zero", also)


def _without_function(function: str, arguments: Sequence[ast.expr]) -> Iterator[Change]:
    match function, arguments:
        case "sqrt", [x]:
            yield Change("without the root", x)
        case "abs", [x]:
            yield Change("without the magnitude", x)
            squared = ast.BinOp(x, ast.Pow(), ast.Constant(2))
            yield Change(f"the square of {said(x)}, not its magnitude", squared)
        case "sign" | "sum" | "mean", [x, *_]:
            yield Change(f"without the {function}", x)
            if function == "sign":
                negative = ast.Compare(x, [ast.Lt()], [ast.Constant(0)])
                one = call("full_like", x, ast.Constant(1.0))
                signs = call("where", negative, ast.Constant(-1.0), one)
                yield Change("the sign of zero is 1", signs)
        case "zeros_like", [x]:
            yield Change(f"{said(x)} in place of zero", x)
        case "full_like", [x, value]:
            yield Change(f"zero in place of {said(value)}", call("zeros_like", x))


def _moved_outside(
    node: ast.Call, function: str, arguments: Sequence[ast.expr]
) -> Iterator[Change]:
    """Epsilon, or whatever is added, outside the root."""
    match function, arguments:
        case "sqrt", [ast.BinOp(left=left, op=ast.Add(), right=right)]:
            outside = total_of(call("sqrt", left), right)
            yield Change(f"{said(right)} outside the root", outside)
            words = f"{said(right)} inside the root as well as outside"
            yield Change(words, total_of(node, right))
            words = f"at least {said(right)}, which the reference adds"
            yield Change(words, call("sqrt", call("maximum", left, right)))


def _of_choice(
    node: ast.Call, function: str, arguments: Sequence[ast.expr], scope: Scope
) -> Iterator[Change]:
    match function, arguments:
        case "maximum" | "minimum", [left, right]:
            other = "minimum" if function == "maximum" else "maximum"
            yield Change(f"the {other} instead of the {function}", call(other, left, right))
            yield Change(f"always {said(left)}", left)
            yield Change(f"always {said(right)}", right)
            if scope.kind(node) == "array":
                yield Change(f"the sum instead of the {function}", total_of(left, right))
        case "where", [condition, first, second]:
            yield Change(f"always {said(first)}", first)
            yield Change(f"always {said(second)}", second)
            yield Change("the cases exchanged", call("where", condition, second, first))
            if ast.unparse(condition) == "t == 1":
                yield from _of_first_step(node, first, second, scope)


def _of_first_step(
    node: ast.Call, first: ast.expr, second: ast.expr, scope: Scope
) -> Iterator[Change]:
    """What is wrong in the first step, or in the second for the sake of the first."""
    for state in scope.states:
        if state in {n.id for n in ast.walk(second) if isinstance(n, ast.Name)}:
            aliased = Renamed(state, call("where", expression("t == 2"), first, named(state)))
            later = aliased.visit(ast.parse(ast.unparse(second), mode="eval").body)
            words = (
                f"{said(named(state))} is at first the caller's own array, which has changed "
                "by the second step"
            )
            yield Change(words, call("where", node.args[0], first, later))
