"""A layer's function with other statements, as code that runs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from operator import is_
from types import CodeType
from typing import Any, Final

from refopt import layers as stages
from refopt.layers import Function, Layer, Leaf, Rule
from refopt.optimizer import Optimizer

Statements = tuple[ast.stmt, ...]


Stage = Callable[..., Layer]
"""A kind of layer."""


SUPPLIED: Final[Mapping[Stage, frozenset[str]]] = {
    Rule: frozenset({"xp", "lr", "t", "theta"}),
    stages.OnGradient: frozenset({"xp", "t"}),
    stages.OnDirection: frozenset({"xp", "lr", "t", "g"}),
    stages.OnParameterBefore: frozenset({"xp", "lr", "t"}),
    stages.OnParameter: frozenset({"xp", "lr", "t", "g", "theta_old"}),
    stages.OnLearningRate: frozenset({"xp", "t"}),
}
"""What layers of a kind could supply to their function."""


@dataclass(frozen=True)
class Change:
    """A change of a function, wherever it is used.

    Attributes:
        place: file, line, before, after, description and kind of the edit.
        rewrite: makes other statements of those of the function.
        scope: what other functions of the module the statements are to find.
        keeps_rate: whether the step is multiplied by the learning rate also where a rule reads it.
    """

    place: Mapping[str, Any]
    rewrite: Callable[[Statements], Statements]
    scope: Mapping[str, Any] | None = None
    keeps_rate: bool = False


@dataclass(frozen=True)
class Source:
    """Where a layer's function stands, and its statements without docstring and decorators."""

    file: str
    first_line: int
    lines: tuple[str, ...]
    arguments: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    statements: tuple[ast.stmt, ...]

    def line(self, statement: ast.stmt) -> int:
        """The number of a statement's first line in the file."""
        return self.first_line + statement.lineno - 1

    def text(self, statement: ast.stmt) -> str:
        """A statement's first line."""
        return self.lines[statement.lineno - 1].strip()


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


class Edited:
    """A layer's function with other statements; ``x_old`` is in it the argument x as it came.

    What the statements read beyond the function's arguments becomes an argument as well, so that
    the layer supplies it. Statements are compiled one by one and once only, so that thousands of
    pairs of edits can be run in a second.
    """

    def __init__(
        self,
        original: Function,
        source: Source,
        statements: Sequence[ast.stmt],
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        self.original = original
        self.scope = original.__globals__ if scope is None else scope
        read = frozenset[str]().union(*map(reads, statements))
        self.arguments = (*source.arguments, *sorted(read - set(source.arguments)))
        self.source = replace(source, statements=tuple(statements))
        self.__name__ = original.__name__
        self.__signature__ = _signature(original, self.arguments)
        self._codes = [_code(statement) for statement in statements]

    def __call__(self, *arguments: Any, **hyperparameters: Any) -> Any:
        """What the edited function returns."""
        values = dict(zip(self.arguments, arguments, strict=True))
        old = {f"{name}_old": value for name, value in values.items()}
        scope = {**self.scope, **old, **values, **hyperparameters}
        for code in self._codes:
            exec(code, scope)  # noqa: S102
        return scope[_RESULT]


def with_change(index: int, change: Change, optimizer: Optimizer) -> Optimizer:
    """The optimizer with the function of one layer changed."""
    layers = list(optimizer.layers)
    layer = layers[index]
    code = source(layer.function)
    statements = change.rewrite(code.statements)
    edited: Any = layer.function
    is_edited = isinstance(layer.function, Edited)
    original = edited.original if is_edited else layer.function
    scope = change.scope or (edited.scope if is_edited else None)
    layer = replace(layer, function=Edited(original, code, statements, scope))
    if change.keeps_rate:
        layer = RuleWithRate(**{f.name: getattr(layer, f.name) for f in fields(Rule)})
    layers[index] = layer
    return replace(optimizer, layers=tuple(layers))


class RuleWithRate(Rule):
    """A rule that reads the learning rate and has its direction multiplied by it as well."""

    def inward(self, leaves: Sequence[Leaf]) -> None:
        """Applies the rule."""
        super().inward(leaves)
        for leaf in leaves:
            leaf.scaled = False


class Exchangeable:
    """A layer's function whose statements can be exchanged while it is in use.

    It takes whatever its layer can supply, so that it need not be made anew for each edit.
    """

    def __init__(self, layer: Layer) -> None:
        code = source(layer.function)
        stage: Stage = type(layer)
        further = sorted(SUPPLIED.get(stage, frozenset()) - set(code.arguments))
        self.original = layer.function
        self.arguments = (*code.arguments, *further)
        self.own = code.statements
        self.reads_rate = "lr" in code.arguments
        self.__signature__ = _signature(layer.function, self.arguments)
        self._old = tuple(f"{name}_old" for name in self.arguments)
        self._changes: Sequence[Change] | None = None
        self.exchange(())

    def exchange(self, changes: Sequence[Change]) -> None:
        """Makes it the function with these changes, made one after the other.

        Raises:
            ValueError: one takes away the line of another.
        """
        made = self._changes
        if made is not None and len(made) == len(changes) and all(map(is_, made, changes)):
            return
        self._changes = None
        statements = self.own
        self.scope: Mapping[str, Any] = self.original.__globals__
        for change in changes:
            statements = change.rewrite(statements)
            self.scope = change.scope or self.scope
        self.is_step = self.reads_rate or (
            any("lr" in reads(statement) for statement in statements)
            and not any(change.keeps_rate for change in changes)
        )
        self.statements = statements
        self.codes = [_code(statement) for statement in statements]
        self._changes = changes

    def __call__(self, *arguments: Any, **hyperparameters: Any) -> Any:
        """What the function returns."""
        scope = {**self.scope, **hyperparameters}
        scope.update(zip(self._old, arguments, strict=True))
        scope.update(zip(self.arguments, arguments, strict=True))
        for code in self.codes:
            exec(code, scope)  # noqa: S102
        return scope[_RESULT]


class _ExchangeableRule(Rule):
    """A rule of an exchangeable function."""

    def inward(self, leaves: Sequence[Leaf]) -> None:
        super().inward(leaves)
        for leaf in leaves:
            leaf.scaled = self.function.is_step  # type: ignore[attr-defined]


def exchangeable(optimizer: Optimizer) -> tuple[Optimizer, list[Exchangeable]]:
    """An optimizer whose layers have exchangeable functions, and those functions."""
    functions = [Exchangeable(layer) for layer in optimizer.layers]
    layers = []
    for layer, function in zip(optimizer.layers, functions, strict=True):
        values = {own.name: getattr(layer, own.name) for own in fields(layer)}
        kind: Any = _ExchangeableRule if type(layer) is Rule else type(layer)
        layers.append(kind(**(values | {"function": function})))
    return replace(optimizer, layers=tuple(layers)), functions


_RESULT: Final = "__result__"


@cache
def reads(statement: ast.stmt) -> frozenset[str]:
    """The names that a statement reads and layers supply."""
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    read = frozenset(node.id for node in names if node.id not in bound)
    return read & frozenset[str]().union(*SUPPLIED.values())


@cache
def _signature(function: Function, arguments: tuple[str, ...]) -> inspect.Signature:
    """That of the function, with further positional arguments."""
    own = inspect.signature(function)
    given = own.parameters.values()
    positional = [p for p in given if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = [p for p in given if p.kind is p.KEYWORD_ONLY]
    further = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in arguments[len(positional) :]
    ]
    return own.replace(parameters=[*positional, *further, *others])


@cache
def _code(statement: ast.stmt) -> CodeType:
    """A statement compiled for a scope of its own; what it returns is assigned."""
    if isinstance(statement, ast.Return):
        assert statement.value is not None
        statement = ast.Assign([ast.Name(_RESULT, ast.Store())], statement.value)
    module = ast.fix_missing_locations(ast.Module([statement], []))
    return compile(module, "<edited>", "exec")
