"""Adam, and the other places where implementations put epsilon and the bias correction."""


def adam(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam. Kingma & Ba, arXiv:1412.6980, Algorithm 1."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    h = m_hat / (xp.sqrt(v_hat) + eps)
    return h, m, v


def adam_epsilon_hat(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam in the order of the note below Algorithm 1: epsilon is added before the correction."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    correction = xp.sqrt(1 - beta2**t) / (1 - beta1**t)
    h = correction * m / (xp.sqrt(v) + eps)
    return h, m, v


def adam_epsilon_inside(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam with epsilon inside the root."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    h = m_hat / xp.sqrt(v_hat + eps)
    return h, m, v


def adam_uncorrected(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam without bias correction, as in BERT's training code."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    h = m / (xp.sqrt(v) + eps)
    return h, m, v
