"""What saving and loading may lose, on states small enough to compare."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

import refopt
from refopt import catalog
from refopt.layers import State
from refopt.oracle.saving import losses

ONE = np.ones(1)


def test_the_state_of_the_first_parameter_alone() -> None:
    optimizer = catalog.build("sgd(momentum=0.5)")
    fresh = optimizer.init([ONE, ONE])
    _, state = optimizer.step([ONE, ONE], [ONE, ONE], fresh)

    def loaded(words: str) -> State:
        return losses(optimizer)[words](state, fresh)

    every = loaded("only the state of the first parameter is loaded")
    assert (every["0"], every["1"]) == (state["0"], fresh["1"])
    arrays = loaded("only the state arrays of the first parameter are loaded, all step counts are")
    assert (arrays["0"], arrays["1"]) == (state["0"], fresh["1"] | {"t": 1})


def test_one_state_array_may_be_rounded_or_read_for_another() -> None:
    optimizer = catalog.build("adam")
    params = [np.ones(1)]
    fresh = optimizer.init(params)
    _, state = optimizer.step(params, [np.full(1, 0.1)], fresh)
    own = state["0"]
    lost = losses(optimizer)
    rounded = lost["the second moment is rounded to bfloat16 by loading"](state, fresh)["0"]
    assert rounded["adam.m"] is own["adam.m"]
    assert 0 < abs(rounded["adam.v"] - own["adam.v"]) < 2**-8 * own["adam.v"]
    twice = lost["the first moment is loaded as the second moment as well"](state, fresh)["0"]
    assert twice == own | {"adam.v": own["adam.m"]}


class OfTheFirstAlone:
    """Momentum, of which the first parameter's buffer alone is loaded."""

    def __init__(self, params: Sequence[Any], *, lr: float, momentum: float) -> None:
        self.params, self.lr, self.momentum = list(params), lr, momentum
        self.buffers: list[Any] = [None] * len(params)

    def set_lr(self, lr: float) -> None:
        self.lr = lr

    def step(self, grads: Sequence[Any]) -> list[Any]:
        for i, g in enumerate(grads):
            if g is not None:
                old = self.buffers[i]
                self.buffers[i] = np.array(g) if old is None else self.momentum * old + g
                self.params[i] = np.asarray(self.params[i] - self.lr * self.buffers[i])
        return self.params

    def state_dict(self) -> Any:
        return copy.deepcopy(self.buffers)

    def load_state_dict(self, state: Any) -> None:
        self.buffers[0] = copy.deepcopy(state[0])


def test_a_loss_that_differs_from_parameter_to_parameter_is_found() -> None:
    verdict = refopt.check(OfTheFirstAlone, "sgd(dampening=0.0, nesterov=False)")
    assert "only the state of the first parameter is loaded" in str(verdict.explanations[0])
