"""Gradient centralization."""

from refopt.layers import OnGradient
from refopt.optimizer import variant


@variant(OnGradient)
def gradient_centralization(xp, g):
    """Subtracts the mean of each row from matrices and larger. Yong et al., arXiv:2004.01461."""
    others = tuple(range(1, xp.ndim(g)))
    return xp.where(xp.ndim(g) > 1, g - xp.mean(g, axis=others), g)
