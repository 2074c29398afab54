"""Rprop: steps worked out by hand, other backends, NaN and infinity."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import Backend
from scalars import assert_proven
from trajectory import assert_backends_agree, run

from refopt.catalog import build

FORMS = ("rprop", "rprop_backtracking", "rprop_delayed")


def test_code_and_specification_are_equal() -> None:
    assert_proven("rprop", *FORMS)


# Few binary digits each, so that float64 arithmetic on them is exact.
RATES = "lr=1.0, initial_step=0.5, eta_minus=0.5, eta_plus=1.5, min_step=0.25, max_step=1.0"
GRADIENTS = (2.0, 8.0, 3.0, -1.0, -4.0, 0.0, -2.0, 1.0, -1.0, 5.0, -1.0)

# By hand. Step sizes: the first is not judged; grown twice, the second time to the limit; halved
# where the sign changes; kept in the step after that, and beside a gradient of zero; halved to the
# limit; and so on, in turns.
SIZES = (0.5, 0.75, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25)
CHANGES = (3, 7, 9)
DIRECTIONS = (0.5, 0.75, 1.0, 0.0, -0.5, 0.0, -0.5, 0.0, -0.25, 0.0, -0.25)


def positions(form: str) -> list[Fraction]:
    steps = [(1.0, g) for g in GRADIENTS]
    return [Fraction(x.item()) for x in run(build(f"{form}({RATES})"), np.array, 4.0, steps)]


def along(directions: list[float]) -> list[Fraction]:
    """Where the directions lead to from 4."""
    return [Fraction(4) - sum(map(Fraction, directions[: t + 1])) for t in range(len(directions))]


def test_step_sizes() -> None:
    optimizer = build(f"rprop({RATES})")
    theta = np.array(4.0)
    state = optimizer.init(theta)
    sizes = []
    for g in GRADIENTS:
        theta, state = optimizer.step(theta, np.array(g), state)
        (own,) = state.values()
        sizes.append(own["rprop.delta"].item())
    assert tuple(sizes) == SIZES


def test_no_step_where_the_sign_changes() -> None:
    assert positions("rprop") == along(list(DIRECTIONS))


def test_backtracking_takes_the_last_step_back() -> None:
    directions = list(DIRECTIONS)
    for t in CHANGES:
        directions[t] = -DIRECTIONS[t - 1]
    assert positions("rprop_backtracking") == along(directions)


def test_a_delayed_step_is_left_out_where_the_sign_changes() -> None:
    directions = [0.0, *DIRECTIONS[:-1]]
    for t in CHANGES:
        directions[t] = 0.0
    assert positions("rprop_delayed") == along(directions)


def test_the_size_of_gradients_is_immaterial() -> None:
    rprop = build("rprop")
    steps = [(1.0, g) for g in GRADIENTS]
    scaled = [(1.0, 1000 * g) for g in GRADIENTS]
    assert list(run(rprop, np.array, 4.0, steps)) == list(run(rprop, np.array, 4.0, scaled))


def test_an_infinite_gradient_is_a_step_like_any_other_and_nan_stays_for_one_step() -> None:
    steps = [(1.0, [1.0, 1.0]), (1.0, [math.inf, math.nan]), (1.0, [1.0, 1.0])]
    thetas = np.array(list(run(build(f"rprop({RATES})"), np.array, np.zeros(2), steps)))
    assert np.array_equal(thetas[:, 0], [-0.5, -1.25, -2.25])
    assert np.array_equal(thetas[:, 1], [-0.5, math.nan, math.nan], equal_nan=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(min_step=0.01, max_step=0.3)", dtype)
