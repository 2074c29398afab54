"""Layer adaptation: steps in proportion to the size of the parameter, a tensor at a time.

No norm is negative: ``norm <= 0`` asks whether it is zero in a way that symbols leave open.
"""

from refopt.layers import OnDirection, OnGradient
from refopt.optimizer import variant


@variant(OnDirection)
def layer_adaptation(xp, h, theta):
    """Layer adaptation of the direction. You et al., arXiv:1904.00962, Algorithm 2 (LAMB)."""
    norm_theta = xp.sqrt(xp.sum(theta**2))
    norm_h = xp.sqrt(xp.sum(h**2))
    ratio = xp.where((norm_theta <= 0) | (norm_h <= 0), 1.0, norm_theta / norm_h)
    return ratio * h


@variant(OnGradient)
def trust_ratio(xp, g, theta, *, eta=1e-3, weight_decay=5e-4, eps=0.0):
    """Layer adaptation of the gradient and its decay. You et al., arXiv:1708.03888, Algorithm 1.

    The paper has no ``eps``; implementations do.
    """
    norm_theta = xp.sqrt(xp.sum(theta**2))
    norm_g = xp.sqrt(xp.sum(g**2))
    local_lr = eta * norm_theta / (norm_g + weight_decay * norm_theta + eps)
    ratio = xp.where((norm_theta <= 0) | (norm_g <= 0), 1.0, local_lr)
    return ratio * (g + weight_decay * theta)


@variant(OnGradient)
def trust_ratio_of_sum(xp, g, theta, *, eta=1e-3, weight_decay=5e-4, eps=0.0):
    """Layer adaptation by the norm of the gradient and its decay together."""
    decayed = g + weight_decay * theta
    norm_theta = xp.sqrt(xp.sum(theta**2))
    norm_decayed = xp.sqrt(xp.sum(decayed**2))
    local_lr = eta * norm_theta / (norm_decayed + eps)
    ratio = xp.where((norm_theta <= 0) | (norm_decayed <= 0), 1.0, local_lr)
    return ratio * decayed
