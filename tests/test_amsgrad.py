"""AMSGrad: the largest of sums in 50 digits, frameworks, backends, NaN and infinity."""

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
    assert_deviates,
    assert_equals,
    assert_stays_where_it_came_in,
    average,
    cells,
    run,
)

from refopt.catalog import build
from refopt.specification import Cell

FORMS = ("amsgrad", "amsgrad_epsilon_hat", "amsgrad_of_corrected")

BETA1, BETA2, EPS = Decimal("0.75"), Decimal("0.625"), Decimal("0.25")


def test_code_and_specification_are_equal() -> None:
    assert_proven("amsgrad", *FORMS)


def amsgrad(form: str) -> Iterator[Decimal]:
    """The parameter after each step, from the largest of all second moments so far."""
    theta, gradients = Decimal("1.5"), [Decimal(g) for g in GRADIENTS]
    squares = [g**2 for g in gradients]
    for t, rate in enumerate(map(Decimal, RATES), 1):
        c1, c2 = 1 - BETA1**t, 1 - BETA2**t
        m_hat = average(gradients[:t], BETA1) / c1
        seconds = [average(squares[:i], BETA2) for i in range(1, t + 1)]
        corrected = [v / (1 - BETA2**i) for i, v in enumerate(seconds, 1)]
        match form:
            case "amsgrad":
                h = m_hat / ((max(seconds) / c2).sqrt() + EPS)
            case "amsgrad_epsilon_hat":  # epsilon as it acts on the corrected moment
                h = m_hat / ((max(seconds) / c2).sqrt() + EPS / c2.sqrt())
            case "amsgrad_of_corrected":
                h = m_hat / (max(corrected).sqrt() + EPS)
        theta -= rate * h
        yield theta


@pytest.mark.parametrize("form", FORMS)
def test_the_largest_second_moment_divides(form: str) -> None:
    steps = list(zip(RATES, GRADIENTS, strict=True))
    expression = f"{form}(beta1=0.75, beta2=0.625, eps=0.25)"
    assert_equals(expression, 1.5, steps, lambda: amsgrad(form))


@pytest.mark.parametrize(
    ("form", "adam"),
    [
        ("amsgrad", "adam"),
        ("amsgrad_epsilon_hat", "adam_epsilon_hat"),
        ("amsgrad_of_corrected", "adam"),
    ],
)
def test_with_growing_gradients_the_maximum_is_the_last(form: str, adam: str) -> None:
    steps = [(rate, 2.0**t * (-1) ** t) for t, rate in enumerate(RATES)]
    thetas = [
        list(run(build(f"{rule}(beta1=0.75, beta2=0.5, eps=0.25)"), np.array, 1.5, steps))
        for rule in (form, adam)
    ]
    assert thetas[0] == thetas[1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(form: str, value: float) -> None:
    assert_stays_where_it_came_in(build(form), value)


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("amsgrad"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize("target", ["optax:amsgrad", "torch.optim:Adam"])
def test_optax_and_plain_adam_are_told_from_the_canonical_form(target: str) -> None:
    assert_deviates(target, "amsgrad")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(beta1=0.8, beta2=0.6, eps=0.01)", dtype)
