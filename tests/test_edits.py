"""Edits that change more than one line, or what is kept: the numbers of such optimizers."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from refopt import catalog
from refopt.oracle.edits import edits

GRADIENTS = np.array([0.5, -2.0, 1.5])
LR = 0.5

Formula = Callable[[float, dict[str, float]], float]
"""The gradient, and the state with the step and the parameter, to the direction."""


def one_array(g: float, s: dict[str, float]) -> float:
    m = 0.5 * s.get("m", 0.0) + 0.5 * g
    s["m"] = v = 0.75 * m + 0.25 * g**2
    return float((v / (1 - 0.5 ** s["t"])) / (math.sqrt(v / (1 - 0.75 ** s["t"])) + 0.25))


def momentum_before_the_division(g: float, s: dict[str, float]) -> float:
    s["v"] = 0.5 * s.get("v", 0.0) + 0.5 * g**2
    s["b"] = 0.5 * s.get("b", 0.0) + g
    return s["b"] / (math.sqrt(s["v"]) + 0.25)


def late(g: float, s: dict[str, float]) -> float:
    s["m"] = 0.5 * s.get("m", 0.0) + 0.5 * g
    s["v"] = 0.75 * s.get("v", 0.0) + 0.25 * g**2
    before = s["t"] - 1
    first, second = (1.0, 1.0) if s["t"] == 1 else (1 - 0.5**before, 1 - 0.75**before)
    return s["m"] / first / (math.sqrt(s["v"] / second) + 0.25)


def step_kept(g: float, s: dict[str, float]) -> float:
    m_hat = (0.5 * s.get("m", 0.0) + 0.5 * g) / (1 - 0.5 ** s["t"])
    s["m"] = LR * m_hat
    s["v"] = 0.75 * s.get("v", 0.0) + 0.25 * g**2
    return float(m_hat / (math.sqrt(s["v"] / (1 - 0.75 ** s["t"])) + 0.25))


def floor(g: float, s: dict[str, float]) -> float:
    s["v"] = max(0.5 * s.get("v", 0.0) + 0.5 * g**2, 0.25)
    return g / (math.sqrt(s["v"]) + 0.25)


def parameter_kept(g: float, s: dict[str, float]) -> float:
    h = 0.5 * s.get("m", 0.0) + 0.5 * g
    s["m"] = s["theta"] - LR * h
    return h


ADAM = "adam(beta1=0.5, beta2=0.75, eps=0.25)"
RMSPROP = "rmsprop(rho=0.5, eps=0.25, momentum={})"


@pytest.mark.parametrize(
    ("expression", "words", "formula"),
    [
        (ADAM, "the first moment and the second moment are one array", one_array),
        (RMSPROP.format(0.5), "gathers gradients", momentum_before_the_division),
        (ADAM, "the first step is not corrected", late),
        (ADAM, "the corrected first moment times the learning rate is kept", step_kept),
        (RMSPROP.format(0.0), "the second moment is at least epsilon", floor),
        ("sgd_ema(momentum=0.5)", "the new parameter is kept", parameter_kept),
    ],
)
def test_an_edit_computes_what_it_says(expression: str, words: str, formula: Formula) -> None:
    optimizer = catalog.build(expression)
    changed = next(e for e in edits(optimizer) if words in e.description).apply(optimizer)
    s = {"theta": 1.0, "t": 0.0}
    params, state = [np.ones(1)], changed.init([np.ones(1)])
    for g in GRADIENTS:
        s["t"] += 1
        s["theta"] -= LR * formula(float(g), s)
        params, state = changed.step(params, [np.array([g])], state, lr=LR)
        np.testing.assert_allclose(params[0], [s["theta"]], rtol=1e-14)


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("the sum of g**2 over the parameter", [1.0, 1.0]),
        ("the mean of g**2 over the parameter", [0.5, 0.5]),
        ("the largest element of g**2 over the parameter", [0.64, 0.64]),
    ],
)
def test_a_reduction_is_one_number_for_a_parameter(words: str, result: list[float]) -> None:
    optimizer = catalog.build("adagrad(eps=0.0)")
    changed = next(e for e in edits(optimizer) if e.description == words).apply(optimizer)
    g = np.array([0.6, -0.8])
    (theta,), _ = changed.step([np.zeros(2)], [g], changed.init([np.zeros(2)]), lr=1.0)
    np.testing.assert_allclose(theta, -g / np.sqrt(result), rtol=1e-14)
