"""Each operation of the error-bounded arithmetic, compared with exact rational arithmetic.

An operand is a bounded number together with a number that some target holds in its place: any that
the bound admits. The target then computes the operation: rounded correctly, as by NumPy; with one
rounding more, as another order of evaluation would spend; with subnormal operands and results
flushed to zero. Every result must lie within the bound, compared as fractions.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from refopt.arithmetic.bounds import (
    BFLOAT16,
    BOUNDS,
    FLOAT32,
    FLOAT64,
    FORMATS,
    ROUNDINGS,
    SUM_ROUNDINGS,
    Bounded,
    Format,
    distance,
)

Number = Fraction | float
"""What a target holds: a number as a fraction; an infinity or NaN as a float."""

formats = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
without_wide = pytest.mark.parametrize(
    "format", [FLOAT64, FLOAT32, BFLOAT16], ids=lambda format: format.name
)
"""Formats of which intermediate results have the range as well."""
precise = pytest.mark.parametrize("format", [FLOAT64, FLOAT32], ids=lambda format: format.name)
"""Formats in which bounds are so narrow that terms of higher order do not show."""

mpmath.mp.prec = 300


@pytest.fixture(autouse=True)
def _as_an_optimizer_steps() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


# What targets compute


def rounded(x: Fraction, format: Format) -> Number:
    """The number of a format nearest to ``x``, ties to even, in integer arithmetic."""
    if x == 0:
        return x
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    if abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    spacing = max(Fraction(2) ** exponent, Fraction(format.tiny)) * 2 * Fraction(format.unit)
    result = round(x / spacing) * spacing
    largest = Fraction(format.range.huge)
    return result if abs(result) <= largest else math.inf * (1 if x > 0 else -1)


def flushed(x: Number, format: Format) -> Number:
    """Subnormal numbers as zero."""
    if isinstance(x, Fraction) and abs(x) < Fraction(format.tiny):
        return Fraction(0)
    return x


def computed(
    x: Number, format: Format, free: bool = False, roundings: float = ROUNDINGS
) -> Iterator[Number]:
    """What targets get for an operation whose exact result is ``x``, without rounding if free."""
    if isinstance(x, float) or free:
        yield x
        return
    most = Fraction(format.unit) / (1 + Fraction(format.unit))  # that rounding to nearest changes
    for further in (0, most, -most):
        result = rounded(x * (1 + further) ** int(roundings - 1), format)
        yield result
        yield flushed(result, format)


def fraction(x: Any) -> Number:
    """A floating-point number as the number that it is."""
    return Fraction(float(x)) if np.isfinite(x) else float(x)


def real(x: mpmath.mpf) -> Fraction:
    """A number of arbitrary precision as a fraction."""
    sign, mantissa, exponent, _ = x._mpf_
    return Fraction(-1 if sign else 1) * int(mantissa) * Fraction(2) ** int(exponent)


def assert_admitted(bounded: Bounded, results: Iterable[Number]) -> None:
    """Every result is within the bound, or nothing is known about it."""
    value, error = float(np.ravel(bounded.value)[0]), float(np.ravel(bounded.error)[0])
    assert error >= 0
    if error == math.inf:
        return
    for result in results:
        if math.isfinite(value):
            assert isinstance(result, Fraction), f"{result} was not foreseen by {bounded}"
            off = abs(result - Fraction(value))
            assert off <= Fraction(error), f"{float(result)!r} is outside {bounded}"
        else:
            assert isinstance(result, float), f"{float(result)!r} is finite, unlike {bounded}"


# Operands


class Operand(NamedTuple):
    """A number that the reference knows within a bound, and what the target holds in its place."""

    bounded: Bounded
    held: Fraction

    @property
    def is_zero(self) -> bool:
        """Whether every target holds zero."""
        x = self.bounded
        return bool(np.ravel(x.value)[0] == 0 and np.ravel(x.error)[0] == 0)


def numbers(format: Format) -> st.SearchStrategy[float]:
    """Numbers of a format: of any size, near one, and those around which something changes."""
    smallest = 2 * format.tiny * format.unit
    special = [
        *(0.0, smallest, 3 * smallest, format.tiny / 2, format.tiny - smallest, format.tiny),
        *(1.0, 1 + 2 * format.unit, 1 - format.unit, 2.0, 3.0),
        *(math.sqrt(format.tiny), math.sqrt(format.huge), format.huge / 3, format.huge),
    ]
    signed = [sign * format.nearest(x) for x in special for sign in (1, -1)]
    sizes = (format.tiny, format.tiny / format.unit, 4.0, format.huge)
    return st.one_of(st.sampled_from(signed), *(between(-size, size, format) for size in sizes))


def between(low: float, high: float, format: Format) -> st.SearchStrategy[float]:
    """Numbers of a format between two ends."""
    if format.unit > FLOAT32.unit:
        return st.floats(format.nearest(low), format.nearest(high)).map(format.nearest)
    width: Any = 32 if format is FLOAT32 else 64
    return st.floats(format.nearest(low), format.nearest(high), width=width)


@st.composite
def operands(
    draw: st.DrawFn, format: Format, among: st.SearchStrategy[float] | None = None
) -> Operand:
    """An operand whose target holds one of the given numbers, or one close to it."""
    number = draw(numbers(format) if among is None else among)
    if draw(st.booleans()):
        bounded = Bounded.exact(number, format)
    else:
        assume(abs(number) <= format.huge / 2)
        if draw(st.integers(0, 3)) == 0:
            # float64 inside: not rounded to the format yet
            number *= 1 + draw(st.integers(-5, 5)) * 2 * FLOAT64.unit
        value = draw(
            st.integers(-9, 9).map(lambda k: number * (1 + k * format.unit))
            | st.floats(-0.9, 0.9).map(lambda s: number * (1 + s))
            | st.floats(-2, 2).map(lambda s: number + s * format.tiny)
            | st.sampled_from([0.0, number, -number])
        )
        assume(abs(value) <= format.huge / 2)
        off = float(abs(Fraction(number) - Fraction(value)))
        error = math.nextafter(off, math.inf) * draw(st.sampled_from([1.0, 1.5, 1e3]))
        if abs(number) < format.tiny:
            error = max(error, abs(value))  # where a number may be subnormal it may be zero
        bounded = Bounded(value, error, format)
    held: Number = Fraction(number)
    if draw(st.booleans()):
        held = flushed(held, format)
    assert isinstance(held, Fraction)
    return Operand(draw(st.sampled_from([bounded, in_array(bounded)])), held)


def in_array(x: Bounded) -> Bounded:
    """A number as the first of an array: scalars take another path through the code."""
    return Bounded(np.array([x.value, 0.0, 1.5]), np.array([x.error, 0.0, 0.5]), x.format)


@st.composite
def pairs(draw: st.DrawFn, format: Format) -> tuple[Operand, Operand]:
    """Two operands, often so close in size that they cancel."""
    x = draw(operands(format))
    near = [
        rounded(sign * x.held * (1 + k * Fraction(format.unit)), format)
        for sign, k in itertools.product((1, -1), (-2, 0, 2, 8))
    ]
    finite = [float(y) for y in near if isinstance(y, Fraction)]
    return x, draw(operands(format) | operands(format, st.sampled_from(finite)))


@formats
@given(data=st.data())
def test_the_rounding_of_this_test_is_that_of_numpy(format: Format, data: st.DataObject) -> None:
    x, y = data.draw(numbers(format)), data.draw(numbers(format))
    native = np.dtype(format.name).type
    for operation in (operator.add, operator.sub, operator.mul):
        expected = fraction(operation(native(x), native(y)))
        assert beyond(rounded(operation(Fraction(x), Fraction(y)), format), format) == expected
    if y != 0:
        expected = fraction(native(x) / native(y))
        assert beyond(rounded(Fraction(x) / Fraction(y), format), format) == expected


def beyond(x: Number, format: Format) -> Number:
    """What a number becomes in memory: infinite where the format does not hold it."""
    if isinstance(x, Fraction) and abs(x) > Fraction(format.huge):
        return math.inf if x > 0 else -math.inf
    return x


# Sums, products and quotients


def quotient(x: Fraction, y: Fraction) -> Number:
    if y == 0:
        return math.inf if x else math.nan
    return x / y


Operation = Callable[[Any, Any], Any]
BINARY: dict[str, tuple[Operation, Operation]] = {
    "+": (operator.add, operator.add),
    "-": (operator.sub, operator.sub),
    "*": (operator.mul, operator.mul),
    "/": (operator.truediv, quotient),
}
binary = pytest.mark.parametrize(("operation", "exactly"), BINARY.values(), ids=BINARY)


@formats
@binary
@given(data=st.data())
def test_arithmetic(
    operation: Operation, exactly: Operation, format: Format, data: st.DataObject
) -> None:
    x, y = data.draw(pairs(format))
    bounded = operation(x.bounded, y.bounded)
    assert bounded.format is format
    free = x.is_zero or y.is_zero
    roundings = SUM_ROUNDINGS if exactly in (operator.add, operator.sub) else ROUNDINGS
    assert_admitted(bounded, computed(exactly(x.held, y.held), format, free, roundings))
    native = np.dtype(format.name).type
    if all(format.nearest(float(held)) == held for held in (x.held, y.held)):
        result = fraction(operation(native(float(x.held)), native(float(y.held))))
        if isinstance(result, Fraction) or format.range is format:
            assert_admitted(bounded, [result])


@formats
@binary
@given(data=st.data(), literal=st.sampled_from([0, 1, 3, 2**60 + 1, 1.0, 0.1, 0.96, -1e-3, 1e-45]))
def test_arithmetic_with_python_numbers(
    operation: Operation, exactly: Operation, format: Format, data: st.DataObject, literal: float
) -> None:
    x = data.draw(operands(format))
    # what a target makes of it: a number of its format, of float64, or just what is written
    for number in (
        rounded(Fraction(literal), format),
        flushed(rounded(Fraction(literal), format), format),
        rounded(Fraction(literal), FLOAT64),
        Fraction(literal),
    ):
        free = x.is_zero or literal == 0
        left, right = exactly(number, x.held), exactly(x.held, number)
        assert_admitted(operation(literal, x.bounded), computed(left, format, free))
        assert_admitted(operation(x.bounded, literal), computed(right, format, free))


def test_an_integer_that_float64_does_not_hold_is_rounded() -> None:
    difference = 2**60 + 1 - Bounded.exact(2.0**60, FLOAT64)
    assert_admitted(difference, [Fraction(1)])


@formats
@given(data=st.data())
def test_a_quotient_may_be_a_product_with_the_reciprocal(
    format: Format, data: st.DataObject
) -> None:
    size = min(2.0**60, 2.0**-6 / format.tiny)
    sizes = between(1 / size, size, format)  # whose reciprocals are normal too
    x, y = data.draw(operands(format, sizes)), data.draw(operands(format, sizes))
    reciprocal = rounded(1 / y.held, format)
    assert isinstance(reciprocal, Fraction)
    assert_admitted(x.bounded / y.bounded, [rounded(x.held * reciprocal, format)])


@formats
@given(data=st.data())
def test_negation_and_absolute_value(format: Format, data: st.DataObject) -> None:
    x = data.draw(operands(format))
    assert_admitted(-x.bounded, [-x.held])
    assert_admitted(BOUNDS.abs(x.bounded), [abs(x.held)])


# Conversions


@binary
@given(data=st.data())
def test_a_float64_scalar_meets_a_float32_number(
    operation: Operation, exactly: Operation, data: st.DataObject
) -> None:
    x, y = data.draw(operands(FLOAT64)), data.draw(operands(FLOAT32))
    converted = rounded(x.held, FLOAT32)
    bounded, reflected = operation(x.bounded, y.bounded), operation(y.bounded, x.bounded)
    assert bounded.format is FLOAT32
    for held in (converted, flushed(converted, FLOAT32), x.held):
        if isinstance(held, Fraction):
            free = x.is_zero or y.is_zero
            assert_admitted(bounded, computed(exactly(held, y.held), FLOAT32, free))
            assert_admitted(reflected, computed(exactly(y.held, held), FLOAT32, free))


@given(value=st.floats(1e-30, 1e30), data=st.data())
def test_a_float32_hyperparameter_is_rounded_or_not(value: float, data: st.DataObject) -> None:
    near = FLOAT32.nearest(value)
    bounded = Bounded(value, abs(value - near), FLOAT32)
    x = data.draw(operands(FLOAT32))
    for held in (Fraction(value), Fraction(near)):
        assert_admitted(1 - bounded, computed(1 - held, FLOAT32))
        assert_admitted(bounded * x.bounded, computed(held * x.held, FLOAT32))


@formats
@given(data=st.data())
def test_filling_an_array(format: Format, data: st.DataObject) -> None:
    x = data.draw(operands(FLOAT64))
    like = Bounded.exact(np.zeros((2, 3)), format)
    for bounded, shape in (
        (BOUNDS.full_like(like, x.bounded if x.bounded.ndim == 0 else 0.1), (2, 3)),
        (BOUNDS.scalar_like(like, x.bounded if x.bounded.ndim == 0 else 0.1), ()),
    ):
        held = x.held if x.bounded.ndim == 0 else Fraction(0.1)
        assert (bounded.shape, np.shape(bounded.error), bounded.format) == (shape, shape, format)
        result = rounded(held, format)
        assert_admitted(bounded, [result, flushed(result, format)])


# Powers, roots and cosines


@formats
@given(data=st.data(), n=st.integers(-5, 12))
def test_integer_powers(format: Format, data: st.DataObject, n: int) -> None:
    x = data.draw(operands(format))
    bounded = x.bounded**n
    if x.held == 0 and n < 0:
        assert_admitted(bounded, [math.inf])
    elif n in (0, 1):
        assert_admitted(bounded, [x.held**n])
    else:
        assert_admitted(bounded, computed(x.held**n, format))


@formats
@given(data=st.data(), n=st.integers(2, 3000))
def test_powers_by_repeated_products(format: Format, data: st.DataObject, n: int) -> None:
    x = data.draw(operands(format, between(0.5, 1, format)))
    base = np.dtype(format.name).type(float(x.held))
    assume(Fraction(float(base)) == x.held)
    running = squared = base
    for _ in range(n - 1):
        running = running * base
    for bit in f"{n:b}"[1:]:
        squared = squared * squared * (base if bit == "1" else base.dtype.type(1))
    assert_admitted(x.bounded**n, [fraction(running), fraction(squared)])
    if running >= format.tiny / format.unit:
        assert_admitted(x.bounded**-n, [fraction(1 / running)])


@formats
@given(data=st.data())
def test_real_powers(format: Format, data: st.DataObject) -> None:
    sizes = between(format.tiny, format.huge, format) | between(0.5, 2, format)
    x, y = data.draw(operands(format, sizes)), data.draw(operands(format, between(-6, 6, format)))
    bounded = x.bounded**y.bounded
    base, exponent = (mpmath.mpf(v.numerator) / v.denominator for v in (x.held, y.held))
    assert_admitted(bounded, computed(real(base**exponent), format))
    logarithm = rounded(real(mpmath.log(base)), format)
    product = rounded(y.held * logarithm, format) if isinstance(logarithm, Fraction) else 0
    assert isinstance(product, Fraction)
    power = mpmath.exp(mpmath.mpf(product.numerator) / product.denominator)
    assert_admitted(bounded, [rounded(real(power), format)])


@formats
def test_powers_of_zero_and_one(format: Format) -> None:
    power = Bounded(np.array([1.5, 0.5]), np.array([0.1, 0.7]), format)
    zero = 0.0**power
    np.testing.assert_array_equal(zero.value, 0)
    np.testing.assert_array_equal(zero.error, [0, math.inf])
    one = 1.0**power
    np.testing.assert_array_equal(one.value, 1)
    assert (one.error < 12 * format.unit).all()


def test_a_power_that_underflows_may_not_do_so_in_the_target() -> None:
    power = Bounded(FLOAT64.tiny, 0.0, FLOAT64) ** Bounded(1.125, 0.375, FLOAT64)
    assert power.value == 0
    assert FLOAT64.tiny**0.75 < power.error < math.inf


def test_an_integer_power_whose_derivative_underflows() -> None:
    held = 5.265614583427862e64
    power = Bounded(held * (1 + 2.0**-51), held * 2.0**-50, FLOAT64) ** -4
    assert_admitted(power, computed(Fraction(held) ** -4, FLOAT64))
    assert power.error > 4 * 2.0**-50 * power.value


@given(y=operands(FLOAT64, st.floats(0, 20)))
def test_powers_of_a_literal(y: Operand) -> None:
    exponent = mpmath.mpf(y.held.numerator) / y.held.denominator
    assert_admitted(0.96**y.bounded, computed(real(mpmath.mpf(0.96) ** exponent), FLOAT64))


@formats
@given(data=st.data())
def test_square_roots(format: Format, data: st.DataObject) -> None:
    x = data.draw(operands(format, numbers(format).map(abs)))
    bounded = BOUNDS.sqrt(x.bounded)
    root = mpmath.sqrt(mpmath.mpf(x.held.numerator) / x.held.denominator)
    assert_admitted(bounded, computed(real(root), format))
    native = np.dtype(format.name).type(float(x.held))
    if Fraction(float(native)) == x.held:
        assert_admitted(bounded, [fraction(np.sqrt(native))])


@formats
@given(data=st.data())
def test_cosines(format: Format, data: st.DataObject) -> None:
    x = data.draw(operands(format, between(-1e4, 1e4, format)))
    argument = mpmath.mpf(x.held.numerator) / x.held.denominator
    bounded = BOUNDS.cos(x.bounded)
    for reduced in (argument, argument * (1 + format.unit), argument * (1 - format.unit)):
        assert_admitted(bounded, computed(real(mpmath.cos(reduced)), format))


def test_the_powers_and_cosines_of_the_reference_are_good_to_four_units() -> None:
    random = np.random.default_rng(1)
    x, y = random.uniform(0.5, 8, 4000), random.uniform(-30, 30, 4000)
    for found, function, arguments in (
        (x**y, lambda a, b: mpmath.mpf(a) ** mpmath.mpf(b), (x, y)),
        (x**7.0, lambda a: mpmath.mpf(a) ** 7, (x,)),
        (np.cos(y), mpmath.cos, (y,)),
    ):
        for got, *at in zip(found, *arguments, strict=True):
            exact = function(*map(float, at))
            assert abs(got - exact) <= 8 * FLOAT64.unit * abs(exact)


# Choices


@formats
@given(data=st.data())
def test_maximum_minimum_and_sign(format: Format, data: st.DataObject) -> None:
    x, y = data.draw(pairs(format))
    assert_admitted(BOUNDS.maximum(x.bounded, y.bounded), [max(x.held, y.held)])
    assert_admitted(BOUNDS.minimum(x.bounded, y.bounded), [min(x.held, y.held)])
    assert_admitted(BOUNDS.maximum(x.bounded, 0.0), [max(x.held, Fraction(0))])
    assert_admitted(BOUNDS.minimum(1, y.bounded), [min(y.held, Fraction(1))])
    assert_admitted(BOUNDS.sign(x.bounded), [Fraction((x.held > 0) - (x.held < 0))])


RELATIONS = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)


@formats
@pytest.mark.parametrize("relation", RELATIONS, ids=[r.__name__ for r in RELATIONS])
@given(data=st.data())
def test_comparisons_and_where(relation: Operation, format: Format, data: st.DataObject) -> None:
    x, y = data.draw(pairs(format))
    a, b = data.draw(pairs(format))
    truth = relation(x.bounded, y.bounded)
    holds = relation(x.held, y.held)
    if np.ravel(truth.certain)[0]:
        assert np.ravel(truth.holds)[0] == holds
    assert_admitted(BOUNDS.where(truth, a.bounded, b.bounded), [a.held if holds else b.held])
    assert_admitted(BOUNDS.where(~truth, a.bounded, b.bounded), [b.held if holds else a.held])
    assert_admitted(BOUNDS.where(truth, a.bounded, 0.0), [a.held if holds else Fraction(0)])


@formats
@given(data=st.data())
def test_conditions_combine(format: Format, data: st.DataObject) -> None:
    x, y = data.draw(pairs(format))
    positive, other = x.bounded > 0, y.bounded > 0
    for truth, holds in (
        (positive & other, x.held > 0 and y.held > 0),
        (positive | other, x.held > 0 or y.held > 0),
        (positive & True, x.held > 0),
        (positive | True, True),
        (True & positive, x.held > 0),
        (False | other, y.held > 0),
    ):
        if np.ravel(truth.certain)[0]:
            assert np.ravel(truth.holds)[0] == holds


# Sums over many


@st.composite
def arrays(draw: st.DrawFn, format: Format) -> tuple[Bounded, list[Fraction]]:
    """Up to eight operands as one array."""
    xs = draw(st.lists(operands(format), min_size=1, max_size=8))
    return (
        Bounded(
            np.array([np.ravel(x.bounded.value)[0] for x in xs]),
            np.array([np.ravel(x.bounded.error)[0] for x in xs]),
            format,
        ),
        [x.held for x in xs],
    )


def added(terms: Sequence[Fraction], format: Format, flush: bool) -> Number:
    """The sum from left to right, each partial sum rounded."""
    total: Number = terms[0]
    for term in terms[1:]:
        if isinstance(total, float):
            return total
        total = rounded(total + term, format)
        total = flushed(total, format) if flush else total
    return total


@formats
@given(data=st.data(), flush=st.booleans())
def test_sums_and_means(format: Format, data: st.DataObject, flush: bool) -> None:
    x, held = data.draw(arrays(format))
    order = data.draw(st.permutations(held))
    middle = data.draw(st.integers(0, len(held)))
    halves = [added(part, format, flush) for part in (order[:middle], order[middle:]) if part]
    finite = [half for half in halves if isinstance(half, Fraction)]
    total = added(finite, format, flush) if finite == halves else math.inf
    assert_admitted(BOUNDS.sum(x), [total])
    assert_admitted(BOUNDS.sum(x), computed(sum(held, Fraction(0)), format, len(held) == 1))
    mean = BOUNDS.mean(Bounded(x.value[:, None], x.error[:, None], format), (0,))
    assert mean.shape == (1, 1)
    n = len(held)
    share = rounded(total / n, format) if n > 1 and isinstance(total, Fraction) else total
    assert_admitted(mean, [share])


@formats
def test_a_sum_that_may_overflow_is_still_one_number(format: Format) -> None:
    huge = float(format.range.huge)
    for value, error in (([huge, huge], math.inf), ([math.inf, 1.0], 0.0)):
        total = BOUNDS.sum(Bounded.exact(np.array(value), format))
        assert np.shape(total.value) == np.shape(total.error) == ()
        assert total.error == error


@formats
@given(data=st.data())
def test_the_largest_element(format: Format, data: st.DataObject) -> None:
    x, held = data.draw(arrays(format))
    assert_admitted(BOUNDS.max(x), [max(held)])


def test_the_largest_element_is_as_uncertain_as_those_that_it_may_be() -> None:
    def largest(value: list[float], error: list[float]) -> tuple[float, float]:
        found = BOUNDS.max(Bounded(np.array(value), np.array(error), FLOAT64))
        return float(found.value), float(found.error)

    assert largest([1.0, 5.0, 3.0], [9.0, 0.5, 0.25]) == (5.0, 9.0)
    assert largest([1.0, 5.0, 3.0], [1.0, 0.5, 0.25]) == (5.0, 0.5)
    assert largest([], []) == (-math.inf, 0.0)


@formats
def test_a_sum_may_lose_one_unit_an_addition(format: Format) -> None:
    terms = np.array([1.0, *[0.99 * format.unit] * 200]).astype(format.name)
    total = added([Fraction(float(term)) for term in terms], format, flush=False)
    assert total == 1
    assert_admitted(BOUNDS.sum(Bounded.exact(terms, format)), [total])


@given(data=st.data())
def test_a_mean_may_be_a_sum_of_shares(data: st.DataObject) -> None:
    terms = data.draw(st.lists(between(0.5, 2, FLOAT32), min_size=2, max_size=9))
    share = np.float32(1 / len(terms))
    total = np.float32(0)
    for term in terms:
        total = total + np.float32(term) * share
    mean = BOUNDS.mean(Bounded.exact(np.array(terms), FLOAT32), (0,))
    assert_admitted(mean, [fraction(total)])


@formats
@given(data=st.data())
def test_any(format: Format, data: st.DataObject) -> None:
    x, held = data.draw(arrays(format))
    truth = BOUNDS.any(x, (0,))
    assert truth.holds.shape == (1,)
    if truth.certain[0]:
        assert truth.holds[0] == any(held)
    assert BOUNDS.any(x, ()).holds.shape == x.shape


@formats
def test_any_is_certain_where_one_is_or_none_can_be(format: Format) -> None:
    value = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    error = np.array([[0.0, 0.5], [0.0, 0.5], [0.0, 0.0], [2.0, 0.0]])
    truth = BOUNDS.any(Bounded(value, error, format), (1,))
    np.testing.assert_array_equal(truth.certain[:, 0], [True, False, True, False])
    np.testing.assert_array_equal(truth.holds[:, 0], [True, False, False, True])


# What is exact


@formats
@pytest.mark.parametrize("shape", [(), (3,)])
def test_exact_zeros_stay_exact(format: Format, shape: tuple[int, ...]) -> None:
    zero = Bounded.exact(np.zeros(shape), format)
    x = Bounded(np.full(shape, 1.5), np.full(shape, 1e-3), format)
    beta = Bounded(0.9, 0.0, FLOAT64)
    for exact in (
        *(0 * x, x * 0, beta * zero, zero * x, zero / x, 0 / x, -zero, zero - zero),
        *(zero**2, zero**3, BOUNDS.sqrt(zero), BOUNDS.abs(zero), BOUNDS.sign(zero)),
        *(BOUNDS.sum(zero), BOUNDS.mean(zero, tuple(range(zero.ndim)))),
        *(BOUNDS.maximum(zero, 0.0), BOUNDS.zeros_like(x), BOUNDS.where(x > 0, zero, x)),
    ):
        np.testing.assert_array_equal(exact.value, 0)
        np.testing.assert_array_equal(exact.error, 0)
    for same in (x + 0, 0 + x, x - zero, zero + x, BOUNDS.where(x > 0, x, zero), x**1):
        np.testing.assert_array_equal(same.value, x.value)
        np.testing.assert_array_equal(same.error, x.error)
    np.testing.assert_array_equal((x**0).error, 0)


@formats
def test_zeros_among_other_numbers_stay_exact(format: Format) -> None:
    x = Bounded.exact(np.array([0.0, 1.1, 0.0, 1e-3]), format)
    y = Bounded(np.array([2.0, 2.0, 0.0, 0.0]), np.array([0.1, 0.1, 0.1, 0.0]), format)
    np.testing.assert_array_equal((x * y).error == 0, [True, False, True, True])
    np.testing.assert_array_equal((x / y).error == 0, [True, False, False, True])
    np.testing.assert_array_equal((x + y).error == y.error, [True, False, True, True])
    np.testing.assert_array_equal((x + y).error == x.error, [False, False, False, True])
    np.testing.assert_array_equal((y - x).error == y.error, [True, False, True, True])
    np.testing.assert_array_equal(BOUNDS.sign(x).error, 0)


@formats
def test_a_sign_is_known_away_from_zero(format: Format) -> None:
    x = Bounded(np.array([0.0, 1.0, 1.0, -1.0, -1.0]), np.array([0.1, 0.9, 1.0, 0.5, 2.0]), format)
    sign = BOUNDS.sign(x)
    np.testing.assert_array_equal(sign.value, [0, 1, 1, -1, -1])
    np.testing.assert_array_equal(sign.error, [1, 0, 1, 0, 2])


@formats
def test_a_choice_that_is_certain_has_the_error_of_what_it_takes(format: Format) -> None:
    x = Bounded(np.array([1.0, 1.0]), np.array([0.25, 0.75]), format)
    y = Bounded(np.array([2.0, 2.0]), np.array([0.5, 0.5]), format)
    np.testing.assert_array_equal(BOUNDS.maximum(x, y).error, [0.5, 0.75])
    np.testing.assert_array_equal(BOUNDS.minimum(x, y).error, [0.25, 0.75])
    chosen = BOUNDS.where(x < y, x, y)
    np.testing.assert_array_equal(chosen.value, [1, 1])
    np.testing.assert_allclose(chosen.error, [0.25, 1.5], rtol=1e-9)
    np.testing.assert_array_equal((x < y).certain, [True, False])


def test_a_number_of_the_format_is_converted_without_error() -> None:
    x = Bounded.exact(np.array([1.5]), FLOAT32)
    assert (Bounded(0.5, 0.0, FLOAT64) + 0 * x).error == 0
    assert (Bounded(0.1, 0.0, FLOAT64) + 0 * x).error > 0
    assert BOUNDS.full_like(x, 0.5).error == 0
    assert BOUNDS.full_like(x, 0.1).error == pytest.approx(0.1 * FLOAT32.unit)


@pytest.mark.parametrize(
    ("format", "number", "held"),
    [
        (FLOAT32, 0.0, True),
        (FLOAT32, 1 + 2.0**-23, True),
        (FLOAT32, 1 + 2.0**-24, False),
        (FLOAT32, FLOAT32.huge, True),
        (FLOAT32, 2.0**128, False),
        (FLOAT32, -FLOAT32.tiny, True),
        (FLOAT32, FLOAT32.tiny / 2, False),
        (FLOAT64, 0.1, True),
        (FLOAT64, FLOAT64.tiny / 2, False),
        (FLOAT64, math.inf, False),
    ],
)
def test_what_a_format_holds(format: Format, number: float, held: bool) -> None:
    assert format.holds(number) is held


# Subnormal numbers


@precise
def test_the_smallest_normal_is_added_only_where_a_result_may_be_subnormal(format: Format) -> None:
    x = Bounded.exact(np.array([4 * format.tiny, 0.5 * format.tiny]), format)
    for y in (x * 0.75, x + x, x / 1.5):
        normal, subnormal = y.error
        assert normal < format.tiny / 1e4
        assert subnormal > format.tiny / 2
    near = Bounded.exact(np.array([1.5 * format.tiny, -format.tiny]), format)
    assert BOUNDS.sum(near).error > format.tiny / 2
    far = Bounded.exact(np.full(3, 2 * format.tiny / format.unit), format)
    assert BOUNDS.sum(far).error < format.tiny * 100


@formats
def test_a_given_subnormal_may_be_taken_for_zero(format: Format) -> None:
    x = Bounded.exact(np.array([format.tiny / 4, -format.tiny / 4, format.tiny]), format)
    np.testing.assert_array_equal(x.error, [format.tiny / 4, format.tiny / 4, 0])
    np.testing.assert_array_equal(BOUNDS.sign(x).error, [1, 1, 0])


# Infinities and NaN


@without_wide
def test_nothing_is_known_where_a_result_may_overflow(format: Format) -> None:
    x = Bounded.exact(np.array([format.huge, 1.0]), format)
    for y in (x * 1.5, x + x, x / 0.5, x * x, x**3, BOUNDS.sum(x)):
        assert np.ravel(y.error)[0] == math.inf
        for z in (y - y, y * 0, 0 * y, 1 / y, BOUNDS.sqrt(BOUNDS.abs(y)), BOUNDS.sign(y)):
            assert np.ravel(z.error)[0] == math.inf


@formats
def test_what_no_order_of_evaluation_makes_finite(format: Format) -> None:
    x = Bounded.exact(np.array([math.inf, -math.inf, math.nan]), format)
    for y in (x + 1, x - x, 0.9 * x, x * x, x / 2.0, BOUNDS.sum(x), -x, 0 * x, x**3):
        assert not np.isfinite(y.value).any()
        np.testing.assert_array_equal(y.error, 0)
    zero = Bounded.exact(np.zeros(()), format)
    for y in (zero / zero, 1 / zero, zero**-3):
        assert (np.isfinite(y.value), y.error) == (False, 0)
    assert BOUNDS.minimum(1.0, 2 / zero).error == 0
    assert BOUNDS.minimum(1.0, 2 / zero).value == 1


@formats
def test_nothing_is_known_of_a_quotient_by_what_may_be_zero(format: Format) -> None:
    x, y = Bounded(1.0, 0.1, format), Bounded(0.5, 0.5, format)
    assert (x / y).error == math.inf
    assert (x / (y - y)).error == math.inf
    assert (0 / y).error == math.inf
    assert ((y - 1) / Bounded(0.0, 0.0, format)).error == math.inf
    assert (y**-1).error == math.inf


@precise
def test_a_root_of_what_may_be_below_zero(format: Format) -> None:
    x = Bounded(np.array([-1e-9, 1e-9, -1.0]), np.array([1e-8, 1e-8, 0.5]), format)
    root = BOUNDS.sqrt(x)
    assert root.value[0] == 0
    assert math.sqrt(9e-9) <= root.error[0] <= 1.1 * math.sqrt(1e-8)
    assert root.error[1] == pytest.approx(math.sqrt(1.1e-8) - math.sqrt(1e-9), rel=1e-3)
    assert (np.isnan(root.value[2]), root.error[2]) == (True, math.inf)


def test_comparisons_are_not_for_branches() -> None:
    x = Bounded(1.0, 0.0, FLOAT32)
    with pytest.raises(TypeError, match=r"xp\.where"):
        assert x > 0


# Distances


def test_distance() -> None:
    value = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    error = np.array([0.5, 0.5, 0.0, 0.0, math.inf, math.inf])
    got = np.array([1.25, 2.0, 2.0, np.nextafter(2.0, 3.0), 7.0, math.nan])
    expected = Bounded(value, error, FLOAT64)
    np.testing.assert_array_equal(distance(got, expected), [0.5, 2, 0, math.inf, 0, 0])


def test_distance_from_infinities_and_nan() -> None:
    numbers = np.array([1.0, math.inf, -math.inf, math.nan])
    far = math.inf
    expected = [[0, far, far, far], [far, 0, far, 0], [far, far, 0, 0], [far, 0, 0, 0]]
    got = [distance(numbers, Bounded.exact(np.full(4, x), FLOAT32)) for x in numbers]
    np.testing.assert_array_equal(got, expected)


def test_distance_of_numbers_without_dimensions_and_of_nothing() -> None:
    assert distance(np.float32(1.5), Bounded.exact(np.float32(1), FLOAT32)) == math.inf
    assert distance(np.zeros(0), Bounded.exact(np.zeros(0), FLOAT32)).shape == (0,)


# Tightness


@precise
def test_bounds_of_single_operations_are_tight(format: Format) -> None:
    random = np.random.default_rng(0)
    x, y = (random.uniform(0.5, 4, 4000).astype(format.name) for _ in range(2))
    a, b = Bounded.exact(x, format), Bounded.exact(y, format)
    precise = np.vectorize(lambda number: mpmath.mpf(float(number)), otypes=[object])
    root = np.vectorize(mpmath.sqrt, otypes=[object])
    p, q = precise(x), precise(y)
    own = format is FLOAT64  # of the reference, beside those of the target
    for bounded, once, exactly, roundings in (
        (a + b, x + y, p + q, SUM_ROUNDINGS),
        (a - b, x - y, p - q, SUM_ROUNDINGS),
        (a * b, x * y, p * q, ROUNDINGS),
        (a / b, x / y, p / q, ROUNDINGS),
        (a**2, x * x, p * p, ROUNDINGS),
        (BOUNDS.sqrt(a), np.sqrt(x), root(p), ROUNDINGS),
    ):
        attained = max(abs(precise(once) - exactly) / bounded.error)
        assert 0.9 <= attained * (roundings + own) <= 1.001


@precise
def test_bounds_of_propagated_errors_are_tight(format: Format) -> None:
    random = np.random.default_rng(0)
    x, y = random.uniform(1, 2, (2, 100))
    dx, dy = random.uniform(-1e-3, 1e-3, (2, 100))
    a, b = Bounded(x, abs(dx), format), Bounded(y, abs(dy), format)
    for bounded, value, moved in (
        (a + b, x + y, (x + dx) + (y + dy)),
        (a - b, x - y, (x + dx) - (y + dy)),
        (a * b, x * y, (x + dx) * (y + dy)),
        (a / b, x / y, (x + dx) / (y + dy)),
        (a**2, x**2, (x + dx) ** 2),
        (a**7, x**7, (x + dx) ** 7),
        (a**-3, x**-3.0, (x + dx) ** -3.0),
        (a**b, x**y, (x + dx) ** (y + dy)),
        (BOUNDS.sqrt(a), np.sqrt(x), np.sqrt(x + dx)),
        (BOUNDS.sum(a), np.sum(x), np.sum(x + abs(dx))),
    ):
        assert 0.9 <= np.max(abs(moved - value) / bounded.error) <= 1
