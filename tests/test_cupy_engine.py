"""The CuPy engine without a device: its kernels on the CPU, on arrays that cannot leave theirs.

array-api-strict has a second device whose arrays refuse to become NumPy arrays, and a C++ compiler
stands in for CUDA's. What CuPy itself does with a kernel is left to tests/cuda/measure.py.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import array_api_strict
import numpy as np
import pytest
from examples import EXPRESSIONS
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.array_utils import byte_bounds

import refopt
from refopt.catalog import build
from refopt.engines import compiled
from refopt.engines.compiled import Compiled
from refopt.engines.cupy import OPTIONS, CupyEngine
from refopt.engines.engine import EngineError

Array = Any
MEASURE = Path(__file__).parent / "cuda" / "measure.py"
DEVICE = array_api_strict.Device("device1")
SHAPES = {"point": (), "vector": (5,), "matrix": (4, 3), "empty": (0,), "cube": (2, 3, 4)}
C_TYPES = {"float32": "float", "float64": "double", "bool": "bool"}

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")


def on_device(x: Any) -> Array:
    return array_api_strict.asarray(np.asarray(x)).to_device(DEVICE)


def inside(x: Any) -> Any:
    """The memory of an array, as a kernel sees it."""
    return getattr(x, "_array", x)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the engine uses of CuPy."""
    folder = tmp_path_factory.mktemp("kernels")

    @cache
    def built(source: str) -> Callable[..., None]:
        path = folder / sha256(source.encode()).hexdigest()
        path.with_suffix(".cpp").write_text(source)
        command = ["g++", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o"]
        subprocess.run([*command, path.with_suffix(".so"), path.with_suffix(".cpp")], check=True)
        return ctypes.CDLL(str(path.with_suffix(".so"))).run

    def elementwise_kernel(
        reads: str, writes: str, operation: str, name: str, *, options: Sequence[str]
    ) -> Callable[..., None]:
        assert name == "refopt"
        assert tuple(options) == OPTIONS == ("--fmad=false",)
        parameters = [tuple(p.split()) for p in f"{reads}, {writes}".split(", ")]
        dtypes = [dtype for dtype, _ in parameters]
        kernel = built(cpp(parameters, operation))
        outputs = len(writes.split(", "))

        def call(*given: Any) -> None:
            arrays = [inside(x) for x in given]
            shape = arrays[-1].shape
            for x, dtype in zip(arrays, dtypes, strict=True):  # as CuPy demands
                assert isinstance(x, float | int) or x.dtype == dtype
            whole = [
                np.ascontiguousarray(np.broadcast_to(np.asarray(x, dtype), shape))
                for x, dtype in zip(arrays, dtypes, strict=True)
            ]
            kernel(ctypes.c_long(whole[-1].size), *(ctypes.c_void_p(x.ctypes.data) for x in whole))
            for x, new in zip(arrays[-outputs:], whole[-outputs:], strict=True):
                x[...] = new

        return call

    return SimpleNamespace(
        ndarray=type(on_device(1.0)),
        float32=array_api_strict.float32,
        float64=array_api_strict.float64,
        ElementwiseKernel=elementwise_kernel,
    )


def cpp(parameters: Sequence[tuple[str, ...]], operation: str) -> str:
    """The loop that CuPy puts around the body of a kernel, for the CPU."""
    given = ", ".join(f"{C_TYPES[dtype]}* p_{name}" for dtype, name in parameters)
    elements = " ".join(f"{C_TYPES[dtype]}& {name} = p_{name}[i];" for dtype, name in parameters)
    return (
        "#include <cmath>\nusing std::sqrt; using std::fabs;\n"
        f'extern "C" void run(long n, {given}) {{\n'
        f"for (long i = 0; i < n; ++i) {{ {elements}\n{operation}\n}} }}\n"
    )


class CupyEngineHere(CupyEngine):
    """Where NumPy's arrays lie, which stand for those of CuPy."""

    def ends(self, x: Any) -> tuple[int, int]:
        x = inside(x)
        data = SimpleNamespace(ptr=x.ctypes.data)
        return super().ends(
            SimpleNamespace(
                data=data, size=x.size, shape=x.shape, strides=x.strides, itemsize=x.itemsize
            )
        )


@pytest.fixture
def engine(library: Any, monkeypatch: pytest.MonkeyPatch) -> CupyEngine:
    found = CupyEngineHere()
    found.__dict__["library"] = library
    monkeypatch.setattr(compiled, "_engine", lambda _: found)
    return found


def drawn(dtype: str, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    arrays = {n: np.asarray(random.standard_normal(s), dtype) for n, s in SHAPES.items()}
    arrays["matrix"][1] = 0
    return arrays


def test_the_device_refuses_to_become_numpy() -> None:
    with pytest.raises(RuntimeError, match="to a NumPy array"):
        np.asarray(on_device([1.0]))


STACKS = [
    "lazy(lookahead(rmsprop_lr_inside(momentum=0.9, centered=True), k=2))",
    "lazy_parameter(gradient_centralization(nadam))",
    "clip_by_global_norm(clip_by_norm(clip_by_value(amsgrad)))",
    "layer_adaptation(gradient_accumulation(sgd(momentum=0.9, nesterov=True), k=2))",
]


@pytest.mark.parametrize(
    ("expression", "dtype"),
    [
        *((e, "float32") for e in EXPRESSIONS if "(" not in e),
        *((e, "float32") for e in STACKS),
        ("adamw", "float64"),
        (STACKS[0], "float64"),
    ],
)
@pytest.mark.usefixtures("engine")
def test_kernels_have_the_bits_of_the_optimizer_on_the_same_arrays(
    expression: str, dtype: str
) -> None:
    optimizer = build(expression)
    fast = Compiled(optimizer, "cupy")
    params = {name: on_device(x) for name, x in drawn(dtype, 0).items()}
    own = {name: on_device(x) for name, x in drawn(dtype, 0).items()}
    state, own_state = optimizer.init(params), fast.init(own)
    for step in range(3):
        grads: dict[str, Any] = {n: on_device(x) for n, x in drawn(dtype, 1 + step).items()}
        if step == 1:
            grads["vector"] = None
        params, state = optimizer.step(params, grads, state)
        fast.step(own, grads, own_state)
        for name in SHAPES:
            pairs = [(params[name], own[name])]
            pairs += [(state[name][k], x) for k, x in own_state[name].items() if k != "t"]
            assert state[name]["t"] == own_state[name]["t"]
            for expected, got in pairs:
                # A NumPy number is squared by its power, an array by a product.
                ulps = 8 if name == "point" else 0
                a, b = np.asarray(inside(expected)), np.asarray(inside(got))
                np.testing.assert_array_max_ulp(a, b, ulps)


@given(st.data())
def test_arrays_end_where_their_bytes_do(data: st.DataObject) -> None:
    x = np.ones(data.draw(st.lists(st.integers(0, 4), max_size=3)), "float32")
    parts = tuple(
        slice(None, None, data.draw(st.sampled_from([1, -1, 2, -2]))) for _ in range(x.ndim)
    )
    part = np.asarray(x[parts]).T
    start, end = CupyEngineHere().ends(part)
    assert (start, end) == (byte_bounds(part) if part.size else (part.ctypes.data,) * 2)


@pytest.mark.usefixtures("engine")
def test_a_gradient_may_share_memory_with_a_parameter() -> None:
    theta = on_device(np.linspace(1, 2, 9))
    g = theta[::-1]  # a view
    assert np.shares_memory(inside(theta), inside(g))
    optimizer = build("adam")
    expected, _ = optimizer.step(theta, g, optimizer.init(theta))
    fast = Compiled(optimizer, "cupy")
    fast.step(theta, g, fast.init(theta))
    assert inside(theta).tobytes() == inside(expected).tobytes()


@pytest.mark.usefixtures("engine")
def test_parameters_that_share_memory_are_refused() -> None:
    buffer = on_device(np.ones(5))
    params = {"a": buffer[:3], "b": buffer[2:]}
    fast = Compiled(build("adam"), "cupy")
    with pytest.raises(ValueError, match="'a' and parameter 'b', or their states, share memory"):
        fast.step(params, params, fast.init(params))


@pytest.mark.usefixtures("engine")
def test_what_is_no_array_of_the_library_is_refused() -> None:
    fast = Compiled(build("adam"), "cupy")
    with pytest.raises(EngineError, match="steps CuPy arrays"):
        fast.init(np.ones(3))


def measure() -> Any:
    spec = importlib.util.spec_from_file_location("measure", MEASURE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("engine", ["blocked", "numba"])
@pytest.mark.parametrize("expression", ["adamw", "lamb", "sgd"])
def test_what_is_measured_conforms_on_the_cpu(expression: str, engine: str) -> None:
    target = measure().stepped_by(engine, np, np.copy, expression)
    assert refopt.check(target, expression, explain=False).conforms


def test_the_measurement_says_why_it_cannot_run_here() -> None:
    if importlib.util.find_spec("cupy") is not None:
        pytest.skip("CuPy is installed")
    done = subprocess.run([sys.executable, MEASURE], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "measure.py needs CuPy and a CUDA device: pip install 'refopt[cuda]'\n"
