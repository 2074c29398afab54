"""AdaMax: sums and maxima in 50 digits, frameworks, backends, NaN and infinity."""

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

FORMS = (
    "adamax",
    "adamax_epsilon_outside",
    "adamax_uncorrected",
    "adamax_epsilon_on_decayed",
)

BETA1, BETA2, EPS = Decimal("0.75"), Decimal("0.625"), Decimal("0.25")


def test_code_and_specification_are_equal() -> None:
    assert_proven("adamax", *FORMS)


def adamax(form: str) -> Iterator[Decimal]:
    """The parameter after each step: ``u`` is the largest of the decayed sizes so far.

    What ``adamax_epsilon_on_decayed`` adds in every step decays too.
    """
    theta, gradients = Decimal("1.5"), [Decimal(g) for g in GRADIENTS]
    inside = EPS if form == "adamax" else Decimal(0)
    outside = EPS if form in ("adamax_epsilon_outside", "adamax_uncorrected") else Decimal(0)
    gathered = EPS if form == "adamax_epsilon_on_decayed" else Decimal(0)
    for t, rate in enumerate(map(Decimal, RATES), 1):
        m = average(gradients[:t], BETA1)
        sizes = [Decimal(0), *(abs(g) + inside for g in gradients[:t])]
        aged = enumerate(reversed(sizes))
        u = max(BETA2**age * x + gathered * sum(BETA2**i for i in range(age)) for age, x in aged)
        correction = 1 if form == "adamax_uncorrected" else 1 - BETA1**t
        theta -= rate * m / correction / (u + outside)
        yield theta


@pytest.mark.parametrize("form", FORMS)
def test_the_largest_decayed_size_divides(form: str) -> None:
    steps = list(zip(RATES, GRADIENTS, strict=True))
    expression = f"{form}(beta1=0.75, beta2=0.625, eps=0.25)"
    assert_equals(expression, 1.5, steps, lambda: adamax(form))


def test_without_epsilon_the_forms_with_correction_are_the_paper() -> None:
    """Algorithm 2: u = max(beta2*u, |g|), theta -= lr/(1 - beta1**t) * m/u."""
    theta, m, u = 1.5, 0.0, 0.0
    expected = []
    for t, (rate, g) in enumerate(zip(RATES, GRADIENTS, strict=True), 1):
        m, u = 0.75 * m + 0.25 * g, max(0.5 * u, abs(g))
        theta -= rate * (m / (1 - 0.75**t) / u)
        expected.append(theta)
    steps = list(zip(RATES, GRADIENTS, strict=True))
    for form in ("adamax", "adamax_epsilon_outside", "adamax_epsilon_on_decayed"):
        optimizer = build(f"{form}(beta1=0.75, beta2=0.5, eps=0.0)")
        assert [theta.item() for theta in run(optimizer, np.array, 1.5, steps)] == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(form: str, value: float) -> None:
    assert_stays_where_it_came_in(build(form), value)


@pytest.mark.parametrize("form", FORMS)
def test_without_epsilon_a_gradient_that_has_always_been_zero_is_undefined(form: str) -> None:
    steps = [(0.5, [0.0, 1.0])]
    (theta,) = run(build(f"{form}(eps=0.0)"), np.array, np.zeros(2), steps)
    assert np.isnan(theta[0])
    assert np.isfinite(theta[1])


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("adamax"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize("form", FORMS[1:])
def test_torch_is_told_from_the_other_forms(form: str) -> None:
    assert_deviates("torch.optim:Adamax", form)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(beta1=0.8, beta2=0.6, eps=0.01)", dtype)
