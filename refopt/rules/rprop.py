"""Rprop: step sizes that grow while the gradient keeps its sign, and shrink where it changes it.

Of a gradient the sign alone is used. What stands for the last gradient is zero before the first and
after a change of sign, and then a step size stays as it is. ``initial_step`` lies between
``min_step`` and ``max_step``.
"""


def rprop_init(xp, theta, *, initial_step):
    """Every step size starts at ``initial_step``, what stands for the last gradient at zero."""
    return xp.full_like(theta, initial_step), xp.zeros_like(theta)


def rprop(
    xp, g, delta, g_old, *,
    initial_step=0.1, eta_minus=0.5, eta_plus=1.2, min_step=1e-6, max_step=50.0,
):  # fmt: skip
    """Rprop that takes no step where the sign changes. Igel & Hüsken 2003, iRprop-."""
    change = g * g_old
    grown = xp.minimum(eta_plus * delta, max_step)
    shrunk = xp.maximum(eta_minus * delta, min_step)
    delta = xp.where(change > 0, grown, xp.where(change < 0, shrunk, delta))
    g_old = xp.where(change < 0, 0.0, g)
    h = delta * xp.sign(g_old)
    return h, delta, g_old


def rprop_backtracking_init(xp, theta, *, initial_step):
    """Every step size starts at ``initial_step``, the last gradient and the last step at zero."""
    return xp.full_like(theta, initial_step), xp.zeros_like(theta), xp.zeros_like(theta)


def rprop_backtracking(
    xp, g, delta, g_old, h_old, *,
    initial_step=0.1, eta_minus=0.5, eta_plus=1.2, min_step=1e-6, max_step=50.0,
):  # fmt: skip
    """Rprop that takes the last step back where the sign changes. Riedmiller & Braun 1993."""
    change = g * g_old
    grown = xp.minimum(eta_plus * delta, max_step)
    shrunk = xp.maximum(eta_minus * delta, min_step)
    delta = xp.where(change > 0, grown, xp.where(change < 0, shrunk, delta))
    h = xp.where(change < 0, -h_old, delta * xp.sign(g))
    g_old = xp.where(change < 0, 0.0, g)
    return h, delta, g_old, h


rprop_delayed_init = rprop_init


def rprop_delayed(
    xp, g, delta, h_next, *,
    initial_step=0.1, eta_minus=0.5, eta_plus=1.2, min_step=1e-6, max_step=50.0,
):  # fmt: skip
    """Rprop whose steps come one call late, and not at all if the sign changes meanwhile."""
    change = g * h_next
    grown = xp.minimum(eta_plus * delta, max_step)
    shrunk = xp.maximum(eta_minus * delta, min_step)
    delta = xp.where(change > 0, grown, xp.where(change < 0, shrunk, delta))
    h = xp.where(change < 0, 0.0, h_next)
    h_next = xp.where(change < 0, 0.0, delta * xp.sign(g))
    return h, delta, h_next
