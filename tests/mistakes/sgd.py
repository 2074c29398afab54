"""Gradient descent with momentum, wrong."""

from __future__ import annotations

import numpy as np

from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


@mistake(
    "sgd",
    "as mlx has it",
    entry=59,
    links="ml-explore/mlx#473 pytorch/pytorch#152833",
)
def dampened_from_the_start(theta, g, t, s, *, lr, momentum, dampening):
    s.b = momentum * s.b + (1 - dampening) * g
    return theta - lr * s.b


@mistake("sgd_ema", "m = (1 - momentum) * g", entry=61, links="kozistr/pytorch_optimizer#516")
def buffer_emptied_every_step(theta, g, t, s, *, lr, momentum):
    s.m = np.zeros_like(g)
    s.m = momentum * s.m + (1 - momentum) * g
    return theta - lr * s.m


@mistake("sgd", "momentum * g", entry=63, links="ooples/AiDotNet#2008")
def coefficient_on_the_gradient(theta, g, t, s, *, lr, momentum):
    s.b = s.b + momentum * g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd", "sgd.py", "momentum * g")
def coefficient_on_the_gradient_after_the_first(theta, g, t, s, *, lr, momentum):
    s.b = g if t == 1 else s.b + momentum * g
    return theta - lr * (s.b if momentum else g)


@mistake(
    "sgd_lr_inside(nesterov=True)", "momentum * u_old", entry=65, links="oysteijo/simd_neuralnet#17"
)
def shifted_twice(theta, g, t, s, *, lr, momentum):
    ahead = theta + momentum * s.u
    s.u = momentum * s.u - lr * g
    return ahead + s.u


@mistake("sgd(nesterov=True)", "g - momentum * b", links="PaddlePaddle/Paddle#12231")
def nesterov_of_the_wrong_sign(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    return theta - (g * lr - momentum * s.b * lr) if momentum else theta - lr * g


@mistake("sgd_lr_inside", "t == 1", "g", links="zc911/MatrixSlow#17")
def first_velocity_without_lr(theta, g, t, s, *, lr, momentum):
    s.u = -g if t == 1 else momentum * s.u - lr * g
    return theta + s.u


@mistake("sgd(nesterov=True)", "nesterov stays False")
def nesterov_ignored(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd(nesterov=True)", "b + momentum * b")
def nesterov_of_the_buffer(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    return theta - lr * (s.b + momentum * s.b if momentum else g)


@mistake("sgd(nesterov=True)", "g + momentum * b_old")
def nesterov_with_the_old_buffer(theta, g, t, s, *, lr, momentum, dampening):
    old = s.b
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    return theta - lr * (g + momentum * old)


@mistake("sgd(nesterov=True)", "g + b")
def nesterov_without_the_factor(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    return theta - lr * (g + s.b if momentum else g)


@mistake("sgd", "the learning rate is inside the momentum buffer")
def lr_in_the_buffer(theta, g, t, s, *, lr, momentum):
    s.u = momentum * s.u + lr * g
    return theta - s.u


@mistake("sgd(dampening=0.0)", "sgd_ema where sgd belongs")
def average_instead_of_sum(theta, g, t, s, *, lr, momentum):
    s.b = momentum * s.b + (1 - momentum) * g
    return theta - lr * s.b


@mistake("sgd(dampening=0.0)", "1 - momentum")
def average_from_the_first_gradient(theta, g, t, s, *, lr, momentum):
    s.b = g if t == 1 else momentum * s.b + (1 - momentum) * g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd", "dampening * g")
def dampening_not_subtracted(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + dampening * g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd", "dampening stays 0.0")
def dampening_ignored(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd", "momentum stays 0.0")
def momentum_ignored(theta, g, t, s, *, lr, momentum):
    return theta - lr * g


@mistake("sgd", "b_old")
def step_along_the_buffer_before(theta, g, t, s, *, lr, momentum, dampening):
    old = s.b
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    return theta - lr * (old if momentum else g)


@mistake("sgd", "momentum * b - (1 - dampening) * g")
def buffer_of_the_wrong_sign(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b - (1 - dampening) * g
    return theta - lr * (s.b if momentum else g)


@mistake("sgd", "the step goes up")
def ascent(theta, g, t, s, *, lr, momentum, dampening):
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    return theta + lr * (s.b if momentum else g)


@mistake("sgd", "xp.where(t == 2, g, b)")
class FirstGradientNotCopied:
    """Keeps the caller's first gradient itself as the buffer: it changes with the second."""

    def __init__(self, params, *, lr=1e-2, momentum=0.0, dampening=0.0):
        self.params, self.lr, self.momentum, self.dampening = params, lr, momentum, dampening
        self.buffers = [None] * len(params)

    def set_lr(self, lr):
        self.lr = lr

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            if not self.momentum:
                self.params[i] = self.params[i] - self.lr * g
                continue
            if self.buffers[i] is None:
                self.buffers[i] = g
            else:
                self.buffers[i] = self.momentum * self.buffers[i] + (1 - self.dampening) * g
            self.params[i] = np.asarray(self.params[i] - self.lr * self.buffers[i])
        return self.params


@mistake("sgd", "each call takes the step of the call before")
def velocity_of_the_step_before_is_emitted(theta, g, t, s, *, lr, momentum, dampening):
    delayed = s.emitted
    s.b = g if t == 1 else momentum * s.b + (1 - dampening) * g
    s.emitted = s.b if momentum else g
    return theta - lr * delayed


@mistake("sgd_ema", "(1 - momentum) * m + momentum * g")
def weights_exchanged(theta, g, t, s, *, lr, momentum):
    s.m = (1 - momentum) * s.m + momentum * g
    return theta - lr * s.m


@mistake("sgd_ema", "(1 - momentum**t)")
def average_corrected(theta, g, t, s, *, lr, momentum):
    s.m = momentum * s.m + (1 - momentum) * g
    return theta - lr * s.m / (1 - momentum**t)
