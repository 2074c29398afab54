"""Which properties an optimizer has, by what the specifications of its layers state."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refopt import specification
from refopt.optimizer import Optimizer


def properties_of(layer: str) -> frozenset[str]:
    """What is stated of a name of the catalog, which may be a form."""
    owner = specification.owner(layer)
    if owner is None:
        return frozenset()
    spec = specification.load(owner)
    form = spec.forms.get(layer)
    own = spec.properties if form is None or form.properties is None else form.properties
    return frozenset(own)


def whole(expression: str, dialect: str | None) -> str | None:
    """The specification that an expression is nothing but, with or without hyperparameters."""
    if dialect is not None:
        return None
    node = ast.parse(expression.strip(), mode="eval").body
    name = node.func if isinstance(node, ast.Call) and not node.args else node
    if isinstance(name, ast.Name) and name.id in specification.names():
        return name.id
    return None


def stated(optimizer: Optimizer, expression: str, dialect: str | None) -> dict[str, frozenset[str]]:
    """The properties of an optimizer, by what it takes to have them.

    A name alone has what its specification states. A stack has what each of its layers states of
    itself, or says that it lets be; what its outermost layer does with the gradients that reach it;
    and what any layer does at some value of its hyperparameters.
    """
    if (name := whole(expression, dialect)) is not None:
        own = frozenset(specification.load(name).properties)
        return dict.fromkeys(("each layer", "outermost layer", "any layer", "specification"), own)
    layers = [properties_of(layer.name) for layer in optimizer.layers]
    rows = {"permutation_equivariant": "row_permutation_equivariant"}
    implied = [own | {rows[name] for name in own & rows.keys()} for own in layers]
    common = frozenset.intersection(*implied)
    redundant = {weaker for name, weaker in rows.items() if name in common}
    return {
        "each layer": common - redundant,
        "outermost layer": layers[-1],
        "any layer": frozenset[str]().union(*layers),
        "specification": frozenset(),
    }


@functools.cache
def bound_of_step(expression: str) -> Callable[[Mapping[str, Any]], np.ndarray]:
    """The bound of a step that the specification of an expression states, as a function."""
    import sympy as sp

    name = whole(expression, None)
    assert name is not None
    bound = specification.load(name).step_bound
    assert bound is not None
    formula = sp.sympify(bound.bound.replace("theta[t-1]", "theta"))
    names = sorted(str(symbol) for symbol in formula.free_symbols)
    function = sp.lambdify(names, formula, "numpy")

    def evaluated(values: Mapping[str, Any]) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(function(*(_number(values[n]) for n in names)))

    return evaluated


def _number(value: Any) -> Any:
    """A number that divides by zero as IEEE says; counts stay counts."""
    return value if isinstance(value, int) else np.float64(value)
