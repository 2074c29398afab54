"""Adadelta: the paper's averages in 50 digits, torch, other backends, NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from numpy.typing import ArrayLike

import refopt
from refopt.arithmetic.bounds import FLOAT64, FORMATS, Bounded, distance
from refopt.catalog import build
from refopt.optimizer import Optimizer
from refopt.oracle.proof import equalities
from refopt.specification import Cell, load

FORMS = ("adadelta",)


def test_code_and_specification_are_equal() -> None:
    found = list(equalities("adadelta"))
    assert {equality.name for equality in found} == set(FORMS)
    assert [str(equality) for equality in found if not equality.holds] == []


Steps = Sequence[tuple[float, Sequence[ArrayLike]]]
"""For each step the learning rate, and the gradient of each parameter."""


def run(
    optimizer: Optimizer,
    asarray: Callable[[ArrayLike], Any],
    params: Sequence[ArrayLike],
    steps: Steps,
) -> Iterator[list[Any]]:
    """The parameters after each step, on the arrays that ``asarray`` makes."""
    thetas: Any = [asarray(p) for p in params]
    state = optimizer.init(thetas)
    for lr, gradients in steps:
        thetas, state = optimizer.step(thetas, [asarray(g) for g in gradients], state, lr=lr)
        yield thetas


def run_bounded(
    optimizer: Optimizer, dtype: str, params: Sequence[ArrayLike], steps: Steps
) -> Iterator[list[Bounded]]:
    """The same, with error bounds for arithmetic in ``dtype``."""
    exact = optimizer.lifted(lambda _, value: Bounded(value, 0.0, FLOAT64))
    return run(exact, lambda x: Bounded.exact(np.asarray(x, dtype), FORMATS[dtype]), params, steps)


RATES = (1.0, 0.25, 2.0, 0.125, 0.75, 0.375)
GRADIENTS = (3.0, -0.25, 0.0, 4.0, -12.0, 0.5)
STEPS = [(lr, [g]) for lr, g in zip(RATES, GRADIENTS, strict=True)]


def averages(rho: Decimal, eps: Decimal) -> Iterator[Decimal]:
    """The parameter after each step, from sums over all squared gradients and steps so far."""
    theta, taken = Decimal("1.5"), [Decimal(0)]
    squares = [Decimal(g) ** 2 for g in GRADIENTS]

    def rms(values: Sequence[Decimal]) -> Decimal:
        weighted = (rho**age * x for age, x in enumerate(reversed(values)))
        return ((1 - rho) * sum(weighted) + eps).sqrt()

    for t, lr in enumerate(RATES, 1):
        h = rms([x**2 for x in taken]) / rms(squares[:t]) * Decimal(GRADIENTS[t - 1])
        taken.append(h)
        theta -= Decimal(lr) * h
        yield theta


def test_averages_of_squares() -> None:
    optimizer = build("adadelta(rho=0.625, eps=0.25)")
    got = run(optimizer, np.array, [1.5], STEPS)
    bounds = run_bounded(optimizer, "float64", [1.5], STEPS)
    with localcontext(Context(prec=50)):
        expected = averages(Decimal("0.625"), Decimal("0.25"))
        for (theta,), (bound,), right in zip(got, bounds, expected, strict=True):
            assert abs(Decimal(theta.item()) - right) <= Decimal(bound.error.item())


def test_by_hand() -> None:
    """Rho = 0 and eps = 9: a root over the last gradient alone, under one over the last step."""
    steps = [(1.0, [g]) for g in (4.0, 0.0, -4.0)]
    thetas = run(build("adadelta(rho=0.0, eps=9.0)"), np.array, [0.0], steps)
    first, last = 3 / 5 * 4, 3 / 5 * -4
    assert [theta.item() for (theta,) in thetas] == [-first, -first, -first - last]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(value: float) -> None:
    """An infinite gradient meets its own infinite root: inf/inf is NaN."""
    steps = [(0.5, [[1.0, value if t == 2 else 1.0, -1.0]]) for t in range(1, 6)]
    *_, (theta,) = run(build("adadelta"), np.array, [np.zeros(3)], steps)
    assert np.isnan(theta[1])
    assert np.all(np.isfinite(theta[[0, 2]]))


@pytest.mark.parametrize("cell", load("adadelta").dialects["torch"].cells, ids=str)
def test_torch_conforms_in_float64(cell: Cell) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    verdict = refopt.check(
        "torch.optim:Adadelta", cell.spec, dialect="torch", dtype="float64", options=cell.options
    )
    assert verdict.conforms, verdict


RANDOM = np.random.default_rng(0)
SHAPES: tuple[tuple[int, ...], ...] = ((), (5,), (4, 3), (0,))
PARAMS, *RANDOM_GRADIENTS = [[RANDOM.standard_normal(s) for s in SHAPES] for _ in range(7)]
RANDOM_STEPS = list(zip(RATES, RANDOM_GRADIENTS, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    optimizer = build(form).with_hyperparameters(rho=0.7, eps=0.01)
    *_, got = run(optimizer, lambda x: backend.asarray(x, dtype), PARAMS, RANDOM_STEPS)
    *_, same = run(optimizer, lambda x: np.array(x, dtype), PARAMS, RANDOM_STEPS)
    *_, bounds = run_bounded(optimizer, dtype, PARAMS, RANDOM_STEPS)
    for theta, on_numpy, bound in zip(map(backend.numpy, got), same, bounds, strict=True):
        assert theta.dtype == dtype
        assert np.all(distance(theta, bound) <= 1)
        # on the GPU a power may round otherwise
        assert backend.name == "cupy" or np.array_equal(theta, on_numpy)
