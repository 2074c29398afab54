"""Every pass as one kernel on CUDA.

Kernels are compiled without contraction into fused multiply-adds (``--fmad=false``), so that every
operation is rounded as on CPU; divisions and square roots are correctly rounded unless CUDA is told
otherwise. Sums are CuPy's, in an order of its own, and stay within the bounds.

Not yet measured on a device: the generated code is tested on CPU, by a C compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np

from refopt.engines.engine import Engine, EngineError, Evaluation, Parameter, Run, named, reduce
from refopt.engines.fragment import Fragment
from refopt.engines.layout import Apart, Layout
from refopt.engines.program import Pass, Reduce
from refopt.xp import namespace

DTYPES: Final = ("float32", "float64")
"""The dtypes that kernels are made for."""

OPTIONS: Final = ("--fmad=false",)
"""For the compiler: no multiplication is fused with an addition."""

_EXPRESSIONS: Final[Mapping[str, str]] = {
    "absolute": "fabs({0})",
    "add": "{0} + {1}",
    "divide": "{0} / {1}",
    "equal": "{0} == {1}",
    "full": "{0}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "maximum": "({0} > {1}) || ({0} != {0}) ? {0} : {1}",
    "minimum": "({0} < {1}) || ({0} != {0}) ? {0} : {1}",
    "multiply": "{0} * {1}",
    "negative": "-{0}",
    "not_equal": "{0} != {1}",
    "sign": "{0} > 0 ? (T)1 : ({0} < 0 ? (T)-1 : ({0} == 0 ? (T)0 : {0}))",
    "sqrt": "sqrt({0})",
    "square": "{0} * {0}",
    "subtract": "{0} - {1}",
    "where": "{0} ? {1} : {2}",
}
"""The operations in C++, on scalars of one type T."""


class CupyEngine(Engine):
    """Runs programs on CuPy arrays, without moving any of their elements to the host."""

    name = "cupy"

    def __init__(self) -> None:
        self._kernels: dict[tuple[Fragment, str], Callable[..., None]] = {}

    @cached_property
    def library(self) -> Any:
        """CuPy."""
        import cupy

        return cupy

    def check(self, name: str, x: Any) -> None:
        if not isinstance(x, self.library.ndarray):
            raise EngineError(
                f"{named(name)} has an array of type {type(x).__name__}; engine {self.name!r} "
                "steps CuPy arrays, and engine='auto' chooses by the parameters"
            )
        if self.dtype_name(x) is None:
            raise EngineError(
                f"{named(name)} has dtype {x.dtype}; engine {self.name!r} knows "
                f"{' and '.join(DTYPES)}: use engine='plain' for others"
            )

    def dtype_name(self, x: Any) -> str | None:
        """The name of the dtype of an array, if kernels are made for it."""
        known = (name for name in DTYPES if x.dtype == getattr(self.library, name))
        return next(known, None)

    def kernel(self, fragment: Fragment, dtype: str) -> Callable[..., None]:
        """What runs a fragment on whole arrays: what it reads, then what it writes."""
        key = fragment, dtype
        if key not in self._kernels:
            reads, writes = (", ".join(names) for names in declarations(fragment, dtype))
            self._kernels[key] = self.library.ElementwiseKernel(
                reads, writes, operation(fragment, dtype), "refopt", options=OPTIONS
            )
        return self._kernels[key]

    def layout(self, parameters: Sequence[Parameter]) -> None:
        Apart(parameters, self.ends)

    def ends(self, x: Any) -> tuple[int, int]:
        """The addresses on the device where an array begins and ends."""
        start: int = x.data.ptr
        if not x.size:
            return start, start
        steps = [(n - 1) * stride for n, stride in zip(x.shape, x.strides, strict=True)]
        before = sum(step for step in steps if step < 0)
        return start + before, start + sum(steps) - before + x.itemsize

    def run(
        self, parameters: Sequence[Parameter], runs: Sequence[Run], layout: Layout | None
    ) -> None:
        members = [
            _Member(self, run, [parameters[i] for i in member])
            for run in runs
            for member in run.members
        ]
        with np.errstate(all="ignore"):  # of numbers, which CuPy leaves to NumPy
            for member in members:
                member.evaluate()
            for member in members:
                member.write()


class _Member(Evaluation):
    def __init__(self, engine: CupyEngine, run: Run, parameters: Sequence[Parameter]) -> None:
        super().__init__(run, parameters)
        self.engine = engine

    def elements_reduced(self, stage: Reduce, elements: Pass) -> list[Any]:
        theta = self.parameters[stage.leaf].arrays[0]
        fragment = elements.fragment
        xp = namespace(theta)
        new = []
        for _, value in fragment.stores:
            like = xp.zeros_like(theta)
            new.append(like != 0 if fragment.booleans[value] else like)
        self._run(stage.leaf, elements, new)
        return [reduce(stage, x) for x in new]

    def write(self) -> None:
        """Runs the passes that write the new arrays."""
        for leaf, final in enumerate(self.program.finals):
            arrays = self.parameters[leaf].arrays
            if final.elements is not None:
                self._run(leaf, final.elements, ())
            for slot, index in final.points:
                arrays[slot][...] = self.values[index]

    def _run(self, leaf: int, elements: Pass, new: Sequence[Any]) -> None:
        arrays = self.parameters[leaf].arrays
        fragment = elements.fragment
        made = iter(new)
        given = [next(made) if slot is None else arrays[slot] for slot in elements.arrays]
        name = self.engine.dtype_name(arrays[0])
        assert name is not None
        self.engine.kernel(fragment, name)(
            *(x for i, x in enumerate(given) if i not in fragment.written),
            *(self.values[i] for i in elements.rows),
            *(self.values[i] for i in elements.scalars),
            *(x for i, x in enumerate(given) if i in fragment.written),
        )


def declarations(fragment: Fragment, dtype: str) -> tuple[list[str], list[str]]:
    """The parameters of a kernel in CuPy's notation: those it reads, and those it writes."""
    booleans = fragment.booleans
    stored = dict(fragment.stores)
    kinds = {i: "bool" if booleans[stored.get(i, i)] else dtype for i in range(fragment.arrays)}
    small = range(fragment.first_row, fragment.first_result)
    kinds |= {i: "bool" if booleans[i] else dtype for i in small}
    return (
        [f"{kind} a{i}" for i, kind in kinds.items() if i not in fragment.written],
        [f"{kind} a{i}" for i, kind in kinds.items() if i in fragment.written],
    )


def operation(fragment: Fragment, dtype: str) -> str:
    """The body of a kernel: reads, what is computed, writes."""
    return "\n".join(_lines(fragment, {"float32": "float", "float64": "double"}[dtype]))


def _lines(fragment: Fragment, element: str) -> Iterator[str]:
    yield f"typedef {element} T;"
    for i in (*fragment.read, *range(fragment.first_row, fragment.first_result)):
        yield f"const {'bool' if fragment.booleans[i] else 'T'} v{i} = a{i};"
    for result, name, arguments in fragment.results():
        expression = _EXPRESSIONS[name].format(*(f"v{a}" for a in arguments))
        yield f"const {'bool' if fragment.booleans[result] else 'T'} v{result} = {expression};"
    for i, value in fragment.stores:
        yield f"a{i} = v{value};"
