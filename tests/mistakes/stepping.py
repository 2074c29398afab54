"""Right formulas, stepped wrong: counts, missing gradients, memory, saving, shapes and types."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


class Adam:
    """Adam, right: moments in lists, a count for each parameter, parameters updated in place."""

    def __init__(self, params, *, lr, beta1, beta2, eps):
        self.params, self.lr, self.beta1, self.beta2, self.eps = params, lr, beta1, beta2, eps
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]
        self.t = [0] * len(params)

    def set_lr(self, lr):
        self.lr = lr

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.update(i, g)
        return self.params

    def update(self, i, g):
        self.t[i] += 1
        self.apply(self.params[i], g, self.m[i], self.v[i], self.t[i])

    def apply(self, p, g, m, v, t):
        m *= self.beta1
        m += (1 - self.beta1) * g
        v *= self.beta2
        v += (1 - self.beta2) * g * g
        step_size = self.lr / (1 - self.beta1**t)
        p -= step_size * m / (np.sqrt(v) / math.sqrt(1 - self.beta2**t) + self.eps)

    def state_dict(self):
        return copy.deepcopy({"m": self.m, "v": self.v, "t": self.t})

    def load_state_dict(self, state):
        state = copy.deepcopy(state)
        self.m, self.v, self.t = state["m"], state["v"], state["t"]


class Momentum:
    """Gradient descent with momentum, right, parameters updated in place."""

    def __init__(self, params, *, lr=1e-2, momentum=0.0, dampening=0.0, nesterov=False):
        self.params, self.lr, self.momentum, self.dampening = params, lr, momentum, dampening
        self.buffers = [None] * len(params)

    def set_lr(self, lr):
        self.lr = lr

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.update(i, g)
        return self.params

    def update(self, i, g):
        if self.buffers[i] is None or not self.momentum:
            self.buffers[i] = g.copy()
        else:
            self.buffers[i] = self.momentum * self.buffers[i] + (1 - self.dampening) * g
        self.params[i] -= self.lr * self.buffers[i]

    def state_dict(self):
        return copy.deepcopy(self.buffers)

    def load_state_dict(self, state):
        self.buffers = copy.deepcopy(state)


# Counts


@mistake(
    "adam",
    "the step count is shared and advances with every parameter",
    entry=9,
    links="DiffSharp/DiffSharp#292 flashlight/flashlight#143 clab/dynet#77",
)
class CountOfAllUpdates(Adam):
    """The count advances with every parameter."""

    def update(self, i, g):
        self.t[0] += 1
        self.apply(self.params[i], g, self.m[i], self.v[i], self.t[0])


@mistake(
    "adam",
    "powers",
    entry=11,
    links="PaddlePaddle/Paddle#12068 PaddlePaddle/Paddle#48297 deepspeedai/DeepSpeed#7819",
)
class PowersAdvanceWithEveryParameter(Adam):
    """Right for all parameters in the first step, then too far by one for each parameter."""

    def __init__(self, params, **rates):
        super().__init__(params, **rates)
        self.powers = 1

    def step(self, grads):
        advanced = self.powers
        for i, g in enumerate(grads):
            if g is not None:
                self.apply(self.params[i], g, self.m[i], self.v[i], self.powers)
                advanced += 1
        self.powers = advanced
        return self.params

    def state_dict(self):
        return super().state_dict(), self.powers

    def load_state_dict(self, state):
        super().load_state_dict(state[0])
        self.powers = state[1]


@mistake("adam", "count_missing", entry=13, links="InfiniTensor/InfiniTrain#235")
class GlobalCount(Adam):
    def step(self, grads):
        self.t = [self.t[0] + 1] * len(self.t)
        for i, g in enumerate(grads):
            if g is not None:
                self.apply(self.params[i], g, self.m[i], self.v[i], self.t[i])
        return self.params


@mistake("adam", "advances only where no gradient is missing")
class CountStopsWithAnyMissing(Adam):
    """The count advances only in steps in which every parameter has a gradient."""

    def step(self, grads):
        if self.t[0] == 0 or all(g is not None for g in grads):
            self.t = [self.t[0] + 1] * len(self.t)
        for i, g in enumerate(grads):
            if g is not None:
                self.apply(self.params[i], g, self.m[i], self.v[i], self.t[i])
        return self.params


@mistake("adam", "step count advances twice")
class CountedInTwoPlaces(Adam):
    def update(self, i, g):
        self.t[i] += 1
        super().update(i, g)


@mistake(
    "adam",
    "t",
    "10",
    links="LiyuanLucasLiu/RAdam#24",
    unexplained="what it remembers from call to call is no state of the reference",
)
class CorrectionsCachedByTen(Adam):
    """The step size is kept by the step modulo ten, and never made anew."""

    def __init__(self, params, **rates):
        super().__init__(params, **rates)
        self.cache = {}

    def apply(self, p, g, m, v, t):
        t = self.cache.setdefault(t % 10, t)
        super().apply(p, g, m, v, t)


@mistake("nadam", "parameters share the state that is a number", entry=88)
class ProductOfAllParameters(Adam):
    """One product of momenta, multiplied once for every parameter."""

    def __init__(self, params, *, momentum_decay, **rates):
        super().__init__(params, **rates)
        self.momentum_decay = momentum_decay
        self.product = 1.0

    def apply(self, p, g, m, v, t):
        mu = self.beta1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))
        following = self.beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * self.momentum_decay))
        self.product *= mu
        m += (1 - self.beta1) * (g - m)
        v += (1 - self.beta2) * (g * g - v)
        ahead = following * m / (1 - self.product * following) + (1 - mu) * g / (1 - self.product)
        p -= self.lr * ahead / (np.sqrt(v / (1 - self.beta2**t)) + self.eps)

    def state_dict(self):
        return super().state_dict(), self.product

    def load_state_dict(self, state):
        super().load_state_dict(state[0])
        self.product = state[1]


@mistake("adam", "first", "step")
class FirstStepOnlyPrepares(Adam):
    """No parameter moves in the first step."""

    def update(self, i, g):
        before = self.params[i].copy()
        super().update(i, g)
        if self.t[i] == 1:
            self.params[i][...] = before


# Missing gradients


@mistake(
    "adam",
    "a missing gradient is taken for zero",
    entry=53,
    links="KellerJordan/Muon#54 ahrefs/ocannl#673",
)
class MissingIsZero(Adam):
    def step(self, grads):
        return super().step([np.zeros_like(p) if g is None else g
                             for p, g in zip(self.params, grads, strict=True)])  # fmt: skip


@mistake("sgd", "a missing gradient is taken for the last one")
class MissingIsTheLast(Momentum):
    """Where there is no gradient, that of the step before is still there."""

    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.last = [None] * len(params)

    def step(self, grads):
        self.last = [old if g is None else g.copy()
                     for old, g in zip(self.last, grads, strict=True)]  # fmt: skip
        return super().step(self.last)


@mistake("adam", "missing", "later")
class ReturnsAtTheFirstMissing(Adam):
    """``break`` where ``continue`` belongs."""

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                break
            self.update(i, g)
        return self.params


@mistake("adam", "a missing gradient ends the step for all")
class SkipsTheStepWithAnyMissing(Adam):
    def step(self, grads):
        return self.params if any(g is None for g in grads) else super().step(grads)


@mistake("adam", "zeros is taken for a missing one")
class ZeroIsMissing(Adam):
    def update(self, i, g):
        if np.any(g):
            super().update(i, g)


@mistake("sgd", "a missing gradient is taken for zero once there was one")
class MomentumWithoutGradient(Momentum):
    """A parameter without a gradient goes on along its buffer."""

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.update(i, g)
            elif self.buffers[i] is not None and self.momentum:
                self.buffers[i] = self.momentum * self.buffers[i]
                self.params[i] -= self.lr * self.buffers[i]
        return self.params


@mistake(
    "adamw", "parameters without a gradient decay", entry=53, links="tensorflow/swift-apis#421"
)
class DecayWithoutGradient(Adam):
    def __init__(self, params, *, weight_decay, **rates):
        super().__init__(params, **rates)
        self.weight_decay = weight_decay

    def step(self, grads):
        for p in self.params:
            p *= 1 - self.lr * self.weight_decay
        return super().step(grads)


@mistake("sgd", "a missing gradient resets the state")
class BufferIsLostWithoutGradient(Momentum):
    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                self.buffers[i] = None
        return super().step(grads)


# Memory


@mistake("adam", "an array of a gradient is kept", entry=70)
class KeepsTheCallersFirstGradient(Adam):
    """The first moment starts as the caller's array, which is later overwritten."""

    def update(self, i, g):
        self.t[i] += 1
        if self.t[i] == 1:
            self.kept = getattr(self, "kept", {}) | {i: g}
            self.apply(self.params[i], g, self.m[i], self.v[i], 1)
            return
        if self.t[i] == 2:
            self.m[i] = np.asarray((1 - self.beta1) * self.kept[i])
        self.apply(self.params[i], g, self.m[i], self.v[i], self.t[i])


@mistake("adam", "the parameters of the step before are returned")
class ReturnsTheOldParameters(Adam):
    def step(self, grads):
        before = [p.copy() for p in self.params]
        super().step(grads)
        return before


@mistake("adam", "not updated", links="axolotl-ai-cloud/axolotl#3785")
class UpdatesACopy(Adam):
    def apply(self, p, g, m, v, t):
        super().apply(np.array(p, order="C"), g, m, v, t)


@mistake(
    "adam",
    "the first moment and the second moment are one array",
    links="NVIDIA/recsys-examples#419",
)
class MomentsInOneArray(Adam):
    """Both moments are the same memory."""

    def __init__(self, params, **rates):
        super().__init__(params, **rates)
        self.v = self.m


@mistake("sgd", "a fresh instance goes on with the state of the one before")
class BuffersOfTheClass(Momentum):
    """A dictionary that all instances share."""

    shared: ClassVar[dict[Any, Any]] = {}

    def update(self, i, g):
        old = self.shared.get((i, g.shape))
        new = g.copy() if old is None or not self.momentum else (
            self.momentum * old + (1 - self.dampening) * g
        )  # fmt: skip
        self.shared[i, g.shape] = new
        self.params[i] -= self.lr * new


@mistake(
    "sgd",
    "read as if they were contiguous",
    entry=155,
    links="bitsandbytes-foundation/bitsandbytes#1185",
)
class IgnoresStrides(Momentum):
    """Reads a gradient from where it begins, as if it had no gaps."""

    def update(self, i, g):
        if g.base is not None and g.size:
            flat = g.base.reshape(-1)[: g.size]
            g = flat.reshape(g.shape)
        super().update(i, g)


@mistake("adam", "column", entry=155)
class ReadsColumnsFirst(Adam):
    """Matrices are taken as transposed."""

    def update(self, i, g):
        super().update(i, g.ravel(order="F").reshape(g.shape))


# Shapes


@mistake("adam", "first axis", entry=153, links="hpcaitech/ColossalAI#633")
class AsManyElementsAsRows(Adam):
    """``size(0)`` for ``numel()``."""

    def apply(self, p, g, m, v, t):
        if p.ndim < 2:
            super().apply(p, g, m, v, t)
        else:
            n = len(p)
            super().apply(p.reshape(-1)[:n], g.reshape(-1)[:n], m.reshape(-1)[:n],
                          v.reshape(-1)[:n], t)  # fmt: skip


@mistake("adam", "left over from vectors of 4", entry=154)
class TailOfTheVectorIsLost(Adam):
    """A loop over blocks of four, without what is left."""

    def apply(self, p, g, m, v, t):
        n = p.size - p.size % 4
        super().apply(p.reshape(-1)[:n], g.reshape(-1)[:n], m.reshape(-1)[:n],
                      v.reshape(-1)[:n], t)  # fmt: skip


@mistake("adam", "the last of several elements is not written")
class LastElementIsLost(Adam):
    def apply(self, p, g, m, v, t):
        n = p.size - 1 if p.ndim else 1
        super().apply(p.reshape(-1)[:n], g.reshape(-1)[:n], m.reshape(-1)[:n],
                      v.reshape(-1)[:n], t)  # fmt: skip


@mistake("adam", "blocks of 4 elements overlaps", "stepped twice")
class TailIsSteppedTwice(Adam):
    """The last block begins early enough to be whole, and overlaps the one before."""

    def apply(self, p, g, m, v, t):
        flat = [x.reshape(-1) for x in (p, g, m, v)]
        starts = list(range(0, p.size, 4))
        if p.size > 4 and p.size % 4:
            starts[-1] = p.size - 4
        for start in starts:
            super().apply(*(x[start : start + 4] for x in flat), t)


@mistake("sgd", "without axes are not written", entry=156)
class NumbersAreSkipped(Momentum):
    def update(self, i, g):
        if g.ndim:
            super().update(i, g)


@mistake("adam", "right where all parameters are vectors")
class SquaresOfTheFirstRow(Adam):
    """The second moment of a matrix is that of its first row."""

    def apply(self, p, g, m, v, t):
        super().apply(p, g, m, v, t)
        if v.ndim > 1:
            v[...] = v[:1]


@mistake("sgd", "parameter", "last")
class LastParameterIsLeftOut(Momentum):
    """A range that ends too early."""

    def step(self, grads):
        sizes = [p.size for p in self.params]
        last = max(i for i, size in enumerate(sizes) if size)
        for i in range(last):
            if grads[i] is not None:
                self.update(i, grads[i])
        return self.params


@mistake("sgd(momentum=0.0)", "lie in one array", "one element further")
class OffsetsOffByOne(Momentum):
    """One flat gradient, cut at the wrong places."""

    def step(self, grads):
        flat = np.concatenate([np.zeros(p.size) if g is None else np.ravel(g)
                               for p, g in zip(self.params, grads, strict=True)])  # fmt: skip
        ends = np.cumsum([p.size for p in self.params])
        for p, (start, end) in zip(self.params, pairwise([0, *ends]), strict=True):
            p -= self.lr * np.roll(flat, -1)[start:end].reshape(p.shape).astype(p.dtype)
        return self.params


# Learning rate


@mistake("adam", "the learning rate stays as it was at the start", entry=158)
class RateIsFrozen(Adam):
    """What was captured when the step was compiled stays."""

    def set_lr(self, lr):
        pass


@mistake("adam", "learning rate", "first")
class StepSizeIsComputedOnce(Adam):
    def apply(self, p, g, m, v, t):
        self.__dict__.setdefault("captured", self.lr)
        rate, self.lr = self.lr, self.captured
        super().apply(p, g, m, v, t)
        self.lr = rate


@mistake("sgd", "the learning rate changes one call late")
class RateComesOneStepLate(Momentum):
    """A step uses the rate that was set for the step before."""

    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.next = None

    def set_lr(self, lr):
        self.lr = lr if self.next is None else self.next
        self.next = lr


@mistake("sgd", "learning rate", "parameter", entry=157, links="PaddlePaddle/Paddle#43013")
class RateOfTheFirstGroupAlone(Momentum):
    """A new learning rate reaches the first parameter alone."""

    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.rates = [self.lr] * len(params)

    def set_lr(self, lr):
        self.rates[0] = lr

    def update(self, i, g):
        self.lr = self.rates[i]
        super().update(i, g)


# Saving and loading


@mistake("adam", "the step count is not saved", entry=15, links="NVIDIA/TransformerEngine#3318")
class CountIsNotSaved(Adam):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.t = [0] * len(self.t)


@mistake("adam", "state", "load", entry=145, links="cselab/korali#639")
class MomentsAreNotSaved(Adam):
    def load_state_dict(self, state):
        self.t = copy.deepcopy(state["t"])


@mistake("adam", "state", "load")
class NothingIsLoaded(Adam):
    def load_state_dict(self, state):
        pass


@mistake("adam", "exchanged by loading", entry=146)
class MomentsAreLoadedInEachOthersPlace(Adam):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.m, self.v = self.v, self.m


@mistake(
    "sgd",
    "only the state of the first parameter is loaded",
    links="deeplearning4j/deeplearning4j#3584",
)
class StateOfTheFirstParameterAlone(Momentum):
    def load_state_dict(self, state):
        self.buffers[0] = copy.deepcopy(state[0])


@mistake("sgd", "state", "load")
class BuffersBecomeTheFirstGradient(Momentum):
    """After loading, the first step counts as the first ever."""

    def load_state_dict(self, state):
        self.buffers = [None] * len(state)


@mistake("adam", "state", "load", links="pytorch/pytorch#75224")
class StateIsLoadedInHalfPrecision(Adam):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.m = [m.astype(np.float16).astype(m.dtype) for m in self.m]
        self.v = [v.astype(np.float16).astype(v.dtype) for v in self.v]


@mistake("adam", "one too small after loading", entry=16)
class CountGoesOnFromOneLess(Adam):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.t = [max(t - 1, 0) for t in self.t]


# Numbers


@mistake("adam", "kept in float16")
class MomentsInHalfPrecision(Adam):
    def apply(self, p, g, m, v, t):
        super().apply(p, g, m, v, t)
        m[...] = m.astype(np.float16)
        v[...] = v.astype(np.float16)


@mistake("adam", "the step is rounded to float16")
class StepInHalfPrecision(Adam):
    def apply(self, p, g, m, v, t):
        before = p.copy()
        super().apply(p, g, m, v, t)
        p[...] = before + (p - before).astype(np.float16)


@mistake("adam", "deterministic")
class StochasticRounding(Adam):
    """The last digits are random."""

    def apply(self, p, g, m, v, t):
        super().apply(p, g, m, v, t)
        p *= 1 + np.random.default_rng().integers(-8, 9, p.shape) * 2.0**-16


@mistake("adam", "no element moves by more than the learning rate")
class StepsAreClipped(Adam):
    """No element moves by more than the learning rate."""

    def apply(self, p, g, m, v, t):
        before = p.copy()
        super().apply(p, g, m, v, t)
        p[...] = np.clip(p, before - self.lr, before + self.lr)


@mistake("adam", "the second moment is left at least 1e-08")
class SecondMomentIsFloored(Adam):
    """The second moment is never below 1e-8."""

    def apply(self, p, g, m, v, t):
        super().apply(p, g, m, v, t)
        np.maximum(v, 1e-8, out=v)
