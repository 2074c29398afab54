"""Clipping, accumulation, schedules, Lookahead, lazy rows and centralization, right."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from mistakes.stepping import Momentum
from mistakes.wrappers import (
    EXPONENTIAL,
    INVERSE_TIME,
    PIECEWISE_LINEAR,
    STEP_DECAY,
    WARMUP,
    Accumulating,
    AccumulatingAdam,
    Around,
    Lazy,
    LookingAhead,
    Scheduled,
    linear,
)

from controls.control import Controls

CONTROLS = control = Controls()

control("sgd")(Momentum)
control("gradient_accumulation(sgd)")(Accumulating)
control("gradient_accumulation(adam)")(AccumulatingAdam)
control("gradient_accumulation(adamw)")(AccumulatingAdam)
control("lookahead(sgd)")(LookingAhead)
control("lazy(adam)")(Lazy)


def present(grads):
    return [g for g in grads if g is not None]


# Clipping


class ClippedTogether(Around):
    """All gradients times one number, from their joint norm."""

    def norm(self, grads):
        return math.sqrt(sum(float(np.sum(np.float64(g) ** 2)) for g in grads))

    def changed(self, grads):
        norm = self.norm(present(grads))
        scale = min(1.0, self.options["max_norm"] / norm) if norm > 0 else 1.0
        return [None if g is None else g * scale for g in grads]


control("clip_by_global_norm(sgd)", links="apache/mxnet#9291")(ClippedTogether)


@control("clip_by_global_norm(sgd)")
class NormOfNorms(ClippedTogether):
    def norm(self, grads):
        return float(np.linalg.norm([np.linalg.norm(np.ravel(g)) for g in grads]))


@control("clip_by_global_norm(sgd)")
class NormOfOneVector(ClippedTogether):
    def norm(self, grads):
        return np.linalg.norm(np.concatenate([np.ravel(g) for g in grads]))


@control("clip_by_global_norm(sgd)")
class SquaresInALoop(ClippedTogether):
    """One after the other, in the format of the gradients."""

    def norm(self, grads):
        total = grads[0].dtype.type(0)
        for g in grads:
            for value in np.ravel(g):
                total = total + value * value
        return float(np.sqrt(total))


@control("clip_by_global_norm(sgd)")
class DividedByTheQuotient(ClippedTogether):
    """``g / max(1, norm/max_norm)``."""

    def changed(self, grads):
        divisor = max(1.0, self.norm(present(grads)) / self.options["max_norm"])
        return [None if g is None else g / divisor for g in grads]


@control("clip_by_global_norm(sgd)")
class ClippedWhereItIsLarger(ClippedTogether):
    """``g / norm * max_norm`` behind a condition."""

    def changed(self, grads):
        norm, limit = self.norm(present(grads)), self.options["max_norm"]
        if norm <= limit:
            return grads
        return [None if g is None else g / norm * limit for g in grads]


@control("clip_by_global_norm(sgd)")
class ReciprocalsOfNorms(ClippedTogether):
    """``g * max_norm * min(1/norm, 1/max_norm)``, as TensorFlow has it."""

    def changed(self, grads):
        norm, limit = self.norm(present(grads)), self.options["max_norm"]
        scale = limit * min(1 / norm if norm > 0 else math.inf, 1 / limit)
        return [None if g is None else g * scale for g in grads]


@control("clip_by_norm(sgd)")
class ClippedAlone(Around):
    def change(self, g):
        norm = np.linalg.norm(np.ravel(g))
        return g * min(1.0, self.options["max_norm"] / norm) if norm > 0 else g


@control("clip_by_norm(sgd)")
class ClippedByTheLargerNorm(Around):
    """``g * max_norm / max(norm, max_norm)``, as Keras has it."""

    def change(self, g):
        limit = g.dtype.type(self.options["max_norm"])
        return g * limit / np.maximum(np.sqrt(np.sum(g * g)), limit)


@control("clip_by_value(sgd)")
class ClippedByNumpy(Around):
    def change(self, g):
        return np.clip(g, -self.options["max_value"], self.options["max_value"])


@control("clip_by_value(sgd)")
class MagnitudeAndSign(Around):
    def change(self, g):
        return np.copysign(np.minimum(abs(g), g.dtype.type(self.options["max_value"])), g)


# Gradient accumulation


@control("gradient_accumulation(sgd)")
class RunningMean(Accumulating):
    """The mean moves towards each gradient by one over their count."""

    def gather(self, grads):
        n = (self.calls - 1) % self.options["k"] + 1
        for mean, g in zip(self.sums, grads, strict=True):
            mean += ((0 if g is None else g) - mean) / n

    def step(self, grads):
        self.calls += 1
        self.gather(grads)
        if self.calls % self.options["k"] == 0:
            self.optimizer.step(self.sums)
            self.reset()
        return self.optimizer.params


@control("gradient_accumulation(sgd)")
class SumTimesTheReciprocal(Accumulating):
    def step(self, grads):
        self.calls += 1
        self.gather(grads)
        if self.calls % self.options["k"] == 0:
            self.optimizer.step([total * (1 / self.options["k"]) for total in self.sums])
            self.reset()
        return self.optimizer.params


@control("gradient_accumulation(adam)")
class MeanOfAListOfGradients(AccumulatingAdam):
    """All gradients of the window are kept, and averaged in double."""

    def prepare(self, params):
        super().prepare(params)
        self.window = []

    def step(self, grads):
        pairs = zip(self.optimizer.params, grads, strict=True)
        self.window.append([np.zeros_like(p) if g is None else np.array(g) for p, g in pairs])
        if len(self.window) == self.options["k"]:
            means = [np.mean(np.float64(gs), axis=0).astype(gs[0].dtype)
                     for gs in zip(*self.window, strict=True)]  # fmt: skip
            self.optimizer.step(means)
            self.window = []
        return self.optimizer.params


@control("gradient_accumulation(sgd)", links="bojone/bert4keras#234")
class DividedBeforeItIsAdded(Accumulating):
    def gather(self, grads):
        super().gather([None if g is None else g / self.options["k"] for g in grads])

    def step(self, grads):
        self.calls += 1
        self.gather(grads)
        if self.calls % self.options["k"] == 0:
            self.optimizer.step(self.sums)
            self.reset()
        return self.optimizer.params


# Schedules


@control(WARMUP)
class WarmupByAdding(Scheduled):
    """The factor grows by the same amount in every step."""

    def prepare(self, params):
        super().prepare(params)
        self.grown = 0.0

    def factor(self, t):
        self.grown = min(1.0, self.grown + 1 / self.options["warmup_steps"])
        return self.grown


@control(EXPONENTIAL)
class ExponentialByMultiplying(Scheduled):
    def prepare(self, params):
        super().prepare(params)
        self.kept = 1.0

    def factor(self, t):
        now = self.kept
        self.kept *= self.options["decay_rate"] ** (1 / self.options["decay_steps"])
        return now


@control(EXPONENTIAL)
class ExponentialByLogarithms(Scheduled):
    def factor(self, t):
        o = self.options
        return math.exp((t - 1) / o["decay_steps"] * math.log(o["decay_rate"]))


@control(STEP_DECAY)
class DecaysAtMilestones(Scheduled):
    def prepare(self, params):
        super().prepare(params)
        self.kept = 1.0

    def factor(self, t):
        if t > 1 and (t - 1) % self.options["decay_steps"] == 0:
            self.kept *= self.options["decay_rate"]
        return self.kept


@control(INVERSE_TIME)
class InverseTime(Scheduled):
    def factor(self, t):
        return 1 / (1 + self.options["decay"] * (t - 1))


@control(PIECEWISE_LINEAR)
class Interpolated(Scheduled):
    def factor(self, t):
        return linear(self.options["schedule"], t)


@control(PIECEWISE_LINEAR)
class WeightedEnds(Scheduled):
    """Each end times how far away the other is."""

    def factor(self, t):
        knots = [(0, 0.0), *self.options["schedule"].items()]
        for (t0, f0), (t1, f1) in pairwise(knots):
            if t < t1:
                return (f0 * (t1 - t) + f1 * (t - t0)) / (t1 - t0)
        return knots[-1][1]


COSINE = "count_missing(cosine(sgd(dampening=0.0), decay_steps=8))"


@control(COSINE)
class CosineByHalfAngles(Scheduled):
    def factor(self, t):
        end = self.options["end_factor"]
        return end + (1 - end) * math.cos(math.pi / 2 * min(t - 1, 8) / 8) ** 2


@control(COSINE)
class Cosine(Scheduled):
    def factor(self, t):
        end, turned = self.options["end_factor"], math.cos(math.pi * min((t - 1) / 8, 1.0))
        return (1 + end) / 2 + (1 - end) / 2 * turned


@control("count_missing(inverse_sqrt(sgd(dampening=0.0), warmup_steps=4))")
class InverseRootByPowers(Scheduled):
    """As the paper of the transformer has it, without the width of the model."""

    def factor(self, t):
        return min(t**-0.5, t * self.options["warmup_steps"] ** -1.5)


@control("count_missing(polynomial(sgd(dampening=0.0), decay_steps=8))")
class PolynomialFromTheEnd(Scheduled):
    def factor(self, t):
        o = self.options
        left = max(8 - (t - 1), 0)
        return o["end_factor"] + (1 - o["end_factor"]) * left ** o["power"] / 8 ** o["power"]


# Lookahead


@control("lookahead(sgd)", links="google-deepmind/optax#263")
class SlowWeightsAsConvexCombination(LookingAhead):
    def synchronise(self, i, p):
        alpha = self.options["alpha"]
        self.slow[i] = np.asarray((1 - alpha) * self.slow[i] + alpha * p)
        p[...] = self.slow[i]


@control("lookahead(sgd)")
class FastWeightsGoBack(LookingAhead):
    """From the fast weights towards the slow ones, by what is left of alpha."""

    def synchronise(self, i, p):
        p += (1 - self.options["alpha"]) * (self.slow[i] - p)
        self.slow[i][...] = p


# Lazy rows


@control("lazy(adam)", links="pytorch/pytorch#18404")
class GatheredRows(Lazy):
    """Rows are gathered, stepped and scattered."""

    def step(self, grads):
        inner = self.optimizer
        for i, g in enumerate(grads):
            if g is None:
                continue
            inner.t[i] += 1
            t = inner.t[i]
            rows = np.flatnonzero(np.any(np.atleast_1d(g), axis=tuple(range(1, g.ndim))))
            p, m, v = (np.atleast_1d(x) for x in (inner.params[i], inner.m[i], inner.v[i]))
            some = np.atleast_1d(g)[rows]
            m[rows] = inner.beta1 * m[rows] + (1 - inner.beta1) * some
            v[rows] = inner.beta2 * v[rows] + (1 - inner.beta2) * some * some
            below = np.sqrt(v[rows] / (1 - inner.beta2**t)) + inner.eps
            p[rows] -= inner.lr * (m[rows] / (1 - inner.beta1**t)) / below
        return inner.params


# Gradient centralization


@control("gradient_centralization(sgd)")
class MeanByALibrary(Around):
    def change(self, g):
        return g - g.mean(axis=tuple(range(1, g.ndim)), keepdims=True) if g.ndim > 1 else g


@control("gradient_centralization(sgd)")
class MeanByAProduct(Around):
    """The mean of a row is its product with equal weights."""

    def change(self, g):
        if g.ndim < 2 or not g.size:
            return g
        rows = g.reshape(len(g), -1)
        weights = np.full(rows.shape[1], 1 / rows.shape[1], g.dtype)
        return (rows - (rows @ weights)[:, None]).reshape(g.shape)


# Ranger


@control("ranger")
class Ranger:
    """All in one: centralized gradients, rectified Adam, and slow weights."""

    def __init__(self, params, *, lr, beta1, beta2, eps, k, alpha):
        self.params, self.lr, self.beta1, self.beta2, self.eps = params, lr, beta1, beta2, eps
        self.k, self.alpha = k, alpha
        self.state = [
            {"t": 0, "m": np.zeros_like(p), "v": np.zeros_like(p), "slow": p.copy()} for p in params
        ]

    def set_lr(self, lr):
        self.lr = lr

    def step(self, grads):
        for p, g, s in zip(self.params, grads, self.state, strict=True):
            if g is None:
                continue
            s["t"] += 1
            if g.ndim > 1:
                g = g + -g.mean(axis=tuple(range(1, g.ndim)), keepdims=True)
            s["m"] += (1 - self.beta1) * (g - s["m"])
            s["v"] += (1 - self.beta2) * (g * g - s["v"])
            p -= self.lr * self.direction(s)
            if s["t"] % self.k == 0:
                s["slow"] += self.alpha * (p - s["slow"])
                p[...] = s["slow"]
        return self.params

    def direction(self, s):
        t = s["t"]
        bias1, bias2 = 1 - self.beta1**t, 1 - self.beta2**t
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * t * self.beta2**t / bias2
        if length <= 4:
            return s["m"] / bias1
        up, down = (length - 4) * (length - 2) / length, (longest - 4) * (longest - 2) / longest
        step_size = math.sqrt(bias2 * up / down) / bias1
        return step_size * s["m"] / (np.sqrt(s["v"]) + self.eps * math.sqrt(bias2))
