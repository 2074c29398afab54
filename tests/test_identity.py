"""Identities: what is one, and what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest
import sympy as sp

from refopt.arithmetic.identity import at, differ, equal, equal_at_points, holds_by_induction

X, Y = sp.symbols("x y", positive=True)
R = sp.Symbol("r", real=True)
N = sp.Symbol("n", integer=True, nonnegative=True)
I = sp.Symbol("i", integer=True)  # noqa: E741  the index of a sum
G = sp.IndexedBase("g", real=True)


def total(last: Any, term: Any = G[I]) -> Any:
    """The sum of a sequence up to a place."""
    return sp.Sum(term, (I, 1, last))


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ((X + Y) ** 2, X**2 + 2 * X * Y + Y**2, True),
        ((X + Y) ** 2, X**2 + Y**2, False),
        (sp.sqrt(X**2), X, True),
        (sp.sqrt(R**2), R, False),
        (sp.sqrt(R**2), sp.Abs(R), True),
        (sp.sqrt(X) * sp.sqrt(Y), sp.sqrt(X * Y), True),
        (sp.Max(X, Y) + sp.Min(X, Y), X + Y, True),
        (sp.Piecewise((X, X >= Y), (Y, True)), sp.Max(X, Y), True),
        (total(N + 1), total(N) + G[N + 1], True),
        (total(N + 2), total(N) + G[N + 1], False),
        (total(N - 1), total(N) - G[N], True),
        (total(N, X ** (N - I) * G[I]), X**N * total(N, G[I] / X**I), True),
        (total(N, G[I] + G[I] ** 2), total(N) + total(N, G[I] ** 2), True),
        (total(N) ** 2, total(N, G[I] ** 2), False),
        (total(N, G[I] + X), total(N) + N * X, True),
        (total(3), G[1] + G[2] + G[3], True),
        (0.1 * X, X / 10, True),
        (0, 0, True),
        (1, 0, False),
    ],
    ids=str,
)
def test_expressions_are_equal_where_they_are_the_same_everywhere(
    left: Any, right: Any, same: bool
) -> None:
    assert equal(left, right) is same


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (X**2 - 1, (X - 1) * (X + 1), True),
        (X**2, X, False),
        (sp.sqrt(2 * X) ** 2, 2 * X, True),
        (total(N), total(N - 1) + G[N], True),
        (total(N), total(N - 1), False),
        (R, sp.Abs(R), False),
    ],
    ids=str,
)
def test_points_find_what_differs(left: Any, right: Any, same: bool) -> None:
    assert equal_at_points(left, right, points=8) is same
    assert not (same and differ(left, right))


def test_what_differs_at_a_point_differs() -> None:
    assert differ(X**2, X)
    assert differ(sp.sqrt(2 * X), X)
    assert not differ(sp.sqrt(2 * X) ** 2, 2 * X)


@pytest.mark.parametrize(
    ("closed", "first", "holds"),
    [
        (lambda n: n * (n + 1) / 2, 0, True),
        (lambda n: n * (n + 1) / 2 + 1, 1, True),
        (lambda n: n * (n + 1) / 2 + 1, 0, False),
        (lambda n: n**2, 0, False),
        (lambda n: total(n, I), 0, True),
    ],
    ids=["numbers", "from one", "wrong start", "wrong step", "sum"],
)
def test_induction_needs_its_start_and_its_step(closed: Any, first: int, holds: bool) -> None:
    assert holds_by_induction(closed, first, lambda n, before: before + n, N) is holds


def test_values_at_a_point_are_exact() -> None:
    assert at(total(N, X**I), {N: 3, X: sp.Rational(1, 2)}) == sp.Rational(7, 8)
