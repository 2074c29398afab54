"""Layer adaptation: ratios by hand, zero norms, one tensor at a time, backends, NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from numpy.typing import NDArray
from scalars import assert_proven
from trajectory import assert_backends_agree, bounded, run

import refopt
from refopt.arithmetic.bounds import distance
from refopt.catalog import build

FORMS = ("layer_adaptation", "trust_ratio", "trust_ratio_of_sum")


def test_code_and_specification_are_equal() -> None:
    assert_proven("layer_adaptation", *FORMS)


def step(expression: str, theta: Any, g: Any) -> NDArray[np.float64]:
    """How far one step with a learning rate of 1 goes, against the gradient."""
    (after,) = run(build(expression), lambda x: np.array(x, "float64"), theta, [(1.0, g)])
    return np.asarray(theta - after)


BY_HAND = [
    # |theta| = 5, |g| = 2.5
    ("layer_adaptation(sgd)", (3.0, 4.0), (1.5, -2.0), (3.0, -4.0)),
    # g + theta/2 = (1.5, 0) where the decay is inside the norm, else 6/1.5*g + theta/2
    ("layer_adaptation(weight_decay(sgd, 0.5))", (6.0, 0.0), (-1.5, 0.0), (6.0, 0.0)),
    ("weight_decay(layer_adaptation(sgd), 0.5)", (6.0, 0.0), (-1.5, 0.0), (-6.0 + 3.0, 0.0)),
    # 0.5*5/(2.5 + 0.5*5) = 0.5, times g + theta/2 = (3, 0)
    (
        "trust_ratio(sgd, eta=0.5, weight_decay=0.5)",
        (3.0, 4.0),
        (1.5, -2.0),
        (0.5 * 3.0, 0.5 * 0.0),
    ),
    # 0.5*5/(2.5 + 0.5*5 + 5) = 0.25
    (
        "trust_ratio(sgd, eta=0.5, weight_decay=0.5, eps=5.0)",
        (3.0, 4.0),
        (1.5, -2.0),
        (0.25 * 3.0, 0.25 * 0.0),
    ),
    # |g + theta/2| = |(3, 0)| = 3: 0.75*5/(3 + 2) = 0.75
    (
        "trust_ratio_of_sum(sgd, eta=0.75, weight_decay=0.5, eps=2.0)",
        (3.0, 4.0),
        (1.5, -2.0),
        (0.75 * 3.0, 0.0),
    ),
]


@pytest.mark.parametrize(("expression", "theta", "g", "expected"), BY_HAND)
def test_ratios_by_hand(expression: str, theta: Any, g: Any, expected: Any) -> None:
    assert step(expression, np.array(theta), g).tolist() == list(expected)


@pytest.mark.parametrize("form", FORMS)
def test_where_the_parameter_is_zero_the_ratio_is_one(form: str) -> None:
    assert step(f"{form}(sgd)", np.zeros(2), (1.5, -2.0)).tolist() == [1.5, -2.0]


def test_where_the_step_is_zero_nothing_moves() -> None:
    assert step("layer_adaptation(sgd)", np.ones(2), (0.0, 0.0)).tolist() == [0.0, 0.0]


def test_where_the_gradient_is_zero_decay_alone_has_the_ratio_one() -> None:
    """In trust_ratio; where the norm of the sum divides, decay is adapted like any gradient."""
    theta = np.array((3.0, 4.0))
    rule = "sgd, eta=0.25, weight_decay=0.5"
    assert step(f"trust_ratio({rule})", theta, (0.0, 0.0)).tolist() == [1.5, 2.0]
    assert step(f"trust_ratio_of_sum({rule})", theta, (0.0, 0.0)).tolist() == [0.75, 1.0]


@pytest.mark.parametrize("form", FORMS)
def test_each_tensor_has_its_own_ratio(form: str) -> None:
    optimizer = build(f"{form}(sgd(lr=1.0))")
    thetas = {"a": np.array((3.0, 4.0)), "b": np.array(((1.0, 2.0), (2.0, 4.0)))}
    grads = {"a": np.array((5.0, 12.0)), "b": np.array(((2.0, 4.0), (5.0, 6.0)))}
    together, _ = optimizer.step(thetas, grads, optimizer.init(thetas))
    for name, theta in thetas.items():
        alone, _ = optimizer.step(theta, grads[name], optimizer.init(theta))
        assert np.array_equal(together[name], alone)


def test_tensors_excluded_by_name_keep_their_step() -> None:
    optimizer = refopt.layer_adaptation(refopt.sgd(lr=1.0), exclude=lambda name: name == "bias")
    thetas = {"weight": np.array((3.0, 4.0)), "bias": np.array((3.0, 4.0))}
    grads = {name: np.array((1.5, -2.0)) for name in thetas}
    thetas, _ = optimizer.step(thetas, grads, optimizer.init(thetas))
    assert thetas["weight"].tolist() == [0.0, 8.0]
    assert thetas["bias"].tolist() == [1.5, 6.0]


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_size_of_the_direction_does_not_matter(scale: float) -> None:
    theta = np.array((3.0, -4.0, 12.0))
    small = [(0.5, (1.0, 2.0, 3.0)), (0.5, (-3.0, 0.5, 1.0))]
    large = [(rate, tuple(scale * x for x in g)) for rate, g in small]
    optimizer = build("layer_adaptation(sgd(momentum=0.75))")
    for got, bound in zip(
        run(optimizer, np.array, theta, large),
        bounded(optimizer, "float64", theta, small),
        strict=True,
    ):
        assert np.all(distance(got, bound) <= 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_reaches_its_tensor_and_no_other(form: str, value: float) -> None:
    """A norm of NaN makes the whole tensor NaN; one of infinity a ratio of 0, and 0*inf NaN."""
    optimizer = build(f"{form}(sgd(lr=1.0))")
    thetas = [np.ones(2), np.ones(2)]
    grads = [np.array((1.0, value)), np.array((1.0, 2.0))]
    (bad, good), _ = optimizer.step(thetas, grads, optimizer.init(thetas))
    assert np.isnan(bad[1])
    assert bad[0] == 1.0 if math.isinf(value) else np.isnan(bad[0])
    assert np.all(np.isfinite(good))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(sgd(momentum=0.8))", dtype)
