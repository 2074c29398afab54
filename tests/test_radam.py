"""RAdam: rectification in 50 digits, where there is none, frameworks, backends, NaN."""

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
    PARAMS,
    RATES,
    STEPS,
    assert_backends_agree,
    assert_conforms,
    assert_deviates,
    assert_equals,
    average,
    bounded,
    cells,
    run,
)

from refopt.catalog import build
from refopt.specification import Cell

FORMS = ("radam", "radam_from_5", "radam_epsilon_hat", "radam_rectified_only")

BETA1, BETA2, EPS = Decimal("0.75"), Decimal("0.875"), Decimal("0.25")
RECTIFIED_FROM = {"radam": 5, "radam_from_5": 6, "radam_epsilon_hat": 6, "radam_rectified_only": 6}
"""With beta2 = 0.875 the length is 3.66, 4.47 and 5.23 at steps 4, 5 and 6."""


def test_code_and_specification_are_equal() -> None:
    assert_proven("radam", *FORMS)


def radam(form: str) -> Iterator[Decimal]:
    """The parameter after each step, the moments as sums over all gradients so far."""
    theta, gradients = Decimal("1.5"), [Decimal(g) for g in GRADIENTS]
    longest = (1 + BETA2) / (1 - BETA2)
    for t, rate in enumerate(map(Decimal, RATES), 1):
        c2 = 1 - BETA2**t
        m_hat = average(gradients[:t], BETA1) / (1 - BETA1**t)
        root = (average([g**2 for g in gradients[:t]], BETA2) / c2).sqrt()
        length = longest - 2 * t * BETA2**t / c2
        eps = EPS if form in ("radam", "radam_from_5") else EPS / c2.sqrt()
        if t >= RECTIFIED_FROM[form]:
            variance = (longest - 4) * (longest - 2) / longest * length
            h = ((length - 4) * (length - 2) / variance).sqrt() * m_hat / (root + eps)
        else:
            h = Decimal(0) if form == "radam_rectified_only" else m_hat
        theta -= rate * h
        yield theta


@pytest.mark.parametrize("form", FORMS)
def test_rectified_from_its_threshold_on(form: str) -> None:
    steps = list(zip(RATES, GRADIENTS, strict=True))
    expression = f"{form}(beta1=0.75, beta2=0.875, eps=0.25)"
    assert_equals(expression, 1.5, steps, lambda: radam(form))


@pytest.mark.parametrize("beta2", [0.0, 1 / 3, 0.5, 0.6])
@pytest.mark.parametrize("form", FORMS)
def test_a_short_memory_is_never_rectified(form: str, beta2: float) -> None:
    """The length stays below 4; at 0.6 and at 1/3 the paper's r divides by zero."""
    optimizer = build(form).with_hyperparameters(beta1=0.75, beta2=beta2)
    steps = list(zip(RATES, GRADIENTS, strict=True))
    theta, m, expected = 1.5, 0.0, []
    for t, (rate, g) in enumerate(steps, 1):
        m = 0.75 * m + 0.25 * g
        theta -= 0.0 if form == "radam_rectified_only" else rate * (m / (1 - 0.75**t))
        expected.append(theta)
    assert [x.item() for x in run(optimizer, np.array, 1.5, steps)] == expected


@pytest.mark.parametrize("beta2", [0.6, 1 / 3])
def test_bounds_hold_where_the_length_is_at_its_limit(beta2: float) -> None:
    for form in FORMS:
        optimizer = build(form).with_hyperparameters(beta2=beta2)
        for bounds in bounded(optimizer, "float32", PARAMS, STEPS):
            assert all(np.all(np.isfinite(bound.error)) for bound in bounds)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(form: str, value: float) -> None:
    """Unrectified it moves the parameter to infinity; rectified, inf/inf is NaN."""
    steps = [(0.5, [1.0, value if t == 2 else 1.0, -1.0]) for t in range(1, 9)]
    thetas = list(run(build(f"{form}(beta2=0.875)"), np.array, np.zeros(3), steps))
    unrectified = 0.0 if form == "radam_rectified_only" else -value
    assert np.array_equal(thetas[2][1], unrectified, equal_nan=True)
    assert np.isnan(thetas[-1][1])
    assert np.all(np.isfinite(thetas[-1][[0, 2]]))


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("radam"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize("target", ["torch.optim:RAdam", "optax:radam"])
@pytest.mark.parametrize("form", ["radam", "radam_rectified_only"])
def test_frameworks_are_told_from_the_other_forms(target: str, form: str) -> None:
    assert_deviates(target, form)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(beta1=0.8, beta2=0.875, eps=0.01)", dtype)
