"""Missing gradients: what stays as it is, and what counts the call."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Backend
from hypothesis import given
from hypothesis import strategies as st
from scalars import assert_proven, stepped, trace
from trajectory import assert_backends_agree

import refopt
from refopt.catalog import build


def test_code_and_specification_are_equal() -> None:
    assert_proven("count_missing", "count_missing")


@pytest.mark.parametrize("rule", ["sgd(momentum=0.5)", "adam", "lookahead(adamw, k=2)"])
def test_without_a_gradient_nothing_changes_but_perhaps_the_count(rule: str) -> None:
    before, state = trace(rule, [1.0, 2.0], 3.0)
    after, skipped = trace(rule, [1.0, 2.0, None], 3.0)
    assert (after[-1], skipped) == (before[-1], state)
    after, counted = trace(f"count_missing({rule})", [1.0, 2.0, None], 3.0)
    assert (after[-1], counted) == (before[-1], state | {"t": 3})


@pytest.mark.parametrize(("absent", "ratio"), [(1, 0.744), (9, 0.484)])
def test_a_late_first_gradient_is_corrected_as_if_others_had_been_there(
    absent: int, ratio: float
) -> None:
    """With a count of calls the first step of Adam is that much too small (InfiniTensor#235)."""
    calls = [*[None] * absent, 0.5]
    counted = stepped("count_missing(adam(lr=1.0, eps=0.0))", calls)[-1]
    own = stepped("adam(lr=1.0, eps=0.0)", calls)[-1]
    # one step of Adam is the learning rate, here after fewer than 16 roundings
    assert abs(own + 1) <= 16 * 2**-53
    assert round(-counted, 3) == ratio


def test_counts_are_of_each_parameter_by_itself() -> None:
    for optimizer, counts in (
        (refopt.adam(), (2, 1)),
        (refopt.count_missing(refopt.adam()), (2, 2)),
    ):
        params = {"a": np.ones(1), "b": np.ones(1)}
        state = optimizer.init(params)
        for b in (None, np.ones(1)):
            params, state = optimizer.step(params, {"a": np.ones(1), "b": b}, state)
        assert (state["a"]["t"], state["b"]["t"]) == counts


def test_excluded_parameters_are_not_counted() -> None:
    optimizer = refopt.count_missing(refopt.adam(), exclude=lambda name: name == "b")
    params = {"a": np.ones(1), "b": np.ones(1)}
    _, state = optimizer.step(params, {"a": None, "b": None}, optimizer.init(params))
    assert (state["a"]["t"], state["b"]["t"]) == (1, 0)


@given(calls=st.lists(st.one_of(st.none(), st.integers(-8, 8).map(float)), max_size=12))
def test_where_the_count_is_not_read_it_does_not_matter(calls: list[float | None]) -> None:
    rule = "sgd_ema(momentum=0.5)"
    assert stepped(f"count_missing({rule})", calls, 1.0) == stepped(rule, calls, 1.0)


def test_a_schedule_outside_goes_on() -> None:
    half = "piecewise_linear(sgd(lr=1.0), {1: 1.0, 3: 0.5})"
    assert stepped(half, [1.0, None, 1.0]) == [-1.0, -1.0, -1.75]
    assert stepped(f"count_missing({half})", [1.0, None, 1.0]) == [-1.0, -1.0, -1.5]


def test_what_depends_on_the_count_alone_moves_on() -> None:
    """As the product of decay rates in Keras' Nadam: at each call, or at the end of each window."""
    nadam = "nadam(beta1=0.5, momentum_decay=0.0)"  # each rate is 1/4
    _, state = trace(nadam, [None] * 4, 0.0)
    assert state["nadam.mu_product"] == 1
    _, state = trace(f"count_missing({nadam})", [None] * 4, 0.0)
    assert state["nadam.mu_product"] == 4.0**-4
    _, state = trace(f"count_missing(gradient_accumulation({nadam}, k=3))", [None] * 4, 0.0)
    assert state["nadam.mu_product"] == 4.0**-1


def test_nothing_to_do_is_no_error() -> None:
    optimizer = build("count_missing(clip_by_global_norm(adamw))")
    params = [np.ones(2), np.ones(())]
    new, _ = optimizer.step(params, [None, None], optimizer.init(params))
    assert [x.tolist() for x in new] == [[1.0, 1.0], 1.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    assert_backends_agree(backend, "count_missing(adam(eps=1e-2))", dtype)
