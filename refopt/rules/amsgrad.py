"""AMSGrad: Adam whose second moment never falls, and the places where the maximum is taken."""


def amsgrad(xp, t, g, m, v, v_max, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """AMSGrad, with Adam's bias correction after the maximum.

    Reddi, Kale & Kumar, ICLR 2018 (arXiv:1904.09237), Algorithm 2, which has neither the bias
    correction nor epsilon.
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    v_max = xp.maximum(v_max, v)
    m_hat = m / (1 - beta1**t)
    v_hat = v_max / (1 - beta2**t)
    h = m_hat / (xp.sqrt(v_hat) + eps)
    return h, m, v, v_max


def amsgrad_epsilon_hat(xp, t, g, m, v, v_max, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """AMSGrad with epsilon added before the bias correction."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    v_max = xp.maximum(v_max, v)
    correction = xp.sqrt(1 - beta2**t) / (1 - beta1**t)
    h = correction * m / (xp.sqrt(v_max) + eps)
    return h, m, v, v_max


def amsgrad_of_corrected(xp, t, g, m, v, v_max, *, beta1=0.9, beta2=0.999, eps=1e-8):
    """AMSGrad with the maximum over the corrected second moment."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    v_max = xp.maximum(v_max, v_hat)
    h = m_hat / (xp.sqrt(v_max) + eps)
    return h, m, v, v_max
