"""Right targets whose formulas are rearranged: folded factors, running means, other state."""

from __future__ import annotations

import math

import numpy as np

from controls.control import Controls

CONTROLS = control = Controls()


# Adam


@control("adam", links="BVLC/caffe#4224")
def correction_folded_into_rate_and_epsilon(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g * g
    root = math.sqrt(1 - beta2**t)
    return theta - lr * root / (1 - beta1**t) * s.m / (np.sqrt(s.v) + eps * root)


@control("adam")
def moments_without_their_weights(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The weight of the new gradient is applied where the moment is read."""
    s.m = beta1 * s.m + g
    s.v = beta2 * s.v + g * g
    m_hat = s.m * ((1 - beta1) / (1 - beta1**t))
    v_hat = s.v * ((1 - beta2) / (1 - beta2**t))
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@control("adam")
def running_means(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The corrected moments are themselves the state, as averages with falling weights."""
    first = (1 - beta1) / (1 - beta1**t)
    second = (1 - beta2) / (1 - beta2**t)
    s.m = (1 - first) * s.m + first * g
    s.v = (1 - second) * s.v + second * g * g
    return theta - lr * s.m / (np.sqrt(s.v) + eps)


@control("adam")
def root_of_the_second_moment_as_state(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.r = np.hypot(math.sqrt(beta2) * s.r, math.sqrt(1 - beta2) * g)
    return theta - lr * s.m / (1 - beta1**t) / (s.r / math.sqrt(1 - beta2**t) + eps)


@control("adam")
def running_powers_in_double(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.power1 = beta1 * (s.power1 if t > 1 else 1.0)
    s.power2 = beta2 * (s.power2 if t > 1 else 1.0)
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat, v_hat = s.m / (1 - s.power1), s.v / (1 - s.power2)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@control("adam")
def correction_by_expm1(theta, g, t, s, *, lr, beta1, beta2, eps):
    """In double precision, where the exponential of a logarithm is good enough."""
    correction1 = -math.expm1(t * math.log(beta1)) if beta1 else 1.0
    correction2 = -math.expm1(t * math.log(beta2)) if beta2 else 1.0
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * (s.m / correction1) / (np.sqrt(s.v / correction2) + eps)


@control("adam")
def reciprocal_of_the_denominator(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = s.m + (g - s.m) * (1 - beta1)
    s.v = s.v + (g * g - s.v) * (1 - beta2)
    inverse = 1 / (np.sqrt(s.v * (1 / (1 - beta2**t))) + eps)
    return theta - (lr * (1 / (1 - beta1**t))) * (s.m * inverse)


@control("adamw")
def decay_and_step_at_once(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    h = s.m / (np.sqrt(s.v / (1 - beta2**t)) + eps)
    return (1 - lr * weight_decay) * theta - lr / (1 - beta1**t) * h


@control("adamw")
def decay_after_from_the_old_parameter(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    old = theta.copy()
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    theta = theta - lr * (s.m / (1 - beta1**t)) / (np.sqrt(s.v / (1 - beta2**t)) + eps)
    return theta - lr * weight_decay * old


@control("adamw", links="pytorch/pytorch#64475")
def decay_as_a_step_of_its_own(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    theta = theta - lr * weight_decay * theta
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * (s.m / (1 - beta1**t)) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@control("amsgrad")
def corrected_maximum(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = s.m * beta1 + g * (1 - beta1)
    s.v = s.v * beta2 + g * g * (1 - beta2)
    s.top = np.where(s.v > s.top, s.v, s.top)
    root = math.sqrt(1 - beta2**t)
    return theta - (lr * root / (1 - beta1**t)) * (s.m / (np.sqrt(s.top) + root * eps))


@control("nadam")
def nadam_in_two_steps(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu = beta1 * (1.0 - 0.5 * (0.96 ** (t * momentum_decay)))
    mu_next = beta1 * (1.0 - 0.5 * (0.96 ** ((t + 1) * momentum_decay)))
    s.product = (s.product if t > 1 else 1.0) * mu
    s.m = s.m + (1 - beta1) * (g - s.m)
    s.v = beta2 * s.v + (1 - beta2) * g * g
    root = np.sqrt(s.v / (1 - beta2**t)) + eps
    theta = theta - lr * (1.0 - mu) / (1.0 - s.product) * (g / root)
    return theta - lr * mu_next / (1.0 - s.product * mu_next) * (s.m / root)


@control("radam")
def radam_with_two_branches(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g * g
    length = 2 / (1 - beta2) - 1
    power = beta2**t
    now = length - 2 * t * power / (1 - power)
    rate = lr / (1 - beta1**t)
    if now <= 4:
        return theta - rate * s.m
    factor = math.sqrt((now - 4) / (length - 4) * (now - 2) / (length - 2) * length / now)
    return theta - rate * factor * s.m / (np.sqrt(s.v / (1 - power)) + eps)


# Momentum


@control("sgd(nesterov=True, dampening=0.0)", links="apache/mxnet#15543")
class NesterovOfALecture:
    """``p += -mu * v_before + (1 + mu) * v``: the same where the rate cannot change."""

    def __init__(self, params, *, lr, momentum):
        self.params, self.lr, self.mu = params, lr, momentum
        self.velocities = [np.zeros_like(p) for p in params]

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            before = self.velocities[i]
            v = self.mu * before - self.lr * g
            self.params[i] = np.asarray(self.params[i] - self.mu * before + (1 + self.mu) * v)
            self.velocities[i] = v
        return self.params


@control("sgd(nesterov=True, dampening=0.0)", links="keras-team/keras#966")
class NesterovMultipliedOut:
    """``p + mu**2 * v - (1 + mu) * lr * g``."""

    def __init__(self, params, *, lr, momentum):
        self.params, self.lr, self.mu = params, lr, momentum
        self.velocities = [np.zeros_like(p) for p in params]

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            v = self.velocities[i]
            step = self.mu**2 * v - (1 + self.mu) * self.lr * g
            self.velocities[i] = self.mu * v - self.lr * g
            self.params[i] = np.asarray(self.params[i] + step)
        return self.params


@control("sgd")
def buffer_of_scaled_gradients(theta, g, t, s, *, lr, momentum, dampening):
    """The first gradient is divided by what all others are multiplied by."""
    weight = 1 - dampening
    s.b = g / weight if t == 1 else momentum * s.b + g
    return theta - lr * weight * s.b if momentum else theta - lr * g


@control("l2(sgd(momentum=0.0))")
def penalty_as_shrinkage(theta, g, t, s, *, lr, weight_decay):
    return theta * (1 - lr * weight_decay) - lr * g


# Sums and averages of squares


@control("adagrad")
def rate_divided_first(theta, g, t, s, *, lr, eps):
    s.sum = s.sum + np.square(g)
    return theta - (lr / (np.sqrt(s.sum) + eps)) * g


@control("adagrad")
def norm_as_state(theta, g, t, s, *, lr, eps):
    s.norm = np.hypot(s.norm, g)
    return theta - lr * g / (s.norm + eps)


@control("rmsprop(momentum=0.0, centered=True)")
def variance_from_factors(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    s.m = rho * s.m + (1 - rho) * g
    return theta - lr * g / (np.sqrt(s.v - np.square(s.m)) + eps)


@control("rmsprop")
def step_then_momentum(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = s.v + (1 - rho) * (g * g - s.v)
    h = g * (1 / (np.sqrt(s.v) + eps))
    s.b = h + momentum * s.b
    return theta - s.b * lr


@control("adadelta")
def quotient_of_roots(theta, g, t, s, *, lr, rho, eps):
    s.v = s.v * rho + g * g * (1 - rho)
    h = np.sqrt(s.u + eps) * (g / np.sqrt(s.v + eps))
    s.u = s.u * rho + h * h * (1 - rho)
    return theta - lr * h


# Norms


def adam_direction(g, t, s, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@control("lamb")
def ratio_of_root_mean_squares(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    """Both norms are divided by the root of the same number of elements."""
    h = adam_direction(g, t, s, beta1, beta2, eps) + weight_decay * theta
    if not theta.any() or not h.any():
        return theta - lr * h
    ratio = np.sqrt(np.mean(theta**2)) / np.sqrt(np.mean(h**2))
    return theta - lr * ratio * h


@control("lamb")
def root_of_the_quotient(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_direction(g, t, s, beta1, beta2, eps) + weight_decay * theta
    above, below = np.vdot(theta, theta), np.vdot(h, h)
    return theta - lr * (np.sqrt(above / below) if above and below else 1.0) * h


@control("lamb")
def unit_vector_times_the_norm(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = np.asarray(adam_direction(g, t, s, beta1, beta2, eps) + weight_decay * theta)
    above, below = np.linalg.norm(theta.reshape(-1)), np.linalg.norm(h.reshape(-1))
    if above == 0 or below == 0:
        return theta - lr * h
    return theta - lr * above * (h / below)


@control("clip_by_norm(sgd(momentum=0.0))", links="apache/mxnet#9291")
def clipped_only_where_needed(theta, g, t, s, *, lr, max_norm):
    norm = math.sqrt(float(np.sum(np.float64(g) ** 2)))
    return theta - lr * (g / (norm / max_norm) if norm > max_norm else g)


@control("clip_by_value(sgd(momentum=0.0))")
def clipped_by_magnitude(theta, g, t, s, *, lr, max_value):
    return theta - lr * np.copysign(np.fmin(np.abs(g), max_value), g)


@control("gradient_centralization(sgd(momentum=0.0))")
def centralized_by_a_sum(theta, g, t, s, *, lr):
    if g.ndim > 1:
        rows = g.reshape(g.shape[0], -1)
        g = (rows - rows.sum(axis=1, keepdims=True) / rows.shape[1]).reshape(g.shape)
    return theta - lr * g


# Schedules


@control("exponential(sgd(momentum=0.0), decay_rate=0.4, decay_steps=4)")
def exponential_of_a_logarithm(theta, g, t, s, *, lr):
    return theta - lr * math.exp(math.log(0.4) * (t - 1) / 4) * g


@control("exponential(sgd(momentum=0.0), decay_rate=0.4, decay_steps=4)")
def exponential_step_by_step(theta, g, t, s, *, lr):
    """In double precision, each factor from the last."""
    s.factor = 1.0 if t == 1 else s.factor * 0.4**0.25
    return theta - lr * s.factor * g


@control("cosine(sgd(momentum=0.0), decay_steps=8)")
def cosine_of_the_half_angle(theta, g, t, s, *, lr):
    return theta - lr * math.cos(math.pi / 2 * min(1.0, (t - 1) / 8)) ** 2 * g


@control("piecewise_linear(sgd(momentum=0.0), schedule={2: 0.3, 5: 1.0, 9: 0.6})")
def piecewise_by_interpolation(theta, g, t, s, *, lr):
    return theta - lr * np.interp(t, [0, 2, 5, 9], [0.0, 0.3, 1.0, 0.6]) * g


@control("polynomial(sgd(momentum=0.0), decay_steps=8, power=2.0, end_factor=0.1)")
def polynomial_of_what_is_left(theta, g, t, s, *, lr):
    left = max(0, 8 - (t - 1)) / 8
    return theta - lr * (0.9 * left * left + 0.1) * g


@control("warmup(sgd(momentum=0.0), warmup_steps=4)")
def warmup_in_a_closure(theta, g, t, s, *, lr):
    rate = lr if t >= 4 else lr * 0.25 * t
    return theta - rate * g


@control("inverse_sqrt(sgd(momentum=0.0), warmup_steps=4)")
def inverse_root_in_two_branches(theta, g, t, s, *, lr):
    return theta - lr * (t / 8 if t < 4 else 1 / math.sqrt(t)) * g
