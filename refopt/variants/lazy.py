"""Lazy updates: rows that had no part in the loss, such as absent words, stay as they are."""

from refopt.layers import OnParameter, OnRows
from refopt.optimizer import variant


@variant(OnRows)
def lazy(xp, g, old, new):
    """Rows, along the first axis, whose gradient is all zero keep their parameter and state."""
    others = tuple(range(1, xp.ndim(g)))
    return xp.where(xp.any(g, axis=others), new, old)


@variant(OnParameter)
def lazy_parameter(xp, g, theta, theta_old):
    """Vectors along the last axis whose gradient is all zero keep their parameter alone."""
    last = tuple(range(xp.ndim(g)))[-1:]
    return xp.where(xp.any(g, axis=last), theta, theta_old)
