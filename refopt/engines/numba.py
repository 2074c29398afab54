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
from collections.abc import Callable, Iterator, Mapping
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
from refopt.engines.engine import EngineError, named
from refopt.engines.fragment import Fragment
from refopt.engines.host import Kernel, Vector

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


def _call(
    compiled: Callable[..., None],
    arrays: list[Vector],
    rows: list[Vector],
    inner: int,
    scalars: Vector,
) -> None:
    compiled(scalars, inner, *rows, *arrays)


@cache
def loop(fragment: Fragment, dtype: np.dtype[Any]) -> Callable[..., None]:
    """The compiled loop of a fragment; it takes scalars, the length of a row, rows and arrays."""
    function = _module(source(fragment, dtype.name)).loop
    stores = dict(fragment.stores)

    def array(boolean: bool = False, written: bool = False) -> Any:
        element = numba.boolean if boolean else numba.from_dtype(dtype)
        return numba.types.Array(element, 1, "C", readonly=not written)

    signature = numba.void(
        array(),
        numba.intp,
        *map(array, fragment.rows),
        *(array(fragment.booleans[stores.get(i, i)], i in stores) for i in range(fragment.arrays)),
    )
    options = {"nogil": True, "cache": True, "error_model": "numpy"}
    return numba.njit([signature], **options)(function)  # type: ignore[no-any-return]


def source(fragment: Fragment, dtype: str) -> str:
    """The module that defines the loop of a fragment."""
    return "\n".join(_lines(fragment, dtype)) + "\n"


def _lines(fragment: Fragment, dtype: str) -> Iterator[str]:
    rows = [f"r{i}" for i in range(len(fragment.rows))]
    arrays = [f"a{i}" for i in range(fragment.arrays)]
    yield "from math import sqrt"
    yield f"from numpy import {dtype} as T"
    yield "from refopt.engines.numba import load, store"
    yield ""
    yield f"def loop(s, inner, {', '.join([*rows, *arrays])}):"
    for i, boolean in enumerate(fragment.scalars):
        yield f"    v{fragment.first_scalar + i} = s[{i}]{' != T(0)' if boolean else ''}"
    indent = "    "
    elements = f"{arrays[0]}.size"
    if rows:
        yield f"    for row in range({rows[0]}.size):"
        indent += "    "
        for i, name in enumerate(rows):
            yield f"{indent}v{fragment.first_row + i} = {name}[row]"
        elements = "row * inner, row * inner + inner"
    yield f"{indent}for i in range({elements}):"
    indent += "    "
    for i in fragment.read:
        yield f"{indent}v{i} = load(a{i}, i, {i})"
    for result, name, arguments in fragment.results():
        expression = _EXPRESSIONS[name].format(*(f"v{a}" for a in arguments))
        yield f"{indent}v{result} = {expression}"
    for i, value in fragment.stores:
        if fragment.booleans[value]:
            yield f"{indent}a{i}[i] = v{value}"
        else:
            yield f"{indent}store(a{i}, i, {i}, v{value})"


def _module(text: str) -> ModuleType:
    """The module of a text, from a file that has it."""
    # The code of `load` and `store` is part of what numba compiles.
    content = text.encode() + Path(__file__).read_bytes()
    name = f"refopt_loop_{hashlib.sha256(content).hexdigest()[:32]}"
    path = _folder() / f"{name}.py"
    if not path.exists():
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, delete=False, suffix=".part"
        ) as file:
            file.write(text)
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
def load(_: Any, array: Any, index: Any, number: Any) -> Any:
    """The element of an array, which is that with a number among those of a pass."""
    signature = array.dtype(array, index, number)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments)
        return _marked(builder, builder.load(place), signature.args[2].literal_value)

    return signature, generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def store(_: Any, array: Any, index: Any, number: Any, value: Any) -> Any:
    """Writes an element of an array."""
    signature = numba.void(array, index, number, array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        place = _place(context, builder, signature, arguments)
        _marked(builder, builder.store(arguments[3], place), signature.args[2].literal_value)

    return signature, generate


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


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
