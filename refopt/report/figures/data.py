"""The numbers behind the figures, all from the reference's own rules, variants and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refopt import catalog
from refopt.optimizer import Optimizer
from refopt.xp import namespace

Reals = NDArray[np.float64]


def correction_ratio(beta1: float, beta2: float, steps: int) -> Reals:
    """Adam's bias correction ``sqrt(1 - beta2**t) / (1 - beta1**t)`` at t = 1..steps.

    The quotient of the directions with and without it, from the same moments.
    """
    t = np.arange(1.0, steps + 1)
    one = np.ones_like(t)
    rates = {"beta1": beta1, "beta2": beta2, "eps": 0.0}
    corrected, *_ = _rule("adam", t, one, one, one, **rates)
    uncorrected, *_ = _rule("adam_uncorrected", t, one, one, one, **rates)
    return np.asarray(corrected / uncorrected)


def rectifier(beta2: float, steps: int, name: str = "radam") -> Reals:
    """RAdam's factor at t = 1..steps, NaN while it does not rectify.

    A gradient of 2 at every step has the corrected moments 2 and 4, so that the rectified
    direction is the factor itself and the other one is 2.
    """
    t = np.arange(1.0, steps + 1)
    beta1, two = 0.9, np.full(steps, 2.0)
    m, v = 2 * (1 - beta1 ** (t - 1)), 4 * (1 - beta2 ** (t - 1))
    h, *_ = _rule(name, t, two, m, v, beta1=beta1, beta2=beta2, eps=0.0)
    return np.where(h > 1.5, np.nan, h)


def step_sizes(optimizer: Optimizer, gradients: Sequence[float]) -> Reals:
    """How far one parameter moves in each step, for prescribed gradients."""
    return np.abs(np.diff(_path(optimizer, [np.array([g]) for g in gradients], 0.0)[:, 0]))


def weights(optimizer: Optimizer, scales: Reals, steps: int) -> Reals:
    """Weights that start at 1, one for each gradient scale, before and after each step.

    The gradients are the scales with alternating sign: mean zero, mean square ``scale**2``.
    """
    return _path(optimizer, [scales * (-1.0) ** i for i in range(steps)], 1.0)


def effective_decay(
    decayed: Optimizer, plain: Optimizer, scales: Reals, steps: int, nominal: float
) -> Reals:
    """How much faster weights shrink than by ``lr * weight_decay`` a step, for each scale.

    Args:
        decayed: the optimizer with decay or L2 regularisation.
        plain: the same without.
        scales: of the gradients.
        steps: over which to measure.
        nominal: ``lr * weight_decay``.
    """
    with_, without = weights(decayed, scales, steps)[-1], weights(plain, scales, steps)[-1]
    return np.asarray((without - with_) / (nominal * steps))


class BetaTildeErrors(NamedTuple):
    """What beta-tilde, ``b = 1 - (1 - beta)/k``, leaves out, and bounds on it.

    Attributes:
        decay: ``b**k - beta``, of the weight of the window before.
        decay_bound: ``(1 - beta)**2 * (k - 1)/(2*k)``.
        weight: ``1 - b**(k-1)``, of the weight of the first gradient of a window, relatively.
        weight_bound: ``(1 - beta) * (k - 1)/k``.
    """

    decay: Reals
    decay_bound: Reals
    weight: Reals
    weight_bound: Reals


def beta_tilde_errors(beta: float, ks: Sequence[int]) -> BetaTildeErrors:
    """The errors of the two approximations behind beta-tilde, for windows of k gradients."""
    tilde = catalog.layer("beta_tilde").function
    k = np.asarray(ks, float)
    b = np.array([tilde(beta, k=each) for each in ks])
    return BetaTildeErrors(
        decay=b**k - beta,
        decay_bound=(1 - beta) ** 2 * (k - 1) / (2 * k),
        weight=1 - b ** (k - 1),
        weight_bound=(1 - beta) * (k - 1) / k,
    )


SCHEDULES: Final[Mapping[str, str]] = {
    "constant": "constant(sgd(lr=1.0))",
    "warmup": "warmup(sgd(lr=1.0), warmup_steps=25)",
    "step_decay": "step_decay(sgd(lr=1.0), decay_steps=25, decay_rate=0.5)",
    "exponential": "exponential(sgd(lr=1.0), decay_steps=25, decay_rate=0.5)",
    "cosine": "cosine(sgd(lr=1.0), decay_steps=100)",
    "cosine_periodic": "cosine_periodic(sgd(lr=1.0), decay_steps=25)",
    "cosine_restarts": "cosine_restarts(sgd(lr=1.0), decay_steps=25)",
    "cosine_growing_restarts": "cosine_growing_restarts(sgd(lr=1.0), decay_steps=14)",
    "polynomial": "polynomial(sgd(lr=1.0), decay_steps=100, power=2.0)",
    "inverse_time": "inverse_time(sgd(lr=1.0), decay=0.1)",
    "inverse_sqrt, 5 times": "inverse_sqrt(sgd(lr=5.0), warmup_steps=25)",
    "piecewise_linear": (
        "piecewise_linear(sgd(lr=1.0), schedule={10: 1.0, 40: 1.0, 60: 0.2, 80: 0.2, 90: 0.0})"
    ),
    "one_cycle": "one_cycle(sgd(lr=1.0), total_steps=100)",
    "one_cycle_linear": "one_cycle_linear(sgd(lr=1.0), total_steps=100)",
    "one_cycle_three_phase": "one_cycle_three_phase(sgd(lr=1.0), total_steps=100, pct_start=0.45)",
    "warmup(cosine)": "warmup(cosine(sgd(lr=1.0), decay_steps=100), warmup_steps=25)",
}
"""The schedules that are drawn, with hyperparameters that show their form in 100 steps.

Along a gradient of 1 and from a learning rate of 1, the steps of descent are the factors. The
largest of ``inverse_sqrt`` is 1/5, so that it is drawn from a learning rate of 5.
"""


def _path(optimizer: Optimizer, gradients: Sequence[Reals], start: float) -> Reals:
    theta = np.full_like(gradients[0], start)
    state = optimizer.init(theta)
    path = [theta]
    for g in gradients:
        theta, state = optimizer.step(theta, g, state)
        path.append(theta)
    return np.array(path)


def _rule(name: str, t: Reals, g: Reals, *state: Reals, **hyperparameters: float) -> Any:
    """One call of a rule for many steps at once: an element a step."""
    return catalog.RULES[name].default.function(namespace(g), t, g, *state, **hyperparameters)
