"""NumPy arrays that are stepped again and again: what was once found out about them still holds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from operator import is_
from typing import Any
from weakref import ref

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from refopt.engines.engine import Parameter, named
from refopt.layers import State
from refopt.xp import namespace

GRADIENT = 1
"""The slot of the gradient: the one array that is read alone, and that may be another each time."""

_LIES = 0x1 | 0x2 | 0x100
"""The flags that say how an array lies in memory: rows first, columns first, aligned."""


class Layout:
    """Where the arrays of some parameters lie.

    It keeps none of them alive; as long as one lives NumPy refuses to resize it, since it is
    referred to, so that its address stays what it was.

    Attributes:
        addresses: of the first elements, one row a parameter, one column a slot.
        version: changes with the addresses.
        lasts: whether it holds for later steps: no gradient had to be copied.
        plans: what an engine worked out for the arrays.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        """Looks at arrays, and gives gradients memory of their own that share it.

        Raises:
            ValueError: two arrays that are written share memory.
        """
        self.names = [p.name for p in parameters]
        self._apart = Apart(parameters, _ends)
        self.lasts = not self._apart.copied
        self.addresses = np.array(
            [[0 if x is None else _ends(x)[0] for x in p.arrays] for p in parameters], np.intp
        )
        self.version = 0
        self.plans: dict[Any, Any] = {}
        gradients = [p.arrays[GRADIENT] for p in parameters]
        self._missing = [g is None for g in gradients]
        self._gradients = _Facts([g for g in gradients if g is not None])
        others = zip(
            *(p.arrays[:GRADIENT] + p.arrays[GRADIENT + 1 :] for p in parameters), strict=True
        )
        self._others = _Facts([x for of_slot in others for x in of_slot])

    def again(
        self,
        thetas: Mapping[str, Any],
        gradients: Mapping[str, Any],
        state: State,
        keys: Sequence[str],
        counts: Sequence[int],
    ) -> list[Parameter] | None:
        """The same parameters with the same state and their next gradients, or None."""
        names = self.names
        if list(thetas) != names or not thetas.keys() == gradients.keys() == state.keys():
            return None
        states = [state[name] for name in names]
        if [values.get("t") for values in states] != counts:
            return None
        if any(len(values) != 1 + len(keys) for values in states):
            return None
        columns = [[values.get(key) for values in states] for key in keys]
        given = [gradients[name] for name in names]
        if not (
            self._others.hold([*thetas.values(), *chain.from_iterable(columns)])
            and [g is None for g in given] == self._missing
            and (self._gradients.hold([g for g in given if g is not None]) or self._takes(given))
        ):
            return None
        rows = zip(thetas.values(), given, *columns, strict=True)
        return [Parameter(name, [*row]) for name, row in zip(names, rows, strict=True)]

    def _takes(self, gradients: Sequence[Any]) -> bool:
        """Whether gradients lie in memory as those before did, elsewhere."""
        present = [i for i, missing in enumerate(self._missing) if not missing]
        addresses = self.addresses.copy()
        for number, position in enumerate(present):
            g = gradients[position]
            if self._gradients.like(number, g):
                start, end = _ends(g)
                if not self._apart.meets(start, end):
                    addresses[position, GRADIENT] = start
                    continue
            return False
        self._gradients = _Facts([gradients[position] for position in present])
        self.addresses = addresses
        self.version += 1
        return True


class _Facts:
    """What some arrays were like."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        self.refs = [ref(x) for x in arrays]
        self.flags = [x.flags.num for x in arrays]
        self.shapes = [x.shape for x in arrays]
        self.dtypes = [x.dtype for x in arrays]

    def hold(self, arrays: Sequence[Any]) -> bool:
        """Whether these are those arrays, still so."""
        return (
            all(map(is_, arrays, [known() for known in self.refs]))
            and [x.flags.num for x in arrays] == self.flags
            and [x.shape for x in arrays] == self.shapes
            and [x.dtype for x in arrays] == self.dtypes
        )

    def like(self, number: int, x: Any) -> bool:
        """Whether an array is like one of them, wherever it lies."""
        return (
            type(x) is np.ndarray
            and x.flags.num & _LIES == self.flags[number] & _LIES
            and x.shape == self.shapes[number]
            and x.dtype == self.dtypes[number]
        )


class Apart:
    """Arrays that are written, none of which shares memory with another or with a gradient.

    Attributes:
        copied: whether gradients that shared memory were given some of their own.
    """

    def __init__(
        self, parameters: Sequence[Parameter], ends: Callable[[Any], tuple[int, int]]
    ) -> None:
        """Looks where arrays begin and end, in bytes.

        Raises:
            ValueError: two arrays that are written share memory.
        """
        written = [
            (*ends(x), p.name)
            for p in parameters
            for slot, x in enumerate(p.arrays)
            if slot != GRADIENT
        ]
        written = sorted(one for one in written if one[0] < one[1])
        for (_, end, name), (start, _, other) in pairwise(written):
            if start < end:
                raise ValueError(
                    f"{named(name)} and {named(other)}, or their states, share memory, which a "
                    "step in place would change twice: copy one of them"
                )
        self._starts = [start for start, _, _ in written]
        self._ends = [end for _, end, _ in written]
        self.copied = False
        for p in parameters:
            g = p.arrays[GRADIENT]
            if g is not None and self.meets(*ends(g)):
                p.arrays[GRADIENT] = namespace(g).copy(g)
                self.copied = True

    def meets(self, start: int, end: int) -> bool:
        """Whether what lies between two addresses shares memory with them."""
        before = bisect_left(self._starts, end) - 1  # the last array that begins before the end
        return start < end and before >= 0 and self._ends[before] > start


def _ends(x: NDArray[Any]) -> tuple[int, int]:
    """The addresses where an array begins and ends."""
    if x.flags.forc:
        start = x.ctypes.data
        return start, start + x.nbytes
    return byte_bounds(x)
