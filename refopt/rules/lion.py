"""Lion."""


def lion(xp, g, theta, m, *, beta1=0.9, beta2=0.99, weight_decay=0.0):
    """Lion. Chen et al., arXiv:2302.06675, Algorithm 2."""
    h = xp.sign(beta1 * m + (1 - beta1) * g) + weight_decay * theta
    m = beta2 * m + (1 - beta2) * g
    return h, m
