"""ONNX: the optimizers of its reference evaluator, operators of ai.onnx.preview.training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Self

import numpy as np
import onnx.defs
from onnx.reference.op_run import OpRun

from refopt.adapters.adapter import Adapter, Arrays, Gradients, Part, TargetError, with_options

_STATES: Final = {"Adagrad": 1, "Adam": 2, "Momentum": 1}
"""How many state tensors an operator takes and returns for each parameter."""


class OnnxAdapter(Adapter):
    """The class that evaluates an operator, which is called once a step for all parameters.

    The operator keeps nothing: its caller passes the state, zeros at first, and ``T``, "the number
    of training iterations conducted". Those are the ones before, so T starts at 0; with the option
    ``T=1`` it counts the present one too, as callers do who know other frameworks.
    """

    takes_missing = False

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Self:
        innermost, *outer = parts
        return super().of((replace(innermost, factory=_Operator(innermost.factory)), *outer))

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> OnnxSession:
        arguments = with_options(self.parts, hyperparameters)
        session: OnnxSession = self.parts[0].factory(params, **arguments)
        return session


class OnnxSession:
    """An operator with what its caller keeps: parameters, state, learning rate and count."""

    def __init__(
        self, kind: type[OpRun], params: Arrays, lr: float, count: int, attributes: Any
    ) -> None:
        states = _STATES[kind.__name__]
        n = len(params)
        self.params = [np.array(p) for p in params]
        self.state = [np.zeros_like(p) for _ in range(states) for p in params]
        self.lr, self.count = lr, count
        self._operator = kind.create(2 + (2 + states) * n, (1 + states) * n, **attributes)

    def step(self, grads: Gradients) -> Arrays:
        rate = np.asarray(self.lr, self.params[0].dtype)
        count = np.asarray(self.count)
        made = self._operator.run(rate, count, *self.params, *grads, *self.state)
        # For one parameter the evaluator returns float64, though the schema has the input's type.
        made = [np.asarray(x, rate.dtype) for x in made]
        n = len(self.params)
        self.params, self.state = made[:n], made[n:]
        self.count += 1
        return [np.array(p) for p in self.params]

    def set_lr(self, lr: float) -> None:
        self.lr = lr

    # An operator makes new tensors, so that nothing needs to be copied.
    def state_dict(self) -> Any:
        return {"lr": self.lr, "count": self.count, "state": self.state}

    def load_state_dict(self, state: Any) -> None:
        self.lr, self.count, self.state = state["lr"], state["count"], state["state"]


class _Operator:
    """Starts an operator; its arguments are the inputs R and T and the attributes of its schema."""

    def __init__(self, kind: Any) -> None:
        name = getattr(kind, "__name__", repr(kind))
        if name not in _STATES:
            raise TargetError(
                f"{name} is not an optimizer of ONNX; those are {', '.join(sorted(_STATES))}"
            )
        self.kind = kind
        keyword = inspect.Parameter.KEYWORD_ONLY
        schema = onnx.defs.get_schema(name, 1, kind.op_domain)
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(name, keyword) for name in ("R", "T", *schema.attributes)]
        )

    def __call__(self, params: Arrays, *, R: float, T: int = 0, **attributes: Any) -> OnnxSession:  # noqa: N803
        return OnnxSession(self.kind, params, R, T, attributes)
