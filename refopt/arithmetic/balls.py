"""Arrays of real numbers that are never rounded: rationals, and balls of arbitrary precision.

A number is a rational for as long as sums, products and quotients made it, so that exact zeros,
ties and comparisons are decided. A root or a real power makes it a ball: a midpoint and a radius
that enclose the true value (Johansson, *Arb: efficient arbitrary-precision midpoint-radius
interval arithmetic*, 2017). What a ball is too wide to decide raises :class:`Undecided`, and
:func:`decided` computes again with more bits, until the result is the float64 nearest to the truth.

A Python float is taken for the number that it is, not for the decimal that it shows: 0.9 is
0x1.ccccccccccccdp-1, which is what every implementation is given. A step count must come as
an exact integer too, since Python would round ``t / k``.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, Final, TypeVar

import flint
import numpy as np
from flint import arb, fmpq

from refopt.xp import Array, Namespace

Number = Any
"""A rational (``fmpq``) or a ball (``arb``)."""

PRECISIONS: Final = (128, 512, 2048, 8192)
"""In bits: those that are tried until one decides."""

_LARGEST_EXACT: Final = 2**14
"""In bits: a rational of larger terms goes on as a ball, which costs the same at every step."""
_LARGEST_POWER: Final = 64
"""The exponents up to which a power is a product."""
_VANISHING: Final = arb(2) ** -1100
"""Far below half the smallest float64."""

Result = TypeVar("Result")


class Undecided(ArithmeticError):  # noqa: N818  it is no mistake but the answer of a comparison
    """A ball is too wide to decide, or what it should enclose is undefined."""


def decided(compute: Callable[[], Result]) -> Result:
    """The result of a computation, at the first precision that decides it.

    Raises:
        Undecided: none does: a number is undefined, such as 0/0, or two irrational ones are equal.
    """
    for bits in PRECISIONS[:-1]:
        try:
            with flint.ctx.workprec(bits):
                return compute()
        except Undecided:
            continue
    with flint.ctx.workprec(PRECISIONS[-1]):
        return compute()


class Balls:
    """An array of exact numbers.

    Attributes:
        numbers: a NumPy array of rationals and balls, of any shape.
    """

    __slots__ = ("numbers",)
    __array_ufunc__ = None

    def __init__(self, numbers: Array) -> None:
        self.numbers = np.asarray(numbers, dtype=object)

    @classmethod
    def exact(cls, values: Array) -> Balls:
        """Finite floats or integers, as the rationals that they are."""
        return cls(_rationals(np.asarray(values, dtype=object)))

    @property
    def __refopt_namespace__(self) -> Namespace:
        return BALLS

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    @property
    def ndim(self) -> int:
        return self.numbers.ndim

    def __repr__(self) -> str:
        return f"Balls of shape {self.shape}"  # a ball may have more digits than memory holds

    def rounded(self) -> Array:
        """The float64 numbers nearest to these, ties to even.

        Raises:
            Undecided: a ball holds more than one candidate, or a number is undefined.
            OverflowError: a number is beyond the largest float64.
        """
        return np.asarray(_nearest(self.numbers), dtype=np.float64)

    # Arithmetic

    def __neg__(self) -> Balls:
        return Balls(-self.numbers)

    def __add__(self, other: Operand) -> Balls:
        return Balls(_sum(self.numbers, _numbers(other)))

    def __sub__(self, other: Operand) -> Balls:
        return self + -_lifted(other)

    def __mul__(self, other: Operand) -> Balls:
        return Balls(_product(self.numbers, _numbers(other)))

    def __truediv__(self, other: Operand) -> Balls:
        return Balls(_quotient(self.numbers, _numbers(other)))

    def __floordiv__(self, other: Operand) -> Balls:
        """Of rationals alone."""
        return Balls(_floor((self / other).numbers))

    def __mod__(self, other: Operand) -> Balls:
        return self - other * (self // other)

    def __pow__(self, exponent: Operand) -> Balls:
        return Balls(_power(self.numbers, _numbers(exponent)))

    def __rsub__(self, other: Operand) -> Balls:
        return _lifted(other) - self

    def __rtruediv__(self, other: Operand) -> Balls:
        return _lifted(other) / self

    def __rpow__(self, base: Operand) -> Balls:
        return _lifted(base) ** self

    __radd__ = __add__
    __rmul__ = __mul__

    # Comparisons: booleans, or an array of them

    def __lt__(self, other: Operand) -> Array:
        return self._compared(other, operator.lt)

    def __le__(self, other: Operand) -> Array:
        return self._compared(other, operator.le)

    def __gt__(self, other: Operand) -> Array:
        return self._compared(other, operator.gt)

    def __ge__(self, other: Operand) -> Array:
        return self._compared(other, operator.ge)

    def __eq__(self, other: object) -> Array:
        return self._compared(other, operator.eq)

    def __ne__(self, other: object) -> Array:
        return self._compared(other, operator.ne)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self != 0)

    def _compared(self, other: Any, relation: Callable[[Array, Array], Array]) -> Array:
        signs = np.asarray(_decided_sign((self - other).numbers), dtype=np.int8)
        holds = relation(signs, 0)
        return holds if signs.ndim else bool(holds)


Operand = Balls | float | int


class BallsNamespace(Namespace):
    """The functions of :mod:`refopt.xp` on exact numbers."""

    @property
    def pi(self) -> Any:
        """At the precision of the moment."""
        return Balls(arb.pi())

    def sqrt(self, x: Array) -> Array:
        return Balls(_root(_numbers(x)))

    def abs(self, x: Array) -> Array:
        return Balls(np.abs(_numbers(x)))

    def sign(self, x: Array) -> Array:
        return Balls(_sign(_numbers(x)))

    def maximum(self, x: Array, y: Array) -> Array:
        return Balls(_maximum(_numbers(x), _numbers(y)))

    def minimum(self, x: Array, y: Array) -> Array:
        return -self.maximum(-_lifted(x), -_lifted(y))

    def cos(self, x: Array) -> Array:
        return Balls(_cosine(_numbers(x)))

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        if isinstance(condition, bool):
            return x if condition else y
        return Balls(np.where(condition, _numbers(x), _numbers(y)))

    def sum(self, x: Array, axis: tuple[int, ...] | None = None) -> Array:
        return Balls(_total(x.numbers, axis, keepdims=axis is not None))

    def max(self, x: Array) -> Array:
        numbers = list(x.numbers.flat)
        return Balls(functools.reduce(_maximum, numbers) if numbers else arb.neg_inf())

    def mean(self, x: Array, axis: tuple[int, ...]) -> Array:
        count = math.prod(x.shape[i] for i in axis)
        return Balls(_total(x.numbers, axis, keepdims=True)) / count

    def any(self, x: Array, axis: tuple[int, ...]) -> Array:
        return np.any(x != 0, axis=axis, keepdims=True) if axis else x != 0

    def ndim(self, x: Array) -> int:
        return int(x.ndim)

    def is_real(self, x: Array) -> bool:
        return True

    def asarray(self, x: Array) -> Array:
        return _lifted(x)

    def copy(self, x: Array) -> Array:
        return Balls(x.numbers.copy())

    def full_like(self, x: Array, value: Array) -> Array:
        return Balls(np.broadcast_to(_numbers(value), x.shape).copy())

    def scalar_like(self, x: Array, value: Array) -> Array:
        return _lifted(value)


BALLS: Final = BallsNamespace()


def _lifted(x: Operand) -> Balls:
    """A literal as the number that it is."""
    return x if isinstance(x, Balls) else Balls(_rational(x))


def _numbers(x: Operand) -> Array:
    return _lifted(x).numbers


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers as a function of arrays of them."""
    ufunc: Callable[..., Any] = np.frompyfunc(function, function.__code__.co_argcount, 1)
    return ufunc


def _rational(value: float) -> Number:
    return fmpq(*value.as_integer_ratio())


_rationals = _elementwise(_rational)


def _settled(x: Number) -> Number:
    """The number, as a ball where it is a rational too large to go on with."""
    return arb(x) if isinstance(x, fmpq) and x.height_bits() > _LARGEST_EXACT else x


_all_settled = _elementwise(_settled)


@_elementwise
def _sum(x: Number, y: Number) -> Number:
    return _settled(x + y)


@_elementwise
def _product(x: Number, y: Number) -> Number:
    return _settled(x * y)


def _divided(x: Number, y: Number) -> Number:
    """Division by zero is undefined: nothing that depends on it has a value."""
    if isinstance(x, fmpq) and isinstance(y, fmpq):
        return _settled(x / y) if y else arb.nan()
    return arb(x) / arb(y)


_quotient = _elementwise(_divided)


@_elementwise
def _floor(x: Number) -> Number:
    return fmpq(x.floor())


@_elementwise
def _power(x: Number, y: Number) -> Number:
    if isinstance(y, fmpq) and y.q == 1 and abs(y.p) <= _LARGEST_POWER:
        n = int(y.p)
        return _settled(x**n) if n >= 0 else _divided(fmpq(1), x**-n)
    return arb(x) ** arb(y)


@_elementwise
def _root(x: Number) -> Number:
    """Rational for the square of a rational."""
    if isinstance(x, fmpq) and x >= 0:
        above, below = math.isqrt(int(x.p)), math.isqrt(int(x.q))
        if above**2 == x.p and below**2 == x.q:
            return fmpq(above, below)
    return arb(x).sqrt()


@_elementwise
def _sign(x: Number) -> Number:
    return fmpq((x > 0) - (x < 0)) if isinstance(x, fmpq) else x.sgn()


@_elementwise
def _decided_sign(x: Number) -> int:
    if isinstance(x, arb) and not (x > 0 or x < 0 or x.is_zero()):
        raise Undecided("which of two numbers is larger")
    return int(x > 0) - int(x < 0)


@_elementwise
def _maximum(x: Number, y: Number) -> Number:
    return max(x, y) if isinstance(x, fmpq) and isinstance(y, fmpq) else arb(x).max(arb(y))


@_elementwise
def _cosine(x: Number) -> Number:
    return arb(x).cos()


def _total(x: Array, axis: tuple[int, ...] | None, *, keepdims: bool) -> Array:
    return _all_settled(np.sum(x, axis=axis, keepdims=keepdims, initial=fmpq(0)))


@_elementwise
def _nearest(x: Number) -> float:
    if isinstance(x, fmpq):
        return _rounded(x)
    if not x.is_finite():
        raise Undecided("a number is undefined, such as 0/0, or not known at all")
    if abs(x) < _VANISHING:
        return 0.0
    if abs(x) * _VANISHING > 1:
        raise OverflowError("a number is beyond the largest float64")
    # a radius may be too small to write down as a rational, a larger one encloses too
    radius = fmpq(0) if x.is_exact() else max(x.rad(), _VANISHING).fmpq()
    middle = x.mid().fmpq()
    low, high = _rounded(middle - radius), _rounded(middle + radius)
    if low != high:
        raise Undecided("which float64 is nearest to a number")
    return high


def _rounded(x: Number) -> float:
    """Python divides integers with one rounding."""
    return int(x.p) / int(x.q) + 0.0  # no -0.0
