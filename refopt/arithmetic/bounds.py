"""Numbers with running error bounds: the tolerance of a check, derived and never tuned.

A :class:`Bounded` number carries the reference's value, computed in float64, and a bound on how far
any straightforward evaluation in the target's precision may be from it (Higham, *Accuracy and
Stability of Numerical Algorithms*, 2nd ed., section 3.3). Running a rule on such numbers yields the
expected result and, element by element and step by step, the tolerance of the comparison.

One operation ``z = x o y`` with operands known within ``dx`` and ``dy`` contributes

- what it propagates: ``dx + dy`` for a sum, ``|x|dy + |y|dx + dx dy`` for a product, ...;
- its own roundings: :data:`ROUNDINGS` times the unit roundoff of the target's format;
- the smallest normal number where the result may be subnormal, since a target may flush it to zero;
- the rounding of the float64 evaluation here.

Adding an exact zero and multiplying by one are free of error in every evaluation order, so exact
zeros stay exact: without that ``sign(0)`` would be undecidable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Self

import numpy as np

from refopt.xp import Array, Namespace

ROUNDINGS: Final = 2.0
"""Roundings of the target for one operation of the reference.

A bound for one evaluation order is no bound for all: Nesterov's step written as two subtractions
from the parameter, a decay factor ``1 - lr*weight_decay`` rounded and multiplied separately, or
``x * (1/y)`` for ``x / y`` all spend two roundings where the reference spends one.
"""

_FLOAT64_ROUNDOFF: Final = 2.0**-53
_INFLATION: Final = 1 + 2.0**-49
"""Covers the rounding of the error arithmetic itself: fewer than 16 operations in float64 each."""


@dataclass(frozen=True)
class Format:
    """A floating-point format: unit roundoff, smallest normal and largest finite number."""

    name: str
    unit: float
    tiny: float
    huge: float

    def holds(self, value: float) -> bool:
        """Whether a number is exactly representable."""
        return self.nearest(value) == value

    def nearest(self, value: float) -> float:
        """The number of this format that is nearest to ``value``."""
        return float(np.dtype(self.name).type(value))


def _format(name: str) -> Format:
    limits = np.finfo(name)
    return Format(name, float(limits.eps) / 2, float(limits.smallest_normal), float(limits.max))


FLOAT64: Final = _format("float64")
FLOAT32: Final = _format("float32")
FORMATS: Final = {"float32": FLOAT32, "float64": FLOAT64}


class Bounded:
    """A number, or an array of numbers, known within an error bound.

    Attributes:
        value: the reference's result in float64, any shape.
        error: a bound on the distance of the target's result, of the same shape.
        format: the format in which the target computes it.
    """

    __slots__ = ("error", "format", "value")
    __array_ufunc__ = None

    def __init__(self, value: Array, error: Array, format: Format) -> None:
        self.value = value
        self.error = error
        self.format = format

    @classmethod
    def exact(cls, value: Array, format: Format) -> Self:
        """An array that the target is given as it is (it holds the same bits)."""
        value = np.asarray(value, dtype=np.float64)
        return cls(value, np.zeros_like(value), format)

    @property
    def __refopt_namespace__(self) -> Namespace:
        return BOUNDS

    @property
    def shape(self) -> tuple[int, ...]:
        return np.shape(self.value)

    @property
    def ndim(self) -> int:
        return np.ndim(self.value)

    def __repr__(self) -> str:
        return f"Bounded({self.value!r}, error={self.error!r}, format={self.format.name})"

    # Arithmetic

    def __neg__(self) -> Bounded:
        return Bounded(-self.value, self.error, self.format)

    def __add__(self, other: Operand) -> Bounded:
        x, y, format = _aligned(self, other)
        value = x.value + y.value
        rounded = _rounded(value, x.error + y.error, format)
        # x + 0 is exact, and so is 0 + y
        error = np.where(_is_zero(y), x.error, np.where(_is_zero(x), y.error, rounded))
        return Bounded(value, error, format)

    def __sub__(self, other: Operand) -> Bounded:
        return self + (-other)

    def __mul__(self, other: Operand) -> Bounded:
        x, y, format = _aligned(self, other)
        value = x.value * y.value
        spread = abs(x.value) * y.error + abs(y.value) * x.error + x.error * y.error
        exact = _is_zero(x) | _is_zero(y)
        return Bounded(value, np.where(exact, 0.0, _rounded(value, spread, format)), format)

    def __truediv__(self, other: Operand) -> Bounded:
        x, y, format = _aligned(self, other)
        with np.errstate(all="ignore"):
            value = np.divide(x.value, y.value)
            room = abs(y.value) - y.error
            spread = np.where(room > 0, (x.error + abs(value) * y.error) / room, math.inf)
            exact = (_is_zero(x) & (room > 0)) | _is_zero(y)
            error = np.where(exact, 0.0, _rounded(value, spread, format))
        return Bounded(value, error, format)

    def __pow__(self, exponent: Operand) -> Bounded:
        if isinstance(exponent, int):
            return self._integer_power(exponent)
        return _power(self, _lifted(exponent, self.format))

    def __radd__(self, other: float) -> Bounded:
        return _lifted(other, self.format) + self

    def __rsub__(self, other: float) -> Bounded:
        return _lifted(other, self.format) - self

    def __rmul__(self, other: float) -> Bounded:
        return _lifted(other, self.format) * self

    def __rtruediv__(self, other: float) -> Bounded:
        return _lifted(other, self.format) / self

    def __rpow__(self, base: float) -> Bounded:
        return _power(_lifted(base, self.format), self)

    def _integer_power(self, n: int) -> Bounded:
        """x**n as n - 1 products in any order, or by a power function that is off by one unit."""
        if n == 0:
            return Bounded.exact(np.ones(self.shape), self.format)
        if n == 1:
            return self
        value = self.value**n
        magnitude = abs(self.value)
        if n > 0:
            spread = (magnitude + self.error) ** n - magnitude**n
        else:
            floor = magnitude - self.error
            spread = np.where(floor > 0, floor**n - magnitude**n, math.inf)
        # the difference of two powers cancels; n units of it cover its own float64 roundings
        spread = spread + abs(n) * 4 * _FLOAT64_ROUNDOFF * abs(value) * (self.error > 0)
        error = _rounded(value, spread, self.format, roundings=ROUNDINGS * max(1, abs(n) - 1))
        return Bounded(value, np.where(_is_zero(self), 0.0, error), self.format)

    # Comparisons

    def __lt__(self, other: Operand) -> Truth:
        return self._compared(other, np.less)

    def __le__(self, other: Operand) -> Truth:
        return self._compared(other, np.less_equal)

    def __gt__(self, other: Operand) -> Truth:
        return self._compared(other, np.greater)

    def __ge__(self, other: Operand) -> Truth:
        return self._compared(other, np.greater_equal)

    def __eq__(self, other: object) -> Truth:  # type: ignore[override]
        return self._compared(other, np.equal)

    def __ne__(self, other: object) -> Truth:  # type: ignore[override]
        return self._compared(other, np.not_equal)

    __hash__ = None  # type: ignore[assignment]

    def _compared(self, other: Any, relation: Callable[[Array, Array], Array]) -> Truth:
        x, y, _ = _aligned(self, other)
        slack = x.error + y.error
        certain = (slack == 0) | (abs(x.value - y.value) > slack)
        return Truth(relation(x.value, y.value), certain | np.isnan(x.value - y.value))


Operand = Bounded | float | int


class Truth:
    """Booleans, and where they are certain: overlapping operands could compare either way."""

    __slots__ = ("certain", "holds")

    def __init__(self, holds: Array, certain: Array) -> None:
        self.holds = holds
        self.certain = certain

    def __and__(self, other: Truth | bool) -> Truth:
        other = _truth(other)
        refuted = (self.certain & ~self.holds) | (other.certain & ~other.holds)
        return Truth(self.holds & other.holds, (self.certain & other.certain) | refuted)

    def __or__(self, other: Truth | bool) -> Truth:
        return ~(~self & ~_truth(other))

    def __invert__(self) -> Truth:
        return Truth(~np.asarray(self.holds), self.certain)

    __rand__ = __and__
    __ror__ = __or__


class BoundsNamespace(Namespace):
    """The functions of :mod:`refopt.xp` on numbers with error bounds."""

    def sqrt(self, x: Array) -> Array:
        if not isinstance(x, Bounded):
            return math.sqrt(x)
        with np.errstate(invalid="ignore"):
            value = np.sqrt(x.value)
            # what a target takes the root of is never negative, however near it is to zero
            below = value - np.sqrt(np.maximum(x.value - x.error, 0.0))
            above = np.sqrt(x.value + x.error) - value
        spread = np.maximum(below, above) + 4 * _FLOAT64_ROUNDOFF * value * (x.error > 0)
        error = np.where(_is_zero(x), 0.0, _rounded(value, spread, x.format))
        return Bounded(value, error, x.format)

    def abs(self, x: Array) -> Array:
        return Bounded(abs(x.value), x.error, x.format) if isinstance(x, Bounded) else abs(x)

    def sign(self, x: Array) -> Array:
        value = np.sign(x.value)
        error = np.where(abs(x.value) > x.error, 0.0, np.where(_is_zero(x), 0.0, 1 + abs(value)))
        return Bounded(value, error, x.format)

    def maximum(self, x: Array, y: Array) -> Array:
        return self._choice(np.maximum, x, y)

    def minimum(self, x: Array, y: Array) -> Array:
        return self._choice(np.minimum, x, y)

    def cos(self, x: Array) -> Array:
        if not isinstance(x, Bounded):
            return math.cos(x)
        value = np.cos(x.value)
        # |cos'| <= 1, and an argument reduction may lose one unit of the argument
        spread = x.error + x.format.unit * abs(x.value)
        return Bounded(value, _rounded(value, spread, x.format), x.format)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        if isinstance(condition, bool):
            return x if condition else y
        truth = _truth(condition)
        x, y, format = _aligned(x, y) if isinstance(x, Bounded) else _aligned(y, x, swap=True)
        value = np.where(truth.holds, x.value, y.value)
        error = np.where(truth.holds, x.error, y.error)
        other = np.where(truth.holds, abs(y.value - value) + y.error, abs(x.value - value) + x.error)
        return Bounded(value, np.where(truth.certain, error, np.maximum(error, other)), format)

    def sum(self, x: Array) -> Array:
        return self._total(x, np.asarray(x.value).size, tuple(range(x.ndim)), keepdims=False)

    def mean(self, x: Array, axis: tuple[int, ...]) -> Array:
        count = math.prod(x.shape[i] for i in axis)
        return self._total(x, count, axis, keepdims=True) / count if count else x

    def any(self, x: Array, axis: tuple[int, ...]) -> Array:
        truth = _truth(x)
        if not axis:
            return truth
        holds = np.any(truth.holds, axis=axis, keepdims=True)
        settled = np.any(truth.holds & truth.certain, axis=axis, keepdims=True)
        return Truth(holds, settled | np.all(truth.certain, axis=axis, keepdims=True))

    def is_real(self, x: Array) -> bool:
        return True

    def asarray(self, x: Array) -> Array:
        return x

    def full_like(self, x: Array, value: Array) -> Array:
        value, error = (
            (value.value, _embedded(value, x.format).error)
            if isinstance(value, Bounded)
            else (value, _lifted(value, x.format).error)
        )
        return Bounded(np.full(x.shape, value), np.full(x.shape, error), x.format)

    def scalar_like(self, x: Array, value: Array) -> Array:
        return self.full_like(Bounded(0.0, 0.0, x.format), value)

    def _choice(self, choose: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
        if not isinstance(x, Bounded) and not isinstance(y, Bounded):
            return choose(x, y)
        x, y, format = _aligned(x, y) if isinstance(x, Bounded) else _aligned(y, x, swap=True)
        value = choose(x.value, y.value)
        clear = abs(x.value - y.value) > x.error + y.error
        error = np.where(value == x.value, x.error, y.error)
        return Bounded(value, np.where(clear, error, np.maximum(x.error, y.error)), format)

    def _total(self, x: Array, count: int, axis: tuple[int, ...], keepdims: bool) -> Bounded:
        """The sum in any order: every partial sum is at most the sum of magnitudes."""
        value = np.sum(x.value, axis=axis, keepdims=keepdims)
        spread = np.sum(x.error, axis=axis, keepdims=keepdims)
        magnitude = np.sum(abs(x.value) + x.error, axis=axis, keepdims=keepdims)
        roundings = max(0, count - 1) * (x.format.unit + _FLOAT64_ROUNDOFF) * magnitude
        return Bounded(value, (spread + roundings) * _INFLATION, x.format)


BOUNDS: Final = BoundsNamespace()


def distance(got: Array, expected: Bounded) -> Array:
    """How far results are from the reference, as a fraction of the bound: at most 1 conforms.

    Equal infinities and NaNs are at distance 0; a NaN or an infinity against a number is at
    distance infinity; so is any difference where the bound is 0.
    """
    got = np.asarray(got, dtype=np.float64)
    with np.errstate(all="ignore"):
        same = (got == expected.value) | (np.isnan(got) & np.isnan(expected.value))
        ratio = abs(got - expected.value) / expected.error
    ratio = np.where(np.isnan(ratio), math.inf, ratio)
    return np.where(same | ((ratio == math.inf) & (expected.error == math.inf)), 0.0, ratio)


def _is_zero(x: Bounded) -> Array:
    return (x.value == 0) & (x.error == 0)


def _rounded(value: Array, spread: Array, format: Format, roundings: float = ROUNDINGS) -> Array:
    """The error of a computed result: what it inherits, and what computing it adds."""
    largest = abs(value) + spread
    error = spread + (roundings * format.unit + _FLOAT64_ROUNDOFF) * largest
    may_be_subnormal = abs(value) - spread < format.tiny
    error = (error + format.tiny * may_be_subnormal) * _INFLATION
    return np.where(largest > format.huge, math.inf, error)


def _lifted(number: Operand, format: Format) -> Bounded:
    """A literal as a scalar: exact in float64, like the number that stands in a source file."""
    if isinstance(number, Bounded):
        return number
    value = float(number)
    error = 0.0 if Fraction(number) == Fraction(value) else abs(value) * _FLOAT64_ROUNDOFF
    return Bounded(value, error, FLOAT64)


def _embedded(x: Bounded, format: Format) -> Bounded:
    """``x`` converted to a coarser format, with one rounding unless it is representable there."""
    if x.format is format:
        return x
    fits = x.error == 0 and np.ndim(x.value) == 0 and format.holds(float(x.value))
    error = x.error if fits else _rounded(x.value, x.error, format, roundings=1)
    return Bounded(x.value, error, format)


def _aligned(x: Operand, y: Any, swap: bool = False) -> tuple[Bounded, Bounded, Format]:
    """Both operands in the coarser of their formats; ``swap`` returns them exchanged."""
    x = _lifted(x, FLOAT64)
    y = _lifted(y, FLOAT64)
    format = x.format if x.format.unit >= y.format.unit else y.format
    x, y = _embedded(x, format), _embedded(y, format)
    return (y, x, format) if swap else (x, y, format)


def _power(base: Bounded, exponent: Bounded) -> Bounded:
    """A positive base to a real power, off by at most the roundings of one operation."""
    x, y, format = _aligned(base, exponent)
    value = x.value**y.value
    with np.errstate(all="ignore"):
        relative = y.error * abs(np.log(x.value)) + (abs(y.value) + y.error) * x.error / (
            abs(x.value) - x.error
        )
        # |e**r - 1| <= r*e**r
        spread = abs(value) * relative * np.exp(relative)
    return Bounded(value, _rounded(value, spread, format), format)


def _truth(x: Truth | Array) -> Truth:
    return x if isinstance(x, Truth) else Truth(np.asarray(x), np.asarray(True))
