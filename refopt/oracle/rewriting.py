"""What changes of the lines of a function share: what a line reads, and how it is replaced."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache
from typing import Any

from refopt.oracle.edited import Source, Statements


def assigned(statement: ast.stmt) -> str:
    """The name that a statement assigns, if it is one."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def loaded(statement: ast.stmt) -> frozenset[str]:
    """The names that a statement reads."""
    return frozenset(names(statement))


@cache
def names(statement: ast.stmt) -> tuple[str, ...]:
    """The names that a statement reads, as often as it does."""
    assert isinstance(statement, ast.Assign | ast.Return)
    assert statement.value is not None
    return tuple(n.id for n in ast.walk(statement.value) if isinstance(n, ast.Name))


def place_of(
    code: Source, statement: ast.stmt, after: str, words: str, kind: str = "state"
) -> dict[str, Any]:
    """What an edit of a statement says of it."""
    return {
        "file": code.file,
        "line": code.line(statement),
        "before": code.text(statement),
        "after": after,
        "description": words,
        "kind": kind,
    }


def replaced(old: ast.stmt, new: Statements, statements: Statements) -> Statements:
    """Statements with others in place of one.

    Raises:
        ValueError: it is not among them.
    """
    if old not in statements:
        raise ValueError("the line is not there any more")
    position = statements.index(old)
    return (*statements[:position], *new, *statements[position + 1 :])


def all_replaced(
    rewrites: Sequence[tuple[ast.stmt, ast.stmt]], statements: Statements
) -> Statements:
    """Statements with others in place of several.

    Raises:
        ValueError: one of them is not among them.
    """
    for old, new in rewrites:
        statements = replaced(old, (new,), statements)
    return statements
