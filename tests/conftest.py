"""What all tests share: the array backends they run on, and a header that says which are there."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import array_api_strict
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import ArrayLike, NDArray

import refopt

Array = Any

# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("refopt", deadline=None)
settings.register_profile(
    "refopt-ci", settings.get_profile("refopt"), derandomize=True, print_blob=True
)
settings.load_profile("refopt-ci" if os.environ.get("CI") else "refopt")

_FRAMEWORKS = ("torch", "optax", "jax", "keras", "mlx", "onnx", "paddle", "tinygrad")
_DISTRIBUTIONS = {"paddle": "paddlepaddle"}


@dataclass(frozen=True)
class Backend:
    """An array library: makes its arrays from numbers and a dtype's name, and reads them back."""

    name: str
    asarray: Callable[[ArrayLike, str], Array]
    numpy: Callable[[Array], NDArray[Any]]


def _numpy_array(values: ArrayLike, dtype: str) -> Array:
    return np.array(values, dtype=dtype)


def _read_only_array(values: ArrayLike, dtype: str) -> Array:
    x = np.array(values, dtype=dtype)
    x.flags.writeable = False
    return x


def _strict_array(values: ArrayLike, dtype: str) -> Array:
    # also read-only, since its in-place operators reach the NumPy array inside
    return array_api_strict.asarray(_read_only_array(values, dtype))


def _cupy_array(values: ArrayLike, dtype: str) -> Array:
    import cupy

    return cupy.asarray(np.array(values, dtype=dtype))


def _from_cupy(x: Array) -> NDArray[Any]:
    import cupy

    return np.asarray(cupy.asnumpy(x))


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("numpy", _numpy_array, np.asarray),
        Backend("numpy-read-only", _read_only_array, np.asarray),
        Backend("array-api-strict", _strict_array, np.asarray),
        Backend("cupy", _cupy_array, _from_cupy),
    )
}


def _why_no_cupy() -> str | None:
    """Why CuPy cannot be used here, or None where it can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    import cupy

    try:
        found = cupy.cuda.runtime.getDeviceCount() > 0
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device ({error})"
    return None if found else "no CUDA device"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each array library in turn: ``backend.asarray([1.0], "float32")``, ``backend.numpy(x)``.

    Arrays are read-only where the library allows it, so that a write in place fails.
    """
    if request.param == "cupy" and (reason := _why_no_cupy()):
        pytest.skip(f"cupy: {reason}")
    return BACKENDS[request.param]


def pytest_report_header() -> list[str]:
    """Which array libraries and frameworks this run covers, and why not the others."""
    cupy = f"cupy skipped: {reason}" if (reason := _why_no_cupy()) else "cupy"
    libraries = [f"{name} {version(name)}" for name in ("numpy", "array-api-strict")]
    present = [name for name in _FRAMEWORKS if importlib.util.find_spec(name)]
    missing = [name for name in _FRAMEWORKS if name not in present]
    frameworks = [f"{name} {version(_DISTRIBUTIONS.get(name, name))}" for name in present]
    if missing:
        frameworks.append(f"not installed, so not checked: {', '.join(missing)}")
    return [
        f"refopt {refopt.__version__} on {', '.join([*libraries, cupy])}",
        f"frameworks: {', '.join(frameworks)}",
    ]
