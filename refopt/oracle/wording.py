"""What the names of the rules and variants mean, in words."""

from __future__ import annotations

import ast
from typing import Final

WORDS: Final = {
    "alpha": "alpha",
    "b": "the momentum buffer",
    "complete": "the window is complete",
    "correction": "the correction",
    "decayed": "the decayed gradient",
    "eps": "epsilon",
    "factor": "the factor",
    "g": "the gradient",
    "h": "the direction",
    "lr": "the learning rate",
    "local_lr": "the local learning rate",
    "m": "the first moment",
    "m_bar": "the look-ahead of the first moment",
    "m_hat": "the corrected first moment",
    "mean": "the mean of the window",
    "mu": "this step's momentum",
    "mu_next": "the next step's momentum",
    "mu_product": "the product of momenta",
    "norm": "the norm",
    "norm_decayed": "the norm of the decayed gradient",
    "norm_g": "the norm of the gradient",
    "norm_h": "the norm of the direction",
    "norm_theta": "the norm of the parameter",
    "r": "the rectification",
    "ratio": "the ratio",
    "s": "the sum of squares",
    "sign": "sign",
    "slow": "the slow weights",
    "step": "the step",
    "t": "the step count",
    "theta": "the parameter",
    "theta_old": "the old parameter",
    "total": "the total",
    "u": "the second accumulator",
    "v": "the second moment",
    "v_hat": "the corrected second moment",
    "v_max": "the maximum of second moments",
    "variance": "the variance",
    "weight_decay": "the decay",
}
"""For names that occur in the rules and variants; others stand for themselves."""


def said(node: ast.expr) -> str:
    """An expression in words, or as code where there are none."""
    match node:
        case ast.Name(id=name):
            return WORDS.get(name, name)
        case ast.Attribute(attr=name):
            return name
    return written(node)


def written(node: ast.AST) -> str:
    """Code as this project writes it: ``ast.unparse`` adds spaces and parentheses."""
    text = ast.unparse(node)
    if text.startswith("return (") and text.endswith(")") and isinstance(node, ast.Return):
        text = f"return {text[8:-1]}" if isinstance(node.value, ast.Tuple) else text
    return text.replace(" ** ", "**")
