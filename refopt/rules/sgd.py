"""Stochastic gradient descent with momentum."""


def sgd(xp, t, g, b, *, momentum=0.0, dampening=0.0, nesterov=False):
    """Gradient descent with heavy-ball or Nesterov momentum; the first buffer is the gradient."""
    b = xp.where(t == 1, g, momentum * b + (1 - dampening) * g)
    h = xp.where(nesterov, g + momentum * b, b)
    return xp.where(momentum == 0, g, h), b


def sgd_ema(xp, t, g, m, *, momentum=0.9):
    """Gradient descent along a moving average of the gradients."""
    m = momentum * m + (1 - momentum) * g
    return m, m


def sgd_lr_inside(xp, lr, g, u, *, momentum=0.0, nesterov=False):
    """Heavy-ball momentum over steps instead of gradients: the learning rate is in the buffer."""
    u = momentum * u + lr * g
    return xp.where(nesterov, momentum * u + lr * g, u), u
