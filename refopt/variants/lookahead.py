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


@variant(OnParameter)
def lookahead_from_zero(xp, t, theta, slow, *, k=5, alpha=0.5):
    """Lookahead whose slow weights start at zero, and synchronise after steps 1, k+1, 2k+1, ..."""
    synchronise = (t - 1) % k == 0
    slow = xp.where(synchronise, slow + alpha * (theta - slow), slow)
    return xp.where(synchronise, slow, theta), slow


@variant(OnParameter)
def lookahead_from_first_step(xp, t, theta, slow, *, k=5, alpha=0.5):
    """Lookahead whose slow weights start at step 1, and synchronise after k+1, 2k+1, ..."""
    synchronise = (t - 1) % k == 0
    interpolated = xp.where(t == 1, theta, slow + alpha * (theta - slow))
    slow = xp.where(synchronise, interpolated, slow)
    return xp.where(synchronise, slow, theta), slow


@variant(OnParameter)
def lookahead_after_first_step(xp, t, theta, slow, *, k=5, alpha=0.5):
    """Lookahead whose slow weights start at step 1, and synchronise after k, 2k, ..."""
    synchronise = t % k == 0
    start = xp.where(t == 1, theta, slow)
    slow = xp.where(synchronise, start + alpha * (theta - start), start)
    return xp.where(synchronise, slow, theta), slow


@variant(OnParameter)
def lookahead_from_first_period(xp, t, theta, slow, *, k=5, alpha=0.5):
    """Lookahead whose slow weights start at step k, and synchronise after 2k, 3k, ..."""
    synchronise = t % k == 0
    interpolated = xp.where(t <= k, theta, slow + alpha * (theta - slow))
    slow = xp.where(synchronise, interpolated, slow)
    return xp.where(synchronise, slow, theta), slow
