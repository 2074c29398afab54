"""The equations of the specification in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import sympy as sp

from refopt.specification import Form, Specification

_STEPPED: Final = re.compile(r"\b([A-Za-z_]\w*)\[t(-\d+)?\]")
_NAMES: Final[Mapping[str, str]] = {
    "g": "g",
    "h": "h",
    "theta": r"\theta",
    "lr": r"\gamma",
    "g_new": "g'",
    "h_new": "h'",
    "theta_new": r"\theta'",
    "beta": r"\beta",
    "beta_new": r"\beta'",
    "step": "u",
    "factor": r"\rho",
}
"""The symbols of the quantities that every specification may use."""

_FUNCTIONS: Final[Mapping[str, Any]] = {
    name: sp.Function(rf"\operatorname{{{text}}}")
    for name, text in {
        "norm": "norm",
        "total": "total",
        "row_mean": r"row\,mean",
        "any_in_row": r"any\,in\,row",
    }.items()
}


def latex(equation: str, spec: Specification) -> str:
    r"""An equation as LaTeX, with the symbols that the specification gives.

    >>> from refopt.specification import load
    >>> latex("m[t] = beta1*m[t-1] + (1 - beta1)*g[t]", load("adam"))
    'm_{t} = \\beta_1 m_{t-1} + \\left(1 - \\beta_1\\right) g_{t}'
    """
    left, _, right = equation.partition("=")
    symbols: dict[Any, str] = {}
    names = _symbols(spec)

    def stepped(match: re.Match[str]) -> str:
        name, back = match[1], match[2] or ""
        identifier = f"{name}_back_{back.removeprefix('-') or 0}"
        symbols[sp.Symbol(identifier)] = f"{names.get(name, _accented(name))}_{{t{back}}}"
        return identifier

    expression = sp.parse_expr(
        _STEPPED.sub(stepped, right),
        local_dict={**_FUNCTIONS, **{name: sp.Symbol(name) for name in names}},
        evaluate=False,
    )
    symbols |= {sp.Symbol(name): text for name, text in names.items()}
    target = sp.latex(sp.parse_expr(_STEPPED.sub(stepped, left)), symbol_names=symbols)
    # as it is written, in no other order
    return f"{target} = {sp.latex(expression, symbol_names=symbols, order='none')}"


def _symbols(spec: Specification) -> dict[str, str]:
    tables: tuple[Specification | Form, ...] = (spec, *spec.forms.values())
    hyperparameters = {h.name: h.symbol for table in tables for h in table.hyperparameters}
    state = {s.name: s.symbol for table in tables for s in table.state or ()}
    return {**_NAMES, **hyperparameters, **state}


def _accented(name: str) -> str:
    """``m_hat`` as a hat over m, other names as they are."""
    stem, _, accent = name.rpartition("_")
    if accent in ("hat", "bar", "tilde"):
        return rf"\{accent}{{{stem}}}"
    return name.replace("_", r"\_")
