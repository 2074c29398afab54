"""PyTorch: subclasses of ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from refopt.adapters.adapter import Adapter, Arrays, Gradients, with_options


class TorchAdapter(Adapter):
    """An optimizer class; the parameters are spread over two parameter groups."""

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> TorchSession:
        innermost, *outer = self.parts
        return TorchSession(
            innermost.factory, params, with_options(innermost, outer, hyperparameters)
        )


class TorchSession:
    """A started optimizer."""

    def __init__(self, factory: Any, params: Arrays, arguments: Mapping[str, Any]) -> None:
        self.params = [torch.nn.Parameter(torch.tensor(p)) for p in params]
        half = len(params) // 2
        groups = [{"params": group} for group in (self.params[:half], self.params[half:]) if group]
        self.optimizer = factory(groups, **arguments)

    def step(self, grads: Gradients) -> Arrays:
        for param, g in zip(self.params, grads, strict=True):
            param.grad = None if g is None else torch.tensor(g)
        self.optimizer.step()
        return [param.detach().numpy().copy() for param in self.params]

    def set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.optimizer.load_state_dict(state)
