"""SymPy symbols: what code computes on them is what it computes on numbers."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from examples import EXPRESSIONS

from refopt.arithmetic.bounds import FLOAT64, Bounded, distance
from refopt.arithmetic.symbols import (
    SYMBOLS,
    SymbolsNamespace,
    any_in_row,
    exact,
    largest,
    row_mean,
    row_sum,
    total,
)
from refopt.catalog import build

X, Y = sp.symbols("x y", real=True)
GRADIENTS = ("3/2", "-1/4", "0", "5/8", "-7/2")


def test_functions_are_those_of_sympy() -> None:
    assert SYMBOLS.sqrt(X**2) == sp.Abs(X)
    assert SYMBOLS.abs(X) == sp.Abs(X)
    assert SYMBOLS.sign(X) == sp.sign(X)
    assert SYMBOLS.maximum(X, Y) == sp.Max(X, Y)
    assert SYMBOLS.minimum(X, 1) == sp.Min(1, X)
    assert SYMBOLS.cos(SYMBOLS.pi) == -1
    assert SYMBOLS.where(X > 0, X, Y) == sp.Piecewise((X, X > 0), (Y, True))
    assert SYMBOLS.where(True, X, Y) == X
    assert SYMBOLS.where(False, X, Y) == Y
    assert SYMBOLS.where(sp.true, X, Y) == X
    assert SYMBOLS.zeros_like(X) == 0
    assert SYMBOLS.floor_log(sp.Integer(26), 3) == 2
    assert SYMBOLS.floor_log(sp.Integer(27), 3) == 3


def test_sums_and_means_stay_opaque() -> None:
    assert SYMBOLS.sum((X + Y) ** 2) == total(X**2 + 2 * X * Y + Y**2)
    assert SYMBOLS.sum((X + Y) ** 2, axis=(1,)) == row_sum(X**2 + 2 * X * Y + Y**2)
    assert SYMBOLS.max(X) == largest(X)
    assert SYMBOLS.mean(X, axis=(1,)) == row_mean(X)
    assert SYMBOLS.any(X, axis=(1,)) == sp.Eq(any_in_row(X), 1)


@pytest.mark.parametrize("value", [0.96, 1e-8, 0.1, 3, 2.0])
def test_a_literal_is_the_number_that_stands_there(value: float) -> None:
    assert exact(value) == sp.Rational(str(value))
    assert exact(0.96) == sp.Rational(24, 25)


@pytest.fixture
def one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symbols stand for the only element of an array: it is its own sum and mean."""
    monkeypatch.setattr(SymbolsNamespace, "sum", lambda _, x: x)
    monkeypatch.setattr(SymbolsNamespace, "mean", lambda _, x, **__: x)
    monkeypatch.setattr(SymbolsNamespace, "any", lambda _, x, **__: bool(x != 0))


@pytest.mark.usefixtures("one_number")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_optimizers_compute_on_exact_numbers_what_they_compute_on_numbers_with_bounds(
    expression: str,
) -> None:
    optimizer = build(expression)
    symbolic = optimizer.lifted(lambda _, value: exact(value))
    # a literal is the number that it shows to one, and the nearest float64 to the other
    bounded = optimizer.lifted(lambda _, value: Bounded(value, abs(value) * 2.0**-53, FLOAT64))
    theta, expected = exact(2), Bounded.exact(np.array([[2.0]]), FLOAT64)
    state, known = symbolic.init(theta), bounded.init(expected)
    for g in GRADIENTS:
        theta, state = symbolic.step(theta, sp.Rational(g), state)
        value = Bounded.exact(np.array([[float(sp.Rational(g))]]), FLOAT64)
        expected, known = bounded.step(expected, value, known)
        theta = sp.N(theta, 50)
        state = {"": {k: x if k == "t" else sp.N(x, 50) for k, x in state[""].items()}}
        assert state[""]["t"] == known[""]["t"]
        assert distance(float(theta), expected).max() <= 1
        for name, x in state[""].items():
            assert name == "t" or distance(float(x), known[""][name]).max() <= 1, name
