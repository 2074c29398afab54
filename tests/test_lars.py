"""LARS: the whole algorithm in 50 digits, in every form, frameworks, backends, NaN."""

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
    cells,
)

from refopt.catalog import build
from refopt.specification import Cell, resolve

MOMENTUM, ETA, DECAY, EPS = Decimal("0.75"), Decimal("0.5"), Decimal("0.375"), Decimal("0.25")
HYPERPARAMETERS = {"momentum": 0.75, "eta": 0.5, "weight_decay": 0.375, "eps": 0.25}

THETA = (1.5, -0.5, 2.0)
GRADIENTS = ((3.0, 0.0, -1.0), (-0.25, 8.0, 0.5), (0.0, -0.125, 2.0), (4.0, 1.0, -16.0))
STEPS = list(zip(RATES[:4], GRADIENTS, strict=True))


def test_code_and_specification_are_equal() -> None:
    assert_proven("lars", "lars")


def norm(values: list[Decimal]) -> Decimal:
    return sum((x**2 for x in values), start=Decimal(0)).sqrt()


def lars(of_sum: bool, nesterov: bool, lr_inside: bool) -> Iterator[list[Decimal]]:
    """The parameter after each step, the buffer as a sum over all steps so far."""
    theta, parts = [Decimal(x) for x in THETA], list[list[Decimal]]()
    for lr, values in STEPS:
        g = [Decimal(x) for x in values]
        decayed = [x + DECAY * p for x, p in zip(g, theta, strict=True)]
        below = norm(decayed) if of_sum else norm(g) + DECAY * norm(theta)
        ratio = ETA * norm(theta) / (below + EPS)
        scale = Decimal(lr) if lr_inside else Decimal(1)
        parts.append([scale * ratio * x for x in decayed])
        weights = [Decimal(1), *(MOMENTUM**age for age in range(1, len(parts)))]
        buffer = [
            sum((w * part[i] for w, part in zip(weights, parts[::-1], strict=True)), Decimal(0))
            for i in range(len(theta))
        ]
        if nesterov:
            buffer = [x + MOMENTUM * b for x, b in zip(parts[-1], buffer, strict=True)]
        step = [(1 if lr_inside else Decimal(lr)) * b for b in buffer]
        theta = [p - x for p, x in zip(theta, step, strict=True)]
        yield theta


@pytest.mark.parametrize("nesterov", [False, True], ids=["", "nesterov"])
@pytest.mark.parametrize(
    ("dialect", "of_sum", "lr_inside"),
    [(None, False, True), ("optax", True, True), ("timm", False, False)],
)
def test_gradients_have_the_size_of_the_parameter(
    dialect: str | None, of_sum: bool, lr_inside: bool, nesterov: bool
) -> None:
    optimizer = resolve("lars", dialect).with_hyperparameters(**HYPERPARAMETERS, nesterov=nesterov)
    assert_equals(str(optimizer), THETA, STEPS, lambda: lars(of_sum, nesterov, lr_inside))


def test_momentum_is_a_default_that_may_be_changed() -> None:
    assert build("lars").hyperparameters()["momentum"] == 0.9
    assert build("lars").pinned() == frozenset()
    assert str(build("lars(momentum=0.5)")) == "trust_ratio(sgd_lr_inside(momentum=0.5))"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_reaches_its_tensor_and_no_other(value: float) -> None:
    """A norm of NaN makes the whole tensor NaN; one of infinity a ratio of 0, and 0*inf NaN."""
    optimizer = build("lars")
    thetas = [np.ones(2), np.ones(2)]
    grads = [np.array((1.0, value)), np.array((1.0, 2.0))]
    (bad, good), _ = optimizer.step(thetas, grads, optimizer.init(thetas))
    assert np.isnan(bad[1])
    assert bad[0] == 1.0 if math.isinf(value) else np.isnan(bad[0])
    assert np.all(np.isfinite(good))


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("lars"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize("form", ["lars", "trust_ratio_of_sum(sgd(momentum=0.9))"])
def test_optax_is_told_from_the_other_forms(form: str) -> None:
    assert_deviates("optax:lars", form)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    expression = "lars(momentum=0.8, eta=0.3, weight_decay=0.3, eps=0.01, nesterov=True)"
    assert_backends_agree(backend, expression, dtype)
