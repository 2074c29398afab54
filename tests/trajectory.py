"""Runs of an optimizer, and what every test of one compares them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any, Final

import numpy as np
import pytest
from conftest import Backend
from numpy.typing import ArrayLike

import refopt
from refopt.arithmetic.bounds import FLOAT64, FORMATS, Bounded, distance
from refopt.catalog import build
from refopt.optimizer import Optimizer
from refopt.specification import Cell, load

Steps = Sequence[tuple[float, ArrayLike | Sequence[ArrayLike]]]
"""For each step the learning rate, and the gradient of the parameter or of each parameter."""

RATES: Final = (0.5, 0.25, 1.0, 0.125, 0.75, 0.375, 0.5, 0.625)
GRADIENTS: Final = (3.0, -0.25, 0.0, 4.0, -12.0, 0.5, -1.0, 0.0625)
"""Exact in binary, of changing sign, growing and vanishing."""


def run(
    optimizer: Optimizer, asarray: Callable[[ArrayLike], Any], params: Any, steps: Steps
) -> Iterator[Any]:
    """The parameters after each step, on the arrays that ``asarray`` makes.

    Args:
        optimizer: what to step.
        asarray: makes an array from numbers.
        params: one array-like, or a list of them.
        steps: what to step with.
    """

    def arrays(values: Any) -> Any:
        several = isinstance(params, list)
        return [asarray(value) for value in values] if several else asarray(values)

    thetas = arrays(params)
    state = optimizer.init(thetas)
    for lr, gradients in steps:
        thetas, state = optimizer.step(thetas, arrays(gradients), state, lr=lr)
        yield thetas


def bounded(optimizer: Optimizer, dtype: str, params: Any, steps: Steps) -> Iterator[Any]:
    """The same, with error bounds for arithmetic in ``dtype``."""
    exact = optimizer.lifted(lambda _, value: Bounded(value, 0.0, FLOAT64))
    return run(exact, lambda x: Bounded.exact(np.asarray(x, dtype), FORMATS[dtype]), params, steps)


Numbers = Any
"""A Decimal, or nested lists of them."""


def average(values: list[Decimal], beta: Decimal) -> Decimal:
    """``(1 - beta) * (values[-1] + beta*values[-2] + beta**2*values[-3] + ...)``."""
    terms = [values[-1], *(beta**age * x for age, x in enumerate(values[-2::-1], 1))]
    return (1 - beta) * sum(terms, start=Decimal(0))


def assert_equals(
    expression: str, params: Any, steps: Steps, expected: Callable[[], Iterator[Numbers]]
) -> None:
    """That float64 is as near to 50 digits as its error bound says, after every step."""
    optimizer = build(expression)
    got = run(optimizer, lambda x: np.array(x, "float64"), params, steps)
    bounds = bounded(optimizer, "float64", params, steps)
    with localcontext(Context(prec=50)):
        rights = list(expected())
        assert len(rights) == len(steps)
        for theta, bound, right in zip(got, bounds, rights, strict=True):
            near = np.abs(_decimals(theta) - np.array(right)) <= _decimals(bound.error)
            assert np.all(near), (theta, right, bound)
            # a bound beyond which any number would do shows nothing
            assert np.all(bound.error < 1e-9 * (1 + np.abs(bound.value)))


_decimals = np.vectorize(lambda x: Decimal(float(x)), otypes=[object])

_RANDOM = np.random.default_rng(0)
_SHAPES: Final[tuple[tuple[int, ...], ...]] = ((), (5,), (4, 3), (0,))
PARAMS, *_GRADIENTS = [[_RANDOM.standard_normal(s) for s in _SHAPES] for _ in range(9)]
STEPS: Final = list(zip(RATES, _GRADIENTS, strict=True))
"""Random gradients for parameters of several shapes."""


def assert_stays_where_it_came_in(optimizer: Optimizer, value: float) -> None:
    """That a gradient that is not finite makes its own element NaN, and no other.

    An infinite one meets its own infinite root: inf/inf is NaN.
    """
    steps = [(0.5, [1.0, value if t == 2 else 1.0, -1.0]) for t in range(1, 9)]
    *_, theta = run(optimizer, lambda x: np.array(x, "float64"), (0.5, 0.5, 0.5), steps)
    assert np.isnan(theta[1])
    assert np.all(np.isfinite(theta[[0, 2]]))


def assert_backends_agree(backend: Backend, expression: str, dtype: str) -> None:
    """That a backend gives the same bits as NumPy, inside the bounds."""
    optimizer = build(expression)
    *_, got = run(optimizer, lambda x: backend.asarray(x, dtype), PARAMS, STEPS)
    *_, same = run(optimizer, lambda x: np.array(x, dtype), PARAMS, STEPS)
    *_, bounds = bounded(optimizer, dtype, PARAMS, STEPS)
    for theta, on_numpy, bound in zip(map(backend.numpy, got), same, bounds, strict=True):
        assert theta.dtype == dtype
        assert np.all(distance(theta, bound) <= 1)
        # on the GPU a power or a sum may round otherwise
        assert backend.name == "cupy" or np.array_equal(theta, on_numpy)


def cells(name: str) -> list[Any]:
    """The cells of torch and optax under a name, with the target and the dialect of each."""
    return [
        pytest.param(dialect.target, key, cell, id=f"{dialect.target}-{cell.spec}-{cell.options}")
        for key, dialect in load(name).dialects.items()
        if dialect.framework in ("torch", "optax")
        for cell in dialect.cells
    ]


def assert_conforms(target: str, dialect: str, cell: Cell) -> None:
    """That a framework's optimizer stays in the bounds of its dialect in float64.

    The matrix, ``refopt check``, says so of float32.
    """
    framework = target.partition(":")[0].partition(".")[0]
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    verdict = refopt.check(
        target, cell.spec, dialect=dialect, dtype="float64", options=cell.options, explain=False
    )
    assert verdict.conforms is not bool(cell.deviates), verdict


def assert_deviates(target: str, spec: str) -> None:
    """That a framework's optimizer is outside the bounds of the canonical form."""
    framework = target.partition(":")[0].partition(".")[0]
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    verdict = refopt.check(target, spec, explain=False)
    assert verdict.outcome == "deviates", verdict
    assert verdict.deviation is not None
