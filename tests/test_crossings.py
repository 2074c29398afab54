"""What belongs to one layer in the formula of another: the numbers of such optimizers."""

import numpy as np
import pytest

from refopt import catalog
from refopt.optimizer import Optimizer
from refopt.oracle.crossings import crossings

THETA = np.array([[1.0, -2.0], [0.5, 4.0]])
GRADIENTS = (np.array([[0.5, 0.25], [-1.0, 2.0]]), np.array([[-0.25, 1.0], [0.125, -2.0]]))
RATES = (0.5, 0.25)


def changed(expression: str, description: str) -> Optimizer:
    """An optimizer with the first such crossing that is described so."""
    optimizer = catalog.build(expression)
    found = next(e for e in crossings(optimizer) if description in e.description)
    return found.apply(optimizer)


def steps(optimizer: Optimizer) -> np.ndarray:
    params, state = [THETA], optimizer.init([THETA])
    for g, lr in zip(GRADIENTS, RATES, strict=True):
        params, state = optimizer.step(params, [g], state, lr=lr)
    return np.asarray(params[0])


def norm(x: np.ndarray) -> float:
    return float(np.sqrt(np.sum(x**2)))


def test_decay_that_reaches_the_moving_average_alone() -> None:
    optimizer = changed(
        "l2(sgd_ema(momentum=0.5), weight_decay=0.5)", "added to the gradient here alone"
    )
    theta, m = THETA, np.zeros_like(THETA)
    for g, lr in zip(GRADIENTS, RATES, strict=True):
        m = 0.5 * m + 0.5 * (g + 0.5 * theta)
        theta = theta - lr * m
    np.testing.assert_allclose(steps(optimizer), theta, rtol=1e-15)


def test_decay_in_the_denominator() -> None:
    optimizer = changed("weight_decay(adagrad(eps=1.0), weight_decay=0.5)", "xp.sqrt(s) + eps here")
    theta, s = THETA, np.zeros_like(THETA)
    for g, lr in zip(GRADIENTS, RATES, strict=True):
        s = s + g**2
        theta = theta - lr * g / (np.sqrt(s) + 1.0 + 0.5 * theta)
    np.testing.assert_allclose(steps(optimizer), theta, rtol=1e-14)


def test_epsilon_of_the_rule_in_the_ratio() -> None:
    optimizer = changed("layer_adaptation(adagrad(eps=0.5))", "the norm of the direction")
    theta, s = THETA, np.zeros_like(THETA)
    for g, lr in zip(GRADIENTS, RATES, strict=True):
        s = s + g**2
        h = g / (np.sqrt(s) + 0.5)
        theta = theta - lr * norm(theta) / (norm(h) + 0.5) * h
    np.testing.assert_allclose(steps(optimizer), theta, rtol=1e-14)


def test_a_factor_of_the_gradient_that_scales_the_step() -> None:
    expression = "clip_by_norm(sgd_lr_inside(momentum=0.5), max_norm=0.5)"
    optimizer = changed(expression, "scales the direction instead")
    theta, u = THETA, np.zeros_like(THETA)
    for g, lr in zip(GRADIENTS, RATES, strict=True):
        u = 0.5 * u + lr * g
        theta = theta - 0.5 / max(norm(g), 0.5) * u
    np.testing.assert_allclose(steps(optimizer), theta, rtol=1e-14)


@pytest.mark.parametrize("rule", ["sgd", "sgd_lr_inside"])
def test_a_ratio_of_what_there_was_before_the_decay(rule: str) -> None:
    optimizer = changed(
        f"layer_adaptation(weight_decay({rule}, weight_decay=0.5))", "computed before weight_decay"
    )
    theta = THETA
    for g, lr in zip(GRADIENTS, RATES, strict=True):
        theta = theta - lr * norm(theta) / norm(g) * (g + 0.5 * theta)
    np.testing.assert_allclose(steps(optimizer), theta, rtol=1e-14)


def test_a_rule_alone_has_none() -> None:
    assert not list(crossings(catalog.build("adam")))
