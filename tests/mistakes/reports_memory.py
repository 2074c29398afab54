"""State, saving, precision and loops over parameters, wrong as in public reports."""

from __future__ import annotations

import copy

import ml_dtypes
import numpy as np

from mistakes.target import Mistakes, Target

MISTAKES = mistake = Mistakes()


class Adam(Target):
    """Adam as a class with lists of arrays, of which a mistake changes one part."""

    dtype_of_moments = None

    def __init__(self, params, *, lr, beta1, beta2, eps):
        self.params, self.lr, self.beta1, self.beta2, self.eps = params, lr, beta1, beta2, eps
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]
        self.t = [0] * len(params)

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.t[i] += 1
                self.update(i, np.array(g))
        return self.params

    def update(self, i, g):
        self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
        self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g**2
        h = self.direction(self.m[i], self.v[i], self.t[i])
        self.params[i] = np.asarray(self.params[i] - self.lr * h, self.params[i].dtype)

    def direction(self, m, v, t):
        return m / (1 - self.beta1**t) / (np.sqrt(v / (1 - self.beta2**t)) + self.eps)

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return list(self.m), list(self.v), list(self.t)

    def load_state_dict(self, state):
        m, v, t = state
        self.m, self.v, self.t = list(m), list(v), list(t)


# Saving and loading


@mistake(
    "adam",
    "no state is saved",
    links="thinking-machines-lab/tinker-feedback#127 NM512/dreamerv3-torch#38",
)
class LoadingDoesNothing(Adam):
    def load_state_dict(self, state):
        pass


@mistake(
    "adam",
    "the state arrays are not saved, the step count is",
    links="KempnerInstitute/KempnerForge#115",
)
class MomentsAreDropped(Adam):
    """The count of steps is loaded, and no moment."""

    def load_state_dict(self, state):
        self.t = list(state[2])


@mistake(
    "adam", "the state is rounded to float16 by loading", links="ultralytics/ultralytics#24085"
)
class SavedInHalfPrecision(Adam):
    def state_dict(self):
        m, v, t = super().state_dict()
        half = [[x.astype(np.float16) for x in xs] for xs in (m, v)]
        return half[0], half[1], t

    def load_state_dict(self, state):
        m, v, t = state
        super().load_state_dict(
            ([x.astype(np.float32) for x in m], [x.astype(np.float32) for x in v], t)
        )


@mistake(
    "adam",
    "the second moment is rounded to float16 by loading",
    links="ultralytics/ultralytics#24085",
)
class SecondMomentIsSavedInHalfPrecision(Adam):
    def state_dict(self):
        m, v, t = super().state_dict()
        return m, [x.astype(np.float16) for x in v], t

    def load_state_dict(self, state):
        m, v, t = state
        super().load_state_dict((m, [x.astype(np.float32) for x in v], t))


@mistake("adam", "the step count is not saved", links="paiml/entrenar#257")
class CountIsNotSaved(Adam):
    def load_state_dict(self, state):
        self.m, self.v = list(state[0]), list(state[1])


@mistake("adam", "the first moment is loaded as the second moment as well")
class SecondMomentIsLoadedTwice(Adam):
    """A slip of the key: both moments are read from the first."""

    def load_state_dict(self, state):
        m, _, t = state
        super().load_state_dict((m, m, t))


@mistake(
    "sgd(dampening=0.0)",
    "the momentum buffer is not saved",
    links="AlexeyAB/darknet#6720 kevinzakka/recurrent-visual-attention#8",
)
class BuffersAreNotSaved(Target):
    def __init__(self, params, *, lr, momentum):
        self.params, self.lr, self.momentum = params, lr, momentum
        self.buffers = [np.zeros_like(p) for p in params]

    def step(self, grads):
        for p, b, g in zip(self.params, self.buffers, grads, strict=True):
            if g is not None:
                b *= self.momentum
                b += g
                p -= self.lr * (b if self.momentum else g)
        return self.params

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return {"lr": self.lr, "momentum": self.momentum}

    def load_state_dict(self, state):
        self.lr, self.momentum = state["lr"], state["momentum"]


@mistake(
    "sgd(dampening=0.0)",
    "it is right where it is never saved",
    links="TensorAuto/OpenTau#185 NVIDIA/Megatron-LM#1359",
)
class MasterWeightsAreRounded(Target):
    """Keeps its own copy of the parameters, and loads it through bfloat16."""

    def __init__(self, params, *, lr, momentum):
        self.master = [p.copy() for p in params]
        self.lr, self.momentum = lr, momentum
        self.buffers = [np.zeros_like(p) for p in params]

    def step(self, grads):
        for p, b, g in zip(self.master, self.buffers, grads, strict=True):
            if g is not None:
                b *= self.momentum
                b += g
                p -= self.lr * (b if self.momentum else g)
        return [p.copy() for p in self.master]

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return [[x.copy() for x in xs] for xs in (self.master, self.buffers)]

    def load_state_dict(self, state):
        master, buffers = state
        self.master = [p.astype(ml_dtypes.bfloat16).astype(np.float32) for p in master]
        self.buffers = [b.copy() for b in buffers]


# Precision


@mistake("sgd(momentum=0.0)", "parameters are kept in bfloat16", links="workofart/ml-by-hand#85")
def parameters_in_bfloat16(theta, g, t, s, *, lr):
    return (theta - lr * g).astype(ml_dtypes.bfloat16).astype(theta.dtype)


@mistake(
    "adam",
    "the state is kept in bfloat16",
    links="FluxML/Optimisers.jl#215 tinygrad/tinygrad#10387",
)
class MomentsInBfloat16(Adam):
    def update(self, i, g):
        super().update(i, g)
        for moments in (self.m, self.v):
            x = moments[i]
            moments[i] = x.astype(ml_dtypes.bfloat16).astype(x.dtype)


@mistake("adam", "beta1 and beta2 are rounded to bfloat16", links="tenstorrent/tt-metal#55935")
class BetasInBfloat16(Adam):
    def __init__(self, params, *, lr, beta1, beta2, eps):
        beta1, beta2 = (float(ml_dtypes.bfloat16(b)) for b in (beta1, beta2))
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


@mistake("adam", "eps is rounded to float16", links="google-deepmind/optax#1754 matanbt/TROPT#8")
class EpsilonInHalfPrecision(Adam):
    """1e-8 is zero in float16, and then 0/0 is no number."""

    def __init__(self, params, *, lr, beta1, beta2, eps):
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=np.float32(np.float16(eps)))


@mistake(
    "sgd(momentum=0.0)",
    "gradients are rounded to float16",
    links="Lightning-AI/pytorch-lightning#4715",
)
def gradients_in_half_precision(theta, g, t, s, *, lr):
    return theta - lr * g.astype(np.float16).astype(theta.dtype)


# Learning rate


@mistake("adam", "whatever learning rate is set, it is 0.001", links="SPOClab-ca/dn3#6")
class RateBecomesTheDefault(Adam):
    """Whoever sets a learning rate gets 0.001."""

    def set_lr(self, lr):
        self.lr = 1e-3


@mistake(
    "adam",
    "the learning rate stays as it was at the start",
    links="deeplearning4j/deeplearning4j#2317",
)
class RateNeverArrives(Adam):
    def set_lr(self, lr):
        self.config = {"lr": lr}


@mistake(
    "adam",
    "a new learning rate is taken for a factor of the last one",
    links="dotnet/TorchSharp#414",
)
class RateMultiplies(Adam):
    """Takes the new rate for a factor of the old one."""

    def set_lr(self, lr):
        self.lr *= lr


# Loops over parameters


@mistake(
    "adam",
    "the step count is shared and advances with every parameter",
    links="Shubham-cyber-prog/100-Days-Of-Web-Development-ECWoC26#1575",
)
class OneCountForEveryTensor(Adam):
    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.t = [max(self.t) + 1] * len(self.t)
                self.update(i, np.array(g))
        return self.params


@mistake(
    "adam",
    links="ddbourgin/numpy-ml#96",
    unexplained="moments under a name, anew where another shape comes",
)
class MomentsByKindOfParameter(Adam):
    """Kept under ``W`` or ``b``, so that whatever has the same shape shares them."""

    def __init__(self, params, *, lr, beta1, beta2, eps):
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
        self.cache = {}

    def update(self, i, g):
        key = "W" if g.ndim > 1 else "b"
        m, v = self.cache.get(key, (0.0, 0.0))
        if np.shape(m) != g.shape:
            m, v = np.zeros_like(g), np.zeros_like(g)
        self.m[i], self.v[i] = m, v
        super().update(i, g)
        self.cache[key] = self.m[i], self.v[i]


@mistake(
    "adam",
    "what is left over from blocks of elements",
    links="deepspeedai/DeepSpeed#3109 deepspeedai/DeepSpeed#503",
)
class TailWithoutCorrection(Adam):
    """What fills no vector of four goes through another loop, which forgets the correction."""

    def update(self, i, g):
        old = self.params[i].copy()
        super().update(i, g)
        whole = g.size // 4 * 4
        m, v = self.m[i].reshape(-1)[whole:], self.v[i].reshape(-1)[whole:]
        new = self.params[i].reshape(-1)
        new[whole:] = old.reshape(-1)[whole:] - self.lr * m / (np.sqrt(v) + self.eps)
        self.params[i] = new.reshape(old.shape)


@mistake(
    "adam",
    "only as many elements are written as the first axis is long",
    links="hpcaitech/ColossalAI#633",
)
class OnlyTheFirstAxis(Adam):
    """``size(0)`` where the number of elements was meant."""

    def update(self, i, g):
        old = self.params[i].copy()
        super().update(i, g)
        n = g.shape[0] if g.ndim else 1
        new = self.params[i].reshape(-1)
        new[n:] = old.reshape(-1)[n:]
        self.params[i] = new.reshape(old.shape)


@mistake("adam", "a missing gradient ends the step", links="mlverse/torch#821")
class EmptyParametersEndTheLoop(Adam):
    """``return`` where ``continue`` was meant: parameters behind an absent gradient stay."""

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                break
            self.t[i] += 1
            self.update(i, np.array(g))
        return self.params


@mistake("adam", "a missing gradient is taken for zero", links="KellerJordan/Muon#54")
class MissingGradientsAreZero(Adam):
    def step(self, grads):
        return super().step(
            [np.zeros_like(p) if g is None else g for p, g in zip(self.params, grads, strict=True)]
        )


@mistake("sgd(dampening=0.0)", "the caller's own array", links="raven-ml/raven#19")
class BufferIsTheGradient(Target):
    """Without a copy, so that the caller's next gradient is found in the buffer."""

    def __init__(self, params, *, lr, momentum):
        self.params, self.lr, self.momentum = params, lr, momentum
        self.buffers = [None] * len(params)

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            b = self.buffers[i]
            self.buffers[i] = g if b is None else self.momentum * b + g
            self.params[i] = np.asarray(self.params[i] - self.lr * self.buffers[i])
        return self.params

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return copy.deepcopy(self.buffers)

    def load_state_dict(self, state):
        self.buffers = copy.deepcopy(state)


@mistake("adam", "times the learning rate is kept as the first moment", links="yangluo7/CAME#2")
class StepIsTheMoment(Adam):
    """The step is scaled in place, in the array of the first moment."""

    def update(self, i, g):
        t = self.t[i]
        self.m[i] = update = np.array(self.beta1 * self.m[i] + (1 - self.beta1) * g)
        self.v[i] = v = self.beta2 * self.v[i] + (1 - self.beta2) * g**2
        update *= self.lr / (1 - self.beta1**t)
        self.params[i] = np.asarray(
            self.params[i] - update / (np.sqrt(v / (1 - self.beta2**t)) + self.eps)
        )
