"""One-line changes of the reference: the mistakes that people make, as code that runs.

Every rule and variant is read as a syntax tree; each edit changes one line of it in one way in
which real optimizers have been wrong (:mod:`refopt.oracle.alternatives`). The same edits measure
the probes (each must be killed) and explain targets (the one that reproduces the target is the
answer).
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from types import FunctionType
from typing import Any, Final

from refopt import layers as stages
from refopt.layers import Function, Layer, Rule
from refopt.optimizer import Optimizer
from refopt.oracle.alternatives import Changed, of_statement, twice_of_statement
from refopt.oracle.edited import (
    SUPPLIED,
    Change,
    Edited,
    Source,
    Stage,
    reads,
    source,
    with_change,
)
from refopt.oracle.everywhere import everywhere
from refopt.oracle.order import of_memory, of_momentum, of_order
from refopt.oracle.rewriting import assigned, place_of, replaced
from refopt.oracle.scope import Kind, Scope, kind_of_argument, kind_of_hyperparameter
from refopt.oracle.trees import named, news_of
from refopt.oracle.wording import said, written
from refopt.xp import Array, Namespace


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


_IDENTITIES: Final[Mapping[Stage, str]] = {
    stages.OnGradient: "g",
    stages.OnDirection: "h",
    stages.OnParameterBefore: "theta",
    stages.OnParameter: "theta",
    stages.OnRows: "new",
}
"""What the function of a layer of a kind would return to change nothing."""


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
    apply = partial(with_change, index, change)
    return LineEdit(**change.place, apply=apply, index=index, change=change)


@cache
def _changes(function: Function, stage: Stage) -> tuple[Change, ...]:
    code = source(function)
    return (
        *_of_lines(code, stage),
        *of_order(code),
        *of_memory(code),
        *of_momentum(code),
        *everywhere(code),
        *_of_helpers(function),
    )


# Lines


def _of_lines(
    code: Source,
    stage: Stage,
    changes_of: Callable[[ast.stmt, Scope], Iterator[Changed]] = of_statement,
) -> Iterator[Change]:
    for position, statement in enumerate(code.statements):
        scope = scope_of(code, position, stage)
        for words, changed, kind in changes_of(statement, scope):
            rewrite = partial(replaced, statement, (changed,))
            place = place_of(code, statement, written(changed), words, kind)
            reads_rate = stage is Rule and "lr" in reads(changed) - set(code.arguments)
            yield Change(place, rewrite, keeps_rate=reads_rate)
            if reads_rate and scope.target in scope.states:
                inside = f"the learning rate is inside {said(named(scope.target))}, not on the step"
                yield Change({**place, "description": inside}, rewrite)


def scope_of(code: Source, position: int, stage: Stage) -> Scope:
    """What the statement at a position can refer to."""
    kinds: dict[str, Kind] = {name: kind_of_argument(name) for name in code.arguments}
    kinds |= {name: kind_of_hyperparameter(name) for name in code.hyperparameters}
    supplied = SUPPLIED.get(stage, frozenset())
    states = tuple(n for n in code.arguments if kinds[n] == "array" and n not in _READ)
    scope = Scope(
        kinds=kinds,
        updated={},
        states=states,
        hyperparameters=code.hyperparameters,
        readable=supplied - kinds.keys(),
        target=assigned(code.statements[position]),
        identity=None if states else _IDENTITIES.get(stage),
        has_floor=any(_ROOT_OF_EPSILON.search(ast.unparse(s)) for s in code.statements),
    )
    for statement in code.statements[:position]:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if name in states:
                    scope = replace(scope, updated={**scope.updated, name: news_of(value)})
                else:
                    scope = replace(scope, kinds={**scope.kinds, name: scope.kind(value)})
    return scope


_ROOT_OF_EPSILON: Final = re.compile(r"sqrt\(\w+ \+ eps\)")

_READ: Final = frozenset({"g", "h", "theta", "theta_old", "old", "new"})
"""The arrays that functions read and that are no state."""


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
                    place_of(code, statement, written(changed), words, kind),
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
