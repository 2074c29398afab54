"""Two mistakes at once, or the convention of another framework with one mistake in it."""

from __future__ import annotations

import numpy as np

from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


@mistake("adam", "m_hat = m\n", "v_hat + eps")
def first_uncorrected_and_epsilon_inside(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * s.m / np.sqrt(s.v / (1 - beta2**t) + eps)


@mistake("adam", "no bias correction", "the gradient in place of (1 - beta1) * g")
def no_exponent_and_second_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * (s.m / (1 - beta1)) / (np.sqrt(s.v) + eps)


@mistake("adam", "m = beta1 * m + g", "v = beta2 * v + g**2")
def sums_corrected_as_averages(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + g
    s.v = beta2 * s.v + g**2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adam", "(t + 1)", "epsilon")
def count_too_large_and_epsilon_hat(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    step = lr * np.sqrt(1 - beta2 ** (t + 1)) / (1 - beta1 ** (t + 1))
    return theta - step * s.m / (np.sqrt(s.v) + eps)


def hat(g, t, s, *, beta1, beta2, eps):
    """Adam's direction with epsilon-hat."""
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return np.sqrt(1 - beta2**t) / (1 - beta1**t) * s.m / (np.sqrt(s.v) + eps)


@mistake("adamw", "after", "epsilon", links="huggingface/transformers#14539")
def epsilon_hat_and_decay_after(theta, g, t, s, *, lr, weight_decay, **rates):
    theta = theta - lr * hat(g, t, s, **rates)
    return theta - lr * weight_decay * theta


@mistake("adamw", "epsilon", "adamw as tfa has it", links="tensorflow/addons#2282")
def epsilon_hat_and_decay_without_lr(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - weight_decay * theta - lr * hat(g, t, s, **rates)


@mistake("adamw", "l2", "epsilon")
def epsilon_hat_and_l2(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * hat(g + weight_decay * theta, t, s, **rates)


@mistake("adamw", "adamw as bert has it")
def bert(theta, g, t, s, *, lr, weight_decay, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * (s.m / (np.sqrt(s.v) + eps) + weight_decay * theta)


@mistake("amsgrad", "after the bias correction", "epsilon inside the root")
def maximum_of_the_corrected_and_epsilon_inside(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    s.v_max = np.maximum(s.v_max, s.v / (1 - beta2**t))
    return theta - lr * s.m / (1 - beta1**t) / np.sqrt(s.v_max + eps)


@mistake("sgd(nesterov=True)", "t == 1", "b")
def dampened_from_the_start_and_not_ahead(theta, g, t, s, *, lr, momentum, dampening):
    s.b = momentum * s.b + (1 - dampening) * g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd(dampening=0.0, nesterov=True)", "lr")
def lr_in_the_buffer_and_not_ahead(theta, g, t, s, *, lr, momentum):
    s.u = momentum * s.u + lr * g
    return theta - s.u


@mistake("rmsprop", "rmsprop as optax has it")
def epsilon_inside_and_lr_in_the_buffer(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + lr * g / np.sqrt(s.v + eps)
    return theta - s.b


@mistake("lion", "beta1 and beta2 exchanged", "weight_decay_free")
def rates_exchanged_and_decay_without_lr(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    h = np.sign(beta2 * s.m + (1 - beta2) * g)
    s.m = beta1 * s.m + (1 - beta1) * g
    return theta - lr * h - weight_decay * theta


def norm(x):
    return np.sqrt(np.sum(np.square(x)))


@mistake("lamb", "l2 where weight_decay belongs")
def ratio_left_out_and_l2(theta, g, t, s, *, lr, weight_decay, beta1, beta2, eps):
    g = g + weight_decay * theta
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("lamb", "no bias correction", "the norm of the parameter is at most 10")
def uncorrected_and_clamped(theta, g, t, s, *, lr, weight_decay, beta1, beta2, eps):
    """As the first public implementation has it."""
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    h = s.m / (np.sqrt(s.v) + eps) + weight_decay * theta
    above, below = min(norm(theta), 10), norm(h)
    return theta - lr * (above / below if above > 0 and below > 0 else 1.0) * h


@mistake("adagrad", "s + eps", "initial_accumulator")
def adagrad_epsilon_inside_and_from_zero(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = s.s + g**2
    return theta - lr * g / np.sqrt(s.s + eps)


@mistake("adadelta", "lr", "u")
def step_with_its_rate_and_averaged_before(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    step = lr * np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * step**2
    return theta - lr * np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g


@mistake("nadam", "nadam as optax has it", "the second moment")
def constant_momentum_and_second_uncorrected(
    theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay
):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_bar = beta1 * s.m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
    return theta - lr * m_bar / (np.sqrt(s.v) + eps)


@mistake("adamax", "adamax as mlx has it")
def epsilon_outside_and_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, np.abs(g))
    return theta - lr * s.m / (s.u + eps)
