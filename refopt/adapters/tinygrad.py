"""tinygrad: subclasses of ``tinygrad.nn.optim.Optimizer``, instances, functions that make them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self

import ml_dtypes
import numpy as np
from tinygrad import Context, Device, Tensor, TinyJit, dtypes
from tinygrad.helpers import DEV, getenv
from tinygrad.nn.optim import Optimizer
from tinygrad.nn.state import get_state_dict, load_state_dict

from refopt.adapters.adapter import (
    Adapter,
    Arrays,
    Gradients,
    Part,
    TargetError,
    arguments_of,
    raised,
    with_options,
)

_ATTRIBUTES: Final = {"weight_decay": "wd"}
"""Where an optimizer keeps an argument, if not under the argument's own name."""


class TinygradAdapter(Adapter):
    """An optimizer class, an instance, or a function ``make(params, ...)``, on tinygrad's device.

    An instance stands for its class with the values of its attributes, of which hyperparameters
    that are given take precedence. A parameter of shape () is one of shape (1,) here, since the
    optimizers of tinygrad refuse the former. Steps of tinygrad's own optimizers are captured by
    TinyJit, as in training; those of others need not be the same each time. Where no device of
    tinygrad can be used, since the CPU needs clang, its interpreter PYTHON is: the same kernels,
    one operation at a time.
    """

    takes_missing = False
    compiles = True

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Self:
        _choose_device()
        innermost, *outer = parts
        if isinstance(innermost.factory, Optimizer):
            innermost = replace(innermost, factory=_class_with_values(innermost.factory))
        return super().of((innermost, *outer))

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> TinygradSession:
        arguments = with_options(self.parts, hyperparameters)
        double = any(p.dtype == np.float64 for p in params)
        with _settings(), _state_in(double):
            tensors = [_tensor(p) for p in params]
            optimizer = self.parts[0].factory(tensors, **arguments)
        if not isinstance(optimizer, Optimizer):
            raise TargetError(
                f"the target returned {type(optimizer).__name__}, not a tinygrad.nn.optim.Optimizer"
            )
        return TinygradSession(tensors, [p.shape for p in params], optimizer)


class TinygradSession:
    """A started optimizer with its parameters."""

    def __init__(
        self, params: list[Tensor], shapes: list[tuple[int, ...]], optimizer: Optimizer
    ) -> None:
        self.params = params
        self.shapes = shapes
        self.optimizer = optimizer
        is_own = type(optimizer).__module__ == Optimizer.__module__
        self._step = TinyJit(self._apply) if is_own else self._apply

    def _apply(self, *grads: Tensor | None) -> None:
        for param, g in zip(self.params, grads, strict=True):
            param.grad = g
        self.optimizer.step()

    def step(self, grads: Gradients) -> Arrays:
        with _settings():
            self._step(*(None if g is None else _tensor(g) for g in grads))
            return [
                _array(param).reshape(shape)
                for param, shape in zip(self.params, self.shapes, strict=True)
            ]

    def set_lr(self, lr: float) -> None:
        with _settings():
            for optimizer in getattr(self.optimizer, "optimizers", [self.optimizer]):
                rate = _tensor(np.full(optimizer.lr.shape, lr)).cast(optimizer.lr.dtype)
                optimizer.lr.assign(rate).realize()

    # The parameters are part of the state, as tinygrad has it.
    def state_dict(self) -> Any:
        with _settings():
            state = get_state_dict(self.optimizer)
            return {name: _array(tensor) for name, tensor in state.items()}

    def load_state_dict(self, state: Any) -> None:
        with _settings():
            tensors = {name: _tensor(array) for name, array in state.items()}
            load_state_dict(self.optimizer, tensors, verbose=False)


def _settings() -> Context:
    """Training, and no cache on the disk: that is of the one thread which opened it."""
    return Context(TRAINING=1, CACHELEVEL=0)


@contextlib.contextmanager
def _state_in(double: bool) -> Iterator[None]:
    """State and learning rate in double precision, for which tinygrad asks its environment."""
    if not double:
        yield
        return
    before = os.environ.get("OPTIM_DTYPE")
    os.environ["OPTIM_DTYPE"] = "float64"
    getenv.cache_clear()
    try:
        with Context(DEFAULT_FLOAT="float64"):
            yield
    finally:
        del os.environ["OPTIM_DTYPE"]
        if before is not None:
            os.environ["OPTIM_DTYPE"] = before
        getenv.cache_clear()


def _tensor(values: np.ndarray) -> Tensor:
    """A tensor with memory of its own; tinygrad does not know the bfloat16 of NumPy."""
    values = np.array(values, ndmin=1)
    if values.dtype != ml_dtypes.bfloat16:
        return Tensor(values).realize()
    return Tensor(values.view(np.uint16)).bitcast(dtypes.bfloat16).realize()


def _array(tensor: Tensor) -> np.ndarray:
    if tensor.dtype != dtypes.bfloat16:
        return np.array(tensor.numpy())
    return np.array(tensor.bitcast(dtypes.uint16).numpy()).view(ml_dtypes.bfloat16)


def _choose_device() -> None:
    """Has tinygrad use its interpreter where it finds no device, unless told which to use."""
    try:
        device = Device.DEFAULT
    except RuntimeError:
        DEV.value = device = "PYTHON"
    try:
        with _settings():
            Tensor([1.0]).add(1.0).realize()
    except Exception as error:
        raise TargetError(
            f"tinygrad cannot use its device {device}: {raised(error)}; install what it needs, "
            "such as clang for CPU, or set the environment variable DEV=PYTHON"
        ) from error


def _class_with_values(optimizer: Optimizer) -> partial[Optimizer]:
    kind: Any = type(optimizer)
    values = {**vars(optimizer)}
    values |= {name: values[kept] for name, kept in _ATTRIBUTES.items() if kept in values}
    if "lr" in values:
        values["lr"] = optimizer.lr.item()
    wanted = arguments_of(kind)[0].keys() - {"params"}
    unknown = wanted - values.keys()
    if unknown:
        raise TargetError(
            f"the value of {', '.join(sorted(unknown))} is no attribute of this {kind.__name__}; "
            "give its class and options instead"
        )
    return partial(kind, **{name: values[name] for name in wanted})
