"""Rescaling of gradients, such as by 1/batch size or the inverse of a loss scale."""

from refopt.layers import OnGradient
from refopt.optimizer import variant


@variant(OnGradient)
def rescale(g, *, scale=1.0):
    """Multiplies the gradient by a number."""
    return scale * g
