"""Nadam: Adam with Nesterov momentum, and the momentum schedules that implementations use."""


def nadam_init(xp, theta):
    """Moments start at zero, the product of momenta at one."""
    return xp.zeros_like(theta), xp.zeros_like(theta), xp.scalar_like(theta, 1.0)


def nadam_missing(xp, t, mu_product, *, beta1, momentum_decay):
    """The schedule follows the count of steps, also through a step without a gradient."""
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    return mu_product * mu


def nadam(xp, t, g, m, v, mu_product, *, beta1=0.9, beta2=0.999, eps=1e-8, momentum_decay=4e-3):
    """Nadam. Dozat, ICLR 2016 workshop, Algorithm 2 with the momentum schedule of its section 3."""
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    mu_product = mu_product * mu
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_bar = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)
    v_hat = v / (1 - beta2**t)
    h = m_bar / (xp.sqrt(v_hat) + eps)
    return h, m, v, mu_product


def nadam_constant_momentum(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """Nadam with the momentum beta1 at every step."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_bar = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    h = m_bar / (xp.sqrt(v_hat) + eps)
    return h, m, v


def nadam_one_correction(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """Nadam with the momentum beta1 at every step, and one bias correction for both terms."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_bar = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    h = m_bar / (xp.sqrt(v_hat) + eps)
    return h, m, v
