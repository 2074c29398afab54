"""Rescaled gradients."""

from __future__ import annotations

import pytest
from conftest import Backend
from hypothesis import given
from hypothesis import strategies as st
from scalars import assert_plan_holds, assert_proven, plans_of, stepped
from trajectory import GRADIENTS, assert_backends_agree

import refopt
from refopt.oracle.matrix import Plan


def test_code_and_specification_are_equal() -> None:
    assert_proven("rescale", "rescale")


def test_the_gradient_is_multiplied() -> None:
    assert stepped("rescale(sgd(lr=0.5), 0.25)", [8.0, -16.0], 1.0) == [0.0, 2.0]


def test_a_factor_of_one_is_none() -> None:
    assert stepped("rescale(adam)", GRADIENTS, 3.0) == stepped("adam", GRADIENTS, 3.0)


@given(exponent=st.integers(-20, 20), gradients=st.lists(st.floats(-8, 8, width=16), min_size=1))
def test_without_epsilon_adam_does_not_see_it(exponent: int, gradients: list[float]) -> None:
    """Powers of two scale both moments exactly."""
    rule = "adam(beta1=0.75, beta2=0.5, eps=0.0)"
    scaled = stepped(f"rescale({rule}, {2.0**exponent})", gradients, 1.0)
    assert repr(scaled) == repr(stepped(rule, gradients, 1.0))  # repr: NaN where there is 0/0


def test_clipping_inside_comes_after_it_and_outside_before() -> None:
    inside = "rescale(clip_by_value(sgd(lr=1.0), max_value=2.0), 0.5)"
    outside = "clip_by_value(rescale(sgd(lr=1.0), 0.5), max_value=2.0)"
    assert stepped(inside, [8.0]) == [-2.0]
    assert stepped(outside, [8.0]) == [-1.0]


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_factor_is_positive(scale: float) -> None:
    with pytest.raises(ValueError, match=r"scale must be in \(0, inf\)"):
        refopt.rescale(refopt.sgd(), scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    assert_backends_agree(backend, "rescale(adam(eps=1e-2), 0.3)", dtype)


@pytest.mark.parametrize("plan", plans_of("rescale"))
def test_frameworks_conform(plan: Plan) -> None:
    assert_plan_holds(plan)
