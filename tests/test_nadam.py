"""Nadam: sums and products in 50 digits, missing gradients, frameworks, backends, NaN."""

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
)

from refopt.catalog import build
from refopt.specification import Cell

FORMS = ("nadam", "nadam_constant_momentum", "nadam_one_correction")

BETA1, BETA2, EPS, DECAY = Decimal("0.75"), Decimal("0.625"), Decimal("0.25"), Decimal("12.5")


def test_code_and_specification_are_equal() -> None:
    assert_proven("nadam", *FORMS)


def momentum(i: int) -> Decimal:
    """Dozat's schedule, which rises from half of beta1 to all of it."""
    return BETA1 * (1 - Decimal("0.96") ** (i * DECAY) / 2)


def nadam(form: str) -> Iterator[Decimal]:
    """The parameter after each step, momenta as products over all steps so far."""
    theta, gradients = Decimal("1.5"), [Decimal(g) for g in GRADIENTS]
    for t, (g, rate) in enumerate(zip(gradients, map(Decimal, RATES), strict=True), 1):
        m = average(gradients[:t], BETA1)
        v_hat = average([x**2 for x in gradients[:t]], BETA2) / (1 - BETA2**t)
        mus = [momentum(i) if form == "nadam" else BETA1 for i in range(1, t + 2)]
        corrected = mus[:t] if form == "nadam_one_correction" else mus
        ahead = mus[t] * m / (1 - math.prod(corrected))
        here = (1 - mus[t - 1]) * g / (1 - math.prod(mus[:t]))
        theta -= rate * (ahead + here) / (v_hat.sqrt() + EPS)
        yield theta


@pytest.mark.parametrize("form", FORMS)
def test_momenta_are_products_over_all_steps(form: str) -> None:
    steps = list(zip(RATES, GRADIENTS, strict=True))
    schedule = ", momentum_decay=12.5" if form == "nadam" else ""
    expression = f"{form}(beta1=0.75, beta2=0.625, eps=0.25{schedule})"
    assert_equals(expression, 1.5, steps, lambda: nadam(form))


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("nadam(beta1=0.75, momentum_decay=12.5)", 2),
        ("count_missing(nadam(beta1=0.75, momentum_decay=12.5))", 4),
    ],
)
def test_the_product_follows_the_count_of_steps(expression: str, count: int) -> None:
    """Dozat's product runs over all steps up to t, whether they had a gradient or not."""
    optimizer, theta = build(expression), {"w": np.array(1.5)}
    state = optimizer.init(theta)
    for g in (np.array(2.0), None, None, np.array(-3.0)):
        theta, state = optimizer.step(theta, {"w": g}, state)
    assert state["w"]["t"] == count
    product = math.prod(0.75 * (1 - 0.5 * 0.96 ** (i * 12.5)) for i in range(1, count + 1))
    assert state["w"]["nadam.mu_product"] == product


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(form: str, value: float) -> None:
    assert_stays_where_it_came_in(build(form), value)


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("nadam"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize(
    ("target", "form"),
    [
        ("optax:nadam", "nadam"),
        ("torch.optim:NAdam", "nadam_constant_momentum"),
    ],
)
def test_frameworks_are_told_from_the_other_forms(target: str, form: str) -> None:
    assert_deviates(target, form)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(beta1=0.8, beta2=0.6, eps=0.01)", dtype)
