"""NumPy alone, a block of elements at a time.

What one operation leaves is then still in the cache when the next one reads it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from refopt.engines.engine import Parameter
from refopt.engines.fragment import ROUNDED_ALIKE, Fragment
from refopt.engines.host import Batch, HostEngine, Kernel, Part, Vector, in_memory_order
from refopt.engines.layout import Layout
from refopt.engines.program import Pass

MEMORY: Final = 1 << 20
"""Bytes of memory that each thread takes for what operations leave to each other.

A block has as many elements as fit: smaller ones spend the time on calls, larger ones leave the
caches.
"""

MOST: Final = 1 << 18
"""Elements of a block at most."""

_LINE: Final = 64
"""Bytes of a line of the cache, at whose beginnings vectors are fastest."""


def _where(condition: Any, x: Any, y: Any, out: NDArray[Any]) -> None:
    np.copyto(out, y)
    np.copyto(out, x, where=condition)


def _full(value: Any, out: NDArray[Any]) -> None:
    np.copyto(out, value)


def _maximum(x: Any, y: Any, out: NDArray[Any]) -> None:
    np.maximum(x, y, out=out)


def _minimum(x: Any, y: Any, out: NDArray[Any]) -> None:
    np.minimum(x, y, out=out)


_OWN: Final[Mapping[str, Callable[..., Any]]] = {
    "where": _where,
    "full": _full,
    "maximum": _maximum,  # NumPy wants `out` named for these two
    "minimum": _minimum,
}
_CALLS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: getattr(np, name) for name in (*ROUNDED_ALIKE - _OWN.keys(), "positive")},
    **_OWN,
}
"""Each operation; the place for its result is the last argument."""


class BlockedEngine(HostEngine):
    """Runs a fragment by ufuncs on blocks."""

    name = "blocked"

    def kernel(self, fragment: Fragment, dtype: np.dtype[Any]) -> Kernel:
        return _blocks(fragment)

    def batch(
        self, elements: Pass, dtype: np.dtype[Any], parts: Sequence[Part], layout: Layout
    ) -> Batch:
        slots = [slot for slot in elements.arrays if slot is not None]  # a step makes no new ones
        return partial(_over_parts, _blocks(elements.fragment), slots, parts)


def _over_parts(
    blocks: _Blocks,
    slots: Sequence[int],
    parts: Sequence[Part],
    parameters: Sequence[Parameter],
    scalars: Vector,
) -> None:
    constants = blocks.constants(scalars)
    block = blocks.block(scalars.dtype)
    for position, start, stop, whole in parts:
        arrays = parameters[position].arrays
        vectors = [in_memory_order(arrays[slot]) for slot in slots]
        if not whole:
            vectors = [x[start:stop] for x in vectors]
        blocks.over_elements(vectors, constants, scalars.dtype, block)


class _Registers(threading.local):
    """Memory of this thread for results that no array is there for."""

    def __init__(self) -> None:
        memory = np.empty(MEMORY + _LINE, np.uint8)
        start = -memory.ctypes.data % _LINE
        self.memory = memory[start : start + MEMORY]
        self.views: dict[Any, list[Vector]] = {}

    def get(self, blocks: _Blocks, dtype: np.dtype[Any], size: int) -> list[Vector]:
        """The first elements of the registers that some calls need."""
        key = blocks, dtype.char, size
        found = self.views.get(key)
        if found is None:
            found = []
            start = 0
            block = blocks.block(dtype)
            for kind in blocks.registers(dtype):
                found.append(self.memory[start : start + size * kind.itemsize].view(kind))
                start += block * kind.itemsize
            if len(self.views) == _MOST_VIEWS:
                self.views.clear()
            self.views[key] = found
        return found


_MOST_VIEWS: Final = 256
"""For how many sizes views of the registers are remembered."""

_registers: Final = _Registers()
_BOOLEAN: Final = np.dtype(np.bool_)


class _Blocks:
    """A fragment as calls that each have a place for their result.

    A result goes straight into the array that it is stored in, once the elements there have been
    read for the last time, and else into a register. Places are numbered: arrays, row operands,
    scalars, registers of numbers, registers of booleans.
    """

    def __init__(self, fragment: Fragment) -> None:
        self.booleans = fragment.scalars
        code = list(fragment.results())
        stores = dict(fragment.stores)
        kinds = list(fragment.booleans)
        for array, value in fragment.stores:
            if value in fragment.written:  # it would be overwritten before it is copied
                code.append((len(kinds), "positive", (value,)))
                stores[array] = len(kinds)
                kinds.append(kinds[value])
        places: dict[int, int] = {value: value for value in range(fragment.first_result)}
        registers: dict[int, tuple[bool, int]] = {}
        used = {False: 0, True: 0}
        free: dict[bool, list[int]] = {False: [], True: []}
        last = {a: result for result, _, arguments in code for a in arguments}
        last |= dict.fromkeys(stores.values(), len(kinds))
        for result, name, arguments in code:
            # A call may write over what it reads for the last time; `where` writes its third
            # argument before it reads the others.
            over = {a for a in arguments if last[a] == result}
            if name == "where":
                over -= set(arguments[:2])
            homes = [
                array
                for array, value in stores.items()
                if value == result and (last.get(array, -1) < result or array in over)
            ]
            for a in over & registers.keys():
                free[kinds[a]].append(registers[a][1])
            if homes:
                places[result] = homes[0]
            else:
                kind = kinds[result]
                if not free[kind]:
                    free[kind].append(used[kind])
                    used[kind] += 1
                registers[result] = kind, free[kind].pop()
            for a in {a for a in arguments if last[a] == result} - over:
                if a in registers:
                    free[kinds[a]].append(registers[a][1])
        first = {False: fragment.first_result, True: fragment.first_result + used[False]}
        places |= {value: first[kind] + i for value, (kind, i) in registers.items()}
        self.numbers, self.conditions = used[False], used[True]
        self.calls = [
            (_CALLS[name], itemgetter(*(places[a] for a in arguments), places[result]))
            for result, name, arguments in code
        ]
        self.copies = [
            (array, places[value]) for array, value in stores.items() if places[value] != array
        ]

    def __call__(
        self, arrays: Sequence[Vector], rows: Sequence[Vector], inner: int, scalars: Vector
    ) -> None:
        constants = self.constants(scalars)
        if rows:
            self._over_rows(arrays, rows, inner, constants, scalars.dtype)
        else:
            self.over_elements(arrays, constants, scalars.dtype, self.block(scalars.dtype))

    def constants(self, scalars: Vector) -> list[Any]:
        """The scalars as the calls take them."""
        return [
            bool(x) if boolean else scalars[i, ...]
            for i, (x, boolean) in enumerate(zip(scalars, self.booleans, strict=True))
        ]

    def over_elements(
        self,
        arrays: Sequence[Vector],
        constants: Sequence[Any],
        dtype: np.dtype[Any],
        block: int,
    ) -> None:
        """Runs the calls on flat arrays, a block at a time, where there are no row operands."""
        size = arrays[0].size
        if size <= block:
            self._block([*arrays, *constants, *_registers.get(self, dtype, size)])
            return
        for start in range(0, size, block):
            stop = min(start + block, size)
            held = _registers.get(self, dtype, stop - start)
            self._block([*(x[start:stop] for x in arrays), *constants, *held])

    def registers(self, dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
        """The dtypes of the registers, for arrays of one dtype."""
        return [dtype] * self.numbers + [_BOOLEAN] * self.conditions

    def block(self, dtype: np.dtype[Any]) -> int:
        """How many elements there is room for in each."""
        memory = self.numbers * dtype.itemsize + self.conditions
        return min(MOST, MEMORY // memory // _LINE * _LINE) if memory else MOST

    def _over_rows(
        self,
        arrays: Sequence[Vector],
        rows: Sequence[Vector],
        inner: int,
        constants: Sequence[Any],
        dtype: np.dtype[Any],
    ) -> None:
        block = self.block(dtype)
        if inner < block:
            many = block // inner
            for row in range(0, rows[0].size, many):
                span = slice(row * inner, (row + many) * inner)
                shaped = [x[span].reshape(-1, inner) for x in arrays]
                held = _registers.get(self, dtype, shaped[0].size)
                self._block(
                    [
                        *shaped,
                        *(x[row : row + many, None] for x in rows),
                        *constants,
                        *(x.reshape(-1, inner) for x in held),
                    ]
                )
        else:
            for row in range(rows[0].size):
                of_row = [x[row, ...] for x in rows]
                for start in range(row * inner, (row + 1) * inner, block):
                    stop = min(start + block, (row + 1) * inner)
                    held = _registers.get(self, dtype, stop - start)
                    self._block([*(x[start:stop] for x in arrays), *of_row, *constants, *held])

    def _block(self, at: list[Any]) -> None:
        for call, operands in self.calls:
            call(*operands(at))
        for array, place in self.copies:
            np.copyto(at[array], at[place])


@cache
def _blocks(fragment: Fragment) -> _Blocks:
    return _Blocks(fragment)
