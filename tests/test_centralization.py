"""Gradient centralization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Backend
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scalars import assert_plan_holds, assert_proven, plans_of, trace
from trajectory import assert_backends_agree

from refopt.oracle.matrix import Plan


def test_code_and_specification_are_equal() -> None:
    assert_proven("gradient_centralization", "gradient_centralization")


def centralized(g: Any) -> Any:
    """What a gradient becomes: the way that plain descent of rate 1 goes from zero."""
    (theta,), _ = trace("gradient_centralization(sgd(lr=1.0))", [g], np.zeros(np.shape(g)))
    return 0.0 - theta


def test_rows_lose_their_mean() -> None:
    assert centralized([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]]).tolist() == [[-1, 0, 1], [-2, -1, 3]]


def test_in_a_convolution_a_row_is_a_filter() -> None:
    g = np.arange(24.0).reshape(2, 3, 2, 2)
    expected = np.stack([np.arange(12.0) - 5.5] * 2).reshape(g.shape)
    assert centralized(g).tolist() == expected.tolist()


@pytest.mark.parametrize("g", [5.0, [], [1.0, 2.0, 6.0]])
def test_numbers_and_vectors_stay_as_they_are(g: Any) -> None:
    assert centralized(g).tolist() == g


@pytest.mark.parametrize("shape", [(0, 3), (3, 1), (2, 1, 1)])
def test_rows_of_one_element_vanish_and_none_are_no_trouble(shape: tuple[int, ...]) -> None:
    assert centralized(np.ones(shape)).tolist() == np.zeros(shape).tolist()


MATRICES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=4),
    elements=st.integers(-64, 64).map(float),
)


@given(g=MATRICES)
def test_rows_sum_to_nothing_and_twice_is_once(g: Any) -> None:
    once = centralized(g)
    others = tuple(range(1, g.ndim))
    size = g[0].size
    # a mean of numbers up to 64 is rounded once, and so is each difference
    roundings = size * 2 * 128 * 2**-53
    assert np.all(np.abs(once.sum(axis=others)) <= size * roundings)
    assert np.all(np.abs(centralized(once) - once) <= roundings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    assert_backends_agree(backend, "gradient_centralization(adam(eps=1e-2))", dtype)


@pytest.mark.parametrize("plan", plans_of("gradient_centralization"))
def test_frameworks_conform(plan: Plan) -> None:
    assert_plan_holds(plan)
