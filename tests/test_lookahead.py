"""Lookahead, and the moments at which implementations start and synchronise the slow weights."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from hypothesis import given
from hypothesis import strategies as st
from scalars import assert_plan_holds, assert_proven, plans_of, stepped, trace
from trajectory import GRADIENTS, RATES, assert_backends_agree, assert_equals

import refopt
from refopt.catalog import build
from refopt.oracle.matrix import Plan

FORMS = (
    "lookahead",
    "lookahead_from_zero",
    "lookahead_from_first_step",
    "lookahead_after_first_step",
    "lookahead_from_first_period",
)
STEPS = list(zip(RATES, GRADIENTS, strict=True))


def test_code_and_specification_are_equal() -> None:
    assert_proven("lookahead", *FORMS)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("lookahead", [1, 2, 1.5, 2.5, 3.5, 3, 4, 5, 4.5]),
        ("lookahead_from_first_period", [1, 2, 3, 4, 5, 4.5, 5.5, 6.5, 6]),
        ("lookahead_from_first_step", [1, 2, 3, 2.5, 3.5, 4.5, 4, 5, 6]),
        ("lookahead_after_first_step", [1, 2, 2, 3, 4, 3.5, 4.5, 5.5, 5]),
        ("lookahead_from_zero", [0.5, 1.5, 2.5, 2, 3, 4, 3.5, 4.5, 5.5]),
    ],
)
def test_unit_steps(form: str, expected: list[float]) -> None:
    assert stepped(f"{form}(sgd(lr=1.0), k=3, alpha=0.5)", [-1.0] * 9) == expected


def test_slow_weights_that_start_at_zero_pull_the_parameter_there_at_once() -> None:
    assert stepped("lookahead_from_zero(sgd(lr=1.0), k=3, alpha=0.25)", [0.0] * 2, 8.0) == [2, 2]


def test_slow_weights_move_a_part_of_the_way() -> None:
    def expected() -> Iterator[Any]:
        alpha = Decimal("0.3")
        theta = slow = Decimal(2)
        for t, (lr, g) in enumerate(STEPS, 1):
            theta -= Decimal(lr) * Decimal(g)
            if t % 3 == 0:
                theta = slow = (1 - alpha) * slow + alpha * theta
            yield theta

    assert_equals("lookahead(sgd, k=3, alpha=0.3)", 2.0, STEPS, expected)


def test_the_slow_weights_are_state_with_memory_of_its_own() -> None:
    optimizer, theta = build("lookahead(sgd(lr=1.0), k=2, alpha=0.5)"), np.zeros(1)
    state = optimizer.init(theta)
    theta[0] = 100.0
    assert state[""]["lookahead.slow"].tolist() == [0.0]
    theta = np.zeros(1)
    for _ in range(2):
        theta, state = optimizer.step(theta, -np.ones(1), state)
    assert theta.tolist() == state[""]["lookahead.slow"].tolist() == [1.0]
    theta[0] = 100.0
    assert state[""]["lookahead.slow"].tolist() == [1.0]


NUMBERS = st.lists(st.floats(-4, 4), min_size=1, max_size=12)


@given(gradients=NUMBERS, k=st.integers(1, 4), rule=st.sampled_from(["sgd", "adam", "adamax"]))
def test_all_of_the_way_is_no_lookahead(gradients: list[float], k: int, rule: str) -> None:
    plain = np.array(stepped(f"{rule}(lr=0.5)", gradients))
    looked = np.array(stepped(f"lookahead({rule}(lr=0.5), k={k}, alpha=1.0)", gradients))
    # Both stay below 64. Each of at most 12 steps rounds slow + (theta - slow), with the difference
    # below 128, and the updates of two parameters.
    assert np.max(np.abs(looked - plain)) <= 12 * (1 * 128 + 3 * 64) * 2**-53


@given(gradients=NUMBERS, k=st.integers(1, 4), theta=st.floats(-4, 4))
def test_none_of_the_way_is_a_return_after_k_steps(
    gradients: list[float], k: int, theta: float
) -> None:
    returned = stepped(f"lookahead(sgd(momentum=0.5), k={k}, alpha=0.0)", gradients, theta)[
        k - 1 :: k
    ]
    assert returned == [theta] * len(returned)


@given(gradients=st.lists(st.integers(-64, 64), min_size=1, max_size=12))
def test_a_period_of_one_scales_every_step(gradients: list[float]) -> None:
    looked = stepped("lookahead(sgd(lr=1.0), k=1, alpha=0.25)", gradients)
    assert looked == stepped("sgd(lr=0.25)", gradients)


def test_the_state_inside_goes_on() -> None:
    gradients = [2.0, 4.0, 8.0, 16.0]
    _, state = trace("lookahead(sgd_ema(momentum=0.5), k=2)", gradients, 0.0)
    _, plain = trace("sgd_ema(momentum=0.5)", gradients, 0.0)
    assert state["sgd_ema.m"] == plain["sgd_ema.m"]


def test_a_call_without_a_gradient_is_no_step_of_the_period() -> None:
    optimizer = "lookahead(sgd(lr=1.0), k=2, alpha=0.5)"
    assert stepped(optimizer, [-1.0, None, None, -1.0]) == [1, 1, 1, 1]


def test_excluded_parameters_have_no_slow_pace() -> None:
    optimizer = refopt.lookahead(refopt.sgd(lr=1.0), 2, exclude=lambda name: "bias" in name)
    params = {"bias": np.zeros(1), "kernel": np.zeros(1)}
    state = optimizer.init(params)
    for _ in range(2):
        params, state = optimizer.step(params, {name: -np.ones(1) for name in params}, state)
    assert {name: float(x[0]) for name, x in params.items()} == {"bias": 2.0, "kernel": 1.0}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(adam(eps=1e-2), k=3, alpha=0.3)", dtype)


@pytest.mark.parametrize("plan", plans_of("lookahead"))
def test_frameworks_conform(plan: Plan) -> None:
    assert_plan_holds(plan)
