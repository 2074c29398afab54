"""Lazy updates: which rows keep what."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scalars import assert_proven, stepped, trace
from trajectory import assert_backends_agree, bounded

from refopt.arithmetic.bounds import distance
from refopt.catalog import build

FORMS = ("lazy", "lazy_parameter")
RULES = ("sgd(momentum=0.5)", "adam", "adamw", "amsgrad", "nadam", "lookahead(rmsprop, k=2)")


def test_code_and_specification_are_equal() -> None:
    assert_proven("lazy", *FORMS)


DENSE = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3)),
    elements=st.one_of(st.floats(-8, -0.125), st.floats(0.125, 8)),
)


@pytest.mark.parametrize("form", FORMS)
@given(gradients=DENSE, rule=st.sampled_from(RULES))
def test_where_no_gradient_is_zero_there_is_nothing_to_be_lazy_about(
    form: str, gradients: Any, rule: str
) -> None:
    start = np.ones(gradients.shape[1:])
    lazy, lazy_state = trace(f"{form}({rule})", gradients, start)
    plain, plain_state = trace(rule, gradients, start)
    assert np.array_equal(lazy, plain)
    assert lazy_state.keys() == plain_state.keys()
    assert all(np.array_equal(lazy_state[key], plain_state[key]) for key in plain_state)


TABLE = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
GRADIENTS = [
    [[1.0, 0.0], [0.0, 0.0], [2.0, 2.0]],
    [[0.0, 0.0], [0.0, 4.0], [2.0, -2.0]],
]


def test_rows_without_a_gradient_keep_their_parameter_and_their_state() -> None:
    thetas, state = trace("lazy(sgd_ema(lr=1.0, momentum=0.5))", GRADIENTS, TABLE)
    assert thetas[0].tolist() == [[0.5, 2.0], [3.0, 4.0], [4.0, 5.0]]
    assert thetas[1].tolist() == [[0.5, 2.0], [3.0, 2.0], [2.5, 5.5]]
    assert state["sgd_ema.m"].tolist() == [[0.5, 0.0], [0.0, 2.0], [1.5, -0.5]]


def test_in_bert4keras_the_state_decays_on() -> None:
    thetas, state = trace("lazy_parameter(sgd_ema(lr=1.0, momentum=0.5))", GRADIENTS, TABLE)
    assert thetas[1].tolist() == [[0.5, 2.0], [3.0, 2.0], [2.5, 5.5]]
    assert state["sgd_ema.m"].tolist() == [[0.25, 0.0], [0.0, 2.0], [1.5, -0.5]]


def test_the_step_counts_calls_also_for_rows_that_were_absent() -> None:
    optimizer = "lazy(adam(lr=1.0, beta1=0.5, beta2=0.5, eps=0.0))"
    thetas, state = trace(optimizer, [[1.0, 0.0], [1.0, 3.0]], [0.0, 0.0])
    # m = 3/2 and v = 9/2, corrected by 1 - 1/4: the direction is 2/sqrt(6)
    assert state["t"] == 2
    assert abs(thetas[1][1] + 2 / 6**0.5) <= 8 * 2**-53


def test_rows_lie_along_the_first_axis_and_in_bert4keras_vectors_along_the_last() -> None:
    g = np.zeros((2, 2, 2))
    g[0, 1, 0] = 1.0

    def touched(optimizer: str) -> list[Any]:
        (theta,), _ = trace(optimizer, [g], np.ones((2, 2, 2)))
        # decay shows where the parameter has moved
        kept: list[Any] = (theta == 1).tolist()
        return kept

    row, absent = [[False, False], [False, False]], [[True, True], [True, True]]
    assert touched("lazy(weight_decay(sgd))") == [row, absent]
    assert touched("lazy_parameter(weight_decay(sgd))") == [[[True, True], [False, False]], absent]


def test_the_rows_of_a_vector_are_numbers_and_in_bert4keras_it_is_one() -> None:
    g, decayed = [0.0, 2.0], "weight_decay(sgd(lr=1.0), 0.5)"
    assert trace(f"lazy({decayed})", [g], [1.0, 1.0])[0][0].tolist() == [1.0, -1.5]
    assert trace(f"lazy_parameter({decayed})", [g], [1.0, 1.0])[0][0].tolist() == [0.5, -1.5]
    assert stepped(f"lazy({decayed})", [0.0, 2.0], 1.0) == [1.0, -1.5]
    assert stepped(f"lazy_parameter({decayed})", [0.0, 2.0], 1.0) == [1.0, -1.5]


@pytest.mark.parametrize("form", FORMS)
def test_nan_is_not_zero(form: str) -> None:
    (theta,), _ = trace(f"{form}(sgd(lr=1.0))", [[[math.nan, 0.0], [-0.0, 0.0]]], np.ones((2, 2)))
    assert np.array_equal(theta, [[math.nan, 1.0], [1.0, 1.0]], equal_nan=True)


def test_what_stands_inside_is_lazy_too_and_what_stands_outside_is_not() -> None:
    g, theta = [[0.0], [2.0]], [[1.0], [1.0]]

    def after(optimizer: str) -> list[list[float]]:
        moved: list[list[float]] = trace(optimizer, [g], theta)[0][0].tolist()
        return moved

    assert after("lazy(weight_decay_after(sgd(lr=1.0), 0.5))") == [[1.0], [-0.5]]
    assert after("weight_decay_after(lazy(sgd(lr=1.0)), 0.5)") == [[0.5], [-0.5]]
    assert after("lazy(l2(sgd(lr=1.0), 0.5))") == [[1.0], [-1.5]]
    # the decay that joins a zero gradient is a gradient
    assert after("l2(lazy(sgd(lr=1.0)), 0.5)") == [[0.5], [-1.5]]


def test_slow_weights_inside_are_lazy_too() -> None:
    gradients = [[[-2.0], [-2.0]], [[0.0], [-2.0]]]
    thetas, state = trace("lazy(lookahead(sgd(lr=1.0), k=2, alpha=0.5))", gradients, [[0.0], [0.0]])
    assert thetas[1].tolist() == [[2.0], [2.0]]
    assert state["lookahead.slow"].tolist() == [[0.0], [2.0]]


def test_torch_sparse_adam_is_lazy() -> None:
    torch = pytest.importorskip("torch", reason="compares with torch.optim.SparseAdam")
    random = np.random.default_rng(0)
    start = random.standard_normal((6, 3)).astype(np.float32)
    rows = [[0, 4], [4], [1, 0, 5], [2], [4, 5, 0]]
    gradients = [np.zeros_like(start) for _ in rows]
    for g, present in zip(gradients, rows, strict=True):
        g[present] = random.standard_normal((len(present), 3))
    parameter = torch.nn.Parameter(torch.tensor(start))
    target = torch.optim.SparseAdam([parameter], lr=0.25, betas=(0.75, 0.5), eps=0.125)
    steps = [(0.25, g) for g in gradients]
    expected = build("lazy(adam_epsilon_hat(beta1=0.75, beta2=0.5, eps=0.125))")
    for present, (_, g), bound in zip(
        rows, steps, bounded(expected, "float32", start, steps), strict=True
    ):
        values = torch.tensor(g[present])
        parameter.grad = torch.sparse_coo_tensor(
            torch.tensor([present]), values, start.shape, check_invariants=True
        )
        target.step()
        assert np.all(distance(parameter.detach().numpy(), bound) <= 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(adam(eps=1e-2))", dtype)
