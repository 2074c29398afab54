"""Python numbers recorded once and computed again: those of the same operations, or none."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refopt.engines.graph import RECORDING
from refopt.engines.numbers import Number, Numbers
from refopt.xp import ArrayNamespace

PLAIN = ArrayNamespace(None)


def recorded(*values: float) -> tuple[Numbers, list[Any]]:
    numbers = Numbers()
    return numbers, [numbers.give(value) for value in values]


OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
]
POSITIVE = st.floats(0.5, 4) | st.integers(1, 5)


@pytest.mark.parametrize("operation", OPERATORS)
@given(x=POSITIVE, y=POSITIVE, later=st.tuples(POSITIVE, POSITIVE))
def test_operations_are_those_of_python(
    operation: Callable[..., Any], x: float, y: float, later: tuple[float, float]
) -> None:
    numbers, (a, b) = recorded(x, y)
    results = [operation(a, b), operation(a, 3), operation(0.3, b)]
    for u, v in ((x, y), later):
        values = numbers.again((u, v))
        assert values is not None
        expected = [operation(u, v), operation(u, 3), operation(0.3, v)]
        for number, value in zip(results, expected, strict=True):
            got = values[number.place]
            assert (type(got), got) == (type(value), value)


@given(st.floats(-4, 4), st.floats(-4, 4))
def test_functions_are_those_of_numbers(x: float, later: float) -> None:
    numbers, (a,) = recorded(x)
    calls: list[Callable[[Any, Any], Any]] = [
        lambda xp, u: xp.sqrt(u),
        lambda xp, u: xp.cos(u),
        lambda xp, u: xp.abs(u),
        lambda xp, u: xp.maximum(u, 0.5),
        lambda xp, u: xp.minimum(1, u),
        lambda xp, u: -u,
    ]
    results = [call(RECORDING, a) for call in calls]
    values = numbers.again((later,))
    assert values is not None
    for call, number in zip(calls, results, strict=True):
        assert repr(values[number.place]) == repr(call(PLAIN, later))
    # Numbers that are not recorded stay what they are.
    assert RECORDING.sqrt(4.0) == 2.0
    assert RECORDING.cos(0.0) == 1.0
    assert RECORDING.maximum(1, 2) == 2


def test_a_step_in_which_something_is_decided_otherwise_is_another() -> None:
    numbers, (t,) = recorded(6)
    assert t % 3 == 0
    half = t / 2
    assert numbers.again((9,))[half.place] == 4.5  # type: ignore[index]
    assert numbers.again((7,)) is None


def test_nothing_is_computed_after_a_decision_falls_otherwise() -> None:
    numbers, (t,) = recorded(2)
    assert t > 1
    number = 1 / (t - 1)
    assert numbers.again((3,))[number.place] == 0.5  # type: ignore[index]
    assert numbers.again((1,)) is None


@pytest.mark.parametrize("ask", [float, int, hash, math.exp, math.floor, bool, range])
def test_what_asks_for_the_value_decides_by_it(ask: Callable[[Any], Any]) -> None:
    numbers, (t,) = recorded(3)
    assert ask(t) == ask(3)
    assert numbers.again((3,)) is not None
    assert numbers.again((0,)) is None


def test_constants_are_one_number_each() -> None:
    numbers, (_,) = recorded(1)
    places: Sequence[Any] = (1, 1.0, 0.0, -0.0, math.nan, math.inf)
    assert len({numbers.place(x) for x in places}) == 6
    assert [numbers.place(x) for x in places] == [numbers.place(x) for x in places]
    # One that is given may be 1 now and another number later.
    assert [numbers.is_one(i) for i in range(4)] == [False, True, True, False]


def test_other_objects_are_asked_themselves() -> None:
    _, (t,) = recorded(1)
    assert isinstance(t, Number)
    assert t.__add__("a") is NotImplemented
    assert t.__lt__("a") is NotImplemented
    assert t != "a"
