"""Arrays of expressions: an optimizer computes on them what it computes on numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray

from refopt.arithmetic.bounds import FLOAT64, Bounded, distance
from refopt.arithmetic.elements import EXACT, Elements
from refopt.arithmetic.symbols import exact
from refopt.catalog import build

X, Y = sp.symbols("x y", positive=True)

MATRIX = np.array([[1.5, -2.0], [0.5, 3.0]])
GRADIENTS: list[dict[str, NDArray[Any] | None]] = [
    {"a": np.array([[0.0, 0.0], [1.0, 2.0]]), "b": np.array([3.0, -4.0])},
    {"a": np.array([[1.0, 3.0], [-0.25, 2.0]]), "b": None},
]


def values(x: Any) -> list[Any]:
    """The elements, row by row."""
    return list(Elements(x).values.ravel())


@pytest.mark.parametrize(
    "expression",
    [
        "lamb(weight_decay=0.5)",
        "lazy(adam)",
        "clip_by_global_norm(sgd(momentum=0.5))",
        "clip_by_norm(rmsprop(centered=True))",
        "lookahead(radam, k=2)",
        "gradient_centralization(lion)",
        "clip_by_value(adagrad_guarded)",
        "lars",
        "gradient_accumulation(nadam, k=2)",
    ],
)
def test_optimizers_compute_on_expressions_what_they_compute_on_numbers(expression: str) -> None:
    def given(arrays: dict[str, Any], kind: Any) -> dict[str, Any]:
        return {name: None if x is None else kind(x) for name, x in arrays.items()}

    def bounded(x: NDArray[Any]) -> Bounded:
        return Bounded.exact(x, FLOAT64)

    optimizer = build(expression)
    symbolic = optimizer.lifted(lambda _, value: exact(value))
    numeric = optimizer.lifted(lambda _, value: Bounded(value, abs(value) * 2.0**-53, FLOAT64))
    start = {"a": MATRIX, "b": np.array([2.0, 1.0])}
    theta, expected = given(start, Elements), given(start, bounded)
    state, known = symbolic.init(theta), numeric.init(expected)
    for gradients in GRADIENTS:
        theta, state = symbolic.step(theta, given(gradients, Elements), state)
        expected, known = numeric.step(expected, given(gradients, bounded), known)
        for name, x in theta.items():
            found = np.array([float(sp.N(e, 30)) for e in values(x)]).reshape(x.shape)
            assert distance(found, expected[name]).max() <= 1


def test_norms_means_and_rows_are_those_of_the_elements() -> None:
    matrix = Elements([[X, 0], [0, 0]])
    assert values(EXACT.sum(matrix**2)) == [X**2]
    assert values(EXACT.sum(matrix, axis=(1,))) == [X, 0]
    assert values(EXACT.max(matrix)) == [X]
    assert values(EXACT.mean(matrix, axis=(1,))) == [X / 2, 0]
    assert values(EXACT.any(matrix, axis=(1,))) == [True, False]
    assert values(EXACT.any(matrix, axis=())) == [True, False, False, False]
    assert (EXACT.ndim(matrix), matrix.shape) == (2, (2, 2))


def test_arithmetic_is_elementwise_and_literals_are_the_numbers_that_they_show() -> None:
    x = Elements([X, Y])
    assert values(0.5 * x + 1) == [X / 2 + 1, Y / 2 + 1]
    assert values(1 - x) == [1 - X, 1 - Y]
    assert values(1 / x) == [1 / X, 1 / Y]
    assert values(-(x**2)) == [-(X**2), -(Y**2)]
    assert values(EXACT.where(x > 0, x, 0.0)) == [X, Y]
    assert values(EXACT.where((x <= 0) | (x > 0), 1, x)) == [1, 1]
    assert values(EXACT.where(True, x, Elements([0, 0]))) == [X, Y]
    assert values(EXACT.full_like(x, 0.1)) == [sp.Rational(1, 10)] * 2


def test_functions_of_scalars_are_those_of_symbols() -> None:
    assert EXACT.sqrt(X**2) == X
    assert EXACT.where(False, X, Y) == Y
    assert EXACT.copy(X) is X
