"""Adam: sums over all gradients in 50 digits, ONNX's vectors, frameworks, backends, NaN."""

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
    assert_stays_where_it_came_in,
    average,
    bounded,
    cells,
    run,
)

from refopt.arithmetic.bounds import FLOAT32, Bounded, distance
from refopt.catalog import build
from refopt.specification import Cell

FORMS = (
    "adam",
    "adam_epsilon_hat",
    "adam_epsilon_inside",
    "adam_uncorrected",
    "adam_late_correction",
    "adam_hidden_accumulation",
)

BETA1, BETA2, EPS = Decimal("0.75"), Decimal("0.625"), Decimal("0.25")
HYPERPARAMETERS = "beta1=0.75, beta2=0.625, eps=0.25"


def test_code_and_specification_are_equal() -> None:
    assert_proven("adam", *FORMS)


def adam(form: str) -> Iterator[Decimal]:
    """The parameter after each step, the moments as sums over all gradients so far."""
    theta, gradients = Decimal("1.5"), [Decimal(g) for g in GRADIENTS]
    for t, rate in enumerate(map(Decimal, RATES), 1):
        m = average(gradients[:t], BETA1)
        v = average([g**2 for g in gradients[:t]], BETA2)
        c1, c2 = 1 - BETA1**t, 1 - BETA2**t
        match form:
            case "adam":
                h = m / c1 / ((v / c2).sqrt() + EPS)
            case "adam_epsilon_hat":  # epsilon as it acts on the corrected moment
                h = m / c1 / ((v / c2).sqrt() + EPS / c2.sqrt())
            case "adam_epsilon_inside":
                h = m / c1 / (v / c2 + EPS).sqrt()
            case "adam_uncorrected":
                h = m / (v.sqrt() + EPS)
            case "adam_late_correction" if t == 1:
                h = m / (v.sqrt() + EPS)
            case "adam_late_correction":
                late1, late2 = 1 - BETA1 ** (t - 1), 1 - BETA2 ** (t - 1)
                h = m / late1 / ((v / late2).sqrt() + EPS / late2.sqrt())
        theta -= rate * h
        yield theta


@pytest.mark.parametrize("form", FORMS[:-1])
def test_moments_are_sums_over_all_gradients(form: str) -> None:
    steps = list(zip(RATES, GRADIENTS, strict=True))
    assert_equals(f"{form}({HYPERPARAMETERS})", 1.5, steps, lambda: adam(form))


def hidden(k: int) -> Iterator[Decimal]:
    """Adam on the mean of every k gradients and of their squares, epsilon inside the root."""
    theta, gradients = Decimal("1.5"), [Decimal(g) for g in GRADIENTS]
    means, squares = list[Decimal](), list[Decimal]()
    for call, rate in enumerate(map(Decimal, RATES), 1):
        if call % k == 0:
            window = gradients[call - k : call]
            means.append(sum(window, start=Decimal(0)) / k)
            squares.append(sum((g**2 for g in window), start=Decimal(0)) / k)
            t = call // k
            m_hat = average(means, BETA1) / (1 - BETA1**t)
            v_hat = average(squares, BETA2) / (1 - BETA2**t)
            theta -= rate * m_hat / (v_hat + EPS).sqrt()
        yield theta


@pytest.mark.parametrize("k", [1, 2, 3])
def test_accumulation_hidden_in_the_moments(k: int) -> None:
    steps = list(zip(RATES, GRADIENTS, strict=True))
    expression = f"adam_hidden_accumulation({HYPERPARAMETERS}, k={k})"
    assert_equals(expression, 1.5, steps, lambda: hidden(k))


def test_hidden_accumulation_is_exact_where_the_gradients_of_a_window_are_equal() -> None:
    steps = [(rate, STEPS[i - i % 3][1]) for i, rate in enumerate(RATES)]
    hyperparameters = "k=3, beta1=0.8, beta2=0.6, eps=0.01"
    inside = build(f"adam_hidden_accumulation({hyperparameters})")
    around = build("gradient_accumulation(adam_epsilon_inside, k=3)").with_hyperparameters(
        beta1=0.8, beta2=0.6, eps=0.01
    )
    for thetas, bounds in zip(
        run(inside, np.array, PARAMS, steps), bounded(around, "float64", PARAMS, steps), strict=True
    ):
        assert all(np.all(distance(*pair) <= 1) for pair in zip(thetas, bounds, strict=True))


def test_without_gradients_nothing_moves() -> None:
    for form in FORMS:
        steps = [(0.5, 0.0)] * 4
        assert [float(theta) for theta in run(build(form), np.array, 1.5, steps)] == [1.5] * 4


ONNX = [
    pytest.param(
        "beta1=0.95, beta2=0.1, eps=1e-7",
        ([1.2, 2.8], [-0.94, -2.5], [1.7, 3.6], [0.1, 0.1]),
        ([1.02503633, 2.66103268], [1.56806004, 3.29513979], [0.80321079, 5.62240696]),
        id="test_adam",
    ),
    pytest.param(
        "beta1=0.95, beta2=0.85, eps=1e-2",
        ([1.0, 2.0], [-1.0, -3.0], [4.0, 1.0], [1.0, 10.0]),
        ([0.62865281, 1.97458530], [3.75005007, 0.80009997], [0.99970019, 9.84820080]),
        id="test_adam_multiple",
    ),
]
"""From onnx/backend/test/case/node/adam.py: X, G, V, H and what the operator makes of them.

All are float32 and have T = 0, R = 0.1 and norm_coefficient = 0.001.
"""


@pytest.mark.parametrize(("hyperparameters", "before", "after"), ONNX)
def test_onnx_vectors(
    hyperparameters: str, before: tuple[list[float], ...], after: tuple[list[float], ...]
) -> None:
    optimizer = build(f"l2(adam_late_correction({hyperparameters}), weight_decay=0.001)")
    optimizer = optimizer.lifted(
        lambda _, x: Bounded(x, abs(x - FLOAT32.nearest(x)), FLOAT32)  # attributes are float32
    )
    theta, g, m, v = (Bounded.exact(np.asarray(x, "float32"), FLOAT32) for x in before)
    rule = "adam_late_correction"
    state = {"": optimizer.init(theta)[""] | {f"{rule}.m": m, f"{rule}.v": v}}
    theta, state = optimizer.step(theta, g, state, lr=0.1)
    for expected, got in zip((theta, *list(state[""].values())[1:]), after, strict=True):
        assert np.all(distance(np.asarray(got, "float32"), expected) <= 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(form: str, value: float) -> None:
    assert_stays_where_it_came_in(build(form), value)


@pytest.mark.parametrize("beta1", [0.0, 0.8])
@pytest.mark.parametrize("beta2", [0.0, 0.6])
@pytest.mark.parametrize("form", FORMS)
def test_decay_rates_may_be_zero(form: str, beta1: float, beta2: float) -> None:
    optimizer = build(form).with_hyperparameters(beta1=beta1, beta2=beta2, eps=0.01)
    for thetas, bounds in zip(
        run(optimizer, np.array, PARAMS, STEPS),
        bounded(optimizer, "float64", PARAMS, STEPS),
        strict=True,
    ):
        assert all(np.all(distance(*pair) <= 1) for pair in zip(thetas, bounds, strict=True))


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("adam"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize("form", FORMS[1:])
def test_torch_is_told_from_the_other_forms(form: str) -> None:
    assert_deviates("torch.optim:Adam", form)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(beta1=0.8, beta2=0.6, eps=0.01)", dtype)
