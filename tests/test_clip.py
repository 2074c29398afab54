"""Clipping by value, by norm and by global norm, up to norms of zero, infinity and NaN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scalars import assert_plan_holds, assert_proven, plans_of, stepped
from trajectory import GRADIENTS, RATES, assert_backends_agree, assert_equals

import refopt
from refopt.catalog import build
from refopt.optimizer import Optimizer
from refopt.oracle.matrix import Plan

GLOBAL = ("clip_by_global_norm", "clip_by_global_norm_offset")
NORMS = ("clip_by_norm", *GLOBAL)


def test_code_and_specification_are_equal() -> None:
    assert_proven("clip_by_value", "clip_by_value")
    assert_proven("clip_by_norm", "clip_by_norm")
    assert_proven("clip_by_global_norm", *GLOBAL)


def clipped(optimizer: Optimizer | str, grads: Mapping[str, Any]) -> dict[str, Any]:
    """What the gradients become: the way that plain descent of rate 1 goes from zero."""
    optimizer = build(optimizer) if isinstance(optimizer, str) else optimizer
    optimizer = optimizer.with_hyperparameters(lr=1.0)
    arrays = {name: None if g is None else np.array(g, float) for name, g in grads.items()}
    params = {name: np.zeros(0 if g is None else np.shape(g)) for name, g in grads.items()}
    new, _ = optimizer.step(params, arrays, optimizer.init(params))
    return {name: (0.0 - x).tolist() for name, x in new.items()}


# By value


def test_each_element_is_limited() -> None:
    gradients = {"w": [[-3.0, 0.5], [2.0, -0.25]], "b": 1.5}
    limited = {"w": [[-1.0, 0.5], [1.0, -0.25]], "b": 1.0}
    assert clipped("clip_by_value(sgd, max_value=1.0)", gradients) == limited
    nothing = clipped("clip_by_value(sgd, max_value=0.0)", {"w": [-3.0, 0.0, 2.0]})
    assert nothing == {"w": [0.0, 0.0, 0.0]}


def test_infinite_elements_are_limited_and_nan_stays() -> None:
    got = clipped("clip_by_value(sgd, max_value=2.0)", {"w": [math.inf, -math.inf, math.nan]})
    assert np.array_equal(got["w"], [2.0, -2.0, math.nan], equal_nan=True)


# By norm


def test_a_gradient_becomes_as_long_as_the_norm_allows() -> None:
    got = clipped("clip_by_norm(sgd, max_norm=2.5)", {"w": [[3.0, 0.0], [0.0, -4.0]], "b": 2.0})
    assert got == {"w": [[1.5, 0.0], [0.0, -2.0]], "b": 2.0}


def test_two_groups_are_clipped_together() -> None:
    """Not each to 1: huggingface/transformers#581, NVIDIA/apex#819."""
    gradients = {"a": 3.0, "b": 4.0}
    # 0.6 and 0.8 after four roundings: the norm is exact, the quotient and the product are not
    together = clipped("clip_by_global_norm(sgd, max_norm=1.0)", gradients)
    assert together == pytest.approx({"a": 0.6, "b": 0.8}, rel=4 * 2**-53, abs=0)
    assert clipped("clip_by_norm(sgd, max_norm=1.0)", gradients) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("shape", [(), (0,), (3,)])
def test_a_norm_of_zero_is_no_division_by_zero(name: str, shape: tuple[int, ...]) -> None:
    zeros = np.zeros(shape).tolist()
    got = clipped(f"{name}(sgd, max_norm=1e-300)", {"w": zeros})
    assert got == {"w": zeros}


def test_gradients_below_the_norm_are_not_touched() -> None:
    gradients = {"a": [0.1, -0.7], "b": 0.3}
    for name in ("clip_by_norm", "clip_by_global_norm"):
        assert clipped(f"{name}(sgd, max_norm=0.8)", gradients) == gradients


def test_an_infinite_or_undefined_norm_is_seen() -> None:
    """The other gradients vanish beside an infinite one, and nothing survives NaN."""
    for name in GLOBAL:
        got = clipped(f"{name}(sgd)", {"a": [math.inf, 1.0], "b": 1.0})
        assert np.array_equal(got["a"], [math.nan, 0.0], equal_nan=True)
        assert got["b"] == 0.0
        got = clipped(f"{name}(sgd)", {"a": [math.nan, 0.1], "b": 0.1})
        assert np.isnan([*got["a"], got["b"]]).all()
    got = clipped("clip_by_norm(sgd)", {"a": [math.nan, 0.1], "b": 0.1})
    assert np.isnan(got["a"]).all()
    assert got["b"] == 0.1


def test_torch_and_mlx_add_to_the_norm() -> None:
    (offset,) = clipped("clip_by_global_norm_offset(sgd, max_norm=1e-6)", {"a": 3e-6}).values()
    (exact,) = clipped("clip_by_global_norm(sgd, max_norm=1e-6)", {"a": 3e-6}).values()
    assert offset == pytest.approx(0.75e-6, rel=8 * 2**-53, abs=0)
    assert exact == pytest.approx(1e-6, rel=8 * 2**-53, abs=0)


GRADIENT = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


@given(gradients=st.lists(GRADIENT, min_size=1, max_size=4), max_norm=st.floats(1e-3, 1e3))
def test_the_norm_is_at_most_the_largest_and_the_direction_is_kept(
    gradients: Sequence[Any], max_norm: float
) -> None:
    optimizer = refopt.clip_by_global_norm(refopt.sgd(lr=1.0), max_norm)
    params = [np.zeros(g.shape) for g in gradients]
    new, _ = optimizer.step(params, list(gradients), optimizer.init(params))
    before, after = (np.concatenate([np.ravel(x) for x in xs]) for xs in (gradients, new))
    # squares below the smallest normal number are lost
    norm = math.hypot(*before.tolist())
    roundings = (before.size + 8) * 2**-53
    assert math.hypot(*after.tolist()) <= max_norm * (1 + roundings) + 1e-150
    factor = min(1.0, max_norm / norm) if norm else 1.0
    assert np.all(np.abs(after + factor * before) <= (roundings * np.abs(before) + 1e-150))


# Which gradients


def test_missing_gradients_have_no_part_in_the_norm() -> None:
    optimizer = "clip_by_global_norm(sgd, max_norm=2.5)"
    got = clipped(optimizer, {"a": 3.0, "b": None, "c": -4.0})
    assert got == {"a": 1.5, "b": [], "c": -2.0}
    assert clipped(optimizer, {"b": None}) == {"b": []}


def test_excluded_parameters_have_no_part_in_the_norm_and_stay_as_they_are() -> None:
    optimizer = refopt.clip_by_global_norm(refopt.sgd(), 2.5, exclude=lambda name: name == "b")
    got = clipped(optimizer, {"a": 3.0, "b": 100.0, "c": -4.0})
    assert got == {"a": 1.5, "b": 100.0, "c": -2.0}


def test_inside_a_window_the_norm_is_that_of_the_mean() -> None:
    inside = "gradient_accumulation(clip_by_global_norm(sgd(lr=1.0), max_norm=2.0), k=2)"
    assert stepped(inside, [8.0, -6.0, 8.0, 0.0]) == [0.0, -1.0, -1.0, -3.0]
    outside = "clip_by_global_norm(gradient_accumulation(sgd(lr=1.0), k=2), max_norm=2.0)"
    assert stepped(outside, [8.0, -6.0, 8.0, 0.0]) == [0.0, 0.0, 0.0, -1.0]


def test_the_joint_norm_of_a_window_leaves_out_who_is_not_there() -> None:
    """Excluded from the window, the bias steps at each call, and alone where the kernel waits."""
    inner = refopt.clip_by_global_norm(refopt.sgd(lr=1.0), 2.5)
    optimizer = refopt.gradient_accumulation(inner, 2, exclude=lambda name: name == "bias")
    params: Any = {"kernel": np.zeros(()), "bias": np.zeros(())}
    state, seen = optimizer.init(params), []
    for _ in range(2):
        grads = {"kernel": np.array(3.0), "bias": np.array(4.0)}
        params, state = optimizer.step(params, grads, state)
        seen.append({name: float(x) for name, x in params.items()})
    assert seen == [{"kernel": 0.0, "bias": -2.5}, {"kernel": -1.5, "bias": -4.5}]


@pytest.mark.parametrize("name", GLOBAL)
def test_parameters_of_two_dtypes_keep_them(name: str) -> None:
    optimizer = build(f"{name}(sgd(lr=1.0), max_norm=2.5)")
    params: list[Any] = [np.zeros(1, np.float32), np.zeros(1)]
    new, _ = optimizer.step(
        params, [x + y for x, y in zip(params, (3, 4), strict=True)], optimizer.init(params)
    )
    assert [x.dtype.name for x in new] == ["float32", "float64"]
    # the offset is 2e-7 of the norm
    assert new == pytest.approx([-1.5, -2.0], rel=2e-7 + 8 * 2**-24)


def test_a_norm_cannot_be_zero_or_less() -> None:
    for max_norm in (0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match=r"max_norm must be in \(0, inf\)"):
            refopt.clip_by_norm(refopt.sgd(), max_norm)


def test_a_trajectory_of_clipped_gradients() -> None:
    def expected() -> Iterator[Any]:
        thetas = [Decimal(2), Decimal(-1)]
        for lr, g in steps:
            norm = sum((Decimal(x) ** 2 for x in g), start=Decimal(0)).sqrt()
            factor = min(Decimal(1), Decimal("1.7") / norm) if norm else 1
            thetas = [x - Decimal(lr) * factor * Decimal(y) for x, y in zip(thetas, g, strict=True)]
            yield thetas

    steps = [(lr, [g, h]) for lr, g, h in zip(RATES, GRADIENTS, reversed(GRADIENTS), strict=True)]
    for name in ("clip_by_norm", "clip_by_global_norm"):
        assert_equals(f"{name}(sgd, max_norm=1.7)", np.array([2.0, -1.0]), steps, expected)


def test_torch_clips_by_global_norm_with_the_offset() -> None:
    torch = pytest.importorskip("torch", reason="compares with torch.nn.utils.clip_grad_norm_")
    random = np.random.default_rng(0)
    for max_norm in (1e-6, 0.5, 100.0):
        gradients = {str(i): random.standard_normal(s) for i, s in enumerate([(), (5,), (4, 3)])}
        parameters = [
            torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64))
            for g in gradients.values()
        ]
        for parameter, g in zip(parameters, gradients.values(), strict=True):
            parameter.grad = torch.tensor(g)
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer = refopt.clip_by_global_norm_offset(refopt.sgd(lr=1.0), max_norm)
        params = {name: np.zeros(g.shape) for name, g in gradients.items()}
        arrays = {name: np.array(g) for name, g in gradients.items()}
        new, _ = optimizer.step(params, arrays, optimizer.init(params))
        for parameter, got in zip(parameters, new.values(), strict=True):
            # 18 squares are summed, in two orders, and there are 4 operations besides
            np.testing.assert_allclose(-got, parameter.grad.numpy(), rtol=2 * 22 * 2**-53)


@pytest.mark.parametrize("name", ["clip_by_value", *NORMS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, name: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{name}(adam(eps=1e-2), 0.7)", dtype)


@pytest.mark.parametrize("plan", plans_of("clip_by_value", "clip_by_norm", "clip_by_global_norm"))
def test_frameworks_conform(plan: Plan) -> None:
    assert_plan_holds(plan)
