"""Small targets: correct ones, and ones that misbehave otherwise than in their formula."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Arrays = list[np.ndarray]
Gradients = Sequence[np.ndarray | None]

SGD_SPEC = "sgd(lr=0.25, momentum=0.0, dampening=0.0)"
"""What :class:`Descent` computes, with nothing left to vary."""


class Adam:
    """Adam as a textbook has it, with all that a target may have."""

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
    ) -> None:
        self.params = params
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.t = [0] * len(params)
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]

    def step(self, grads: Gradients) -> Arrays:
        for i, g in enumerate(grads):
            if g is not None:
                self.update(i, g)
        return self.params

    def update(self, i: int, g: np.ndarray) -> None:
        self.t[i] += 1
        self.m[i][...] = self.averaged(self.m[i], self.beta1, g)
        self.v[i][...] = self.averaged(self.v[i], self.beta2, g * g)
        m_hat = self.m[i] / (1 - self.beta1 ** self.t[i])
        v_hat = self.v[i] / (1 - self.beta2 ** self.t[i])
        self.params[i] -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)

    def averaged(self, old: np.ndarray, rate: float, new: np.ndarray) -> np.ndarray:
        return rate * old + (1 - rate) * new

    def set_lr(self, lr: float) -> None:
        self.lr = lr

    def state_dict(self) -> Any:
        return copy.deepcopy((self.t, self.m, self.v))

    def load_state_dict(self, state: Any) -> None:
        self.t, self.m, self.v = copy.deepcopy(state)


class EpsilonHat(Adam):
    """The epsilon-hat of the paper's note, which other people call Adam."""

    def update(self, i: int, g: np.ndarray) -> None:
        eps = self.eps
        self.eps = eps / (1 - self.beta2 ** (self.t[i] + 1)) ** 0.5
        super().update(i, g)
        self.eps = eps


class OnlySteps:
    """Adam that can be stepped and nothing else."""

    def __init__(self, params: Arrays, **hyperparameters: float) -> None:
        self.step = Adam(params, **hyperparameters).step


class TakesNoEpsilon(Adam):
    """Adam whose epsilon has a name of its own."""

    def __init__(
        self,
        params: Arrays,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(params, lr, beta1, beta2, epsilon)


class Descent:
    """Gradient descent with a learning rate of 1/4."""

    def __init__(self, params: Arrays) -> None:
        self.params = params

    def step(self, grads: Gradients) -> Any:
        self.params = [
            p if g is None else p - np.asarray(0.25, p.dtype) * g
            for p, g in zip(self.params, grads, strict=True)
        ]
        return self.params


def answering(answer: Callable[[Arrays], Any]) -> type[Descent]:
    """Gradient descent that returns something else than its parameters."""

    class Answering(Descent):
        def step(self, grads: Gradients) -> Any:
            return answer(super().step(grads))

    return Answering


def failing(error: BaseException) -> type[Descent]:
    """Gradient descent that raises in its third step."""

    class Failing(Descent):
        count = 0

        def step(self, grads: Gradients) -> Any:
            self.count += 1
            if self.count == 3:
                raise error
            return super().step(grads)

    return Failing


def without_epsilon(params: Arrays, **hyperparameters: float) -> Adam:
    """Adam that leaves out what it is given as epsilon."""
    return Adam(params, **hyperparameters | {"eps": 0.0})


class Hangs(Descent):
    """Never returns from a step, until it is told to."""

    release = threading.Event()

    def step(self, grads: Gradients) -> Any:
        self.release.wait()


class HangsAtFirst(Hangs):
    """Never returns from its constructor."""

    def __init__(self, params: Arrays) -> None:
        self.release.wait()


class MutatesGradients(Descent):
    """Scales the caller's gradients."""

    def step(self, grads: Gradients) -> Any:
        for g in grads:
            if g is not None:
                np.multiply(g, 0.25, out=g)
        return super().step(grads)


class ReplacesGradients(Descent):
    """Puts other gradients into the list that it is given, which is nobody's but its own."""

    def step(self, grads: Gradients) -> Any:
        new = [None if g is None else 2 * g for g in grads]
        assert isinstance(grads, list)
        grads[:] = [None if g is None else g / 2 for g in new]
        return super().step(grads)


class KeepsGradients(Descent):
    """Sums up the gradients of all steps from the arrays that it was given."""

    def __init__(self, params: Arrays) -> None:
        super().__init__(params)
        self.start = [p.copy() for p in params]
        self.kept: list[Gradients] = []

    def step(self, grads: Gradients) -> Any:
        self.kept.append(grads)
        self.params = [p.copy() for p in self.start]
        for gs in self.kept:
            super().step(gs)
        return self.params


class Prints(Adam):
    """Adam that tells what it does."""

    def step(self, grads: Gradients) -> Arrays:
        print("stepping")  # noqa: T201
        return super().step(grads)


class Exits(Descent):
    """Ends the program."""

    def step(self, grads: Gradients) -> Any:
        sys.exit(0)


def refusing(params: Arrays) -> Descent:
    """A factory that raises."""
    raise RuntimeError(f"no room for {len(params)} parameters\nand a second line")


number = 7


class CountsFromZero(Adam):
    """Adam whose step count advances after its use, so that the first correction is 1 - 1."""

    def update(self, i: int, g: np.ndarray) -> None:
        self.t[i] -= 1
        super().update(i, g)
        self.t[i] += 1


class RoundsRates(Adam):
    """Adam whose averages decay by float32 rates and are corrected in float64."""

    def averaged(self, old: np.ndarray, rate: float, new: np.ndarray) -> np.ndarray:
        return super().averaged(old, float(np.float32(rate)), new)


class Announces(Hangs):
    """Never returns from a step, and says that it has begun."""

    def step(self, grads: Gradients) -> Any:
        print("started", file=sys.stderr, flush=True)  # noqa: T201
        return super().step(grads)


class WritesNoTail(Adam):
    """Adam that leaves over what fills no vector of 8 elements, in arrays of 64 and more."""

    def update(self, i: int, g: np.ndarray) -> None:
        before = self.params[i].copy()
        super().update(i, g)
        if g.size >= 64:
            done = g.size // 8 * 8
            self.params[i].flat[done:] = before.flat[done:]


class KnowsTwoAxes(Adam):
    """Adam that takes a parameter of more than two axes for a matrix of its first two."""

    def update(self, i: int, g: np.ndarray) -> None:
        before = self.params[i].copy()
        super().update(i, g)
        if g.ndim > 2:
            self.params[i][..., 1:] = before[..., 1:]


class RefusesThreeAxes(Adam):
    """Adam that says that it knows no parameter of more than two axes."""

    def update(self, i: int, g: np.ndarray) -> None:
        if g.ndim > 2:
            raise NotImplementedError("three axes")
        super().update(i, g)


class SharesFromTheSixth(Adam):
    """Adam whose sixth parameter, if there is one, has the moments of the fifth's place."""

    def update(self, i: int, g: np.ndarray) -> None:
        super().update(i, g)
        if i == 5:
            self.params[i] -= self.lr * np.mean(self.params[4])
