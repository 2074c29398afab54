"""Lion: exact rational arithmetic, other backends, NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from conftest import Backend
from scalars import assert_proven
from trajectory import (
    assert_backends_agree,
    run,
)

from refopt.catalog import VARIANTS, build


def test_code_and_specification_are_equal() -> None:
    assert_proven("lion", "lion")


# Few binary digits each, so that float64 arithmetic on them is exact. The interpolation is 0 at
# the first two steps, where the gradient is, and at two others, where the momentum cancels it.
GRADIENTS = (0.0, 0.0, 12.0, -1.0, -30.0, 2.0, -30.0, 40.0, -1.0, 1.0, 40.0, -4.0)
RATES = (0.5, 0.25, 1.0, 0.5) * 3
STEPS = list(zip(RATES, GRADIENTS, strict=True))
BETA1, BETA2 = Fraction(1, 4), Fraction(3, 4)


def signs() -> Iterator[int]:
    """The sign of the interpolation at each step, from a sum over all gradients so far."""
    gradients = [Fraction(g) for g in GRADIENTS]
    for t, g in enumerate(gradients):
        past = sum(
            ((1 - BETA2) * BETA2**age * x for age, x in enumerate(reversed(gradients[:t]))),
            start=Fraction(0),
        )
        c = BETA1 * past + (1 - BETA1) * g
        yield (c > 0) - (c < 0)


def test_the_signs_of_the_steps_are_all_there() -> None:
    assert list(signs()) == [0, 0, 1, 0, -1, 0, -1, 1, -1, 1, 1, -1]


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_signs_and_decay(decay: float) -> None:
    theta, expected = Fraction(3, 2), []
    for sign, lr in zip(signs(), RATES, strict=True):
        theta = (1 - Fraction(lr) * Fraction(decay)) * theta - Fraction(lr) * sign
        expected.append(theta)
    optimizer = build("lion(beta1=0.25, beta2=0.75)").with_hyperparameters(weight_decay=decay)
    got = run(optimizer, np.array, 1.5, STEPS)
    assert [Fraction(theta.item()) for theta in got] == expected


def test_decay_before_the_step_is_the_same() -> None:
    """The sign does not read the parameter: so Keras and MLX have no form of their own."""
    lion = build("lion(beta1=0.25, beta2=0.75)")
    inside = run(lion.with_hyperparameters(weight_decay=0.5), np.array, 1.5, STEPS)
    before = run(VARIANTS["weight_decay_before"](lion, 0.5), np.array, 1.5, STEPS)
    assert list(inside) == list(before)


def test_an_infinite_gradient_is_a_step_like_any_other_and_nan_stays() -> None:
    steps = [(0.5, [g, math.nan if t == 1 else 1.0, 1.0]) for t, g in enumerate([1.0, math.inf])]
    steps += [(0.5, [-1.0, 1.0, 1.0]), (0.5, [-math.inf, 1.0, 1.0])]
    thetas = np.array(list(run(build("lion"), np.array, np.zeros(3), steps)))
    assert np.array_equal(thetas[:, 0], [-0.5, -1.0, -1.5, math.nan], equal_nan=True)
    assert np.array_equal(thetas[:, 1], [-0.5, *[math.nan] * 3], equal_nan=True)
    assert np.array_equal(thetas[:, 2], [-0.5, -1.0, -1.5, -2.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    expression = "lion(beta1=0.7, beta2=0.8, weight_decay=0.3)"
    assert_backends_agree(backend, expression, dtype)
