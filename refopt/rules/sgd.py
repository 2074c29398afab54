"""Stochastic gradient descent with momentum, and the other places of dampening and step size."""


def sgd(xp, t, g, b, *, momentum=0.0, dampening=0.0, nesterov=False):
    """Gradient descent with momentum. Sutskever et al. 2013, with the step size outside.

    The first buffer is the gradient itself, undampened, and without momentum there is no buffer.
    """
    b = xp.where(t == 1, g, momentum * b + (1 - dampening) * g)
    h = xp.where(nesterov, g + momentum * b, b)
    return xp.where(momentum == 0, g, h), b


def sgd_zero_buffer(xp, g, b, *, momentum=0.0, dampening=0.0, nesterov=False):
    """Gradient descent with momentum from a buffer of zeros: the first gradient is dampened too."""
    b = momentum * b + (1 - dampening) * g
    h = xp.where(nesterov, g + momentum * b, b)
    return xp.where(momentum == 0, g, h), b


def sgd_ema(xp, g, m, *, momentum=0.9):
    """Gradient descent along a moving average of the gradients."""
    m = momentum * m + (1 - momentum) * g
    return m, m


def sgd_lr_inside(xp, lr, g, u, *, momentum=0.0, nesterov=False):
    """Momentum of steps instead of gradients: each keeps the learning rate that it was taken at."""
    u = momentum * u + lr * g
    step = xp.where(nesterov, momentum * u + lr * g, u)
    return xp.where(momentum == 0, lr * g, step), u


def sgd_hidden_accumulation(xp, t, g, m, *, momentum=0.9, k=4):
    """One step of ``sgd_ema`` on the mean of every k gradients, which gathers in the momentum.

    Su, https://kexue.fm/archives/8634: exact, and needs no array for the accumulation.
    """
    m = xp.where((t - 1) % k == 0, momentum * m, m) + (1 - momentum) / k * g
    return xp.where(t % k == 0, m, xp.zeros_like(m)), m
