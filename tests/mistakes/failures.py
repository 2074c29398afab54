"""Targets that cannot be compared: each ends in one clear error, whose words are declared."""

from __future__ import annotations

import numpy as np

from mistakes.stepping import Adam, Momentum
from mistakes.target import Mistakes

MISTAKES = mistake = Mistakes()


@mistake("l2(sgd)", "changed gradient 0", links="pytorch/pytorch#12218 pytorch/pytorch#69189")
class DecayInTheCallersGradient(Momentum):
    def __init__(self, params, *, weight_decay, **options):
        super().__init__(params, **options)
        self.weight_decay = weight_decay

    def update(self, i, g):
        g += self.weight_decay * self.params[i]
        super().update(i, g)


@mistake("clip_by_global_norm(sgd)", "changed gradient 0", links="apache/mxnet#9291")
class ClipsInPlace(Momentum):
    def __init__(self, params, *, max_norm, **options):
        super().__init__(params, **options)
        self.max_norm = max_norm

    def step(self, grads):
        present = [g for g in grads if g is not None]
        norm = np.sqrt(sum(np.sum(g * g) for g in present))
        for g in present:
            g *= min(1.0, self.max_norm / max(norm, 1e-30))
        return super().step(grads)


@mistake("sgd", "changed gradient 0")
class ZeroesTheGradientsAfterwards(Momentum):
    def step(self, grads):
        new = super().step(grads)
        for g in grads:
            if g is not None:
                g[...] = 0
        return new


@mistake("adam", "dtype float64")
class PromotesToDouble(Adam):
    def step(self, grads):
        return [p.astype(np.float64) for p in super().step(grads)]


@mistake("adam", "shape")
class FlattensMatrices(Adam):
    def step(self, grads):
        return [p.reshape(-1) if p.ndim > 1 else p for p in super().step(grads)]


@mistake("adam", "shape")
class NumbersBecomeVectors(Adam):
    def step(self, grads):
        return [np.atleast_1d(p) for p in super().step(grads)]


@mistake("sgd", "parameter 0", "float")
class NumbersBecomePythonFloats(Momentum):
    def step(self, grads):
        return [float(p) if p.ndim == 0 else p for p in super().step(grads)]


@mistake("adam", "returned NoneType")
class ReturnsNothing(Adam):
    def step(self, grads):
        super().step(grads)


@mistake("adam", "arrays for 5 parameters")
class ReturnsThoseWithGradients(Adam):
    def step(self, grads):
        return [p for p, g in zip(super().step(grads), grads, strict=True) if g is not None]


@mistake("adam", "raised TypeError")
class IteratesOverRows(Adam):
    """A number has no rows."""

    def apply(self, p, g, m, v, t):
        for row, others in enumerate(zip(p, g, m, v, strict=True)):
            del others
            super().apply(p[row], g[row], m[row : row + 1], v[row : row + 1], t)


@mistake("sgd", "raised ValueError", "zero-size")
class LargestOfNothing(Momentum):
    """An empty parameter has no largest gradient."""

    def update(self, i, g):
        if np.max(np.abs(g)) > 0:
            super().update(i, g)


@mistake("adam", "raised TypeError", "NoneType")
class ExpectsEveryGradient(Adam):
    def step(self, grads):
        for i, g in enumerate(grads):
            self.update(i, g)
        return self.params


@mistake("adam", "raised ValueError")
class ShiftsWhenOneIsMissing(Adam):
    """Gradients are filtered, parameters are not."""

    def step(self, grads):
        for i, g in enumerate(g for g in grads if g is not None):
            self.update(i, g)
        return self.params


@mistake("adam", "raised ZeroDivisionError", entry=4)
class CountStartsAtZero(Adam):
    def update(self, i, g):
        self.apply(self.params[i], g, self.m[i], self.v[i], self.t[i])
        self.t[i] += 1


@mistake("rmsprop(momentum=0.0)", "is subtracted instead of added", entry=72)
class RootOfANegative(Momentum):
    """The average of the gradient where that of its square belongs."""

    def __init__(self, params, *, lr, rho, eps):
        super().__init__(params, lr=lr)
        self.rho, self.eps = rho, eps
        self.v = [np.zeros_like(p) for p in params]

    def update(self, i, g):
        self.v[i] = self.rho * self.v[i] - (1 - self.rho) * g * g
        self.params[i] -= self.lr * g / (np.sqrt(self.v[i]) + self.eps)


@mistake("adam", "no finite number", entry=161, links="ooples/AiDotNet.Tensors#719")
class BitsOfTheCountAsFloat(Adam):
    """1 read as a float is 1.4e-45, and both corrections are zero."""

    def update(self, i, g):
        self.t[i] += 1
        t = np.array(self.t[i], np.int32).view(np.float32)
        one = np.float32(1)
        correction1 = one - np.float32(self.beta1) ** t
        correction2 = one - np.float32(self.beta2) ** t
        self.m[i] += (1 - self.beta1) * (g - self.m[i])
        self.v[i] += (1 - self.beta2) * (g * g - self.v[i])
        m_hat, v_hat = self.m[i] / correction1, self.v[i] / correction2
        self.params[i] -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)


@mistake("adam", "state_dict raised")
class CannotBeSaved(Adam):
    def state_dict(self):
        return {"state": self.state}


@mistake("adam", "load_state_dict raised")
class CannotBeLoaded(Adam):
    def state_dict(self):
        return {"m": self.m, "v": self.v, "step": self.t}


@mistake("adam", "RecursionError")
class CallsItself(Adam):
    def step(self, grads):
        return self.step(grads)


@mistake("adam", "starting the target", "raised")
class RefusesTheDefaults(Adam):
    def __init__(self, params, *, lr, beta1, beta2, eps):
        if not beta1 < beta2:
            raise ValueError(f"beta1={beta1} must be less than beta2={beta2}")
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, eps=eps)


@mistake("adam", "set_lr raised")
class RateCannotChange(Adam):
    def set_lr(self, lr):
        self.param_groups[0]["lr"] = lr


@mistake("adam", "dtype complex64")
class BecomesComplex(Adam):
    def step(self, grads):
        return [np.asarray(p, np.complex64) for p in super().step(grads)]


@mistake("adam", "returned ndarray")
class ReturnsOneFlatArray(Adam):
    def step(self, grads):
        return np.concatenate([p.reshape(-1) for p in super().step(grads)])
