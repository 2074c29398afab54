"""What a deviation hangs on: each circumstance is named where it is the one, and nowhere else."""

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

import refopt
from refopt.oracle.circumstances import CIRCUMSTANCES, Circumstance
from refopt.oracle.probes import probes

Array = Any


class Descent:
    """Momentum, right; what goes wrong depends on the subclass."""

    def __init__(self, params: Sequence[Array], *, lr: float = 0.01, momentum: float = 0.0) -> None:
        self.params, self.lr, self.momentum = list(params), lr, momentum
        self.buffers: list[Array] = [None] * len(params)

    def set_lr(self, lr: float) -> None:
        self.lr = lr

    def step(self, grads: Sequence[Array]) -> list[Array]:
        for i, g in enumerate(grads):
            if g is not None:
                old = self.buffers[i]
                self.buffers[i] = np.array(g) if old is None else self.momentum * old + g
                self.params[i] = np.asarray(self.params[i] - self.moved(self.buffers[i], grads))
        return self.params

    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        return self.lr * buffer

    def state_dict(self) -> Any:
        return copy.deepcopy(self.buffers)

    def load_state_dict(self, state: Any) -> None:
        self.buffers = copy.deepcopy(state)


class StrangeAfterLoading(Descent):
    def load_state_dict(self, state: Any) -> None:
        self.buffers = [None if b is None else np.cbrt(b) for b in state]


class StrangeRates(Descent):
    def set_lr(self, lr: float) -> None:
        self.lr = lr**1.1


class StrangeWithMissing(Descent):
    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        return super().moved(buffer, grads) * 0.9 ** sum(g is None for g in grads)


class StrangeWithZeros(Descent):
    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        zeros = sum(np.sum(g == 0) for g in grads if g is not None)
        return np.asarray(super().moved(buffer, grads) * 0.9**zeros, np.float32)


class StrangeTogether(Descent):
    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        return super().moved(buffer, grads) * np.float32(0.9 if len(grads) > 1 else 1)


class StrangeTails(Descent):
    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        factors = np.where(np.arange(buffer.size) < buffer.size // 8 * 8, 1, 0.9)
        return super().moved(buffer, grads) * factors.reshape(buffer.shape).astype(np.float32)


class StrangeMatrices(Descent):
    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        return super().moved(buffer, grads) * np.float32(1.1 if buffer.ndim > 1 else 1)


class StrangeStrides(Descent):
    def step(self, grads: Sequence[Array]) -> list[Array]:
        return super().step(
            [g if g is None or g.flags.c_contiguous else np.cbrt(np.array(g)) for g in grads]
        )


class Keeping(Descent):
    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        kept = vars(self).get("kept", [])
        have_changed = any(not np.array_equal(g, as_given) for g, as_given in kept)
        self.kept = [(g, np.array(g)) for g in grads if g is not None]
        return super().moved(buffer, grads) * np.float32(0.9 if have_changed else 1)


class Sharing(Descent):
    shared: ClassVar[dict[Any, Array]] = {}

    def step(self, grads: Sequence[Array]) -> list[Array]:
        keys = [(i, p.shape) for i, p in enumerate(self.params)]
        self.buffers = [self.shared.get(key) for key in keys]
        new = super().step(grads)
        self.shared.update(zip(keys, self.buffers, strict=True))
        return new


class Random(Descent):
    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        noise = np.random.default_rng().uniform(0.99, 1.01, buffer.shape)
        return (super().moved(buffer, grads) * noise).astype(buffer.dtype)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (StrangeAfterLoading, "it is right where it is never saved"),
        (StrangeRates, "it is right while that stays"),
        (StrangeWithMissing, "it is right where none is missing"),
        (StrangeWithZeros, "it is right where there are none"),
        (StrangeTogether, "it is right with each of them alone"),
        (StrangeTails, "it is right where rows have 16 elements"),
        (StrangeMatrices, "it is right where all parameters are vectors"),
        (StrangeStrides, "gradients are read as if they were contiguous"),
        (Keeping, "an array of a gradient is kept"),
        (Sharing, "a fresh instance goes on with the state of the one before"),
        (Random, "it is not deterministic"),
    ],
)
def test_what_it_hangs_on_is_said(target: type, words: str) -> None:
    verdict = refopt.check(target, "sgd(dampening=0.0, nesterov=False)")
    (explanation,) = verdict.explanations
    assert words in str(explanation)
    assert explanation.is_changed


class Strange(Descent):
    def moved(self, buffer: Array, grads: Sequence[Array]) -> Array:
        return self.lr * np.tanh(np.cbrt(buffer))


def test_what_is_wrong_in_every_circumstance_hangs_on_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refopt.oracle.identify.PATIENCE", 1.0)
    verdict = refopt.check(Strange, "sgd(dampening=0.0, nesterov=False)")
    assert verdict.outcome == "deviates"
    assert verdict.explanations == ()


@pytest.mark.parametrize("each", CIRCUMSTANCES, ids=lambda each: each.description[:24])
def test_a_circumstance_is_that_of_some_probes_and_left_away_it_is_gone(each: Circumstance) -> None:
    changed = 0
    for probe in probes({"lr": 0.1, "momentum": 0.5}):
        others = each.without(probe)
        if others[0] is not probe:
            changed += 1
            for other in others:
                (again,) = each.without(other)
                assert again.layout == other.layout
                assert again is other or other.layout == "anew"
    assert changed
