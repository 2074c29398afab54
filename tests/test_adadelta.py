"""Adadelta: the paper's averages in 50 digits, torch, other backends, NaN and infinity."""

from __future__ import annotations

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
    assert_equals,
    assert_stays_where_it_came_in,
    cells,
    run,
)

from refopt.catalog import build
from refopt.specification import Cell

FORMS = ("adadelta",)


def test_code_and_specification_are_equal() -> None:
    assert_proven("adadelta", *FORMS)


STEPS = list(zip(RATES, GRADIENTS, strict=True))


def averages(rho: Decimal, eps: Decimal) -> Iterator[Decimal]:
    """The parameter after each step, from sums over all squared gradients and steps so far."""
    theta, taken = Decimal("1.5"), [Decimal(0)]
    squares = [Decimal(g) ** 2 for g in GRADIENTS]

    def rms(values: list[Decimal]) -> Decimal:
        weighted = (rho**age * x for age, x in enumerate(reversed(values)))
        return ((1 - rho) * sum(weighted) + eps).sqrt()

    for t, lr in enumerate(RATES, 1):
        h = rms([x**2 for x in taken]) / rms(squares[:t]) * Decimal(GRADIENTS[t - 1])
        taken.append(h)
        theta -= Decimal(lr) * h
        yield theta


def test_averages_of_squares() -> None:
    def expected() -> Iterator[Decimal]:
        return averages(Decimal("0.625"), Decimal("0.25"))

    assert_equals("adadelta(rho=0.625, eps=0.25)", 1.5, STEPS, expected)


def test_by_hand() -> None:
    """Rho = 0 and eps = 9: a root over the last gradient alone, under one over the last step."""
    steps = [(1.0, g) for g in (4.0, 0.0, -4.0)]
    thetas = run(build("adadelta(rho=0.0, eps=9.0)"), np.array, 0.0, steps)
    first, last = 3 / 5 * 4, 3 / 5 * -4
    assert [theta.item() for theta in thetas] == [-first, -first, -first - last]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(value: float) -> None:
    assert_stays_where_it_came_in(build("adadelta"), value)


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("adadelta"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(rho=0.7, eps=0.01)", dtype)
