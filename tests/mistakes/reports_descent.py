"""Gradient descent, Adagrad, Adadelta and RMSprop, wrong as in public reports."""

from __future__ import annotations

import numpy as np

from mistakes.target import Mistakes, Target

MISTAKES = mistake = Mistakes()


# Momentum


@mistake(
    "sgd(dampening=0.0)",
    "sgd.py",
    "the momentum buffer is updated after it is used",
    links="mdenil/dropout#4",
)
def buffer_from_before_the_step(theta, g, t, s, *, lr, momentum):
    new = theta - lr * (s.b if momentum else g)
    s.b = momentum * s.b + g
    return new


@mistake(
    "sgd(dampening=0.0)",
    "momentum buffer emptied in every step",
    links="keras-team/keras#7502 kozistr/pytorch_optimizer#516",
)
class BuffersMadeInEveryStep(Target):
    """The buffers are allocated where the step is, and so are zero whenever it begins."""

    def __init__(self, params, *, lr, momentum):
        self.params, self.lr, self.momentum = params, lr, momentum

    def step(self, grads):
        moments = [np.zeros_like(p) for p in self.params]
        for p, m, g in zip(self.params, moments, grads, strict=True):
            if g is None:
                continue
            v = self.momentum * m - self.lr * g
            p += v
            m[...] = v
        return self.params

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@mistake(
    "sgd(dampening=0.0)",
    "sgd.py",
    "the learning rate is inside the momentum buffer",
    "always the direction",
    links="zc911/MatrixSlow#17",
)
def first_velocity_without_the_rate(theta, g, t, s, *, lr, momentum):
    s.v = -g if t == 1 else momentum * s.v - lr * g
    return theta + s.v


@mistake("sgd(dampening=0.0)", "sgd_lr_inside", links="paiml/aprender#2190")
def rate_baked_into_the_velocity(theta, g, t, s, *, lr, momentum):
    s.v = momentum * s.v - lr * g
    return theta + s.v


@mistake("sgd(nesterov=True, dampening=0.0)", "b + momentum * b", links="pytorch/pytorch#5920")
def look_ahead_along_the_buffer_alone(theta, g, t, s, *, lr, momentum):
    s.b = momentum * s.b + g
    return theta - lr * (1 + momentum) * s.b


@mistake("sgd(nesterov=True, dampening=0.0)", "g + momentum * b_old", links="torch/optim#27")
def look_ahead_along_the_old_buffer(theta, g, t, s, *, lr, momentum):
    ahead = g + momentum * s.b
    s.b = momentum * s.b + g
    return theta - lr * ahead


@mistake("sgd(dampening=0.0)", "b + (1 - dampening) * g", links="fastai/fastbook#482")
def buffer_that_keeps_everything(theta, g, t, s, *, lr, momentum):
    s.b = s.b + g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd(dampening=0.0)", "momentum * theta", links="google/learned_optimization#296")
def parameter_kept_for_the_momentum(theta, g, t, s, *, lr, momentum):
    m = momentum * s.m + g
    new = theta - lr * m
    s.m = new
    return new


@mistake("sgd(dampening=0.0)", "sgd_ema", links="pytorch/pytorch#94615")
def average_for_a_sum(theta, g, t, s, *, lr, momentum):
    """As a tutorial has it, and not the framework whose parameters it shares."""
    s.b = (1 - momentum) * g + momentum * s.b
    return theta - lr * s.b


@mistake("sgd(momentum=0.0)", "gradients_never_cleared", links="cbovar/ConvNetSharp#29")
class GradientsAreNeverZeroed(Target):
    """Each gradient is added to the last one, as where ``zero_grad`` was forgotten."""

    def __init__(self, params, *, lr):
        self.params, self.lr = params, lr
        self.grads = [np.zeros_like(p) for p in params]

    def step(self, grads):
        for p, total, g in zip(self.params, self.grads, grads, strict=True):
            if g is not None:
                total += g
                p -= self.lr * total
        return self.params

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return [g.copy() for g in self.grads]

    def load_state_dict(self, state):
        self.grads = [g.copy() for g in state]


@mistake(
    "sgd(dampening=0.0)",
    links="BRML/climin#29",
    unexplained="the old buffer is scaled by the learning rate once more, outside",
)
class MomentumOfHalfSteps(Target):
    """Goes along the old step before it takes the gradient: the rate scales both."""

    def update(self, i, g):
        h, s = self.hyperparameters, self.states[i]
        first = s.step * h["momentum"]
        second = h["lr"] * g
        self.params[i] = np.asarray(self.params[i] - h["lr"] * first - second)
        s.step = first + second

    formula = staticmethod(lambda theta, g, t, s, *, lr, momentum: theta)


# Adagrad


@mistake("adagrad", "s = g**2", links="lisa-lab/pylearn2#1496")
def sum_made_in_every_step(theta, g, t, s, *, lr, eps):
    squares = g**2
    return theta - lr * g / (np.sqrt(squares) + eps)


@mistake("adagrad", "initial_accumulator stays 1.0", links="deeplearning4j/deeplearning4j#953")
def sum_that_starts_at_one(theta, g, t, s, *, lr, eps):
    s.sum = (np.ones_like(theta) if t == 1 else s.sum) + g * g
    return theta - lr * g / (np.sqrt(s.sum) + eps)


@mistake(
    "adagrad", "epsilon is added to the sum of squares", links="deeplearning4j/deeplearning4j#953"
)
def epsilon_joins_the_sum(theta, g, t, s, *, lr, eps):
    s.sum = s.sum + g * g + eps
    return theta - lr * g / np.sqrt(s.sum)


@mistake("adagrad", "epsilon is added to the parameter, after the division")
def epsilon_after_the_fraction(theta, g, t, s, *, lr, eps):
    """``a / b + eps`` where ``a / (b + eps)`` was meant."""
    s.sum = s.sum + g**2
    return theta - lr * g / np.sqrt(s.sum) + eps


@mistake("adagrad", "without the root")
def no_root(theta, g, t, s, *, lr, eps):
    s.sum = s.sum + g**2
    return theta - lr * g / (s.sum + eps)


@mistake("adagrad", "xp.sqrt(s_old) + eps", links="lyst/lightfm#32")
def sum_joined_after_the_step(theta, g, t, s, *, lr, eps):
    new = theta - lr * g / (np.sqrt(s.sum) + eps)
    s.sum = s.sum + g**2
    return new


# Adadelta


@mistake("adadelta", "(rho * v + (1 - rho)) * g**2", links="deeplearning4j/nd4j#1239")
def brackets_around_the_average(theta, g, t, s, *, lr, rho, eps):
    s.v = (rho * s.v + (1 - rho)) * g**2
    delta = np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * delta**2
    return theta - lr * delta


@mistake("adadelta", "rho * u + (1 - rho) * theta**2", links="d2l-ai/d2l-en#1196")
def squares_of_the_parameter(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    delta = np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * theta**2
    return theta - lr * delta


@mistake("adadelta", "(1 - rho) * g**2", "adadelta.py:8", links="Lasagne/Lasagne#502")
def squares_of_the_gradient_twice(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    delta = np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * g**2
    return theta - lr * delta


@mistake("adadelta", "(lr * h)**2")
def squares_of_the_scaled_step(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    step = lr * np.sqrt(s.u + eps) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * step**2
    return theta - step


@mistake("adadelta", "xp.sqrt(u) / xp.sqrt(v + eps)", links="d2l-ai/d2l-en#1180")
def no_epsilon_above(theta, g, t, s, *, lr, rho, eps):
    """Never moves, since the average of steps starts at zero."""
    s.v = rho * s.v + (1 - rho) * g**2
    delta = np.sqrt(s.u) / np.sqrt(s.v + eps) * g
    s.u = rho * s.u + (1 - rho) * delta**2
    return theta - lr * delta


# RMSprop


@mistake("rmsprop(momentum=0.0)", "rho * v + g**2", links="fastai/fastbook#342")
def squares_without_their_weight(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + g**2
    return theta - lr * g / (np.sqrt(s.v) + eps)


@mistake(
    "rmsprop(momentum=0.0)",
    "rho is taken for 1 - rho",
    links="Devinterview-io/gradient-descent-interview-questions#1",
)
def weights_exchanged(theta, g, t, s, *, lr, rho, eps):
    s.v = (1 - rho) * s.v + rho * g**2
    return theta - lr * g / (np.sqrt(s.v) + eps)


@mistake("rmsprop(momentum=0.0, centered=True)", "v - m, v")
def mean_without_its_square(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    s.m = rho * s.m + (1 - rho) * g
    return theta - lr * g / (np.sqrt(s.v - s.m) + eps)


@mistake(
    "rmsprop", "gathers gradients, which are divided afterwards", links="OptimalFoundation/nadir#25"
)
def momentum_of_gradients(theta, g, t, s, *, lr, rho, eps, momentum):
    s.v = rho * s.v + (1 - rho) * g**2
    s.b = momentum * s.b + g
    return theta - lr * s.b / (np.sqrt(s.v) + eps)


@mistake("rmsprop(momentum=0.0)", "v - m**2, v_old")
def average_from_before_the_step(theta, g, t, s, *, lr, rho, eps):
    new = theta - lr * g / (np.sqrt(s.v) + eps)
    s.v = rho * s.v + (1 - rho) * g**2
    return new


@mistake(
    "rmsprop(momentum=0.0)", "the learning rate is added to the direction", links="torch/optim#57"
)
def rate_added_for_multiplied(theta, g, t, s, *, lr, rho, eps):
    s.v = rho * s.v + (1 - rho) * g**2
    return theta + (-lr + g / (np.sqrt(s.v) + eps))


@mistake(
    "rmsprop",
    "learning rate inside the momentum",
    "epsilon inside the root",
    links="tensorflow/tensorflow#41115",
)
def rate_inside_and_epsilon_inside(theta, g, t, s, *, lr, rho, eps, momentum):
    """The kernel of the framework, where its documentation has another formula."""
    s.v = rho * s.v + (1 - rho) * g**2
    s.u = momentum * s.u + lr * g / np.sqrt(s.v + eps)
    return theta - s.u
