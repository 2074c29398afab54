"""What courses correct: optimizers written by hand, most of them with one slip."""

from __future__ import annotations

import math

import numpy as np

from mistakes.target import Mistakes, Target

MISTAKES = mistake = Mistakes()


def adam_step(g, t, s, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


def norm(x):
    return np.sqrt(np.sum(x**2))


# Descent


@mistake("sgd(dampening=0.0)", "sgd_ema where sgd belongs", "(1 - momentum) * (lr * g)")
def average_of_scaled_gradients(theta, g, t, s, *, lr, momentum):
    s.u = momentum * s.u + (1 - momentum) * lr * g
    return theta - s.u


@mistake("sgd(dampening=0.0)", "is multiplied by momentum")
def momentum_of_both(theta, g, t, s, *, lr, momentum):
    s.b = momentum * (s.b + g)
    return theta - lr * (s.b if momentum else g)


@mistake("sgd(dampening=0.0)", "momentum * b is subtracted")
def buffer_subtracted(theta, g, t, s, *, lr, momentum):
    s.b = g - momentum * s.b
    return theta - lr * s.b


@mistake("sgd", "dampening instead of 1 minus it", links="pytorch/pytorch#152833")
def dampening_as_the_weight(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + dampening * g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd", unexplained="the dampening of the whole buffer")
def dampening_of_the_buffer(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else (1 - dampening) * (momentum * s.b + g)
    return theta - lr * (s.b if momentum else g)


@mistake("sgd(momentum=0.0)", "the step goes up instead of down", links="karpathy/convnetjs#70")
def up_the_hill(theta, g, t, s, *, lr):
    return theta + lr * g


@mistake("sgd(dampening=0.0)", unexplained="a step that is taken twice with one gradient")
class StepsTwice(Target):
    """``step()`` is called by the trainer, and by its hook."""

    formula = staticmethod(lambda theta, g, t, s, *, lr, momentum: theta)

    def update(self, i, g):
        h, s = self.hyperparameters, self.states[i]
        for _ in range(2):
            s.b = h["momentum"] * s.b + g
            step = h["lr"] * (s.b if h["momentum"] else g)
            self.params[i] = np.asarray(self.params[i] - step)


@mistake("adagrad", "s = s + g")
def sum_of_gradients(theta, g, t, s, *, lr, eps):
    s.sum = s.sum + g
    return theta - lr * g / (np.sqrt(s.sum) + eps)


@mistake("rmsprop(momentum=0.0)", "the gradient is not squared")
def average_of_gradients(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g
    return theta - lr * g / (np.sqrt(s.v) + eps)


@mistake("rmsprop(momentum=0.0)", "the second moment is corrected by rho")
def corrected_average(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    return theta - lr * g / (np.sqrt(s.v / (1 - rho**t)) + eps)


@mistake("adadelta", "epsilon outside the root")
def epsilon_outside_below(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    step = np.sqrt(s.u + eps) / (np.sqrt(s.v) + eps) * g
    s.u = rho * s.u + (1 - rho) * step**2
    return theta - lr * step


# Adam


@mistake("adam", "beta1 and beta2 exchanged")
def betas_exchanged(theta, g, t, s, *, lr, beta1, beta2, eps):
    return theta - lr * adam_step(g, t, s, beta2, beta1, eps)


@mistake("adam", "m / (1 - beta2**t)", "v / (1 - beta1**t)")
def corrections_exchanged(theta, g, t, s, *, lr, beta1, beta2, eps):
    adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * s.m / (1 - beta2**t) / (np.sqrt(s.v / (1 - beta1**t)) + eps)


@mistake("adam", "v + (1 - beta2) * g**2")
def squares_that_do_not_decay(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = s.v + (1 - beta2) * g**2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adam", "beta1 * m + g")
def first_moment_as_a_sum(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adam", "eps**2")
def epsilon_squared(theta, g, t, s, *, lr, beta1, beta2, eps):
    adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * s.m / (1 - beta1**t) / np.sqrt(s.v / (1 - beta2**t) + eps**2)


@mistake("adam", "(v + eps) / (1 - beta2**t)", "epsilon is left out")
def epsilon_hat_under_the_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    adam_step(g, t, s, beta1, beta2, eps)
    rate = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - rate * s.m / np.sqrt(s.v + eps)


@mistake("adam", unexplained="a schedule that nobody asked for")
def rate_falls_with_the_root_of_time(theta, g, t, s, *, lr, beta1, beta2, eps):
    return theta - lr / math.sqrt(t) * adam_step(g, t, s, beta1, beta2, eps)


@mistake("adam", "amsgrad where adam belongs")
def maximum_nobody_asked_for(theta, g, t, s, *, lr, beta1, beta2, eps):
    adam_step(g, t, s, beta1, beta2, eps)
    s.top = np.maximum(s.top, s.v)
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.top / (1 - beta2**t)) + eps)


@mistake("adam", "the step count advances twice")
def counted_twice(theta, g, t, s, *, lr, beta1, beta2, eps):
    return theta - lr * adam_step(g, 2 * t, s, beta1, beta2, eps)


@mistake("adam", "no bias correction", "epsilon inside the root")
def no_correction_and_no_epsilon_outside(theta, g, t, s, *, lr, beta1, beta2, eps):
    adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * s.m / np.sqrt(s.v + eps)


@mistake("adam", "without the root")
def divided_by_the_second_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * s.m / (1 - beta1**t) / (s.v / (1 - beta2**t) + eps)


@mistake("adam", "g / (xp.sqrt(v_hat) + eps)")
def gradient_for_the_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * g / (np.sqrt(s.v / (1 - beta2**t)) + eps)


# Decay


@mistake("adamw", "weight_decay * xp.sign(theta)")
def decay_by_the_sign(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    return theta - lr * (adam_step(g, t, s, beta1, beta2, eps) + weight_decay * np.sign(theta))


@mistake("adamw", "weight_decay_free_after")
def free_decay_afterwards(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    theta = theta - lr * adam_step(g, t, s, beta1, beta2, eps)
    return theta - weight_decay * theta


@mistake("l2(rmsprop(momentum=0.0))", "the decay is halved")
def half_of_the_penalty(theta, g, t, s, *, lr, rho, eps, weight_decay):
    g = g + 0.5 * weight_decay * theta
    s.v = rho * s.v + (1 - rho) * g**2
    return theta - lr * g / (np.sqrt(s.v) + eps)


@mistake("lion", "beta1 and beta2 exchanged")
def lion_with_betas_exchanged(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    c = beta2 * s.m + (1 - beta2) * g
    s.m = beta1 * s.m + (1 - beta1) * g
    return theta - lr * (np.sign(c) + weight_decay * theta)


@mistake("lion", "weight_decay_free instead")
def lion_that_decays_without_the_rate(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    c = beta1 * s.m + (1 - beta1) * g
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr * np.sign(c) - weight_decay * theta


# Layers


@mistake("lamb", "at most 10", links="cybertronai/pytorch-lamb#5")
def norm_of_ten_at_most(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps) + weight_decay * theta
    above, below = min(norm(theta), 10.0), norm(h)
    return theta - lr * (above / below if above > 0 and below > 0 else 1.0) * h


@mistake("lookahead(sgd(momentum=0.0))", "lookahead_from_zero")
def slow_weights_begin_at_zero(theta, g, t, s, *, lr, k, alpha):
    theta = theta - lr * g
    if t % k == 0:
        s.slow = theta = s.slow + alpha * (theta - s.slow)
    return theta


@mistake("clip_by_norm(sgd(momentum=0.0))", "the norm is the largest magnitude")
def clipped_by_the_largest_element(theta, g, t, s, *, lr, max_norm):
    size = np.max(np.abs(g), initial=0.0)
    return theta - lr * g * (max_norm / max(size, max_norm))


@mistake("clip_by_norm(sgd(momentum=0.0))", "without the root")
def clipped_by_the_squared_norm(theta, g, t, s, *, lr, max_norm):
    size = np.sum(g**2)
    return theta - lr * g * (max_norm / max(size, max_norm))


@mistake(
    "gradient_accumulation(sgd(momentum=0.0), k=3)",
    unexplained="a window of one call more, divided as before",
)
class WindowOfOneMore(Target):
    """Steps in every fourth call, and divides by three."""

    formula = staticmethod(lambda theta, g, t, s, *, lr: theta)

    def __init__(self, params, *, lr):
        super().__init__(params, lr=lr)
        self.calls = 0
        self.totals = [np.zeros_like(p) for p in params]

    def step(self, grads):
        self.calls += 1
        for i, g in enumerate(grads):
            if g is not None:
                self.totals[i] = self.totals[i] + g
            if self.calls % 4 == 0:
                step = self.hyperparameters["lr"] * self.totals[i] / 3
                self.params[i] = np.asarray(self.params[i] - step)
                self.totals[i] = np.zeros_like(self.totals[i])
        return self.params

    def state_dict(self):
        return self.calls, [x.copy() for x in self.totals]

    def load_state_dict(self, state):
        self.calls, totals = state
        self.totals = [x.copy() for x in totals]


# Schedules


@mistake(
    "exponential(sgd(momentum=0.0), decay_rate=0.4, decay_steps=4)", unexplained="another base"
)
def natural_exponential(theta, g, t, s, *, lr):
    return theta - lr * math.exp(-0.4 * (t - 1) / 4) * g


@mistake("cosine(sgd(momentum=0.0), decay_steps=8, end_factor=0.1)", "the factor pi is left out")
def cosine_without_pi(theta, g, t, s, *, lr):
    return theta - lr * (0.1 + 0.9 * (1 + math.cos(min(1, (t - 1) / 8))) / 2) * g


@mistake(
    "polynomial(sgd(momentum=0.0), decay_steps=8, power=2.0, end_factor=0.1)",
    "end_factor stays 0.0",
)
def no_end(theta, g, t, s, *, lr):
    return theta - lr * (1 - min(1, (t - 1) / 8)) ** 2 * g


@mistake("inverse_sqrt(sgd(momentum=0.0), warmup_steps=4)", "always 1 / xp.sqrt(t)")
def no_warmup(theta, g, t, s, *, lr):
    return theta - lr / math.sqrt(t) * g


@mistake(
    "cosine(sgd(momentum=0.0), decay_steps=8, end_factor=0.1)", "xp.minimum(1, t / decay_steps)"
)
def cosine_of_the_next_step(theta, g, t, s, *, lr):
    return theta - lr * (0.1 + 0.9 * (1 + math.cos(math.pi * min(1, t / 8))) / 2) * g


# Memory


class Adam(Target):
    formula = staticmethod(
        lambda theta, g, t, s, *, lr, beta1, beta2, eps: (
            theta - lr * adam_step(g, t, s, beta1, beta2, eps)
        )
    )

    def __init__(self, params, *, lr, beta1, beta2, eps):
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


@mistake("adam", "are exchanged by loading")
class MomentsAreLoadedCrosswise(Adam):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        for s in self.states:
            s.m, s.v = s.v, s.m


@mistake(
    "adam", links="keras-team/keras#2595", unexplained="a state that a new learning rate empties"
)
class NewRateNewState(Adam):
    """Whoever changes the learning rate gets a new optimizer."""

    def set_lr(self, lr):
        if lr != self.hyperparameters["lr"]:
            self.__init__(self.params, **{**self.hyperparameters, "lr": lr})


@mistake("adam", "count_missing(adam)")
class MissingGradientsCount(Adam):
    def step(self, grads):
        self.counts = [t + (g is None) for t, g in zip(self.counts, grads, strict=True)]
        return super().step(grads)


@mistake("sgd(momentum=0.0)", "are read column by column")
class ColumnsForRows(Target):
    """The gradient is flattened by columns, the parameter by rows."""

    formula = staticmethod(lambda theta, g, t, s, *, lr: theta)

    def update(self, i, g):
        p = self.params[i]
        flat = p.reshape(-1) - self.hyperparameters["lr"] * g.reshape(-1, order="F")
        self.params[i] = np.asarray(flat, p.dtype).reshape(p.shape)


@mistake("adam", unexplained="squares in a shorter format")
def squares_in_half_precision(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * (g.astype(np.float16) ** 2).astype(g.dtype)
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("sgd(momentum=0.0)", "each call takes the step of the call before")
class OneStepLate(Target):
    """The gradient is taken from a queue that holds one."""

    formula = staticmethod(lambda theta, g, t, s, *, lr: theta)

    def update(self, i, g):
        s = self.states[i]
        self.params[i] = np.asarray(self.params[i] - self.hyperparameters["lr"] * s.g)
        s.g = np.array(g)
