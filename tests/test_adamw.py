"""AdamW: every framework's moment of decay in 50 digits, frameworks, exclusion, backends."""

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

import refopt
from refopt.catalog import build
from refopt.specification import Cell, load, resolve

BETA1, BETA2, EPS, DECAY = Decimal("0.75"), Decimal("0.625"), Decimal("0.25"), Decimal("0.375")
HYPERPARAMETERS = {"beta1": 0.75, "beta2": 0.625, "eps": 0.25, "weight_decay": 0.375}

STEPS = list(zip(RATES, GRADIENTS, strict=True))


def test_code_and_specification_are_equal() -> None:
    assert_proven("adamw", "adamw")


def directions() -> Iterator[tuple[Decimal, Decimal, Decimal, Decimal, Decimal]]:
    """At each step: lr, lr with the bias correction, Adam corrected, epsilon-hat, uncorrected."""
    gradients = [Decimal(g) for g in GRADIENTS]
    for t, rate in enumerate(map(Decimal, RATES), 1):
        m = average(gradients[:t], BETA1)
        root = average([g**2 for g in gradients[:t]], BETA2).sqrt()
        factor = (1 - BETA2**t).sqrt() / (1 - BETA1**t)
        corrected = m / (1 - BETA1**t) / (root / (1 - BETA2**t).sqrt() + EPS)
        uncorrected = m / (root + EPS)
        yield rate, rate * factor, corrected, factor * uncorrected, uncorrected


def late() -> Iterator[tuple[Decimal, Decimal]]:
    """At each step: lr, and ONNX's direction, whose correction counts the steps before."""
    for t, (rate, _, _, _, uncorrected) in enumerate(directions(), 1):
        factor = (1 - BETA2 ** (t - 1)).sqrt() / (1 - BETA1 ** (t - 1)) if t > 1 else Decimal(1)
        yield rate, factor * uncorrected


def trajectory(dialect: str) -> Iterator[Decimal]:
    """The parameter after each step, as the framework's source has it."""
    p = Decimal("1.5")
    if dialect == "onnx":
        for lr, h in late():
            p = (1 - DECAY) * (p - lr * h)
            yield p
        return
    for lr, corrected_lr, adam, hat, uncorrected in directions():
        match dialect:
            case "torch" | "mlx_bias_correction" | "paddle":
                p = p * (1 - lr * DECAY) - lr * adam
            case "optax" | "bert4keras" | "tinygrad":
                p = p - lr * (adam + DECAY * p)
            case "keras":
                p = p - lr * DECAY * p - lr * hat
            case "mlx":
                p = p * (1 - lr * DECAY) - lr * uncorrected
            case "bert":
                p = p - lr * (uncorrected + DECAY * p)
            case "mxnet":
                p = p - lr * hat
                p = p - corrected_lr * DECAY * p
            case "mxnet_fused":
                p = p - corrected_lr * (uncorrected + DECAY * p)
            case "transformers":
                p = p - lr * hat
                p = p - lr * DECAY * p
            case "tfa":
                p = (p - DECAY * p) - lr * hat
            case _:
                raise ValueError(f"nobody has read the source of {dialect} for this test")
        yield p


def test_the_canonical_form_decays_the_old_parameter_inside_the_direction() -> None:
    optimizer = build("adamw").with_hyperparameters(**HYPERPARAMETERS)
    assert_equals(str(optimizer), 1.5, STEPS, lambda: trajectory("optax"))


@pytest.mark.parametrize("dialect", load("adamw").dialects)
def test_each_framework_decays_at_its_own_moment(dialect: str) -> None:
    optimizer = resolve("adamw", dialect).with_hyperparameters(**HYPERPARAMETERS)
    assert_equals(str(optimizer), 1.5, STEPS, lambda: trajectory(dialect))


def test_without_decay_it_is_adam() -> None:
    got = run(build("adamw(weight_decay=0.0)"), np.array, 1.5, STEPS)
    assert list(got) == list(run(build("adam"), np.array, 1.5, STEPS))


def test_parameters_excluded_by_name_do_not_decay() -> None:
    optimizer = refopt.weight_decay(refopt.adam(lr=0.5), 0.25, exclude=lambda name: "bias" in name)
    params = {"weight": np.array(2.0), "bias": np.array(2.0)}
    grads = {name: np.array(0.0) for name in params}
    params, _ = optimizer.step(params, grads, optimizer.init(params))
    assert params == {"weight": 2.0 - 0.5 * 0.25 * 2.0, "bias": 2.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(value: float) -> None:
    assert_stays_where_it_came_in(build("adamw"), value)


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("adamw"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize(
    "form",
    [
        "adam",
        "l2(adam)",
        "weight_decay_after(adam)",
        "weight_decay_free(adam)",
        "weight_decay(adam_epsilon_hat)",
        "weight_decay(adam_uncorrected)",
    ],
)
def test_torch_is_told_from_other_moments(form: str) -> None:
    assert_deviates("torch.optim:AdamW", form)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    expression = "adamw(beta1=0.8, beta2=0.6, eps=0.01, weight_decay=0.3)"
    assert_backends_agree(backend, expression, dtype)
