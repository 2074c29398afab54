"""Optimizers of all kinds, wrong as in reports to libraries large and small."""

from __future__ import annotations

import math

import numpy as np

from mistakes.target import Mistakes, Target

MISTAKES = mistake = Mistakes()


def moments(g, s, beta1, beta2):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return s.m, s.v


def adam_step(g, t, s, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


def norm(x):
    return np.sqrt(np.sum(x**2))


def ratio(above, below):
    return above / below if above > 0 and below > 0 else 1.0


# Descent


@mistake("sgd(dampening=0.0)", "lr * b", links="dfdx/Boltzmann.jl#14")
def last_increment_times_the_rate(theta, g, t, s, *, lr, momentum):
    s.step = lr * (momentum * s.step + g)
    return theta - s.step


@mistake("sgd(dampening=0.0)", "lr * step")
def rate_applied_twice(theta, g, t, s, *, lr, momentum):
    s.b = momentum * s.b + lr * g
    return theta - lr * s.b


@mistake("sgd(nesterov=True, dampening=0.0)", "momentum * g + b")
def momentum_on_the_wrong_term(theta, g, t, s, *, lr, momentum):
    s.b = momentum * s.b + g
    return theta - lr * (momentum * g + s.b)


@mistake("adagrad", "s + xp.abs(g)")
def sum_of_magnitudes(theta, g, t, s, *, lr, eps):
    s.sum = s.sum + np.abs(g)
    return theta - lr * g / (np.sqrt(s.sum) + eps)


@mistake("rmsprop(momentum=0.0)", "starts at one instead of zero")
def average_that_starts_at_one(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * (np.ones_like(theta) if t == 1 else s.v) + (1 - rho) * g**2
    return theta - lr * g / (np.sqrt(s.v) + eps)


@mistake("rmsprop(momentum=0.0, centered=True)", "centered stays False")
def never_centered(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    return theta - lr * g / (np.sqrt(s.v) + eps)


@mistake("adadelta", "the learning rate is not applied", links="tensorflow/tensorflow#9058")
def no_learning_rate(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    step = np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * step**2
    return theta - step


# Adam


@mistake("adam", "xp.sqrt(v_hat) - eps", links="tensorflow/tensorflow#61411")
def epsilon_subtracted(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) - eps)


@mistake(
    "adam", links="LBANN/lbann#2467", unexplained="epsilon joins the gradient in two lines at once"
)
def epsilon_joins_the_gradient(theta, g, t, s, *, lr, beta1, beta2, eps):
    return theta - lr * adam_step(g + eps, t, s, beta1, beta2, eps)


@mistake("radam", "epsilon inside the root", links="CyberZHG/keras-radam#29")
def epsilon_under_the_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    inf = 2 / (1 - beta2) - 1
    rho = inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 4:
        return theta - lr * m_hat
    r = math.sqrt((rho - 4) * (rho - 2) * inf / ((inf - 4) * (inf - 2) * rho))
    return theta - lr * r * m_hat / np.sqrt(v_hat + eps)


@mistake("radam", "v_hat = v", links="kozistr/pytorch_optimizer#354")
def second_moment_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    m_hat = m / (1 - beta1**t)
    inf = 2 / (1 - beta2) - 1
    rho = inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 4:
        return theta - lr * m_hat
    r = math.sqrt((rho - 4) * (rho - 2) * inf / ((inf - 4) * (inf - 2) * rho))
    return theta - lr * r * m_hat / (np.sqrt(v) + eps)


@mistake("adam", "the step count is one too small", links="tracel-ai/burn#630")
def count_from_zero(theta, g, t, s, *, lr, beta1, beta2, eps):
    return theta - lr * adam_step(g, t - 1, s, beta1, beta2, eps)


@mistake("adam", "v_old / (1 - beta2**t)", links="kozistr/pytorch_optimizer#347")
def second_moment_joined_afterwards(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    new = theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return new


@mistake("adam", "the second moment is corrected by beta2")
def correction_outside_the_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v) / (1 - beta2**t) + eps)


@mistake("adam", "epsilon-hat", "correction = (1 - beta2**t)")
def rate_without_a_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    rate = lr * (1 - beta2**t) / (1 - beta1**t)
    return theta - rate * m / (np.sqrt(v) + eps)


@mistake("adam", "m_old / (1 - beta1**t)")
def old_first_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    old = s.m
    _, v = moments(g, s, beta1, beta2)
    return theta - lr * old / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("amsgrad", "the minimum instead of the maximum")
def minimum_for_the_maximum(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    s.top = np.minimum(s.top, v)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(s.top / (1 - beta2**t)) + eps)


@mistake("adamax", "u / (1 - beta2**t)")
def norm_corrected_as_well(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, np.abs(g) + eps)
    return theta - lr * s.m / (1 - beta1**t) / (s.u / (1 - beta2**t))


@mistake("nadam", "mu_product = mu", links="FluxML/Flux.jl#789")
def product_that_does_not_accumulate(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    m, v = moments(g, s, beta1, beta2)
    bar = mu_next * m / (1 - mu * mu_next) + (1 - mu) * g / (1 - mu)
    return theta - lr * bar / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("nadam", "mu * m / (1 - mu_product * mu_next)")
def momentum_of_this_step_in_both(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    s.product = (1.0 if t == 1 else s.product) * mu
    m, v = moments(g, s, beta1, beta2)
    bar = mu * m / (1 - s.product * mu_next) + (1 - mu) * g / (1 - s.product)
    return theta - lr * bar / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("lion", unexplained="values between -1 and 1 in place of signs")
def clipped_for_signed(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    c = beta1 * s.m + (1 - beta1) * g
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr * (np.clip(c, -1, 1) + weight_decay * theta)


# Decay


@mistake("adamw", links="google-deepmind/optax#1787", unexplained="the decay divides")
def proximal_decay(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps)
    return (theta - lr * h) / (1 + lr * weight_decay)


@mistake("adamw", unexplained="a decay before the step and one after it")
def decay_before_and_after(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    theta = theta * (1 - lr * weight_decay)
    theta = theta - lr * adam_step(g, t, s, beta1, beta2, eps)
    return theta * (1 - lr * weight_decay)


@mistake("adamw", unexplained="a decay of all but vectors")
def vectors_do_not_decay(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * (h if theta.ndim == 1 else h + weight_decay * theta)


@mistake("l2(sgd(momentum=0.0))", "theta**2")
def penalty_itself(theta, g, t, s, *, lr, weight_decay):
    """Adds the penalty, and not its derivative."""
    return theta - lr * (g + weight_decay * theta**2)


@mistake("l2(adam)", unexplained="the learning rate joins the penalty")
def penalty_by_the_rate(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    return theta - lr * adam_step(g + lr * weight_decay * theta, t, s, beta1, beta2, eps)


# Layers


@mistake("lamb", "return h, m_hat, v_hat", links="stockeh/mlx-optimizers#36")
def corrected_moments_are_kept(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    moments(g, s, beta1, beta2)
    s.m, s.v = s.m / (1 - beta1**t), s.v / (1 - beta2**t)
    h = s.m / (np.sqrt(s.v) + eps) + weight_decay * theta
    return theta - lr * ratio(norm(theta), norm(h)) * h


@mistake("lamb", "norm_h = xp.sqrt(xp.sum(g**2))")
def norm_of_the_gradient(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps) + weight_decay * theta
    return theta - lr * ratio(norm(theta), norm(g)) * h


@mistake("lamb", "norm_h / norm_theta")
def ratio_upside_down(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps) + weight_decay * theta
    return theta - lr * ratio(norm(h), norm(theta)) * h


@mistake("lookahead(sgd(momentum=0.0))", "the outermost variant acts before the step")
def synchronises_before_the_step(theta, g, t, s, *, lr, k, alpha):
    if t == 1:
        s.slow = theta
    if t % k == 0:
        s.slow = theta = s.slow + alpha * (theta - s.slow)
    return theta - lr * g


@mistake("clip_by_global_norm(sgd(momentum=0.0))", "the norm is the sum of the norms")
class SumOfTheNorms(Target):
    def step(self, grads):
        h = self.hyperparameters
        total = sum(norm(g) for g in grads if g is not None)
        factor = h["max_norm"] / max(total, h["max_norm"])
        for i, g in enumerate(grads):
            if g is not None:
                self.params[i] = np.asarray(self.params[i] - h["lr"] * factor * g, g.dtype)
        return self.params

    formula = staticmethod(lambda theta, g, t, s, *, lr, max_norm: theta)


@mistake("clip_by_value(sgd(momentum=0.0))", unexplained="two limits are exchanged")
def limits_exchanged(theta, g, t, s, *, lr, max_value):
    return theta - lr * np.minimum(np.maximum(g, max_value), -max_value)


@mistake("gradient_accumulation(sgd(momentum=0.0))", unexplained="the mean with what there is")
class AverageOfAverages(Target):
    """Each gradient is averaged with what there is, so that the last one weighs a half."""

    def __init__(self, params, *, lr, k):
        super().__init__(params, lr=lr, k=k)
        self.calls, self.lr, self.k = 0, lr, k
        self.means = [np.zeros_like(p) for p in params]

    def step(self, grads):
        self.calls += 1
        first = self.calls % self.k == 1 % self.k
        for i, (p, g) in enumerate(zip(self.params, grads, strict=True)):
            g = np.zeros_like(p) if g is None else np.array(g)
            self.means[i] = g if first else (self.means[i] + g) / 2
            if self.calls % self.k == 0:
                self.params[i] = np.asarray(p - self.lr * self.means[i])
        return self.params

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return self.calls, [m.copy() for m in self.means]

    def load_state_dict(self, state):
        self.calls, means = state
        self.means = [m.copy() for m in means]


# Schedules


@mistake("warmup(sgd(momentum=0.0), warmup_steps=4)", "warmup_steps is one too large")
def warmup_of_one_step_more(theta, g, t, s, *, lr):
    return theta - lr * min(1.0, t / 5) * g


@mistake(
    "cosine(sgd(momentum=0.0), decay_steps=8, end_factor=0.1)",
    unexplained="a factor of two inside the cosine",
)
def whole_cosine(theta, g, t, s, *, lr):
    factor = 0.1 + 0.9 * (1 + math.cos(2 * math.pi * min(1, (t - 1) / 8))) / 2
    return theta - lr * factor * g


@mistake(
    "polynomial(sgd(momentum=0.0), decay_steps=8, power=2.0, end_factor=0.1)",
    unexplained="a power inside its parentheses",
)
def power_inside(theta, g, t, s, *, lr):
    factor = 0.1 + 0.9 * (1 - min(1, (t - 1) / 8) ** 2)
    return theta - lr * factor * g


@mistake("exponential(sgd(momentum=0.0), decay_rate=0.4, decay_steps=4)", "decay_rate**(t - 1)")
def decay_in_every_step(theta, g, t, s, *, lr):
    return theta - lr * 0.4 ** (t - 1) * g


@mistake(
    "cosine(sgd(momentum=0.0), decay_steps=8, end_factor=0.1)",
    "cosine is attached after the first step",
    links="lindermanlab/S5#11",
)
def first_step_before_the_schedule(theta, g, t, s, *, lr):
    factor = 0.1 + 0.9 * (1 + math.cos(math.pi * min(1, max(0, t - 2) / 8))) / 2
    return theta - lr * factor * g


# Memory and precision


@mistake("adam", "the step count is one too large after loading")
class LoadsTheNextStep(Target):
    """The count is saved before it advances, and advanced by loading as well."""

    formula = staticmethod(
        lambda theta, g, t, s, *, lr, beta1, beta2, eps: (
            theta - lr * adam_step(g, t, s, beta1, beta2, eps)
        )
    )

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.counts = [t + 1 for t in self.counts]


@mistake("sgd(dampening=0.0)", "parameters are kept in float16")
def parameters_in_half_precision(theta, g, t, s, *, lr, momentum):
    s.b = momentum * s.b + g
    return (theta - lr * (s.b if momentum else g)).astype(np.float16).astype(theta.dtype)


@mistake("adam", "lr is rounded to float16")
def rate_in_half_precision(theta, g, t, s, *, lr, beta1, beta2, eps):
    return theta - float(np.float16(lr)) * adam_step(g, t, s, beta1, beta2, eps)


@mistake("adam", "the second moment is not saved")
class SecondMomentIsNotSaved(Target):
    formula = staticmethod(
        lambda theta, g, t, s, *, lr, beta1, beta2, eps: (
            theta - lr * adam_step(g, t, s, beta1, beta2, eps)
        )
    )

    def load_state_dict(self, state):
        super().load_state_dict(state)
        for s in self.states:
            s.v = np.zeros_like(s.m)


@mistake("adam", "the first gradient only sets up the state")
class FirstStepIsLost(Target):
    """The first call only sets up the state, as where it is made lazily by an early return."""

    formula = staticmethod(
        lambda theta, g, t, s, *, lr, beta1, beta2, eps: (
            theta - lr * adam_step(g, t - 1, s, beta1, beta2, eps)
        )
    )

    def update(self, i, g):
        if self.counts[i] > 1:
            super().update(i, g)
