"""Clipping of gradients."""

from refopt.layers import OnGradient, OnGradients
from refopt.optimizer import variant


@variant(OnGradient)
def clip_by_value(xp, g, *, max_value=1.0):
    """Limits each element to ``[-max_value, max_value]``."""
    return xp.minimum(xp.maximum(g, -max_value), max_value)


@variant(OnGradient)
def clip_by_norm(xp, g, *, max_norm=1.0):
    """Scales each gradient so that its norm is at most ``max_norm``."""
    norm = xp.sqrt(xp.sum(g**2))
    return max_norm / xp.maximum(norm, max_norm) * g


@variant(OnGradients)
def clip_by_global_norm(xp, gs, *, max_norm=1.0):
    """Scales all gradients together so that their joint norm is at most ``max_norm``.

    Pascanu et al., arXiv:1211.5063, Algorithm 1.
    """
    norm = xp.sqrt(sum(xp.sum(g**2) for g in gs))
    factor = max_norm / xp.maximum(norm, max_norm)
    return [xp.scalar_like(g, factor) * g for g in gs]


@variant(OnGradients)
def clip_by_global_norm_offset(xp, gs, *, max_norm=1.0):
    """Scales all gradients together, as if their joint norm were larger by 1e-6."""
    norm = xp.sqrt(sum(xp.sum(g**2) for g in gs))
    factor = xp.minimum(max_norm / (norm + 1e-6), 1.0)
    return [xp.scalar_like(g, factor) * g for g in gs]
