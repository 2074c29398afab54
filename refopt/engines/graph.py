"""What a step computes, recorded: the optimizer runs once on arrays that write down what is done.

Nothing is restated: :meth:`refopt.Optimizer.advanced` runs on :class:`Recorded` arrays through
their own namespace, and what stays behind on the :class:`Tape` is the step as a list of operations.
Python numbers are recorded on their own (:mod:`refopt.engines.numbers`), and where they meet an
array they enter the tape by their place among all numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from refopt.engines.numbers import Number, Numbers, Scalar
from refopt.xp import Array, ArrayNamespace

Operation = tuple[Any, ...]
"""The name of an operation, and the positions of its arguments on the tape."""


class Kind(IntEnum):
    """How many elements a recorded array has; of two that meet the larger wins."""

    NUMBER = 0
    """A Python number."""
    POINT = 1
    """A 0-d array: a norm, or a product of scalars that a rule keeps."""
    ROW = 2
    """One element a row, on axes of length 1: what a reduction over some axes leaves."""
    FULL = 3
    """One element for each of the parameter."""


@dataclass
class Tape:
    """The operations of a step, in their order."""

    shapes: list[tuple[int, ...]]
    """Of the parameters, by their place in the step."""
    numbers: Numbers = field(default_factory=Numbers)
    """The one part that changes from step to step."""
    operations: list[Operation] = field(default_factory=list)
    nodes: list[Recorded] = field(default_factory=list)
    _known: dict[tuple[Operation, Kind, int], Recorded] = field(default_factory=dict)

    def add(self, operation: Operation, kind: Kind, leaf: int, boolean: bool = False) -> Recorded:
        """Writes an operation down, once."""
        key = operation, kind, leaf
        if key not in self._known:
            node = Recorded(self, len(self.operations), kind, leaf, boolean)
            self.operations.append(operation)
            self.nodes.append(node)
            self._known[key] = node
        return self._known[key]

    def number(self, value: Scalar) -> Recorded:
        """Writes a Python number down, by its place among the numbers."""
        return self.add(("number", self.numbers.place(value)), Kind.NUMBER, -1)

    def apply(self, name: str, *arguments: Any, boolean: bool = False) -> Recorded:
        """Writes down an elementwise operation."""
        given = [x if isinstance(x, Recorded) else self.number(x) for x in arguments]
        same = self._unchanged(name, given)
        if same is not None:
            return same
        kind = max(x.kind for x in given)
        leaves = {x.leaf for x in given if x.kind >= Kind.ROW}
        if len(leaves) > 1:
            raise TypeError(f"{name} meets elements of two parameters; engines keep them apart")
        leaf = leaves.pop() if leaves else max(x.leaf for x in given)
        return self.add((name, *(x.index for x in given)), kind, leaf, boolean)

    def _unchanged(self, name: str, given: list[Recorded]) -> Recorded | None:
        """The array that an operation leaves as it is: IEEE 754 says so of x * 1 and x / 1 alone.

        Not of x + 0, which makes 0 of -0, nor of x * 0, which keeps NaN and infinity.
        """
        for x, other in zip(given, reversed(given), strict=True):
            if (
                (name == "multiply" or (name == "divide" and x is given[0]))
                and not x.boolean
                and x.kind > other.kind is Kind.NUMBER
                and self.numbers.is_one(self.operations[other.index][1])
            ):
                return x
        return None


def _operator(name: str, reflected: bool = False, boolean: bool = False) -> Callable[..., Any]:
    def operator(self: Recorded, other: Any) -> Recorded:
        pair = (other, self) if reflected else (self, other)
        return self.tape.apply(name, *pair, boolean=boolean)

    return operator


class Recorded:
    """An array of which nothing is known but how it was computed."""

    __slots__ = ("boolean", "index", "kind", "leaf", "tape")
    __hash__ = object.__hash__

    def __init__(self, tape: Tape, index: int, kind: Kind, leaf: int, boolean: bool) -> None:
        self.tape = tape
        self.index = index
        self.kind = kind
        self.leaf = leaf
        self.boolean = boolean

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the parameter; a row has as many axes."""
        return self.tape.shapes[self.leaf] if self.kind >= Kind.ROW else ()

    @property
    def __refopt_namespace__(self) -> Recording:
        return RECORDING

    __add__ = _operator("add")
    __radd__ = _operator("add", reflected=True)
    __sub__ = _operator("subtract")
    __rsub__ = _operator("subtract", reflected=True)
    __mul__ = _operator("multiply")
    __rmul__ = _operator("multiply", reflected=True)
    __truediv__ = _operator("divide")
    __rtruediv__ = _operator("divide", reflected=True)
    __or__ = _operator("logical_or", boolean=True)
    __and__ = _operator("logical_and", boolean=True)
    __lt__ = _operator("less", boolean=True)
    __le__ = _operator("less_equal", boolean=True)
    __gt__ = _operator("greater", boolean=True)
    __ge__ = _operator("greater_equal", boolean=True)
    __eq__ = _operator("equal", boolean=True)
    __ne__ = _operator("not_equal", boolean=True)

    def __neg__(self) -> Recorded:
        return self.tape.apply("negative", self)

    def __pow__(self, exponent: Any) -> Recorded:
        if exponent != 2:
            raise TypeError(f"engines raise arrays to the power 2 alone, not {exponent!r}")
        return self.tape.apply("square", self)

    def __bool__(self) -> bool:
        raise TypeError("a rule may not branch on the elements of an array: use xp.where")


def _elementwise(name: str) -> Callable[..., Recorded]:
    def record(*arguments: Any) -> Recorded:
        tape = next(x.tape for x in arguments if isinstance(x, Recorded))
        boolean = name == "where" and all(getattr(x, "boolean", False) for x in arguments)
        return tape.apply(name, *arguments, boolean=boolean)

    return record


class _Library:
    """The functions of the array API that :class:`refopt.xp.ArrayNamespace` calls on arrays."""

    sqrt = staticmethod(_elementwise("sqrt"))
    abs = staticmethod(_elementwise("absolute"))
    sign = staticmethod(_elementwise("sign"))
    maximum = staticmethod(_elementwise("maximum"))
    minimum = staticmethod(_elementwise("minimum"))
    where = staticmethod(_elementwise("where"))

    @staticmethod
    def cos(_: Recorded) -> Recorded:
        raise TypeError("engines take no cosine of arrays: libraries round it differently")

    @staticmethod
    def sum(x: Recorded) -> Recorded:
        return x.tape.add(("sum", x.index), Kind.POINT, x.leaf)

    @staticmethod
    def mean(x: Recorded, axis: tuple[int, ...], keepdims: bool) -> Recorded:
        assert keepdims
        kind = Kind.ROW if axis else Kind.FULL
        return x.tape.add(("mean", x.index, axis), kind, x.leaf)

    @staticmethod
    def any(x: Recorded, axis: tuple[int, ...], keepdims: bool) -> Recorded:
        assert keepdims
        return x.tape.add(("any", x.index, axis), Kind.ROW, x.leaf, boolean=True)


REDUCTIONS: Final = frozenset({"sum", "mean", "any"})
"""The operations that make few elements of many."""


class Recording(ArrayNamespace):
    """The namespace of recorded arrays: that of any library, with one that writes down.

    On Python numbers it does what it does for arrays of any other library, and that is recorded.
    """

    def sqrt(self, x: Array) -> Array:
        return x.numbers.compute(super().sqrt, x) if isinstance(x, Number) else super().sqrt(x)

    def abs(self, x: Array) -> Array:
        return abs(x) if isinstance(x, Number) else super().abs(x)

    def cos(self, x: Array) -> Array:
        return x.numbers.compute(super().cos, x) if isinstance(x, Number) else super().cos(x)

    def maximum(self, x: Array, y: Array) -> Array:
        numbers = _all_numbers(x, y)
        return numbers.compute(super().maximum, x, y) if numbers else super().maximum(x, y)

    def minimum(self, x: Array, y: Array) -> Array:
        numbers = _all_numbers(x, y)
        return numbers.compute(super().minimum, x, y) if numbers else super().minimum(x, y)

    def ndim(self, x: Array) -> int:
        return len(x.shape)

    def asarray(self, x: Array) -> Array:
        return x

    def copy(self, x: Array) -> Array:
        return x

    def full_like(self, x: Array, value: Array) -> Array:
        return x.tape.add(("full", x.tape.number(value).index), x.kind, x.leaf)

    def zeros_like(self, x: Array) -> Array:
        return self.full_like(x, 0.0)

    def scalar_like(self, x: Array, value: Array) -> Array:
        if not isinstance(value, Recorded):
            return x.tape.number(value)
        return x.tape.add(("scalar_like", value.index), Kind.POINT, x.leaf)


def _all_numbers(*given: Any) -> Numbers | None:
    """Where those are recorded that are all Python numbers, if at least one is."""
    if any(isinstance(x, Recorded) for x in given):
        return None
    return next((x.numbers for x in given if isinstance(x, Number)), None)


RECORDING: Final = Recording(_Library())
