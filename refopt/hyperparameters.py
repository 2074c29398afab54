"""The canonical hyperparameters: the values each may take, wherever it occurs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Interval:
    """The real numbers, or the integers, between two ends.

    >>> str(Interval(0, 1, closed_right=False))
    '[0, 1)'
    """

    low: float
    high: float
    closed_left: bool = True
    closed_right: bool = True
    integer: bool = False

    def __contains__(self, value: object) -> bool:
        kinds = int if self.integer else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        above = value >= self.low if self.closed_left else value > self.low
        below = value <= self.high if self.closed_right else value < self.high
        return above and below

    def __str__(self) -> str:
        left, right = "(["[self.closed_left], ")]"[self.closed_right]
        ends = f"{left}{self.low:g}, {self.high:g}{right}"
        return f"integers in {ends}" if self.integer else ends


class Boolean:
    """True or False."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "True or False"


class Knots:
    """A piecewise linear function: factors at 1-based steps, as a non-empty mapping."""

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, Mapping)
            and len(value) > 0
            and all(step in _STEPS for step in value)
            and all(factor in _FACTORS for factor in value.values())
        )

    def __str__(self) -> str:
        return "{step: factor, ...}"


Domain = Interval | Boolean | Knots

_STEPS: Final = Interval(0, math.inf, closed_right=False, integer=True)
_FACTORS: Final = Interval(0, math.inf, closed_right=False)
_NONNEGATIVE: Final = Interval(0, math.inf, closed_right=False)
_POSITIVE: Final = Interval(0, math.inf, closed_left=False, closed_right=False)
_DECAY_RATE: Final = Interval(0, 1, closed_right=False)
_COUNT: Final = Interval(1, math.inf, closed_right=False, integer=True)
_FRACTION: Final = Interval(0, 1)
_FLAG: Final = Boolean()

DOMAINS: Final[Mapping[str, Domain]] = {
    "lr": _NONNEGATIVE,
    "momentum": _DECAY_RATE,
    "dampening": _FRACTION,
    "nesterov": _FLAG,
    "centered": _FLAG,
    "rho": _DECAY_RATE,
    "beta1": _DECAY_RATE,
    "beta2": _DECAY_RATE,
    "eps": _NONNEGATIVE,
    "initial_accumulator": _NONNEGATIVE,
    "weight_decay": _NONNEGATIVE,
    "momentum_decay": _NONNEGATIVE,
    "eta": _NONNEGATIVE,
    "eta_minus": Interval(0, 1, closed_left=False, closed_right=False),
    "eta_plus": Interval(1, math.inf, closed_left=False, closed_right=False),
    "initial_step": _POSITIVE,
    "min_step": _POSITIVE,
    "max_step": _POSITIVE,
    "k": _COUNT,
    "alpha": _FRACTION,
    "max_norm": _POSITIVE,
    "max_value": _NONNEGATIVE,
    "scale": _POSITIVE,
    "schedule": Knots(),
    "factor": _NONNEGATIVE,
    "end_factor": _FRACTION,
    "decay": _NONNEGATIVE,
    "decay_rate": Interval(0, 1, closed_left=False),
    "decay_steps": _COUNT,
    "warmup_steps": _COUNT,
    "total_steps": Interval(2, math.inf, closed_right=False, integer=True),
    "t_mult": Interval(2, math.inf, closed_right=False, integer=True),
    "power": _POSITIVE,
    "pct_start": Interval(0, 1, closed_left=False, closed_right=False),
    "div_factor": _POSITIVE,
    "final_div_factor": _POSITIVE,
}
"""The domain of each canonical hyperparameter."""

DECAY_RATES: Final = frozenset({"momentum", "rho", "beta1", "beta2"})
"""The hyperparameters that are decay rates of moving averages."""


def validated(owner: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters as Python numbers, once each is found inside its domain.

    A ``numpy.float64`` is a float, but would make a float32 array that it meets one of float64.

    Raises:
        ValueError: a value lies outside its domain.
    """
    for name, value in values.items():
        if value not in DOMAINS[name]:
            raise ValueError(f"{owner}: {name} must be {_phrase(DOMAINS[name])}, got {value!r}")
    return {name: _python(value) for name, value in values.items()}


def _python(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {step: _python(factor) for step, factor in value.items()}
    return float(value) if isinstance(value, float) else value


def _phrase(domain: Domain) -> str:
    return f"in {domain}" if isinstance(domain, Interval) and not domain.integer else str(domain)
