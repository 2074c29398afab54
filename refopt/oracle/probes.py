"""Probes: deterministic runs whose values make every term of an optimizer visible.

What hides mistakes is known: epsilon far below the gradients, decay rates near 1, constant
gradients, one parameter, a constant learning rate, small weight decay. The probes avoid all of it,
and take the library's own defaults as well. Ids are stable: a verdict that names one can be
reproduced years later, on any machine, from the id, the dtype and the seed.

Three probes are for what no formula shows. ``missing`` leaves out gradients. ``strided`` hands out
gradients whose memory is in another order, has gaps, and cannot be written. ``long`` rests: its
gradients are zero, and so is all state, until a step count that is held in few bits has stopped: at
255 in a byte, at 256 in bfloat16, at 2048 in float16. Then come gradients, at which the count
shows. It has one small parameter and no decay, so that the bounds do not grow while it rests.

No probe has an infinite gradient. What an optimizer should do with one is not a matter of its
formulas: one that skips such a step, as a loss scaler does, and one that lets infinity into its
state are both right somewhere. By IEEE 754 alone a gradient that is clipped by an infinite norm is
zero where it is finite, which is just what is reported as a mistake.

**16 bits.** Arrays are the same, rounded once more. What differs is what would not show:

- a step of the default learning rates vanishes beside parameters of size 2, so that the probe of
  the defaults has parameters of the size of 2**-8. A third of its gradients are zero throughout,
  where the default epsilon is all that the direction is divided by;
- float16 has no numbers near 2**-80: ``vanishing`` goes down to 2**-13, whose square it has not;
- a count that stops at 256 or 2048 has to be wrong by more than bounds of three digits: ``long``
  rests for longer, up to where the correction differs by a fifth.

In float16 the sum of squares of a gradient or parameter in ``large`` overflows, and no square does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np

from refopt.arithmetic.bounds import FLOAT32, FORMATS
from refopt.hyperparameters import DOMAINS, Interval

Arrays = tuple[np.ndarray, ...]
Gradients = tuple[np.ndarray | None, ...]
Layout = Literal["contiguous", "anew", "gaps", "columns", "backwards", "offset"]

SHAPES: Final = ((), (5,), (4, 3), (11,), (0,))
"""The shapes of the parameters: a number, a size that fills no vector register, rows, nothing."""

TWINS: Final = ((5,), (), (4, 3), (5,), (0,))
"""As many shapes, of which the first has a twin: what is kept by shape is theirs together."""

FAR: Final[Mapping[str, Any]] = {
    "lr": 0.3,
    "momentum": 0.8,
    "dampening": 0.3,
    "rho": 0.7,
    "beta1": 0.8,
    "beta2": 0.7,
    "eps": 1e-2,
    "weight_decay": 0.3,
    "alpha": 0.4,
    "k": 3,
    "max_norm": 1.7,
    "initial_step": 0.3,
    "eta_minus": 0.4,
    "eta_plus": 1.3,
    "min_step": 0.1,
    "max_step": 0.45,
    "schedule": {2: 0.3, 5: 1.0, 9: 0.6},
    "warmup_steps": 4,
    "decay_rate": 0.4,
    "decay_steps": 4,
    "total_steps": 9,
    "pct_start": 0.4,
    "div_factor": 5.0,
    "final_div_factor": 3.0,
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
    "initial_step": 0.25,
    "eta_minus": 0.625,
    "eta_plus": 1.5,
    "min_step": 0.1875,
    "max_step": 0.5,
    "schedule": {3: 0.5, 7: 1.25},
    "warmup_steps": 3,
    "decay_rate": 0.625,
    "decay_steps": 3,
    "total_steps": 8,
    "pct_start": 0.375,
    "div_factor": 4.0,
    "final_div_factor": 8.0,
}
"""Values that every binary format holds exactly, and so does 1 minus them."""

SLOW: Final[Mapping[str, Any]] = {
    "momentum": 0.0,
    "beta1": 0.9,
    "beta2": 0.9999,
    "lr": 0.01,
    "alpha": 0.5,
    "k": 4096,
}
"""In the long probe: a bias correction that is far from 1 after thousands of steps.

With an alpha of 1/2 slow weights rest as well: ``x/2 + x/2`` is ``x`` in every format, whereas
``0.6*x + 0.4*x`` drifts, which is not a mistake. A window that no one pins does not end.
"""

RESTS: Final = {
    "float32": 2080,
    "float64": 2080,
    "bfloat16": 640,
    "float16": 3072,
}
"""How many gradients of zero the long probe begins with."""

_CHANGING: Final = (1.0, 0.5, 1.5, 1.0, 2.0, 0.25)
"""The learning rate, as multiples, where it differs in every step."""


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
        layout: how the gradients lie in memory: as usual; in arrays that are never used again;
            otherwise they cannot be written, and lie column by column, these with gaps between
            elements as well, from the last element to the first, or not where vector registers
            have them.
        rests: how many steps there are first in which all gradients, and all state, are zero.
    """

    id: str
    purpose: str
    hyperparameters: Mapping[str, Any]
    params: Arrays
    gradients: tuple[Gradients, ...]
    rates: tuple[float, ...]
    resumes_after: int | None = None
    layout: Layout = "contiguous"
    rests: int = 0

    @property
    def has_missing(self) -> bool:
        """Whether a gradient is missing somewhere."""
        return any(g is None for gs in self.gradients for g in gs)

    @cached_property
    def joined(self) -> Probe | None:
        """It with all parameters as one; None where a gradient is missing."""
        if self.has_missing:
            return None
        if len(self.params) == 1 and self.params[0].ndim == 1:
            return self
        gradients = tuple((joined(gs),) for gs in self.gradients)
        return replace(self, params=(joined(self.params),), gradients=gradients)


def joined(arrays: Sequence[np.ndarray | None]) -> np.ndarray:
    """All elements, array by array, as those of one array."""
    return np.concatenate([np.ravel(array) for array in arrays if array is not None])


def probes(
    varied: Mapping[str, Any], *, dtype: str = "float32", seed: int = 0
) -> tuple[Probe, ...]:
    """The probes for a target.

    Args:
        varied: the hyperparameters that the target takes and nothing pins, with the values that
            the probe of the defaults leaves them at. Flags stay as they are.
        dtype: of parameters and gradients.
        seed: of the random values.
    """
    far = {name: _value(name, FAR, 0.3, default) for name, default in varied.items()}
    dyadic = {name: _value(name, DYADIC, 0.3125, default) for name, default in varied.items()}

    def without(name: str) -> dict[str, Any]:
        return {n: 0.0 if n == name else value for n, value in far.items()}

    def draw(id: str) -> _Draw:
        return _Draw(id, dtype, seed)

    is_short = FORMATS[dtype].unit > FLOAT32.unit

    return (
        draw("far").probe(
            "hyperparameters far from defaults, falling gradients, changing learning rate",
            far,
            12,
            params=_Draw.with_a_zero,
            rates=_CHANGING,
        ),
        draw("dyadic").probe(
            "hyperparameters exact in binary; saved and loaded into a fresh target in the middle",
            dyadic,
            12,
            rates=_CHANGING[::-1],
            resumes_after=5,
        ),
        draw("defaults").probe(
            "the library's defaults",
            dict(varied),
            8,
            params=_Draw.small if is_short else None,
            gradient=_Draw.sparse if is_short else None,
        ),
        draw("vanishing").probe(
            "gradients from the size of epsilon down to zero, whole rows of zeros; no decay, a "
            "long parameter and one of zeros",
            without("weight_decay"),
            10,
            params=_Draw.of_odd_norms,
            gradient=_Draw.vanishing,
        ),
        draw("zero").probe(
            "no gradient but zero: what is left is decay", far, 4, gradient=_Draw.zero
        ),
        draw("missing").probe(
            "parameters without a gradient", far, 8, gradient=_Draw.missing, rates=_CHANGING
        ),
        draw("strided").probe(
            "gradients that lie in memory in another order and with gaps, and cannot be written; "
            "no momentum",
            without("momentum"),
            6,
            layout="gaps",
        ),
        draw("large").probe(
            "parameters and gradients whose norms are far above 10, with decay; two parameters of "
            "one shape, and a row that sums to zero",
            far,
            4,
            params=_Draw.large_param,
            gradient=_Draw.large_gradient,
            rates=_CHANGING,
        ),
        draw("long").resting(
            "a count of steps in the thousands",
            {**without("weight_decay"), **{n: SLOW[n] for n in SLOW if n in far}},
            RESTS[dtype],
        ),
    )


class _Draw:
    """Draws the values of one probe, whatever others there are."""

    def __init__(self, id: str, dtype: str, seed: int) -> None:
        self.id = id
        self.dtype = dtype
        # NumPy guarantees the raw bits of a generator for ever, not the numbers it makes of them.
        self.bits = np.random.PCG64([seed, *id.encode()])

    def numbers(self, shape: tuple[int, ...], scale: float) -> np.ndarray:
        """Numbers between -scale, a power of two, and scale: rounded once, so alike everywhere."""
        return np.asarray(self._exact(shape, scale), dtype=self.dtype)

    def _exact(self, shape: tuple[int, ...], scale: float) -> np.ndarray:
        raw = self.bits.random_raw(math.prod(shape))
        signed = (raw >> np.uint64(11)) * 2.0**-52 - 1
        return np.asarray(scale * signed + 0.0).reshape(shape)  # no -0.0

    def probe(
        self,
        purpose: str,
        hyperparameters: Mapping[str, Any],
        steps: int,
        *,
        params: Callable[[_Draw, int], np.ndarray] | None = None,
        gradient: Callable[[_Draw, int, int, int], np.ndarray | None] | None = None,
        rates: tuple[float, ...] = (1.0,),
        resumes_after: int | None = None,
        layout: Layout = "contiguous",
    ) -> Probe:
        params, gradient = params or _Draw.ordinary, gradient or _Draw.falling
        positions = range(len(SHAPES))
        return Probe(
            id=self.id,
            purpose=purpose,
            hyperparameters=hyperparameters,
            params=tuple(params(self, i) for i in positions),
            gradients=tuple(
                tuple(gradient(self, i, step, steps) for i in positions)
                for step in range(1, steps + 1)
            ),
            rates=tuple(rates[step % len(rates)] for step in range(steps)),
            resumes_after=resumes_after,
            layout=layout,
        )

    def resting(self, purpose: str, hyperparameters: Mapping[str, Any], rests: int) -> Probe:
        """One small parameter that rests before its gradients come."""
        theta = self.numbers((3,), 2.0)
        gradients = [self.numbers((3,), scale) for scale in (8.0, 1.0, 2.0, 0.5)]
        return Probe(
            id=self.id,
            purpose=purpose,
            hyperparameters=hyperparameters,
            params=(theta,),
            gradients=((np.zeros_like(theta),),) * rests + tuple((g,) for g in gradients),
            rates=(1.0,) * (rests + len(gradients)),
            rests=rests,
        )

    def ordinary(self, i: int) -> np.ndarray:
        return self.numbers(SHAPES[i], 2.0)

    def with_a_zero(self, i: int) -> np.ndarray:
        theta = self.ordinary(i)
        if i == 1:
            theta[0] = 0
        return theta

    def of_odd_norms(self, i: int) -> np.ndarray:
        """One parameter of a norm far above 10, and one of norm zero."""
        return self.numbers(SHAPES[i], {2: 64.0, 3: 0.0}.get(i, 2.0))

    def small(self, i: int) -> np.ndarray:
        return self.numbers(SHAPES[i], 2.0**-8)

    def large_param(self, i: int) -> np.ndarray:
        return self.large(TWINS[i])

    def large_gradient(self, i: int, step: int, steps: int) -> np.ndarray:
        """Of a matrix the first row is not zero, but sums to zero."""
        g = self.large(TWINS[i])
        if g.ndim > 1:
            g[0, 1], g[0, 2:] = -g[0, 0], 0
        return g

    def large(self, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers from 64 to 128, of both signs."""
        x = self._exact(shape, 64.0)
        return np.asarray(x + np.copysign(64.0, x), self.dtype)

    def falling(self, i: int, step: int, steps: int) -> np.ndarray:
        """Gradients of changing sign whose size falls from 8 to 1/8."""
        return self.numbers(SHAPES[i], 2.0 ** (3 - 6 * (step - 1) // (steps - 1)))

    def sparse(self, i: int, step: int, steps: int) -> np.ndarray:
        """Falling gradients, of which every third is always zero."""
        g = self.falling(i, step, steps)
        if g.ndim:
            g[..., ::3] = 0
        return g

    def vanishing(self, i: int, step: int, steps: int) -> np.ndarray:
        """Gradients whose size falls from 1/8 to zero, zeros before anything else."""
        least = (2.0**-9, 2.0**-13) if self.dtype == "float16" else (2.0**-13, 2.0**-80)
        g = self.numbers(SHAPES[i], (2.0**-3, 0.0, 2.0**-7, *least)[step % 5])
        if g.ndim:
            g[step % 2 :: 2] = 0  # every other row
        if g.ndim > 1:
            g[:, step % 3] = 0  # an element of every row
        return g

    def zero(self, i: int, step: int, steps: int) -> np.ndarray:
        return np.zeros(SHAPES[i], self.dtype)

    def missing(self, i: int, step: int, steps: int) -> np.ndarray | None:
        g = self.falling(i, step, steps)
        return None if (i % 2 == 1 and step in (1, 3, 4)) or (i == 2 and step == 5) else g


def _value(name: str, values: Mapping[str, Any], fraction: float, default: Any) -> Any:
    if name in values:
        return values[name]
    domain = DOMAINS[name]
    if not isinstance(domain, Interval):
        return default
    if domain.integer:
        return int(domain.low) + 2
    return domain.low + (
        fraction * (domain.high - domain.low) if domain.high < math.inf else fraction
    )
