"""SymPy symbols: what a rule computes, as an expression for one generic element.

Sums over a tensor stay opaque (``total(x)``), since one element cannot stand for all of them.
"""

from __future__ import annotations

from typing import Any, Final

import sympy as sp

from refopt.xp import Array, Namespace


class total(sp.Function):  # noqa: N801  SymPy names functions as they print
    """The sum of a tensor's elements."""


class largest(sp.Function):  # noqa: N801
    """The largest of a tensor's elements."""


class row_sum(sp.Function):  # noqa: N801
    """The sum over all axes but the first."""


class row_mean(sp.Function):  # noqa: N801
    """The mean over all axes but the first."""


class any_in_row(sp.Function):  # noqa: N801
    """1 where an element of the row is not zero, else 0."""


class mean_over(sp.Function):  # noqa: N801
    """The mean over other axes, which follow."""


class any_over(sp.Function):  # noqa: N801
    """1 where an element along other axes, which follow, is not zero, else 0."""


class SymbolsNamespace(Namespace):
    """The functions of :mod:`refopt.xp` on expressions."""

    pi = sp.pi

    def sqrt(self, x: Array) -> Array:
        return sp.sqrt(x)

    def abs(self, x: Array) -> Array:
        return sp.Abs(x)

    def sign(self, x: Array) -> Array:
        return sp.sign(x)

    def maximum(self, x: Array, y: Array) -> Array:
        return sp.Max(x, y)

    def minimum(self, x: Array, y: Array) -> Array:
        return sp.Min(x, y)

    def cos(self, x: Array) -> Array:
        return sp.cos(x)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        if isinstance(condition, bool):
            return x if condition else y
        return sp.Piecewise((x, condition), (y, True))

    def sum(self, x: Array, axis: tuple[int, ...] | None = None) -> Array:
        return total(sp.expand(x)) if axis is None else row_sum(sp.expand(x))

    def max(self, x: Array) -> Array:
        return largest(x)

    def mean(self, x: Array, axis: tuple[int, ...]) -> Array:
        return row_mean(x) if self._is_row(x, axis) else mean_over(x, *axis)

    def any(self, x: Array, axis: tuple[int, ...]) -> Array:
        return sp.Eq(any_in_row(x) if self._is_row(x, axis) else any_over(x, *axis), 1)

    def ndim(self, x: Array) -> int:
        return 2  # the generic element is one of a matrix

    def is_real(self, x: Array) -> bool:
        return bool(x.is_real)

    def asarray(self, x: Array) -> Array:
        return x

    def copy(self, x: Array) -> Array:
        return x

    def full_like(self, x: Array, value: Array) -> Array:
        return exact(value) if isinstance(value, float) else sp.sympify(value)

    def scalar_like(self, x: Array, value: Array) -> Array:
        return self.full_like(x, value)

    def _is_row(self, x: Array, axis: tuple[int, ...]) -> bool:
        return axis == tuple(range(1, self.ndim(x)))

    def floor_log(self, x: Array, base: Array) -> Array:
        symbolic = isinstance(x, sp.Basic)
        return sp.floor(sp.log(x, base)) if symbolic else super().floor_log(x, base)


SYMBOLS: Final = SymbolsNamespace()


def exact(value: Any) -> Any:
    """A literal of the source as the rational number that was meant: 0.96 is 24/25."""
    return sp.nsimplify(str(value), rational=True)
