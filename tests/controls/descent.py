"""Gradient descent, Adagrad, Adadelta and RMSprop, right."""

from __future__ import annotations

import math

import numpy as np

from controls.control import Controls, fma

CONTROLS = control = Controls()


# Momentum


@control("sgd")
def fused_descent(theta, g, t, s, *, lr, momentum, dampening):
    f = theta.dtype.type
    if momentum:
        s.b = g if t == 1 else fma(f(momentum), s.b, f(1 - dampening) * g)
        g = s.b
    return fma(f(-lr), g, theta)


@control("sgd")
def negative_velocity(theta, g, t, s, *, lr, momentum, dampening):
    """The buffer points downwards."""
    first = t == 1 or not momentum
    s.b = -g if first else momentum * s.b - (1 - dampening) * g
    return theta + lr * s.b


@control("sgd")
def descent_in_double(theta, g, t, s, *, lr, momentum, dampening):
    wide = np.float64(g)
    s.b = wide if t == 1 or not momentum else momentum * s.b + (1 - dampening) * wide
    return theta - lr * s.b


@control("sgd")
def buffer_as_sum_of_the_past(theta, g, t, s, *, lr, momentum, dampening):
    """The gradient joins the old buffer, which is then scaled for the next step."""
    s.b = g if t == 1 else s.carried + (1 - dampening) * g
    s.carried = momentum * s.b
    return theta - lr * (s.b if momentum else g)


@control("sgd(dampening=0.0)")
class ConstantRate:
    """The learning rate inside the velocity: the same where the rate cannot change."""

    def __init__(self, params, *, lr, momentum):
        self.params, self.lr, self.momentum = params, lr, momentum
        self.velocities = [np.zeros_like(p) for p in params]

    def step(self, grads):
        for p, u, g in zip(self.params, self.velocities, grads, strict=True):
            if g is not None:
                u *= self.momentum
                u += self.lr * g
                p -= u
        return self.params


@control("sgd(dampening=0.0)")
def velocity_that_changes_with_the_rate(theta, g, t, s, *, lr, momentum):
    """The learning rate inside the velocity, which is taken out where the rate changes."""
    before = vars(s).get("rate", lr)
    s.u = momentum * (s.u * (lr / before)) + lr * g
    s.rate = lr
    return theta - s.u


@control("sgd(nesterov=True, dampening=0.0)", links="pytorch/pytorch#5920")
def nesterov_in_two_subtractions(theta, g, t, s, *, lr, momentum):
    s.b = momentum * s.b + g
    return theta - lr * g - lr * momentum * s.b


@control("sgd(nesterov=True, dampening=0.0)")
def nesterov_from_the_old_buffer(theta, g, t, s, *, lr, momentum):
    h = (1 + momentum) * g + momentum**2 * s.b
    s.b = momentum * s.b + g
    return theta - lr * h


@control("sgd(nesterov=True)")
def nesterov_dampened(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    return theta - (lr * g + (lr * momentum) * s.b)


@control("sgd_lr_inside(nesterov=True)", links="lisa-lab/pylearn2#1030 pytorch/pytorch#14465")
def nesterov_by_a_change_of_variables(theta, g, t, s, *, lr, momentum):
    """Sutskever's own variables: what is handed out is the point ahead."""
    s.x = vars(s).get("x", theta)
    s.u = momentum * s.u - lr * g
    s.x = s.x + s.u
    return s.x + momentum * s.u


@control("sgd_lr_inside(nesterov=True)")
def nesterov_of_the_lecture_notes(theta, g, t, s, *, lr, momentum):
    """``-mu*v_old + (1 + mu)*v``."""
    old = s.u
    s.u = momentum * s.u - lr * g
    return theta - momentum * old + (1 + momentum) * s.u


@control("sgd_lr_inside")
def velocity(theta, g, t, s, *, lr, momentum):
    s.u = momentum * s.u - lr * g
    return theta + s.u


@control("sgd_lr_inside")
def difference_of_positions(theta, g, t, s, *, lr, momentum):
    """Heavy ball: the last step is the difference of the last two positions, in double."""
    wide = np.float64(theta) if t == 1 else s.now
    before = vars(s).get("before", wide)
    s.now = wide - lr * np.float64(g) + momentum * (wide - before)
    s.before = wide
    return s.now


@control("sgd_ema")
def average_interpolated(theta, g, t, s, *, lr, momentum):
    s.m = s.m - (1 - momentum) * (s.m - g)
    return theta - lr * s.m


@control("sgd_zero_buffer")
def dampened_from_the_start(theta, g, t, s, *, lr, momentum, dampening):
    s.b = momentum * s.b - dampening * g + g
    return theta - lr * (s.b if momentum else g)


# Adagrad


@control("adagrad")
def reciprocal_adagrad(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = (np.full_like(g, initial_accumulator) if t == 1 else s.s) + g * g
    return theta - g * (lr * (1 / (np.sqrt(s.s) + eps)))


@control("adagrad")
def root_of_the_sum_as_state(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.root = np.hypot(math.sqrt(initial_accumulator) if t == 1 else s.root, g)
    return theta - lr * g / (s.root.astype(g.dtype) + eps)


@control("adagrad")
def sum_in_double(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.total = vars(s).get("total", initial_accumulator) + np.float64(g) ** 2
    return theta - lr * g / (np.sqrt(s.total) + eps)


@control("adagrad_epsilon_inside")
def reciprocal_root_of_adagrad(theta, g, t, s, *, lr, eps, initial_accumulator):
    s.s = fma(g, g, np.full_like(g, initial_accumulator) if t == 1 else s.s)
    return theta - lr * (1 / np.sqrt(s.s + eps)) * g


# Adadelta


@control("adadelta")
def one_root(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g * g
    h = np.sqrt((s.u + eps) / (s.v + eps)) * g
    s.u = s.u + (1 - rho) * (h * h - s.u)
    return theta - lr * h


@control("adadelta")
def root_times_reciprocal_root(theta, g, t, s, *, lr, rho, eps):
    s.v = s.v + (1 - rho) * (g * g - s.v)
    h = g * np.sqrt(s.u + eps) * (1 / np.sqrt(s.v + eps))
    s.u = rho * s.u + (1 - rho) * np.square(h)
    return theta - lr * h


@control("adadelta")
def accumulators_with_epsilon(theta, g, t, s, *, lr, rho, eps):
    """Both averages carry their epsilon with them."""
    v = s.v if t > 1 else np.full_like(g, eps)
    u = s.u if t > 1 else np.full_like(g, eps)
    s.v = rho * v + (1 - rho) * (g * g + eps)
    h = np.sqrt(u / s.v) * g
    s.u = rho * u + (1 - rho) * (h * h + eps)
    return theta - lr * h


# RMSprop


@control("rmsprop")
def rmsprop_interpolated(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = s.v + (1 - rho) * (g * g - s.v)
    s.b = momentum * s.b + g / (np.sqrt(s.v) + eps)
    return theta - lr * s.b


@control("rmsprop")
def rmsprop_by_reciprocals(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g * g
    s.b = momentum * s.b - g * (1 / (np.sqrt(s.v) + eps))
    return theta + lr * s.b


@control("rmsprop(momentum=0.0)")
def rmsprop_rate_first(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + g * g
    return theta - lr * g / (np.sqrt(s.v * (1 - rho)) + eps)


@control("rmsprop(centered=True)")
def centered_in_double(theta, g, t, s, *, lr, rho, eps, momentum):
    wide = np.float64(g)
    s.v = rho * s.v + (1 - rho) * wide**2
    s.m = rho * s.m + (1 - rho) * wide
    s.b = momentum * s.b + wide / (np.sqrt(np.maximum(s.v - s.m**2, 0)) + eps)
    return theta - lr * s.b


@control("rmsprop(centered=True)")
def variance_of_its_own(theta, g, t, s, *, lr, rho, eps, momentum):
    """Welford's form: the variance is averaged itself, and nothing cancels; zero at first."""
    wide = np.float64(g)
    old = np.float64(s.m)
    s.m = old + (1 - rho) * (wide - old)
    s.variance = rho * (s.variance + (1 - rho) * (wide - old) ** 2)
    s.b = momentum * s.b + wide / (np.sqrt(s.variance) + eps)
    return theta - lr * s.b


@control("rmsprop_epsilon_inside(centered=True)")
def centered_by_a_reciprocal_root(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = s.v + (1 - rho) * (g * g - s.v)
    s.m = s.m + (1 - rho) * (g - s.m)
    s.b = momentum * s.b + g * (1 / np.sqrt(fma(-s.m, s.m, s.v) + eps))
    return theta - lr * s.b


@control("rmsprop_epsilon_lr_inside(nesterov=False)")
def rmsprop_of_tensorflow(theta, g, t, s, *, lr, rho, eps, momentum, initial_accumulator):
    v = np.full_like(g, initial_accumulator) if t == 1 else s.v
    s.v = v + (g * g - v) * (1 - rho)
    s.u = momentum * s.u + lr * g * (1 / np.sqrt(s.v + eps))
    return theta - s.u
