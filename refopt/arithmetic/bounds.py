"""Numbers with running error bounds: the tolerance of a check, derived and never tuned.

A :class:`Bounded` number carries the reference's value, computed in float64, and a bound on how far
any straightforward evaluation in the target's precision may be from it (Higham, *Accuracy and
Stability of Numerical Algorithms*, 2nd ed., section 3.3). Running a rule on such numbers yields the
expected result and, element by element and step by step, the tolerance of the comparison.

One operation ``z = x o y`` with operands known within ``dx`` and ``dy`` contributes

- what it propagates: ``dx + dy`` for a sum, ``|x|dy + |y|dx + dx dy`` for a product, ...;
- its own roundings: :data:`ROUNDINGS` (:data:`SUM_ROUNDINGS`) times the unit roundoff of the
  target's format;
- the smallest normal number where the result may be subnormal, since a target may flush it to zero;
- the rounding of the float64 evaluation here.

Sums with an exact zero, products with one and quotients of one are free of error in every
evaluation order, so exact zeros stay exact: without that ``sign(0)`` would be undecidable.

Where a result may overflow nothing is known about it: its error is infinite. A value that is itself
infinite or NaN with an error of zero is one that no evaluation order makes finite. The arithmetic
expects ``np.errstate(all="ignore")``, under which an optimizer steps.

**16 bits.** A target whose parameters have 16 bits may compute in three ways, each of which admits
what the one before it does (:func:`modes`):

- ``float32-state``: everything is float32, and a parameter is rounded to 16 bits, once, when a step
  has ended. What keeps float32 parameters besides and hands out rounded ones is admitted too: the
  reference's value is not rounded, so the bound holds the exact trajectory.
- ``float32-arithmetic``: a step is computed in float32, and what it leaves in memory, parameters
  and state, is rounded to 16 bits, once. What a step leaves as it was is not rounded again.
- ``working``: every operation is rounded to 16 bits, as above. Its rounding of the last operation
  is that of memory: one, where two or three are allowed.

Rounding to memory adds one unit roundoff of the number, and the smallest normal number of the
format where the result may be subnormal; a number that the format holds is not changed.

**The range of float16.** Numbers from 65504 on and below 6e-5 are at home in every optimizer:
squares of gradients, norms, an epsilon of 1e-8. Results that fall below the range may be flushed to
zero, as in every format. But no implementation may lose what is neither small nor large in the end,
so two things are expected in a wider format (:attr:`Format.range`), and are mistakes otherwise:

- a hyperparameter that float16 does not hold. With epsilon rounded to zero a gradient of zero leads
  to 0/0, where the reference stays in place;
- an intermediate result beyond 65504, such as a sum of squares, whose parameter is not. A norm that
  overflows clips every gradient to zero.

What is left in memory beyond 65504, a parameter or a state, has overflowed: nothing is known of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

import ml_dtypes
import numpy as np

from refopt.xp import Array, Namespace

ROUNDINGS: Final = 2.0
"""Roundings of the target for one operation of the reference.

A bound for one evaluation order is no bound for all: ``x * (1/y)`` for ``x / y``, or a step size
folded from two factors, spends two roundings where the reference spends one.
"""

SUM_ROUNDINGS: Final = 3.0
"""Roundings of the target for one sum or difference of the reference.

Decay, ``theta - lr*(h + weight_decay*theta)``, as ``theta*(1 - lr*weight_decay) - lr*h`` rounds
three numbers of the size of ``theta``: the factor, the product and the difference. Nesterov's step
as two subtractions from the parameter rounds two.
"""

_ROUNDOFF: Final = 2.0**-53
"""Of the reference: a sum, product, quotient or root of float64."""
_LIBRARY_ROUNDOFF: Final = 2.0**-50
"""Of the reference's powers and cosines: vectorised libraries are good to 4 units."""
_INFLATION: Final = 1 + 2.0**-40
"""Covers the roundings of the error arithmetic itself: a dozen operations, all of one sign."""
_SMALLEST: Final = 2.0**-1070
"""Covers what the error arithmetic itself loses to underflow."""


@dataclass(frozen=True)
class Format:
    """A floating-point format: unit roundoff, smallest normal and largest finite number.

    Attributes:
        wide: the format that takes what the range of this one does not hold; None for itself.
        is_scalar: whether it is that of single numbers beside the arrays, such as hyperparameters.
            Together with an array they are converted to its format; among themselves they keep
            their own.
    """

    name: str
    unit: float
    tiny: float
    huge: float
    wide: Format | None = None
    is_scalar: bool = False

    @property
    def range(self) -> Format:
        """The format whose range hyperparameters and intermediate results have."""
        return self.wide or self

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's name for it."""
        return np.dtype(self.name)

    def holds(self, value: float) -> bool:
        """Whether a number is zero or a normal number of this format."""
        if not self.tiny <= abs(value) <= self.huge:
            return value == 0
        fraction, _ = math.frexp(value)
        return (fraction / self.unit).is_integer()

    def nearest(self, value: float) -> float:
        """The number of this format that is nearest to ``value``."""
        return float(self.dtype.type(value))


def _format(name: str, wide: Format | None = None) -> Format:
    limits: Any = ml_dtypes.finfo(name)  # type: ignore[no-untyped-call]
    unit, tiny, huge = limits.eps / 2, limits.smallest_normal, limits.max
    return Format(name, float(unit), float(tiny), float(huge), wide)


FLOAT64: Final = _format("float64")
FLOAT32: Final = _format("float32")
BFLOAT16: Final = _format("bfloat16")
FLOAT16: Final = _format("float16", FLOAT32)
FORMATS: Final = {
    "float32": FLOAT32,
    "float64": FLOAT64,
    "bfloat16": BFLOAT16,
    "float16": FLOAT16,
}
"""The formats of parameters and gradients."""

_EXACT: Final = replace(FLOAT64, is_scalar=True)
"""Of a literal, and of hyperparameters as they are given."""
_ROUNDED: Final = replace(FLOAT32, is_scalar=True)
"""Of hyperparameters as float32 numbers."""

Precision = Literal["float32-state", "float32-arithmetic", "working", "float32-hyperparameters"]


@dataclass(frozen=True)
class Mode:
    """How a target computes.

    Attributes:
        arithmetic: the format of its operations.
        params: the format of parameters and gradients in memory.
        state: the format of state in memory.
        hyperparameters: the format of hyperparameters.
    """

    arithmetic: Format
    params: Format
    state: Format
    hyperparameters: Format = _EXACT

    def hyperparameter(self, value: float) -> Bounded:
        """Exact, or anywhere between its value and that rounded to float32."""
        rounded = value if self.hyperparameters is _EXACT else FLOAT32.nearest(value)
        return Bounded(value, abs(value - rounded), self.hyperparameters)

    def given(self, array: Array) -> Bounded:
        """A parameter or gradient as it is, though its format may take subnormals for zero."""
        given = Bounded.exact(array, self.params)
        return Bounded(given.value, given.error, self.arithmetic)

    def parameter(self, x: Bounded, before: Bounded) -> Bounded:
        """A parameter in memory, where it was ``before``."""
        return x.stored(self.params, before)

    def state_array(self, x: Bounded, before: Bounded) -> Bounded:
        """A state array in memory, where it was ``before``."""
        return x.stored(self.state, before)


def modes(format: Format) -> dict[Precision, Mode]:
    """The ways to compute with parameters of a format, strictest first."""
    found: dict[Precision, Mode] = {}
    if format.unit > FLOAT32.unit:
        found["float32-state"] = Mode(FLOAT32, format, FLOAT32)
        found["float32-arithmetic"] = Mode(FLOAT32, format, format)
    found["working"] = Mode(format, format, format)
    found["float32-hyperparameters"] = Mode(format, format, format, _ROUNDED)
    return found


class Bounded:
    """A number, or an array of numbers, known within an error bound.

    Attributes:
        value: the reference's result in float64, any shape.
        error: a bound on the distance of the target's result, of the same shape; infinite where
            nothing is known about it.
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
        """An array that the target is given as it is, though it may take subnormals for zero."""
        value = np.asarray(value, dtype=np.float64)[()]
        return cls(value, np.where(abs(value) < format.tiny, abs(value), 0.0)[()], format)

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

    def stored(self, format: Format, before: Bounded) -> Bounded:
        """This array after it was written to memory, where ``before`` was: see the module."""
        error = self.error
        if format.unit > self.format.unit:
            with np.errstate(all="ignore"):
                there = np.asarray(self.value).astype(format.dtype).astype(np.float64)
            small = abs(self.value) < format.tiny
            is_held = (there == self.value) & (error == 0) & (np.equal(self.value, 0) | ~small)
            is_kept = (self.value == before.value) & (error == before.error)
            rounded = _rounded(self.value, error, format, self, roundings=1, own=0.0)
            error = _select(is_held | is_kept, error, rounded)
        elif format.range is format:
            return self
        return Bounded(self.value, _bounded(self.value, error, format.huge, self), self.format)

    # Arithmetic

    def __neg__(self) -> Bounded:
        return Bounded(-self.value, self.error, self.format)

    def __add__(self, other: Operand) -> Bounded:
        x, y, format = _aligned(self, other)
        value = x.value + y.value
        rounded = _rounded(value, x.error + y.error, format, x, y, roundings=SUM_ROUNDINGS)
        # x + 0 is exact, and so is 0 + y
        error = _select(_is_zero(y), x.error, _select(_is_zero(x), y.error, rounded))
        return Bounded(value, error, format)

    def __sub__(self, other: Operand) -> Bounded:
        return self + (-other)

    def __mul__(self, other: Operand) -> Bounded:
        x, y, format = _aligned(self, other)
        value = x.value * y.value
        spread = abs(x.value) * y.error + (abs(y.value) + y.error) * x.error
        error = _rounded(value, spread, format, x, y)
        zero = _is_zero(x) | _is_zero(y)
        if zero is not False:
            error = np.where(zero & (error < math.inf), 0.0, error)[()]
        return Bounded(value, error, format)

    def __truediv__(self, other: Operand) -> Bounded:
        x, y, format = _aligned(self, other)
        value = np.divide(x.value, y.value)
        room = abs(y.value) - y.error
        spread = np.divide(x.error, room) + abs(value) * np.divide(y.error, room)
        spread = _select(room > 0, spread, math.inf)
        known = (abs(x.value) > x.error) | _is_zero(x)
        exact = (_is_zero(x) & (room > 0)) | (_is_zero(y) & known)
        return Bounded(value, _select(exact, 0.0, _rounded(value, spread, format, x, y)), format)

    def __pow__(self, exponent: Operand) -> Bounded:
        if isinstance(exponent, int):
            return self._integer_power(exponent)
        return _power(self, _lifted(exponent))

    def __radd__(self, other: float) -> Bounded:
        return _lifted(other) + self

    def __rsub__(self, other: float) -> Bounded:
        return _lifted(other) - self

    def __rmul__(self, other: float) -> Bounded:
        return _lifted(other) * self

    def __rtruediv__(self, other: float) -> Bounded:
        return _lifted(other) / self

    def __rpow__(self, base: float) -> Bounded:
        return _power(_lifted(base), self)

    def _integer_power(self, n: int) -> Bounded:
        """x**n by products in any order, and a quotient where n < 0, or by a library's function."""
        if n == 0:
            return Bounded.exact(np.ones(self.shape), self.format)
        if n == 1:
            return self
        if n == 2:
            return self * self
        value = np.power(self.value, float(n))
        # the mean value theorem: |n| end**(n-1) at the end where it is largest
        end = abs(self.value) + (self.error if n > 0 else -self.error)
        spread = abs(n) * np.power(end, float(n)) * np.divide(self.error, end)
        if n < 0:
            spread = _select(end > 0, spread, math.inf)
        operations = n - 1 if n > 0 else -n
        rounded = _rounded(
            value,
            spread,
            self.format,
            self,
            roundings=ROUNDINGS + operations - 1,
            own=_LIBRARY_ROUNDOFF,
        )
        return Bounded(value, _select(_is_zero(self), 0.0, rounded), self.format)

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
        difference = abs(x.value - y.value)
        slack = (x.error + y.error) * _INFLATION
        certain = np.greater(difference, slack) | (np.equal(difference, 0) & np.equal(slack, 0))
        return Truth(relation(x.value, y.value), certain)


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
        return Truth(~self.holds, self.certain)

    __rand__ = __and__
    __ror__ = __or__

    def __bool__(self) -> bool:
        raise TypeError("a comparison of bounded numbers is for xp.where, not for branches")


class BoundsNamespace(Namespace):
    """The functions of :mod:`refopt.xp` on numbers with error bounds."""

    def sqrt(self, x: Array) -> Array:
        """The square root of what no target computes below zero, however near it is to zero.

        That is so for sums of squares and for what a rule guards, not for a difference such as
        ``v - m**2``, of which a target may get NaN.
        """
        if not isinstance(x, Bounded):
            return math.sqrt(x) if x >= 0 else math.nan
        # a negative value is one that only its error separates from zero, or else NaN
        radicand = _select((x.value < 0) & (x.value + x.error >= 0), 0.0, x.value)
        value = np.sqrt(radicand)
        # differences of roots, as quotients that do not cancel
        low = np.sqrt(np.maximum(radicand - x.error, 0.0))
        below = _select(low > 0, np.divide(x.error, value + low), value)
        above = np.divide(x.error, value + np.sqrt(radicand + x.error))
        error = _rounded(value, np.maximum(below, above), x.format, x)
        return Bounded(value, _select(_is_zero(x), 0.0, error), x.format)

    def abs(self, x: Array) -> Array:
        return Bounded(abs(x.value), x.error, x.format) if isinstance(x, Bounded) else abs(x)

    def sign(self, x: Array) -> Array:
        value = np.sign(x.value)
        low, high = np.sign(x.value - x.error), np.sign(x.value + x.error)
        known = abs(x.value) + x.error < math.inf
        error = _select(known, np.maximum(value - low, high - value), math.inf)
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
        error = _rounded(value, spread, x.format, x, own=_LIBRARY_ROUNDOFF)
        return Bounded(value, error, x.format)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        if isinstance(condition, bool):
            return x if condition else y
        truth = _truth(condition)
        x, y, format = _aligned(x, y)
        value = np.where(truth.holds, x.value, y.value)[()]
        error = np.where(truth.holds, x.error, y.error)[()]
        if not _all(truth.certain):
            other = np.where(truth.holds, y.error, x.error) + abs(x.value - y.value)
            either = np.maximum(error, other * _INFLATION)
            either = np.where(np.isnan(either), math.inf, either)
            error = np.where(truth.certain, error, either)[()]
        return Bounded(value, error, format)

    def sum(self, x: Array, axis: tuple[int, ...] | None = None) -> Array:
        over = tuple(range(x.ndim)) if axis is None else axis
        return self._total(x, over, keepdims=axis is not None)

    def max(self, x: Array) -> Array:
        least = np.max(x.value - x.error, initial=-math.inf)
        contenders = x.value + x.error >= least
        error = np.max(x.error, initial=0.0, where=contenders)
        return Bounded(np.max(x.value, initial=-math.inf), error, x.format)

    def mean(self, x: Array, axis: tuple[int, ...]) -> Array:
        count = math.prod(x.shape[i] for i in axis)
        return self._total(x, axis, keepdims=True) / count if count > 1 else x

    def any(self, x: Array, axis: tuple[int, ...]) -> Array:
        truth = x != 0
        if not axis:
            return truth
        holds = np.any(truth.holds, axis=axis, keepdims=True)
        settled = np.any(truth.holds & truth.certain, axis=axis, keepdims=True)
        return Truth(holds, settled | np.all(truth.certain, axis=axis, keepdims=True))

    def ndim(self, x: Array) -> int:
        return int(x.ndim)

    def is_real(self, x: Array) -> bool:
        return True

    def asarray(self, x: Array) -> Array:
        return x

    def copy(self, x: Array) -> Array:
        return x

    def full_like(self, x: Array, value: Array) -> Array:
        filling = _embedded(_lifted(value), x.format)
        shape = x.shape
        return Bounded(
            np.full(shape, filling.value)[()], np.full(shape, filling.error)[()], x.format
        )

    def scalar_like(self, x: Array, value: Array) -> Array:
        return self.full_like(Bounded(0.0, 0.0, x.format), value)

    def _choice(self, choose: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
        if not isinstance(x, Bounded) and not isinstance(y, Bounded):
            return choose(x, y)
        x, y, format = _aligned(x, y)
        value = choose(x.value, y.value)
        clear = abs(x.value - y.value) > x.error + y.error
        winner = np.where(value == x.value, x.error, y.error)
        return Bounded(value, np.where(clear, winner, np.maximum(x.error, y.error))[()], format)

    def _total(self, x: Array, axis: tuple[int, ...], keepdims: bool) -> Bounded:
        """The sum in any order: no partial sum exceeds the sum of magnitudes."""
        format = x.format
        value = np.sum(x.value, axis=axis, keepdims=keepdims)
        additions = max(0, math.prod(x.shape[i] for i in axis) - 1)
        if not additions:
            return Bounded(value, np.sum(x.error, axis=axis, keepdims=keepdims), format)
        magnitude = np.sum(abs(x.value) + x.error, axis=axis, keepdims=keepdims)
        # partial sums of numbers from tiny/unit up are multiples of tiny, so never subnormal
        small = (abs(x.value) - x.error < format.tiny / format.unit) & np.logical_not(_is_zero(x))
        flushed = np.any(small, axis=axis, keepdims=keepdims) * (additions * format.tiny)
        roundings = ROUNDINGS + additions - 1
        relative = math.expm1(roundings * format.unit) + additions * _ROUNDOFF
        spread = np.sum(x.error, axis=axis, keepdims=keepdims)
        error = (spread + relative * magnitude + flushed) * _INFLATION + _SMALLEST * (flushed > 0)
        finite = np.all(np.isfinite(x.value), axis=axis, keepdims=keepdims)
        terms = Bounded(np.where(finite, 0.0, math.inf)[()], spread, format)
        return Bounded(value, _bounded(value, error, format.range.huge, terms), format)


BOUNDS: Final = BoundsNamespace()


def distance(got: Array, expected: Bounded) -> Array:
    """How far results are from the reference, as a fraction of the bound: at most 1 conforms.

    Where the reference is infinite or NaN, the same or NaN is at distance 0, and so is an infinity
    from NaN, since orders of evaluation differ in which of the two they give; a number against
    them, or they against a number, is at distance infinity. So is any difference where the bound is
    0. An infinite bound admits everything.
    """
    got = np.asarray(got, dtype=np.float64)
    value, error = np.asarray(expected.value), np.asarray(expected.error)
    undefined = (np.isnan(got) & ~np.isfinite(value)) | (np.isnan(value) & ~np.isfinite(got))
    with np.errstate(all="ignore"):
        ratio = abs(got - value) / error
    ratio = np.where(np.isnan(ratio), math.inf, ratio)
    return np.where((got == value) | undefined | (error == math.inf), 0.0, ratio)


def _rounded(
    value: Array,
    spread: Array,
    format: Format,
    *operands: Bounded,
    roundings: float = ROUNDINGS,
    own: float = _ROUNDOFF,
    tiny: float | None = None,
) -> Array:
    """The error of a computed result: what it inherits, and what computing it adds."""
    tiny = format.tiny if tiny is None else tiny
    magnitude = abs(value)
    relative = math.expm1(roundings * format.unit) + own
    error = spread + relative * (magnitude + spread)
    may_be_subnormal = magnitude - error < tiny
    error = (error + tiny * may_be_subnormal) * _INFLATION + _SMALLEST
    return _bounded(value, error, format.range.huge, *operands)


def _bounded(value: Array, error: Array, huge: float, *operands: Bounded) -> Array:
    """The error, infinite where the target's result may overflow."""
    within = abs(value) + error <= huge
    if _all(within):
        return error
    known: Array = True
    finite: Array = True
    for x in operands:
        known = known & np.isfinite(x.error)
        finite = finite & np.isfinite(x.value)
    undefined = known & ~finite & ~np.isfinite(value)
    return np.where(within, error, np.where(undefined, 0.0, math.inf))[()]


def _is_zero(x: Bounded) -> Array:
    """Where a number is exactly zero; False where none is."""
    value = x.value
    if not isinstance(value, np.ndarray):
        return bool(value == 0 and x.error == 0)
    if np.count_nonzero(value) == value.size:
        return False
    return (value == 0) & (x.error == 0)


def _lifted(number: Operand) -> Bounded:
    """A literal as a scalar: exact in float64, like the number that stands in a source file."""
    if isinstance(number, Bounded):
        return number
    value = float(number)
    return Bounded(value, 0.0 if value == number else abs(value) * _ROUNDOFF, _EXACT)


def _embedded(x: Bounded, format: Format) -> Bounded:
    """``x`` converted to another format, with one rounding unless it is a number of that."""
    if x.format is format:
        return x
    is_number = not isinstance(x.value, np.ndarray) and x.error == 0 and format.holds(x.value)
    if is_number or format.unit <= x.format.unit:
        return Bounded(x.value, x.error, format)
    tiny = format.range.tiny if x.format.is_scalar else format.tiny
    error = _rounded(x.value, x.error, format, x, roundings=1, own=0.0, tiny=tiny)
    return Bounded(x.value, error, format)


def _aligned(x: Operand, y: Any) -> tuple[Bounded, Bounded, Format]:
    """Both operands in the coarser of their formats, a scalar beside an array in that of it."""
    x, y = _lifted(x), _lifted(y)
    if x.format.is_scalar == y.format.is_scalar:
        format = x.format if x.format.unit >= y.format.unit else y.format
    else:
        format = y.format if x.format.is_scalar else x.format
    return _embedded(x, format), _embedded(y, format), format


def _power(base: Bounded, exponent: Bounded) -> Bounded:
    """A positive base, or zero, to a real power: by a library's function or as exp(y*log(x))."""
    x, y, format = _aligned(base, exponent)
    value = np.power(x.value, y.value)
    room = x.value - x.error
    logarithm = np.log(x.value)
    size = abs(logarithm)
    spread = y.error * size + (abs(y.value) + y.error) * np.divide(x.error, room)
    spread = spread + ROUNDINGS * format.unit * (abs(y.value) * size + spread)
    # |e**(a+r) - e**a| <= |r| e**(a+|r|), also where e**a underflows
    spread = _select(room > 0, spread * np.exp(y.value * logarithm + spread), math.inf)
    rounded = _rounded(value, spread, format, x, y, own=_LIBRARY_ROUNDOFF)
    exact = _is_zero(x) & (y.value > y.error)
    return Bounded(value, _select(exact, 0.0, rounded), format)


def _truth(x: Truth | Array) -> Truth:
    return x if isinstance(x, Truth) else Truth(np.asarray(x), np.asarray(True))


def _select(condition: Array, x: Array, y: Array) -> Array:
    """``x`` where the condition, an array or a boolean, holds, else ``y``."""
    if isinstance(condition, (bool, np.bool_)):
        return x if condition else y
    return np.where(condition, x, y)


def _all(condition: Array) -> bool:
    """Whether an array of booleans, or a boolean, holds everywhere."""
    return bool(condition if isinstance(condition, (bool, np.bool_)) else condition.all())
