"""Weight decay decoupled from the gradient, and the other moments at which frameworks decay."""

from refopt.layers import OnDirection, OnParameter, OnParameterBefore
from refopt.optimizer import variant


@variant(OnDirection)
def weight_decay(h, theta, *, weight_decay=0.01):
    """Decoupled decay inside the direction. Loshchilov & Hutter, arXiv:1711.05101, Algorithm 2."""
    return h + weight_decay * theta


@variant(OnParameterBefore)
def weight_decay_before(lr, theta, *, weight_decay=0.01):
    """Decay by ``lr * weight_decay`` before the step; everything inside sees the decayed one."""
    return theta - lr * weight_decay * theta


@variant(OnParameter)
def weight_decay_after(lr, theta, *, weight_decay=0.01):
    """Decay by ``lr * weight_decay`` after the step, of the new parameter."""
    return theta - lr * weight_decay * theta
