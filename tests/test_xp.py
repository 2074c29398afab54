"""The backend switch: the same functions with the same results on every array library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Backend

from refopt.arithmetic.bounds import BOUNDS, FLOAT32, Bounded
from refopt.arithmetic.symbols import SYMBOLS
from refopt.xp import Array, ArrayNamespace, Namespace, namespace

VALUES = [-2.0, -0.0, 0.0, 0.25, 3.0, math.inf, -math.inf, math.nan]
OTHERS = [1.0, -1.0, 1.0, 0.25, math.nan, 2.0, 5.0, 1.0]

# Each function of the namespace on an array x, another y, and with Python numbers; and what NumPy
# says to that. All but cos are exact or correctly rounded, so every library gives the same bits.
FUNCTIONS: dict[str, list[tuple[Callable[[Any, Any, Any], Any], Callable[[Any, Any], Any]]]] = {
    "sqrt": [(lambda xp, x, y: xp.sqrt(x), lambda x, y: np.sqrt(x))],
    "abs": [(lambda xp, x, y: xp.abs(x), lambda x, y: np.abs(x))],
    "sign": [(lambda xp, x, y: xp.sign(x), lambda x, y: np.sign(x))],
    "maximum": [
        (lambda xp, x, y: xp.maximum(x, y), np.maximum),
        (lambda xp, x, y: xp.maximum(x, 0.5), lambda x, y: np.maximum(x, x.dtype.type(0.5))),
        (lambda xp, x, y: xp.maximum(1, x), lambda x, y: np.maximum(x.dtype.type(1), x)),
    ],
    "minimum": [
        (lambda xp, x, y: xp.minimum(x, y), np.minimum),
        (lambda xp, x, y: xp.minimum(x, 0.5), lambda x, y: np.minimum(x, x.dtype.type(0.5))),
        (lambda xp, x, y: xp.minimum(1, x), lambda x, y: np.minimum(x.dtype.type(1), x)),
    ],
    "where": [
        (lambda xp, x, y: xp.where(x > 0, x, y), lambda x, y: np.where(x > 0, x, y)),
        (
            lambda xp, x, y: xp.where(x > 0, 1.0, y),
            lambda x, y: np.where(x > 0, x.dtype.type(1), y),
        ),
        (lambda xp, x, y: xp.where(True, x, y), lambda x, y: x),
        (lambda xp, x, y: xp.where(False, x, y), lambda x, y: y),
    ],
    "asarray": [(lambda xp, x, y: xp.asarray(x), lambda x, y: x)],
    "copy": [(lambda xp, x, y: xp.copy(x), lambda x, y: x)],
    "full_like": [(lambda xp, x, y: xp.full_like(x, 0.1), lambda x, y: np.full_like(x, 0.1))],
    "zeros_like": [(lambda xp, x, y: xp.zeros_like(x), lambda x, y: np.zeros_like(x))],
    "scalar_like": [(lambda xp, x, y: xp.scalar_like(x, 0.1), lambda x, y: x.dtype.type(0.1))],
    "any": [
        (
            lambda xp, x, y: xp.where(xp.any(x, axis=()), 1.0, x),
            lambda x, y: np.where(x != 0, x.dtype.type(1), x),
        )
    ],
}
ELSEWHERE = {"sum", "max", "mean", "cos", "any", "ndim", "is_real", "floor_log", "pi"}
"""What has a test of its own below."""


def same_bits(got: Any, expected: Any) -> bool:
    """Whether two arrays have the same shape, dtype and bits, whatever bits a NaN has."""
    got, expected = np.asarray(got), np.asarray(expected)
    kind = (got.shape, got.dtype) == (expected.shape, expected.dtype)
    signs = np.array_equal(np.signbit(got) & ~np.isnan(got), np.signbit(expected) & ~np.isnan(got))
    return kind and signs and np.array_equal(got, expected, equal_nan=True)


def test_every_function_has_a_test() -> None:
    public = {name for name in vars(Namespace) if not name.startswith("_")}
    assert public == FUNCTIONS.keys() | ELSEWHERE


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(8,), (4, 2), (), (0,)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_give_the_bits_of_numpy(
    backend: Backend, name: str, shape: tuple[int, ...], dtype: str
) -> None:
    x, y = (np.resize(np.array(v, dtype), shape) for v in (VALUES, OTHERS))
    ours, theirs = backend.asarray(x, dtype), backend.asarray(y, dtype)
    for function, of_numpy in FUNCTIONS[name]:
        with np.errstate(all="ignore"):
            got, expected = function(namespace(ours), ours, theirs), of_numpy(x, y)
        assert same_bits(backend.numpy(got), expected)


def test_a_copy_is_another_array(backend: Backend) -> None:
    x = backend.asarray([1.0, 2.0], "float32")
    assert namespace(x).copy(x) is not x


def test_a_copy_shares_no_memory() -> None:
    x = np.ones(3)
    assert not np.shares_memory(namespace(x).copy(x), x)


def test_sums_and_means_along_axes(backend: Backend) -> None:
    x = backend.asarray([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]], "float32")
    xp = namespace(x)
    assert same_bits(backend.numpy(xp.sum(x)), np.float32(36))
    sums = np.array([[[10]], [[26]]], np.float32)
    assert same_bits(backend.numpy(xp.sum(x, axis=(1, 2))), sums)
    means = np.array([[[2.5]], [[6.5]]], np.float32)
    assert same_bits(backend.numpy(xp.mean(x, axis=(1, 2))), means)
    assert same_bits(backend.numpy(xp.mean(x, axis=())), backend.numpy(x))
    assert xp.ndim(x) == 3


def test_the_largest_element(backend: Backend) -> None:
    for values, largest in (
        ([[-3.0, -1.0], [-2.0, -4.0]], -1.0),
        (5.0, 5.0),
        ([1.0, math.nan], math.nan),
        ([], -math.inf),
    ):
        x = backend.asarray(values, "float32")
        assert same_bits(backend.numpy(namespace(x).max(x)), np.float32(largest))


def test_any_along_axes(backend: Backend) -> None:
    x = backend.asarray([[0.0, -0.0], [0.0, 1.0], [math.nan, 0.0]], "float32")
    found = backend.numpy(namespace(x).any(x, axis=(1,)))
    assert found.tolist() == [[False], [True], [True]]


def test_cosine(backend: Backend) -> None:
    x = backend.asarray([0.0, 1.0], "float64")
    # CUDA documents an error of at most two units in the last place
    assert abs(backend.numpy(namespace(x).cos(x)) - [1.0, 0.5403023058681398]).max() <= 2.0**-52


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "bool", "complex64"])
def test_floating_point_numbers_alone_are_real(dtype: str) -> None:
    x = np.zeros(2, dtype)
    assert namespace(x).is_real(x) is dtype.startswith("float")


def test_python_numbers_stay_python_numbers(backend: Backend) -> None:
    xp = namespace(backend.asarray([1.0], "float32"))
    results = [
        (xp.sqrt(4.0), 2.0),
        (xp.abs(-3.0), 3.0),
        (xp.maximum(1.0, 2.0), 2.0),
        (xp.minimum(1.0, 2.0), 1.0),
        (xp.where(True, 1.0, 2.0), 1.0),
        (xp.cos(0.0), 1.0),
        (xp.pi, math.pi),
    ]
    for got, expected in results:
        assert type(got) is float
        assert got == expected


def test_nan_propagates_between_python_numbers(backend: Backend) -> None:
    xp = namespace(backend.asarray([1.0], "float32"))
    for function in (xp.maximum, xp.minimum):
        assert math.isnan(function(math.nan, 1.0))
        assert math.isnan(function(1.0, math.nan))
    assert math.isnan(xp.sqrt(-1.0))
    assert math.isnan(xp.sqrt(math.nan))


def test_a_scalar_of_numpy_is_an_array() -> None:
    assert type(namespace(np.ones(1)).sqrt(np.float64(4.0))) is np.float64


def test_integer_logarithms_are_exact() -> None:
    xp = namespace(np.ones(1))
    for base in (2, 3, 7, 10):
        for n in range(1, 12):
            assert xp.floor_log(base**n, base) == n
            assert xp.floor_log(base**n - 1, base) == n - 1
    assert xp.floor_log(1.0, 2) == 0
    assert xp.floor_log(8.5, 2) == 3


def test_arrays_of_other_libraries() -> None:
    torch = pytest.importorskip("torch", reason="runs the functions on torch tensors")
    jnp = pytest.importorskip("jax.numpy", reason="runs the functions on JAX arrays")
    x = np.array(VALUES, np.float32)
    for asarray in (torch.asarray, jnp.asarray):
        ours = asarray(x)
        xp = namespace(ours)
        assert isinstance(xp, ArrayNamespace)
        assert xp.is_real(ours)
        results = [xp.sqrt(xp.abs(ours)), xp.maximum(ours, 0.5), xp.where(ours > 0, ours, 0.0)]
        with np.errstate(invalid="ignore"):
            expected = [
                np.sqrt(np.abs(x)),
                np.maximum(x, np.float32(0.5)),
                np.where(x > 0, x, np.float32(0)),
            ]
        for got, wanted in zip(results, expected, strict=True):
            assert type(got) is type(ours)
            assert same_bits(got, wanted)


def test_numbers_with_bounds_and_symbols_name_their_own_namespace() -> None:
    import sympy as sp

    assert namespace(Bounded.exact(np.ones(2), FLOAT32)) is BOUNDS
    assert namespace(sp.Symbol("x")) is SYMBOLS
    assert namespace(sp.sqrt(sp.Symbol("x"))) is SYMBOLS


def test_one_library_has_one_namespace(backend: Backend) -> None:
    x, y = backend.asarray([1.0], "float32"), backend.asarray([[2.0]], "float64")
    assert namespace(x) is namespace(y)


@pytest.mark.parametrize("x", [1.0, 1, "1", None, {1.0}, True], ids=repr)
def test_what_is_not_an_array_is_refused(x: Array) -> None:
    with pytest.raises(TypeError, match=rf"floating-point array, got {type(x).__name__}; wrap it"):
        namespace(x)
