"""One expression for every name of the catalog, with values for what has no default."""

from __future__ import annotations

from typing import Any, Final

from refopt.catalog import VARIANTS, goes_around, names
from refopt.layers import REQUIRED

VALUES: Final[dict[str, Any]] = {
    "decay_rate": 0.5,
    "decay_steps": 3,
    "schedule": {2: 0.5, 5: 1.0},
    "total_steps": 8,
    "warmup_steps": 3,
}
"""For the hyperparameters that have no default."""

AROUND: Final = [name for name in names() if goes_around(name)]
"""The names that take an optimizer inside."""


def around(name: str, inside: str) -> str:
    """The expression of a variant around another expression."""
    defaults = VARIANTS[name].default.hyperparameters if name in VARIANTS else {}
    needed = [k for k, default in defaults.items() if default is REQUIRED]
    values = "".join(f", {k}={VALUES[k]!r}" for k in needed)
    return f"{name}({inside}{values})"


EXPRESSIONS: Final = [around(name, "adam") if name in AROUND else name for name in names()]
