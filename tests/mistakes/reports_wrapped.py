"""Accumulation, clipping, slow weights, rows and schedules, wrong as in public reports."""

from __future__ import annotations

import math

import numpy as np

from mistakes.target import Mistakes, Target

MISTAKES = mistake = Mistakes()


class Plain(Target):
    """Gradient descent, whose gradients and rate can be replaced."""

    def __init__(self, params, *, lr, **others):
        self.params, self.lr, self.t = params, lr, 0
        self.set_up(**others)

    def set_up(self):
        pass

    def step(self, grads):
        self.t += 1
        for p, g in zip(self.params, self.changed(grads), strict=True):
            if g is not None:
                p -= np.asarray(self.lr * self.factor(self.t) * g, p.dtype)
        return self.params

    def changed(self, grads):
        return grads

    def factor(self, t):
        return 1.0

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return self.t

    def load_state_dict(self, state):
        self.t = state


# Accumulation


class Accumulated(Plain):
    """Plain descent on what a window of ``k`` calls makes of its gradients."""

    def set_up(self, *, k):
        self.k = k
        self.totals = [np.zeros_like(p) for p in self.params]

    def changed(self, grads):
        for total, g in zip(self.totals, grads, strict=True):
            if g is not None:
                total += g
        if not self.is_complete():
            return [None] * len(grads)
        means = [np.asarray(self.mean(total)) for total in self.totals]
        self.clear()
        return means

    def is_complete(self):
        return self.t % self.k == 0

    def mean(self, total):
        return total / self.k

    def clear(self):
        for total in self.totals:
            total[...] = 0

    def state_dict(self):
        return self.t, [total.copy() for total in self.totals]

    def load_state_dict(self, state):
        self.t, totals = state
        self.totals = [total.copy() for total in totals]


@mistake(
    "gradient_accumulation(sgd(momentum=0.0))", "mean = mean + g", links="karpathy/nanoGPT#206"
)
class SumOfTheWindow(Accumulated):
    def __init__(self, params, *, lr, k):
        super().__init__(params, lr=lr, k=k)

    def mean(self, total):
        return total.copy()


@mistake(
    "gradient_accumulation(sgd(momentum=0.0))",
    "always the mean of the window",
    links="hirofumi0810/neural_sp#168",
)
class WindowIsNeverCleared(Accumulated):
    def __init__(self, params, *, lr, k):
        super().__init__(params, lr=lr, k=k)

    def clear(self):
        pass


@mistake(
    "gradient_accumulation(sgd(momentum=0.0))",
    "(t - 1) % k == 0",
    links="yandexdataschool/Practical_DL#87",
)
class WindowEndsOneCallEarly(Accumulated):
    """``if i % k == 0`` where ``i`` counts from zero: the first window has one gradient."""

    def __init__(self, params, *, lr, k):
        super().__init__(params, lr=lr, k=k)

    def is_complete(self):
        return (self.t - 1) % self.k == 0


@mistake(
    "gradient_accumulation(sgd(momentum=0.0))",
    "the optimizer inside steps in every call",
    "mean = g / k",
    links="huggingface/trl#2618",
)
class StepsInEveryCall(Accumulated):
    """Divides each gradient by the window, and steps along it."""

    def __init__(self, params, *, lr, k):
        super().__init__(params, lr=lr, k=k)

    def is_complete(self):
        return True


@mistake(
    "gradient_accumulation(sgd(momentum=0.0))", "mean = g / k", links="Morizeyao/GPT2-Chinese#101"
)
class LastGradientOfTheWindow(Accumulated):
    """The gradients are zeroed in every call, and the step is taken in every k-th."""

    def __init__(self, params, *, lr, k):
        super().__init__(params, lr=lr, k=k)

    def changed(self, grads):
        self.clear()
        return super().changed(grads)


@mistake(
    "gradient_accumulation(clip_by_norm(sgd(momentum=0.0)))",
    "clip_by_norm outside gradient_accumulation",
    links="huggingface/transformers#614",
)
class EachGradientIsClipped(Accumulated):
    """Clips what joins the window, and not the mean."""

    def __init__(self, params, *, lr, k, max_norm):
        self.max_norm = max_norm
        super().__init__(params, lr=lr, k=k)

    def changed(self, grads):
        return super().changed([None if g is None else self.clipped(g) for g in grads])

    def clipped(self, g):
        norm = np.sqrt(np.sum(g**2))
        return g * np.asarray(self.max_norm / max(norm, self.max_norm), g.dtype)


@mistake(
    "gradient_accumulation(weight_decay(sgd(momentum=0.0)))",
    "weight_decay outside gradient_accumulation",
    links="keras-team/keras#19990",
)
class DecayInEveryCall(Accumulated):
    def __init__(self, params, *, lr, k, weight_decay):
        self.decay = weight_decay
        super().__init__(params, lr=lr, k=k)

    def changed(self, grads):
        for p in self.params:
            p -= np.asarray(self.lr * self.decay * p, p.dtype)
        return super().changed(grads)


# Clipping


@mistake(
    "clip_by_global_norm(sgd(momentum=0.0))",
    "clip.py:26: without the root",
    links="paiml/entrenar#311",
)
class NormWithoutItsRoot(Plain):
    def __init__(self, params, *, lr, max_norm):
        self.max_norm = max_norm
        super().__init__(params, lr=lr)

    def changed(self, grads):
        norm = sum(float(np.sum(np.square(g, dtype=float))) for g in grads if g is not None)
        factor = self.max_norm / norm if norm > self.max_norm else 1.0
        return [None if g is None else g * np.asarray(factor, g.dtype) for g in grads]


@mistake(
    "clip_by_norm(sgd(momentum=0.0))",
    "scaled to max_norm also where the norm is below it",
    links="sony/nnabla-ext-cuda#201",
)
def small_gradients_are_enlarged(theta, g, t, s, *, lr, max_norm):
    norm = np.sqrt(np.sum(g**2))
    return theta - lr * (g * (max_norm / norm) if norm > 0 else g)


@mistake(
    "clip_by_global_norm(sgd(momentum=0.0))",
    "clip_by_norm where clip_by_global_norm belongs",
    links="NVIDIA/apex#819 keras-team/keras#13575",
)
def each_for_itself(theta, g, t, s, *, lr, max_norm):
    norm = np.sqrt(np.sum(g**2))
    return theta - lr * g * (max_norm / max(norm, max_norm))


@mistake(
    "clip_by_norm(sgd(momentum=0.0))",
    "clip_by_value where clip_by_norm belongs",
    links="bghira/SimpleTuner#1205",
)
def values_are_clipped(theta, g, t, s, *, lr, max_norm):
    return theta - lr * np.clip(g, -max_norm, max_norm)


@mistake(
    "clip_by_value(sgd(dampening=0.0))",
    "clip_by_value changes the direction instead of the gradient",
)
def buffer_is_clipped(theta, g, t, s, *, lr, momentum, max_value):
    s.b = g if t == 1 else momentum * s.b + g
    return theta - lr * np.clip(s.b if momentum else g, -max_value, max_value)


@mistake(
    "clip_by_norm(sgd(momentum=0.0))", "without clip_by_norm", links="tensorflow/tensorflow#33929"
)
def clipped_copy_is_dropped(theta, g, t, s, *, lr, max_norm):
    return theta - lr * g


@mistake("clip_by_value(sgd(momentum=0.0))", "xp.minimum(g, max_value)")
def clipped_from_above(theta, g, t, s, *, lr, max_value):
    return theta - lr * np.minimum(g, max_value)


@mistake(
    "clip_by_norm(l2(sgd(momentum=0.0)))", "l2 outside clip_by_norm", links="apache/mxnet#9881"
)
def penalty_is_clipped_too(theta, g, t, s, *, lr, max_norm, weight_decay):
    g = g + weight_decay * theta
    norm = np.sqrt(np.sum(g**2))
    return theta - lr * g * (max_norm / max(norm, max_norm))


# Slow weights


@mistake("lookahead(sgd(momentum=0.0))", "without lookahead", links="ReaLLMASIC/ReaLLM-Forge#479")
def returns_before_it_synchronises(theta, g, t, s, *, lr):
    return theta - lr * g


@mistake("lookahead(sgd(momentum=0.0))", "return theta, slow")
def fast_weights_go_on(theta, g, t, s, *, lr, k, alpha):
    """The slow weights follow, and nobody hands them back."""
    if t == 1:
        s.slow = theta
    theta = theta - lr * g
    if t % k == 0:
        s.slow = s.slow + alpha * (theta - s.slow)
    return theta


@mistake("lookahead(sgd(momentum=0.0))", "1 - alpha in place of alpha")
def alpha_weighs_the_slow(theta, g, t, s, *, lr, k, alpha):
    if t == 1:
        s.slow = theta
    theta = theta - lr * g
    if t % k == 0:
        s.slow = theta = alpha * s.slow + (1 - alpha) * theta
    return theta


@mistake(
    "lookahead(sgd(dampening=0.0))",
    "lookahead resets the state inside",
    links="google-deepmind/optax#263",
)
def buffer_is_reset(theta, g, t, s, *, lr, momentum, k, alpha):
    if t == 1:
        s.slow = theta
    s.b = momentum * s.b + g
    theta = theta - lr * (s.b if momentum else g)
    if t % k == 0:
        s.slow = theta = s.slow + alpha * (theta - s.slow)
        s.b = np.zeros_like(theta)
    return theta


@mistake("lookahead(sgd(momentum=0.0))", "(t - 1) % k == 0")
def synchronises_one_step_early(theta, g, t, s, *, lr, k, alpha):
    """Counts from zero, and looks at the count before it advances."""
    if t == 1:
        s.slow = theta
    theta = theta - lr * g
    if (t - 1) % k == 0:
        s.slow = theta = s.slow + alpha * (theta - s.slow)
    return theta


@mistake("lookahead(sgd(momentum=0.0))", "slow_old")
def slow_weights_stay_where_they_began(theta, g, t, s, *, lr, k, alpha):
    if t == 1:
        s.slow = theta
    theta = theta - lr * g
    if t % k == 0:
        theta = s.slow + alpha * (theta - s.slow)
    return theta


@mistake(
    "lookahead(sgd(momentum=0.0))",
    "saving and loading: the slow weights",
    links="kozistr/pytorch_optimizer#310",
)
class SlowWeightsAreNotSaved(Target):
    """A loaded optimizer makes slow weights anew, of the parameters that it finds."""

    def __init__(self, params, *, lr, k, alpha):
        self.params, self.lr, self.k, self.alpha = params, lr, k, alpha
        self.slow = [p.copy() for p in params]
        self.counts = [0] * len(params)

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            self.counts[i] += 1
            self.params[i] -= self.lr * g
            if self.counts[i] % self.k == 0:
                self.slow[i] += self.alpha * (self.params[i] - self.slow[i])
                self.params[i][...] = self.slow[i]
        return self.params

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return list(self.counts)

    def load_state_dict(self, state):
        self.counts = list(state)


# Rows


@mistake("lazy(sgd(dampening=0.0))", "keeps rows of the parameter alone", links="clab/dynet#70")
def buffer_decays_in_every_row(theta, g, t, s, *, lr, momentum):
    s.b = g if t == 1 else momentum * s.b + g
    present = np.any(g != 0, axis=tuple(range(1, g.ndim)), keepdims=True) if g.ndim else g != 0
    return np.where(present, theta - lr * (s.b if momentum else g), theta)


@mistake(
    "lazy(adam)",
    "elements whose gradient is zero stay as they are",
    links="neuro-galaxy/torch_brain#49",
)
def elements_for_rows(theta, g, t, s, *, lr, beta1, beta2, eps):
    m = beta1 * s.m + (1 - beta1) * g
    v = beta2 * s.v + (1 - beta2) * g**2
    s.m, s.v = np.where(g != 0, m, s.m), np.where(g != 0, v, s.v)
    new = theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return np.where(g != 0, new, theta)


# Schedules


POLYNOMIAL = "polynomial(sgd(momentum=0.0), decay_steps=8, power=2.0, end_factor=0.1)"
EXPONENTIAL = "exponential(sgd(momentum=0.0), decay_rate=0.4, decay_steps=4)"
STEP_DECAY = "step_decay(sgd(momentum=0.0), decay_rate=0.4, decay_steps=4)"
COSINE = "cosine(sgd(momentum=0.0), decay_steps=8, end_factor=0.1)"
WARMUP = "warmup(sgd(momentum=0.0), warmup_steps=4)"
INVERSE_SQRT = "inverse_sqrt(sgd(momentum=0.0), warmup_steps=4)"
INVERSE_TIME = "inverse_time(sgd(momentum=0.0), decay=0.3)"
PIECEWISE_LINEAR = "piecewise_linear(sgd(momentum=0.0), schedule={2: 0.3, 5: 1.0, 9: 0.6})"


def scheduled(spec, *says, **declared):
    """Declares plain descent whose rate a function of the count of calls scales."""

    def declare(function):
        members = {
            "factor": lambda self, t: function(t),
            "__doc__": function.__doc__,
            "__module__": __name__,
            "__init__": lambda self, params, *, lr: Plain.__init__(self, params, lr=lr),
        }
        name = f"count_missing({spec})"
        mistake(name, *says, **declared)(type(function.__name__, (Plain,), members))
        return function

    return declare


@scheduled(
    POLYNOMIAL, links="LBANN/lbann#1984", unexplained="a schedule that starts from the last rate"
)
def polynomial_of_the_last_rate(t):
    factor = 1.0
    for n in range(1, t):
        factor = 0.1 + (factor - 0.1) * (1 - min(n / 8, 1)) ** 2.0
    return factor


@scheduled(
    POLYNOMIAL,
    "power is given the value of end_factor",
    links="ThilinaRajapakse/simpletransformers#997",
)
def end_for_the_power(t):
    fraction = min(1, (t - 1) / 8)
    return 0.1 + 0.9 * (1 - fraction) ** 0.1


@scheduled(EXPONENTIAL, "the factors of exponential multiply up", links="fcomitani/simpsom#30")
def exponential_of_the_last_rate(t):
    factor = 1.0
    for n in range(1, t):
        factor *= 0.4 ** (n / 4)
    return factor


@scheduled(EXPONENTIAL, "step_decay where exponential belongs", links="stickeritis/sticker#145")
def staircase_for_a_slope(t):
    return 0.4 ** ((t - 1) // 4)


@scheduled(STEP_DECAY, "decay_rate**(t // decay_steps)")
def drops_one_step_early(t):
    return 0.4 ** (t // 4)


@scheduled(
    STEP_DECAY,
    links="pytorch/pytorch#22107",
    unexplained="a step that is decayed once more than it should be, and the next is not",
)
def drops_twice_at_the_milestone(t):
    n = t - 1
    factor = 0.4 ** (n // 4)
    return factor * 0.4 if n and n % 4 == 0 else factor


@scheduled(COSINE, "cosine_periodic", links="Tencent-Hunyuan/UniRL#223")
def cosine_that_rises_again(t):
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (t - 1) / 8)) / 2


@scheduled(COSINE, "is not divided by 2")
def cosine_without_its_half(t):
    fraction = min(1, (t - 1) / 8)
    return 0.1 + 0.9 * (1 + math.cos(math.pi * fraction))


@scheduled(WARMUP, "always t / warmup_steps", links="erfanzar/eformer#2")
def warmup_without_an_end(t):
    return t / 4


@scheduled(
    WARMUP,
    "warmup is attached after the first step",
    links="facebookresearch/fairseq#453 deepspeedai/DeepSpeed#5731",
)
def first_step_at_the_peak(t):
    """The schedule is set up after the first step, and then is one step behind."""
    return 1.0 if t == 1 else min(1.0, (t - 1) / 4)


@scheduled(INVERSE_SQRT, "the maximum instead of the minimum")
def larger_of_the_two(t):
    return max(t**-0.5, t * 4**-1.5)


@scheduled(INVERSE_SQRT, "t / xp.sqrt(warmup_steps)")
def another_exponent(t):
    return min(t**-0.5, t * 4**-0.5)


@scheduled(PIECEWISE_LINEAR, "return start")
def constant_between_the_knots(t):
    factor = 0.0
    for step, value in {2: 0.3, 5: 1.0, 9: 0.6}.items():
        if t >= step:
            factor = value
    return factor


@scheduled(INVERSE_TIME, "1 / (1 + t * decay)")
def inverse_of_the_next_step(t):
    return 1 / (1 + 0.3 * t)
