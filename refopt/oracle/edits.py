"""One-line changes of the reference: the mistakes that people make, as code that runs.

Every rule and variant is read as a syntax tree; each edit changes one line of it in one way in
which real optimizers have been wrong (:mod:`refopt.oracle.alternatives`). The same edits measure
the probes (each must be killed) and explain targets (the one that reproduces the target is the
answer).
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from types import CodeType, FunctionType
from typing import Any, Final

from refopt import layers as stages
from refopt.layers import Function, Layer, Leaf, Rule
from refopt.optimizer import Optimizer
from refopt.oracle.alternatives import (
    COUNTS,
    Changed,
    Kind,
    Scope,
    expression,
    kind_of_argument,
    kind_of_hyperparameter,
    named,
    news_of,
    of_statement,
    twice_of_statement,
)
from refopt.oracle.wording import said, written
from refopt.xp import Array, Namespace

__all__ = [
    "Change",
    "Edit",
    "Edited",
    "Exchangeable",
    "LineEdit",
    "Source",
    "double_edits",
    "edits",
    "exchangeable",
    "source",
    "written",
]


Statements = tuple[ast.stmt, ...]


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
class Edit:
    """A change of one line of the reference.

    Attributes:
        file: the file, as it stands in the repository.
        line: the line's number there.
        before: the reference's line.
        after: what stands there instead.
        description: the change in words.
        kind: of mistake; some come together with others more often.
        apply: makes the change. Raises ValueError where another change has taken the line away.
    """

    file: str
    line: int
    before: str
    after: str
    description: str
    kind: str
    apply: Callable[[Optimizer], Optimizer]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n- {self.before}\n+ {self.after}"


@dataclass(frozen=True)
class LineEdit(Edit):
    """A change of a line of a layer's function.

    Attributes:
        index: the layer's place in the stack.
        change: of the function.
    """

    index: int
    change: Change


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
        read = frozenset[str]().union(*map(_reads, statements))
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


_RESULT: Final = "__result__"

Stage = Callable[..., Layer]
"""A kind of layer."""

_SUPPLIED: Final[Mapping[Stage, frozenset[str]]] = {
    Rule: frozenset({"xp", "lr", "t"}),
    stages.OnGradient: frozenset({"xp", "t"}),
    stages.OnDirection: frozenset({"xp", "lr", "t", "g"}),
    stages.OnParameterBefore: frozenset({"xp", "lr", "t"}),
    stages.OnParameter: frozenset({"xp", "lr", "t", "g", "theta_old"}),
    stages.OnLearningRate: frozenset({"xp", "t"}),
}
"""What layers of a kind could supply to their function."""

_IDENTITIES: Final[Mapping[Stage, str]] = {
    stages.OnGradient: "g",
    stages.OnDirection: "h",
    stages.OnParameterBefore: "theta",
    stages.OnParameter: "theta",
    stages.OnRows: "new",
}
"""What the function of a layer of a kind would return to change nothing."""


class Exchangeable:
    """A layer's function whose statements can be exchanged while it is in use.

    It takes whatever its layer can supply, so that it need not be made anew for each edit.
    """

    def __init__(self, layer: Layer) -> None:
        code = source(layer.function)
        stage: Stage = type(layer)
        further = sorted(_SUPPLIED.get(stage, frozenset()) - set(code.arguments))
        self.original = layer.function
        self.arguments = (*code.arguments, *further)
        self.own = code.statements
        self.reads_rate = "lr" in code.arguments
        self.__signature__ = _signature(layer.function, self.arguments)
        self.exchange(())

    def exchange(self, changes: Sequence[Change]) -> None:
        """Makes it the function with these changes, made one after the other.

        Raises:
            ValueError: one takes away the line of another.
        """
        statements = self.own
        self.scope: Mapping[str, Any] = self.original.__globals__
        for change in changes:
            statements = change.rewrite(statements)
            self.scope = change.scope or self.scope
        self.is_step = self.reads_rate or (
            any("lr" in _reads(statement) for statement in statements)
            and not any(change.keeps_rate for change in changes)
        )
        self.codes = [_code(statement) for statement in statements]

    def __call__(self, *arguments: Any, **hyperparameters: Any) -> Any:
        """What the function returns."""
        values = dict(zip(self.arguments, arguments, strict=True))
        old = {f"{name}_old": value for name, value in values.items()}
        scope = {**self.scope, **old, **values, **hyperparameters}
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


@cache
def _reads(statement: ast.stmt) -> frozenset[str]:
    """The names that a statement reads and layers supply."""
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    read = frozenset(node.id for node in names if node.id not in bound)
    return read & frozenset[str]().union(*_SUPPLIED.values())


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


def edits(optimizer: Optimizer) -> Iterator[Edit]:
    """Every one-line change of the functions of a rule and its variants, none of them twice."""
    for index, layer in enumerate(optimizer.layers):
        stage: Stage = type(layer)
        for change in _changes(layer.function, stage):
            yield _line_edit(index, change)
        yield from _of_initial_state(index, layer)


def double_edits(optimizer: Optimizer) -> Iterator[Edit]:
    """Two changes of one kind in the same line."""
    for index, layer in enumerate(optimizer.layers):
        stage: Stage = type(layer)
        for change in _of_lines(source(layer.function), stage, twice_of_statement):
            yield _line_edit(index, change)


def _line_edit(index: int, change: Change) -> LineEdit:
    apply = partial(_changed, index, change)
    return LineEdit(**change.place, apply=apply, index=index, change=change)


@cache
def _changes(function: Function, stage: Stage) -> tuple[Change, ...]:
    code = source(function)
    return (
        *_of_lines(code, stage),
        *_of_order(code),
        *_of_counts(code),
        *_of_helpers(function),
    )


def _changed(index: int, change: Change, optimizer: Optimizer) -> Optimizer:
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
        layer = _RuleWithRate(**{f.name: getattr(layer, f.name) for f in fields(Rule)})
    layers[index] = layer
    return replace(optimizer, layers=tuple(layers))


class _RuleWithRate(Rule):
    """A rule that reads the learning rate and has its direction multiplied by it as well."""

    def inward(self, leaves: Sequence[Leaf]) -> None:
        super().inward(leaves)
        for leaf in leaves:
            leaf.scaled = False


# Lines


def _of_lines(
    code: Source,
    stage: Stage,
    changes_of: Callable[[ast.stmt, Scope], Iterator[Changed]] = of_statement,
) -> Iterator[Change]:
    for position, statement in enumerate(code.statements):
        scope = _scope(code, position, stage)
        for words, changed, kind in changes_of(statement, scope):
            rewrite = partial(_replaced, statement, (changed,))
            place = _place(code, statement, written(changed), words, kind)
            reads_rate = stage is Rule and "lr" in _reads(changed) - set(code.arguments)
            yield Change(place, rewrite, keeps_rate=reads_rate)
            if reads_rate and scope.target in scope.states:
                inside = f"the learning rate is inside {said(named(scope.target))}, not on the step"
                yield Change({**place, "description": inside}, rewrite)


def _place(
    code: Source, statement: ast.stmt, after: str, words: str, kind: str = "state"
) -> dict[str, Any]:
    return {
        "file": code.file,
        "line": code.line(statement),
        "before": code.text(statement),
        "after": after,
        "description": words,
        "kind": kind,
    }


def _replaced(old: ast.stmt, new: Statements, statements: Statements) -> Statements:
    if old not in statements:
        raise ValueError("the line is not there any more")
    position = statements.index(old)
    return (*statements[:position], *new, *statements[position + 1 :])


def _scope(code: Source, position: int, stage: Stage) -> Scope:
    """What the statement at a position can refer to."""
    kinds: dict[str, Kind] = {name: kind_of_argument(name) for name in code.arguments}
    kinds |= {name: kind_of_hyperparameter(name) for name in code.hyperparameters}
    supplied = _SUPPLIED.get(stage, frozenset())
    states = tuple(n for n in code.arguments if kinds[n] == "array" and n not in _READ)
    scope = Scope(
        kinds=kinds,
        updated={},
        states=states,
        hyperparameters=code.hyperparameters,
        readable=supplied - kinds.keys(),
        target=_assigned(code.statements[position]),
        identity=None if states else _IDENTITIES.get(stage),
    )
    for statement in code.statements[:position]:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if name in states:
                    scope = replace(scope, updated={**scope.updated, name: news_of(value)})
                else:
                    scope = replace(scope, kinds={**scope.kinds, name: scope.kind(value)})
    return scope


_READ: Final = frozenset({"g", "h", "theta", "theta_old", "old", "new"})
"""The arrays that functions read and that are no state."""


# The order of lines


def _of_order(code: Source) -> Iterator[Change]:
    """States updated earlier, later or twice, and quantities taken anew after an update."""
    body = code.statements[:-1]
    for i, statement in enumerate(body):
        name = _assigned(statement)
        if name not in code.arguments:
            yield from _taken_anew(code, i)
            continue
        readers = [j for j, other in enumerate(body) if j != i and name in _loaded(other)]
        own = said(named(name))
        line = code.text(statement)
        if readers and readers[0] < i and _is_defined(code, i, readers[0]):
            first = code.statements[readers[0]]
            yield Change(
                _place(
                    code,
                    first,
                    f"{line}\n{code.text(first)}",
                    f"{own} is updated before it is used",
                ),
                partial(_moved, statement, readers[0]),
            )
        uses = [n for j in readers if j > i for n in _names(body[j]) if n == name]
        if len(uses) > 1:
            last = code.statements[readers[-1]]
            words = f"{own} is updated after it is used"
            yield Change(
                _place(code, last, f"{code.text(last)}\n{line}", words),
                partial(_moved, statement, readers[-1]),
            )
        if name in _loaded(statement):
            yield Change(
                _place(code, statement, f"{line}\n{line}", f"{own} is updated twice"),
                partial(_replaced, statement, (statement, statement)),
            )


def _taken_anew(code: Source, i: int) -> Iterator[Change]:
    """A quantity computed again after a state that it depends on was updated."""
    statement = code.statements[i]
    for other in code.statements[i + 1 :]:
        name = _assigned(other)
        if name in code.arguments and name in _loaded(statement):
            words = (
                f"{said(named(_assigned(statement)))} is computed with {said(named(name))} "
                "after its update"
            )
            after = f"{code.text(other)}\n{code.text(statement)}"
            yield Change(
                _place(code, other, after, words), partial(_replaced, other, (other, statement))
            )


def _moved(statement: ast.stmt, position: int, statements: Statements) -> Statements:
    others = [other for other in statements if other is not statement]
    if len(others) == len(statements):
        raise ValueError("the line is not there any more")
    return (*others[:position], statement, *others[position:])


def _is_defined(code: Source, i: int, position: int) -> bool:
    """Whether a statement could stand at an earlier position."""
    between = {_assigned(other) for other in code.statements[position:i]}
    return not between & _loaded(code.statements[i])


def _assigned(statement: ast.stmt) -> str:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def _loaded(statement: ast.stmt) -> frozenset[str]:
    return frozenset(_names(statement))


@cache
def _names(statement: ast.stmt) -> tuple[str, ...]:
    """The names that a statement reads, as often as it does."""
    assert isinstance(statement, ast.Assign | ast.Return)
    assert statement.value is not None
    return tuple(n.id for n in ast.walk(statement.value) if isinstance(n, ast.Name))


# The step count


def _of_counts(code: Source) -> Iterator[Change]:
    """Another step count wherever the function reads it, if it does so more than once."""
    reading = [s for s in code.statements if "t" in _loaded(s)]
    count = sum(
        isinstance(node, ast.Name) and node.id == "t" for s in reading for node in ast.walk(s)
    )
    if "t" not in code.arguments or count < 2:
        return
    for text, words in COUNTS.items():
        changed = [_Renamed("t", text).visit(ast.parse(ast.unparse(s)).body[0]) for s in reading]
        rewrites = list(zip(reading, changed, strict=True))
        place = _place(code, reading[0], written(changed[0]), words, "step count")
        yield Change(place, partial(_all_replaced, rewrites))


class _Renamed(ast.NodeTransformer):
    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return expression(self.text) if node.id == self.name else node


def _all_replaced(
    rewrites: Sequence[tuple[ast.stmt, ast.stmt]], statements: Statements
) -> Statements:
    for old, new in rewrites:
        statements = _replaced(old, (new,), statements)
    return statements


# Functions that others share


def _of_helpers(function: Function) -> Iterator[Change]:
    """Changes of the private functions that a function calls."""
    if isinstance(function, Edited):
        return
    module = {
        name: value
        for name, value in function.__globals__.items()
        if isinstance(value, FunctionType)
        and name.startswith("_")
        and value.__module__ == function.__module__
    }
    for name in _called(function, module):
        code = source(module[name])
        for statement in _simple(code.statements):
            for words, changed, kind in of_statement(statement, _scope_of_helper(code)):
                yield Change(
                    _place(code, statement, written(changed), words, kind),
                    rewrite=lambda statements: statements,
                    scope=_module_with(function, module, name, statement, changed),
                )


def _called(function: Function, module: Mapping[str, Function]) -> list[str]:
    """The functions of a module that a function calls, directly or not."""
    found: list[str] = []
    waiting = [function]
    while waiting:
        for name in waiting.pop().__code__.co_names:
            if name in module and name not in found:
                found.append(name)
                waiting.append(module[name])
    return found


def _simple(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """All assignments and returns, also those inside loops."""
    for statement in statements:
        if isinstance(statement, ast.For):
            yield from _simple(statement.body)
        else:
            yield statement


def _scope_of_helper(code: Source) -> Scope:
    kinds: dict[str, Kind] = {
        name: "other" if name in ("xp", "schedule") else "scalar" for name in code.arguments
    }
    for statement in _simple(code.statements):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                kinds.setdefault(node.id, "other" if node.id == "knots" else "scalar")
    return Scope(kinds, {}, (), (), frozenset())


def _module_with(
    function: Function,
    module: Mapping[str, Function],
    name: str,
    statement: ast.stmt,
    changed: ast.stmt,
) -> Mapping[str, Any]:
    """The module's names, with one function that has another statement."""
    names = dict(function.__globals__)
    for other, value in module.items():
        names[other] = FunctionType(value.__code__, names, other, value.__defaults__)
    lines, _ = inspect.getsourcelines(module[name])
    tree = _Swapped(statement, changed).visit(ast.parse(textwrap.dedent("".join(lines))))
    exec(compile(ast.fix_missing_locations(tree), "<edited>", "exec"), names)  # noqa: S102
    return names


class _Swapped(ast.NodeTransformer):
    """Puts another statement where one of the same place and text stands."""

    def __init__(self, old: ast.stmt, new: ast.stmt) -> None:
        self.line, self.new = old.lineno, new

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Assign | ast.Return) and node.lineno == self.line:
            return self.new
        return super().generic_visit(node)


# Initial state


def _of_initial_state(index: int, layer: Layer) -> Iterator[Edit]:
    """Other state before the first step."""
    if layer.initial is not None:
        for change in _of_lines(source(layer.initial), Layer):
            yield Edit(**change.place, apply=partial(_started, index, change))
        return
    zeros = _line_of(stages, "values: Any = tuple(xp.zeros_like(theta) for _ in self.state_names)")
    for name in layer.state_names:
        for value, words in {"1.0": "one", "theta": "the parameter"}.items():
            own = said(named(name))
            yield Edit(
                **zeros,
                after=f"{name} = xp.full_like(theta, {value})"
                if value == "1.0"
                else f"{name} = {value}",
                description=f"{own} starts at {words} instead of zero",
                kind="state",
                apply=partial(_started_at, index, name, value),
            )


def _started(index: int, change: Change, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)
    initial = layers[index].initial
    assert initial is not None
    code = source(initial)
    edited = Edited(initial, code, change.rewrite(code.statements))
    layers[index] = replace(layers[index], initial=edited)
    return replace(optimizer, layers=tuple(layers))


def _started_at(index: int, name: str, value: str, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)

    def initial(xp: Namespace, theta: Array) -> tuple[Array, ...]:
        start = theta if value == "theta" else xp.full_like(theta, 1.0)
        return tuple(
            start if own == name else xp.zeros_like(theta) for own in layers[index].state_names
        )

    layers[index] = replace(layers[index], initial=initial)
    return replace(optimizer, layers=tuple(layers))


@cache
def _lines(module: Any) -> dict[str, int]:
    """The line number of each line of a module."""
    lines = inspect.getsource(module).splitlines()
    return {line.strip(): number for number, line in reversed(list(enumerate(lines, 1)))}


def _line_of(module: Any, text: str) -> dict[str, Any]:
    """The place of a line of a module, which is to be there."""
    path = inspect.getsourcefile(module) or ""
    file = "refopt" + path.rpartition("refopt")[2]
    return {"file": file, "line": _lines(module)[text], "before": text}
