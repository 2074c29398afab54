"""One-line changes of the reference: the mistakes that people make, as code that runs.

Every rule and variant is read as a syntax tree; each edit changes one line of it in one way in
which real optimizers have been wrong. The same edits measure the probes (each must be killed) and
explain targets (the one that reproduces the target is the answer).
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from types import CodeType
from typing import Any, Final

from refopt.hyperparameters import DOMAINS
from refopt.layers import Function
from refopt.optimizer import Optimizer


@dataclass(frozen=True)
class Edit:
    """A change of one line of the reference.

    Attributes:
        file: the file, as it stands in the repository.
        line: the line's number there.
        before: the reference's line.
        after: what stands there instead.
        description: the change in words.
        apply: makes the change.
    """

    file: str
    line: int
    before: str
    after: str
    description: str
    apply: Callable[[Optimizer], Optimizer]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n- {self.before}\n+ {self.after}"


@dataclass(frozen=True)
class Source:
    """Where a layer's function stands, and its statements without docstring and decorators."""

    file: str
    first_line: int
    lines: tuple[str, ...]
    arguments: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    statements: tuple[ast.stmt, ...]


class Edited:
    """A layer's function with other statements; ``x_old`` is in it the argument x as it came.

    Statements are compiled one by one and once only, so that thousands of pairs of edits can be
    run in a second.
    """

    def __init__(self, original: Function, source: Source, statements: Sequence[ast.stmt]) -> None:
        self.original = original
        self.source = replace(source, statements=tuple(statements))
        self.__name__ = original.__name__
        self.__signature__ = inspect.signature(original)
        self._codes = [_code(statement) for statement in statements]

    def __call__(self, *arguments: Any, **hyperparameters: Any) -> Any:
        values = dict(zip(self.source.arguments, arguments, strict=True))
        old = {f"{name}_old": value for name, value in values.items()}
        scope = {**self.original.__globals__, **old, **values, **hyperparameters}
        for code in self._codes:
            exec(code, scope)  # noqa: S102
        return scope[_RESULT]


_RESULT: Final = "__result__"


@cache
def _code(statement: ast.stmt) -> CodeType:
    """A statement compiled for a scope of its own; what it returns is assigned."""
    if isinstance(statement, ast.Return):
        assert statement.value is not None
        statement = ast.Assign([ast.Name(_RESULT, ast.Store())], statement.value)
    module = ast.fix_missing_locations(ast.Module([statement], []))
    return compile(module, "<edited>", "exec")


def edits(optimizer: Optimizer) -> Iterator[Edit]:
    """Every one-line change of the functions of a rule and its variants, none of them twice."""
    for index, layer in enumerate(optimizer.layers):
        code = source(layer.function)
        for position, statement in enumerate(code.statements):
            seen = {ast.unparse(statement)}
            for description, changed in _changes(statement, _names_before(code, position)):
                text = ast.unparse(changed)
                if text not in seen:
                    seen.add(text)
                    yield Edit(
                        file=code.file,
                        line=code.first_line + statement.lineno - 1,
                        before=code.lines[statement.lineno - 1].strip(),
                        after=written(changed),
                        description=description,
                        apply=partial(_with_statement, index, position, changed),
                    )


@cache
def source(function: Function) -> Source:
    """Where a rule's or a variant's function stands, and what it consists of."""
    if isinstance(function, Edited):
        return function.source
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    path = inspect.getsourcefile(function) or ""
    return Source(
        file="refopt" + path.rpartition("refopt")[2],
        first_line=first,
        lines=tuple(line.rstrip("\n") for line in lines),
        arguments=tuple(a.arg for a in tree.args.args),
        hyperparameters=tuple(a.arg for a in tree.args.kwonlyargs),
        statements=tuple(s for s in tree.body if not isinstance(s, ast.Expr)),  # the docstring
    )


def _with_statement(
    index: int, position: int, statement: ast.stmt, optimizer: Optimizer
) -> Optimizer:
    """The optimizer with one statement of one layer's function replaced."""
    layers = list(optimizer.layers)
    function = layers[index].function
    code = source(function)
    statements = (*code.statements[:position], statement, *code.statements[position + 1 :])
    original = function.original if isinstance(function, Edited) else function
    layers[index] = replace(layers[index], function=Edited(original, code, statements))
    return replace(optimizer, layers=tuple(layers))


def written(statement: ast.stmt) -> str:
    """A statement as this project writes it: ``ast.unparse`` adds spaces and parentheses."""
    text = ast.unparse(statement)
    if text.startswith("return (") and text.endswith(")"):
        text = f"return {text[8:-1]}"
    return text.replace(" ** ", "**")


# What people change

Change = tuple[str, ast.stmt]


@dataclass(frozen=True)
class _Names:
    """The names that a statement may use: arrays and decay rates, so that they may be confused."""

    arrays: tuple[str, ...]
    updated: tuple[str, ...]
    rates: tuple[str, ...]
    has_step: bool


def _names_before(code: Source, position: int) -> _Names:
    arguments = [name for name in code.arguments if name not in ("xp", "t")]
    assigned = [
        target.id
        for statement in code.statements[:position]
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    ]
    return _Names(
        arrays=tuple(dict.fromkeys(arguments + assigned)),
        updated=tuple(name for name in arguments if name in assigned),
        rates=code.hyperparameters,
        has_step="t" in code.arguments,
    )


def _changes(statement: ast.stmt, names: _Names) -> Iterator[Change]:
    """The statement left out, or with one of its expressions changed."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) if name in names.arrays:
            yield f"{name} is not updated", ast.parse(f"{name} = {name}").body[0]
    if isinstance(statement, ast.Assign | ast.Return) and statement.value is not None:
        for node, put in _places(statement, statement.value):
            for description, changed in _alternatives(node, names):
                yield description, put(changed)


def _places(
    statement: ast.stmt, root: ast.expr
) -> Iterator[tuple[ast.expr, Callable[[ast.expr], ast.stmt]]]:
    """Every expression of a statement, with what puts another in its place."""
    nodes = [node for node in ast.walk(root) if isinstance(node, ast.expr)]
    for position, node in enumerate(nodes):

        def put(changed: ast.expr, position: int = position) -> ast.stmt:
            copied = copy.deepcopy(statement)
            value = copied.value  # type: ignore[attr-defined]
            target = [n for n in ast.walk(value) if isinstance(n, ast.expr)][position]
            if target is value:
                copied.value = changed  # type: ignore[attr-defined]
                return copied
            return _Replaced(target, changed).visit(copied)  # type: ignore[no-any-return]

        yield node, put


class _Replaced(ast.NodeTransformer):
    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


Alternative = tuple[str, ast.expr]

_SWAPPED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
_COMPARED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_OTHER_FUNCTION: Final = {"maximum": "minimum", "minimum": "maximum"}


def _alternatives(node: ast.expr, names: _Names) -> Iterator[Alternative]:
    """What people write instead of an expression."""
    match node:
        case ast.Name(id=name):
            yield from _of_name(name, names)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            yield from _of_number(value)
        case ast.BinOp():
            yield from _of_operation(node)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for other in _COMPARED[type(op)]:
                yield "compares the other way", ast.Compare(left, [other()], [right])
        case ast.Call(func=ast.Attribute(attr=function), args=arguments):
            yield from _of_call(node, function, arguments)


def _of_name(name: str, names: _Names) -> Iterator[Alternative]:
    if name == "t":
        for text, words in {
            "t - 1": "the step counts from 0",
            "t + 1": "the step is one too large",
            "2 * t": "the step is counted twice",
            "1": "the step stays at 1",
        }.items():
            yield words, _expression(text)
    if name in names.rates:
        for other in names.rates:
            if other != name and DOMAINS[other] == DOMAINS[name]:
                yield f"{other} where the reference has {name}", _expression(other)
    if name == "eps":
        yield "epsilon is squared", _expression("eps ** 2")
        if "beta2" in names.rates and names.has_step:
            yield "epsilon is scaled", _expression("eps * xp.sqrt(1 - beta2 ** t)")
            yield "epsilon is scaled", _expression("eps / xp.sqrt(1 - beta2 ** t)")
    if name in names.arrays:
        for other in names.arrays:
            if other != name:
                yield f"{other} where the reference has {name}", _expression(other)
        if name in names.updated:
            yield f"{name} from before its update", _expression(f"{name}_old")
        yield f"{name} is squared", _expression(f"{name} ** 2")


def _of_number(value: float) -> Iterator[Alternative]:
    for other in dict.fromkeys((value + 1, value - 1, value * 2, value / 2, 0 * value)):
        if other != value:
            number = int(other) if float(other).is_integer() and isinstance(value, int) else other
            yield f"{number} where the reference has {value}", ast.Constant(number)


def _of_operation(node: ast.BinOp) -> Iterator[Alternative]:
    left, right = node.left, node.right
    if type(node.op) in _SWAPPED:
        swapped = _SWAPPED[type(node.op)]
        yield (
            f"{_word(swapped)} instead of {_word(type(node.op))}",
            ast.BinOp(left, swapped(), right),
        )
    yield f"without {ast.unparse(left)}", right
    yield f"without {ast.unparse(right)}", left
    if isinstance(node.op, ast.Sub | ast.Div):
        yield "operands exchanged", ast.BinOp(right, node.op, left)
    if isinstance(node.op, ast.Add | ast.Sub):
        match left, right:
            case _, ast.BinOp(left=first, op=ast.Mult() | ast.Div() as op, right=second):
                yield (
                    "parenthesised otherwise",
                    ast.BinOp(ast.BinOp(left, node.op, first), op, second),
                )
        match left:
            case ast.BinOp(left=first, op=ast.Mult() | ast.Div() as op, right=second):
                yield (
                    "parenthesised otherwise",
                    ast.BinOp(first, op, ast.BinOp(second, node.op, right)),
                )
            case ast.Call(func=ast.Attribute(attr="sqrt"), args=[inside]):
                joined = ast.Call(left.func, [ast.BinOp(inside, node.op, right)], [])
                yield f"{ast.unparse(right)} inside the root", joined
                both = ast.BinOp(joined, node.op, right)
                yield f"{ast.unparse(right)} inside the root and outside", both
                yield (
                    f"at least {ast.unparse(right)} instead of adding it",
                    ast.Call(_expression("xp.maximum"), [left, right], []),
                )


def _of_call(node: ast.Call, function: str, arguments: Sequence[ast.expr]) -> Iterator[Alternative]:
    if function in ("sqrt", "abs", "sign", "zeros_like", "sum"):
        yield f"without {function}", arguments[0]
    if function == "sqrt":
        match arguments[0]:
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                root = ast.Call(node.func, [left], [])
                yield f"{ast.unparse(right)} outside the root", ast.BinOp(root, ast.Add(), right)
    if function in _OTHER_FUNCTION:
        other = _expression(f"xp.{_OTHER_FUNCTION[function]}")
        yield (
            f"{_OTHER_FUNCTION[function]} instead of {function}",
            ast.Call(other, list(arguments), []),
        )
        for argument in arguments:
            yield f"always {ast.unparse(argument)}", argument
    if function == "where":
        condition, first, second = arguments
        yield f"always {ast.unparse(first)}", first
        yield f"always {ast.unparse(second)}", second
        yield "the cases exchanged", ast.Call(node.func, [condition, second, first], [])


def _word(operator: type[ast.operator]) -> str:
    return {ast.Add: "plus", ast.Sub: "minus", ast.Mult: "times", ast.Div: "divided by"}[operator]


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
