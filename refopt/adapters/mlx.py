"""MLX: subclasses of ``mlx.optimizers.Optimizer``, instances, functions that make them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self

import ml_dtypes
import mlx.core as mx
import numpy as np
from mlx.optimizers import Optimizer
from mlx.utils import tree_map

from refopt.adapters.adapter import (
    Adapter,
    Arrays,
    Gradients,
    Part,
    TargetError,
    arguments_of,
    with_options,
)


class MlxAdapter(Adapter):
    """An optimizer class, an instance, or a function ``make(...)``.

    An instance stands for its class with the values of its attributes, of which hyperparameters
    that are given take precedence. The state of all parameters is made before the first step:
    left to itself MLX makes that of the parameters which have a gradient in the first step, and
    fails when another one gets its first gradient later.
    """

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Self:
        innermost, *outer = parts
        if isinstance(innermost.factory, Optimizer):
            innermost = replace(innermost, factory=_class_with_values(innermost.factory))
        return super().of((innermost, *outer))

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> MlxSession:
        optimizer = self.parts[0].factory(**with_options(self.parts, hyperparameters))
        if not isinstance(optimizer, Optimizer):
            raise TargetError(
                f"the target returned {type(optimizer).__name__}, not an mlx.optimizers.Optimizer"
            )
        return MlxSession(params, optimizer)


class MlxSession:
    """A started optimizer with its parameters, as a tree of named ones.

    A parameter without a gradient is left out of the tree of gradients.
    """

    def __init__(self, params: Arrays, optimizer: Optimizer) -> None:
        self._double = any(p.dtype == np.float64 for p in params)
        with self._device():
            self.params = {f"theta{i}": _array(p) for i, p in enumerate(params)}
            self.optimizer = optimizer
            self.optimizer.init(self.params)

    def step(self, grads: Gradients) -> Arrays:
        with self._device():
            given = {
                name: _array(g) for name, g in zip(self.params, grads, strict=True) if g is not None
            }
            self.params |= self.optimizer.apply_gradients(given, self.params)
            mx.eval(self.params, self.optimizer.state)
        return [_values(p) for p in self.params.values()]

    def set_lr(self, lr: float) -> None:
        self.optimizer.learning_rate = lr

    # Copies of the dictionaries; the arrays in them never change.
    def state_dict(self) -> Any:
        return _copied(self.optimizer.state)

    def load_state_dict(self, state: Any) -> None:
        self.optimizer.state = _copied(state)

    def _device(self) -> contextlib.AbstractContextManager[Any]:
        """The CPU for double precision, which MLX has nowhere else."""
        return mx.stream(mx.cpu) if self._double else contextlib.nullcontext()


def _array(values: np.ndarray) -> mx.array:
    dtype = getattr(mx, values.dtype.name)
    if dtype == mx.bfloat16:  # which MLX does not know of NumPy
        values = values.astype(np.float32)
    return mx.array(values, dtype)


def _values(array: mx.array) -> np.ndarray:
    if array.dtype == mx.bfloat16:
        return np.array(array.astype(mx.float32)).astype(ml_dtypes.bfloat16)
    return np.array(array)


def _copied(state: Any) -> Any:
    return tree_map(lambda leaf: leaf, state)


def _class_with_values(optimizer: Optimizer) -> partial[Optimizer]:
    kind: Any = type(optimizer)
    values = {**vars(optimizer), **optimizer.state, **optimizer._schedulers}
    named, _ = arguments_of(kind)
    unknown = named.keys() - values.keys()
    if unknown:
        raise TargetError(
            f"the value of {', '.join(sorted(unknown))} is no attribute of this {kind.__name__}; "
            "give its class and options instead"
        )
    return partial(kind, **{name: values[name] for name in named})
