"""Several parameters as one, where an optimizer treats each element alone.

Most of the time of a check goes into calls of NumPy on arrays of a few elements. What computes
every element from that element alone, as most optimizers do, computes the same on one long
parameter as on several, to the last bit of value and bound, in a fraction of the calls.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import Final

from refopt import layers as stages
from refopt.layers import Function, Layer
from refopt.optimizer import Optimizer
from refopt.oracle.edited import RuleWithRate, source

_STAGES: Final = frozenset(
    {
        stages.Rule,
        RuleWithRate,
        stages.OnGradient,
        stages.OnDirection,
        stages.OnParameterBefore,
        stages.OnParameter,
        stages.OnDecayRates,
        stages.OnLearningRate,
        stages.OnWindow,
        stages.CountsMissing,
    }
)
"""The kinds of layers that treat each parameter, and each element of it, as their function does."""

_FUNCTIONS: Final = frozenset(
    {
        "pi",
        "sqrt",
        "abs",
        "sign",
        "maximum",
        "minimum",
        "cos",
        "where",
        "zeros_like",
        "full_like",
        "scalar_like",
    }
)
"""What a function may take from its namespace."""

_SCALARS: Final = frozenset({"xp", "t", "lr", "beta"})
"""The arguments that are the same for all elements, so that any function of these is."""


def is_elementwise(optimizer: Optimizer) -> bool:
    """Whether an optimizer treats each element alone; False where that is not plain to see."""
    return type(optimizer) is Optimizer and all(map(_treats_each_alone, optimizer.layers))


def _treats_each_alone(layer: Layer) -> bool:
    if type(layer) not in _STAGES or layer.exclude is not None:
        return False
    if _SCALARS.issuperset(layer.arguments) and layer.initial is None and layer.missing is None:
        return True
    functions = (layer.function, layer.initial, layer.missing)
    return all(_is_of_plain_statements(function) for function in functions if function is not None)


def _is_of_plain_statements(function: Function) -> bool:
    return all(map(is_plain, source(function).statements))


@cache
def is_plain(statement: ast.stmt) -> bool:
    """Whether a statement is arithmetic and calls of elementwise functions."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and not _is_known(node):
            return False
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Attribute):
            return False
        if isinstance(node, ast.Subscript | ast.comprehension | ast.Lambda):
            return False
    return True


def _is_known(node: ast.Attribute) -> bool:
    of_namespace = isinstance(node.value, ast.Name) and node.value.id == "xp"
    return of_namespace and node.attr in _FUNCTIONS
