"""PyTorch: subclasses of ``torch.optim.Optimizer``, instances, functions that make them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self

import ml_dtypes
import numpy as np
import torch

from refopt.adapters.adapter import (
    Adapter,
    Arrays,
    Gradients,
    Part,
    TargetError,
    arguments_of,
    with_options,
)


class TorchAdapter(Adapter):
    """An optimizer class, an instance, or a function ``make(params, ...)``.

    An instance stands for its class with its ``defaults``, of which hyperparameters that are given
    take precedence; what was changed in single parameter groups is left out. Parameters are spread
    over two parameter groups, but a function of the user's gets them as a list.
    """

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Self:
        innermost, *outer = parts
        if isinstance(innermost.factory, torch.optim.Optimizer):
            innermost = replace(innermost, factory=_class_with_defaults(innermost.factory))
        return super().of((innermost, *outer))

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> TorchSession:
        factory = self.parts[0].factory
        made = factory.func if isinstance(factory, partial) else factory
        tensors = [torch.nn.Parameter(_tensor(p)) for p in params]
        half = len(tensors) // 2
        groups = [{"params": group} for group in (tensors[:half], tensors[half:]) if group]
        arguments = with_options(self.parts, hyperparameters)
        optimizer = factory(groups if isinstance(made, type) else tensors, **arguments)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TargetError(
                f"the target returned {type(optimizer).__name__}, not a torch.optim.Optimizer"
            )
        session = AdjustableTorchSession if self.takes_rate("lr") else TorchSession
        return session(tensors, optimizer)


class TorchSession:
    """A started optimizer with its parameters."""

    def __init__(self, params: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        self.params = params
        self.optimizer = optimizer

    def step(self, grads: Gradients) -> Arrays:
        for param, g in zip(self.params, grads, strict=True):
            param.grad = None if g is None else _tensor(g)
        self.optimizer.step()
        return [_array(param.detach()) for param in self.params]

    # Copies, since an optimizer of torch shares the tensors of a state that it saves or loads.
    def state_dict(self) -> Any:
        return copy.deepcopy(self.optimizer.state_dict())

    def load_state_dict(self, state: Any) -> None:
        self.optimizer.load_state_dict(copy.deepcopy(state))


class AdjustableTorchSession(TorchSession):
    """An optimizer whose learning rate can be changed, in all parameter groups."""

    def set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            old = group["lr"]
            # A new tensor: the old one came in as an option and belongs to the caller.
            group["lr"] = torch.full_like(old, lr) if isinstance(old, torch.Tensor) else lr


def _tensor(array: np.ndarray) -> torch.Tensor:
    """A copy, row by row in memory as the parameter is: fused optimizers take that for granted.

    Autograd sees to it (pytorch/pytorch#106951). torch does not know the bfloat16 of NumPy.
    """
    array = np.array(array, order="C")
    if array.dtype.name != "bfloat16":
        return torch.tensor(array)
    return torch.tensor(array.view(np.uint16)).view(torch.bfloat16)


def _array(tensor: torch.Tensor) -> np.ndarray:
    if tensor.dtype != torch.bfloat16:
        return np.array(tensor.numpy())
    return np.array(tensor.view(torch.uint16).numpy()).view(ml_dtypes.bfloat16)


def _class_with_defaults(optimizer: torch.optim.Optimizer) -> partial[torch.optim.Optimizer]:
    kind: Any = type(optimizer)
    named, others = arguments_of(kind)
    first = next(iter(inspect.signature(kind).parameters))
    unknown = named.keys() - optimizer.defaults.keys() - {first}
    if unknown:
        raise TargetError(
            f"the value of {', '.join(sorted(unknown))} is not in the defaults of this "
            f"{kind.__name__}; give its class and options instead"
        )
    defaults = {n: value for n, value in optimizer.defaults.items() if others or n in named}
    return partial(kind, **defaults)
