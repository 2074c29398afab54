"""Paddle: subclasses of ``paddle.optimizer.Optimizer``, instances, functions that make them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self

import ml_dtypes
import numpy as np
import paddle
from paddle.base.framework import EagerParamBase
from paddle.base.unique_name import UniqueNameGenerator
from paddle.optimizer import Optimizer
from paddle.utils import unique_name

from refopt.adapters.adapter import (
    Adapter,
    Arrays,
    Gradients,
    Part,
    TargetError,
    arguments_of,
    with_options,
)

_PARAMETERS: Final = ("parameters", "parameter_list")
"""The argument that takes the parameters; LarsMomentumOptimizer has the older name."""


class PaddleAdapter(Adapter):
    """An optimizer class, an instance, or a function ``make(parameters, ...)``.

    An instance stands for its class with the values of its attributes, of which hyperparameters
    that are given take precedence. What is chained before it, such as ``ClipGradByNorm``, is its
    argument ``grad_clip``; what goes around it, such as ``LookAhead``, has it as first argument.
    """

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Self:
        innermost, *outer = parts
        if isinstance(innermost.factory, Optimizer):
            innermost = replace(innermost, factory=_class_with_values(innermost.factory))
        return super().of((innermost, *outer))

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> PaddleSession:
        names = UniqueNameGenerator()
        with unique_name.guard(names):
            # Names as in a fresh process, since Paddle finds the state of a parameter by its name.
            tensors = [_parameter(p, f"theta{i}") for i, p in enumerate(params)]
            innermost, *outer = self.parts
            named, _ = arguments_of(innermost.factory)
            argument = next((name for name in _PARAMETERS if name in named), _PARAMETERS[0])
            options = [part for part in outer if part.wraps == "option"]
            arguments = with_options([innermost, *options], hyperparameters)
            for part in outer:
                if part.wraps == "chain":
                    arguments["grad_clip"] = part.factory(**part.translated(hyperparameters))
            optimizers = [innermost.factory(**{argument: tensors}, **arguments)]
            for part in outer:
                if part.wraps == "argument":
                    arguments = part.translated(hyperparameters)
                    optimizers.append(part.factory(optimizers[-1], **arguments))
        for optimizer in optimizers:
            if not isinstance(optimizer, Optimizer):
                raise TargetError(
                    f"the target returned {type(optimizer).__name__}, "
                    "not a paddle.optimizer.Optimizer"
                )
        session = AdjustablePaddleSession if self.takes_rate("learning_rate") else PaddleSession
        return session(tensors, optimizers, names)


class PaddleSession:
    """A started optimizer with its parameters, and those that it is made of, innermost first."""

    def __init__(
        self, params: list[Any], optimizers: list[Optimizer], names: UniqueNameGenerator
    ) -> None:
        self.params = params
        self.optimizers = optimizers
        self._names = names

    def step(self, grads: Gradients) -> Arrays:
        for param, g in zip(self.params, grads, strict=True):
            param.grad = None if g is None else _tensor(g)
        with unique_name.guard(self._names), warnings.catch_warnings():
            # LookAhead counts its steps in a way that Paddle itself calls outdated.
            warnings.filterwarnings("ignore", message="Op `increment` is executed")
            self.optimizers[-1].step()
        return [_array(param) for param in self.params]

    # Copies, since an optimizer of Paddle shares the tensors of a state that it saves.
    def state_dict(self) -> Any:
        return [copy.deepcopy(optimizer.state_dict()) for optimizer in self.optimizers]

    def load_state_dict(self, state: Any) -> None:
        for optimizer, own in zip(self.optimizers, state, strict=True):
            optimizer.set_state_dict(copy.deepcopy(own))


class AdjustablePaddleSession(PaddleSession):
    """An optimizer whose learning rate can be changed."""

    def set_lr(self, lr: float) -> None:
        self.optimizers[0].set_lr(lr)


def _parameter(values: np.ndarray, name: str) -> Any:
    return EagerParamBase.from_tensor(_tensor(values), name=name)


def _tensor(values: np.ndarray) -> Any:
    """A tensor with memory of its own; Paddle takes uint16 of NumPy for bfloat16."""
    values = np.array(values)
    return paddle.to_tensor(
        values.view(np.uint16) if values.dtype == ml_dtypes.bfloat16 else values
    )


def _array(tensor: Any) -> np.ndarray:
    values = np.array(tensor.numpy())
    return values.view(ml_dtypes.bfloat16) if tensor.dtype == paddle.bfloat16 else values


def _class_with_values(optimizer: Optimizer) -> partial[Optimizer]:
    kind: Any = type(optimizer)
    attributes = vars(optimizer)
    # Where an L2 decay of the constructor is kept, by the base class or by Momentum itself.
    decay = attributes.get("regularization") or attributes.get("_regularization_coeff")
    values: dict[str, Any] = {"weight_decay": decay}
    values |= {name.removeprefix("_"): value for name, value in attributes.items()}
    wanted = arguments_of(kind)[0].keys() - set(_PARAMETERS)
    unknown = wanted - values.keys()
    if unknown:
        raise TargetError(
            f"the value of {', '.join(sorted(unknown))} is no attribute of this {kind.__name__}; "
            "give its class and options instead"
        )
    return partial(kind, **{name: values[name] for name in wanted})
