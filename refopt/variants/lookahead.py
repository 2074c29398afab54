"""Lookahead: k steps forward, 1 step back."""

from refopt.layers import OnParameter
from refopt.optimizer import variant


def lookahead_init(xp, theta):
    """Slow weights start at the parameter."""
    return theta


@variant(OnParameter)
def lookahead(xp, t, theta, slow, *, k=5, alpha=0.5):
    """Lookahead. Zhang et al., arXiv:1907.08610, Algorithm 1."""
    synchronise = t % k == 0
    slow = xp.where(synchronise, slow + alpha * (theta - slow), slow)
    return xp.where(synchronise, slow, theta), slow
