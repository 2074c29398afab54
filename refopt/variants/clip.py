"""Clipping of gradients."""

from refopt.layers import OnGradients
from refopt.optimizer import variant


@variant(OnGradients)
def clip_by_global_norm(xp, gs, *, max_norm=1.0):
    """Scales all gradients together so that their joint norm is at most ``max_norm``."""
    norm = xp.sqrt(sum(xp.sum(g**2) for g in gs))
    factor = xp.minimum(1.0, max_norm / norm)
    return [factor * g for g in gs]
