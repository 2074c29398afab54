"""Weight decay decoupled from the gradient, and the other moments at which frameworks decay."""

from refopt.layers import OnDirection, OnParameter, OnParameterBefore
from refopt.optimizer import variant


@variant(OnDirection)
def weight_decay(h, theta, *, weight_decay=0.01):
    """Decoupled decay inside the direction, by ``lr * weight_decay``.

    Loshchilov & Hutter, arXiv:1711.05101, Algorithm 2; in the paper the schedule alone scales it.
    """
    return h + weight_decay * theta


@variant(OnDirection)
def weight_decay_corrected(xp, t, h, theta, *, weight_decay=0.01, beta1=0.9, beta2=0.999):
    """Decay inside the direction, scaled by the bias correction of Adam."""
    correction = xp.sqrt(1 - beta2**t) / (1 - beta1**t)
    return h + correction * weight_decay * theta


@variant(OnParameterBefore)
def weight_decay_before(lr, theta, *, weight_decay=0.01):
    """Decay by ``lr * weight_decay`` before the step; everything inside sees the decayed one."""
    return theta - lr * weight_decay * theta


@variant(OnParameter)
def weight_decay_after(lr, theta, *, weight_decay=0.01):
    """Decay by ``lr * weight_decay`` after the step, of the new parameter."""
    return theta - lr * weight_decay * theta


@variant(OnParameter)
def weight_decay_after_corrected(xp, t, lr, theta, *, weight_decay=0.01, beta1=0.9, beta2=0.999):
    """Decay of the new parameter, scaled by the bias correction of Adam as well as by ``lr``."""
    correction = xp.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - lr * correction * weight_decay * theta


@variant(OnParameter)
def weight_decay_free(theta, theta_old, *, weight_decay=0.01):
    """Decay by ``weight_decay`` whatever the learning rate, of the old parameter."""
    return theta - weight_decay * theta_old


@variant(OnParameter)
def weight_decay_free_after(theta, *, weight_decay=0.01):
    """Decay by ``weight_decay`` whatever the learning rate, of the new parameter."""
    return theta - weight_decay * theta
