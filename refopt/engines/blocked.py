"""NumPy alone, a block of elements at a time.

What one operation leaves is then still in the cache when the next one reads it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from refopt.engines.fragment import ROUNDED_ALIKE, Fragment
from refopt.engines.host import HostEngine, Kernel, Vector

BLOCK: Final = 1 << 15
"""Elements of a block: smaller ones spend the time on calls, larger ones leave the cache."""


def _where(condition: Any, x: Any, y: Any, out: NDArray[Any]) -> None:
    np.copyto(out, y)
    np.copyto(out, x, where=condition)


def _full(value: Any, out: NDArray[Any]) -> None:
    np.copyto(out, value)


_CALLS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: getattr(np, name) for name in (*ROUNDED_ALIKE - {"where", "full"}, "positive")},
    "where": _where,
    "full": _full,
}
"""Each operation; the place for its result is ``out``."""


class BlockedEngine(HostEngine):
    """Runs a fragment by ufuncs on blocks."""

    name = "blocked"

    def kernel(self, fragment: Fragment, dtype: np.dtype[Any]) -> Kernel:
        return _blocks(fragment)


class _Registers(threading.local):
    """Memory of this thread for results that no array is there for: one block each."""

    def __init__(self) -> None:
        self.held: dict[np.dtype[Any], list[Vector]] = {}

    def get(self, dtype: np.dtype[Any], count: int) -> list[Vector]:
        """So many registers."""
        held = self.held.setdefault(dtype, [])
        held += [np.empty(BLOCK, dtype) for _ in range(count - len(held))]
        return held[:count]


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
            (_CALLS[name], tuple(places[a] for a in arguments), places[result])
            for result, name, arguments in code
        ]
        self.copies = [
            (array, places[value]) for array, value in stores.items() if places[value] != array
        ]

    def __call__(
        self, arrays: Sequence[Vector], rows: Sequence[Vector], inner: int, scalars: Vector
    ) -> None:
        constants = [
            bool(x) if boolean else scalars[i, ...]
            for i, (x, boolean) in enumerate(zip(scalars, self.booleans, strict=True))
        ]
        size = arrays[0].size
        held = _registers.get(scalars.dtype, self.numbers)
        held = [*held, *_registers.get(_BOOLEAN, self.conditions)]
        if not rows:
            for start in range(0, size, BLOCK):
                stop = min(start + BLOCK, size)
                self._block(
                    [
                        *(x[start:stop] for x in arrays),
                        *constants,
                        *(x[: stop - start] for x in held),
                    ]
                )
        elif inner < BLOCK:
            many = BLOCK // inner
            for row in range(0, rows[0].size, many):
                block = slice(row * inner, (row + many) * inner)
                shaped = [x[block].reshape(-1, inner) for x in arrays]
                count = shaped[0].size
                self._block(
                    [
                        *shaped,
                        *(x[row : row + many, None] for x in rows),
                        *constants,
                        *(x[:count].reshape(-1, inner) for x in held),
                    ]
                )
        else:
            for row in range(rows[0].size):
                of_row = [x[row, ...] for x in rows]
                for start in range(row * inner, (row + 1) * inner, BLOCK):
                    stop = min(start + BLOCK, (row + 1) * inner)
                    self._block(
                        [
                            *(x[start:stop] for x in arrays),
                            *of_row,
                            *constants,
                            *(x[: stop - start] for x in held),
                        ]
                    )

    def _block(self, at: list[Any]) -> None:
        for call, arguments, place in self.calls:
            call(*[at[a] for a in arguments], out=at[place])
        for array, place in self.copies:
            np.copyto(at[array], at[place])


@cache
def _blocks(fragment: Fragment) -> Kernel:
    return _Blocks(fragment)
