"""Plain Python targets: ``Factory(params, **hyperparameters)`` with a method ``step(grads)``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from refopt.adapters.adapter import Adapter, Arrays, Session, TargetError


class PlainAdapter(Adapter):
    """A factory that follows the contract of targets and names hyperparameters canonically."""

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> Session:
        (part,) = self.parts
        values = part.translated(hyperparameters)
        for name, default in part.untouched().items():
            if default is inspect.Parameter.empty:
                raise TargetError(
                    "a target is called as Factory(params, **hyperparameters), with canonical "
                    f"names; this one needs {name!r}, which the spec has not: give it a default, "
                    "or the name that `refopt show` has"
                )
        session: Session = part.factory([np.array(p) for p in params], **values)
        if not callable(getattr(session, "step", None)):
            raise TargetError(
                f"the target returned {type(session).__name__}, which has no method step(grads); "
                "if a framework made it, say so: def make(...) -> torch.optim.Optimizer"
            )
        return session
