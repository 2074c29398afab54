"""The order of lines: what is updated too early, too late, twice, or in the array of another."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from functools import partial
from itertools import combinations, pairwise

from refopt.oracle.edited import Change, Source, Statements
from refopt.oracle.rewriting import all_replaced, assigned, loaded, names, place_of, replaced
from refopt.oracle.trees import Renamed, named, with_fields
from refopt.oracle.wording import said, written


def of_order(code: Source) -> Iterator[Change]:
    """States updated earlier, later or twice, and quantities taken anew after an update."""
    body = code.statements[:-1]
    for i, statement in enumerate(body):
        name = assigned(statement)
        if name not in code.arguments:
            yield from _taken_anew(code, i)
            continue
        readers = [j for j, other in enumerate(body) if j != i and name in loaded(other)]
        own = said(named(name))
        line = code.text(statement)
        if readers and readers[0] < i and _is_defined(code, i, readers[0]):
            first = code.statements[readers[0]]
            yield Change(
                place_of(
                    code,
                    first,
                    f"{line}\n{code.text(first)}",
                    f"{own} is updated before it is used",
                ),
                partial(_moved, statement, readers[0]),
            )
        uses = [n for j in readers if j > i for n in names(body[j]) if n == name]
        if len(uses) > 1:
            last = code.statements[readers[-1]]
            words = f"{own} is updated after it is used"
            yield Change(
                place_of(code, last, f"{code.text(last)}\n{line}", words),
                partial(_moved, statement, readers[-1]),
            )
        if name in loaded(statement):
            yield Change(
                place_of(code, statement, f"{line}\n{line}", f"{own} is updated twice"),
                partial(replaced, statement, (statement, statement)),
            )


def _taken_anew(code: Source, i: int) -> Iterator[Change]:
    """A quantity computed again after a state that it depends on was updated."""
    statement = code.statements[i]
    for other in code.statements[i + 1 :]:
        name = assigned(other)
        if name in code.arguments and name in loaded(statement):
            words = (
                f"{said(named(assigned(statement)))} is computed with {said(named(name))} "
                "after its update"
            )
            after = f"{code.text(other)}\n{code.text(statement)}"
            yield Change(
                place_of(code, other, after, words), partial(replaced, other, (other, statement))
            )


def _moved(statement: ast.stmt, position: int, statements: Statements) -> Statements:
    others = [other for other in statements if other is not statement]
    if len(others) == len(statements):
        raise ValueError("the line is not there any more")
    return (*others[:position], statement, *others[position:])


def _is_defined(code: Source, i: int, position: int) -> bool:
    """Whether a statement could stand at an earlier position."""
    between = {assigned(other) for other in code.statements[position:i]}
    return not between & loaded(code.statements[i])


def of_memory(code: Source) -> Iterator[Change]:
    """Two states in one array: each update overwrites the other."""
    updates = [s for s in code.statements[:-1] if assigned(s) in code.arguments]
    for first, second in pairwise(updates):
        one, other = assigned(first), assigned(second)
        value: ast.expr = second.value  # type: ignore[attr-defined]
        value = Renamed(other, named(one)).visit(copy.deepcopy(value))
        shared = with_fields(second, value=value)
        copied = with_fields(first, value=named(other))
        after = f"{written(shared)}\n{written(copied)}"
        words = f"{said(named(one))} and {said(named(other))} are one array"
        yield Change(
            place_of(code, second, after, words), partial(replaced, second, (shared, copied))
        )


def of_momentum(code: Source) -> Iterator[Change]:
    """Momentum that gathers gradients, which are divided afterwards, not quotients of them."""
    for quotient, update in combinations(code.statements[:-1], 2):
        last = code.statements[-1]
        name, b = assigned(quotient), assigned(update)
        match quotient, last:
            case ast.Assign(value=ast.BinOp(op=ast.Div())), ast.Return(
                value=ast.Tuple(elts=[ast.Name(id=result), *states])
            ) if result == b in code.arguments and name in loaded(update):
                gathered = Renamed(name, named("g")).visit(copy.deepcopy(update))
                divided = Renamed("g", named(b)).visit(copy.deepcopy(quotient))
                returned = ast.Return(ast.Tuple([named(name), *states], ast.Load()))
                place = place_of(
                    code,
                    quotient,
                    f"{written(gathered)}\n{written(divided)}",
                    f"{said(named(b))} gathers gradients, which are divided afterwards",
                )
                place["before"] = f"{code.text(quotient)}\n{code.text(update)}"
                rewrites = [(quotient, gathered), (update, divided), (last, returned)]
                yield Change(place, partial(all_replaced, rewrites))
