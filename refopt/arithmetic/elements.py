"""Small arrays of SymPy expressions: norms, means and rows are those of all their elements.

:mod:`refopt.arithmetic.symbols` stands for one generic element, and leaves sums over a tensor open.
Here every element of a small array has an expression of its own, so that what variants do to whole
tensors, rows and several parameters can be followed exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import sympy as sp

from refopt.arithmetic.symbols import SYMBOLS, exact
from refopt.xp import Array, Namespace


class Elements:
    """An array whose elements are expressions.

    >>> x = sp.Symbol("x")
    >>> EXACT.sum(Elements([x, 2]) ** 2)
    Elements(x**2 + 4)
    """

    def __init__(self, values: Any) -> None:
        array: Any = values.values if isinstance(values, Elements) else values
        self.values: Any = np.asarray(_sympified(np.asarray(array, dtype=object)), dtype=object)

    @property
    def __refopt_namespace__(self) -> Namespace:
        return EXACT

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return tuple(self.values.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return int(self.values.ndim)

    def __repr__(self) -> str:
        return f"Elements({self.values.tolist()})"

    def __add__(self, other: Any) -> Elements:
        return _mapped(lambda x, y: x + y, self, other)

    def __sub__(self, other: Any) -> Elements:
        return _mapped(lambda x, y: x - y, self, other)

    def __mul__(self, other: Any) -> Elements:
        return _mapped(lambda x, y: x * y, self, other)

    def __truediv__(self, other: Any) -> Elements:
        return _mapped(lambda x, y: x / y, self, other)

    def __pow__(self, other: Any) -> Elements:
        return _mapped(lambda x, y: x**y, self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Elements:
        return _mapped(lambda x, y: y - x, self, other)

    def __rtruediv__(self, other: Any) -> Elements:
        return _mapped(lambda x, y: y / x, self, other)

    def __neg__(self) -> Elements:
        return _mapped(lambda x: -x, self)

    def __le__(self, other: Any) -> Elements:
        return _mapped(sp.Le, self, other)

    def __gt__(self, other: Any) -> Elements:
        return _mapped(sp.Gt, self, other)

    def __or__(self, other: Any) -> Elements:
        return _mapped(sp.Or, self, other)


_sympified: Final = np.frompyfunc(
    lambda x: exact(x) if isinstance(x, float) else sp.sympify(x), 1, 1
)


def _mapped(function: Callable[..., Any], *arrays: Any) -> Elements:
    """A function of elements, broadcast as NumPy does."""
    arguments = [Elements(array).values for array in arrays]
    return Elements(np.frompyfunc(function, len(arguments), 1)(*arguments))


class ElementsNamespace(Namespace):
    """The functions of :mod:`refopt.xp` on arrays of expressions; on scalars those of symbols."""

    pi = sp.pi

    def sqrt(self, x: Array) -> Array:
        return self._each(SYMBOLS.sqrt, x)

    def abs(self, x: Array) -> Array:
        return self._each(SYMBOLS.abs, x)

    def sign(self, x: Array) -> Array:
        return self._each(SYMBOLS.sign, x)

    def maximum(self, x: Array, y: Array) -> Array:
        return self._each(SYMBOLS.maximum, x, y)

    def minimum(self, x: Array, y: Array) -> Array:
        return self._each(SYMBOLS.minimum, x, y)

    def cos(self, x: Array) -> Array:
        return self._each(SYMBOLS.cos, x)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        if isinstance(condition, bool):
            return x if condition else y
        return self._each(SYMBOLS.where, condition, x, y)

    def sum(self, x: Array, axis: tuple[int, ...] | None = None) -> Array:
        if axis is not None:
            return Elements(np.add.reduce(x.values, axis=axis, keepdims=True))
        return Elements(sp.Add(*x.values.ravel()))

    def max(self, x: Array) -> Array:
        return Elements(sp.Max(*x.values.ravel()))

    def mean(self, x: Array, axis: tuple[int, ...]) -> Array:
        count = int(np.prod([x.shape[i] for i in axis]))
        return Elements(np.add.reduce(x.values, axis=axis, keepdims=True) / sp.Integer(count))

    def any(self, x: Array, axis: tuple[int, ...]) -> Array:
        nonzero = _mapped(lambda e: sp.Ne(e, 0), x).values
        found = np.frompyfunc(sp.Or, 2, 1).reduce(nonzero, axis=axis, keepdims=True)
        return Elements(found if axis else nonzero)

    def ndim(self, x: Array) -> int:
        return int(x.ndim)

    def is_real(self, x: Array) -> bool:
        return True

    def asarray(self, x: Array) -> Array:
        return Elements(x)

    def copy(self, x: Array) -> Array:
        return Elements(x) if isinstance(x, Elements) else x  # a step count is a symbol

    def full_like(self, x: Array, value: Array) -> Array:
        return Elements(np.full(x.shape, value, dtype=object))

    def scalar_like(self, x: Array, value: Array) -> Array:
        return Elements(value)

    def floor_log(self, x: Array, base: Array) -> Array:
        return SYMBOLS.floor_log(x, base)

    def _each(self, function: Callable[..., Any], *arrays: Any) -> Any:
        if any(isinstance(array, Elements) for array in arrays):
            return _mapped(function, *arrays)
        return function(*arrays)


EXACT: Final = ElementsNamespace()
