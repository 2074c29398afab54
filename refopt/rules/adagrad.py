"""Adagrad, and the other places where implementations put epsilon."""


def adagrad_init(xp, theta, *, initial_accumulator):
    """The sum of squares starts at ``initial_accumulator``."""
    return xp.full_like(theta, initial_accumulator)


def adagrad(xp, g, s, *, eps=1e-10, initial_accumulator=0.0):
    """Adagrad with diagonal matrices. Duchi, Hazan & Singer, JMLR 12 (2011), Figure 1."""
    s = s + g**2
    h = g / (xp.sqrt(s) + eps)
    return h, s


adagrad_epsilon_inside_init = adagrad_init


def adagrad_epsilon_inside(xp, g, s, *, eps=1e-10, initial_accumulator=0.0):
    """Adagrad with epsilon inside the root."""
    s = s + g**2
    h = g / xp.sqrt(s + eps)
    return h, s


adagrad_guarded_init = adagrad_init


def adagrad_guarded(xp, g, s, *, eps=1e-10, initial_accumulator=0.0):
    """Adagrad with epsilon inside the root, and no step where the sum of squares is zero."""
    s = s + g**2
    h = xp.where(s > 0, 1 / xp.sqrt(s + eps), 0.0) * g
    return h, s
