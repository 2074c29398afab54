"""RMSprop, and the other places where implementations put epsilon and the learning rate."""


def rmsprop(xp, g, v, m, b, *, rho=0.9, eps=1e-8, momentum=0.0, centered=False):
    """RMSprop. Tieleman & Hinton 2012, Lecture 6.5; centered as in Graves, arXiv:1308.0850."""
    v = rho * v + (1 - rho) * g**2
    m = rho * m + (1 - rho) * g
    variance = xp.where(centered, v - m**2, v)
    h = g / (xp.sqrt(variance) + eps)
    b = xp.where(momentum == 0, h, momentum * b + h)
    return b, v, m, b


def rmsprop_epsilon_inside(xp, g, v, m, b, *, rho=0.9, eps=1e-8, momentum=0.0, centered=False):
    """RMSprop with epsilon inside the root."""
    v = rho * v + (1 - rho) * g**2
    m = rho * m + (1 - rho) * g
    variance = xp.where(centered, v - m**2, v)
    h = g / xp.sqrt(variance + eps)
    b = xp.where(momentum == 0, h, momentum * b + h)
    return b, v, m, b


def rmsprop_lr_inside_init(xp, theta, *, initial_accumulator):
    """The average of squares starts at ``initial_accumulator``."""
    zeros = xp.zeros_like(theta)
    return xp.full_like(theta, initial_accumulator), zeros, zeros


def rmsprop_lr_inside(
    xp, lr, g, v, m, u, *,
    rho=0.9, eps=1e-8, momentum=0.0, nesterov=False, centered=False, initial_accumulator=0.0,
):  # fmt: skip
    """RMSprop with momentum of steps: each keeps the learning rate that it was taken at."""
    v = rho * v + (1 - rho) * g**2
    m = rho * m + (1 - rho) * g
    variance = xp.where(centered, v - m**2, v)
    step = lr * g / (xp.sqrt(variance) + eps)
    u = xp.where(momentum == 0, step, momentum * u + step)
    return xp.where(nesterov, momentum * u + step, u), v, m, u


rmsprop_epsilon_lr_inside_init = rmsprop_lr_inside_init


def rmsprop_epsilon_lr_inside(
    xp, lr, g, v, m, u, *,
    rho=0.9, eps=1e-8, momentum=0.0, nesterov=False, centered=False, initial_accumulator=0.0,
):  # fmt: skip
    """RMSprop with epsilon inside the root and momentum of steps. Graves, arXiv:1308.0850."""
    v = rho * v + (1 - rho) * g**2
    m = rho * m + (1 - rho) * g
    variance = xp.where(centered, v - m**2, v)
    step = lr * g / xp.sqrt(variance + eps)
    u = xp.where(momentum == 0, step, momentum * u + step)
    return xp.where(nesterov, momentum * u + step, u), v, m, u
