"""Adam and its relatives, wrong."""

from __future__ import annotations

import numpy as np

from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


# Bias correction and the step count


@mistake("adam", "adam as mlx has it", entry=1, links="ml-explore/mlx#1640 oxiglade/mlx-rs#301")
def no_correction(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * s.m / (np.sqrt(s.v) + eps)


@mistake("adam", "step count is one too large", entry=5, links="tensorflow/tensorflow#35444")
def count_too_large(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1 ** (t + 1))
    v_hat = s.v / (1 - beta2 ** (t + 1))
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "step count stays at 1", entry=7, links="allenai/OLMo-core#309")
def count_stuck(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1)
    v_hat = s.v / (1 - beta2)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake(
    "adam", "adam_epsilon_hat", "xp.sqrt(beta2**t)", entry=19, links="kozistr/AdaBound-tensorflow#3"
)
def root_of_the_power(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    step = lr * np.sqrt(1 - (1 - beta2**t)) / (1 - beta1**t)
    return theta - step * s.m / (np.sqrt(s.v) + eps)


@mistake("adam", "first", "m", "v", entry=21, links="PennyLaneAI/pennylane#1928")
def moments_start_at_the_first_gradient(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = g if t == 1 else beta1 * s.m + (1 - beta1) * g
    s.v = g**2 if t == 1 else beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


def bfloat16(x):
    """Rounded to nearest."""
    bits = np.float32(x).view(np.uint32)
    return float(((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32))


@mistake(
    "adam",
    "bfloat16",
    entry=23,
    links="tenstorrent/tt-metal#55935 FluxML/Optimisers.jl#215 google-deepmind/optax#1414",
)
def hyperparameters_in_bfloat16(theta, g, t, s, *, lr, beta1, beta2, eps):
    lr, beta1, beta2, eps = (bfloat16(x) for x in (lr, beta1, beta2, eps))
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "m_hat = m\n")
def first_moment_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * s.m / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adam", "v_hat = v\n")
def second_moment_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v) + eps)


@mistake("adam", "v_hat = v / (1 - beta1**t)")
def corrected_by_the_other_rate(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta1**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "m * (1 - beta1**t)", "v * (1 - beta2**t)", links="karpathy/convnetjs#70")
def correction_multiplied(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m * (1 - beta1**t)
    v_hat = s.v * (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "return h, m_hat, v_hat", links="frgfm/Holocron#1")
def correction_in_place(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    s.m = s.m / (1 - beta1**t)
    s.v = s.v / (1 - beta2**t)
    return theta - lr * s.m / (np.sqrt(s.v) + eps)


@mistake("adam", "return h, m_hat, v")
def first_correction_in_place(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    s.m = s.m / (1 - beta1**t)
    return theta - lr * s.m / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adam", "the powers are subtracted from 1 twice", links="kozistr/pytorch_optimizer#308")
def one_subtracted_twice(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    correction1, correction2 = 1 - beta1**t, 1 - beta2**t
    m_hat = s.m / (1 - correction1)
    v_hat = s.v / (1 - correction2)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "adam as onnx has it")
def counted_from_zero_guarded(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    if t > 1:
        lr = lr * np.sqrt(1 - beta2 ** (t - 1)) / (1 - beta1 ** (t - 1))
    return theta - lr * s.m / (np.sqrt(s.v) + eps)


@mistake("adam", "step count advances twice")
def counted_twice(theta, g, t, s, *, lr, beta1, beta2, eps):
    t = 2 * t
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "no bias correction", "the root of the correction of Adam's second moment")
def second_correction_alone(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * np.sqrt(1 - beta2**t) * s.m / (np.sqrt(s.v) + eps)


@mistake("adam", "adam_epsilon_hat", "(1 - beta2**t) / (1 - beta1**t)")
def correction_without_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    step = lr * (1 - beta2**t) / (1 - beta1**t)
    return theta - step * s.m / (np.sqrt(s.v) + eps)


@mistake("adam", "adam_epsilon_hat", "(1 - beta1**t) / xp.sqrt(1 - beta2**t)")
def correction_upside_down(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    step = lr * (1 - beta1**t) / np.sqrt(1 - beta2**t)
    return theta - step * s.m / (np.sqrt(s.v) + eps)


# Epsilon


@mistake(
    "adam",
    "epsilon-hat",
    entry=25,
    links="tensorflow/tensorflow#9047 Oneflow-Inc/oneflow#5960 pytorch/pytorch#22628",
)
def epsilon_hat(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    step = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - step * s.m / (np.sqrt(s.v) + eps)


@mistake("adam", "(xp.sqrt(v_hat + eps) + eps)", entry=27, links="kozistr/pytorch_optimizer#397")
def epsilon_twice(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat + eps) + eps)


@mistake(
    "adam",
    "v = beta2 * v + (1 - beta2) * g**2 + eps",
    entry=29,
    links="juntang-zhuang/Adabelief-Optimizer#18 juntang-zhuang/Adabelief-Optimizer#57",
)
def epsilon_accumulates(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2 + eps
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / np.sqrt(v_hat)


@mistake("adam", "v = beta2 * v + (1 - beta2) * g**2 + eps")
def epsilon_accumulates_and_is_added(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2 + eps
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "adam_epsilon_inside")
def epsilon_inside(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / np.sqrt(v_hat + eps)


@mistake("adam", "m_hat / xp.sqrt(v_hat + eps**2)")
def epsilon_squared_inside(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / np.sqrt(v_hat + eps**2)


@mistake("adam", "epsilon is added to the second moment", "epsilon is left out")
def epsilon_inside_before_the_correction(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    return theta - lr * m_hat / np.sqrt((s.v + eps) / (1 - beta2**t))


@mistake("adam", "m_hat / xp.sqrt(v_hat) + eps")
def parenthesis_missing(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * (m_hat / np.sqrt(v_hat) + eps)


@mistake("adam", "xp.maximum(xp.sqrt(v_hat), eps)")
def epsilon_is_a_floor(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / np.maximum(np.sqrt(v_hat), eps)


@mistake("adam", "eps stays 1e-08")
def epsilon_ignored(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + 1e-8)


# Moments


@mistake("adam", "g")
def belief(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * (g - s.m) ** 2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "the magnitude of the gradient, not squared")
def not_squared(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * np.abs(g)
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "h = m_hat / (v_hat + eps)")
def no_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (v_hat + eps)


@mistake("adam", "m = beta1 * m + g")
def no_weight_on_the_gradient(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "(1 - beta1) * m + beta1 * g")
def weights_exchanged(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = (1 - beta1) * s.m + beta1 * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "beta1 and beta2 exchanged")
def rates_exchanged(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta2 * s.m + (1 - beta2) * g
    s.v = beta1 * s.v + (1 - beta1) * g**2
    m_hat = s.m / (1 - beta2**t)
    v_hat = s.v / (1 - beta1**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "v = beta1 * v + (1 - beta1) * g**2")
def one_rate_for_both_averages(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta1 * s.v + (1 - beta1) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "beta2 * v + (1 - beta1) * g**2")
def rate_of_the_other_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta1) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "(1 - beta2) * m**2")
def square_of_the_first_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * s.m**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "v_hat = v_old / (1 - beta2**t)")
def second_moment_of_the_step_before(theta, g, t, s, *, lr, beta1, beta2, eps):
    v_hat = s.v / (1 - beta2**t)
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "h = g / (xp.sqrt(v_hat) + eps)")
def momentum_unused(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * g / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adam", "v = v + (1 - beta2) * g**2")
def squares_summed(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "lr", "m")
def lr_inside_the_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + lr * (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "lr * m", entry=117, links="yangluo7/CAME#2")
def update_aliases_the_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    s.m = lr * s.m
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "the step goes up")
def ascent(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta + lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "lr")
def lr_squared(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "amsgrad where adam belongs")
def maximum_added(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    s.v_max = np.maximum(s.v_max, s.v)
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v_max / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "h = v_hat / (xp.sqrt(v_hat) + eps)")
def one_name_for_two(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * v_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "1")
def second_moment_starts_at_one(theta, g, t, s, *, lr, beta1, beta2, eps):
    if t == 1:
        s.v = np.ones_like(g)
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


# AMSGrad


@mistake("amsgrad", "adam", entry=35, links="pytorch/pytorch#4271 pytorch/pytorch#78807")
def maximum_not_kept(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    v_hat = np.maximum(s.v_max, s.v) / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("amsgrad", "v_max", "eps", entry=29, links="juntang-zhuang/Adabelief-Optimizer#32")
def epsilon_accumulates_in_the_maximum(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    s.v_max = np.maximum(s.v_max, s.v) + eps
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v_max / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("amsgrad", "return h, m, v_max, v_max")
def average_of_the_maximum(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    v = beta2 * s.v + (1 - beta2) * g**2
    s.v = np.maximum(s.v, v)
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("amsgrad", "amsgrad as optax has it")
def maximum_of_the_corrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    s.v_max = np.maximum(s.v_max, s.v / (1 - beta2**t))
    return theta - lr * m_hat / (np.sqrt(s.v_max) + eps)


@mistake("amsgrad", "v_hat = v_max\n")
def maximum_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    s.v_max = np.maximum(s.v_max, s.v)
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v_max) + eps)


@mistake("amsgrad", "xp.maximum(v_max, g**2)")
def maximum_of_the_squares(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v_max = np.maximum(s.v_max, g**2)
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v_max / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("amsgrad", "xp.minimum(v_max, v)")
def minimum_for_maximum(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    s.v_max = np.minimum(s.v_max, s.v)
    m_hat = s.m / (1 - beta1**t)
    v_hat = s.v_max / (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


# AdaMax


@mistake("adamax", "adamax", "u = xp.maximum(beta2 * u, xp.abs(g))\n")
def adamax_without_epsilon(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, np.abs(g))
    h = s.m / (1 - beta1**t) / s.u
    return theta - lr * h


@mistake("adamax", "adamax as mlx has it")
def adamax_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, np.abs(g))
    return theta - lr * s.m / (s.u + eps)


@mistake("adamax", "xp.maximum(u, xp.abs(g) + eps)")
def maximum_does_not_decay(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(s.u, np.abs(g) + eps)
    return theta - lr * s.m / (1 - beta1**t) / s.u


@mistake("adamax", "xp.maximum(beta2 * u, g + eps)")
def magnitude_missing(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, g + eps)
    return theta - lr * s.m / (1 - beta1**t) / s.u


@mistake("adamax", "/ (1 - beta2**t)")
def norm_corrected_too(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, np.abs(g) + eps)
    return theta - lr * s.m / (1 - beta1**t) / (s.u / (1 - beta2**t))


@mistake("adamax", "xp.sqrt(u)")
def root_of_the_norm(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, np.abs(g) + eps)
    return theta - lr * s.m / (1 - beta1**t) / np.sqrt(s.u)


# NAdam


@mistake("nadam", "mu_product * mu", entry=87, links="pytorch/pytorch#92699 dotnet/TorchSharp#1155")
def product_multiplied_twice(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    product = mu if t == 1 else s.product * mu
    s.product = product
    next_product = product * mu * mu_next
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_bar = mu_next * s.m / (1 - next_product) + (1 - mu) * g / (1 - product)
    return theta - lr * m_bar / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("nadam", "(1 - mu_next) * g", entry=89, links="pytorch/pytorch#106615")
def second_term_from_the_gradient(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    s.product = product = mu if t == 1 else s.product * mu
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_bar = (1 - mu_next) * g / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
    return theta - lr * m_bar / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("nadam", "beta2 * v / (1 - beta2**t)", entry=91, links="FluxML/Flux.jl#224")
def rate_on_the_second_moment(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    s.product = product = mu if t == 1 else s.product * mu
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_bar = mu_next * s.m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
    v_hat = s.v * beta2 / (1 - beta2**t)
    return theta - lr * m_bar / (np.sqrt(v_hat) + eps)


@mistake("nadam", "mu_next")
def momentum_of_this_step(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    s.product = product = mu if t == 1 else s.product * mu
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_bar = mu * s.m / (1 - product * mu) + (1 - mu) * g / (1 - product)
    return theta - lr * m_bar / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("nadam", "the momentum is beta1 at every step")
def constant_momentum(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_bar = beta1 * s.m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
    return theta - lr * m_bar / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("nadam", "nadam as timm has it")
def dozat_without_the_next_step(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_bar = (beta1 * s.m + (1 - beta1) * g) / (1 - beta1**t)
    return theta - lr * m_bar / (np.sqrt(s.v / (1 - beta2**t)) + eps)


# RAdam


@mistake("radam", "rho >= ")
def threshold_of_five(theta, g, t, s, *, lr, beta1, beta2, eps):
    return rectified(theta, g, t, s, 5, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


def rectified(theta, g, t, s, threshold, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= threshold:
        return theta - lr * m_hat
    r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return theta - lr * r * m_hat / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("radam", "always", "m_hat")
def never_rectified(theta, g, t, s, *, lr, beta1, beta2, eps):
    return rectified(theta, g, t, s, np.inf, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


@mistake("radam", "rectified, m_hat / (xp.sqrt(v_hat) + eps), m_hat")
def rectification_left_out(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 4:
        return theta - lr * m_hat
    return theta - lr * m_hat / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("radam", "the first moment in place of the corrected first moment")
def early_steps_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 4:
        return theta - lr * s.m
    m_hat = s.m / (1 - beta1**t)
    r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return theta - lr * r * m_hat / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("radam", "r")
def rectification_without_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 4:
        return theta - lr * m_hat
    r = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    return theta - lr * r * m_hat / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("radam", "rho = rho_inf - 2 * t * beta2**t\n")
def length_without_denominator(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    m_hat = s.m / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t
    if rho <= 4:
        return theta - lr * m_hat
    r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return theta - lr * r * m_hat / (np.sqrt(s.v / (1 - beta2**t)) + eps)
