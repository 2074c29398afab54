"""Weight decay, Lion, LAMB and LARS, wrong."""

from __future__ import annotations

import numpy as np

from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


def adam(g, t, s, *, beta1, beta2, eps):
    """Adam's direction, right."""
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


# AdamW


@mistake(
    "adamw",
    "weight_decay_after",
    entry=37,
    links="huggingface/transformers#14539 bitsandbytes-foundation/bitsandbytes#2010",
)
def decayed_after_the_step(theta, g, t, s, *, lr, weight_decay, **rates):
    theta = theta - lr * adam(g, t, s, **rates)
    return theta * (1 - lr * weight_decay)


@mistake("l2(adam)", "weight_decay", entry=39, links="flagos-ai/FlagGems#4989")
def decoupled_for_l2(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta * (1 - lr * weight_decay) - lr * adam(g, t, s, **rates)


@mistake(
    "adamw", "l2 where weight_decay belongs", links="bitsandbytes-foundation/bitsandbytes#1992"
)
def l2_for_decoupled(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * adam(g + weight_decay * theta, t, s, **rates)


@mistake("adamw", "lr", "theta", entry=41, links="kozistr/pytorch_optimizer#170")
def decay_times_lr_twice(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * adam(g, t, s, **rates) - lr * lr * weight_decay * theta


@mistake(
    "adamw",
    "weight_decay_free",
    links="egg-west/AdamW-pytorch#1 tensorflow/addons#2282",
)
def decay_without_lr(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * adam(g, t, s, **rates) - weight_decay * theta


@mistake("adamw", "h + weight_decay\n", links="e-sensing/torchopt#14")
def decay_without_the_parameter(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * (adam(g, t, s, **rates) + weight_decay)


@mistake("l2(sgd)", "index", entry=43, links="mlverse/torch#821 mlverse/torch#824")
class DecayOfTheIndex:
    """Multiplies the decay with the loop's variable instead of the parameter."""

    def __init__(self, params, *, lr=1e-2, weight_decay=0.01):
        self.params, self.lr, self.weight_decay = params, lr, weight_decay

    def set_lr(self, lr):
        self.lr = lr

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.params[i] = np.asarray(self.params[i] - self.lr * (g + self.weight_decay * i))
        return self.params


@mistake("adamw", "adamw as mxnet_fused has it", entry=45, links="Oneflow-Inc/oneflow#5960")
def decay_scaled_by_the_correction(theta, g, t, s, *, lr, weight_decay, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    lr = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - lr * (s.m / (np.sqrt(s.v) + eps) + weight_decay * theta)


@mistake(
    "adamw",
    "without weight_decay",
    entry=47,
    links="tinygrad/tinygrad#17708 kozistr/pytorch_optimizer#517 fastai/fastai2#246",
)
def decay_never_used(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * adam(g, t, s, **rates)


@mistake(
    "adamw",
    "twice",
    entry=51,
    links="huggingface/pytorch-image-models#2750",
)
def decayed_once_a_bucket(theta, g, t, s, *, lr, weight_decay, **rates):
    for _ in ("float32", "float16"):
        theta = theta * (1 - lr * weight_decay)
    return theta - lr * adam(g, t, s, **rates)


@mistake(
    "l2(sgd)",
    "xp.sign(theta)",
    entry=55,
    links="OverLordGoldDragon/keras-adamw#38 OverLordGoldDragon/keras-adamw#39",
)
def l1_for_l2(theta, g, t, s, *, lr, weight_decay):
    return theta - lr * (g + weight_decay * np.sign(theta))


@mistake("adamw", "h - weight_decay * theta")
def decay_of_the_wrong_sign(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * (adam(g, t, s, **rates) - weight_decay * theta)


@mistake("adamw", "2", "weight_decay")
def decay_doubled(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * (adam(g, t, s, **rates) + 2 * weight_decay * theta)


@mistake("adamw", "weight_decay", "theta")
def decay_halved(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * (adam(g, t, s, **rates) + weight_decay / 2 * theta)


@mistake("adamw", "weight_decay", "g")
def decay_of_the_gradient(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * (adam(g, t, s, **rates) + weight_decay * g)


@mistake("adamw", "h", "theta")
def decay_of_matrices_alone(theta, g, t, s, *, lr, weight_decay, **rates):
    decay = weight_decay if np.ndim(theta) > 1 else 0
    return theta - lr * (adam(g, t, s, **rates) + decay * theta)


@mistake("adamw", "weight_decay**2")
def decay_squared(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * (adam(g, t, s, **rates) + weight_decay**2 * theta)


@mistake("adamw", "l2 added")
def decayed_in_both_ways(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g + weight_decay * theta, t, s, **rates)
    return theta - lr * (h + weight_decay * theta)


# Lion


@mistake(
    "lion",
    "xp.sign(beta1 * m + (1 - beta1) * g + weight_decay * theta)",
    entry=111,
    links="bitsandbytes-foundation/bitsandbytes#1992",
)
def decay_inside_the_sign(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    h = np.sign(beta1 * s.m + (1 - beta1) * g + weight_decay * theta)
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr * h


@mistake("lion", "l2", entry=111, links="bitsandbytes-foundation/bitsandbytes#1992")
def lion_with_l2(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    g = g + weight_decay * theta
    h = np.sign(beta1 * s.m + (1 - beta1) * g)
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr * h


@mistake("lion", "beta1 and beta2 exchanged")
def lion_rates_exchanged(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    h = np.sign(beta2 * s.m + (1 - beta2) * g) + weight_decay * theta
    s.m = beta1 * s.m + (1 - beta1) * g
    return theta - lr * h


@mistake("lion", "m")
def updated_before_the_sign(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    s.m = beta2 * s.m + (1 - beta2) * g
    h = np.sign(beta1 * s.m + (1 - beta1) * g) + weight_decay * theta
    return theta - lr * h


@mistake("lion", "beta1 is given the value of beta2")
def sign_of_the_buffer(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr * (np.sign(s.m) + weight_decay * theta)


@mistake("lion", "beta1 * m + (1 - beta1) * g + weight_decay * theta")
def sign_left_out(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    h = beta1 * s.m + (1 - beta1) * g + weight_decay * theta
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr * h


@mistake("lion", "beta2 is given the value of beta1")
def one_rate_in_lion(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    h = np.sign(beta1 * s.m + (1 - beta1) * g) + weight_decay * theta
    s.m = beta1 * s.m + (1 - beta1) * g
    return theta - lr * h


@mistake("lion", "beta1 and beta2 are taken for 1 minus them", links="FluxML/Optimisers.jl#129")
def rates_for_their_complements(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    h = np.sign((1 - beta1) * s.m + beta1 * g) + weight_decay * theta
    s.m = (1 - beta2) * s.m + beta2 * g
    return theta - lr * h


@mistake("lion", "weight_decay_free", "whatever the learning rate")
def lion_decay_without_lr(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    h = np.sign(beta1 * s.m + (1 - beta1) * g)
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr * h - weight_decay * theta


@mistake("lion", "h", "m")
def lion_averages_its_sign(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    h = np.sign(beta1 * s.m + (1 - beta1) * g)
    s.m = beta2 * s.m + (1 - beta2) * h
    return theta - lr * (h + weight_decay * theta)


# LAMB


def norm(x):
    return np.sqrt(np.sum(np.square(x)))


def ratio(above, below):
    return above / below if above > 0 and below > 0 else 1.0


@mistake(
    "lamb",
    "xp.minimum(xp.sqrt(xp.sum(theta**2)), 10",
    entry=97,
    links="cybertronai/pytorch-lamb#5 stockeh/mlx-optimizers#36",
)
def norm_clamped(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    return theta - lr * ratio(min(norm(theta), 10), norm(h)) * h


@mistake("lamb", "no bias correction", entry=99, links="bitsandbytes-foundation/bitsandbytes#2088")
def lamb_without_correction(theta, g, t, s, *, lr, beta1, beta2, eps, weight_decay):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    h = s.m / (np.sqrt(s.v) + eps) + weight_decay * theta
    return theta - lr * ratio(norm(theta), norm(h)) * h


@mistake("lamb", "layer_adaptation")
def decay_outside_the_ratio(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates)
    return theta - lr * (ratio(norm(theta), norm(h)) * h + weight_decay * theta)


@mistake("lamb", "norm_h / norm_theta")
def ratio_upside_down(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    return theta - lr * ratio(norm(h), norm(theta)) * h


@mistake("lamb", "xp.sum(xp.abs(theta))", "xp.sum(xp.abs(h))")
def norms_of_absolute_values(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    return theta - lr * ratio(np.sum(np.abs(theta)), np.sum(np.abs(h))) * h


@mistake("lamb", "norm_h", "g")
def norm_of_the_gradient(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    return theta - lr * ratio(norm(theta), norm(g)) * h


@mistake("lamb", "the ratio is squared", "ratio**2")
def squared_norms(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    return theta - lr * ratio(np.sum(np.square(theta)), np.sum(np.square(h))) * h


@mistake("lamb", "without layer_adaptation")
def ratio_left_out(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * (adam(g, t, s, **rates) + weight_decay * theta)


@mistake("lamb", "norm_theta / norm_h), 1.0)")
def ratio_at_most_one(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    return theta - lr * min(ratio(norm(theta), norm(h)), 1.0) * h


@mistake("lamb", "0", "norm")
def no_step_from_zero(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    factor = norm(theta) / norm(h) if norm(h) > 0 else 1.0
    return theta - lr * factor * h


# LARS


@mistake("lars", "return ratio * g\n", entry=57, links="ooples/AiDotNet.Tensors#955")
def decay_in_the_ratio_alone(theta, g, t, s, *, lr, momentum, eta, weight_decay, eps):
    local = lars_ratio(theta, g, eta, weight_decay, eps)
    s.u = momentum * s.u + lr * local * g
    return theta - s.u


def lars_ratio(theta, g, eta, weight_decay, eps):
    below = norm(g) + weight_decay * norm(theta) + eps
    return eta * norm(theta) / below if norm(theta) > 0 and norm(g) > 0 else 1.0


@mistake("lars", "weight_decay", "ratio", entry=101, links="PaddlePaddle/Paddle#40892")
def no_ratio_without_decay(theta, g, t, s, *, lr, momentum, eta, weight_decay, eps):
    local = lars_ratio(theta, g, eta, weight_decay, eps) if weight_decay else 1.0
    s.u = momentum * s.u + lr * local * (g + weight_decay * theta)
    return theta - s.u


@mistake("lars", "weight_decay * norm_theta is left out")
def decay_missing_in_the_ratio(theta, g, t, s, *, lr, momentum, eta, weight_decay, eps):
    local = lars_ratio(theta, g, eta, 0.0, eps)
    s.u = momentum * s.u + lr * local * (g + weight_decay * theta)
    return theta - s.u


@mistake("lars", "lars as optax has it")
def norm_of_the_sum(theta, g, t, s, *, lr, momentum, eta, weight_decay, eps):
    decayed = g + weight_decay * theta
    zero = norm(theta) == 0 or norm(decayed) == 0
    local = 1.0 if zero else eta * norm(theta) / (norm(decayed) + eps)
    s.u = momentum * s.u + lr * local * decayed
    return theta - s.u


@mistake("lars", "eta", "0.001")
def coefficient_ignored(theta, g, t, s, *, lr, momentum, eta, weight_decay, eps):
    local = lars_ratio(theta, g, 1e-3, weight_decay, eps)
    s.u = momentum * s.u + lr * local * (g + weight_decay * theta)
    return theta - s.u


@mistake("lars", "sgd_ema")
def lars_with_an_average(theta, g, t, s, *, lr, momentum, eta, weight_decay, eps):
    local = lars_ratio(theta, g, eta, weight_decay, eps)
    s.u = momentum * s.u + (1 - momentum) * local * (g + weight_decay * theta)
    return theta - lr * s.u
