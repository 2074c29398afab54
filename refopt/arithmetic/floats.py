"""Python's own numbers as arrays of one element: a trial takes a tenth of the time."""

from __future__ import annotations

import math
from typing import Final

from refopt.xp import Array, Namespace


class FloatNamespace(Namespace):
    """The functions of :mod:`refopt.xp` on numbers without a shape.

    Where NumPy would give infinity or NaN they raise, as Python's numbers do.
    """

    def sqrt(self, x: Array) -> Array:
        return math.sqrt(x)

    def abs(self, x: Array) -> Array:
        return abs(x)

    def sign(self, x: Array) -> Array:
        return (x > 0) - (x < 0)

    def maximum(self, x: Array, y: Array) -> Array:
        return max(x, y)

    def minimum(self, x: Array, y: Array) -> Array:
        return min(x, y)

    def cos(self, x: Array) -> Array:
        return math.cos(x)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        return x if condition else y

    def sum(self, x: Array, axis: tuple[int, ...] | None = None) -> Array:
        return x

    def max(self, x: Array) -> Array:
        return x

    def mean(self, x: Array, axis: tuple[int, ...]) -> Array:
        return x

    def any(self, x: Array, axis: tuple[int, ...]) -> Array:
        return x != 0

    def ndim(self, x: Array) -> int:
        return 0

    def is_real(self, x: Array) -> bool:
        return isinstance(x, float)

    def asarray(self, x: Array) -> Array:
        return x

    def copy(self, x: Array) -> Array:
        return x

    def full_like(self, x: Array, value: Array) -> Array:
        return value

    def scalar_like(self, x: Array, value: Array) -> Array:
        return value

    def zeros_like(self, x: Array) -> Array:
        return 0.0


FLOATS: Final = FloatNamespace()
