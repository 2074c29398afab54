"""Clipping, accumulation, schedules, Lookahead, lazy updates and centralization, wrong.

As people write them: a class around an optimizer, which changes its gradients, rate or parameters.
"""

from __future__ import annotations

import copy
import math

import numpy as np

from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


class Descent:
    """Momentum, in place: what the wrappers wrap."""

    def __init__(self, params, *, lr, momentum=0.0, dampening=0.0):
        self.params, self.lr, self.momentum, self.dampening = params, lr, momentum, dampening
        self.buffers = {}

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            if self.momentum and i in self.buffers:
                g = self.momentum * self.buffers[i] + (1 - self.dampening) * g
            self.buffers[i] = np.array(g)
            self.params[i] -= self.lr * self.buffers[i]
        return self.params

    def state_dict(self):
        return copy.deepcopy(self.buffers)

    def load_state_dict(self, state):
        self.buffers = copy.deepcopy(state)


class AdamW:
    """Adam with decoupled decay, in place, and a count for each parameter."""

    def __init__(self, params, *, lr, beta1, beta2, eps, weight_decay=0.0):
        self.params, self.lr, self.weight_decay = params, lr, weight_decay
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]
        self.t = [0] * len(params)

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.t[i] += 1
                self.update(i, g)
        return self.params

    def update(self, i, g):
        self.m[i] += (1 - self.beta1) * (g - self.m[i])
        self.v[i] += (1 - self.beta2) * (g * g - self.v[i])
        self.params[i] *= 1 - self.lr * self.weight_decay
        step_size = self.lr / (1 - self.beta1 ** self.t[i])
        root = np.sqrt(self.v[i]) / math.sqrt(1 - self.beta2 ** self.t[i])
        self.params[i] -= step_size * self.m[i] / (root + self.eps)

    def state_dict(self):
        return copy.deepcopy((self.m, self.v, self.t))

    def load_state_dict(self, state):
        self.m, self.v, self.t = copy.deepcopy(state)


class Around:
    """An optimizer with something around it."""

    inner: type = Descent

    def __init__(self, params, *, lr=1e-2, momentum=0.0, dampening=0.0, nesterov=False, **options):
        self.optimizer = self.inner(params, lr=lr, momentum=momentum, dampening=dampening)
        self.options = options
        self.prepare(params)

    def prepare(self, params):
        """Whatever state there is."""

    def set_lr(self, lr):
        self.optimizer.lr = lr

    def step(self, grads):
        return self.optimizer.step(self.changed(grads))

    def changed(self, grads):
        return [None if g is None else self.change(g) for g in grads]

    def change(self, g):
        return g

    def state_dict(self):
        own = {k: v for k, v in vars(self).items() if k not in ("optimizer", "options")}
        return copy.deepcopy(own), self.optimizer.state_dict()

    def load_state_dict(self, state):
        own, inner = copy.deepcopy(state)
        vars(self).update(own)
        self.optimizer.load_state_dict(inner)


class AroundAdam(Around):
    """Adam with something around it."""

    inner = AdamW

    def __init__(self, params, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
                 **options):  # fmt: skip
        rates = {"beta1": beta1, "beta2": beta2, "eps": eps}
        self.optimizer = AdamW(params, lr=lr, weight_decay=weight_decay, **rates)
        self.options = options
        self.prepare(params)


def squares(grads):
    return [float(np.sum(np.square(g, dtype=np.float64))) for g in grads if g is not None]


# Clipping


@mistake("clip_by_global_norm(sgd)", "xp.sum(g**2)**2", links="paiml/entrenar#311")
class NormsSquaredTwice(Around):
    def changed(self, grads):
        total = math.sqrt(sum(square * square for square in squares(grads)))
        scale = min(1.0, self.options["max_norm"] / total) if total > 0 else 1.0
        return [None if g is None else g * scale for g in grads]


@mistake("clip_by_global_norm(sgd)", "norm = sum(", links="paiml/entrenar#311")
class NormWithoutRoot(Around):
    def changed(self, grads):
        total = sum(squares(grads))
        scale = min(1.0, self.options["max_norm"] / total) if total > 0 else 1.0
        return [None if g is None else g * scale for g in grads]


@mistake(
    "clip_by_global_norm(sgd)",
    "clip_by_norm where clip_by_global_norm belongs",
    entry=103,
    links="huggingface/transformers#581 keras-team/keras#13575 anthonytorlucci/rlevo#183",
)
class EachByItsOwnNorm(Around):
    def change(self, g):
        norm = math.sqrt(sum(squares([g])))
        return g * min(1.0, self.options["max_norm"] / norm) if norm > 0 else g


@mistake("clip_by_norm(sgd)", "clip_by_global_norm where clip_by_norm belongs")
class AllByTheirJointNorm(Around):
    def changed(self, grads):
        total = math.sqrt(sum(squares(grads)))
        scale = min(1.0, self.options["max_norm"] / total) if total > 0 else 1.0
        return [None if g is None else g * scale for g in grads]


@mistake("clip_by_global_norm(sgd)", "the root of the mean", links="HomebrewML/HeavyBall#67")
class RootMeanSquareForNorm(Around):
    def changed(self, grads):
        count = sum(g.size for g in grads if g is not None)
        total = math.sqrt(sum(squares(grads)) / count)
        scale = min(1.0, self.options["max_norm"] / total) if total > 0 else 1.0
        return [None if g is None else g * scale for g in grads]


@mistake("clip_by_global_norm(sgd)", "the norm is the sum of the norms", entry=104)
class SumOfNorms(Around):
    def changed(self, grads):
        total = sum(math.sqrt(square) for square in squares(grads))
        scale = min(1.0, self.options["max_norm"] / total) if total > 0 else 1.0
        return [None if g is None else g * scale for g in grads]


@mistake(
    "clip_by_global_norm(sgd)",
    "without clip_by_global_norm",
    entry=105,
    links="NVIDIA/OpenSeq2Seq#192",
)
class ClippedGradientsAreDropped(Around):
    def changed(self, grads):
        total = math.sqrt(sum(squares(grads)))
        clipped = [None if g is None else g * min(1.0, self.options["max_norm"] / (total or 1.0))
                   for g in grads]  # fmt: skip
        assert len(clipped) == len(grads)
        return grads


@mistake("clip_by_global_norm(sgd)", "scaled to max_norm also where the norm is below it")
class AlwaysScaled(Around):
    """Small gradients are made as large as the limit."""

    def changed(self, grads):
        total = math.sqrt(sum(squares(grads)))
        scale = self.options["max_norm"] / total if total > 0 else 1.0
        return [None if g is None else g * scale for g in grads]


@mistake("clip_by_global_norm(sgd)", "the factor is upside down", "/ max_norm")
class FactorUpsideDown(Around):
    def changed(self, grads):
        total = math.sqrt(sum(squares(grads)))
        scale = min(1.0, total / self.options["max_norm"])
        return [None if g is None else g * scale for g in grads]


@mistake("clip_by_global_norm(sgd)", "right where none is missing")
class NormOfStaleGradients(Around):
    """The gradient of an earlier step counts where there is none."""

    def prepare(self, params):
        self.last = [np.zeros_like(p) for p in params]

    def changed(self, grads):
        for last, g in zip(self.last, grads, strict=True):
            if g is not None:
                last[...] = g
        total = math.sqrt(sum(squares(self.last)))
        scale = min(1.0, self.options["max_norm"] / total) if total > 0 else 1.0
        return [None if g is None else g * scale for g in grads]


@mistake("clip_by_norm(sgd)", "clip_by_norm", "direction", links="sanchit-gandhi/seq2seq-speech#7")
class UpdatesAreClipped(Around):
    """The limit is on the step instead of the gradient."""

    def step(self, grads):
        before = [p.copy() for p in self.optimizer.params]
        after = self.optimizer.step(grads)
        for p, old in zip(after, before, strict=True):
            update = p - old
            norm = math.sqrt(sum(squares([update])))
            limit = self.optimizer.lr * self.options["max_norm"]
            p[...] = old + update * min(1.0, limit / norm) if norm > 0 else old
        return after


@mistake("clip_by_value(sgd)", "xp.minimum(g, max_value)")
class ClippedFromAbove(Around):
    def change(self, g):
        return np.minimum(g, self.options["max_value"])


@mistake("clip_by_value(sgd)", "elements beyond max_value are set to zero")
class LargeElementsAreDropped(Around):
    def change(self, g):
        return np.where(abs(g) > self.options["max_value"], 0, g).astype(g.dtype)


@mistake("clip_by_value(sgd)", "the largest element is max_value")
class ScaledByTheLargestElement(Around):
    def change(self, g):
        largest = float(abs(g).max()) if g.size else 0.0
        return g * min(1.0, self.options["max_value"] / largest) if largest > 0 else g


@mistake("l2(clip_by_value(sgd))", "clip_by_value(l2(", entry=49, links="apache/mxnet#9881")
class DecayIsNotClipped(Around):
    def changed(self, grads):
        limit, decay = self.options["max_value"], self.options["weight_decay"]
        return [
            None if g is None else np.clip(g, -limit, limit) + decay * p
            for g, p in zip(grads, self.optimizer.params, strict=True)
        ]


# Gradient accumulation


class Accumulating(Around):
    """Sums gradients up; the step of every k-th call is that of the subclass."""

    def prepare(self, params):
        self.calls = 0
        self.sums = [np.zeros_like(p) for p in params]

    def gather(self, grads):
        for total, g in zip(self.sums, grads, strict=True):
            if g is not None:
                total += g

    def reset(self):
        for total in self.sums:
            total[...] = 0

    def step(self, grads):
        k = self.options["k"]
        self.calls += 1
        self.gather(grads)
        if self.calls % k == 0:
            self.optimizer.step([total / k for total in self.sums])
            self.reset()
        return self.optimizer.params


class AccumulatingAdam(Accumulating, AroundAdam):
    """The same around Adam."""


@mistake("gradient_accumulation(sgd)", "mean = mean + g", "g / k", entry=128)
class SumForMean(Accumulating):
    def step(self, grads):
        self.calls += 1
        self.gather(grads)
        if self.calls % self.options["k"] == 0:
            self.optimizer.step(self.sums)
            self.reset()
        return self.optimizer.params


@mistake("gradient_accumulation(sgd)", "return (", "mean", entry=130)
class NeverReset(Accumulating):
    def reset(self):
        pass


@mistake(
    "gradient_accumulation(sgd)",
    "g / k",
    entry=131,
    links="tientrandinh/Revisiting-Reverse-Distillation#12",
)
class ResetInEveryCall(Accumulating):
    """What is left is the last gradient, divided by k."""

    def gather(self, grads):
        self.reset()
        super().gather(grads)


@mistake("gradient_accumulation(sgd)", "(t - 1) % k == 0", entry=134)
class StepsInTheFirstCall(Accumulating):
    """The count is compared before it advances."""

    def step(self, grads):
        k = self.options["k"]
        self.gather(grads)
        if self.calls % k == 0:
            self.optimizer.step([total / k for total in self.sums])
            self.reset()
        self.calls += 1
        return self.optimizer.params


@mistake("gradient_accumulation(sgd)", "t % k != 0", links="huggingface/accelerate#435")
class StepsInAllOtherCalls(Accumulating):
    def step(self, grads):
        k = self.options["k"]
        self.calls += 1
        self.gather(grads)
        if self.calls % k != 0:
            self.optimizer.step([total / k for total in self.sums])
            self.reset()
        return self.optimizer.params


@mistake("gradient_accumulation(sgd)", "without gradient_accumulation")
class StepsInEveryCall(Accumulating):
    def step(self, grads):
        return self.optimizer.step(grads)


@mistake(
    "gradient_accumulation(sgd)",
    "mean + (g - mean) / k",
    unexplained="what a missing gradient means is different as well",
)
class RunningMeanOfFixedLength(Accumulating):
    def gather(self, grads):
        for total, g in zip(self.sums, grads, strict=True):
            if g is not None:
                total += (g - total) / self.options["k"]

    def step(self, grads):
        self.calls += 1
        self.gather(grads)
        if self.calls % self.options["k"] == 0:
            self.optimizer.step(self.sums)
            self.reset()
        return self.optimizer.params


@mistake("gradient_accumulation(sgd)", "update_every", "the variants count the calls", entry=131)
class MomentumInEveryCall(Accumulating):
    """The buffer sees every gradient; every k-th step moves."""

    def step(self, grads):
        self.calls += 1
        rate = self.optimizer.lr
        self.optimizer.lr = rate if self.calls % self.options["k"] == 0 else 0.0
        self.optimizer.step(grads)
        self.optimizer.lr = rate
        return self.optimizer.params


@mistake(
    "gradient_accumulation(adam)",
    "the step count is not divided by k",
    entry=129,
    links="keras-team/keras#19990 keras-team/keras#19998",
)
class CountsCalls(AccumulatingAdam):
    def step(self, grads):
        self.optimizer.t = [t + 1 for t in self.optimizer.t]
        if (self.calls + 1) % self.options["k"] == 0:
            self.optimizer.t = [t - 1 for t in self.optimizer.t]
        return super().step(grads)


@mistake(
    "gradient_accumulation(adamw)",
    "weight_decay outside gradient_accumulation",
    entry=52,
    links="keras-team/keras#19990",
)
class DecaysInEveryCall(AccumulatingAdam):
    def step(self, grads):
        decay = self.optimizer.weight_decay
        for p in self.optimizer.params:
            p *= 1 - self.optimizer.lr * decay
        self.optimizer.weight_decay = 0.0
        new = super().step(grads)
        self.optimizer.weight_decay = decay
        return new


@mistake(
    "gradient_accumulation(clip_by_global_norm(sgd))",
    "clip_by_global_norm(gradient_accumulation(",
    links="huggingface/accelerate#641",
)
class EachGradientIsClipped(Accumulating):
    def gather(self, grads):
        total = math.sqrt(sum(squares(grads)))
        scale = min(1.0, self.options["max_norm"] / total) if total > 0 else 1.0
        super().gather([None if g is None else g * scale for g in grads])


# Schedules

# One count for all parameters, and no dampening, so that no buffer knows its first gradient.
SGD = "sgd(dampening=0.0)"
WARMUP = f"count_missing(warmup({SGD}, warmup_steps=4))"
EXPONENTIAL = f"count_missing(exponential({SGD}, decay_rate=0.4, decay_steps=4))"
STEP_DECAY = f"count_missing(step_decay({SGD}, decay_rate=0.4, decay_steps=4))"
INVERSE_TIME = f"count_missing(inverse_time({SGD}))"
PIECEWISE_LINEAR = f"count_missing(piecewise_linear({SGD}, schedule={{2: 0.3, 5: 1.0, 9: 0.6}}))"


class Scheduled(Around):
    """The rate of each step, from the subclass's factor at its 1-based count."""

    def prepare(self, params):
        self.count = 0

    def step(self, grads):
        self.count += 1
        rate = self.optimizer.lr
        self.optimizer.lr = rate * self.factor(self.count)
        new = self.optimizer.step(grads)
        self.optimizer.lr = rate
        return new


@mistake(WARMUP, "warmup_zero_based", entry=135, links="google-research/bert#1293")
class FirstStepAtZero(Scheduled):
    def factor(self, t):
        return min(1.0, (t - 1) / self.options["warmup_steps"])


@mistake(WARMUP, "t / warmup_steps", "1")
class WarmupWithoutEnd(Scheduled):
    def factor(self, t):
        return t / self.options["warmup_steps"]


@mistake(WARMUP, "t // warmup_steps")
class WarmupByIntegerDivision(Scheduled):
    def factor(self, t):
        return min(1.0, float(t // self.options["warmup_steps"]))


@mistake(WARMUP, "(t + 1)")
class WarmupOneStepAhead(Scheduled):
    def factor(self, t):
        return min(1.0, (t + 1) / (self.options["warmup_steps"] + 1))


@mistake(EXPONENTIAL, "step_decay where exponential belongs")
class DecaysInStairs(Scheduled):
    def factor(self, t):
        o = self.options
        return o["decay_rate"] ** ((t - 1) // o["decay_steps"])


@mistake(STEP_DECAY, "exponential where step_decay belongs")
class DecaysSmoothly(Scheduled):
    def factor(self, t):
        o = self.options
        return o["decay_rate"] ** ((t - 1) / o["decay_steps"])


@mistake(STEP_DECAY, "the factors of step_decay multiply up")
class DecayCompounds(Scheduled):
    """The factor is multiplied into the rate that the last step left."""

    def prepare(self, params):
        super().prepare(params)
        self.kept = 1.0

    def factor(self, t):
        o = self.options
        self.kept *= o["decay_rate"] ** ((t - 1) // o["decay_steps"])
        return self.kept


@mistake(
    INVERSE_TIME, "the factors of inverse_time multiply up", links="oysteijo/simd_neuralnet#78"
)
class RateShrinksFromTheLast(Scheduled):
    """The rate of the last step is divided again."""

    def prepare(self, params):
        super().prepare(params)
        self.kept = 1.0

    def factor(self, t):
        o = self.options
        self.kept /= 1 + o["decay"] * (t - 1)
        return self.kept


@mistake(PIECEWISE_LINEAR, "piecewise_linear_zero_based")
class KnotsFromZero(Scheduled):
    def factor(self, t):
        return linear(self.options["schedule"], t - 1)


def linear(schedule, t):
    knots = {0: 0.0} | schedule
    return float(np.interp(t, list(knots), list(knots.values())))


@mistake(PIECEWISE_LINEAR, "factor")
class PiecewiseConstant(Scheduled):
    def factor(self, t):
        passed = [f for step, f in self.options["schedule"].items() if step <= t]
        return passed[-1] if passed else 0.0


@mistake(PIECEWISE_LINEAR, "there is none at 0")
class StartsAtTheFirstFactor(Scheduled):
    """No implicit knot at zero."""

    def factor(self, t):
        schedule = self.options["schedule"]
        return float(np.interp(t, list(schedule), list(schedule.values())))


@mistake(PIECEWISE_LINEAR, "the line goes on after the last knot")
class GoesOnAfterTheLastKnot(Scheduled):
    def factor(self, t):
        knots = list(({0: 0.0} | self.options["schedule"]).items())
        (t0, f0), (t1, f1) = knots[-2:]
        return linear(dict(knots), t) if t <= t1 else f1 + (f1 - f0) * (t - t1) / (t1 - t0)


# Lookahead


class LookingAhead(Around):
    """Slow weights, which a parameter meets after every k of its steps."""

    def prepare(self, params):
        self.counts = [0] * len(params)
        self.slow = [p.copy() for p in params]

    def step(self, grads):
        fast = self.optimizer.step(grads)
        for i, g in enumerate(grads):
            if g is not None:
                self.counts[i] += 1
                if self.is_due(self.counts[i]):
                    self.synchronise(i, fast[i])
        return fast

    def is_due(self, count):
        return count % self.options["k"] == 0

    def synchronise(self, i, p):
        self.slow[i] += self.options["alpha"] * (p - self.slow[i])
        p[...] = self.slow[i]


@mistake("lookahead(sgd)", "return theta")
class FastWeightsGoOn(LookingAhead):
    def synchronise(self, i, p):
        self.slow[i] += self.options["alpha"] * (p - self.slow[i])


@mistake("lookahead(sgd)", "zero")
class SlowWeightsStartAtZero(LookingAhead):
    def prepare(self, params):
        super().prepare(params)
        self.slow = [np.zeros_like(p) for p in params]


@mistake("lookahead(sgd)", "without lookahead", links="ReaLLMASIC/ReaLLM-Forge#479")
class ReturnsBeforeItSynchronises(LookingAhead):
    def step(self, grads):
        return self.optimizer.step(grads)


@mistake("lookahead(sgd)", "without lookahead")
class SlowWeightsAreTheFastOnes(LookingAhead):
    def prepare(self, params):
        super().prepare(params)
        self.slow = params

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.slow = self.optimizer.params


@mistake("lookahead(sgd)", "slow + (1 - alpha) * (theta - slow)")
class FractionFromTheOtherEnd(LookingAhead):
    def synchronise(self, i, p):
        p += self.options["alpha"] * (self.slow[i] - p)
        self.slow[i][...] = p


@mistake("lookahead(sgd)", "slow + alpha * theta")
class SlowWeightsGrow(LookingAhead):
    def synchronise(self, i, p):
        self.slow[i] += self.options["alpha"] * p
        p[...] = self.slow[i]


@mistake("lookahead(sgd)", "(t + 1) % k == 0")
class SynchronisesOneStepEarly(LookingAhead):
    def is_due(self, count):
        return (count + 1) % self.options["k"] == 0


@mistake("lookahead(sgd)", "slow", "theta")
class SlowWeightsAreNeverUpdated(LookingAhead):
    """The parameter goes back towards the same start again and again."""

    def synchronise(self, i, p):
        p[...] = self.slow[i] + self.options["alpha"] * (p - self.slow[i])


@mistake(
    "lookahead(sgd)",
    "load",
    links="kozistr/pytorch_optimizer#310 CyberZHG/keras-lookahead#2",
)
class SlowWeightsAreNotSaved(LookingAhead):
    def state_dict(self):
        return self.counts, self.optimizer.state_dict()

    def load_state_dict(self, state):
        self.counts = list(state[0])
        self.optimizer.load_state_dict(state[1])


@mistake("lookahead(sgd(dampening=0.0))", "lookahead resets the state inside", entry=140)
class MomentumIsLostAtSynchronisation(LookingAhead):
    def synchronise(self, i, p):
        super().synchronise(i, p)
        del self.optimizer.buffers[i]


@mistake(
    "lookahead(sgd)",
    "one step count, which advances with every parameter",
    links="lessw2020/Ranger-Deep-Learning-Optimizer#8",
)
class CountAdvancesWithEveryParameter(LookingAhead):
    def step(self, grads):
        fast = self.optimizer.step(grads)
        for i, g in enumerate(grads):
            if g is not None:
                self.counts[0] += 1
                if self.is_due(self.counts[0]):
                    self.synchronise(i, fast[i])
        return fast


@mistake("lookahead(sgd)", "counts the calls and acts on parameters without a gradient", entry=141)
class ParametersWithoutGradientAreSynchronisedToo(LookingAhead):
    """One count for all, and all are synchronised when it is due."""

    def step(self, grads):
        fast = self.optimizer.step(grads)
        self.counts[0] += 1
        if self.is_due(self.counts[0]):
            for i, p in enumerate(fast):
                self.synchronise(i, p)
        return fast


# Lazy updates


class Lazy(AroundAdam):
    """Rows whose gradient is all zero go back to what they were."""

    def step(self, grads):
        inner = self.optimizer
        kept = [(p.copy(), m.copy(), v.copy())
                for p, m, v in zip(inner.params, inner.m, inner.v, strict=True)]  # fmt: skip
        inner.step(grads)
        for i, g in enumerate(grads):
            if g is not None:
                absent = self.absent(g)
                for now, old in zip((inner.params[i], inner.m[i], inner.v[i]), kept[i],
                                    strict=True):  # fmt: skip
                    now[...] = np.where(absent, old, now)
        return inner.params

    def absent(self, g):
        others = tuple(range(1, g.ndim))
        return ~np.any(g != 0, axis=others, keepdims=True) if others else g == 0


@mistake("lazy(adam)", "range(2, xp.ndim(g))")
class LazyByElement(Lazy):
    def absent(self, g):
        return g == 0


@mistake("lazy(adam)", "along axis 0", "range(0, xp.ndim(g) - 1)")
class LazyByColumn(Lazy):
    def absent(self, g):
        return ~np.any(g != 0, axis=0, keepdims=True) if g.ndim > 1 else g == 0


@mistake("lazy(adam)", "without lazy", links="tensorflow/tensorflow#464 pytorch/pytorch#18404")
class AbsentRowsMove(Lazy):
    def absent(self, g):
        return np.zeros(g.shape, bool)


@mistake("lazy(adam)", "keeps rows of the parameter alone")
class MomentsOfAbsentRowsDecay(Lazy):
    def step(self, grads):
        inner = self.optimizer
        kept = [p.copy() for p in inner.params]
        inner.step(grads)
        for p, old, g in zip(inner.params, kept, grads, strict=True):
            if g is not None:
                p[...] = np.where(self.absent(g), old, p)
        return inner.params


@mistake("lazy(adam)", "zeros in a gradient do something else")
class CountOfEachRow(Lazy):
    """The bias correction of a row counts the steps in which it was present."""

    def prepare(self, params):
        self.rows = [np.zeros((len(p), *[1] * (p.ndim - 1)) if p.ndim else ()) for p in params]

    def step(self, grads):
        inner = self.optimizer
        for i, g in enumerate(grads):
            if g is None:
                continue
            present = ~self.absent(g)
            self.rows[i] += present
            t = np.maximum(self.rows[i], 1)
            inner.m[i] += np.where(present, (1 - inner.beta1) * (g - inner.m[i]), 0)
            inner.v[i] += np.where(present, (1 - inner.beta2) * (g * g - inner.v[i]), 0)
            root = np.sqrt(inner.v[i] / (1 - inner.beta2**t))
            step = inner.lr * inner.m[i] / (1 - inner.beta1**t) / (root + inner.eps)
            inner.params[i] -= np.where(present, step, 0)
        return inner.params


# Gradient centralization


@mistake("gradient_centralization(sgd)", "range(0, xp.ndim(g))")
class MeanOfTheTensor(Around):
    def change(self, g):
        return g - g.mean() if g.ndim > 1 else g


@mistake(
    "gradient_centralization(sgd)",
    "along the last axis, also where it is the only one",
    "xp.ndim(g) >",
)
class VectorsAreCentralizedToo(Around):
    def change(self, g):
        if not g.ndim or not g.size:
            return g
        return g - g.mean(axis=tuple(range(1, g.ndim)) or None, keepdims=True)


@mistake("gradient_centralization(sgd)", "along axis 0")
class MeanOfTheColumns(Around):
    def change(self, g):
        return g - g.mean(axis=0, keepdims=True) if g.ndim > 1 else g


@mistake("gradient_centralization(sgd)", "without gradient_centralization")
class ConvolutionsAlone(Around):
    """Only tensors of more than three axes are centralized."""

    def change(self, g):
        return g - g.mean(axis=(1, 2, 3), keepdims=True) if g.ndim > 3 else g


@mistake("gradient_centralization(sgd)", "g - xp.sum(")
class SumForMeanOfARow(Around):
    def change(self, g):
        return g - g.sum(axis=tuple(range(1, g.ndim)), keepdims=True) if g.ndim > 1 else g
