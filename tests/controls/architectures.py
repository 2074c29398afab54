"""Right targets as libraries are built: flat buffers, lists in stages, lazy state, own copies.

Here the arithmetic is close to the papers'; the way in which memory and loops are laid out is not.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from mistakes.target import Target

from controls.control import Controls

CONTROLS = control = Controls()


class Whole:
    """Keeps its hyperparameters as attributes, one count a parameter, and saves what it is told."""

    kept: tuple[str, ...] = ("counts",)

    def __init__(self, params, **hyperparameters):
        vars(self).update(hyperparameters)
        self.params = params
        self.counts = [0] * len(params)

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return {name: copied(getattr(self, name)) for name in self.kept}

    def load_state_dict(self, state):
        for name, value in state.items():
            setattr(self, name, copied(value))


def copied(value):
    if isinstance(value, list):
        return [copied(x) for x in value]
    if isinstance(value, dict):
        return {key: copied(x) for key, x in value.items()}
    return value.copy() if hasattr(value, "copy") else value


# One buffer for all


class Flat(Whole):
    """All parameters and all moments are slices of one vector each."""

    kept = ("counts", "m", "v")

    def __init__(self, params, **hyperparameters):
        super().__init__(params, **hyperparameters)
        ends = np.cumsum([p.size for p in params])
        self.places = [slice(end - p.size, end) for p, end in zip(params, ends, strict=True)]
        self.shapes = [p.shape for p in params]
        self.flat = np.concatenate([p.reshape(-1) for p in params])
        self.m, self.v = np.zeros_like(self.flat), np.zeros_like(self.flat)

    def step(self, grads):
        for i, (place, g) in enumerate(zip(self.places, grads, strict=True)):
            if g is not None:
                self.counts[i] += 1
                self.update(place, g.reshape(-1), self.counts[i])
        pairs = zip(self.places, self.shapes, strict=True)
        return [self.flat[place].reshape(shape) for place, shape in pairs]


@control("adamw")
class FlatAdamW(Flat):
    def __init__(self, params, *, lr, beta1, beta2, eps, weight_decay):
        super().__init__(
            params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay
        )

    def update(self, place, g, t):
        self.m[place] += (1 - self.beta1) * (g - self.m[place])
        self.v[place] *= self.beta2
        self.v[place] += (1 - self.beta2) * g * g
        self.flat[place] *= 1 - self.lr * self.weight_decay
        root = np.sqrt(self.v[place]) / math.sqrt(1 - self.beta2**t) + self.eps
        self.flat[place] -= self.lr / (1 - self.beta1**t) * (self.m[place] / root)


@control("l2(rmsprop(momentum=0.0))")
class FlatRMSprop(Flat):
    def __init__(self, params, *, lr, rho, eps, weight_decay):
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)

    def update(self, place, g, t):
        g = g + self.weight_decay * self.flat[place]
        self.v[place] = self.rho * self.v[place] + (1 - self.rho) * np.square(g)
        self.flat[place] -= self.lr * g / (np.sqrt(self.v[place]) + self.eps)


# Lists in stages


@control("adam")
class AdamInStages(Whole):
    """Each operation runs over all parameters before the next one does."""

    kept = ("counts", "m", "v")

    def __init__(self, params, *, lr, beta1, beta2, eps):
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]

    def step(self, grads):
        at = [i for i, g in enumerate(grads) if g is not None]
        for i in at:
            self.counts[i] += 1
        for i in at:
            self.m[i] += (grads[i] - self.m[i]) * (1 - self.beta1)
        for i in at:
            self.v[i] *= self.beta2
        for i in at:
            self.v[i] += grads[i] * grads[i] * (1 - self.beta2)
        roots = [np.sqrt(self.v[i]) for i in at]
        corrections = [math.sqrt(1 - self.beta2 ** self.counts[i]) for i in at]
        roots = [root / c for root, c in zip(roots, corrections, strict=True)]
        roots = [root + self.eps for root in roots]
        steps = [-self.lr / (1 - self.beta1 ** self.counts[i]) for i in at]
        for i, root, step in zip(at, roots, steps, strict=True):
            self.params[i] += step * self.m[i] / root
        return self.params


@control("clip_by_global_norm(sgd(dampening=0.0))")
class ClippedInStages(Whole):
    kept = ("buffers",)

    def __init__(self, params, *, lr, momentum, max_norm):
        super().__init__(params, lr=lr, momentum=momentum, max_norm=max_norm)
        self.buffers = {}

    def step(self, grads):
        present = {i: np.array(g) for i, g in enumerate(grads) if g is not None}
        norms = [np.linalg.norm(g.astype(np.float64).reshape(-1)) for g in present.values()]
        total = np.linalg.norm(norms)
        if total > self.max_norm:
            factor = self.max_norm / total
            present = {i: (g * factor).astype(g.dtype) for i, g in present.items()}
        for i, g in present.items():
            if self.momentum:
                if i in self.buffers:
                    g = self.buffers[i] * self.momentum + g
                self.buffers[i] = g
            self.params[i] = np.asarray(self.params[i] - self.lr * g, g.dtype)
        return self.params


# State made where it is first needed


@control("adagrad")
class LazySums(Whole):
    kept = ("sums",)

    def __init__(self, params, *, lr, eps):
        super().__init__(params, lr=lr, eps=eps)
        self.sums = {}

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            self.sums[i] = g**2 if i not in self.sums else self.sums[i] + g**2
            self.params[i] = self.params[i] - self.lr / (np.sqrt(self.sums[i]) + self.eps) * g
        return [np.asarray(p) for p in self.params]


@control("lion")
def lion_with_its_state_on_demand(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    m = vars(s).get("m")
    if m is None:
        m = np.zeros_like(theta)
    theta = theta * (1 - lr * weight_decay) - lr * np.sign(beta1 * m + (1 - beta1) * g)
    s.m = m * beta2 + g * (1 - beta2)
    return theta


# In place, with temporaries that are allocated once


@control("adam")
class AdamInScratchMemory(Whole):
    kept = ("counts", "m", "v")

    def __init__(self, params, *, lr, beta1, beta2, eps):
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]
        self.scratch = [(np.empty_like(p), np.empty_like(p)) for p in params]

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            self.counts[i] += 1
            p, m, v, (a, b) = self.params[i], self.m[i], self.v[i], self.scratch[i]
            np.multiply(g, 1 - self.beta1, out=a)
            np.multiply(m, self.beta1, out=m)
            np.add(m, a, out=m)
            np.multiply(g, g, out=a)
            np.multiply(a, 1 - self.beta2, out=a)
            np.multiply(v, self.beta2, out=v)
            np.add(v, a, out=v)
            np.divide(v, 1 - self.beta2 ** self.counts[i], out=b)
            np.sqrt(b, out=b)
            np.add(b, self.eps, out=b)
            np.divide(m, b, out=a)
            np.multiply(a, self.lr / (1 - self.beta1 ** self.counts[i]), out=a)
            np.subtract(p, a, out=p)
        return self.params


# Tiles


@control("adamax")
class AdamaxInTiles(Target):
    """Walks each parameter in tiles of three elements, the last of which is shorter."""

    def update(self, i, g):
        h, s = self.hyperparameters, self.states[i]
        theta = np.array(self.params[i]).reshape(-1)
        g = np.array(g).reshape(-1)
        m, u = np.array(s.m).reshape(-1), np.array(s.u).reshape(-1)
        rate = h["lr"] / (1 - h["beta1"] ** self.counts[i])
        for start in range(0, theta.size, 3):
            tile = slice(start, start + 3)
            m[tile] = h["beta1"] * m[tile] + (1 - h["beta1"]) * g[tile]
            u[tile] = np.maximum(h["beta2"] * u[tile], np.abs(g[tile]) + h["eps"])
            theta[tile] -= rate * m[tile] / u[tile]
        shape = self.params[i].shape
        self.params[i], s.m, s.u = theta.reshape(shape), m.reshape(shape), u.reshape(shape)

    formula = staticmethod(lambda theta, g, t, s, *, lr, beta1, beta2, eps: theta)


@control("adadelta")
class AdadeltaElementByElement(Target):
    """Python's own numbers, one element after the other."""

    def update(self, i, g):
        h, s = self.hyperparameters, self.states[i]
        v, u, new = np.array(s.v, float), np.array(s.u, float), np.array(self.params[i])
        for at in np.ndindex(g.shape):
            x = float(g[at])
            v[at] = h["rho"] * v[at] + (1 - h["rho"]) * x * x
            step = math.sqrt((u[at] + h["eps"]) / (v[at] + h["eps"])) * x
            u[at] = h["rho"] * u[at] + (1 - h["rho"]) * step * step
            new[at] = new[at] - h["lr"] * step
        s.v, s.u, self.params[i] = v, u, new

    formula = staticmethod(lambda theta, g, t, s, *, lr, rho, eps: theta)


# Parameters of its own


@control("sgd(dampening=0.0)")
class MasterWeightsInDouble(Whole):
    kept = ("master", "buffers")

    def __init__(self, params, *, lr, momentum):
        super().__init__(params, lr=lr, momentum=momentum)
        self.master = [p.astype(np.float64) for p in params]
        self.buffers = [np.zeros(p.shape) for p in params]
        self.dtypes = [p.dtype for p in params]

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                self.buffers[i] = self.momentum * self.buffers[i] + g
                self.master[i] = self.master[i] - self.lr * self.buffers[i]
        return [np.asarray(m, d) for m, d in zip(self.master, self.dtypes, strict=True)]


@control("weight_decay(sgd(momentum=0.0))")
class ColumnsFirst(Whole):
    """Stores matrices column by column, and returns them so."""

    kept = ()

    def __init__(self, params, *, lr, weight_decay):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.params = [np.array(p, order="F") for p in params]

    def step(self, grads):
        for p, g in zip(self.params, grads, strict=True):
            if g is not None:
                p -= self.lr * (g + self.weight_decay * p)
        return self.params


@control("sgd(momentum=0.0)")
class ReturnsCopies(Whole):
    kept = ()

    def __init__(self, params, *, lr):
        super().__init__(tuple(params), lr=lr)

    def step(self, grads):
        self.params = tuple(
            p if g is None else np.asarray(p - self.lr * g)
            for p, g in zip(self.params, grads, strict=True)
        )
        return [p.copy() for p in self.params]


@control("adam")
class OneThreadForEach(Whole):
    """Parameters are stepped side by side."""

    kept = ("counts", "m", "v")

    def __init__(self, params, *, lr, beta1, beta2, eps):
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]

    def step(self, grads):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.update, range(len(grads)), grads))
        return self.params

    def update(self, i, g):
        if g is None:
            return
        self.counts[i] += 1
        t = self.counts[i]
        self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
        self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g**2
        h = self.m[i] / (1 - self.beta1**t) / (np.sqrt(self.v[i] / (1 - self.beta2**t)) + self.eps)
        self.params[i] = np.asarray(self.params[i] - self.lr * h)


# Slow weights and windows


@control("lookahead(sgd(momentum=0.0))")
class SlowWeightsElsewhere(Whole):
    """Goes back from the fast weights, instead of forward from the slow ones."""

    kept = ("counts", "slow")

    def __init__(self, params, *, lr, k, alpha):
        super().__init__(params, lr=lr, k=k, alpha=alpha)
        self.slow = {i: p.copy() for i, p in enumerate(params)}

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            self.counts[i] += 1
            self.params[i] -= self.lr * g
            if self.counts[i] % self.k == 0:
                self.slow[i] += (self.params[i] - self.slow[i]) * self.alpha
                self.params[i][...] = self.slow[i]
        return self.params


@control("gradient_accumulation(adam)")
class WindowsOfSums(Whole):
    """Sums the gradients, and divides once."""

    kept = ("counts", "calls", "totals", "m", "v")

    def __init__(self, params, *, lr, k, beta1, beta2, eps):
        super().__init__(params, lr=lr, k=k, beta1=beta1, beta2=beta2, eps=eps)
        self.calls = 0
        self.totals = [np.zeros_like(p) for p in params]
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]

    def step(self, grads):
        self.calls += 1
        for total, g in zip(self.totals, grads, strict=True):
            if g is not None:
                total += g
        if self.calls % self.k == 0:
            for i, total in enumerate(self.totals):
                self.counts[i] += 1
                self.update(i, total / self.k, self.counts[i])
                total[...] = 0
        return self.params

    def update(self, i, g, t):
        self.m[i] = self.m[i] * self.beta1 + g * (1 - self.beta1)
        self.v[i] = self.v[i] * self.beta2 + g * g * (1 - self.beta2)
        root = np.sqrt(self.v[i] / (1 - self.beta2**t)) + self.eps
        self.params[i] = np.asarray(
            self.params[i] - self.lr * (self.m[i] / (1 - self.beta1**t)) / root
        )


# Rows


@control("lazy(adagrad)")
class RowsByTheirNumbers(Whole):
    """Gathers the rows that were used, steps them, and scatters them back."""

    kept = ("sums",)

    def __init__(self, params, *, lr, eps):
        super().__init__(params, lr=lr, eps=eps)
        self.sums = [np.zeros_like(p) for p in params]

    def step(self, grads):
        for p, s, g in zip(self.params, self.sums, grads, strict=True):
            if g is None:
                continue
            p, s, g = np.atleast_1d(p), np.atleast_1d(s), np.atleast_1d(g)
            rows = np.unique(np.nonzero(g)[0])
            s[rows] += g[rows] ** 2
            p[rows] -= self.lr * g[rows] / (np.sqrt(s[rows]) + self.eps)
        return self.params
