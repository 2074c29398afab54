"""Adam and its relatives, right."""

from __future__ import annotations

import copy
import math

import numpy as np

from controls.control import Controls, fma

CONTROLS = control = Controls()


def moments(g, s, beta1, beta2):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2


# Adam


@control("adam")
def interpolated(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = s.m + (1 - beta1) * (g - s.m)
    s.v = s.v + (1 - beta2) * (g * g - s.v)
    return theta - lr * (s.m / (1 - beta1**t)) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


def lerp(start, end, weight):
    """As ``torch.lerp`` has it: from the nearer end."""
    return start + weight * (end - start) if weight < 0.5 else end - (end - start) * (1 - weight)


@control("adam")
@control("adam(beta1=0.3, beta2=0.4)")
def interpolated_from_the_nearer_end(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = lerp(s.m, g, 1 - beta1)
    s.v = lerp(s.v, g * g, 1 - beta2)
    return theta - lr * (s.m / (1 - beta1**t)) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@control("adam", links="NVIDIA/apex#1124")
def step_size_of_the_host(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The corrections are folded into the step size and epsilon before the kernel starts."""
    moments(g, s, beta1, beta2)
    root = math.sqrt(1 - beta2**t)
    step_size = lr * root / (1 - beta1**t)
    return theta - step_size * s.m / (np.sqrt(s.v) + eps * root)


@control("adam")
def reciprocals(theta, g, t, s, *, lr, beta1, beta2, eps):
    moments(g, s, beta1, beta2)
    c1, c2 = 1 / (1 - beta1**t), 1 / (1 - beta2**t)
    return theta - lr * (s.m * c1) * (1 / (np.sqrt(s.v * c2) + eps))


@control("adam")
def reciprocal_of_the_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The root of the second correction is divided out once a step."""
    moments(g, s, beta1, beta2)
    inverse = theta.dtype.type(1 / math.sqrt(1 - beta2**t))
    return theta - (lr / (1 - beta1**t)) * (s.m / (np.sqrt(s.v) * inverse + eps))


@control("adam")
def capturable(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The step size divides the denominator."""
    moments(g, s, beta1, beta2)
    step = -lr / (1 - beta1**t)
    return theta + s.m / (np.sqrt(s.v) / (math.sqrt(1 - beta2**t) * step) + eps / step)


@control("adam")
def running_powers(theta, g, t, s, *, lr, beta1, beta2, eps):
    moments(g, s, beta1, beta2)
    s.power1 = vars(s).get("power1", 1.0) * beta1
    s.power2 = vars(s).get("power2", 1.0) * beta2
    return theta - lr * (s.m / (1 - s.power1)) / (np.sqrt(s.v / (1 - s.power2)) + eps)


@control("adam")
def powers_by_logarithms(theta, g, t, s, *, lr, beta1, beta2, eps):
    moments(g, s, beta1, beta2)
    c1, c2 = (-math.expm1(t * math.log(beta)) for beta in (beta1, beta2))
    return theta - lr * (s.m / c1) / (np.sqrt(s.v / c2) + eps)


@control("adam")
def powers_in_working_precision(theta, g, t, s, *, lr, beta1, beta2, eps):
    """Running powers of rounded rates, and one minus them, in float32."""
    f = np.float32
    one, b1, b2 = f(1), f(beta1), f(beta2)
    s.power1 = vars(s).get("power1", one) * b1
    s.power2 = vars(s).get("power2", one) * b2
    s.m = b1 * s.m + (one - b1) * g
    s.v = b2 * s.v + (one - b2) * g * g
    root = np.sqrt(one - s.power2)
    return theta - f(lr) * root / (one - s.power1) * s.m / (np.sqrt(s.v) + f(eps) * root)


@control("adam")
def rounded_hyperparameters(theta, g, t, s, *, lr, beta1, beta2, eps):
    lr, beta1, beta2, eps = (float(np.float32(x)) for x in (lr, beta1, beta2, eps))
    moments(g, s, beta1, beta2)
    return theta - lr * (s.m / (1 - beta1**t)) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@control("adam")
def double_inside(theta, g, t, s, *, lr, beta1, beta2, eps):
    wide = np.float64
    m = beta1 * wide(s.m) + (1 - beta1) * wide(g)
    v = beta2 * wide(s.v) + (1 - beta2) * wide(g) ** 2
    s.m, s.v = m.astype(theta.dtype), v.astype(theta.dtype)
    return wide(theta) - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@control("adam")
def double_state(theta, g, t, s, *, lr, beta1, beta2, eps):
    wide = np.float64
    s.m = beta1 * wide(s.m) + (1 - beta1) * wide(g)
    s.v = beta2 * wide(s.v) + (1 - beta2) * wide(g) ** 2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@control("adam")
def double_master_copy(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The parameter itself is kept in double precision, and rounded where it is handed out."""
    wide = np.float64
    s.master = vars(s).get("master", wide(theta))
    s.m = beta1 * wide(s.m) + (1 - beta1) * wide(g)
    s.v = beta2 * wide(s.v) + (1 - beta2) * wide(g) ** 2
    h = s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)
    s.master = s.master - lr * h
    return s.master


@control("adam")
def fused_multiply_add(theta, g, t, s, *, lr, beta1, beta2, eps):
    f = theta.dtype.type
    s.m = fma(f(beta1), s.m, f(1 - beta1) * g)
    s.v = fma(f(1 - beta2) * g, g, f(beta2) * s.v)
    below = fma(np.sqrt(s.v), f(1 / math.sqrt(1 - beta2**t)), f(eps))
    return fma(f(-lr / (1 - beta1**t)), s.m / below, theta)


@control("adam")
def flushed_to_zero(theta, g, t, s, *, lr, beta1, beta2, eps):
    """A processor that takes subnormal numbers for zero."""
    smallest = np.finfo(theta.dtype).smallest_normal

    def z(x):
        return np.where(abs(x) < smallest, 0, x).astype(theta.dtype)

    g = z(g)
    s.m = z(z(beta1 * s.m) + z((1 - beta1) * g))
    s.v = z(z(beta2 * s.v) + z((1 - beta2) * z(g * g)))
    m_hat, v_hat = z(s.m / (1 - beta1**t)), z(s.v / (1 - beta2**t))
    return z(theta - z(lr * z(m_hat / z(np.sqrt(v_hat) + eps))))


@control("adam")
def negative_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The first moment is that of the descent direction."""
    s.m = beta1 * s.m - (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return theta + lr * (s.m / (1 - beta1**t)) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@control("adam")
def sums_for_averages(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + g
    s.v = beta2 * s.v + g * g
    step_size = lr * (1 - beta1) / (1 - beta1**t)
    root = np.sqrt(s.v * ((1 - beta2) / (1 - beta2**t)))
    return theta - step_size * s.m / (root + eps)


@control("adam")
def averages_that_are_never_biased(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = s.m + (1 - beta1) / (1 - beta1**t) * (g - s.m)
    s.v = s.v + (1 - beta2) / (1 - beta2**t) * (g * g - s.v)
    return theta - lr * s.m / (np.sqrt(s.v) + eps)


@control("adam")
def weights_of_all_gradients(theta, g, t, s, *, lr, beta1, beta2, eps):
    """Both moments anew from all gradients so far."""
    s.gs = [*vars(s).get("gs", []), g]
    gs = np.stack(s.gs)
    ages = np.arange(len(gs))[::-1]
    first, second = beta1**ages, beta2**ages
    m_hat = np.tensordot((first / first.sum()).astype(g.dtype), gs, 1)
    v_hat = np.tensordot((second / second.sum()).astype(g.dtype), gs * gs, 1)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@control("adam")
def root_as_state(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.root = np.hypot(math.sqrt(beta2) * s.root, math.sqrt(1 - beta2) * g)
    below = s.root / math.sqrt(1 - beta2**t) + eps
    return theta - lr * (s.m / (1 - beta1**t) / below)


@control("adam")
def learning_rate_first(theta, g, t, s, *, lr, beta1, beta2, eps):
    moments(g, s, beta1, beta2)
    below = np.sqrt(s.v / (1 - beta2**t)) + eps
    return theta - (lr / below) * (s.m / (1 - beta1**t))


@control("adam")
def one_quotient(theta, g, t, s, *, lr, beta1, beta2, eps):
    """All that divides is multiplied first."""
    moments(g, s, beta1, beta2)
    below = (np.sqrt(s.v) + eps * math.sqrt(1 - beta2**t)) * (1 - beta1**t)
    return theta - (lr * math.sqrt(1 - beta2**t)) * s.m / below


@control("adam")
def off_by_a_unit(theta, g, t, s, *, lr, beta1, beta2, eps):
    """Roots and quotients of hardware that rounds none of them right."""
    noise = np.random.default_rng(t)

    def near(x):
        return (x * (1 + noise.integers(-1, 2, np.shape(x)) * np.finfo(x.dtype).eps)).astype(
            g.dtype
        )

    moments(g, s, beta1, beta2)
    root = near(np.sqrt(near(s.v / (1 - beta2**t))))
    return theta - lr * near(s.m / (1 - beta1**t) / (root + eps))


@control("adam")
def compensated(theta, g, t, s, *, lr, beta1, beta2, eps):
    """Kahan's summation: what rounding takes from a step is added to the next."""
    moments(g, s, beta1, beta2)
    step = s.lost - lr * (s.m / (1 - beta1**t)) / (np.sqrt(s.v / (1 - beta2**t)) + eps)
    new = theta + step
    s.lost = step - (new - theta)
    return new


class InTiles:
    """Loops over blocks of four elements, with what is left at the end."""

    def __init__(self, params, *, lr, beta1, beta2, eps):
        self.params, self.lr, self.beta1, self.beta2, self.eps = params, lr, beta1, beta2, eps
        self.m, self.v = ([np.zeros(p.size, p.dtype) for p in params] for _ in range(2))
        self.t = [0] * len(params)

    def set_lr(self, lr):
        self.lr = lr

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            self.t[i] += 1
            theta, flat = self.params[i].reshape(-1), np.ravel(g)
            for start in range(0, theta.size, 4):
                block = slice(start, start + 4)
                theta[block] -= self.stepped(i, block, flat[block])
        return self.params

    def stepped(self, i, block, g):
        m, v = self.m[i], self.v[i]
        m[block] = self.beta1 * m[block] + (1 - self.beta1) * g
        v[block] = self.beta2 * v[block] + (1 - self.beta2) * g * g
        root = np.sqrt(v[block]) / math.sqrt(1 - self.beta2 ** self.t[i])
        return self.lr / (1 - self.beta1 ** self.t[i]) * (m[block] / (root + self.eps))

    def state_dict(self):
        return copy.deepcopy((self.m, self.v, self.t))

    def load_state_dict(self, state):
        self.m, self.v, self.t = copy.deepcopy(state)


control("adam", links="zeke-xie/adai#3")(InTiles)


@control("adam")
class ElementByElement(InTiles):
    """One Python number after the other, backwards: all arithmetic is double."""

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            self.t[i] += 1
            theta, flat = self.params[i].reshape(-1), np.ravel(g)
            for j in reversed(range(theta.size)):
                theta[j] = float(theta[j]) - self.element(i, j, float(flat[j]))
        return self.params

    def element(self, i, j, g):
        m = self.beta1 * float(self.m[i][j]) + (1 - self.beta1) * g
        v = self.beta2 * float(self.v[i][j]) + (1 - self.beta2) * g * g
        self.m[i][j], self.v[i][j] = m, v
        m_hat = m / (1 - self.beta1 ** self.t[i])
        v_hat = v / (1 - self.beta2 ** self.t[i])
        return self.lr * m_hat / (math.sqrt(v_hat) + self.eps)


@control("adam")
class OneBuffer(InTiles):
    """All parameters and moments in one flat array, with a count for each element."""

    def __init__(self, params, *, lr, beta1, beta2, eps):
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.shapes = [p.shape for p in params]
        self.ends = np.cumsum([p.size for p in params])
        self.theta = np.concatenate([p.reshape(-1) for p in params])
        self.m, self.v = np.zeros_like(self.theta), np.zeros_like(self.theta)
        self.t = np.zeros(self.theta.size)

    def step(self, grads):
        f = self.theta.dtype
        flat, present = np.zeros_like(self.theta), np.zeros(self.theta.size, bool)
        for part, g in zip(self.parts(), grads, strict=True):
            if g is not None:
                flat[part], present[part] = np.ravel(g), True
        self.t += present
        at = np.where(present)[0]
        g, t = flat[at], self.t[at]
        self.m[at] = self.beta1 * self.m[at] + (1 - self.beta1) * g
        self.v[at] = self.beta2 * self.v[at] + (1 - self.beta2) * g * g
        root = np.sqrt(self.v[at] / (1 - self.beta2**t).astype(f))
        step_size = (self.lr / (1 - self.beta1**t)).astype(f)
        self.theta[at] -= step_size * self.m[at] / (root + self.eps)
        return [self.theta[part].reshape(shape).copy()
                for part, shape in zip(self.parts(), self.shapes, strict=True)]  # fmt: skip

    def parts(self):
        return [slice(end - math.prod(shape), end)
                for end, shape in zip(self.ends, self.shapes, strict=True)]  # fmt: skip


@control("adam")
class CopiesWhenItLoads(InTiles):
    """What it saves is its own memory; who loads makes a copy."""

    def state_dict(self):
        return self.m, self.v, self.t


@control("adam")
class CopiesWhenItSaves(InTiles):
    """What it saves is a copy, which who loads may keep."""

    def load_state_dict(self, state):
        self.m, self.v, self.t = state


@control("adam")
class RateOfEachParameter(InTiles):
    """A list of learning rates."""

    def __init__(self, params, *, lr, **rates):
        super().__init__(params, lr=lr, **rates)
        self.set_lr(lr)

    def set_lr(self, lr):
        self.rates = [lr for _ in self.params]

    def stepped(self, i, block, g):
        self.lr = self.rates[i]
        return super().stepped(i, block, g)


@control("adam_epsilon_hat", links="BVLC/caffe#4224")
def correction_in_the_rate(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The correction is a factor of the learning rate."""
    moments(g, s, beta1, beta2)
    correction = math.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - (lr * correction) * s.m / (np.sqrt(s.v) + eps)


@control("adam_epsilon_inside")
def reciprocal_square_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    moments(g, s, beta1, beta2)
    inverse = 1 / np.sqrt(s.v / (1 - beta2**t) + eps)
    return theta - (lr / (1 - beta1**t)) * s.m * inverse


@control("adam_uncorrected")
def bert(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = np.add(np.multiply(beta1, s.m), np.multiply(1.0 - beta1, g))
    s.v = np.add(np.multiply(beta2, s.v), np.multiply(1.0 - beta2, np.square(g)))
    return theta - np.divide(lr * s.m, np.sqrt(s.v) + eps)


# AMSGrad


@control("amsgrad")
def maximum_of_roots(theta, g, t, s, *, lr, beta1, beta2, eps):
    moments(g, s, beta1, beta2)
    s.root = np.maximum(s.root, np.sqrt(s.v))
    below = s.root / math.sqrt(1 - beta2**t) + eps
    return theta - lr / (1 - beta1**t) * s.m / below


@control("amsgrad")
def maximum_by_comparison(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = s.m + (1 - beta1) * (g - s.m)
    s.v = s.v + (1 - beta2) * (g * g - s.v)
    s.v_max = np.where(s.v > s.v_max, s.v, s.v_max)
    root = math.sqrt(1 - beta2**t)
    return theta - (lr * root / (1 - beta1**t)) * s.m / (np.sqrt(s.v_max) + eps * root)


# AdaMax


@control("adamax")
def folded_adamax(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = s.m + (1 - beta1) * (g - s.m)
    s.u = np.max([s.u * beta2, abs(g) + eps], axis=0).astype(theta.dtype)
    return theta - (lr / (1 - beta1**t)) * (s.m / s.u)


@control("adamax")
def adamax_by_reciprocals(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.fmax(beta2 * s.u, np.fabs(g) + eps)
    return theta - s.m * (lr * (1 / (1 - beta1**t))) * (1 / s.u)


# NAdam


@control("nadam")
def nadam_in_two_subtractions(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu, following = (beta1 * (1 - 0.5 * 0.96 ** (n * momentum_decay)) for n in (t, t + 1))
    s.product = vars(s).get("product", 1.0) * mu
    s.m = s.m + (1 - beta1) * (g - s.m)
    s.v = beta2 * s.v + (1 - beta2) * g * g
    below = np.sqrt(s.v / (1 - beta2**t)) + eps
    theta = theta - lr * (1 - mu) / (1 - s.product) * g / below
    return theta - lr * following / (1 - s.product * following) * s.m / below


@control("nadam")
def nadam_in_double(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    wide = np.float64

    def momentum(n):
        return beta1 * (1 - 0.5 * math.exp(n * momentum_decay * math.log(0.96)))

    product = math.prod(momentum(n) for n in range(1, t + 1))
    s.m = beta1 * wide(s.m) + (1 - beta1) * wide(g)
    s.v = beta2 * wide(s.v) + (1 - beta2) * wide(g) ** 2
    ahead = momentum(t + 1) / (1 - product * momentum(t + 1)) * s.m
    ahead = ahead + (1 - momentum(t)) / (1 - product) * g
    return theta - lr * ahead / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@control("nadam_constant_momentum")
def nadam_with_running_powers(theta, g, t, s, *, lr, beta1, beta2, eps):
    moments(g, s, beta1, beta2)
    power1 = vars(s).get("power1", beta1)
    power2 = vars(s).get("power2", beta2)
    ahead = beta1 * s.m / (1 - beta1 * power1) + (1 - beta1) * g / (1 - power1)
    s.power1, s.power2 = power1 * beta1, power2 * beta2
    return theta - lr * ahead / (np.sqrt(s.v / (1 - power2)) + eps)


# RAdam


@control("radam")
def radam_of_one_step_size(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The step size of the original, and epsilon scaled to match."""
    moments(g, s, beta1, beta2)
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t / (beta2**-t - 1)
    if length <= 4:
        return theta - lr / (1 - beta1**t) * s.m
    root = math.sqrt(1 - beta2**t)
    r = math.sqrt((length - 4) / (longest - 4) * (length - 2) / (longest - 2) * longest / length)
    return theta - lr * root * r / (1 - beta1**t) * (s.m / (np.sqrt(s.v) + eps * root))


@control("radam")
def radam_by_factors(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = s.m + (1 - beta1) * (g - s.m)
    s.v = s.v + (1 - beta2) * (g * g - s.v)
    m_hat = s.m / (1 - beta1**t)
    longest = (1 + beta2) / (1 - beta2)
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length > 4:
        r = math.sqrt(length - 4) * math.sqrt(length - 2) * math.sqrt(longest)
        r /= math.sqrt(longest - 4) * math.sqrt(longest - 2) * math.sqrt(length)
        m_hat = m_hat * (r / (np.sqrt(s.v / (1 - beta2**t)) + eps))
    return theta - lr * m_hat
