"""refopt: which optimizer is this, exactly, and is it right?

Every optimizer and variant of the catalog is here under its name::

    import numpy as np
    import refopt

    opt = refopt.lookahead(refopt.adamw(lr=1e-3, weight_decay=0.1), k=5, alpha=0.5)
    params = {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)}
    state = opt.init(params)
    params, state = opt.step(params, grads, state)

and so is the oracle: ``refopt.check("torch.optim:AdamW", "adamw")``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

__version__ = "0.1.0"

_HOMES: Final = {
    "Optimizer": "refopt.optimizer",
    "build": "refopt.catalog",
    "save": "refopt.checkpoint",
    "load": "refopt.checkpoint",
    "compile": "refopt.engines",
    "check": "refopt.oracle.check",
    "identify": "refopt.oracle.identify",
    "check_properties": "refopt.oracle.properties",
    "start": "refopt.oracle.subject",
    "parametrize": "refopt.oracle.conformance",
    "run_conformance_test": "refopt.oracle.conformance",
    "Verdict": "refopt.oracle.verdict",
    "Identification": "refopt.oracle.identification",
    "Deviation": "refopt.oracle.verdict",
}
"""Where public names live; they are imported when first asked for."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "strategies":
        return import_module("refopt.strategies")
    catalog = import_module("refopt.catalog")  # `from refopt import` would ask here again
    if name in catalog.names():
        return catalog.constructor(name)
    raise AttributeError(f"refopt has no attribute {name!r}")


def __dir__() -> list[str]:
    catalog = import_module("refopt.catalog")
    return sorted([*globals(), *_HOMES, "strategies", *catalog.names()])
