"""Adagrad: the paper's sums in 50 digits, torch, other backends, NaN and infinity."""

from __future__ import annotations

import itertools
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

FORMS = ("adagrad", "adagrad_epsilon_inside", "adagrad_guarded")


def test_code_and_specification_are_equal() -> None:
    found = list(equalities("adagrad"))
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


THETA = 1.5
GRADIENTS = (0.5, -0.25, 0.0, 4.0, -12.0, 3.0)
RATES = (0.5, 0.25, 1.0, 0.125, 0.75, 0.375)
STEPS = [(lr, [g]) for lr, g in zip(RATES, GRADIENTS, strict=True)]


def summed(inside: bool, eps: float, initial: float) -> Iterator[Decimal]:
    """The parameter after each step, from the sum of all squares so far."""
    theta = Decimal(THETA)
    for t, lr in enumerate(RATES, 1):
        total = Decimal(initial) + sum(Decimal(g) ** 2 for g in GRADIENTS[:t])
        root = (total + Decimal(eps)).sqrt() if inside else total.sqrt() + Decimal(eps)
        theta -= Decimal(lr) * Decimal(GRADIENTS[t - 1]) / root
        yield theta


@pytest.mark.parametrize("initial", [0.0, 0.625])
@pytest.mark.parametrize("form", FORMS)
def test_sums_of_squares(form: str, initial: float) -> None:
    optimizer = build(form).with_hyperparameters(eps=0.25, initial_accumulator=initial)
    got = run(optimizer, np.array, [THETA], STEPS)
    bounds = run_bounded(optimizer, "float64", [THETA], STEPS)
    with localcontext(Context(prec=50)):
        outside, inside = (summed(where, 0.25, initial) for where in (False, True))
        own, other = (outside, inside) if form == "adagrad" else (inside, outside)
        for (theta,), (bound,), right, wrong in zip(got, bounds, own, other, strict=True):
            here, tolerance = Decimal(theta.item()), Decimal(bound.error.item())
            assert abs(here - right) <= tolerance < abs(here - wrong)


def test_by_hand() -> None:
    """The sums of the squares of 3, 4, 12 and 84 are the squares of 3, 5, 13 and 85."""
    steps = [(1.0, [g]) for g in (3.0, 4.0, -12.0, 84.0)]
    thetas = run(build("adagrad(eps=1.0)"), np.array, [0.0], steps)
    directions = [3 / 4, 4 / 6, -12 / 14, 84 / 86]
    assert [theta.item() for (theta,) in thetas] == [-x for x in itertools.accumulate(directions)]


def test_the_guard_holds_where_the_sum_is_zero_and_nowhere_else() -> None:
    """float32 squares 1e-30 to 0: without a guard that leaves g/sqrt(eps)."""
    start, g = np.zeros(3, "float32"), np.array([1e-30, 0.0, 2.0], "float32")
    ends = {}
    for expression in ("adagrad_guarded", "adagrad_epsilon_inside", "adagrad_guarded(eps=0.0)"):
        optimizer = build(expression)
        theta, _ = optimizer.step(start, g, optimizer.init(start), lr=1.0)
        ends[expression] = theta
    assert np.array_equal(ends["adagrad_guarded"], [0.0, 0.0, -1.0])
    assert ends["adagrad_epsilon_inside"][0] == np.float32(-1e-30) / np.sqrt(np.float32(1e-10))
    assert np.array_equal(ends["adagrad_guarded(eps=0.0)"], [0.0, 0.0, -1.0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(form: str, value: float) -> None:
    """An infinite gradient meets its own infinite root: inf/inf is NaN."""
    steps = [(0.5, [[1.0, value if t == 2 else 1.0, -1.0]]) for t in range(1, 6)]
    *_, (theta,) = run(build(form), np.array, [np.zeros(3)], steps)
    assert np.isnan(theta[1])
    assert np.all(np.isfinite(theta[[0, 2]]))


@pytest.mark.parametrize("cell", load("adagrad").dialects["torch"].cells, ids=str)
def test_torch_conforms_in_float64(cell: Cell) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    verdict = refopt.check(
        "torch.optim:Adagrad", cell.spec, dialect="torch", dtype="float64", options=cell.options
    )
    assert verdict.conforms, verdict


RANDOM = np.random.default_rng(0)
SHAPES: tuple[tuple[int, ...], ...] = ((), (5,), (4, 3), (0,))
PARAMS, *RANDOM_GRADIENTS = [[RANDOM.standard_normal(s) for s in SHAPES] for _ in range(7)]
RANDOM_STEPS = list(zip(RATES, RANDOM_GRADIENTS, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    optimizer = build(form).with_hyperparameters(eps=0.01, initial_accumulator=0.3)
    *_, got = run(optimizer, lambda x: backend.asarray(x, dtype), PARAMS, RANDOM_STEPS)
    *_, same = run(optimizer, lambda x: np.array(x, dtype), PARAMS, RANDOM_STEPS)
    *_, bounds = run_bounded(optimizer, dtype, PARAMS, RANDOM_STEPS)
    for theta, on_numpy, bound in zip(map(backend.numpy, got), same, bounds, strict=True):
        assert theta.dtype == dtype
        assert np.all(distance(theta, bound) <= 1)
        # on the GPU a power may round otherwise
        assert backend.name == "cupy" or np.array_equal(theta, on_numpy)
