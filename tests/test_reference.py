"""The reference as a target: its steps are those of the optimizer, its saved state is its own."""

from __future__ import annotations

import numpy as np
import pytest

import refopt
from refopt.catalog import build
from refopt.optimizer import Optimizer
from refopt.oracle.reference import reference


def params() -> list[np.ndarray]:
    """Parameters of a fresh target."""
    return [np.array(2.0, np.float32), np.array([[1.0, -3.0]], np.float32)]


def gradients(step: int) -> list[np.ndarray | None]:
    """The gradients of a step; every third time one of them is missing."""
    scale = np.float32(0.5) ** step
    return [np.asarray(scale), None if step % 3 == 1 else scale * params()[1]]


def optimizer() -> Optimizer:
    """An optimizer with state inside and outside its rule."""
    return build("lookahead(adamw(lr=0.25), k=2)")


def test_it_steps_as_the_optimizer_does() -> None:
    target = reference(optimizer())(params())
    thetas, state = params(), optimizer().init(params())
    for step in range(6):
        thetas, state = optimizer().step(thetas, gradients(step), state)
        for got, expected in zip(target.step(gradients(step)), thetas, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_it_takes_every_hyperparameter_of_the_optimizer() -> None:
    factory = reference(optimizer())
    target = factory(params(), beta1=0.5, k=3, lr=0.5)
    assert target.lr == 0.5
    assert target.optimizer.hyperparameters()["k"] == 3
    with pytest.raises(TypeError, match="no hyperparameter 'beta3'"):
        factory(params(), beta3=0.5)


def test_its_learning_rate_can_be_changed() -> None:
    target = reference(refopt.sgd(lr=0.5))(params())
    target.set_lr(0.25)
    (theta, _) = target.step([np.asarray(np.float32(1.0)), None])
    assert theta == 1.75


def test_it_goes_on_from_what_was_saved() -> None:
    first = reference(optimizer())(params())
    for step in range(3):
        thetas = first.step(gradients(step))
    saved = first.state_dict()
    second = reference(optimizer())(thetas)
    second.load_state_dict(saved)
    for step in range(3, 6):  # one after the other, so that nothing may be shared
        expected = first.step(gradients(step))
        got = second.step(gradients(step))
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_array_equal(x, y)
