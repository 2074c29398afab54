"""Engines on the arrays of NumPy: passes over flat arrays in pieces, spread over the cores.

The bits are those of the plain reference. Elementwise operations are rounded alike however the
elements are divided among passes; sums are not, so a sum over elements that exist only a piece at a
time is divided where NumPy itself divides it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
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
from refopt.engines.layout import Layout
from refopt.engines.program import Pass, Program, Reduce
from refopt.xp import namespace

Vector = NDArray[Any]
"""A contiguous array with one axis."""

Kernel = Callable[[Sequence[Vector], Sequence[Vector], int, Vector], None]
"""Runs a fragment: on its arrays, its row operands, the length of a row, and its scalars."""

Batch = Callable[[Sequence[Parameter], Vector], None]
"""Runs a pass over parts of parameters, with its scalars."""

Job = Callable[[], None]

PIECE: Final = 1 << 15
"""How many elements exist at a time of what is reduced: a few arrays of them fit into a cache."""

SHARE: Final = 1 << 16
"""How many elements are worth handing to another core."""


_MOST_PLANS: Final = 64
"""How many forms of a step on the same arrays are remembered."""


class Part(NamedTuple):
    """Elements of a parameter, from one to another; whether they are all of it."""

    parameter: int
    start: int
    stop: int
    whole: bool


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

    @abstractmethod
    def batch(
        self, elements: Pass, dtype: np.dtype[Any], parts: Sequence[Part], layout: Layout
    ) -> Batch:
        """What runs a pass over parts of parameters, again and again."""

    def layout(self, parameters: Sequence[Parameter]) -> Layout:
        return Layout(parameters)

    def run(
        self, parameters: Sequence[Parameter], runs: Sequence[Run], layout: Layout | None
    ) -> None:
        assert layout is not None
        works: list[_Work] = []
        later: list[tuple[Any, Any]] = []
        with np.errstate(all="ignore"):
            plan = self._plan(parameters, runs, layout)
            shared: list[dict[int, Vector]] = [{} for _ in runs]
            for i, member in plan.others:
                of_member = [parameters[position] for position in member]
                _Member(self, runs[i], of_member, shared[i]).prepare(works, later)
            jobs = plan.jobs(parameters, runs)
            if works:
                jobs += _jobs(works, _share(sum(work.size for work in works)))
            threads.run(jobs)
            for array, value in later:
                array[...] = value

    def _plan(self, parameters: Sequence[Parameter], runs: Sequence[Run], layout: Layout) -> _Plan:
        key = tuple(id(run.program) for run in runs)
        plan: _Plan | None = layout.plans.get(key)
        if plan is None:
            if len(layout.plans) == _MOST_PLANS:
                layout.plans.clear()
            plan = layout.plans[key] = _Plan(self, parameters, runs, layout)
        return plan


class _Plan:
    """What of a step is the same in every step on the same arrays.

    That are passes over the elements of parameters of which nothing else is computed.

    Attributes:
        others: what is left, as the number of a run and one of its members.
    """

    def __init__(
        self,
        engine: HostEngine,
        parameters: Sequence[Parameter],
        runs: Sequence[Run],
        layout: Layout,
    ) -> None:
        self.programs = [run.program for run in runs]  # alive, so that no other has their ids
        self.others: list[tuple[int, Sequence[int]]] = []
        passes: list[tuple[int, Pass, np.dtype[Any], list[int]]] = []
        for i, run in enumerate(runs):
            found: dict[tuple[int, np.dtype[Any]], list[int]] = {}
            for member in run.members:
                of_member = [parameters[position] for position in member]
                alike = all(_alike(p.arrays, run.program) for p in of_member)
                if not (run.program.elementwise and alike):
                    self.others.append((i, member))
                    continue
                for leaf, (position, p) in enumerate(zip(member, of_member, strict=True)):
                    if p.arrays[0].size and run.program.finals[leaf].elements is not None:
                        found.setdefault((leaf, p.arrays[0].dtype), []).append(position)
            for (leaf, dtype), positions in found.items():
                elements = run.program.finals[leaf].elements
                assert elements is not None
                passes.append((i, elements, dtype, positions))
        sizes = [p.arrays[0].size for p in parameters]
        share = _share(sum(sizes[position] for *_, positions in passes for position in positions))
        self._jobs: list[list[tuple[int, Pass, np.dtype[Any], Batch]]] = []
        room = 0
        for i, elements, dtype, positions in passes:
            parts: dict[int, list[Part]] = {}  # by job
            for position in positions:
                start = 0
                while start < sizes[position]:
                    if not room:
                        self._jobs.append([])
                        room = share
                    stop = min(start + room, sizes[position])
                    part = Part(position, start, stop, stop - start == sizes[position])
                    parts.setdefault(len(self._jobs) - 1, []).append(part)
                    room -= stop - start
                    start = stop
            for job, of_job in parts.items():
                batch = engine.batch(elements, dtype, of_job, layout)
                self._jobs[job].append((i, elements, dtype, batch))

    def jobs(self, parameters: Sequence[Parameter], runs: Sequence[Run]) -> list[Job]:
        """The passes with the numbers of this step."""
        scalars: dict[Any, Vector] = {}
        found: list[Job] = []
        for job in self._jobs:
            calls: list[Job] = []
            for i, elements, dtype, batch in job:
                key = i, id(elements), dtype
                if key not in scalars:
                    numbers = runs[i].numbers
                    scalars[key] = np.array([numbers[x] for x in elements.scalars], dtype)
                calls.append(partial(batch, parameters, scalars[key]))
            found.append(partial(_run_all, calls))
        return found


def _share(size: int) -> int:
    """How many elements a job has, of so many."""
    return max(SHARE, size // (4 * threads.cores()) + 1)


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
        self.flat = [
            [None if x is None else in_memory_order(x) for x in p.arrays]
            if _alike(p.arrays, self.program)
            else None
            for p in parameters
        ]
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


def in_memory_order(x: NDArray[Any]) -> Vector:
    """The elements of a contiguous array along one axis."""
    return np.asarray(x).ravel("K")


def _alike(arrays: Sequence[Any], program: Program) -> bool:
    """Whether a program can go over a parameter's arrays along one axis, for they lie alike."""
    theta = arrays[0]
    if not theta.shape:
        return False  # NumPy computes with numbers then, whose squares are powers to it
    if theta.dtype == np.float16 and program.stages:
        return False  # NumPy sums them in float32, and rounds the sum of the whole
    flags = [x.flags for x in arrays if x is not None and x.shape == theta.shape]
    return all(f.aligned for f in flags) and (
        all(f.c_contiguous for f in flags)
        or (all(f.f_contiguous for f in flags) and not program.by_rows)
    )


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
