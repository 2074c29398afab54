"""What a right target is declared as, and exact arithmetic to write some of them in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from mistakes.target import Target, addresses, signature_of

Array = Any


@dataclass(frozen=True)
class Control:
    """A right target.

    Attributes:
        target: its factory.
        spec: what it is.
        dialect: whose form of it, or None for the canonical form.
        links: reports in which it was taken for a mistake.
    """

    target: Callable[..., Any]
    spec: str
    dialect: str | None = None
    links: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.target.__name__


class Controls(list[Control]):
    """The right targets of a module, declared by decorating their formulas or their classes."""

    def __call__(
        self,
        spec: str,
        dialect: str | None = None,
        *,
        links: str = "",
    ) -> Callable[[Any], Any]:
        """Declares a right target, with links as ``owner/repository#number``."""

        def declare(formula: Any) -> Any:
            target = formula
            if not isinstance(formula, type):
                members = {
                    "formula": staticmethod(formula),
                    "__module__": formula.__module__,
                    "__signature__": signature_of(formula),
                }
                target = type(formula.__name__, (Target,), members)
            self.append(Control(target, spec, dialect, addresses(links)))
            return formula

        return declare


def fma(x: Array, y: Array, z: Array) -> Array:
    """``x*y + z`` rounded once, element by element, in the format of the arrays."""
    x, y, z = np.broadcast_arrays(x, y, z)
    new = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        exact = Fraction(float(x[i])) * Fraction(float(y[i])) + Fraction(float(z[i]))
        new[i] = rounded(exact, x.dtype)
    return new[()]


def rounded(exact: Fraction, dtype: Any) -> Any:
    """A fraction rounded once to a binary format, ties to even, subnormal numbers included."""
    if exact == 0:
        return dtype.type(0)
    info = np.finfo(dtype)
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    unit = Fraction(2) ** (max(exponent, int(info.minexp)) - int(info.nmant))
    return dtype.type(float(round(exact / unit) * unit))
