"""What people write instead of a line: the mistakes, as changes of syntax trees.

Every alternative is one that real optimizers have had: an operator, operand or name exchanged, a
term or factor left out, epsilon at another place, a state read before or after its update, a
correction by another power, a norm of another kind. What nobody would write, such as the square of
a condition, is left out, and so is what means the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, Literal, NamedTuple, TypeVar

from refopt.hyperparameters import DECAY_RATES, DOMAINS, Boolean, Interval
from refopt.oracle.wording import said

Kind = Literal["array", "scalar", "count", "flag", "other"]
"""What a name or an expression stands for; a count is an integer such as the step."""


Place = tuple[tuple[str, int], ...]
"""Where a part of an expression is: the fields to go down, with the index in those of lists."""


class Change(NamedTuple):
    """An expression in place of a part of another: the difference in words, its kind, and where."""

    words: str
    node: ast.expr
    kind: str = ""
    place: Place = ()


class Changed(NamedTuple):
    """A statement in place of another, the difference in words, and its kind."""

    words: str
    statement: ast.stmt
    kind: str


COMMON: Final = frozenset(
    {"quantity", "left out", "epsilon", "step count", "state", "norm", "choice"}
)
"""The kinds of changes of a line that are common enough to come together with others."""


@dataclass(frozen=True)
class Scope:
    """What a statement can refer to.

    Attributes:
        kinds: the names that it may read, and what they stand for.
        updated: the state that statements before it have updated, with what it averages.
        states: the names of the state.
        hyperparameters: their names.
        readable: what a function of its kind could read as well: ``lr``, ``t``, ...
        target: what the statement assigns.
        identity: what a variant without state would return to change nothing.
    """

    kinds: Mapping[str, Kind]
    updated: Mapping[str, ast.expr | None]
    states: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    readable: frozenset[str]
    target: str = ""
    identity: str | None = None

    @property
    def rates(self) -> list[str]:
        """The decay rates."""
        return [name for name in self.hyperparameters if name in DECAY_RATES]

    def has(self, name: str) -> bool:
        """Whether a name is or could be read."""
        return name in self.kinds or name in self.readable

    def kind(self, node: ast.expr) -> Kind:
        """What an expression stands for."""
        match node:
            case ast.Constant(value=bool()):
                return "flag"
            case ast.Constant(value=int()):
                return "count"
            case ast.Constant(value=float()):
                return "scalar"
            case ast.Name(id=name):
                return self.kinds.get(name, "other")
            case ast.Compare() | ast.BinOp(op=ast.BitOr() | ast.BitAnd()):
                return "flag"
            case ast.BinOp(left=left, op=op, right=right):
                kinds = {self.kind(left), self.kind(right)}
                if kinds == {"count"} and not isinstance(op, ast.Div | ast.Pow):
                    return "count"
                return "array" if "array" in kinds else "scalar"
            case ast.UnaryOp(operand=operand):
                return self.kind(operand)
            case ast.Call(func=ast.Attribute(attr="sum")) | ast.Call(func=ast.Name(id="sum")):
                return "scalar"
            case ast.Call(func=ast.Attribute(attr="ndim" | "floor_log")):
                return "count"
            case ast.Call(func=ast.Attribute(attr="any")):
                return "flag"
            case ast.Call(func=ast.Attribute(attr="where"), args=[_, first, second]):
                kinds = {self.kind(first), self.kind(second)}
                return "array" if "array" in kinds else self.kind(first)
            case ast.Call(func=ast.Attribute(attr="mean" | "zeros_like" | "full_like")):
                return "array"
            case ast.Call(func=ast.Attribute(), args=arguments):
                return "array" if "array" in map(self.kind, arguments) else "scalar"
            case ast.Call(func=ast.Name(id=name)) if name.startswith("_"):
                return "scalar"
        return "other"


def kind_of_argument(name: str) -> Kind:
    """What an argument of a rule or variant stands for."""
    if name in ("t", "lr", "beta"):
        return "count" if name == "t" else "scalar"
    return "other" if name in ("xp", "gs") else "array"


def kind_of_hyperparameter(name: str) -> Kind:
    """What a hyperparameter stands for."""
    domain = DOMAINS[name]
    if isinstance(domain, Interval):
        return "count" if domain.integer else "scalar"
    return "flag" if isinstance(domain, Boolean) else "other"


def are_alike(first: str, second: str) -> bool:
    """Whether two hyperparameters are numbers of the same range."""
    one, other = DOMAINS[first], DOMAINS[second]
    if not isinstance(one, Interval) or not isinstance(other, Interval):
        return False
    return (one.low, one.high, one.integer) == (other.low, other.high, other.integer)


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
        value = _put(value, change.place, change.node)
    return _with(statement, value=simplified(value))


def _put(node: ast.expr, place: Place, part: ast.expr) -> ast.expr:
    """An expression with another part at a place."""
    if not place:
        return part
    (field, i), *rest = place
    value = getattr(node, field)
    if not isinstance(value, list):
        return _with(node, **{field: _put(value, tuple(rest), part)})
    items = [*value[:i], _put(value[i], tuple(rest), part), *value[i + 1 :]]
    return _with(node, **{field: items})


def _of_value(statement: ast.stmt, scope: Scope) -> Iterator[Change]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield from _of_kind("state", _of_state(name, value, scope))
            yield from _of_kind("norm", _of_norm(name, value, scope))
            yield from _within(value, scope, ())
        case ast.Assign(value=value):
            yield from _within(value, scope, ())
        case ast.Return(value=ast.expr() as value):
            if scope.identity is not None:
                yield from _of_kind("condition", _of_gates(value, scope.identity))
            yield from _within(value, scope, ())


def _of_gates(value: ast.expr, identity: str) -> Iterator[Change]:
    """A variant that leaves some parameters alone."""
    for test, words in {
        f"xp.ndim({identity}) > 1": "only for parameters of two axes and more",
        f"xp.ndim({identity}) > 0": "only for parameters with axes",
    }.items():
        yield Change(words, _call("where", expression(test), value, named(identity)))


Path = tuple[tuple[ast.expr, str], ...]
"""The expressions around one, from the innermost outwards, and the fields that it stands in."""


def _within(node: ast.expr, scope: Scope, path: Path) -> Iterator[Change]:
    """An expression with itself or one of its parts changed."""
    yield from _of_expression(node, scope, path)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        targets = [comprehension.target for comprehension in node.generators]
        bound: dict[str, Kind] = {t.id: "array" for t in targets if isinstance(t, ast.Name)}
        scope = replace(scope, kinds={**scope.kinds, **bound})
    for field, part in _parts(node):
        for i, item in enumerate(part if isinstance(part, list) else [part]):
            for change in _within(item, scope, ((node, field), *path)):
                yield change._replace(place=((field, i), *change.place))


def _parts(node: ast.expr) -> Iterator[tuple[str, ast.expr | list[ast.expr]]]:
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


# Statements


def _of_state(name: str, value: ast.expr, scope: Scope) -> Iterator[Change]:
    """What becomes of the update of a state."""
    if name not in scope.states:
        return
    own = named(name)
    yield Change(f"{said(own)} is not updated", own)
    if "eps" in scope.hyperparameters:
        yield Change(f"epsilon accumulates in {said(own)}", _sum(value, named("eps")))
    news = news_of(value)
    if news is not None and scope.has("t"):
        start = _call("where", expression("t == 1"), news, value)
        yield Change(f"{said(own)} starts at its first value instead of zero", start)


def news_of(value: ast.expr) -> ast.expr | None:
    """What a moving average averages: y in ``rate * x + weight * y``."""
    match value:
        case ast.BinOp(
            left=ast.BinOp(op=ast.Mult()), op=ast.Add(), right=ast.BinOp(op=ast.Mult(), right=news)
        ):
            return news
    return None


def _is_quotient(value: ast.expr) -> bool:
    match value:
        case ast.BinOp(op=ast.Div()):
            return True
        case ast.Call(func=ast.Attribute(attr="where"), args=[_, first, second]):
            return _is_quotient(first) or _is_quotient(second)
    return False


def _of_norm(name: str, value: ast.expr, scope: Scope) -> Iterator[Change]:
    """Limits of ratios, and norms of other kinds."""
    own = named(name)
    if scope.kind(value) == "scalar" and _is_quotient(value):
        one = ast.Constant(1.0)
        yield Change(f"{said(own)} is at most 1", _call("minimum", value, one))
        yield Change(f"{said(own)} is at least 1", _call("maximum", value, one))
    if not name.startswith("norm"):
        return
    yield Change(f"{said(own)} is at most 10", _call("minimum", value, ast.Constant(10.0)))
    match value:
        case ast.Call(
            func=ast.Attribute(attr="sqrt"),
            args=[
                ast.Call(
                    func=ast.Attribute(attr="sum") as total, args=[ast.BinOp(left=x)]
                ) as squares
            ],
        ):
            magnitudes = ast.Call(total, [_call("abs", x)], [])
            yield Change(f"{said(own)} is the sum of absolute values", magnitudes)
            ones = ast.BinOp(_call("zeros_like", x), ast.Add(), ast.Constant(1))
            mean = ast.BinOp(squares, ast.Div(), _call("sum", ones))
            yield Change(
                f"{said(own)} is the root of the mean, not of the sum", _call("sqrt", mean)
            )
        case ast.Call(
            func=ast.Attribute(attr="sqrt"),
            args=[
                ast.Call(
                    func=ast.Name(id="sum"), args=[ast.GeneratorExp(elt=squares) as generator]
                ) as total
            ],
        ):
            assert isinstance(squares, ast.Call)
            assert isinstance(squares.args[0], ast.BinOp)
            roots = _with(generator, elt=_call("sqrt", squares))
            yield Change(f"{said(own)} is the sum of the norms", _with(total, args=[roots]))
            magnitudes = _call("sum", _call("abs", squares.args[0].left))
            added = _with(total, args=[_with(generator, elt=magnitudes)])
            yield Change(f"{said(own)} is the sum of absolute values", added)


# Expressions


def _of_expression(node: ast.expr, scope: Scope, path: Path) -> Iterator[Change]:
    match node:
        case ast.Name(id=name):
            yield from _of_name(name, scope, path)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            yield from _of_kind("number", _of_number(value, path))
        case ast.BinOp(op=ast.BitOr() | ast.BitAnd()):
            yield from _of_kind("condition", _of_conditions(node, scope))
        case ast.BinOp():
            yield from _of_operation(node, scope)
            yield from _of_kind("quantity", _of_terms(node, scope))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for other in _COMPARED[type(op)]:
                changed = ast.Compare(left, [other()], [right])
                yield Change(f"{said(changed)} instead of {said(node)}", changed, "condition")
        case ast.Call(func=ast.Attribute(attr=function), args=arguments):
            yield from _of_kind("choice", _of_choice(node, function, arguments, scope))
            yield from _of_kind("left out", _without_function(function, arguments))
            yield from _of_kind("epsilon", _moved_outside(node, function, arguments))


def _of_kind(kind: str, changes: Iterator[Change]) -> Iterator[Change]:
    return (change._replace(kind=kind) for change in changes)


_COMPARED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}


def _of_name(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    kind = scope.kinds.get(name, "other")
    if name in scope.hyperparameters:
        yield from _of_kind("quantity", _other_hyperparameters(name, scope, path))
        yield from _of_kind("factor", _scaled_hyperparameters(name, scope))
    elif name == "t":
        changes = (Change(words, expression(text)) for text, words in COUNTS.items())
        yield from _of_kind("step count", changes)
    elif kind == "array":
        yield from _of_kind("quantity", _other_arrays(name, scope, path))
        yield from _of_kind("factor", _scaled_arrays(name, scope, path))
    elif kind == "scalar":
        yield from _of_kind("quantity", _other_scalars(name, scope))
        yield from _of_kind("factor", _scaled_scalars(name, scope))


COUNTS: Final = {
    "t - 1": "the step count is one too small",
    "t + 1": "the step count is one too large",
    "2 * t": "the step count advances twice",
    "1": "the step count stays at 1",
}
"""What may stand for the step count, and what is said of it."""


def _other_hyperparameters(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    for other in scope.hyperparameters:
        if other != name and are_alike(other, name):
            yield Change(f"{said(named(other))} in place of {said(named(name))}", named(other))
    domain = DOMAINS[name]
    if isinstance(domain, Interval) and domain.high == 1 and not _is_complement(path):
        yield Change(f"1 - {name} in place of {name}", _complement(name))


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
    for other, kind in scope.kinds.items():
        if kind == "array" and other != name:
            yield Change(f"{said(named(other))} in place of {said(own)}", named(other))
    if name in scope.updated:
        yield Change(f"{said(own)} from before its update", named(f"{name}_old"))
        news = scope.updated[name]
        if news is not None:
            yield Change(f"{said(news)} in place of {said(own)}", news)
    if _is_field(path, ast.Pow, "left"):
        for other in [state for state in scope.states if state != name]:
            words = f"the square of the difference from {said(named(other))}"
            yield Change(words, expression(f"{name} - {other}"))


def _scaled_arrays(name: str, scope: Scope, path: Path) -> Iterator[Change]:
    if name == scope.target and name not in scope.updated:
        return  # what is done to it here might as well be done where it is returned
    own = named(name)
    if not _is_field(path, ast.Pow, "left"):
        yield Change(f"{said(own)} is squared", expression(f"{name}**2"))
        if name in ("theta", "theta_old", "h", "g"):
            yield Change(f"the sign of {said(own)} in its place", _call("sign", own))
        for other in ("lr", *scope.rates):
            if scope.has(other):
                words = f"{said(own)} is multiplied by {said(named(other))}"
                yield Change(words, expression(f"{other} * {name}"))
    if _is_field(path, ast.Div, "right"):
        yield Change(f"the root of {said(own)} in its place", _call("sqrt", own))
    if name in scope.states and scope.has("t"):
        yield Change(f"{said(own)} is divided by the step count", expression(f"{name} / t"))
        for rate in scope.rates:
            words = f"{said(own)} is corrected by {rate}"
            yield Change(words, expression(f"{name} / (1 - {rate}**t)"))


def _other_scalars(name: str, scope: Scope) -> Iterator[Change]:
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


def _of_number(value: float, path: Path) -> Iterator[Change]:
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


_EXCHANGED: Final[dict[type[ast.operator], tuple[type[ast.operator], str]]] = {
    ast.Add: (ast.Sub, "subtracted instead of added"),
    ast.Sub: (ast.Add, "added instead of subtracted"),
    ast.Mult: (ast.Div, "a divisor instead of a factor"),
    ast.Div: (ast.Mult, "a factor instead of a divisor"),
}


def _of_operation(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    left, op, right = node.left, node.op, node.right
    yield from _of_kind("left out", _left_out(left, op, right))
    yield from _of_kind("operator", _with_another_operator(node, scope))
    yield from _of_kind("order", _ordered_otherwise(left, op, right))
    yield from _of_kind("epsilon", _moved_inside(left, op, right))


def _with_another_operator(node: ast.BinOp, scope: Scope) -> Iterator[Change]:
    left, op, right = node.left, node.op, node.right
    match op:
        case ast.Pow():
            words = f"{said(left)} times {said(right)} instead of to that power"
            yield Change(words, ast.BinOp(left, ast.Mult(), right))
            if ast.unparse(right) == "2":
                yield Change(f"the magnitude of {said(left)}, not squared", _call("abs", left))
        case ast.Mult() if scope.kind(left) != "array" and scope.kind(right) == "array":
            words = f"{said(left)} is a divisor instead of a factor"
            yield Change(words, ast.BinOp(right, ast.Div(), left))
        case ast.Add() | ast.Sub() | ast.Mult() | ast.Div():
            other, words = _EXCHANGED[type(op)]
            yield Change(f"{said(right)} is {words}", ast.BinOp(left, other(), right))
    if isinstance(op, ast.Add) and scope.kind(node) == "array":
        words = f"{said(left)} is subtracted instead of added"
        yield Change(words, ast.BinOp(right, ast.Sub(), left))


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
    for other in [name for name, kind in scope.kinds.items() if kind == "array"]:
        for field in ("left", "right"):
            term = getattr(node, field)
            if isinstance(term, ast.BinOp) and scope.kind(term) == "array":
                words = f"{said(named(other))} in place of {said(term)}"
                yield Change(words, _with(node, **{field: named(other)}))


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
        case ast.Div() if _is_correction(right):
            yield Change(f"{said(left)} is not corrected", left)
        case ast.Div() | ast.FloorDiv():
            yield Change(f"{said(left)} is not divided by {said(right)}", left)
        case ast.Pow() if ast.unparse(right) == "2":
            yield Change(f"{said(left)} is not squared", left)
        case ast.Pow():
            yield Change(f"{said(left)} is not raised to the power {said(right)}", left)


def _is_correction(node: ast.expr) -> bool:
    """Whether it is ``1 - rate**t``."""
    match node:
        case ast.BinOp(ast.Constant(1), ast.Sub(), ast.BinOp(op=ast.Pow())):
            return True
    return False


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


def _is_one(node: ast.expr) -> bool:
    return ast.unparse(node) == "1"


def _weights_exchanged(left: ast.expr, op: ast.operator, right: ast.expr) -> Iterator[Change]:
    match left, op, right:
        case (
            ast.BinOp(left=first, op=ast.Mult(), right=x),
            ast.Add(),
            ast.BinOp(left=second, op=ast.Mult(), right=y),
        ):
            exchanged = _sum(ast.BinOp(second, ast.Mult(), x), ast.BinOp(first, ast.Mult(), y))
            yield Change(f"the weights of {said(x)} and {said(y)} exchanged", exchanged)
        case _, ast.Add(), ast.BinOp(left=weight, op=ast.Mult(), right=y):
            exchanged = _sum(ast.BinOp(weight, ast.Mult(), left), y)
            words = f"the factor {said(weight)} on {said(left)} instead of {said(y)}"
            yield Change(words, exchanged)
        case ast.BinOp(left=weight, op=ast.Mult(), right=x), ast.Add(), _:
            exchanged = _sum(x, ast.BinOp(weight, ast.Mult(), right))
            words = f"the factor {said(weight)} on {said(right)} instead of {said(x)}"
            yield Change(words, exchanged)


def _moved_inside(left: ast.expr, op: ast.operator, right: ast.expr) -> Iterator[Change]:
    """Epsilon at another place, or a term under another function."""
    match left, op:
        case ast.Call(func=ast.Attribute(attr="sqrt"), args=[inside]), ast.Add():
            joined = _call("sqrt", _sum(inside, right))
            yield Change(f"{said(right)} inside the root", joined)
            yield Change(f"{said(right)} inside the root as well as outside", _sum(joined, right))
            squared = ast.BinOp(right, ast.Pow(), ast.Constant(2))
            yield Change(
                f"the square of {said(right)} inside the root", _call("sqrt", _sum(inside, squared))
            )
            words = f"at least {said(right)}, which the reference adds"
            yield Change(words, _call("maximum", left, right))
        case ast.Call(func=ast.Attribute(attr="sign" | "abs"), args=[inside]), ast.Add():
            joined = ast.Call(left.func, [_sum(inside, right)], [])
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
        case "zeros_like", [x]:
            yield Change(f"{said(x)} in place of zero", x)


def _moved_outside(
    node: ast.Call, function: str, arguments: Sequence[ast.expr]
) -> Iterator[Change]:
    """Epsilon, or whatever is added, outside the root."""
    match function, arguments:
        case "sqrt", [ast.BinOp(left=left, op=ast.Add(), right=right)]:
            outside = _sum(_call("sqrt", left), right)
            yield Change(f"{said(right)} outside the root", outside)
            words = f"{said(right)} inside the root as well as outside"
            yield Change(words, _sum(node, right))
            words = f"at least {said(right)}, which the reference adds"
            yield Change(words, _call("sqrt", _call("maximum", left, right)))


def _of_choice(
    node: ast.Call, function: str, arguments: Sequence[ast.expr], scope: Scope
) -> Iterator[Change]:
    match function, arguments:
        case "maximum" | "minimum", [left, right]:
            other = "minimum" if function == "maximum" else "maximum"
            yield Change(f"the {other} instead of the {function}", _call(other, left, right))
            yield Change(f"always {said(left)}", left)
            yield Change(f"always {said(right)}", right)
            if scope.kind(node) == "array":
                yield Change(f"the sum instead of the {function}", _sum(left, right))
        case "where", [condition, first, second]:
            yield Change(f"always {said(first)}", first)
            yield Change(f"always {said(second)}", second)
            yield Change("the cases exchanged", _call("where", condition, second, first))
            if ast.unparse(condition) == "t == 1":
                yield from _of_first_step(node, first, second, scope)


def _of_first_step(
    node: ast.Call, first: ast.expr, second: ast.expr, scope: Scope
) -> Iterator[Change]:
    """What is wrong in the first step, or in the second for the sake of the first."""
    for state in scope.states:
        if state in {n.id for n in ast.walk(second) if isinstance(n, ast.Name)}:
            aliased = _Renamed(state, _call("where", expression("t == 2"), first, named(state)))
            later = aliased.visit(ast.parse(ast.unparse(second), mode="eval").body)
            words = (
                f"{said(named(state))} is at first the caller's own array, which has changed "
                "by the second step"
            )
            yield Change(words, _call("where", node.args[0], first, later))


class _Renamed(ast.NodeTransformer):
    def __init__(self, name: str, instead: ast.expr) -> None:
        self.name, self.instead = name, instead

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.instead if node.id == self.name else node


# Trees


def expression(text: str) -> ast.expr:
    """The tree of an expression."""
    return ast.parse(text, mode="eval").body


def named(name: str) -> ast.expr:
    """The tree of a name that is read."""
    return ast.Name(name, ast.Load())


def _call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(expression(f"xp.{function}"), list(arguments), [])


def _sum(left: ast.expr, right: ast.expr) -> ast.BinOp:
    return ast.BinOp(left, ast.Add(), right)


def _complement(name: str) -> ast.expr:
    return expression(f"1 - {name}")


def _is_field(path: Path, op: type[ast.operator], field: str) -> bool:
    """Whether an expression stands on one side of an operation."""
    match path:
        case ((ast.BinOp(op=around), at), *_):
            return isinstance(around, op) and at == field
    return False


Tree = TypeVar("Tree", bound=ast.AST)


def _with(node: Tree, **fields: object) -> Tree:
    """A tree with other parts."""
    parts = {field: getattr(node, field, None) for field in node._fields}
    return ast.copy_location(type(node)(**(parts | fields)), node)


def simplified(node: ast.expr) -> ast.expr:
    """An expression without factors of 1, terms of 0 and sums of numbers."""
    for field, part in _parts(node):
        simple = simplified(part) if isinstance(part, ast.expr) else list(map(simplified, part))
        node = _with(node, **{field: simple})
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
