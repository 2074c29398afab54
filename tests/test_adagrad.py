"""Adagrad: the paper's sums in 50 digits, torch, other backends, NaN and infinity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest
from conftest import Backend
from scalars import assert_proven
from trajectory import (
    GRADIENTS,
    RATES,
    assert_backends_agree,
    assert_conforms,
    assert_deviates,
    assert_equals,
    assert_stays_where_it_came_in,
    cells,
    run,
)

from refopt.catalog import build
from refopt.specification import Cell

FORMS = ("adagrad", "adagrad_epsilon_inside", "adagrad_guarded")


def test_code_and_specification_are_equal() -> None:
    assert_proven("adagrad", *FORMS)


STEPS = list(zip(RATES, GRADIENTS, strict=True))


def summed(inside: bool, eps: float, initial: float) -> Iterator[Decimal]:
    """The parameter after each step, from the sum of all squares so far."""
    theta = Decimal("1.5")
    for t, lr in enumerate(RATES, 1):
        total = Decimal(initial) + sum(Decimal(g) ** 2 for g in GRADIENTS[:t])
        root = (total + Decimal(eps)).sqrt() if inside else total.sqrt() + Decimal(eps)
        theta -= Decimal(lr) * Decimal(GRADIENTS[t - 1]) / root
        yield theta


@pytest.mark.parametrize("initial", [0.0, 0.625])
@pytest.mark.parametrize("form", FORMS)
def test_sums_of_squares(form: str, initial: float) -> None:
    expression = f"{form}(eps=0.25, initial_accumulator={initial})"
    assert_equals(expression, 1.5, STEPS, lambda: summed(form != "adagrad", 0.25, initial))


def test_by_hand() -> None:
    """The sums of the squares of 3, 4, 12 and 84 are the squares of 3, 5, 13 and 85."""
    steps = [(1.0, g) for g in (3.0, 4.0, -12.0, 84.0)]
    thetas = run(build("adagrad(eps=1.0)"), np.array, 0.0, steps)
    directions = [3 / 4, 4 / 6, -12 / 14, 84 / 86]
    assert [theta.item() for theta in thetas] == [-x for x in itertools.accumulate(directions)]


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
    assert_stays_where_it_came_in(build(form), value)


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("adagrad"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


def test_torch_is_told_from_epsilon_inside() -> None:
    assert_deviates("torch.optim:Adagrad", "adagrad_epsilon_inside")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(eps=0.01, initial_accumulator=0.3)", dtype)
