"""The backend switch: the few array functions that rules and variants use, on any array library.

A rule is written against a :class:`Namespace`. NumPy, CuPy and every library that follows the
Python array API (torch, JAX, array-api-strict, ...) share :class:`ArrayNamespace`; numbers with
error bounds and SymPy symbols bring namespaces of their own. Python scalars stay Python scalars
(float64), so that ``1 - beta2**t`` is computed before it meets an array of lower precision, as
frameworks do.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from typing import Any

import array_api_compat.numpy
import numpy as np

Array = Any
"""An array of any supported library, or a Python scalar."""


def _is_scalar(x: Array) -> bool:
    """Whether ``x`` is a Python number; ``numpy.float64``, a subclass of float, is an array."""
    return type(x) is float or type(x) is int


class Namespace(ABC):
    """What a rule may call. Every function works elementwise and propagates NaN, unless said."""

    pi: Any = math.pi

    @abstractmethod
    def sqrt(self, x: Array) -> Array:
        """The square root; NaN below zero."""

    @abstractmethod
    def abs(self, x: Array) -> Array:
        """The absolute value."""

    @abstractmethod
    def sign(self, x: Array) -> Array:
        """-1, 0 or 1."""

    @abstractmethod
    def maximum(self, x: Array, y: Array) -> Array:
        """The larger of two."""

    @abstractmethod
    def minimum(self, x: Array, y: Array) -> Array:
        """The smaller of two."""

    @abstractmethod
    def cos(self, x: Array) -> Array:
        """The cosine of an angle in radians."""

    @abstractmethod
    def where(self, condition: Array, x: Array, y: Array) -> Array:
        """``x`` where the condition (a Python bool or an array) holds, else ``y``."""

    @abstractmethod
    def sum(self, x: Array, axis: tuple[int, ...] | None = None) -> Array:
        """The sum over all elements, 0-d, or over some axes, which stay as axes of length 1."""

    @abstractmethod
    def max(self, x: Array) -> Array:
        """The largest element, 0-d; minus infinity where there is none."""

    @abstractmethod
    def mean(self, x: Array, axis: tuple[int, ...]) -> Array:
        """The mean over some axes, which stay as axes of length 1."""

    @abstractmethod
    def any(self, x: Array, axis: tuple[int, ...]) -> Array:
        """Whether any element along some axes is not zero; they stay as axes of length 1."""

    @abstractmethod
    def ndim(self, x: Array) -> int:
        """The number of axes."""

    @abstractmethod
    def is_real(self, x: Array) -> bool:
        """Whether the elements of ``x`` are real floating-point numbers."""

    @abstractmethod
    def asarray(self, x: Array) -> Array:
        """``x`` as an array: NumPy turns the results of 0-d arithmetic into scalars of its own."""

    @abstractmethod
    def copy(self, x: Array) -> Array:
        """An array of its own with the same elements."""

    @abstractmethod
    def full_like(self, x: Array, value: Array) -> Array:
        """An array of the shape and dtype of ``x``, filled with one value."""

    @abstractmethod
    def scalar_like(self, x: Array, value: Array) -> Array:
        """A 0-d array of the dtype of ``x``."""

    def zeros_like(self, x: Array) -> Array:
        """Zeros of the shape and dtype of ``x``."""
        return self.full_like(x, 0.0)

    def floor_log(self, x: Array, base: Array) -> Array:
        """The largest integer n with ``base**n <= x``, for Python numbers x >= 1 and base > 1.

        A quotient of logarithms is not exact: ``int(math.log(243, 3))`` is 4.
        """
        n = 0
        while base ** (n + 1) <= x:
            n += 1
        return n


class ArrayNamespace(Namespace):
    """A library that follows the array API, called through array-api-compat."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self._native = getattr(library, "ndarray", None)

    def sqrt(self, x: Array) -> Array:
        if _is_scalar(x):
            return math.sqrt(x) if x >= 0 else math.nan
        return self.library.sqrt(x)

    def abs(self, x: Array) -> Array:
        return abs(x) if _is_scalar(x) else self.library.abs(x)

    def sign(self, x: Array) -> Array:
        return self.library.sign(x)

    def maximum(self, x: Array, y: Array) -> Array:
        if _is_scalar(x) and _is_scalar(y):
            return x if x >= y or math.isnan(x) else y
        return self.library.maximum(*self._matched(x, y))

    def minimum(self, x: Array, y: Array) -> Array:
        if _is_scalar(x) and _is_scalar(y):
            return x if x <= y or math.isnan(x) else y
        return self.library.minimum(*self._matched(x, y))

    def cos(self, x: Array) -> Array:
        return math.cos(x) if _is_scalar(x) else self.library.cos(x)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        if isinstance(condition, bool):
            return x if condition else y
        return self.library.where(condition, *self._matched(x, y))

    def sum(self, x: Array, axis: tuple[int, ...] | None = None) -> Array:
        if axis is None:
            return self.library.sum(x)
        return self.library.sum(x, axis=axis, keepdims=True)

    def max(self, x: Array) -> Array:
        if math.prod(x.shape) == 0:
            return self.scalar_like(x, -math.inf)
        return self.library.max(x)

    def mean(self, x: Array, axis: tuple[int, ...]) -> Array:
        if math.prod(x.shape) == 0:
            return x  # as good a mean as any, and NumPy warns of its own
        return self.library.mean(x, axis=axis, keepdims=True)

    def any(self, x: Array, axis: tuple[int, ...]) -> Array:
        return self.library.any(x != 0, axis=axis, keepdims=True) if axis else x != 0

    def ndim(self, x: Array) -> int:
        return int(x.ndim)

    def is_real(self, x: Array) -> bool:
        try:
            return bool(self.library.isdtype(x.dtype, "real floating"))
        except TypeError:  # NumPy refuses to judge dtypes of others, such as bfloat16
            return False

    def asarray(self, x: Array) -> Array:
        return x if type(x) is self._native else self.library.asarray(x)

    def copy(self, x: Array) -> Array:
        return self.library.asarray(x, copy=True)

    def full_like(self, x: Array, value: Array) -> Array:
        return self.library.full_like(x, value)

    def zeros_like(self, x: Array) -> Array:
        return self.library.zeros_like(x)

    def scalar_like(self, x: Array, value: Array) -> Array:
        return self.library.asarray(value, dtype=x.dtype, device=array_api_compat.device(x))

    def _matched(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Both as arrays: a Python scalar takes the dtype and device of the other."""
        if _is_scalar(x):
            return self.scalar_like(y, x), y
        if _is_scalar(y):
            return x, self.scalar_like(x, y)
        return x, y


@functools.cache
def _array_namespace(library: Any) -> ArrayNamespace:
    return ArrayNamespace(library)


def namespace(x: Array) -> Namespace:
    """The namespace that belongs to an array.

    Raises:
        TypeError: ``x`` is not an array of a library that follows the array API.
    """
    if type(x) is np.ndarray:
        return _array_namespace(array_api_compat.numpy)
    own = getattr(x, "__refopt_namespace__", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    if type(x).__module__.partition(".")[0] == "sympy":
        from refopt.arithmetic.symbols import SYMBOLS

        return SYMBOLS
    try:
        library = array_api_compat.array_namespace(x)
    except TypeError:
        raise TypeError(
            f"a parameter must be a floating-point array, got {type(x).__name__}; "
            "wrap it, for instance with numpy.asarray(..., dtype='float32')"
        ) from None
    return _array_namespace(library)
