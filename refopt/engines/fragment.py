"""Straight-line elementwise code: what one pass over the elements of a parameter computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

BOOLEAN: Final = frozenset(
    {
        "equal",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "logical_and",
        "logical_or",
        "not_equal",
    }
)
"""The operations whose result is true or false."""

ROUNDED_ALIKE: Final = BOOLEAN | {
    "absolute",
    "add",
    "divide",
    "full",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "sign",
    "sqrt",
    "square",
    "subtract",
    "where",
}
"""Every operation of a fragment: IEEE 754 defines its result to the last bit, wherever it runs."""


@dataclass(frozen=True)
class Fragment:
    """A pass over elements, each on its own.

    Values are numbered: first one element of each array, then one of each row operand, then the
    scalars, then the results of the code in order.

    Attributes:
        arrays: how many arrays it reads or writes.
        rows: for each operand with one element a row, whether it is boolean.
        scalars: for each operand with one element, whether it is boolean.
        code: operations on values, by number.
        stores: which array is written, and with which value, once all of its reads are done.
    """

    arrays: int
    rows: tuple[bool, ...]
    scalars: tuple[bool, ...]
    code: tuple[tuple[str, tuple[int, ...]], ...]
    stores: tuple[tuple[int, int], ...]

    @cached_property
    def first_row(self) -> int:
        """The number of the first row operand."""
        return self.arrays

    @cached_property
    def first_scalar(self) -> int:
        """The number of the first scalar."""
        return self.first_row + len(self.rows)

    @cached_property
    def first_result(self) -> int:
        """The number of the result of the first operation."""
        return self.first_scalar + len(self.scalars)

    @cached_property
    def booleans(self) -> tuple[bool, ...]:
        """For each value whether it is true or false."""
        found = [False] * self.arrays + [*self.rows, *self.scalars]
        for name, arguments in self.code:
            both = name == "where" and all(found[a] for a in arguments)
            found.append(name in BOOLEAN or both)
        return tuple(found)

    @cached_property
    def written(self) -> frozenset[int]:
        """The arrays that are written."""
        return frozenset(array for array, _ in self.stores)

    @cached_property
    def read(self) -> tuple[int, ...]:
        """The arrays that are read."""
        used = {a for _, arguments in self.code for a in arguments}
        used |= {value for _, value in self.stores}
        return tuple(array for array in range(self.arrays) if array in used)

    def results(self) -> Iterator[tuple[int, str, tuple[int, ...]]]:
        """The number of each result, with its operation and the arguments."""
        for i, (name, arguments) in enumerate(self.code):
            yield self.first_result + i, name, arguments
