"""Every pass compiled to one loop over elements.

The loop is generated from what the rule was recorded to do and compiled without fast-math, so that
no operation is replaced by another nor contracted into a fused one. Compiled code is kept on disk:
numba finds it by the file that it was compiled from, so every loop has a file, named after its
content, in the user's folder for caches.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numba
import numpy as np
import platformdirs
from llvmlite import ir
from numba.extending import intrinsic

from refopt.engines.blocked import BlockedEngine
from refopt.engines.engine import EngineError, Parameter, named
from refopt.engines.fragment import Fragment
from refopt.engines.host import Batch, Kernel, Part, Vector
from refopt.engines.layout import Layout
from refopt.engines.program import Pass

DTYPES: Final = (np.dtype("float32"), np.dtype("float64"))
"""The dtypes that processors compute in."""

_EXPRESSIONS: Final[Mapping[str, str]] = {
    "absolute": "abs({0})",
    "add": "{0} + {1}",
    "divide": "{0} / {1}",
    "equal": "{0} == {1}",
    "full": "{0}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "logical_and": "{0} & {1}",
    "logical_or": "{0} | {1}",
    # The first if it is NaN; of two zeros the second, as processors and NumPy on them have it.
    "maximum": "{0} if ({0} > {1}) | ({0} != {0}) else {1}",
    "minimum": "{0} if ({0} < {1}) | ({0} != {0}) else {1}",
    "multiply": "{0} * {1}",
    "negative": "-{0}",
    "not_equal": "{0} != {1}",
    # The last case is NaN.
    "sign": "T(1) if {0} > T(0) else (T(-1) if {0} < T(0) else (T(0) if {0} == T(0) else {0}))",
    "sqrt": "sqrt({0})",
    "square": "{0} * {0}",
    "subtract": "{0} - {1}",
    "where": "{1} if {0} else {2}",
}
"""The operations on scalars of one type T: no literal may raise the precision of a result."""


class NumbaEngine(BlockedEngine):
    """Compiles what it can, and leaves other dtypes to blocks if it may."""

    name = "numba"

    def __init__(self, others: bool) -> None:
        self.others = others

    def check(self, name: str, x: Any) -> None:
        super().check(name, x)
        if x.dtype not in DTYPES and not self.others:
            raise EngineError(
                f"{named(name)} has dtype {x.dtype}; engine 'numba' knows float32 and float64, "
                "and engine='auto' takes another one for the rest"
            )

    def kernel(self, fragment: Fragment, dtype: np.dtype[Any]) -> Kernel:
        if dtype not in DTYPES:
            return super().kernel(fragment, dtype)
        return partial(_call, loop(fragment, dtype))

    def batch(
        self, elements: Pass, dtype: np.dtype[Any], parts: Sequence[Part], layout: Layout
    ) -> Batch:
        if dtype not in DTYPES:
            return super().batch(elements, dtype, parts, layout)
        return _Table(loop(elements.fragment, dtype), elements, dtype, parts, layout)


class _Table:
    """A loop with what it runs on: for each part its size, and where its arrays begin."""

    def __init__(
        self,
        compiled: Callable[..., None],
        elements: Pass,
        dtype: np.dtype[Any],
        parts: Sequence[Part],
        layout: Layout,
    ) -> None:
        self.compiled = compiled
        self.layout = layout
        self.version = -1
        slots = [slot for slot in elements.arrays if slot is not None]  # a step makes no new ones
        self.of = np.ix_([part.parameter for part in parts], slots)
        starts = np.array([part.start for part in parts], np.intp)
        self.offsets = dtype.itemsize * starts[:, None]
        self.rows = np.empty((len(parts), 1 + len(slots)), np.intp)
        self.rows[:, 0] = [part.stop - part.start for part in parts]

    def __call__(self, parameters: Sequence[Parameter], scalars: Vector) -> None:
        if self.version != self.layout.version:
            self.rows[:, 1:] = self.layout.addresses[self.of] + self.offsets
            self.version = self.layout.version
        self.compiled(scalars, self.rows)


def _call(
    compiled: Callable[..., None],
    arrays: list[Vector],
    rows: list[Vector],
    inner: int,
    scalars: Vector,
) -> None:
    size = [rows[0].size, inner] if rows else [arrays[0].size]
    addresses = [x.ctypes.data for x in (*rows, *arrays)]
    compiled(scalars, np.array([[*size, *addresses]], np.intp))


@cache
def loop(fragment: Fragment, dtype: np.dtype[Any]) -> Callable[..., None]:
    """The compiled loop of a fragment; it takes scalars and a table.

    A row of the table has the number of elements, or of rows and of elements in each, and the
    addresses of the row operands and of the arrays.
    """
    function = _module(source(fragment, dtype.name)).loop
    signature = numba.void(
        numba.types.Array(numba.from_dtype(dtype), 1, "C", readonly=True),
        numba.types.Array(numba.intp, 2, "C", readonly=True),
    )
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit([signature], cache=True, **options)(function)  # type: ignore[no-any-return]
    except Exception:  # noqa: BLE001  anything may be wrong with what was once kept on a disk
        path = Path(function.__code__.co_filename)
        for kept in path.parent.glob(f"__pycache__/{path.stem}.*.nb[ci]"):
            kept.unlink(missing_ok=True)
        return numba.njit([signature], **options)(function)  # type: ignore[no-any-return]


def source(fragment: Fragment, dtype: str) -> str:
    """The module that defines the loop of a fragment."""
    return "\n".join(_lines(fragment, dtype)) + "\n"


def _lines(fragment: Fragment, dtype: str) -> Iterator[str]:
    sizes = ["count", "inner"] if fragment.rows else ["count"]
    rows = [f"r{i}" for i in range(len(fragment.rows))]
    arrays = [f"a{i}" for i in range(fragment.arrays)]
    yield "from math import sqrt"
    yield f"from numpy import bool_, {dtype} as T"
    yield "from refopt.engines.numba import load, store"
    yield ""
    yield "def loop(s, table):"
    for i, boolean in enumerate(fragment.scalars):
        yield f"    v{fragment.first_scalar + i} = s[{i}]{' != T(0)' if boolean else ''}"
    yield "    for k in range(table.shape[0]):"
    for i, name in enumerate([*sizes, *rows, *arrays]):
        yield f"        {name} = table[k, {i}]"
    indent = "        "
    elements = "count"
    if rows:
        yield f"{indent}for row in range(count):"
        indent += "    "
        for i, (name, boolean) in enumerate(zip(rows, fragment.rows, strict=True)):
            number = fragment.first_row + i
            kind = "bool_" if boolean else "T"
            yield f"{indent}v{number} = load({name}, row, {number}, {kind})"
        elements = "row * inner, row * inner + inner"
    yield f"{indent}for i in range({elements}):"
    indent += "    "
    for i in fragment.read:
        yield f"{indent}v{i} = load(a{i}, i, {i}, T)"
    for result, name, arguments in fragment.results():
        expression = _EXPRESSIONS[name].format(*(f"v{a}" for a in arguments))
        yield f"{indent}v{result} = {expression}"
    for i, value in fragment.stores:
        kind = "bool_" if fragment.booleans[value] else "T"
        yield f"{indent}store(a{i}, i, {i}, {kind}, v{value})"


def _module(text: str) -> ModuleType:
    """The module of a text, from a file that has it."""
    # The code of `load` and `store` is part of what numba compiles.
    content = text.encode() + Path(__file__).read_bytes()
    name = f"refopt_loop_{hashlib.sha256(content).hexdigest()[:32]}"
    path = _folder() / f"{name}.py"
    if not path.exists() or path.read_bytes() != text.encode():
        with tempfile.NamedTemporaryFile(
            "wb", dir=path.parent, delete=False, suffix=".part"
        ) as file:
            file.write(text.encode())
        Path(file.name).replace(path)  # others see all of it or nothing
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # numba looks it up by its name
    spec.loader.exec_module(module)
    return module


@cache
def _folder() -> Path:
    """Where loops are kept: for good if the user's folder for caches can be written to."""
    folder = platformdirs.user_cache_path("refopt") / "numba"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="refopt-"))
    return folder


# No two arrays of a pass overlap. Numba has no way to say so, and LLVM compares the ends of few
# arrays at most before it gives up on vectors; so each access says which array it belongs to.


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def load(_: Any, address: Any, index: Any, number: Any, kind: Any) -> Any:
    """The element of the array at an address, which is that with a number among those of a pass."""
    element = kind.instance_type
    signature = element(address, index, number, kind)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        model = context.data_model_manager[element]
        place = _place(builder, model, arguments)
        held = _marked(builder, builder.load(place), signature.args[2].literal_value)
        return model.from_data(builder, held)

    return signature, generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def store(_: Any, address: Any, index: Any, number: Any, kind: Any, value: Any) -> Any:
    """Writes an element of the array at an address."""
    element = kind.instance_type
    signature = numba.void(address, index, number, kind, element)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        model = context.data_model_manager[element]
        place = _place(builder, model, arguments)
        held = model.as_data(builder, arguments[4])
        _marked(builder, builder.store(held, place), signature.args[2].literal_value)

    return signature, generate


def _place(builder: Any, model: Any, arguments: Any) -> Any:
    pointer = builder.inttoptr(arguments[0], model.get_data_type().as_pointer())
    return builder.gep(pointer, [arguments[1]])


def _marked(builder: Any, access: Any, number: int) -> Any:
    """A load or store that is said to touch one array alone, in LLVM's metadata for aliasing."""
    module = builder.module

    def node(*operands: Any) -> Any:
        return module.add_metadata(operands)

    domain = node(ir.MetaDataString(module, "refopt"))
    scopes = [node(ir.MetaDataString(module, f"array {i}"), domain) for i in range(_MOST_ARRAYS)]
    access.set_metadata("alias.scope", node(scopes[number]))
    access.set_metadata("noalias", node(*scopes[:number], *scopes[number + 1 :]))
    return access


_MOST_ARRAYS: Final = 32
