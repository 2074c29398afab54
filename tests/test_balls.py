"""Balls against exact rationals and against correctly rounded functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

flint = pytest.importorskip("flint", reason="python-flint is not installed")

from refopt.arithmetic.balls import BALLS, Balls, Undecided, decided  # noqa: E402
from refopt.catalog import build  # noqa: E402
from refopt.xp import namespace  # noqa: E402

floats = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-6)
positive = floats.map(abs).filter(bool)


def rounded(compute: Callable[[], Balls]) -> Any:
    """What a computation gives in float64, correctly rounded."""
    return decided(lambda: compute().rounded())[()]


@given(floats, floats, floats, st.integers(-5, 5))
def test_sums_products_quotients_and_powers_are_exact(x: float, y: float, z: float, n: int) -> None:
    assume(y and z)
    exact = (Fraction(x) + Fraction(y)) * Fraction(z) / Fraction(y) - Fraction(x) + 3
    assert rounded(lambda: (Balls.exact(x) + y) * z / Balls.exact(y) - x + 3) == float(exact)
    assert rounded(lambda: Balls.exact(y) ** n) == float(Fraction(y) ** n)
    assert rounded(lambda: 1 - Balls.exact(x)) == float(1 - Fraction(x))
    assert rounded(lambda: x / Balls.exact(y)) == float(Fraction(x) / Fraction(y))


@given(st.integers(-1000, 1000), st.integers(1, 50), st.integers(1, 50))
def test_integers_divide_as_pythons_do(t: int, k: int, n: int) -> None:
    assert rounded(lambda: Balls.exact(t) % k) == t % k
    assert rounded(lambda: Balls.exact(t) // k) == t // k
    assert rounded(lambda: Balls.exact(t) / k) == float(Fraction(t, k))
    assert bool(Balls.exact(t)) is bool(t)
    assert BALLS.floor_log(Balls.exact(n), 3) == max(i for i in range(5) if 3**i <= n)


@given(positive)
def test_roots_are_correctly_rounded(x: float) -> None:
    assert rounded(lambda: BALLS.sqrt(Balls.exact(x))) == math.sqrt(x)  # as IEEE 754 demands
    assert rounded(lambda: BALLS.sqrt(Balls.exact(x) ** 2)) == x


@given(st.floats(-50, 50, allow_subnormal=False), positive, st.floats(-3, 3, allow_subnormal=False))
def test_cosines_and_powers_are_correctly_rounded(angle: float, x: float, y: float) -> None:
    with mpmath.workprec(400):
        cosine = float(mpmath.cos(mpmath.mpf(angle)))
        power = float(mpmath.power(mpmath.mpf(x), mpmath.mpf(y)))
    assert rounded(lambda: BALLS.cos(Balls.exact(angle))) == cosine
    assert rounded(lambda: Balls.exact(x) ** y) == power
    assert rounded(lambda: x ** Balls.exact(y)) == power


@given(floats, floats)
def test_comparisons_and_choices_are_those_of_the_numbers(x: float, y: float) -> None:
    a, b = Balls.exact(x), Balls.exact(y)
    assert ((a < b), (a <= b), (a > b), (a >= b)) == ((x < y), (x <= y), (x > y), (x >= y))
    assert ((a == b), (a != b), (a < y)) == ((x == y), (x != y), (x < y))
    assert rounded(lambda: BALLS.maximum(a, b)) == max(x, y)
    assert rounded(lambda: BALLS.minimum(x, b)) == min(x, y)
    assert rounded(lambda: BALLS.sign(a)) == np.sign(x)
    assert rounded(lambda: BALLS.abs(-a)) == abs(x)
    assert rounded(lambda: BALLS.asarray(BALLS.where(a < b, a, 0.0))) == (x if x < y else 0)


def test_ties_round_to_even_and_zero_has_no_sign() -> None:
    tie = Balls.exact(1.0) + 2.0**-53
    assert rounded(lambda: tie) == 1
    assert rounded(lambda: BALLS.sqrt(tie * tie)) == 1
    zero = rounded(lambda: -Balls.exact(0.0) * BALLS.sqrt(Balls.exact(2.0)))
    assert (zero, math.copysign(1, zero)) == (0, 1)


def test_what_no_precision_decides_is_an_error() -> None:
    def two() -> Balls:
        root: Balls = BALLS.sqrt(Balls.exact(2.0))
        return root**2

    with pytest.raises(Undecided, match="larger"):
        decided(lambda: BALLS.where(two() > 2, 1.0, 2.0))
    with pytest.raises(Undecided, match="nearest"):
        rounded(lambda: two() * (1 + Balls.exact(2.0**-53)))


def test_precision_grows_until_a_number_is_known() -> None:
    assert decided(lambda: BALLS.sqrt(Balls.exact(2.0)) * 2.0**-1000 + 1 > 1)
    tie = Balls.exact(1.0) + 2.0**-53
    assert rounded(lambda: tie - BALLS.sqrt(Balls.exact(2.0)) * 2.0**-1000) == 1
    assert rounded(lambda: tie + BALLS.sqrt(Balls.exact(2.0)) * 2.0**-1000) == 1 + 2.0**-52


def test_the_undefined_has_no_value_and_matters_only_where_it_is_used() -> None:
    undefined = Balls.exact([0.0, 1.0]) / Balls.exact([0.0, 2.0])
    kept = BALLS.where(np.array([False, True]), undefined, 3.0)
    assert rounded(lambda: kept).tolist() == [3.0, 0.5]
    for result in (undefined, BALLS.sqrt(Balls.exact(-1.0)), Balls.exact(0.0) * undefined):
        with pytest.raises(Undecided, match="undefined"):
            rounded(lambda result=result: result)  # type: ignore[misc]


def test_underflow_is_zero_and_overflow_an_error() -> None:
    vast = Balls.exact(1e300)  # as an exponent: of numbers that no memory could hold
    assert rounded(lambda: Balls.exact(2.0) ** -1075) == 0  # a tie
    assert rounded(lambda: Balls.exact(0.5) ** vast) == 0
    assert rounded(lambda: 1 - Balls.exact(0.5) ** vast) == 1
    for x in (Balls.exact(2.0) ** 1024, Balls.exact(2.0) ** 2000.5):
        with pytest.raises(OverflowError):
            decided(x.rounded)


def test_rationals_too_large_go_on_as_balls() -> None:
    def one() -> Balls:
        x, y = Balls.exact(3.0), Balls.exact(1.0) / 3
        for _ in range(20):  # to the power 2**20, of 1.6 million bits
            x, y = x * x, y * y
        assert isinstance(x.numbers[()], flint.arb)
        return x * y

    assert rounded(one) == 1


def test_reductions_keep_to_their_axes() -> None:
    x = np.arange(6.0).reshape(2, 3)
    balls = Balls.exact(x)
    assert namespace(balls) is BALLS
    assert rounded(lambda: BALLS.sum(balls)) == 15
    assert rounded(lambda: BALLS.sum(Balls.exact(np.zeros((0, 2))))) == 0
    assert rounded(lambda: BALLS.sum(balls, axis=(1,))).tolist() == [[3.0], [12.0]]
    assert rounded(lambda: BALLS.max(balls)) == 5
    assert rounded(lambda: BALLS.max(Balls.exact(-2.0))) == -2
    assert rounded(lambda: BALLS.mean(balls, axis=(1,))).tolist() == [[1.0], [4.0]]
    assert rounded(lambda: BALLS.mean(Balls.exact(2.0), axis=())) == 2
    assert BALLS.any(Balls.exact([[0.0, 0.0], [0.0, 2.0]]), axis=(1,)).tolist() == [[False], [True]]
    assert BALLS.any(Balls.exact(2.0), axis=()) is True


def test_the_precision_is_put_back() -> None:
    before = flint.ctx.prec
    decided(lambda: BALLS.sqrt(Balls.exact(2.0)).rounded())
    with pytest.raises(Undecided):
        decided((Balls.exact(0.0) / 0).rounded)
    assert flint.ctx.prec == before


@given(
    st.floats(0, 0.99),
    st.floats(0, 1),
    st.lists(st.tuples(floats, positive), min_size=1, max_size=5),
)
def test_an_optimizer_steps_without_rounding(
    momentum: float, dampening: float, steps: list[tuple[float, float]]
) -> None:
    optimizer = build("sgd").with_hyperparameters(
        momentum=momentum, dampening=dampening, nesterov=True
    )
    optimizer = optimizer.lifted(lambda _, value: Balls.exact(value))
    mu, kept = Fraction(momentum), 1 - Fraction(dampening)
    theta, b = Fraction(0.5), Fraction(0)
    params = Balls.exact(0.5)
    state = optimizer.init(params)
    for t, (g, lr) in enumerate(steps, 1):
        b = mu * b + kept * Fraction(g) if t > 1 else Fraction(g)
        theta -= Fraction(lr) * (Fraction(g) + mu * b if momentum else Fraction(g))
        params, state = optimizer.step(params, Balls.exact(g), state, lr=Balls.exact(lr))
        assert decided(params.rounded) == float(theta)
        assert decided(state[""]["sgd.b"].rounded) == float(b)
