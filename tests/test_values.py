"""Learning rates that stay, are exchanged, or are written back: by hand, on plain descent."""

from collections.abc import Sequence

import numpy as np
import pytest

from refopt import catalog
from refopt.arithmetic.bounds import FLOAT32, modes
from refopt.optimizer import Optimizer
from refopt.oracle.observation import bounded
from refopt.oracle.values import changes_of_values


def changed(spec: str, words: str) -> Optimizer:
    optimizer = catalog.build(spec)
    return next(change for said, change in changes_of_values(optimizer) if said == words)(optimizer)


def walk(optimizer: Optimizer, rates: Sequence[float | None], g: float = 1.0) -> list[float]:
    """Where a parameter of 1 is after each step, with the same gradient in every one."""
    params, state = [np.ones(1)], optimizer.init([np.ones(1)])
    walked = []
    for lr in rates:
        params, state = optimizer.step(params, [np.full(1, g)], state, lr=lr)
        walked.append(float(params[0][0]))
    return walked


SGD = "sgd(lr=0.5, momentum=0.25, dampening=0.0)"


@pytest.mark.parametrize(
    ("words", "not_set", "set_to_1"),
    [
        ("momentum and lr exchanged", [0.75, 0.375], [0.75, 0.375]),
        ("momentum and lr exchanged, until lr is set", [0.75, 0.375], [0, -1.5]),
        ("momentum and lr exchanged, also when lr is set", [0.75, 0.375], [0.75, 0.25]),
    ],
)
def test_exchanged_with_the_learning_rate(
    words: str, not_set: list[float], set_to_1: list[float]
) -> None:
    assert walk(changed(SGD, words), [None, None]) == not_set
    assert walk(changed(SGD, words), [1.0, 1.0]) == set_to_1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("weight_decay stays at the learning rate of the first call", [0.5, -0.625]),
        ("weight_decay stays at the learning rate of the start", [0.25, -0.875]),
        ("sgd stays at the learning rate of the first call", [0.5, -0.25]),
        ("sgd stays at the learning rate of the start", [0.25, -0.5]),
    ],
)
def test_a_learning_rate_that_stays_in_one_layer(words: str, expected: list[float]) -> None:
    optimizer = changed("weight_decay(sgd(lr=0.5, momentum=0.0), weight_decay=1.0)", words)
    assert walk(optimizer, [0.25, 1.0]) == expected


@pytest.mark.parametrize(
    ("until", "rates", "factors"),
    [
        ("", [None] * 3, [1, 1 / 2, 1 / 6]),
        ("", [0.5] * 3, [1, 1 / 2, 1 / 6]),
        (", until that is set", [None] * 3, [1, 1 / 2, 1 / 6]),
        (", until that is set", [0.5] * 3, [1, 1 / 2, 1 / 3]),
    ],
)
def test_factors_multiply_up(until: str, rates: list[float | None], factors: list[float]) -> None:
    spec = "inverse_time(sgd(lr=0.5, momentum=0.0), decay=1.0)"
    walked = walk(changed(spec, f"the factors of inverse_time multiply up{until}"), rates)
    np.testing.assert_allclose(-np.diff([1, *walked]), 0.5 * np.array(factors), rtol=1e-14)


def test_a_product_is_saved_and_goes_through_missing_gradients() -> None:
    spec = "count_missing(inverse_time(sgd(lr=1.0, momentum=0.0), decay=1.0))"
    optimizer = changed(spec, "the factors of inverse_time multiply up")
    params, state = [np.zeros(1)], optimizer.init([np.zeros(1)])
    for g in (None, np.ones(1)):
        params, state = optimizer.step(params, [g], state)
    assert params[0] == -0.5
    assert state["0"]["inverse_time.product"] == 0.5


def test_a_correction_is_written_back() -> None:
    words = "the bias correction is written back into the learning rate"
    optimizer = changed("adam(lr=1.0, beta1=0.5, beta2=0.75, eps=0.0)", words)
    corrections = [0.5 / 0.5, (7 / 16) ** 0.5 / 0.75]
    moved = [0.5 / 0.25**0.5, 0.75 / (7 / 16) ** 0.5]
    steps = -np.diff([1, *walk(optimizer, [None, None])])
    np.testing.assert_allclose(steps, np.cumprod(corrections) * moved, rtol=1e-14)


def test_every_change_can_be_made_within_bounds() -> None:
    """Also where the hyperparameters are the reference's own, as a target takes none of them."""
    mode = modes(FLOAT32)["working"]
    optimizer = catalog.build("weight_decay(adam)")
    for words, change in changes_of_values(optimizer):
        lifted = change(bounded(optimizer, mode))
        params = [mode.given(np.ones(2, np.float32))]
        lifted.step(params, params, lifted.init(params), lr=mode.hyperparameter(0.1))
        assert isinstance(lifted, Optimizer), words


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        ("a new learning rate is taken for a factor of the last one", [1.0, 0.5]),
        ("whatever learning rate is set, it is 0.01", [0.01, 0.01]),
        ("lr is rounded to bfloat16", [2.0, 0.5]),
    ],
)
def test_other_learning_rates(words: str, rates: list[float]) -> None:
    optimizer = changed("sgd(lr=0.5, momentum=0.0)", words)
    walked = walk(optimizer, [2.0 + 2.0**-10, 0.5])
    np.testing.assert_allclose(-np.diff([1, *walked]), rates, rtol=1e-3)
