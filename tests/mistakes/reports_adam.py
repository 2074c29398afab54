"""Adam and its relatives, wrong as in public reports."""

from __future__ import annotations

import numpy as np

from mistakes.target import Mistakes, Target

MISTAKES = mistake = Mistakes()


def moments(g, s, beta1, beta2):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * g**2
    return s.m, s.v


# Bias correction


@mistake(
    "adam",
    "m * (1 - beta1**t)",
    "v * (1 - beta2**t)",
    links="karpathy/convnetjs#107 karpathy/convnetjs#70",
)
def corrections_multiplied(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    m_hat = m * (1 - beta1**t)
    v_hat = v * (1 - beta2**t)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake(
    "adam", "m / (1 - beta1**1)", "v / (1 - beta2**1)", links="eriklindernoren/ML-From-Scratch#35"
)
def no_exponents(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    m_hat = m / (1 - beta1)
    v_hat = v / (1 - beta2)
    return theta - lr * m_hat / (np.sqrt(v_hat) + eps)


@mistake("adam", "the step count stays at 2", "v / (1 - beta2**2)", links="ufal/npfl114#79")
def square_for_the_power(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**2)) + eps)


@mistake("adam", "return h, m_hat, v_hat", links="frgfm/holocron#1")
def corrected_moments_are_kept(theta, g, t, s, *, lr, beta1, beta2, eps):
    moments(g, s, beta1, beta2)
    s.m = s.m / (1 - beta1**t)
    s.v = s.v / (1 - beta2**t)
    return theta - lr * s.m / (np.sqrt(s.v) + eps)


@mistake("adam", "the root of the correction of the second moment", links="FluxML/Flux.jl#119")
def root_of_one_correction(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / np.sqrt(1 - beta2**t)) + eps)


@mistake("adam", "the step count is one too large", links="tiny-dnn/tiny-dnn#823")
class PowersAdvanceFirst(Target):
    """The powers of the betas start at the betas, and are multiplied before they are used."""

    def __init__(self, params, *, lr, beta1, beta2, eps):
        self.params, self.lr, self.beta1, self.beta2, self.eps = params, lr, beta1, beta2, eps
        self.m = [np.zeros_like(p) for p in params]
        self.v = [np.zeros_like(p) for p in params]
        self.powers = [[beta1, beta2] for _ in params]

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is None:
                continue
            self.powers[i][0] *= self.beta1
            self.powers[i][1] *= self.beta2
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g * g
            m_hat = self.m[i] / (1 - self.powers[i][0])
            v_hat = self.v[i] / (1 - self.powers[i][1])
            new = self.params[i] - self.lr * m_hat / (np.sqrt(v_hat) + self.eps)
            self.params[i] = np.asarray(new)
        return self.params

    def set_lr(self, lr):
        self.lr = lr

    def state_dict(self):
        return list(self.m), list(self.v), [list(p) for p in self.powers]

    def load_state_dict(self, state):
        m, v, powers = state
        self.m, self.v, self.powers = list(m), list(v), [list(p) for p in powers]


@mistake("adam", "v_hat = v", links="pytorch/pytorch#23737")
def second_moment_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v) + eps)


@mistake("adam", "m_hat = m")
def first_moment_uncorrected(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake(
    "adam",
    links="root-project/root#5042",
    unexplained="a step count that advances in every fourth step alone",
)
def step_that_counts_epochs(theta, g, t, s, *, lr, beta1, beta2, eps):
    """An epoch has four batches."""
    m, v = moments(g, s, beta1, beta2)
    epoch = (t + 3) // 4
    return theta - lr * m / (1 - beta1**epoch) / (np.sqrt(v / (1 - beta2**epoch)) + eps)


@mistake("adam", "v / (1 - beta1**t)")
def first_beta_in_both_corrections(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta1**t)) + eps)


@mistake("adam", "the first step is not corrected", links="tensorflow/tensorflow#35444")
def step_that_starts_at_zero(theta, g, t, s, *, lr, beta1, beta2, eps):
    """Guards the division, since it counts from zero."""
    m, v = moments(g, s, beta1, beta2)
    if t == 1:
        return theta - lr * m / (np.sqrt(v) + eps)
    n = t - 1
    return theta - lr * m / (1 - beta1**n) / (np.sqrt(v / (1 - beta2**n)) + eps)


@mistake(
    "adam", "epsilon-hat", "the power is around the corrections", links="PennyLaneAI/pennylane#1928"
)
def power_around_the_correction(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    rate = lr * np.sqrt((1 - beta2) ** t) / (1 - beta1) ** t
    return theta - rate * m / (np.sqrt(v) + eps)


# Moments


@mistake("adam", "m_hat * (xp.sqrt(v_hat) + eps)", links="oracle/tribuo#401")
def multiplied_by_the_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) * (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("adam", "epsilon-hat", "subtracted instead of added", links="pytorch/pytorch#11678")
def uphill(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta + rate * m / (np.sqrt(v) + eps)


@mistake("adam", "v / beta2", links="LiyuanLucasLiu/RAdam#69 LiyuanLucasLiu/RAdam#55")
def divided_by_beta(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The typographical error of a paper, typed in."""
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = 1 / beta2 * s.v + (1 - beta2) * g**2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adam", "return h, m_old, v_old", links="raskr/rust-autograd#16")
def moments_are_not_stored(theta, g, t, s, *, lr, beta1, beta2, eps):
    m = beta1 * np.zeros_like(g) + (1 - beta1) * g
    v = beta2 * np.zeros_like(g) + (1 - beta2) * g**2
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("adam", "m_hat / xp.sqrt(v_hat) + eps")
def epsilon_after_the_fraction(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - lr * (m_hat / np.sqrt(v_hat) + eps)


@mistake("adam", "beta1 * v + (1 - beta1) * g**2")
def first_beta_in_both_moments(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta1)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("adam", "(1 - beta2) * xp.abs(g)")
def magnitudes_for_squares(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * np.abs(g)
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake("adam", "(1 - beta2) * m**2")
def squares_of_the_first_moment(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + (1 - beta2) * s.m**2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


@mistake(
    "adam",
    "m_hat = m",
    "epsilon inside the root",
    links="fanghao6666/neural-networks-and-deep-learning#14",
)
def raw_moment_in_the_step(theta, g, t, s, *, lr, beta1, beta2, eps):
    """Corrects the second moment, and forgets that it did so for the first one as well."""
    m, v = moments(g, s, beta1, beta2)
    v_hat = v / (1 - beta2**t)
    return theta - lr * m / np.sqrt(v_hat + eps)


@mistake("adam", "eps stays 1e-08", links="keras-team/keras#17391")
def epsilon_is_always_the_default(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + 1e-8)


@mistake("adam", "beta1 stays 0.9", "beta2 stays 0.999", links="pytorch/pytorch#141884")
def betas_are_always_the_defaults(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, 0.9, 0.999)
    return theta - lr * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + eps)


@mistake("adam", "beta2 * v + g**2", links="fastai/fastbook#342")
def square_of_the_average(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = beta2 * s.v + g**2
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


# AMSGrad


@mistake(
    "amsgrad", "the root of the maximum of second moments is kept", links="pytorch/pytorch#4314"
)
def root_of_the_maximum_is_kept(theta, g, t, s, *, lr, beta1, beta2, eps):
    """The root is taken in place, before the maximum is stored."""
    m, v = moments(g, s, beta1, beta2)
    s.v_max = np.sqrt(np.maximum(s.v_max, v))
    return theta - lr * m / (1 - beta1**t) / (s.v_max / np.sqrt(1 - beta2**t) + eps)


@mistake("amsgrad", "adam where amsgrad belongs", links="chaoshangcs/GTS#16")
def amsgrad_is_never_passed_on(theta, g, t, s, *, lr, beta1, beta2, eps):
    m, v = moments(g, s, beta1, beta2)
    return theta - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("amsgrad", "beta2 * v_max + (1 - beta2) * g**2")
def maximum_goes_on_as_the_average(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.v = np.maximum(s.v, beta2 * s.v + (1 - beta2) * g**2)
    return theta - lr * s.m / (1 - beta1**t) / (np.sqrt(s.v / (1 - beta2**t)) + eps)


# AdaMax


@mistake("adamax", "m / (1 - beta2**t)", links="tensorflow/swift-apis#313")
def second_beta_in_the_correction(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, np.abs(g) + eps)
    return theta - lr / (1 - beta2**t) * s.m / s.u


@mistake("adamax", "xp.maximum(beta2 * u, g + eps)", links="rushter/MLAlgorithms#56")
def maximum_of_the_gradient_itself(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = np.maximum(beta2 * s.u, g + eps)
    return theta - lr / (1 - beta1**t) * s.m / s.u


@mistake("adamax", "beta2 * u")
def decay_around_the_maximum(theta, g, t, s, *, lr, beta1, beta2, eps):
    s.m = beta1 * s.m + (1 - beta1) * g
    s.u = beta2 * np.maximum(s.u, np.abs(g) + eps)
    return theta - lr / (1 - beta1**t) * s.m / s.u


# Nadam


@mistake("nadam", "momentum_decay stays 0.004")
def schedule_of_its_own(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    """The decay of the momentum is the usual one, whatever is asked for."""
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * 0.004))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * 0.004))
    s.product = (1.0 if t == 1 else s.product) * mu
    m, v = moments(g, s, beta1, beta2)
    bar = mu_next * m / (1 - s.product * mu_next) + (1 - mu) * g / (1 - s.product)
    return theta - lr * bar / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("nadam", "mu_next * m / (1 - mu_product) +", links="ooples/AiDotNet.Tensors#960")
def one_product_for_both_terms(theta, g, t, s, *, lr, beta1, beta2, eps, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    s.product = (1.0 if t == 1 else s.product) * mu
    m, v = moments(g, s, beta1, beta2)
    bar = (mu_next * m + (1 - mu) * g) / (1 - s.product)
    return theta - lr * bar / (np.sqrt(v / (1 - beta2**t)) + eps)


@mistake("nadam", "nadam as timm has it", "both terms", links="apache/mxnet#6784")
def nadam_of_a_survey(theta, g, t, s, *, lr, beta1, beta2, eps):
    """Constant momentum, and one correction for both terms."""
    m, v = moments(g, s, beta1, beta2)
    bar = beta1 * m / (1 - beta1**t) + (1 - beta1) * g / (1 - beta1**t)
    return theta - lr * bar / (np.sqrt(v / (1 - beta2**t)) + eps)


# RAdam


def rectified(theta, g, t, s, lr, beta1, beta2, eps, *, length=None, factor=None, fallback=None):
    """RAdam, of which one part can be replaced."""
    m, v = moments(g, s, beta1, beta2)
    m_hat = m / (1 - beta1**t)
    inf = 2 / (1 - beta2) - 1
    rho = length(inf, t) if length else inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 4:
        return theta - lr * (fallback(m) if fallback else m_hat)
    r = (factor or root_of_the_ratio)(rho, inf)
    return theta - lr * r * m_hat / (np.sqrt(v / (1 - beta2**t)) + eps)


def root_of_the_ratio(rho, inf):
    return np.sqrt((rho - 4) * (rho - 2) * inf / ((inf - 4) * (inf - 2) * rho))


@mistake("radam", "m_hat / r", links="LiyuanLucasLiu/RAdam#32")
def ratio_upside_down(theta, g, t, s, *, lr, beta1, beta2, eps):
    def factor(rho, inf):
        return 1 / root_of_the_ratio(rho, inf)

    return rectified(theta, g, t, s, lr, beta1, beta2, eps, factor=factor)


@mistake("radam", "without the root")
def ratio_without_a_root(theta, g, t, s, *, lr, beta1, beta2, eps):
    def factor(rho, inf):
        return root_of_the_ratio(rho, inf) ** 2

    return rectified(theta, g, t, s, lr, beta1, beta2, eps, factor=factor)


@mistake("radam", "t * beta2**t / (1 - beta2)")
def length_without_an_exponent(theta, g, t, s, *, lr, beta1, beta2, eps):
    def length(inf, t):
        return inf - 2 * t * beta2**t / (1 - beta2)

    return rectified(theta, g, t, s, lr, beta1, beta2, eps, length=length)


@mistake("radam", "(xp.sqrt(v_hat) + eps), m)", links="LiyuanLucasLiu/RAdam#24")
def uncorrected_where_not_rectified(theta, g, t, s, *, lr, beta1, beta2, eps):
    return rectified(theta, g, t, s, lr, beta1, beta2, eps, fallback=lambda m: m)


# Lion


@mistake("lion", "beta1 and beta2 are taken for 1 minus them", links="FluxML/Optimisers.jl#129")
def betas_weigh_the_gradient(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    c = (1 - beta1) * s.m + beta1 * g
    s.m = (1 - beta2) * s.m + beta2 * g
    return theta - lr * (np.sign(c) + weight_decay * theta)


@mistake("lion", "the first moment is updated before it is used", links="FluxML/Optimisers.jl#129")
def sign_of_the_new_momentum(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    s.m = beta2 * s.m + (1 - beta2) * g
    c = beta1 * s.m + (1 - beta1) * g
    return theta - lr * (np.sign(c) + weight_decay * theta)


@mistake("lion", "beta2 is given the value of beta1")
def one_beta_for_both(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    s.m = beta1 * s.m + (1 - beta1) * g
    return theta - lr * (np.sign(s.m) + weight_decay * theta)


@mistake("lion", "the step is divided by 1 - beta1", links="ooples/AiDotNet#431")
def rate_scaled_by_the_momentum(theta, g, t, s, *, lr, beta1, beta2, weight_decay):
    c = beta1 * s.m + (1 - beta1) * g
    s.m = beta2 * s.m + (1 - beta2) * g
    return theta - lr / (1 - beta1) * (np.sign(c) + weight_decay * theta)
