"""L2 regularisation: the gradient of ``weight_decay/2 * |theta|^2`` joins the gradient."""

from refopt.layers import OnGradient
from refopt.optimizer import variant


@variant(OnGradient)
def l2(g, theta, *, weight_decay=0.01):
    """L2 regularisation: the decay term passes through the rule."""
    return g + weight_decay * theta
