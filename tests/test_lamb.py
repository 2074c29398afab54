"""LAMB: the whole algorithm in 50 digits, where frameworks decay, frameworks, backends, NaN."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest
from conftest import Backend
from scalars import assert_proven
from trajectory import (
    RATES,
    assert_backends_agree,
    assert_conforms,
    assert_deviates,
    assert_equals,
    average,
    cells,
)

from refopt.catalog import build
from refopt.specification import Cell, resolve

BETA1, BETA2, EPS, DECAY = Decimal("0.75"), Decimal("0.625"), Decimal("0.25"), Decimal("0.375")
HYPERPARAMETERS = {"beta1": 0.75, "beta2": 0.625, "eps": 0.25, "weight_decay": 0.375}

THETA = (1.5, -0.5, 2.0)
GRADIENTS = ((3.0, 0.0, -1.0), (-0.25, 8.0, 0.5), (0.0, -0.125, 2.0), (4.0, 1.0, -16.0))
STEPS = list(zip(RATES[:4], GRADIENTS, strict=True))


def test_code_and_specification_are_equal() -> None:
    assert_proven("lamb", "lamb")


def norm(values: list[Decimal]) -> Decimal:
    return sum((x**2 for x in values), start=Decimal(0)).sqrt()


def adam(t: int) -> list[Decimal]:
    """Adam's direction, element by element, the moments as sums over all gradients so far."""
    h = []
    for i in range(len(THETA)):
        gradients = [Decimal(g[i]) for g in GRADIENTS[:t]]
        m_hat = average(gradients, BETA1) / (1 - BETA1**t)
        v_hat = average([g**2 for g in gradients], BETA2) / (1 - BETA2**t)
        h.append(m_hat / (v_hat.sqrt() + EPS))
    return h


def lamb(decay_before: bool) -> Iterator[list[Decimal]]:
    """The parameter after each step; Keras decays it before the norms are taken."""
    theta = [Decimal(x) for x in THETA]
    for t, lr in enumerate(map(Decimal, RATES[:4]), 1):
        h = adam(t)
        if decay_before:
            theta = [p * (1 - lr * DECAY) for p in theta]
        else:
            h = [x + DECAY * p for x, p in zip(h, theta, strict=True)]
        ratio = norm(theta) / norm(h)
        theta = [p - lr * ratio * x for p, x in zip(theta, h, strict=True)]
        yield theta


@pytest.mark.parametrize(
    ("dialect", "decay_before"), [(None, False), ("optax", False), ("keras", True)]
)
def test_the_step_has_the_size_of_the_parameter(dialect: str | None, decay_before: bool) -> None:
    optimizer = resolve("lamb", dialect).with_hyperparameters(**HYPERPARAMETERS)
    assert_equals(str(optimizer), THETA, STEPS, lambda: lamb(decay_before))


def test_epsilon_is_a_default_that_may_be_changed() -> None:
    assert build("lamb").hyperparameters()["eps"] == 1e-6
    assert build("lamb").pinned() == frozenset()
    assert str(build("lamb(eps=0.5)")) == "layer_adaptation(weight_decay(adam(eps=0.5)))"
    assert str(build(str(build("lamb")))) == str(build("lamb"))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_makes_its_tensor_undefined(value: float) -> None:
    """An infinite gradient meets its own infinite root: inf/inf is NaN, and so is the norm."""
    optimizer = build("lamb")
    thetas = [np.ones(2), np.ones(2)]
    grads = [np.array((1.0, value)), np.array((1.0, 2.0))]
    (bad, good), _ = optimizer.step(thetas, grads, optimizer.init(thetas))
    assert np.all(np.isnan(bad))
    assert np.all(np.isfinite(good))


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("lamb"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize(
    "form", ["weight_decay(layer_adaptation(adam))", "weight_decay_before(layer_adaptation(adam))"]
)
def test_optax_is_told_from_decay_outside_the_ratio(form: str) -> None:
    assert_deviates("optax:lamb", form)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    expression = "lamb(beta1=0.8, beta2=0.6, eps=0.01, weight_decay=0.3)"
    assert_backends_agree(backend, expression, dtype)
