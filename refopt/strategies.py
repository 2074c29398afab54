"""Hypothesis strategies for whoever tests an optimizer: gradients, hyperparameters, parameters.

::

    from hypothesis import given
    from hypothesis import strategies as st
    from refopt.strategies import gradient_trees, hyperparameters, parameter_trees

    @given(st.data(), hyperparameters("adamw"), parameter_trees())
    def test_it(data, values, params):
        opt = refopt.adamw(**values)
        grads = data.draw(gradient_trees(params))
        ...

An array is a few numbers repeated to its shape, ``np.resize([1, -0.5, 3], (17, 2))``: as quickly
drawn for a thousand elements as for three, and as legible in a report. The numbers have at most
eight significant bits, so every format from bfloat16 up holds them, and sums of a few of them are
exact. Everything shrinks towards few, small, round values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from refopt import specification
from refopt.hyperparameters import DOMAINS, Boolean, Interval, Knots
from refopt.tree import Tree, flattened, rebuilt

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "properties and strategies need Hypothesis: pip install 'refopt[properties]'"
    ) from error

Shape = tuple[int, ...]

SHAPES: Final[tuple[Shape, ...]] = (
    (),
    (1,),
    (3,),
    (2, 2),
    (7,),
    (0,),
    (3, 2),
    (8,),
    (2, 3, 2),
    (16,),
    (17,),
    (1, 5),
    (33,),
    (4, 8),
    (2, 1, 2, 3),
    (64,),
    (65,),
    (0, 3),
    (9, 15),
    (257,),
    (3, 5, 19),
    (1030,),
    (70, 33),
)
"""Shapes that kernels treat differently: numbers, tails of vectors of 4 to 64 elements, more than
one block, one row or one column, up to four axes, nothing at all."""

_TYPICAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "lr": (1.0, 0.25, 1e-3, 0.3),
    "momentum": (0.5, 0.9, 0.0, 0.99),
    "dampening": (0.0, 0.5, 0.3),
    "rho": (0.5, 0.9, 0.99, 0.0),
    "beta1": (0.5, 0.9, 0.0, 0.99),
    "beta2": (0.5, 0.99, 0.999, 0.25),
    "eps": (0.5, 1e-2, 1e-8, 2.0**-20),
    "initial_accumulator": (0.0, 0.5),
    "weight_decay": (0.5, 0.0, 0.01, 1.0),
    "momentum_decay": (4e-3, 0.5),
    "eta": (1.0, 1e-3, 0.25),
    "k": (1, 2, 3, 4),
    "alpha": (0.5, 1.0, 0.0, 0.8),
    "max_norm": (1.0, 0.25, 3.0),
    "max_value": (1.0, 0.25, 3.0),
    "scale": (1.0, 0.5, 1 / 3),
    "schedule": ({2: 1.0}, {2: 0.25, 4: 1.0}, {1: 1.0, 3: 0.5}),
    "warmup_steps": (1, 2, 3),
    "decay_steps": (1, 2, 5),
    "total_steps": (2, 5, 9),
    "decay_rate": (0.5, 0.9),
}
"""Values that show what a hyperparameter does, the simplest first."""

_ORDINARY: Final = (0, 1, -1, 3, -3)
_EXTREME: Final = (0, 10, -10, 30, -30, 60, -60, -120)
"""Powers of two that an array of numbers of the size of 1 is scaled by."""


def shapes() -> SearchStrategy[Shape]:
    """Shapes of up to four axes, and of up to some thousand elements."""
    small = st.lists(st.integers(1, 6), max_size=4).map(tuple)
    return st.sampled_from(SHAPES) | small


def arrays(
    shape: Shape, dtype: str = "float32", *, scales: Iterable[int] = _ORDINARY
) -> SearchStrategy[np.ndarray]:
    """A few numbers of up to eight bits, times one of the powers of two, repeated to a shape."""
    numbers = st.lists(st.integers(-255, 255), min_size=1, max_size=5)
    return st.builds(
        lambda numbers, scale: repeated([n * 2.0 ** (scale - 5) for n in numbers], shape, dtype),
        numbers,
        st.sampled_from(tuple(scales)),
    )


def repeated(numbers: Iterable[float], shape: Shape, dtype: str) -> np.ndarray:
    """Numbers, from the first again after the last, as an array of its own."""
    with np.errstate(over="ignore"):  # a scale that is too large for a narrow format
        return np.resize(np.array(list(numbers)).astype(dtype), shape)


def parameters(shape: Shape, dtype: str = "float32") -> SearchStrategy[np.ndarray]:
    """Parameters: numbers of the size of 1, zeros among them."""
    return arrays(shape, dtype)


def gradients(shape: Shape, dtype: str = "float32") -> SearchStrategy[np.ndarray]:
    """Gradients: numbers of any size, from those whose squares vanish to those that overflow."""
    return arrays(shape, dtype) | arrays(shape, dtype, scales=_EXTREME)


def parameter_trees(dtype: str = "float32", *, max_leaves: int = 6) -> SearchStrategy[Tree]:
    """Parameters as :meth:`refopt.Optimizer.init` takes them: nested dicts and lists of arrays."""
    leaf = shapes().flatmap(lambda shape: parameters(shape, dtype))
    keys = st.sampled_from(("kernel", "bias", "scale", "a", "b"))
    return st.recursive(
        leaf,
        lambda trees: (
            st.dictionaries(keys, trees, min_size=1, max_size=3)
            | st.lists(trees, min_size=1, max_size=3)
        ),
        max_leaves=max_leaves,
    )


def gradient_trees(params: Tree, *, missing: bool = False) -> SearchStrategy[Tree]:
    """Gradients for a tree of parameters; with ``missing`` also None for some of them."""

    def for_leaf(theta: np.ndarray) -> SearchStrategy[np.ndarray | None]:
        drawn = gradients(theta.shape, str(theta.dtype))
        return drawn | st.none() if missing else drawn

    leaves = {name: for_leaf(theta) for name, theta in flattened(params).items()}
    return st.fixed_dictionaries(leaves).map(lambda drawn: rebuilt(params, drawn))


def hyperparameters(
    expression: str, *, dialect: str | None = None
) -> SearchStrategy[dict[str, Any]]:
    """Hyperparameters of an optimizer by canonical name, but those that its expression pins.

    Defaults and telling values are drawn more often than others of the domain. An epsilon of 0 is
    not among them, nor is a learning rate of 0.

    Raises:
        ValueError: a name or the dialect does not exist.
        TypeError: the expression is none, or a hyperparameter in it does not exist.
    """
    optimizer = specification.resolve(expression, dialect)
    pinned = optimizer.pinned()
    free = {n: value for n, value in optimizer.hyperparameters().items() if n not in pinned}
    return st.fixed_dictionaries({name: values(name, default) for name, default in free.items()})


def telling(name: str, default: Any) -> tuple[Any, ...]:
    """Values of a hyperparameter that show what it does, the default first; no epsilon of 0."""
    values = (default, *_TYPICAL.get(name, ()))
    return tuple(value for value in values if value) if name == "eps" else values


def values(name: str, default: Any) -> SearchStrategy[Any]:
    """Values of one hyperparameter; its default is the simplest of them."""
    drawn = st.sampled_from(telling(name, default))
    match DOMAINS[name]:
        case Boolean():
            return st.sampled_from((default, not default))
        case Interval(integer=True) as domain:
            low = math.ceil(domain.low)
            return drawn | st.integers(low, low + 9)
        case Knots():
            return drawn
        case domain:
            least = max(domain.low, 2.0**-20)
            return drawn | st.floats(least, min(domain.high, 2.0) * (1 - 2.0**-10), width=32)
