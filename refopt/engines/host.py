"""Engines on the arrays of NumPy: passes over flat arrays in pieces, spread over the cores.

The bits are those of the plain reference. Elementwise operations are rounded alike however the
elements are divided among passes; sums are not, so a sum over elements that exist only a piece at a
time is divided where NumPy itself divides it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from refopt.engines import threads
from refopt.engines.engine import (
    Engine,
    EngineError,
    Evaluation,
    Parameter,
    Run,
    named,
    operators,
    reduce,
)
from refopt.engines.fragment import Fragment
from refopt.engines.program import Pass, Reduce
from refopt.xp import namespace

Vector = NDArray[Any]
"""A contiguous array with one axis."""

Kernel = Callable[[Sequence[Vector], Sequence[Vector], int, Vector], None]
"""Runs a fragment: on its arrays, its row operands, the length of a row, and its scalars."""

Job = Callable[[], None]

PIECE: Final = 1 << 15
"""How many elements exist at a time of what is reduced: a few arrays of them fit into a cache."""

SHARE: Final = 1 << 16
"""How many elements are worth handing to another core."""


@dataclass(slots=True)
class _Work:
    """A pass over the elements of one parameter, still to be run."""

    kernel: Kernel
    arrays: Sequence[Vector | None]
    """None for a new array."""
    rows: Sequence[Vector]
    inner: int
    scalars: Vector
    size: int

    def part(self, start: int, stop: int, new: Sequence[Vector] = ()) -> Job:
        """From one element to another."""
        made = iter(new)
        arrays = [next(made) if x is None else x[start:stop] for x in self.arrays]
        if not self.rows:
            return partial(self.kernel, arrays, (), 1, self.scalars)
        jobs = []
        for first, last, inner in _spans(start, stop, self.inner):
            rows = [x[first // self.inner : -(-last // self.inner)] for x in self.rows]
            span = [x[first - start : last - start] for x in arrays]
            jobs.append(partial(self.kernel, span, rows, inner, self.scalars))
        return partial(_run_all, jobs)


def _spans(start: int, stop: int, inner: int) -> Iterator[tuple[int, int, int]]:
    """The ends and the length of a row, of whole rows and what is before and after them."""
    while start < stop:
        ahead = -start % inner
        if ahead or stop - start < inner:
            end = min(stop, start + (ahead or inner))
            yield start, end, end - start
        else:
            end = stop - stop % inner
            yield start, end, inner
        start = end


class HostEngine(Engine):
    """Runs programs on NumPy arrays, given a way to run a fragment on flat ones."""

    def check(self, name: str, x: Any) -> None:
        if type(x) is not np.ndarray and not isinstance(x, np.memmap):
            raise EngineError(
                f"{named(name)} has an array of type {type(x).__name__}; engine {self.name!r} "
                "steps NumPy arrays, and engine='auto' chooses by the parameters"
            )
        if not x.dtype.isnative:
            raise EngineError(f"{named(name)} is not in the byte order of this machine: convert it")

    @abstractmethod
    def kernel(self, fragment: Fragment, dtype: np.dtype[Any]) -> Kernel:
        """What runs a fragment on flat arrays of one dtype."""

    def run(self, runs: Sequence[Run]) -> None:
        works: list[_Work] = []
        later: list[tuple[Any, Any]] = []
        _keep_apart([p for run in runs for member in run.members for p in member])
        with np.errstate(all="ignore"):
            for run in runs:
                shared: dict[int, Vector] = {}
                for parameters in run.members:
                    _Member(self, run, parameters, shared).prepare(works, later)
            size = sum(work.size for work in works)
            threads.run(_jobs(works, max(SHARE, size // (4 * threads.cores()) + 1)))
            for array, value in later:
                array[...] = value


def _keep_apart(parameters: Sequence[Parameter]) -> None:
    """Gives gradients memory of their own where they share it with what is written.

    Raises:
        ValueError: two arrays that are written share memory.
    """
    written = [
        (*_ends(x), p.name)
        for p in parameters
        for slot, x in enumerate(p.arrays)
        if slot != 1 and x.size
    ]
    written.sort()
    for (_, end, name), (start, _, other) in pairwise(written):
        if start < end:
            raise ValueError(
                f"{named(name)} and {named(other)}, or their states, share memory, which a step "
                "in place would change twice: copy one of them"
            )
    starts = [start for start, _, _ in written]
    for p in parameters:
        g = p.arrays[1]
        if g is not None and g.size:
            start, end = _ends(g)
            before = bisect_left(starts, end) - 1  # the last array that begins before the end
            if before >= 0 and written[before][1] > start:
                p.arrays[1] = g.copy()


def _ends(x: NDArray[Any]) -> tuple[int, int]:
    """The addresses where an array begins and ends."""
    if x.flags.forc:
        start = x.__array_interface__["data"][0]
        return start, start + x.nbytes
    return byte_bounds(x)


def _jobs(works: Sequence[_Work], share: int) -> Iterator[Job]:
    """Everything there is to do, in jobs of so many elements."""
    job: list[Job] = []
    room = share
    for work in works:
        start = 0
        while start < work.size:
            stop = min(start + room, work.size)
            job.append(work.part(start, stop))
            room -= stop - start
            start = stop
            if not room:
                yield partial(_run_all, job)
                job, room = [], share
    yield partial(_run_all, job)


def _run_all(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job()


class _Member(Evaluation):
    """A program on the parameters of one of its members."""

    def __init__(
        self,
        engine: HostEngine,
        run: Run,
        parameters: Sequence[Parameter],
        shared: dict[int, Vector],
    ) -> None:
        super().__init__(run, parameters)
        self.engine = engine
        self.shared = shared
        """The scalars of each pass that are the same for all members."""
        self.flat = [self._flat(p.arrays) for p in parameters]
        self.evaluate()

    def prepare(self, works: list[_Work], later: list[tuple[Any, Any]]) -> None:
        """Adds the passes that write the new arrays, and what is to be written after them."""
        for leaf, final in enumerate(self.program.finals):
            arrays = self.parameters[leaf].arrays
            if final.elements is not None and arrays[0].size:
                work = self._work(leaf, final.elements)
                if work is not None:
                    works.append(work)
                else:
                    later += self._whole(leaf, final.elements)
            later += [(arrays[slot], self.values[i]) for slot, i in final.points]

    def _flat(self, arrays: Sequence[Any]) -> list[Any] | None:
        """The arrays along one axis each, if they lie alike in memory."""
        theta = arrays[0]
        if not theta.shape:
            return None  # NumPy computes with numbers then, whose squares are powers to it
        if theta.dtype == np.float16 and self.program.stages:
            return None  # NumPy sums them in float32, and rounds the sum of the whole
        full = [x for x in arrays if x is not None and x.shape == theta.shape]
        if not all(x.flags.aligned for x in full):
            return None
        if all(x.flags.c_contiguous for x in full):
            return [None if x is None else np.asarray(x).reshape(-1) for x in arrays]
        if all(x.flags.f_contiguous for x in full) and not self.program.by_rows:
            return [None if x is None else np.asarray(x).T.reshape(-1) for x in arrays]
        return None

    def _work(self, leaf: int, elements: Pass) -> _Work | None:
        """A pass over flat arrays, or None where it has to be over whole ones."""
        flat = self.flat[leaf]
        if flat is None:
            return None
        theta = self.parameters[leaf].arrays[0]
        rows = [self.values[i] for i in elements.rows]
        inner = 1
        if rows:
            if any(x.shape != rows[0].shape or not _leads(x.shape, theta.shape) for x in rows):
                return None
            inner = theta.size // rows[0].size
        return _Work(
            self.engine.kernel(elements.fragment, theta.dtype),
            [None if slot is None else flat[slot] for slot in elements.arrays],
            [row.reshape(-1) for row in rows],
            inner,
            self._scalars(elements, theta.dtype),
            theta.size,
        )

    def _scalars(self, elements: Pass, dtype: np.dtype[Any]) -> Vector:
        """The scalars of a pass as one array."""
        found = self.shared.get(id(elements))
        if found is None:
            values = [self.values[i] for i in elements.scalars]
            for value in values:
                if isinstance(value, np.generic) and value.dtype not in (dtype, np.bool_):
                    raise EngineError(
                        f"an array of dtype {dtype} meets a number of dtype {value.dtype}; "
                        "use engine='plain'"
                    )
            found = np.array(values, dtype)
            if not (self.program.stages or self.program.points):
                self.shared[id(elements)] = found
        return found

    def _whole(self, leaf: int, elements: Pass) -> list[tuple[Any, Any]]:
        """Each array that a pass writes, None for a new one, with its elements.

        They are computed as the reference does, which takes as much memory.
        """
        arrays = self.parameters[leaf].arrays
        fragment = elements.fragment
        call = operators(namespace(arrays[0]))
        values: list[Any] = [None if slot is None else arrays[slot] for slot in elements.arrays]
        values += [self.values[i] for i in elements.rows]
        scalars = self._scalars(elements, arrays[0].dtype)
        values += [
            bool(x) if boolean else x for x, boolean in zip(scalars, fragment.scalars, strict=True)
        ]
        for _, name, arguments in fragment.results():
            given = [values[a] for a in arguments]
            values.append(
                np.full_like(arrays[0], given[0]) if name == "full" else call[name](*given)
            )
        results = []
        for array, value in fragment.stores:
            slot = elements.arrays[array]
            x = values[value]
            if value in fragment.written:  # it would be overwritten before it is copied
                x = x.copy()
            results.append((None if slot is None else arrays[slot], x))
        return results

    def elements_reduced(self, stage: Reduce, elements: Pass) -> list[Any]:
        theta = self.parameters[stage.leaf].arrays[0]
        first = stage.axis[0] if stage.axis else 0
        trailing = theta.shape[first:] if stage.axis else ()
        work = None
        if theta.size and stage.axis in ((), tuple(range(first, theta.ndim))):
            work = self._work(stage.leaf, elements)
        if work is None:
            whole = self._whole(stage.leaf, elements)
            return [reduce(stage, x) for _, x in whole]
        inner = math.prod(trailing)
        ends = _ends_of_rows(theta.size, inner) if stage.axis else _ends_of_terms(theta.size)
        fragment = elements.fragment
        dtypes = [np.bool_ if fragment.booleans[v] else theta.dtype for _, v in fragment.stores]
        reduced: list[list[Any]] = [[] for _ in ends]
        axis = tuple(range(1, 1 + len(trailing)))

        def reduce_piece(i: int) -> None:
            start, stop = ends[i - 1] if i else 0, ends[i]
            new = [np.empty(stop - start, dtype) for dtype in dtypes]
            work.part(start, stop, new)()
            shape = (-1, *trailing) if stage.axis else (-1,)
            reduced[i] = [reduce(stage, x.reshape(shape), axis) for x in new]

        threads.run(partial(reduce_piece, i) for i in range(len(ends)))
        parts = zip(*reduced, strict=True)
        if not stage.axis:
            return [_total(theta.size, iter(terms)) for terms in parts]
        shape = (*theta.shape[:first], *(1 for _ in trailing))
        return [np.concatenate(rows).reshape(shape) for rows in parts]


def _leads(row: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a row operand has one element for all elements with the same leading indices."""
    kept = next((i for i, (a, b) in enumerate(zip(row, shape, strict=True)) if a != b), len(row))
    return all(n == 1 for n in row[kept:])


def _ends_of_rows(size: int, inner: int) -> list[int]:
    """Where pieces of whole rows end."""
    step = max(1, PIECE // inner) * inner
    return [min(start + step, size) for start in range(0, size, step)]


def _halves(size: int) -> tuple[int, int]:
    """How NumPy divides a sum of more terms than it adds up in one loop."""
    left = size // 2 - size // 2 % 8
    return left, size - left


def _ends_of_terms(size: int, start: int = 0) -> list[int]:
    """Where the pieces of a sum end that NumPy adds up on their own."""
    if size <= PIECE:
        return [start + size]
    left, right = _halves(size)
    return _ends_of_terms(left, start) + _ends_of_terms(right, start + left)


def _total(size: int, terms: Iterator[Any]) -> Any:
    """The sum of the sums of those pieces, in NumPy's order."""
    if size <= PIECE:
        return next(terms)
    left, right = _halves(size)
    total = _total(left, terms)
    return total + _total(right, terms)
