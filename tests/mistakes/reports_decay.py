"""Weight decay, layer adaptation and centralization, wrong as in public reports."""

from __future__ import annotations

import numpy as np

from mistakes.target import Mistakes, Target

MISTAKES = mistake = Mistakes()


def adam_step(g, t, s, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


def norm(x):
    return np.sqrt(np.sum(x**2))


# Decoupled decay


@mistake(
    "adamw", "decay by a constant", links="e-sensing/torchopt#14 jettify/pytorch-optimizer#454"
)
def decay_without_the_parameter(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * weight_decay - lr * h


@mistake(
    "weight_decay(sgd(dampening=0.0))", "decay by a constant", links="jettify/pytorch-optimizer#454"
)
def decay_by_a_constant(theta, g, t, s, *, lr, momentum, weight_decay):
    s.b = g if t == 1 else momentum * s.b + g
    return theta - lr * (s.b if momentum else g) - lr * weight_decay


@mistake(
    "adamw",
    "the learning rate is not in the decay",
    "epsilon-hat",
    links="flashlight/flashlight#143",
)
def free_decay_and_epsilon_hat(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    theta = theta - weight_decay * theta
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g * g
    rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - rate * s.m / (np.sqrt(s.v) + eps)


@mistake("adamw", "parameters without a gradient decay all the same", links="lessw2020/Ranger21#54")
class DecayOfMissingGradients(Target):
    """The decay is outside the loop over what has a gradient."""

    def __init__(self, params, *, lr, beta1, beta2, eps, weight_decay):
        super().__init__(params)
        self.lr, self.betas, self.eps, self.decay = lr, (beta1, beta2), eps, weight_decay

    def step(self, grads):
        for p in self.params:
            p *= 1 - self.lr * self.decay
        for i, g in enumerate(grads):
            if g is not None:
                self.counts[i] += 1
                h = adam_step(np.array(g), self.counts[i], self.states[i], *self.betas, self.eps)
                self.params[i] -= self.lr * h
        return self.params

    def set_lr(self, lr):
        self.lr = lr


@mistake(
    "adamw", "weight_decay_after where weight_decay belongs", links="huggingface/transformers#14539"
)
def decay_of_the_new_parameter(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    theta = theta - lr * adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * weight_decay * theta


@mistake("adamw", "l2 added")
def both_decays(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    """The decay was left in the gradient when the decoupled one was added."""
    h = adam_step(g + weight_decay * theta, t, s, beta1, beta2, eps)
    return theta - lr * (h + weight_decay * theta)


@mistake("adamw", "only for parameters of two axes and more")
def decay_of_matrices_alone(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    """As training scripts have it, for biases and norms; nobody asked for it here."""
    h = adam_step(g, t, s, beta1, beta2, eps)
    decay = weight_decay if theta.ndim >= 2 else 0.0
    return theta - lr * (h + decay * theta)


@mistake("adamw", "m_hat = m / (1 - beta1**t) + weight_decay * theta")
def decay_divided_by_the_root(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t) + weight_decay * theta
    return theta - lr * m_hat / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adamw", "l2 where weight_decay belongs", links="flagos-ai/FlagGems#4989")
def decay_through_the_moments(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    return theta - lr * adam_step(g + weight_decay * theta, t, s, beta1, beta2, eps)


@mistake("adamw", "h - weight_decay * theta", links="PaddlePaddle/Paddle#4743")
def decay_upwards(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    return theta - lr * adam_step(g, t, s, beta1, beta2, eps) + lr * weight_decay * theta


@mistake("adamw", "without weight_decay", links="kozistr/pytorch_optimizer#517")
def decay_that_was_stored_and_forgotten(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    return theta - lr * adam_step(g, t, s, beta1, beta2, eps)


@mistake("adamw", "weight_decay * (lr * theta)", links="kozistr/pytorch_optimizer#170")
def decay_by_the_rate_squared(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * (h + lr * weight_decay * theta)


@mistake(
    "adamw",
    "(1 - beta1) * g + weight_decay * theta",
    links="martinnormark/neural-mesh-simplification#45",
)
def decay_in_the_first_moment(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    """The decay is added to the state, where the next step finds it again."""
    s.v = beta2 * s.v + (1 - beta2) * g**2
    s.m = beta1 * s.m + (1 - beta1) * g + weight_decay * theta
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


# L2


@mistake("l2(sgd(momentum=0.0))", "g - weight_decay * theta", links="chainer/chainer#261")
def penalty_subtracted(theta, g, t, s, *, lr, weight_decay):
    return theta - lr * (g - weight_decay * theta)


@mistake(
    "l2(sgd(dampening=0.0))",
    "the decay is doubled",
    links="jingtinghuang/CS231n-Spring-2017#3 titu1994/DenseNet#57",
)
def penalty_without_its_half(theta, g, t, s, *, lr, momentum, weight_decay):
    g = g + 2 * weight_decay * theta
    s.b = g if t == 1 else momentum * s.b + g
    return theta - lr * (s.b if momentum else g)


@mistake("l2(adam)", "weight_decay**2 * theta", links="nitrain/nitrain#42")
def penalty_scaled_twice(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    penalty = weight_decay * theta
    return theta - lr * adam_step(g + weight_decay * penalty, t, s, beta1, beta2, eps)


@mistake("l2(adam)", "weight_decay where l2 belongs", links="deepspeedai/DeepSpeed#8307")
def always_decoupled(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    return theta - lr * (adam_step(g, t, s, beta1, beta2, eps) + weight_decay * theta)


@mistake(
    "l2(rmsprop(momentum=0.0))",
    "(1 - rho) * (g + weight_decay * theta)**2",
    links="apache/mxnet#5043",
)
def brackets_left_out(theta, g, t, s, *, lr, rho, eps, weight_decay):
    """``(1 - rho) * g + wd * theta`` squared, where the bracket should hold the sum."""
    s.v = rho * s.v + (1 - rho) * (g + weight_decay * theta) ** 2
    return theta - lr * g / (np.sqrt(s.v) + eps)


@mistake("l2(sgd(dampening=0.0))", "xp.sign(theta)", links="OverLordGoldDragon/keras-adamw#39")
def penalty_of_the_sign(theta, g, t, s, *, lr, momentum, weight_decay):
    g = g + weight_decay * np.sign(theta)
    s.b = g if t == 1 else momentum * s.b + g
    return theta - lr * (s.b if momentum else g)


@mistake(
    "l2(sgd(momentum=0.0))",
    "changed gradient 0, which belongs to the caller",
    links="pytorch/pytorch#1285",
)
class PenaltyJoinsTheCallersGradient(Target):
    def step(self, grads):
        h = self.hyperparameters
        for p, g in zip(self.params, grads, strict=True):
            if g is not None:
                g += h["weight_decay"] * p
                p -= h["lr"] * g
        return self.params


@mistake("l2(sgd(dampening=0.0))", "weight_decay where l2 belongs")
def penalty_after_the_buffer(theta, g, t, s, *, lr, momentum, weight_decay):
    s.b = g if t == 1 else momentum * s.b + g
    return theta - lr * ((s.b if momentum else g) + weight_decay * theta)


# Layer adaptation


@mistake("lamb", "no bias correction", links="jettify/pytorch-optimizer#443")
def lamb_without_correction(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    h = s.m / (np.sqrt(s.v) + eps) + weight_decay * theta
    return theta - lr * ratio(theta, h) * h


def ratio(theta, h):
    above, below = norm(theta), norm(h)
    return above / below if above > 0 and below > 0 else 1.0


@mistake("lamb", "the ratio is at most 1", links="mosaicml/composer#967")
def ratio_at_most_one(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps) + weight_decay * theta
    return theta - lr * min(ratio(theta, h), 1.0) * h


@mistake("lamb", "the ratio is computed before weight_decay")
def norm_before_the_decay(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps)
    return theta - lr * ratio(theta, h) * (h + weight_decay * theta)


@mistake("lamb", "the ratio is squared")
def norms_without_their_roots(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps) + weight_decay * theta
    above, below = np.sum(theta**2), np.sum(h**2)
    return theta - lr * (above / below if above > 0 and below > 0 else 1.0) * h


@mistake("lamb", "xp.sum(xp.abs(theta))", "xp.sum(xp.abs(h))")
def one_norm(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps) + weight_decay * theta
    above, below = np.sum(np.abs(theta)), np.sum(np.abs(h))
    return theta - lr * (above / below if above > 0 and below > 0 else 1.0) * h


@mistake("lamb", "scales only what there is before weight_decay", links="fastalgo/over9000_lamb#1")
def ratio_scales_the_adam_part(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    h = adam_step(g, t, s, beta1, beta2, eps)
    whole = h + weight_decay * theta
    return theta - lr * (ratio(theta, whole) * h + weight_decay * theta)


@mistake("layer_adaptation(adam)", "are those of all parameters together")
class OneRatioForAll(Target):
    """The norms are those of all parameters together."""

    def __init__(self, params, *, lr, beta1, beta2, eps):
        super().__init__(params)
        self.lr, self.betas, self.eps = lr, (beta1, beta2), eps

    def step(self, grads):
        directions = []
        for i, g in enumerate(grads):
            if g is not None:
                self.counts[i] += 1
                t, s = self.counts[i], self.states[i]
                directions.append((i, adam_step(np.array(g), t, s, *self.betas, self.eps)))
        above = np.sqrt(sum(np.sum(self.params[i] ** 2) for i, _ in directions))
        below = np.sqrt(sum(np.sum(h**2) for _, h in directions))
        scale = above / below if above > 0 and below > 0 else 1.0
        for i, h in directions:
            p = self.params[i]
            self.params[i] = np.asarray(p - self.lr * scale * h, p.dtype)
        return self.params

    def set_lr(self, lr):
        self.lr = lr


@mistake("lars", links="ooples/AiDotNet.Tensors#955", unexplained="three changes at once")
def ratio_at_the_step(theta, g, t, s, *, lr, momentum, eta, weight_decay):
    above, below = norm(theta), norm(g)
    local = eta * above / (below + weight_decay * above) if above > 0 and below > 0 else 1.0
    s.b = momentum * s.b + g
    return theta - lr * local * (s.b if momentum else g)


@mistake("lars", "the root of a sum of squares, not a sum of roots", links="apache/mxnet#15102")
def root_of_the_quotient_of_squares(theta, g, t, s, *, lr, momentum, eta, weight_decay):
    above, below = np.sum(theta**2), np.sum(g**2)
    ratio = 1.0
    if above > 0 and below > 0:
        ratio = eta * np.sqrt(above / (below + weight_decay * above))
    step = lr * ratio * (g + weight_decay * theta)
    s.u = momentum * s.u + step
    return theta - (s.u if momentum else step)


# Gradient centralization


@mistake(
    "gradient_centralization(adam)",
    "gradient_centralization changes the direction instead of the gradient",
    links="lessw2020/Ranger-Deep-Learning-Optimizer#32",
)
def steps_are_centralized(theta, g, t, s, *, lr, beta1, beta2, eps):
    h = adam_step(g, t, s, beta1, beta2, eps)
    if h.ndim > 1:
        h = h - h.mean(axis=tuple(range(1, h.ndim)), keepdims=True)
    return theta - lr * h


@mistake(
    "gradient_centralization(sgd(momentum=0.0))",
    "range(0, xp.ndim(g))",
    links="keras-team/keras-io#2042",
)
def mean_of_everything(theta, g, t, s, *, lr):
    return theta - lr * (g - g.mean() if g.ndim > 1 else g)
