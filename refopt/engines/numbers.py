"""The Python numbers of a step, recorded with what they decided.

A rule computes with Python numbers before they meet an array (``1 - beta2**t``), and branches on
them (``t % k == 0``). Recorded once, they are computed again for a later step by the same
operations, in the same order and in float64; as long as every decision falls as it fell, the
operations on arrays are the recorded ones too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

Scalar = Any
"""A Python number, or one that is recorded."""


class Numbers:
    """A recording: what is given, constants, and what is computed and decided in turn."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        """Those of the step that was recorded, by place."""
        self.given = 0
        self._constants: dict[tuple[type, str], int] = {}
        self._code: list[tuple[Callable[..., Any], tuple[int, ...], int | None, bool]] = []

    def give(self, value: float) -> Number:
        """A number that each step brings; all of them come before anything else."""
        assert self.given == len(self.values)
        self.given += 1
        return self._placed(value)

    def place(self, x: Scalar) -> int:
        """The place of a number; one that is not recorded is a constant."""
        if isinstance(x, Number):
            return x.place
        key = type(x), repr(x)  # 0.0 is not -0.0, and NaN is NaN
        if key not in self._constants:
            self._constants[key] = self._placed(x).place
        return self._constants[key]

    def is_one(self, place: int) -> bool:
        """Whether the number at a place is 1 at every step."""
        return place in self._constants.values() and self.values[place] == 1

    def compute(self, function: Callable[..., Any], *arguments: Scalar) -> Number:
        """Applies a function, now and at every later step."""
        places = tuple(map(self.place, arguments))
        found = self._placed(function(*(self.values[i] for i in places)))
        self._code.append((function, places, found.place, False))
        return found

    def decide(self, function: Callable[..., bool], *arguments: Scalar) -> bool:
        """What a function says now; a step of which it says otherwise is not this one."""
        places = tuple(map(self.place, arguments))
        outcome = bool(function(*(self.values[i] for i in places)))
        self._code.append((function, places, None, outcome))
        return outcome

    def again(self, given: Sequence[float]) -> list[Any] | None:
        """All numbers of another step, by place; None if something is decided otherwise."""
        values = self.values.copy()
        values[: self.given] = given
        for function, places, place, outcome in self._code:
            value = function(*[values[i] for i in places])
            if place is not None:
                values[place] = value
            elif bool(value) is not outcome:
                return None
        return values

    def _placed(self, value: Any) -> Number:
        self.values.append(value)
        return Number(self, len(self.values) - 1)


def _operation(function: Callable[..., Any], reflected: bool = False) -> Callable[..., Any]:
    def method(self: Number, other: Any) -> Any:
        if not isinstance(other, Number | int | float):
            return NotImplemented
        pair = (other, self) if reflected else (self, other)
        return self.numbers.compute(function, *pair)

    return method


def _comparison(function: Callable[..., bool]) -> Callable[..., Any]:
    def method(self: Number, other: Any) -> Any:
        if not isinstance(other, Number | int | float):
            return NotImplemented
        return self.numbers.decide(function, self, other)

    return method


class Number:
    """A Python number of a step. What asks for its value decides by it."""

    __slots__ = ("numbers", "place")

    def __init__(self, numbers: Numbers, place: int) -> None:
        self.numbers = numbers
        self.place = place

    __add__ = _operation(operator.add)
    __radd__ = _operation(operator.add, reflected=True)
    __sub__ = _operation(operator.sub)
    __rsub__ = _operation(operator.sub, reflected=True)
    __mul__ = _operation(operator.mul)
    __rmul__ = _operation(operator.mul, reflected=True)
    __truediv__ = _operation(operator.truediv)
    __rtruediv__ = _operation(operator.truediv, reflected=True)
    __floordiv__ = _operation(operator.floordiv)
    __rfloordiv__ = _operation(operator.floordiv, reflected=True)
    __mod__ = _operation(operator.mod)
    __rmod__ = _operation(operator.mod, reflected=True)
    __pow__ = _operation(operator.pow)
    __rpow__ = _operation(operator.pow, reflected=True)
    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)
    __eq__ = _comparison(operator.eq)
    __ne__ = _comparison(operator.ne)

    def __neg__(self) -> Number:
        return self.numbers.compute(operator.neg, self)

    def __abs__(self) -> Number:
        return self.numbers.compute(operator.abs, self)

    def __bool__(self) -> bool:
        return self.numbers.decide(bool, self)

    def __hash__(self) -> int:
        return hash(self._value())

    def __float__(self) -> float:
        return float(self._value())

    def __index__(self) -> int:
        return operator.index(self._value())

    def _value(self) -> Any:
        value = self.numbers.values[self.place]
        self.numbers.decide(_same, self, value)
        return value


def _same(x: float, y: float) -> bool:
    return type(x) is type(y) and repr(x) == repr(y)
