"""Plain Python targets: ``Factory(params, **hyperparameters)`` with a method ``step(grads)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refopt.adapters.adapter import Adapter, Arrays, Session, argument_names


class PlainAdapter(Adapter):
    """A factory that follows the contract of targets and names hyperparameters canonically."""

    def accepted(self) -> frozenset[str]:
        (part,) = self.parts
        taken = argument_names(part.factory)
        return frozenset(part.arguments) if taken is None else taken

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> Session:
        (part,) = self.parts
        taken = self.accepted()
        values = {k: v for k, v in hyperparameters.items() if k in taken}
        session: Session = part.factory([np.array(p) for p in params], **values, **part.options)
        return session
