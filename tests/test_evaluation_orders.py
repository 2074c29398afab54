"""The bound admits every sensible order of evaluation, and no wrong one.

Each function below is one step of an optimizer in float32, with operations and an order of its own.
The correct ones must stay within the reference's bound at every element and step, with
hyperparameters far from the defaults and at the defaults; the wrong ones, which differ as real bugs
do, must leave it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

from refopt.arithmetic.bounds import FLOAT32, FLOAT64, SUM_ROUNDINGS, Bounded, distance
from refopt.catalog import build

Array = Any


class Run:
    """A run of an optimizer: its hyperparameters, the step ``t`` and the state, zero at first."""

    lr: float
    momentum: float
    dampening: float
    rho: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    alpha: float
    max_norm: float
    momentum_decay: float

    def __init__(self, theta: Array, hyperparameters: Mapping[str, Any]) -> None:
        self.__dict__ |= hyperparameters
        self.t = 0
        self.slow = self.x = theta
        self.b = self.m = self.s = self.u = self.v = f32(0)
        self.power1 = self.power2 = self.product = 1.0


Step = Callable[[Array, Array, Run], Array]
"""The new parameter from the old one, the gradient and the run."""


class Implementation(NamedTuple):
    """A step of the optimizer that an expression describes."""

    expression: str
    step: Step
    float32_hyperparameters: bool = False


CORRECT: dict[str, Implementation] = {}
WRONG: dict[str, Implementation] = {}


def correct(expression: str, float32_hyperparameters: bool = False) -> Callable[[Step], Step]:
    def register(step: Step) -> Step:
        CORRECT[step.__name__] = Implementation(expression, step, float32_hyperparameters)
        return step

    return register


def wrong(expression: str) -> Callable[[Step], Step]:
    def register(step: Step) -> Step:
        WRONG[step.__name__] = Implementation(expression, step)
        return step

    return register


def f32(x: Any) -> Any:
    """Rounded to float32, as frameworks do with the scalars that meet their arrays."""
    return np.asarray(x, dtype=np.float32)[()]


def fma(x: Array, y: Array, z: Array) -> Array:
    """x*y + z with one rounding: products of float32 numbers are exact in float64."""
    return f32(np.float64(x) * np.float64(y) + np.float64(z))


def flush(x: Array) -> Array:
    """Subnormal numbers as zero."""
    return np.where(abs(x) < FLOAT32.tiny, f32(0), x)


# Adam


def moments(g: Array, o: Run) -> None:
    """Both moments of Adam as the paper has them."""
    o.m = f32(o.beta1) * o.m + f32(1 - o.beta1) * g
    o.v = f32(o.beta2) * o.v + f32(1 - o.beta2) * (g * g)


def direction(g: Array, o: Run) -> Array:
    """Adam's direction as the paper has it."""
    moments(g, o)
    m_hat, v_hat = o.m / f32(1 - o.beta1**o.t), o.v / f32(1 - o.beta2**o.t)
    return m_hat / (np.sqrt(v_hat) + f32(o.eps))


@correct("adam")
def adam(theta: Array, g: Array, o: Run) -> Array:
    return theta - f32(o.lr) * direction(g, o)


@correct("adam")
def adam_with_lerp_and_folded_step_size(theta: Array, g: Array, o: Run) -> Array:
    o.m = o.m + f32(1 - o.beta1) * (g - o.m)
    o.v = o.v * f32(o.beta2) + f32(1 - o.beta2) * g * g
    denominator = np.sqrt(o.v) / f32(math.sqrt(1 - o.beta2**o.t)) + f32(o.eps)
    return theta - f32(o.lr / (1 - o.beta1**o.t)) * o.m / denominator


@correct("adam")
def adam_with_both_moments_interpolated(theta: Array, g: Array, o: Run) -> Array:
    o.m = o.m + (g - o.m) * f32(1 - o.beta1)
    o.v = o.v + (g * g - o.v) * f32(1 - o.beta2)
    denominator = np.sqrt(o.v / f32(1 - o.beta2**o.t)) + f32(o.eps)
    return theta - o.m * f32(o.lr) / f32(1 - o.beta1**o.t) / denominator


@correct("adam")
def adam_with_reciprocals(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    root = np.sqrt(o.v * f32(1 / (1 - o.beta2**o.t)))
    m_hat = o.m * f32(1 / (1 - o.beta1**o.t))
    return theta - f32(o.lr) * m_hat * (f32(1) / (root + f32(o.eps)))


@correct("adam")
def adam_with_scaled_epsilon(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    root = math.sqrt(1 - o.beta2**o.t)
    step_size = f32(o.lr * root / (1 - o.beta1**o.t))
    return theta - step_size * (o.m / (np.sqrt(o.v) + f32(o.eps * root)))


@correct("adam")
def adam_with_step_size_in_the_denominator(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    step_size = -o.lr / (1 - o.beta1**o.t)
    scale = f32(1 / (math.sqrt(1 - o.beta2**o.t) * step_size))
    return theta + o.m / (np.sqrt(o.v) * scale + f32(o.eps / step_size))


@correct("adam")
def adam_with_running_powers(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    o.power1, o.power2 = o.power1 * o.beta1, o.power2 * o.beta2
    denominator = np.sqrt(o.v / f32(1 - o.power2)) + f32(o.eps)
    return theta - f32(o.lr) * (o.m / f32(1 - o.power1) / denominator)


@correct("adam")
def adam_with_corrections_by_expm1(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    m_hat = o.m / f32(-math.expm1(o.t * math.log(o.beta1)))
    v_hat = o.v / f32(-math.expm1(o.t * math.log(o.beta2)))
    return theta - f32(o.lr) * (m_hat / (np.sqrt(v_hat) + f32(o.eps)))


@correct("adam")
def adam_in_float64_with_float32_state(theta: Array, g: Array, o: Run) -> Array:
    m = o.beta1 * np.float64(o.m) + (1 - o.beta1) * np.float64(g)
    v = o.beta2 * np.float64(o.v) + (1 - o.beta2) * np.float64(g) ** 2
    o.m, o.v = f32(m), f32(v)
    h = m / (1 - o.beta1**o.t) / (np.sqrt(v / (1 - o.beta2**o.t)) + o.eps)
    return f32(theta - o.lr * h)


@correct("adam")
def adam_with_float64_state(theta: Array, g: Array, o: Run) -> Array:
    o.m = o.beta1 * np.float64(o.m) + (1 - o.beta1) * np.float64(g)
    o.v = o.beta2 * np.float64(o.v) + (1 - o.beta2) * np.float64(g) ** 2
    h = o.m / (1 - o.beta1**o.t) / (np.sqrt(o.v / (1 - o.beta2**o.t)) + o.eps)
    return theta - f32(o.lr * h)


@correct("adam")
def adam_with_fused_multiply_add(theta: Array, g: Array, o: Run) -> Array:
    o.m = fma(f32(o.beta1), o.m, f32(1 - o.beta1) * g)
    o.v = fma(f32(1 - o.beta2) * g, g, f32(o.beta2) * o.v)
    denominator = fma(np.sqrt(o.v), f32(1 / math.sqrt(1 - o.beta2**o.t)), f32(o.eps))
    return fma(f32(-o.lr / (1 - o.beta1**o.t)), o.m / denominator, theta)


@correct("adam")
def adam_flushing_to_zero(theta: Array, g: Array, o: Run) -> Array:
    g = flush(g)
    o.m = flush(flush(f32(o.beta1) * o.m) + flush(f32(1 - o.beta1) * g))
    o.v = flush(flush(f32(o.beta2) * o.v) + flush(f32(1 - o.beta2) * flush(g * g)))
    m_hat = flush(o.m / f32(1 - o.beta1**o.t))
    v_hat = flush(o.v / f32(1 - o.beta2**o.t))
    return flush(theta - flush(f32(o.lr) * flush(m_hat / (np.sqrt(v_hat) + f32(o.eps)))))


@correct("adam")
def adam_in_tiles(theta: Array, g: Array, o: Run) -> Array:
    new = np.empty_like(theta)
    if o.t == 1:
        o.m, o.v = np.zeros_like(theta), np.zeros_like(theta)
    for start in range(0, theta.size, 7):
        for i in range(start, min(start + 7, theta.size)):
            o.m[i] = f32(o.beta1) * o.m[i] + f32(1 - o.beta1) * g[i]
            o.v[i] = f32(o.beta2) * o.v[i] + f32(1 - o.beta2) * g[i] * g[i]
            root = np.sqrt(o.v[i]) / f32(math.sqrt(1 - o.beta2**o.t))
            new[i] = theta[i] - f32(o.lr / (1 - o.beta1**o.t)) * (o.m[i] / (root + f32(o.eps)))
    return new


@correct("adam")
def adam_with_averages_that_are_never_biased(theta: Array, g: Array, o: Run) -> Array:
    o.m = o.m + f32((1 - o.beta1) / (1 - o.beta1**o.t)) * (g - o.m)
    o.v = o.v + f32((1 - o.beta2) / (1 - o.beta2**o.t)) * (g * g - o.v)
    return theta - f32(o.lr) * o.m / (np.sqrt(o.v) + f32(o.eps))


@correct("adam")
def adam_with_sums_for_averages(theta: Array, g: Array, o: Run) -> Array:
    o.m = f32(o.beta1) * o.m + g
    o.v = f32(o.beta2) * o.v + g * g
    root = np.sqrt(o.v * f32((1 - o.beta2) / (1 - o.beta2**o.t)))
    return theta - f32(o.lr * (1 - o.beta1) / (1 - o.beta1**o.t)) * o.m / (root + f32(o.eps))


@correct("adam")
def adam_with_the_root_as_state(theta: Array, g: Array, o: Run) -> Array:
    o.m = f32(o.beta1) * o.m + f32(1 - o.beta1) * g
    o.s = np.hypot(f32(math.sqrt(o.beta2)) * o.s, f32(math.sqrt(1 - o.beta2)) * g)
    denominator = o.s / f32(math.sqrt(1 - o.beta2**o.t)) + f32(o.eps)
    return theta - f32(o.lr) * (o.m / f32(1 - o.beta1**o.t) / denominator)


@correct("adam", float32_hyperparameters=True)
def adam_with_float32_hyperparameters(theta: Array, g: Array, o: Run) -> Array:
    beta1, beta2, one, t = f32(o.beta1), f32(o.beta2), f32(1), f32(o.t)
    o.m = beta1 * o.m + (one - beta1) * g
    o.v = beta2 * o.v + (one - beta2) * (g * g)
    m_hat, v_hat = o.m / (one - beta1**t), o.v / (one - beta2**t)
    return theta - f32(o.lr) * (m_hat / (np.sqrt(v_hat) + f32(o.eps)))


@correct("adam", float32_hyperparameters=True)
def adam_with_running_float32_powers(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    o.power1, o.power2 = f32(o.power1) * f32(o.beta1), f32(o.power2) * f32(o.beta2)
    root = np.sqrt(f32(1) - o.power2)
    step_size = f32(o.lr) * root / (f32(1) - o.power1)
    return theta - step_size * o.m / (np.sqrt(o.v) + f32(o.eps) * root)


@correct("adam_epsilon_inside")
def adam_with_a_reciprocal_root(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    reciprocal = f32(1) / np.sqrt(o.v / f32(1 - o.beta2**o.t) + f32(o.eps))
    return theta - f32(o.lr) * (o.m * reciprocal / f32(1 - o.beta1**o.t))


# Decay


@correct("adamw")
def adamw(theta: Array, g: Array, o: Run) -> Array:
    return theta - f32(o.lr) * (direction(g, o) + f32(o.weight_decay) * theta)


@correct("adamw")
def adamw_with_a_rounded_factor(theta: Array, g: Array, o: Run) -> Array:
    theta = theta * f32(1 - o.lr * o.weight_decay)
    return theta - f32(o.lr) * direction(g, o)


@correct("adamw")
def adamw_decaying_first(theta: Array, g: Array, o: Run) -> Array:
    theta = theta - theta * f32(o.weight_decay) * f32(o.lr)
    return theta - f32(o.lr) * direction(g, o)


@correct("adamw")
def adamw_subtracting_the_decay_last(theta: Array, g: Array, o: Run) -> Array:
    decay = f32(o.lr * o.weight_decay) * theta
    return theta - f32(o.lr) * direction(g, o) - decay


@correct("adamw")
def adamw_with_one_fused_update(theta: Array, g: Array, o: Run) -> Array:
    return fma(f32(1 - o.lr * o.weight_decay), theta, f32(-o.lr) * direction(g, o))


@correct("adamw")
def adamw_stepping_further_and_decaying_then(theta: Array, g: Array, o: Run) -> Array:
    kept = 1 - o.lr * o.weight_decay
    return (theta - f32(o.lr / kept) * direction(g, o)) * f32(kept)


@correct("l2(adam)")
def adam_with_fused_l2(theta: Array, g: Array, o: Run) -> Array:
    return theta - f32(o.lr) * direction(fma(f32(o.weight_decay), theta, g), o)


@correct("l2(sgd(momentum=0.0))")
def sgd_with_l2_as_decay(theta: Array, g: Array, o: Run) -> Array:
    return f32(1 - o.lr * o.weight_decay) * theta - f32(o.lr) * g


# Momentum


@correct("sgd")
def sgd(theta: Array, g: Array, o: Run) -> Array:
    o.b = g if o.t == 1 else f32(o.momentum) * o.b + f32(1 - o.dampening) * g
    return theta - f32(o.lr) * o.b


@correct("sgd")
def sgd_with_fused_multiply_add(theta: Array, g: Array, o: Run) -> Array:
    o.b = g if o.t == 1 else fma(f32(o.momentum), o.b, f32(1 - o.dampening) * g)
    return fma(f32(-o.lr), o.b, theta)


@correct("sgd(dampening=0.0)")
def sgd_with_step_size_in_the_buffer(theta: Array, g: Array, o: Run) -> Array:
    o.u = f32(o.momentum) * o.u - f32(o.lr) * g
    return theta + o.u


@correct("sgd_ema")
def sgd_ema_interpolated(theta: Array, g: Array, o: Run) -> Array:
    o.m = o.m + f32(1 - o.momentum) * (g - o.m)
    return theta - f32(o.lr) * o.m


@correct("sgd(dampening=0.0, nesterov=True)")
def nesterov(theta: Array, g: Array, o: Run) -> Array:
    o.b = f32(o.momentum) * o.b + g
    return theta - f32(o.lr) * (g + f32(o.momentum) * o.b)


@correct("sgd(dampening=0.0, nesterov=True)")
def nesterov_as_two_subtractions(theta: Array, g: Array, o: Run) -> Array:
    o.b = f32(o.momentum) * o.b + g
    return theta - f32(o.lr) * g - f32(o.lr * o.momentum) * o.b


@correct("sgd(dampening=0.0, nesterov=True)")
def nesterov_as_two_subtractions_momentum_first(theta: Array, g: Array, o: Run) -> Array:
    o.b = f32(o.momentum) * o.b + g
    return theta - f32(o.lr) * (f32(o.momentum) * o.b) - f32(o.lr) * g


@correct("sgd(dampening=0.0, nesterov=True)")
def nesterov_with_step_size_in_the_buffer(theta: Array, g: Array, o: Run) -> Array:
    o.u = f32(o.momentum) * o.u - f32(o.lr) * g
    return theta + f32(o.momentum) * o.u - f32(o.lr) * g


@correct("sgd(dampening=0.0, nesterov=True)")
def nesterov_from_the_old_buffer(theta: Array, g: Array, o: Run) -> Array:
    h = f32(1 + o.momentum) * g + f32(o.momentum**2) * o.b
    o.b = f32(o.momentum) * o.b + g
    return theta - f32(o.lr) * h


@correct("sgd_lr_inside(nesterov=True)")
def nesterov_by_a_change_of_variables(_: Array, g: Array, o: Run) -> Array:
    o.u = f32(o.momentum) * o.u - f32(o.lr) * g
    o.x = o.x + o.u
    return o.x + f32(o.momentum) * o.u


@correct("sgd_lr_inside(nesterov=True)")
def nesterov_from_both_velocities(theta: Array, g: Array, o: Run) -> Array:
    old = o.u
    o.u = f32(o.momentum) * o.u - f32(o.lr) * g
    return theta - f32(o.momentum) * old + f32(1 + o.momentum) * o.u


# Other rules and variants


@correct("nadam")
def nadam_as_two_subtractions(theta: Array, g: Array, o: Run) -> Array:
    mu, after = (o.beta1 * (1 - 0.5 * 0.96 ** (t * o.momentum_decay)) for t in (o.t, o.t + 1))
    o.product *= mu
    moments(g, o)
    denominator = np.sqrt(o.v / f32(1 - o.beta2**o.t)) + f32(o.eps)
    theta = theta - f32(o.lr * (1 - mu) / (1 - o.product)) * g / denominator
    return theta - f32(o.lr * after / (1 - o.product * after)) * o.m / denominator


@correct("amsgrad")
def amsgrad_with_the_largest_root(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    o.s = np.maximum(o.s, np.sqrt(o.v))
    denominator = o.s / f32(math.sqrt(1 - o.beta2**o.t)) + f32(o.eps)
    return theta - f32(o.lr / (1 - o.beta1**o.t)) * o.m / denominator


@correct("adamax")
def adamax_with_a_folded_step_size(theta: Array, g: Array, o: Run) -> Array:
    o.m = o.m + f32(1 - o.beta1) * (g - o.m)
    o.u = np.maximum(o.u * f32(o.beta2), abs(g) + f32(o.eps))
    return theta - f32(o.lr / (1 - o.beta1**o.t)) * (o.m / o.u)


@correct("adadelta")
def adadelta_with_epsilon_in_the_state(theta: Array, g: Array, o: Run) -> Array:
    if o.t == 1:
        o.u = o.v = f32(o.eps)
    o.v = f32(o.rho) * o.v + f32(1 - o.rho) * (g * g + f32(o.eps))
    h = np.sqrt(o.u / o.v) * g
    o.u = f32(o.rho) * o.u + f32(1 - o.rho) * (h * h + f32(o.eps))
    return theta - f32(o.lr) * h


@correct("gradient_accumulation(sgd(momentum=0.0), k=3)")
def accumulation_as_a_running_mean(theta: Array, g: Array, o: Run) -> Array:
    n = (o.t - 1) % 3 + 1
    o.m = g if n == 1 else o.m + (g - o.m) / f32(n)
    return theta - f32(o.lr) * o.m if n == 3 else theta


@correct("rmsprop(momentum=0.0)")
def rmsprop_interpolated(theta: Array, g: Array, o: Run) -> Array:
    o.v = o.v + f32(1 - o.rho) * (g * g - o.v)
    return theta - f32(o.lr) * g / (np.sqrt(o.v) + f32(o.eps))


@correct("rmsprop(momentum=0.0)")
def rmsprop_by_reciprocals(theta: Array, g: Array, o: Run) -> Array:
    o.v = f32(o.rho) * o.v + f32(1 - o.rho) * g * g
    return theta - g * (f32(o.lr) * (f32(1) / (np.sqrt(o.v) + f32(o.eps))))


@correct("rmsprop_epsilon_inside(centered=True)")
def rmsprop_centered_by_a_reciprocal_root(theta: Array, g: Array, o: Run) -> Array:
    o.v = o.v + f32(1 - o.rho) * (g * g - o.v)
    o.m = o.m + f32(1 - o.rho) * (g - o.m)
    o.b = f32(o.momentum) * o.b + g * (f32(1) / np.sqrt(fma(-o.m, o.m, o.v) + f32(o.eps)))
    return theta - f32(o.lr) * o.b


@correct("adagrad(initial_accumulator=0.0)")
def adagrad_by_reciprocals(theta: Array, g: Array, o: Run) -> Array:
    o.s = fma(g, g, o.s)
    return theta - f32(o.lr) * (f32(1) / (np.sqrt(o.s) + f32(o.eps))) * g


@correct("adadelta")
def adadelta_with_one_root(theta: Array, g: Array, o: Run) -> Array:
    o.s = f32(o.rho) * o.s + f32(1 - o.rho) * g * g
    h = np.sqrt((o.u + f32(o.eps)) / (o.s + f32(o.eps))) * g
    o.u = o.u + f32(1 - o.rho) * (h * h - o.u)
    return theta - f32(o.lr) * h


@correct("lion")
def lion_interpolated(theta: Array, g: Array, o: Run) -> Array:
    sign = np.sign(o.m + f32(1 - o.beta1) * (g - o.m))
    o.m = o.m + f32(1 - o.beta2) * (g - o.m)
    return theta * f32(1 - o.lr * o.weight_decay) - f32(o.lr) * sign


@correct("lookahead(sgd(momentum=0.0), k=3)")
def lookahead_as_a_convex_combination(theta: Array, g: Array, o: Run) -> Array:
    theta = theta - f32(o.lr) * g
    if o.t % 3:
        return theta
    o.slow = f32(1 - o.alpha) * o.slow + f32(o.alpha) * theta
    return o.slow


@correct("clip_by_global_norm(sgd(momentum=0.0))")
def clipping_by_a_quotient_of_norms(theta: Array, g: Array, o: Run) -> Array:
    norm = np.linalg.norm(g)
    return theta - f32(o.lr) * (g / np.maximum(f32(1), norm / f32(o.max_norm)))


@correct("layer_adaptation(weight_decay(adam))")
def lamb_with_a_folded_ratio(theta: Array, g: Array, o: Run) -> Array:
    h = direction(g, o) + f32(o.weight_decay) * theta
    square, other = (np.sum(np.float64(x) ** 2) for x in (theta, h))
    return theta - f32(o.lr * math.sqrt(square / other)) * h


# Mistakes


@wrong("adam")
def adam_with_epsilon_before_the_correction(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    step_size = f32(o.lr * math.sqrt(1 - o.beta2**o.t) / (1 - o.beta1**o.t))
    return theta - step_size * o.m / (np.sqrt(o.v) + f32(o.eps))


@wrong("adam")
def adam_with_epsilon_inside_the_root(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    root = np.sqrt(o.v / f32(1 - o.beta2**o.t) + f32(o.eps))
    return theta - f32(o.lr / (1 - o.beta1**o.t)) * o.m / root


@wrong("adam")
def adam_with_swapped_decay_rates(theta: Array, g: Array, o: Run) -> Array:
    if o.t == 1:
        o.beta1, o.beta2 = o.beta2, o.beta1
    return theta - f32(o.lr) * direction(g, o)


@wrong("adam")
def adam_ahead_by_one_step(theta: Array, g: Array, o: Run) -> Array:
    moments(g, o)
    m_hat, v_hat = o.m / f32(1 - o.beta1 ** (o.t + 1)), o.v / f32(1 - o.beta2 ** (o.t + 1))
    return theta - f32(o.lr) * m_hat / (np.sqrt(v_hat) + f32(o.eps))


@wrong("adam")
def adam_with_decay_rates_in_float16(theta: Array, g: Array, o: Run) -> Array:
    o.beta1, o.beta2 = float(np.float16(o.beta1)), float(np.float16(o.beta2))
    return theta - f32(o.lr) * direction(g, o)


@wrong("adamw")
def adamw_decaying_after_the_step(theta: Array, g: Array, o: Run) -> Array:
    theta = theta - f32(o.lr) * direction(g, o)
    return theta * f32(1 - o.lr * o.weight_decay)


@wrong("sgd")
def sgd_dampening_the_first_gradient(theta: Array, g: Array, o: Run) -> Array:
    o.b = f32(o.momentum) * o.b + f32(1 - o.dampening) * g
    return theta - f32(o.lr) * o.b


@wrong("sgd(dampening=0.0, nesterov=True)")
def nesterov_with_the_old_buffer(theta: Array, g: Array, o: Run) -> Array:
    h = g + f32(o.momentum) * o.b
    o.b = f32(o.momentum) * o.b + g
    return theta - f32(o.lr) * h


# Runs

STEPS = 12

FAR: Mapping[str, float] = {
    "lr": 0.3,
    "momentum": 0.8,
    "dampening": 0.3,
    "rho": 0.7,
    "beta1": 0.8,
    "beta2": 0.6,
    "eps": 1e-2,
    "weight_decay": 0.3,
    "alpha": 0.4,
    "max_norm": 1.7,
}
DEFAULTS: Mapping[str, float] = {"momentum": 0.9}


def falling(random: np.random.Generator, t: int, size: int) -> Array:
    """Gradients from the size of 10 down to 0.1."""
    return f32(random.standard_normal(size) * 10 ** (1 - 2 * (t - 1) / (STEPS - 1)))


def vanishing(random: np.random.Generator, t: int, size: int) -> Array:
    """Gradients that are subnormal or zero, or whose squares are."""
    return f32(random.standard_normal(size) * (1e-2, 1e-19, 1e-38, 0.0)[t % 4])


Gradients = Callable[[np.random.Generator, int, int], Array]


def worst(
    implementation: Implementation,
    values: Mapping[str, float],
    gradients: Gradients,
    seed: int,
    size: int = 64,
) -> float:
    """The largest distance from the reference within a run, as a fraction of the bound."""
    expression, step, float32_hyperparameters = implementation
    optimizer = build(expression)
    free = optimizer.hyperparameters().keys() - optimizer.pinned()
    optimizer = optimizer.with_hyperparameters(**{k: v for k, v in values.items() if k in free})

    def lifted(_: str, value: float) -> Bounded:
        if float32_hyperparameters:
            return Bounded(value, abs(value - FLOAT32.nearest(value)), FLOAT32)
        return Bounded(value, 0.0, FLOAT64)

    random = np.random.default_rng(seed)
    theta = f32(random.standard_normal(size))
    run = Run(theta, optimizer.hyperparameters())
    reference = optimizer.lifted(lifted)
    expected: Any = Bounded.exact(theta, FLOAT32)
    state = reference.init(expected)
    farthest = 0.0
    for run.t in range(1, STEPS + 1):
        g = gradients(random, run.t, size)
        theta = step(theta, g, run)
        assert theta.dtype == np.float32
        expected, state = reference.step(expected, Bounded.exact(g, FLOAT32), state)
        farthest = max(farthest, float(distance(theta, expected).max()))
    return farthest


HYPERPARAMETERS = pytest.mark.parametrize("values", [FAR, DEFAULTS], ids=["far", "defaults"])
GRADIENTS = pytest.mark.parametrize("gradients", [falling, vanishing], ids=lambda f: f.__name__)


@GRADIENTS
@HYPERPARAMETERS
@pytest.mark.parametrize("name", CORRECT)
def test_correct_orders_are_admitted(
    name: str, values: Mapping[str, float], gradients: Gradients
) -> None:
    assert max(worst(CORRECT[name], values, gradients, seed) for seed in range(3)) <= 1


@pytest.mark.parametrize("name", WRONG)
def test_wrong_formulas_are_not(name: str) -> None:
    assert worst(WRONG[name], FAR, falling, 0) > 1


def test_decay_by_a_rounded_factor_spends_the_three_roundings_of_a_sum() -> None:
    decay = CORRECT["sgd_with_l2_as_decay"]
    farthest = max(worst(decay, DEFAULTS, falling, seed, size=4096) for seed in range(3))
    assert 2 < farthest * SUM_ROUNDINGS <= 3
