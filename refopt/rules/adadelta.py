"""Adadelta."""


def adadelta(xp, g, v, u, *, rho=0.95, eps=1e-6):
    """Adadelta. Zeiler, arXiv:1212.5701, Algorithm 1."""
    v = rho * v + (1 - rho) * g**2
    h = xp.sqrt(u + eps) / xp.sqrt(v + eps) * g
    u = rho * u + (1 - rho) * h**2
    return h, v, u
