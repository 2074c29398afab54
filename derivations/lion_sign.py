# %% [markdown]
# # Lion: the sign of momentum
#
# Lion (Chen et al., [arXiv:2302.06675](https://arxiv.org/abs/2302.06675)) was found by a search over
# programs. It keeps one moving average, mixes the gradient into it once more, and steps along the
# sign. All steps are of the same length, so the only thing that knows sizes is the weight decay; it
# ends up bounding the weights. Chen, Liu, Liang and Liu
# ([arXiv:2310.05898](https://arxiv.org/abs/2310.05898)) read Lion as a method for minimising under the
# constraint $\lvert \theta \rvert \leq 1/\lambda$. This notebook proves the bound, its speed, and where it
# fails.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [step-size](#step-size) | each parameter moves by exactly $lr$, or not at all where $\beta_1 m + (1-\beta_1) g = 0$ | $\lambda = 0$; any state and gradient | SymPy, on the rule |
# | [scale-free](#scale-free) | gradients times $s > 0$ lead to the same parameters | any $\lambda$; $m_0 = 0$; all $t$ | SymPy: the rule carries the scaled state along |
# | [signum](#signum) | with $\beta_1 = \beta_2$ the direction is the sign of the new momentum | $\lambda = 0$ | SymPy, on the rule |
# | [weight-of-gradient](#weight-of-gradient) | the current gradient weighs $1-\beta_1$ in the sign and $1-\beta_2$ in the average: ten times as much, with the default values | $\beta_1 = 0.9$, $\beta_2 = 0.99$ | SymPy, on the rule |
# | [bound](#bound) | $\lvert \theta_t \rvert - 1/\lambda \leq (1 - lr\, \lambda)^t (\lvert \theta_0 \rvert - 1/\lambda)$: once inside $\lvert \theta \rvert \leq 1/\lambda$ always inside, and from outside the distance to it decays | $0 < lr\, \lambda \leq 1$; any gradients; all $t$ | induction on the rule; triangle inequality in words |
# | [bound-under-schedules](#bound-under-schedules) | the same with $\prod_i (1 - lr_i \lambda)$ for learning rates that change | $0 < lr_i \lambda \leq 1$ in each step | induction on the rule; triangle inequality in words |
# | [bound-fails](#bound-fails) | a single step can lead from $1/\lambda$ to $-2/\lambda$ | $lr\, \lambda = \frac{3}{2}$ | exact values, on the rule |
# | [fixed-point](#fixed-point) | if the sign is constant, $\theta_t = -s/\lambda + (1 - lr\, \lambda)^t (\theta_0 + s/\lambda)$: every weight whose gradient keeps its sign ends in the corner $-s/\lambda$ | $0 < lr\, \lambda < 2$ for convergence | induction on the rule |
#
# Specification: [lion](../spec/lion.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.lion import lion

beta1, beta2, lr, lam = sp.symbols("beta1 beta2 gamma lambda", positive=True)
t = sp.Symbol("t", integer=True, positive=True)
g, m, theta, s = sp.symbols("g m theta s", real=True)
positive = sp.Symbol("p", positive=True)
size, start = sp.symbols("x x0", nonnegative=True)

h, m_new = lion(SYMBOLS, g, theta, m, beta1=beta1, beta2=beta2, weight_decay=lam)
mixed = beta1 * m + (1 - beta1) * g
h


# %%
def stepped(theta, sign, rate=lr):
    """The parameter after a step, where the rule's sign has that value."""
    h, _ = lion(SYMBOLS, g, theta, m, beta1=beta1, beta2=beta2, weight_decay=lam)
    return theta - rate * h.subs(sp.sign(mixed), sign)


def bounded(size, rate):
    """The largest size after a step, from a size before it."""
    return (1 - rate * lam) * size + rate


# %% [markdown]
# ## step-size
#
# Without decay the direction is a sign: 1, -1 or, if momentum and gradient cancel exactly, 0. The
# learning rate of Lion is therefore a length, and a smaller one than Adam's is needed, whose steps
# average out.

# %%
plain, _ = lion(SYMBOLS, g, theta, m, beta1=beta1, beta2=beta2, weight_decay=0)
assert plain == sp.sign(mixed)
assert [sp.sign(each) for each in (positive, -positive, sp.Integer(0))] == [1, -1, 0]

# %% [markdown]
# ## scale-free
#
# If all gradients are $s$ times as large, so is the average, by induction from $m_0 = 0$; the sign does
# not see it. Loss scaling, which mixed precision needs, changes nothing for Lion, and neither does
# clipping by the norm of a whole gradient as long as it is not clipped by a different factor in each
# step.

# %%
scaled, m_scaled = lion(
    SYMBOLS, positive * g, theta, positive * m, beta1=beta1, beta2=beta2, weight_decay=lam
)
assert equal(m_scaled, positive * m_new)
(sign,) = scaled.atoms(sp.sign)
assert equal(sign.args[0], positive * mixed)
assert sp.sign(positive * s) == sp.sign(s)
assert equal(scaled.subs(sign, s), h.subs(sp.sign(mixed), s))

# %% [markdown]
# ## signum
#
# With equal rates, what is under the sign is the new average: the method that is known as Signum or
# signSGD with momentum. Two rates make the difference.

# %%
same, m_same = lion(SYMBOLS, g, theta, m, beta1=beta1, beta2=beta1, weight_decay=0)
assert same == sp.sign(m_same)

# %% [markdown]
# ## weight-of-gradient
#
# The average remembers for about $1/(1-\beta_2) = 100$ steps, but the sign listens to the newest
# gradient as an average of ten steps would. This is Nesterov's idea again: the step looks ahead of
# the average that it keeps.

# %%
weights = [sp.diff(mixed, g), sp.diff(m_new, g)]
assert weights == [1 - beta1, 1 - beta2]
defaults = {beta1: sp.Rational(9, 10), beta2: sp.Rational(99, 100)}
assert (weights[0] / weights[1]).subs(defaults) == 10

# %% [markdown]
# ## bound
#
# A step is $\theta' = (1 - lr\, \lambda)\, \theta - lr\, s$ with $\lvert s \rvert \leq 1$. If $lr\, \lambda \leq 1$ the
# first factor is not negative, so $\lvert \theta' \rvert \leq (1 - lr\, \lambda) \lvert \theta \rvert + lr$, and the
# right side less $1/\lambda$ is $(1 - lr\, \lambda)(\lvert \theta \rvert - 1/\lambda)$. The bound of each step is the
# bound of the step before times $1 - lr\, \lambda$; that is the induction. At $lr = 10^{-4}$ and
# $\lambda = 1$ the distance halves in 6931 steps.


# %%
assert equal(stepped(theta, s), (1 - lr * lam) * theta - lr * s)


def outside(n):
    """The bound after n steps."""
    return 1 / lam + (1 - lr * lam) ** n * (start - 1 / lam)


assert holds_by_induction(outside, start, lambda n, size: bounded(size, lr), n=t)
assert equal(bounded(size, lr) - 1 / lam, (1 - lr * lam) * (size - 1 / lam))
half = 1 - sp.Rational(1, 10000)
assert half**6931 > sp.Rational(1, 2) > half**6932

# %% [markdown]
# ## bound-under-schedules
#
# Nothing in this used that the learning rate stays: each step contributes its own factor. What is
# left of the distance is $\prod (1 - lr_i \lambda)$, which goes to zero exactly if the learning rates
# add up to infinity. Under a schedule that ends, weights that started outside may stay outside.

# %%
rate = sp.IndexedBase("gamma", real=True)
shrunk = sp.Symbol("P", real=True)  # the product so far
before = 1 / lam + shrunk * (start - 1 / lam)
after = 1 / lam + shrunk * (1 - rate[t] * lam) * (start - 1 / lam)
assert equal(stepped(theta, s, rate[t]), (1 - rate[t] * lam) * theta - rate[t] * s)
assert equal(bounded(before, rate[t]), after)
assert equal(before.subs(shrunk, 1), start)

# %% [markdown]
# ## bound-fails
#
# With $lr\, \lambda > 1$ the decay overshoots zero. From $1/\lambda$, at the edge, a step with $lr\, \lambda =
# \frac{3}{2}$ whose sign is 1 arrives at $-2/\lambda$. No one trains like this, but a sweep over $\lambda$
# may come there.

# %%
h, _ = lion(SYMBOLS, 1, 1 / lam, 0, beta1=sp.Rational(1, 2), beta2=beta2, weight_decay=lam)
assert equal(1 / lam - 3 / (2 * lam) * h, -2 / lam)

# %% [markdown]
# ## fixed-point
#
# A weight whose gradient keeps its sign obeys a linear recursion and ends at $-s/\lambda$, whatever the
# size of the gradient. There the decay and the sign cancel. Lion with decay does not minimise the loss
# plus a penalty; it minimises the loss in a box.


# %%
def corner(n):
    """The parameter after n steps with the same sign."""
    return -s / lam + (1 - lr * lam) ** n * (theta + s / lam)


assert holds_by_induction(corner, theta, lambda n, w: stepped(w, s), n=t)
assert equal(stepped(-s / lam, s), -s / lam)
