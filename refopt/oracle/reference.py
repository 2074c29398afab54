"""The reference as a target of its own checks: the same rules, on NumPy arrays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from refopt.layers import State
from refopt.optimizer import Optimizer


class ReferenceTarget:
    """An optimizer of the catalog, stepped on NumPy arrays."""

    def __init__(self, optimizer: Optimizer, params: Sequence[np.ndarray]) -> None:
        self.optimizer = optimizer
        self.params: list[np.ndarray] = list(params)
        self._state: State = optimizer.init(self.params)
        self.lr = optimizer.lr

    def step(self, grads: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """Takes one step and returns the parameters."""
        self.params, self._state = self.optimizer.step(
            self.params, list(grads), self._state, lr=self.lr
        )
        return self.params

    def set_lr(self, lr: float) -> None:
        """Changes the learning rate."""
        self.lr = lr

    def state(self) -> dict[str, list[np.ndarray]]:
        """The state arrays by the names of the specification, one for each parameter."""
        states = self._state.values()
        keys = sorted({key for own in states for key in own} - {"t"})
        return {key.partition(".")[2]: [own[key] for own in states] for key in keys}

    def state_dict(self) -> State:
        """The state of every parameter."""
        return copy.deepcopy(self._state)

    def load_state_dict(self, state: State) -> None:
        """Continues from a saved state."""
        self._state = copy.deepcopy(state)


def reference(optimizer: Optimizer) -> Callable[..., ReferenceTarget]:
    """A target factory that takes every hyperparameter of an optimizer."""

    def factory(params: Sequence[np.ndarray], **hyperparameters: Any) -> ReferenceTarget:
        values: Mapping[str, Any] = hyperparameters
        return ReferenceTarget(optimizer.with_hyperparameters(**values), params)

    return factory
