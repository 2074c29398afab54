"""Ranger: the whole algorithm in 50 digits, its defaults, backends, NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest
from conftest import Backend
from scalars import assert_proven
from trajectory import RATES, assert_backends_agree, assert_equals, average, run

from refopt.catalog import build
from refopt.specification import resolve

BETA1, BETA2, EPS, ALPHA, K = Decimal("0.75"), Decimal("0.875"), Decimal("0.25"), Decimal("0.25"), 3
HYPERPARAMETERS = {"beta1": 0.75, "beta2": 0.875, "eps": 0.25, "alpha": 0.25, "k": 3}

THETA = ((1.5, -0.5), (2.0, 0.25))
RANDOM = np.random.default_rng(0)
GRADIENTS = [np.round(RANDOM.standard_normal((2, 2)) * 64) / 16 for _ in RATES]
"""With four fractional bits: exact in binary, and so are the means of their rows."""
STEPS = list(zip(RATES, GRADIENTS, strict=True))


def test_code_and_specification_are_equal() -> None:
    assert_proven("ranger", "ranger")


def centralized(g: np.ndarray) -> list[Decimal]:
    rows = [[Decimal(float(x)) for x in row] for row in g]
    return [x - sum(row, start=Decimal(0)) / len(row) for row in rows for x in row]


def direction(t: int, i: int, rectified_from: int, hat: bool) -> Decimal:
    """RAdam on centralized gradients; with beta2 = 0.875 the length passes 4 at step 5."""
    c2, longest = 1 - BETA2**t, (1 + BETA2) / (1 - BETA2)
    gradients = [centralized(g)[i] for g in GRADIENTS[:t]]
    m_hat = average(gradients, BETA1) / (1 - BETA1**t)
    if t < rectified_from:
        return m_hat
    root = (average([g**2 for g in gradients], BETA2) / c2).sqrt()
    length = longest - 2 * t * BETA2**t / c2
    variance = (longest - 4) * (longest - 2) / longest * length
    eps = EPS / c2.sqrt() if hat else EPS
    return ((length - 4) * (length - 2) / variance).sqrt() * m_hat / (root + eps)


def ranger(rectified_from: int, hat: bool) -> Iterator[list[list[Decimal]]]:
    """The parameter after each step, pulled back to the slow weights after every third."""
    fast = [Decimal(x) for row in THETA for x in row]
    slow = list(fast)
    for t, lr in enumerate(map(Decimal, RATES), 1):
        fast = [p - lr * direction(t, i, rectified_from, hat) for i, p in enumerate(fast)]
        if t % K == 0:
            slow = [s + ALPHA * (p - s) for s, p in zip(slow, fast, strict=True)]
            fast = list(slow)
        yield [fast[:2], fast[2:]]


@pytest.mark.parametrize(
    ("dialect", "rectified_from", "hat"), [(None, 5, False), ("original", 6, True)]
)
def test_centralized_rectified_and_pulled_back(
    dialect: str | None, rectified_from: int, hat: bool
) -> None:
    optimizer = resolve("ranger", dialect).with_hyperparameters(**HYPERPARAMETERS)
    assert_equals(str(optimizer), THETA, STEPS, lambda: ranger(rectified_from, hat))


def test_its_values_are_defaults_that_may_be_changed() -> None:
    optimizer = build("ranger")
    assert optimizer.pinned() == frozenset()
    given = {"beta1": 0.95, "eps": 1e-5, "k": 6, "alpha": 0.5}
    assert {name: optimizer.hyperparameters()[name] for name in given} == given
    assert build("ranger(k=3)").pinned() == {"k"}
    assert build("ranger(k=3)").hyperparameters()["beta1"] == 0.95
    assert str(build(str(optimizer))) == str(optimizer)


def test_vectors_are_not_centralized() -> None:
    steps = [(rate, g[0]) for rate, g in STEPS]
    ranger, plain = (
        list(run(build(expression), np.array, THETA[0], steps))
        for expression in ("ranger", "lookahead(radam(beta1=0.95, eps=1e-5), k=6, alpha=0.5)")
    )
    assert np.array_equal(ranger, plain)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_reaches_its_row_and_no_other(value: float) -> None:
    """The mean of a row with an infinite element is infinite, and inf - inf is NaN."""
    optimizer, theta = build("ranger"), np.ones((2, 2))
    g = np.array(((1.0, value), (1.0, 2.0)))
    theta, _ = optimizer.step(theta, g, optimizer.init(theta))
    assert np.isnan(theta[0, 1])
    assert not np.isfinite(theta[0, 0])
    assert np.all(np.isfinite(theta[1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    expression = "ranger(beta1=0.8, beta2=0.875, eps=0.01, k=3, alpha=0.3)"
    assert_backends_agree(backend, expression, dtype)
