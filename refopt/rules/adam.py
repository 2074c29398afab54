"""Adam, and the other places where implementations put epsilon, correction and accumulation."""


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


def adam_late_correction(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam whose bias correction counts the steps before this one; the first has none."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    before = xp.where(t == 1, 1, t - 1)
    correction = xp.where(t == 1, 1.0, xp.sqrt(1 - beta2**before) / (1 - beta1**before))
    h = correction * m / (xp.sqrt(v) + eps)
    return h, m, v


def adam_hidden_accumulation(xp, t, g, m, v, *, k=4, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam that accumulates k gradients in its moments and steps on every k-th call.

    The mean of the squares stands in for the square of the mean. Su, kexue.fm/archives/8634.
    """
    opens = (t - 1) % k == 0
    m = xp.where(opens, beta1 * m, m) + (1 - beta1) / k * g
    v = xp.where(opens, beta2 * v, v) + (1 - beta2) / k * g**2
    m_hat = m / (1 - beta1 ** (t / k))
    v_hat = v / (1 - beta2 ** (t / k))
    h = m_hat / xp.sqrt(v_hat + eps)
    return xp.where(t % k == 0, h, xp.zeros_like(h)), m, v
