"""RAdam: Adam with its variance rectified, and the thresholds that implementations use.

Where the approximated length ``rho`` is too short to rectify, the terms of ``r`` that would divide
by zero or take the root of a negative number are replaced by one: ``r`` is not used there.
"""


def radam(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """RAdam. Liu et al., arXiv:1908.03265, Algorithm 2: rectified where rho > 4."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    rectified = rho > 4
    denominator = xp.where(rectified, (rho_inf - 4) * (rho_inf - 2) * rho, 1.0)
    r = xp.sqrt(xp.where(rectified, (rho - 4) * (rho - 2) * rho_inf / denominator, 1.0))
    h = xp.where(rectified, r * m_hat / (xp.sqrt(v_hat) + eps), m_hat)
    return h, m, v


def radam_from_5(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """RAdam, rectified where rho >= 5."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    rectified = rho >= 5
    denominator = xp.where(rectified, (rho_inf - 4) * (rho_inf - 2) * rho, 1.0)
    r = xp.sqrt(xp.where(rectified, (rho - 4) * (rho - 2) * rho_inf / denominator, 1.0))
    h = xp.where(rectified, r * m_hat / (xp.sqrt(v_hat) + eps), m_hat)
    return h, m, v


def radam_epsilon_hat(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """RAdam, rectified where rho > 5, epsilon added before the bias correction."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    rectified = rho > 5
    denominator = xp.where(rectified, (rho_inf - 4) * (rho_inf - 2) * rho, 1.0)
    r = xp.sqrt(xp.where(rectified, (rho - 4) * (rho - 2) * rho_inf / denominator, 1.0))
    h = xp.where(rectified, r * m_hat * xp.sqrt(1 - beta2**t) / (xp.sqrt(v) + eps), m_hat)
    return h, m, v


def radam_rectified_only(xp, t, g, m, v, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """RAdam that waits: rectified where rho >= 5, no step before, epsilon before the correction."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    rectified = rho >= 5
    denominator = xp.where(rectified, (rho_inf - 4) * (rho_inf - 2) * rho, 1.0)
    r = xp.sqrt(xp.where(rectified, (rho - 4) * (rho - 2) * rho_inf / denominator, 1.0))
    h = r * m_hat * xp.sqrt(1 - beta2**t) / (xp.sqrt(v) + eps)
    return xp.where(rectified, h, xp.zeros_like(g)), m, v
