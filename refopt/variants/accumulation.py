"""Large batches from small ones: gradient accumulation, and what comes close to it."""

from refopt.layers import OnDecayRates, OnDirection, OnLearningRate, OnWindow
from refopt.optimizer import variant


@variant(OnWindow)
def gradient_accumulation(xp, t, g, mean, *, k=4):
    """One step on the mean of every k gradients; inside, t counts steps."""
    # Each gradient is divided on its own, so that the bounds admit running means and sums alike.
    mean = mean + g / k
    complete = t % k == 0
    return (xp.where(complete, t // k, 0), mean), xp.where(complete, xp.zeros_like(mean), mean)


@variant(OnWindow)
def gradient_accumulation_deferred(xp, t, g, total, *, k=4):
    """Steps at the first call of a window, on the window before it; inside, t counts calls."""
    first = (t - 1) % k == 0
    return (xp.where(first, t, 0), total / k), xp.where(first, g, total + g)


@variant(OnDirection)
def apply_every(xp, t, h, total, *, k=4):
    """Every k-th step goes along the sum of the last k directions; the others stay in place."""
    total = total + h
    complete = t % k == 0
    zero = xp.zeros_like(total)
    return xp.where(complete, total, zero), xp.where(complete, zero, total)


@variant(OnDecayRates)
def beta_tilde(beta, *, k=4):
    """Moving averages of k times the length."""
    return 1 - (1 - beta) / k


@variant(OnLearningRate)
def update_every(xp, t, *, k=4):
    """The parameter moves in every k-th step alone; the state in all of them."""
    return xp.where(t % k == 0, 1.0, 0.0)
