"""Weight decay, Lion, LAMB and LARS, right."""

from __future__ import annotations

import math

import numpy as np

from controls.control import Controls, fma

CONTROLS = control = Controls()


def adam(g, t, s, *, beta1, beta2, eps):
    """Adam's direction, interpolated."""
    s.m = s.m + (1 - beta1) * (g - s.m)
    s.v = s.v + (1 - beta2) * (g * g - s.v)
    return s.m / (1 - beta1**t) / (np.sqrt(s.v) / math.sqrt(1 - beta2**t) + eps)


# AdamW


@control("adamw")
def decayed_by_a_factor(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta * (1 - lr * weight_decay) - lr * adam(g, t, s, **rates)


@control("adamw")
def decay_subtracted_first(theta, g, t, s, *, lr, weight_decay, **rates):
    theta = theta - lr * weight_decay * theta
    return theta - lr * adam(g, t, s, **rates)


@control("adamw")
def decay_subtracted_last(theta, g, t, s, *, lr, weight_decay, **rates):
    """Of the parameter before the step."""
    new = theta - lr * adam(g, t, s, **rates)
    return new - lr * weight_decay * theta


@control("adamw")
def step_then_decay(theta, g, t, s, *, lr, weight_decay, **rates):
    """The step is made so much larger that the decay after it leaves what it should."""
    kept = 1 - lr * weight_decay
    return (theta - lr / kept * adam(g, t, s, **rates)) * kept


@control("adamw")
def decay_in_the_direction(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * (weight_decay * theta + adam(g, t, s, **rates))


@control("adamw")
def decay_fused(theta, g, t, s, *, lr, weight_decay, **rates):
    f = theta.dtype.type
    return fma(f(1 - lr * weight_decay), theta, f(-lr) * adam(g, t, s, **rates))


@control("adamw")
def update_as_a_whole(theta, g, t, s, *, lr, weight_decay, **rates):
    """The update is summed up before it meets the parameter."""
    update = -lr * adam(g, t, s, **rates)
    update = update + (-lr * weight_decay) * theta
    return theta + update


@control("adamw", "torch")
def decayed_as_torch_does(theta, g, t, s, *, lr, weight_decay, **rates):
    theta = theta * (1 - lr * weight_decay)
    return theta + (-lr) * adam(g, t, s, **rates)


@control("l2(adam)")
def l2_fused(theta, g, t, s, *, lr, weight_decay, **rates):
    return theta - lr * adam(fma(theta.dtype.type(weight_decay), theta, g), t, s, **rates)


@control("l2(sgd(momentum=0.0))")
def l2_as_decay(theta, g, t, s, *, lr, weight_decay):
    return theta * (1 - lr * weight_decay) - lr * g


@control("l2(sgd(momentum=0.0))")
def l2_as_a_second_step(theta, g, t, s, *, lr, weight_decay):
    return theta - lr * g - lr * (weight_decay * theta)


# Lion


@control("lion")
def sign_by_two_comparisons(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    c = beta1 * s.m + (1 - beta1) * g
    sign = (c > 0).astype(theta.dtype) - (c < 0).astype(theta.dtype)
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr * (sign + weight_decay * theta)


@control("lion")
def sign_by_copysign(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    """``copysign`` where there is a sign to copy."""
    c = s.m + (1 - beta1) * (g - s.m)
    step = np.where(c == 0, 0, np.copysign(theta.dtype.type(lr), c))
    s.m = s.m + (1 - beta2) * (g - s.m)
    return theta * (1 - lr * weight_decay) - step


@control("lion")
def sign_by_clamping(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    """Scaled beyond any limit, then clamped to one."""
    c = np.float64(beta1) * np.float64(s.m) + (1 - beta1) * np.float64(g)
    sign = np.clip(c * 2.0**1000, -1, 1)
    s.m = (beta2 * np.float64(s.m) + (1 - beta2) * np.float64(g)).astype(theta.dtype)
    return theta - lr * sign - lr * weight_decay * theta


@control("lion")
def lion_of_sums(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    """The buffer is a sum: its scale does not matter to a sign, only the ratio does."""
    c = beta1 * (1 - beta2) * s.total + (1 - beta1) * g
    s.total = beta2 * s.total + g
    theta = theta - lr * weight_decay * theta
    return theta - lr * np.sign(c)


# LAMB


def ratio(above, below):
    return above / below if above > 0 and below > 0 else 1.0


def loop_norm(x):
    """One after the other, in the format of the array."""
    total = x.dtype.type(0)
    for value in np.ravel(x):
        total = total + value * value
    return np.sqrt(total)


def pairwise_norm(x):
    return np.sqrt(np.sum(x * x, dtype=x.dtype))


def double_norm(x):
    flat = np.ravel(np.float64(x))
    return math.sqrt(flat @ flat)


def library_norm(x):
    return np.linalg.norm(np.ravel(x))


def scaled_norm(x):
    """As BLAS has it: relative to the largest element, so that no square overflows."""
    largest = np.max(np.abs(x), initial=0)
    return largest * np.sqrt(np.sum((x / largest) ** 2)) if largest > 0 else largest


def lamb_with(norm, name):
    def lamb(theta, g, t, s, *, lr, weight_decay, **rates):
        h = adam(g, t, s, **rates) + weight_decay * theta
        return theta - lr * ratio(norm(theta), norm(h)) * h

    lamb.__name__ = name
    control("lamb")(lamb)


lamb_with(loop_norm, "lamb_with_norms_in_a_loop")
lamb_with(pairwise_norm, "lamb_with_pairwise_norms")
lamb_with(double_norm, "lamb_with_norms_in_double")
lamb_with(library_norm, "lamb_with_norms_of_a_library")
lamb_with(scaled_norm, "lamb_with_scaled_norms")


@control("lamb")
def lamb_with_root_mean_squares(theta, g, t, s, *, lr, weight_decay, **rates):
    """The count of elements cancels."""
    h = adam(g, t, s, **rates) + weight_decay * theta
    if theta.size == 0:
        return theta
    above, below = (np.sqrt(np.mean(x * x)) for x in (theta, h))
    return theta - lr * ratio(above, below) * h


@control("lamb")
def lamb_with_a_unit_vector(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    above, below = library_norm(theta), library_norm(h)
    if not above > 0 or not below > 0:
        return theta - lr * h
    return theta - (h / below) * (lr * above)


@control("lamb")
def lamb_with_one_root(theta, g, t, s, *, lr, weight_decay, **rates):
    h = adam(g, t, s, **rates) + weight_decay * theta
    square, other = (float(np.sum(np.float64(x) ** 2)) for x in (theta, h))
    factor = math.sqrt(square / other) if square > 0 and other > 0 else 1.0
    return theta - lr * factor * h


@control("lamb")
def lamb_guarded_afterwards(theta, g, t, s, *, lr, weight_decay, **rates):
    """0/0 and x/0 are taken back to one."""
    h = weight_decay * theta + adam(g, t, s, **rates)
    above, below = pairwise_norm(theta), pairwise_norm(h)
    factor = above / below
    if not np.isfinite(factor) or factor == 0:
        factor = 1.0
    return theta - lr * factor * h


# LARS


@control("lars")
def lars_with_one_factor(theta, g, t, s, *, lr, momentum, eta, weight_decay, eps):
    above, below = double_norm(theta), double_norm(g)
    local = eta * above / (below + weight_decay * above + eps) if above > 0 and below > 0 else 1.0
    s.u = momentum * s.u + (lr * local) * g + (lr * local * weight_decay) * theta
    return theta - s.u


@control("lars")
def lars_with_a_reciprocal(theta, g, t, s, *, lr, momentum, eta, weight_decay, eps):
    above, below = loop_norm(theta), loop_norm(g)
    local = theta.dtype.type(1)
    if above > 0 and below > 0:
        local = above * eta * (1 / (eps + below + above * weight_decay))
    s.u = momentum * s.u - lr * (local * (g + weight_decay * theta))
    return theta + s.u
