"""Adagrad, Adadelta and RMSprop, wrong."""

from __future__ import annotations

import numpy as np

from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


# Adagrad


@mistake("adagrad", "the step goes up", entry=77, links="PaddlePaddle/Paddle#4743")
def adagrad_ascends(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = (initial_accumulator if t == 1 else s.s) + g**2
    return theta + lr * g / (np.sqrt(s.s) + eps)


@mistake("adagrad", "epsilon is added inside the root")
def adagrad_epsilon_inside(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = (initial_accumulator if t == 1 else s.s) + g**2
    return theta - lr * g / np.sqrt(s.s + eps)


@mistake("adagrad", "h = g / (s + eps)")
def adagrad_without_root(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = (initial_accumulator if t == 1 else s.s) + g**2
    return theta - lr * g / (s.s + eps)


@mistake("adagrad", "s_old")
def adagrad_divides_before_it_adds(theta, g, t, s, *, lr, eps, initial_accumulator):
    old = np.full_like(g, initial_accumulator) if t == 1 else s.s
    s.s = old + g**2
    return theta - lr * g / (np.sqrt(old) + eps)


@mistake("adagrad", "initial_accumulator stays 0.0")
def initial_accumulator_ignored(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = s.s + g**2
    return theta - lr * g / (np.sqrt(s.s) + eps)


@mistake("adagrad", "s = s + xp.abs(g)")
def gradients_not_squared(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = (initial_accumulator if t == 1 else s.s) + np.abs(g)
    return theta - lr * g / (np.sqrt(s.s) + eps)


@mistake("adagrad", "s = g**2")
def squares_not_summed(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = g**2
    return theta - lr * g / (np.sqrt(s.s) + eps)


@mistake("adagrad", "initial_accumulator**2")
def initial_accumulator_squared(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = (initial_accumulator**2 if t == 1 else s.s) + g**2
    return theta - lr * g / (np.sqrt(s.s) + eps)


@mistake("adagrad", "s + eps")
def adagrad_epsilon_accumulates(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = (initial_accumulator if t == 1 else s.s) + g**2 + eps
    return theta - lr * g / np.sqrt(s.s)


@mistake("adagrad", "s", "t")
def mean_of_squares(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = (initial_accumulator if t == 1 else s.s) + g**2
    return theta - lr * g / (np.sqrt(s.s / t) + eps)


# Adadelta


@mistake(
    "adadelta",
    "u",
    entry=73,
    links="yacineMahdid/artificial-intelligence-and-machine-learning#43",
)
def steps_averaged_before_the_step(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    h = np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * h**2
    return theta - lr * np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g


@mistake("adadelta", "h**2", "lr")
def steps_with_their_rate(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    step = lr * np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * step**2
    return theta - step


@mistake("adadelta", "(1 - rho) * g**2")
def squares_of_the_gradient_twice(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    h = np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * g**2
    return theta - lr * h


@mistake("adadelta", "xp.sqrt(v + eps) / xp.sqrt(u + eps)")
def ratio_upside_down(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    h = np.sqrt(s.v + eps) / np.sqrt(s.u + eps) * g
    s.u = rho * s.u + (1 - rho) * h**2
    return theta - lr * h


@mistake("adadelta", "xp.sqrt(u) + eps", "xp.sqrt(v) + eps")
def adadelta_epsilon_outside(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    h = (np.sqrt(s.u) + eps) / (np.sqrt(s.v) + eps) * g
    s.u = rho * s.u + (1 - rho) * h**2
    return theta - lr * h


@mistake("adadelta", "xp.sqrt(u + eps) / xp.sqrt(v) * g")
def epsilon_above_only(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    h = np.sqrt(s.u + eps) / np.sqrt(s.v) * g
    s.u = rho * s.u + (1 - rho) * h**2
    return theta - lr * h


@mistake("adadelta", "u = u + ")
def steps_summed(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    h = np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = s.u + (1 - rho) * h**2
    return theta - lr * h


@mistake("adadelta", "learning rate")
def adadelta_without_rate(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    h = np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * h**2
    return theta - h


@mistake("adadelta", "is not updated")
def steps_never_averaged(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    return theta - lr * np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g


# RMSprop


@mistake("rmsprop", "rmsprop_epsilon_inside", links="keras-team/keras#435")
def rmsprop_epsilon_inside(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + g / np.sqrt(s.v + eps)
    return theta - lr * s.b


@mistake("rmsprop", "(1 - rho) * v + rho * g**2")
def rate_for_its_complement(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = (1 - rho) * s.v + rho * g**2
    s.b = momentum * s.b + g / (np.sqrt(s.v) + eps)
    return theta - lr * s.b


@mistake("rmsprop(centered=True)", "centered stays False")
def not_centered(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + g / (np.sqrt(s.v) + eps)
    return theta - lr * s.b


@mistake("rmsprop(centered=True)", "centered, v - m, v")
def mean_not_squared(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.m = rho * s.m + (1 - rho) * g
    s.b = momentum * s.b + g / (np.sqrt(np.maximum(s.v - s.m, 0)) + eps)
    return theta - lr * s.b


@mistake("rmsprop(centered=True)", "centered, v + m**2, v")
def mean_added(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.m = rho * s.m + (1 - rho) * g
    s.b = momentum * s.b + g / (np.sqrt(s.v + s.m**2) + eps)
    return theta - lr * s.b


@mistake("rmsprop(centered=True)", "m_old", "where it is negative")
def centered_by_the_old_mean(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    variance = s.v - s.m**2
    s.m = rho * s.m + (1 - rho) * g
    s.b = momentum * s.b + g / (np.sqrt(np.maximum(variance, 0)) + eps)
    return theta - lr * s.b


@mistake("rmsprop", "the learning rate is inside the momentum buffer")
def rmsprop_lr_in_the_buffer(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + lr * g / (np.sqrt(s.v) + eps)
    return theta - s.b


@mistake("rmsprop", "momentum * b + g")
def momentum_of_the_gradient(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + g
    return theta - lr * s.b / (np.sqrt(s.v) + eps)


@mistake("rmsprop", "(1 - momentum) * h")
def average_of_directions(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + (1 - momentum) * g / (np.sqrt(s.v) + eps)
    return theta - lr * s.b


@mistake("rmsprop", "momentum stays 0.0")
def rmsprop_momentum_ignored(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    return theta - lr * g / (np.sqrt(s.v) + eps)


@mistake("rmsprop", "v / (1 - rho**t)")
def rmsprop_corrected(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + g / (np.sqrt(s.v / (1 - rho**t)) + eps)
    return theta - lr * s.b


@mistake("rmsprop", "1")
def average_starts_at_one(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * (np.ones_like(g) if t == 1 else s.v) + (1 - rho) * g**2
    s.b = momentum * s.b + g / (np.sqrt(s.v) + eps)
    return theta - lr * s.b


@mistake("rmsprop", "rho stays 0.9")
def rho_ignored(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = 0.9 * s.v + 0.1 * g**2
    s.b = momentum * s.b + g / (np.sqrt(s.v) + eps)
    return theta - lr * s.b


@mistake("rmsprop", "v_old")
def rmsprop_divides_before_it_averages(theta, g, t, s, *, lr, rho, eps, momentum):
    old = s.v
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + g / (np.sqrt(old) + eps)
    return theta - lr * s.b
