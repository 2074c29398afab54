"""Gradient accumulation in its kinds: what each of them does, call by call."""

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
from trajectory import GRADIENTS, RATES, assert_backends_agree, assert_equals, bounded

import refopt
from refopt.arithmetic.bounds import distance
from refopt.catalog import build
from refopt.oracle.matrix import Plan

FORMS = (
    "gradient_accumulation",
    "gradient_accumulation_deferred",
    "apply_every",
    "update_every",
    "smoothed_accumulation",
)
STEPS = list(zip(RATES, GRADIENTS, strict=True))
# Decay rates of few bits, so that 1 - (1 - beta) is beta.
INSIDE = (
    "sgd(momentum=0.75, nesterov=True)",
    "adam(beta1=0.75, beta2=0.5)",
    "adamw(beta1=0.75, beta2=0.5, weight_decay=0.25)",
    "lookahead(sgd_ema(momentum=0.5), k=2)",
    "clip_by_norm(sgd, max_norm=2.0)",
)


def test_code_and_specification_are_equal() -> None:
    deferred = "gradient_accumulation_deferred"
    others = ("apply_every", "beta_tilde", "update_every")
    assert_proven("gradient_accumulation", "gradient_accumulation", deferred, *others)
    assert_proven("smoothed_accumulation", "beta_tilde", "update_every")


# With a buffer

# Integers over a power of two: their mean is exact in float64, in whatever order it is taken.
WINDOWS = st.sampled_from([1, 2, 4, 8]).flatmap(
    lambda k: st.lists(
        st.lists(st.integers(-100, 100), min_size=k, max_size=k), min_size=1, max_size=4
    )
)


@given(windows=WINDOWS, inside=st.sampled_from(INSIDE), theta=st.integers(-8, 8))
def test_k_gradients_are_one_step_on_their_mean(
    windows: list[list[int]], inside: str, theta: int
) -> None:
    k = len(windows[0])
    calls = [float(g) for window in windows for g in window]
    means = [sum(window) / k for window in windows]
    assert stepped(f"gradient_accumulation({inside}, {k})", calls, theta)[k - 1 :: k] == stepped(
        inside, means, theta
    )


@given(windows=WINDOWS, inside=st.sampled_from(INSIDE))
def test_between_steps_nothing_moves(windows: list[list[int]], inside: str) -> None:
    k = len(windows[0])
    thetas = stepped(f"gradient_accumulation({inside}, {k})", [g for w in windows for g in w], 3.0)
    starts = [3.0, *thetas[k - 1 :: k]]
    assert thetas == [x for i, x in enumerate(starts[:-1]) for x in [x] * (k - 1) + [starts[i + 1]]]


def test_a_window_that_binary_cannot_divide() -> None:
    def expected() -> Iterator[Any]:
        theta, gathered = Decimal(2), Decimal(0)
        for t, (lr, g) in enumerate(STEPS, 1):
            gathered += Decimal(g) / 3
            if t % 3 == 0:
                theta, gathered = theta - Decimal(lr) * gathered, Decimal(0)
            yield theta

    assert_equals("gradient_accumulation(sgd, k=3)", 2.0, STEPS, expected)


def test_the_state_inside_waits_and_the_buffer_is_emptied() -> None:
    optimizer = "gradient_accumulation(sgd_ema(momentum=0.5), k=2)"
    _, state = trace(optimizer, [2.0, 4.0, 8.0], 0.0)
    assert state["sgd_ema.m"] == 0.5 * 3.0
    assert state["gradient_accumulation.mean"] == 8.0 / 2
    _, state = trace(optimizer, [2.0, 4.0, 8.0, 2.0], 0.0)
    assert state["gradient_accumulation.mean"] == 0.0


def test_bias_correction_counts_steps_and_not_calls() -> None:
    """Counting calls, the first step would be 0.6388 of that (keras-team/keras#19990)."""
    theta = stepped("gradient_accumulation(adam(lr=1.0, eps=0.0), k=3)", [1.0] * 3)
    assert theta[:2] == [0.0, 0.0]
    # m_hat = g and v_hat = g**2, each after four roundings at most
    assert abs(theta[2] + 1) <= 8 * 2**-53


def test_windows_in_windows_multiply() -> None:
    gradients = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, -6.0] * 2
    nested = "gradient_accumulation(gradient_accumulation(adam, k=2), k=4)"
    assert stepped(nested, gradients) == stepped("gradient_accumulation(adam, k=8)", gradients)


# Missing gradients


def test_a_missing_gradient_counts_as_zero() -> None:
    optimizer = "gradient_accumulation(sgd(lr=1.0), k=2)"
    assert stepped(optimizer, [None, 3.0, 5.0, None]) == [0.0, -1.5, -1.5, -4.0]


def test_a_window_without_any_gradient_is_a_step_on_zero() -> None:
    optimizer = "gradient_accumulation(sgd(lr=1.0, momentum=0.5), k=2)"
    assert stepped(optimizer, [4.0, 4.0, None, None]) == [0.0, -4.0, -4.0, -6.0]


def test_where_missing_gradients_are_skipped_a_window_waits_for_a_call_that_ends_one() -> None:
    """As in Keras on JAX: three gradients make the step, divided by k all the same."""
    optimizer = "count_missing(gradient_accumulation(sgd(lr=1.0), k=2))"
    assert stepped(optimizer, [1.0, None, 2.0, 3.0]) == [0.0, 0.0, 0.0, -3.0]
    inside = "adam(lr=1.0, beta1=0.5, beta2=0.5, eps=0.0)"
    theta = stepped(f"count_missing(gradient_accumulation({inside}, k=2))", [1.0, None, 2.0, 3.0])
    # the second window is the second step: m_hat = 3/2 / (3/4) = 2 and v_hat = 9/2 / (3/4) = 6
    assert abs(theta[-1] + 2 / 6**0.5) <= 8 * 2**-53


def test_parameters_that_are_excluded_step_at_every_call() -> None:
    window = refopt.gradient_accumulation(
        refopt.sgd(lr=1.0), k=2, exclude=lambda name: name == "bias"
    )
    params = {"kernel": np.zeros(1), "bias": np.zeros(1)}
    state = window.init(params)
    seen = []
    for kernel, bias in ((1.0, 1.0), (None, None), (4.0, 4.0)):
        given = {"kernel": kernel, "bias": bias}
        grads = {name: None if g is None else np.full(1, g) for name, g in given.items()}
        params, state = window.step(params, grads, state)
        seen.append((float(params["kernel"][0]), float(params["bias"][0])))
    assert seen == [(0.0, -1.0), (-0.5, -1.0), (-0.5, -5.0)]
    assert (state["kernel"]["t"], state["bias"]["t"]) == (3, 2)


# Deferred, as in bert4keras


def test_a_deferred_window_is_applied_at_the_first_call_of_the_next() -> None:
    optimizer = "gradient_accumulation_deferred(sgd(lr=1.0), k=2)"
    assert stepped(optimizer, [1, 2, 3, 4, 5, 6]) == [0, 0, -1.5, -1.5, -5, -5]


@pytest.mark.parametrize(
    ("k", "calls", "expected"),
    [
        (2, (1, 2, 3, 4, 5, 6, 7), (0, 0, -0.6388, -0.6388, -1.3719, -1.3719, -2.1645)),
        (4, (4, 5, 9, 13), (0, -0.5455, -1.2023, -1.9568)),
    ],
)
def test_adam_inside_a_deferred_window_counts_calls(
    k: int, calls: tuple[int, ...], expected: tuple[float, ...]
) -> None:
    """Four digits of bert4keras' algorithm, transcribed and run independently of this code."""
    theta = stepped(f"gradient_accumulation_deferred(adam(lr=1.0), k={k})", [1.0] * calls[-1])
    assert tuple(round(theta[call - 1], 4) for call in calls) == expected


def test_the_first_call_of_a_deferred_window_decays_although_it_has_no_gradient() -> None:
    optimizer = "gradient_accumulation_deferred(weight_decay(sgd(lr=1.0), 0.5), k=2)"
    assert stepped(optimizer, [8.0, 8.0, 8.0], 1.0) == [0.5, 0.5, 0.25 - 8]


# Sums of directions, as in optax.apply_every


def test_every_kth_step_goes_along_a_sum_of_directions() -> None:
    assert stepped("apply_every(sgd(lr=1.0), k=2)", [1, 2, 3, 4, 5, 6]) == [
        0,
        -3,
        -3,
        -10,
        -10,
        -21,
    ]


def test_the_rule_steps_at_every_call() -> None:
    thetas, state = trace("apply_every(sgd_ema(lr=1.0, momentum=0.5), k=2)", [2.0, 4.0, 8.0], 0.0)
    assert [float(theta) for theta in thetas] == [0.0, -(1 + 2.5), -(1 + 2.5)]
    assert state["sgd_ema.m"] == state["apply_every.total"] == 5.25


@pytest.mark.parametrize("k", [1, 3])
def test_the_rule_steps_at_every_call_in_optax_too(k: int) -> None:
    optax = pytest.importorskip("optax", reason="compares with optax.apply_every")
    jnp = pytest.importorskip("jax.numpy", reason="compares with optax.apply_every")
    # eps shows a second moment that is not updated at every call
    target = optax.chain(optax.adam(0.25, b1=0.75, b2=0.5, eps=0.125), optax.apply_every(k))
    expression = f"apply_every(adam(lr=0.25, beta1=0.75, beta2=0.5, eps=0.125), {k})"
    steps = [(0.25, g) for g in GRADIENTS]
    theta = jnp.asarray(1.0)
    state = target.init(theta)
    for g, bound in zip(GRADIENTS, bounded(build(expression), "float32", 1.0, steps), strict=True):
        updates, state = target.update(jnp.asarray(g), state, theta)
        theta = optax.apply_updates(theta, updates)
        assert distance(float(theta), bound) <= 1


# Hidden in the momentum, or nearly so


def test_momentum_can_gather_gradients_exactly() -> None:
    gradients = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, -6.0]
    hidden = stepped("sgd_hidden_accumulation(momentum=0.75, k=4)", gradients)
    assert hidden == stepped("gradient_accumulation(sgd_ema(momentum=0.75), k=4)", gradients)


def test_smoothed_accumulation_is_longer_averages_and_fewer_updates() -> None:
    def expected() -> Iterator[Any]:
        beta = 1 - (1 - Decimal("0.7")) / 3
        theta, m = Decimal(2), Decimal(0)
        for t, (lr, g) in enumerate(STEPS, 1):
            m = beta * m + (1 - beta) * Decimal(g)
            if t % 3 == 0:
                theta -= Decimal(lr) * m
            yield theta

    assert_equals("smoothed_accumulation(sgd_ema(momentum=0.7), k=3)", 2.0, STEPS, expected)
    assert (
        str(build("smoothed_accumulation(adam, 6)")) == "update_every(beta_tilde(adam, k=6), k=6)"
    )


@given(
    window=st.lists(st.floats(0.5, 8.0), min_size=2, max_size=6),
    momentum=st.floats(0.0, 0.99),
)
def test_smoothed_accumulation_comes_close(window: list[float], momentum: float) -> None:
    """A window's gradients weigh 1-beta_tilde times beta_tilde**0 to beta_tilde**(k-1)."""
    k = len(window)
    exact = -stepped(f"gradient_accumulation(sgd_ema(lr=1.0, momentum={momentum}), {k})", window)[
        -1
    ]
    near = -stepped(f"smoothed_accumulation(sgd_ema(lr=1.0, momentum={momentum}), {k})", window)[-1]
    shortest = (1 - (1 - momentum) / k) ** (k - 1)
    rounded = 1 + 8 * k * 2**-53  # fewer than 8 roundings a gradient
    assert shortest * exact <= near * rounded
    assert near <= exact * rounded


@pytest.mark.parametrize("rule", ["adam", "adamax", "rmsprop(momentum=0.5)", "sgd(momentum=0.5)"])
def test_every_decay_rate_becomes_beta_tilde(rule: str) -> None:
    optimizer = build(rule)
    rates = {"beta1", "beta2", "rho", "momentum"} & optimizer.hyperparameters().keys()
    values = dict.fromkeys(rates, 0.5)
    longer = optimizer.with_hyperparameters(**dict.fromkeys(rates, 0.875))
    tilde = build(f"beta_tilde({rule}, k=4)").with_hyperparameters(**values)
    assert rates
    assert stepped(tilde, GRADIENTS, 1.0) == stepped(longer, GRADIENTS, 1.0)


def test_fewer_updates_alone() -> None:
    thetas, state = trace("update_every(sgd_ema(lr=1.0, momentum=0.5), k=2)", [2.0, 4.0, 8.0], 0.0)
    assert [float(theta) for theta in thetas] == [0.0, -2.5, -2.5]
    assert state["sgd_ema.m"] == 5.25


# All of them


@pytest.mark.parametrize("form", [form for form in FORMS if "deferred" not in form])
@pytest.mark.parametrize("inside", INSIDE)
def test_a_window_of_one_is_no_window(form: str, inside: str) -> None:
    assert stepped(f"{form}({inside}, 1)", GRADIENTS, 3.0) == stepped(inside, GRADIENTS, 3.0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(adam(eps=1e-2), k=3)", dtype)


@pytest.mark.parametrize("plan", plans_of("gradient_accumulation"))
def test_frameworks_conform(plan: Plan) -> None:
    assert_plan_holds(plan)
