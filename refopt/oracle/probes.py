"""Probes: deterministic runs whose values make every term of an optimizer visible.

What hides mistakes is known: epsilon far below the gradients, decay rates near 1, constant
gradients, one parameter, a constant learning rate, small weight decay. The probes avoid all of it,
and take the library's own defaults as well. Ids are stable: a verdict that names one can be
reproduced years later from the id, the dtype and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from refopt.hyperparameters import DOMAINS, Interval

Arrays = tuple[np.ndarray, ...]
Gradients = tuple[np.ndarray | None, ...]

SHAPES: Final = ((), (5,), (4, 3), (11,), (0,))
"""The shapes of the parameters: a number, a size that fills no vector register, rows, nothing."""

FAR: Final[Mapping[str, Any]] = {
    "lr": 0.3,
    "momentum": 0.8,
    "dampening": 0.3,
    "rho": 0.7,
    "beta1": 0.8,
    "beta2": 0.6,
    "eps": 1e-2,
    "weight_decay": 0.3,
    "alpha": 0.4,
    "k": 3,
    "max_norm": 1.7,
    "schedule": {2: 0.3, 5: 1.0, 9: 0.6},
}
"""Values far from the usual defaults; others lie three tenths into their domain."""

DYADIC: Final[Mapping[str, Any]] = {
    "lr": 0.25,
    "momentum": 0.75,
    "dampening": 0.25,
    "rho": 0.625,
    "beta1": 0.75,
    "beta2": 0.875,
    "eps": 2.0**-5,
    "weight_decay": 0.375,
    "alpha": 0.625,
    "k": 2,
    "max_norm": 2.0,
    "schedule": {3: 0.5, 7: 1.25},
}
"""Values that every binary format holds exactly, and so does 1 minus them."""


@dataclass(frozen=True)
class Probe:
    """One deterministic run.

    Attributes:
        id: its stable name.
        purpose: what it makes visible.
        hyperparameters: by canonical name, those that are varied.
        params: the parameters before the first step.
        gradients: for each step, a gradient for each parameter, or None.
        rates: the learning rate of each step, as multiples of the hyperparameter ``lr``.
        resumes_after: the step after which the target is saved and loaded into a fresh one.
    """

    id: str
    purpose: str
    hyperparameters: Mapping[str, Any]
    params: Arrays
    gradients: tuple[Gradients, ...]
    rates: tuple[float, ...]
    resumes_after: int | None = None

    @property
    def has_missing(self) -> bool:
        """Whether a gradient is missing somewhere."""
        return any(g is None for gs in self.gradients for g in gs)


def probes(
    varied: Mapping[str, Any], *, dtype: str = "float32", seed: int = 0
) -> tuple[Probe, ...]:
    """The probes for a target.

    Args:
        varied: the hyperparameters that the target takes and nothing pins, with the values that
            the probe of the defaults leaves them at.
        dtype: of parameters and gradients.
        seed: of the random values.
    """
    make = _Maker(dtype, seed)
    far = {name: _value(name, FAR, default) for name, default in varied.items()}
    dyadic = {name: _value(name, DYADIC, default) for name, default in varied.items()}
    changing = (1.0, 0.5, 1.5, 1.0, 2.0, 0.25)
    return (
        make.probe(
            "far",
            "hyperparameters far from defaults, falling gradients, changing learning rate",
            far,
            12,
            rates=changing,
        ),
        make.probe(
            "dyadic",
            "hyperparameters exact in binary; saved and loaded into a fresh target in the middle",
            dyadic,
            12,
            rates=changing[::-1],
            resumes_after=5,
        ),
        make.probe("defaults", "the library's defaults", dict(varied), 8),
        make.probe(
            "vanishing",
            "gradients from the size of epsilon down to zero, whole rows of zeros",
            far,
            8,
            gradient=make.vanishing,
        ),
        make.probe(
            "zero", "no gradient but zero: what is left is decay", far, 4, gradient=make.zero
        ),
        make.probe(
            "missing",
            "parameters without a gradient",
            far,
            8,
            gradient=make.missing,
            rates=changing,
        ),
    )


class _Maker:
    """Draws the values of probes."""

    def __init__(self, dtype: str, seed: int) -> None:
        self.dtype = dtype
        self.random = np.random.default_rng([seed, 2412])

    def probe(
        self,
        id: str,
        purpose: str,
        hyperparameters: Mapping[str, Any],
        steps: int,
        *,
        gradient: Callable[[int, int, int], np.ndarray | None] | None = None,
        rates: tuple[float, ...] = (1.0,),
        resumes_after: int | None = None,
    ) -> Probe:
        gradient = gradient or self.falling
        return Probe(
            id=id,
            purpose=purpose,
            hyperparameters=hyperparameters,
            params=tuple(self.normal(shape, 1.0) for shape in SHAPES),
            gradients=tuple(
                tuple(gradient(i, step, steps) for i in range(len(SHAPES)))
                for step in range(1, steps + 1)
            ),
            rates=tuple(rates[step % len(rates)] for step in range(steps)),
            resumes_after=resumes_after,
        )

    def normal(self, shape: tuple[int, ...], scale: float) -> np.ndarray:
        return np.asarray(scale * self.random.standard_normal(shape), dtype=self.dtype)

    def falling(self, i: int, step: int, steps: int) -> np.ndarray:
        """Gradients of changing sign whose size falls from 10 to 0.1."""
        return self.normal(SHAPES[i], 10.0 ** (1 - 2 * (step - 1) / (steps - 1)))

    def vanishing(self, i: int, step: int, steps: int) -> np.ndarray:
        g = self.normal(SHAPES[i], (1e-1, 1e-2, 1e-4, 1e-8)[step % 4])
        if g.ndim:
            g[step % 2 :: 2] = 0  # every other row
        return g

    def zero(self, i: int, step: int, steps: int) -> np.ndarray:
        return np.zeros(SHAPES[i], self.dtype)

    def missing(self, i: int, step: int, steps: int) -> np.ndarray | None:
        g = self.falling(i, step, steps)
        return None if (i % 2 == 1 and step in (1, 3, 4)) or (i == 2 and step == 5) else g


def _value(name: str, values: Mapping[str, Any], default: Any) -> Any:
    if name in values:
        return values[name]
    domain = DOMAINS[name]
    if not isinstance(domain, Interval):
        return default
    if domain.integer:
        return int(domain.low) + 2
    return domain.low + (0.3125 * (domain.high - domain.low) if domain.high < math.inf else 0.3125)
