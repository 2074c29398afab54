"""AdaMax: Adam with the infinity norm, and the places where implementations put epsilon."""


def adamax(xp, t, g, m, u, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """AdaMax. Kingma & Ba, arXiv:1412.6980, Algorithm 2, with epsilon added to the gradient."""
    m = beta1 * m + (1 - beta1) * g
    u = xp.maximum(beta2 * u, xp.abs(g) + eps)
    h = m / (1 - beta1**t) / u
    return h, m, u


def adamax_epsilon_outside(xp, t, g, m, u, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """AdaMax with epsilon added to the infinity norm, outside the state."""
    m = beta1 * m + (1 - beta1) * g
    u = xp.maximum(beta2 * u, xp.abs(g))
    h = m / (1 - beta1**t) / (u + eps)
    return h, m, u


def adamax_uncorrected(xp, t, g, m, u, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """AdaMax without bias correction, epsilon outside the state."""
    m = beta1 * m + (1 - beta1) * g
    u = xp.maximum(beta2 * u, xp.abs(g))
    h = m / (u + eps)
    return h, m, u


def adamax_epsilon_on_decayed(xp, t, g, m, u, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """AdaMax with epsilon added to the decayed infinity norm, inside the state."""
    m = beta1 * m + (1 - beta1) * g
    u = xp.maximum(beta2 * u + eps, xp.abs(g))
    h = m / (1 - beta1**t) / u
    return h, m, u
