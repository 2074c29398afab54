# %% [markdown]
# # AdamW: where weights end
#
# AdamW (Loshchilov and Hutter, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101)) takes a part
# $lr\, \lambda$ of each weight away in every step, outside of Adam's scaling. This notebook asks what that
# does in the long run: how long a weight lasts that nothing supports, where one ends that is
# always pushed the same way, and how large one is that noise pushes about. The last is the equilibrium
# that Kosson, Messmer and Jaggi study ([arXiv:2305.17212](https://arxiv.org/abs/2305.17212)); it explains
# why for many networks only the product $lr\, \lambda$ matters.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [fixed-point](#fixed-point) | $\theta_t = -h/\lambda + (1 - lr\, \lambda)^t (\theta_0 + h/\lambda)$ with $h = g/(\lvert g \rvert + \epsilon)$, so a weight under a constant gradient ends at $-\mathrm{sign}(g)/\lambda$, nearly, whatever the size of the gradient | $g$ constant, $g \neq 0$; $0 < lr\, \lambda < 2$ for convergence; all $t$ | induction on the composition; that powers of $1 - lr\, \lambda$ vanish, in words |
# | [in-a-box](#in-a-box) | $\lvert \theta_t \rvert - C/\lambda \leq (1 - lr\, \lambda)^t (\lvert \theta_0 \rvert - C/\lambda)$ if Adam's directions are at most $C$ long; $C$ is a claim of [adam_step_bound](adam_step_bound.py) | $0 < lr\, \lambda \leq 1$; all $t$ | induction on the composition; triangle inequality in words |
# | [half-life](#half-life) | a weight without gradient halves in $\ln\, 2 / (-\ln(1 - lr\, \lambda))$ steps, between $(1 - lr\, \lambda) \ln\, 2 / (lr\, \lambda)$ and $\ln\, 2 / (lr\, \lambda)$: in 69315 steps, with the default values | $g = 0$, $m = 0$; $0 < lr\, \lambda < 1$ | SymPy, on the composition; exact integers |
# | [equilibrium](#equilibrium) | $E[\theta^2]$ tends to $\frac{lr^2 (1-\beta_1) (1 + (1-x) \beta_1)}{(1+\beta_1) (1 - (1-x) \beta_1)\, x (2 - x)}$ with $x = lr\, \lambda$ | independent gradients with mean 0 and variance $\sigma^2$; $\hat v = \sigma^2$; $\epsilon = 0$; $t$ so large that bias correction is over; $0 < x < 2$ | SymPy: the fixed point of the composition's second moments, and their factors; that it is reached, in words |
# | [equilibrium-norm](#equilibrium-norm) | for small $x$ that is $lr/(2\lambda)$, whatever $\beta_1$ and $\sigma$ are: $n$ such weights have the norm $\sqrt{n\, lr/(2\lambda)}$ | as before; $x \to 0$ | SymPy |
# | [relaxation](#relaxation) | the distance of $E[\theta^2]$ to it shrinks by $(1-x)^2$ a step, so its half-life is half of a weight's | as before; $\beta_1 = 0$ | SymPy |
# | [rotation](#rotation) | in equilibrium a step is in the mean square $x (2-x)$ of the weight: the angle that a step turns the weights by depends on $lr\, \lambda$ alone | as before; $\beta_1 = 0$ | SymPy |
#
# Specification: [adamw](../spec/adamw.toml).

# %%
from dataclasses import replace

import sympy as sp

import refopt
from refopt.arithmetic.identity import equal, holds_by_induction

lr, lam, beta1, beta2, eps, sigma = sp.symbols(
    "gamma lambda beta1 beta2 epsilon sigma", positive=True
)
t = sp.Symbol("t", integer=True, positive=True)
theta, g, m = sp.symbols("theta g m", real=True)
x = sp.Symbol("x", positive=True)  # lr * lambda
v = sp.Symbol("v", positive=True)

# %% [markdown]
# ## The composition
#
# AdamW is `weight_decay(adam)`, which runs here as a whole optimizer: state and parameter go in as
# symbols, and come out one step later.

# %%
symbols = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": lam}
built = refopt.build("adamw")
adamw = replace(
    built,
    lr=lr,
    layers=tuple(
        replace(layer, hyperparameters={k: symbols[k] for k in layer.hyperparameters})
        for layer in built.layers
    ),
)


def stepped(t, theta, g, m, v):
    """The parameter and the first moment after step t."""
    before = {"t": t - 1, "adam.m": sp.sympify(m), "adam.v": sp.sympify(v)}
    after, state = adamw.step(sp.sympify(theta), sp.sympify(g), {"": before})
    return after, state[""]["adam.m"]


stepped(t, theta, g, m, v)[0]

# %% [markdown]
# ## fixed-point
#
# For a constant gradient Adam's direction is $h = g/(\lvert g \rvert + \epsilon)$ from the first step
# on ([adam_bias_correction](adam_bias_correction.py)), so the weight obeys a linear recursion. Where it
# ends, decay and direction cancel. The size of the gradient is gone: a weight whose gradient is
# a millionth ends in the same place as one whose gradient is a million. AdamW does not minimise the loss
# plus $\frac{\lambda}{2} \theta^2$, whose minimum would depend on that size.

# %%
h = g / (sp.Abs(g) + eps)


def moved(t, weight):
    """A step under a constant gradient, from the moments that it has led to."""
    m, v = (1 - beta1 ** (t - 1)) * g, (1 - beta2 ** (t - 1)) * g**2
    return stepped(t, weight, g, m, v)[0]


def weight_after(n):
    """The weight after n steps."""
    return -h / lam + (1 - lr * lam) ** n * (theta + h / lam)


assert equal(moved(t, theta), (1 - lr * lam) * theta - lr * h)
recursion = (1 - lr * lam) * theta - lr * h
assert holds_by_induction(weight_after, theta, lambda n, w: recursion.subs(theta, w), n=t)
positive = sp.Symbol("p", positive=True)
assert sp.limit((h / lam).subs(g, positive), eps, 0) == 1 / lam

# %% [markdown]
# ## in-a-box
#
# A step is $(1 - lr\, \lambda)\, \theta - lr\, h$. With $\lvert h \rvert \leq C$ it follows as for
# [Lion](lion_sign.py) that the distance to the box $\lvert \theta \rvert \leq C/\lambda$ shrinks by
# $1 - lr\, \lambda$ a step and that no weight leaves the box. With the default values $1/\lambda$ is 100: the
# box matters for long training at large $\lambda$.

# %%
size, start, C = sp.symbols("w w0 C", nonnegative=True)
after, _ = stepped(t, theta, g, m, v)
assert equal(sp.diff(after, theta), 1 - lr * lam)
h_adam = sp.simplify(((1 - lr * lam) * theta - after) / lr)
assert theta not in h_adam.free_symbols
bound = (1 - lr * lam) * size + lr * C


def outside(n):
    """The bound after n steps."""
    return C / lam + (1 - lr * lam) ** n * (start - C / lam)


assert holds_by_induction(outside, start, lambda n, w: bound.subs(size, w), n=t)

# %% [markdown]
# ## half-life
#
# A weight that no gradient reaches decays like a radioactive one. The bounds on its half-life are those
# of the logarithm, $x \leq -\ln(1-x) \leq x/(1-x)$: the differences are zero at $x = 0$ and have
# derivatives that are positive. A run of ten thousand steps with the default values leaves ninety
# percent of a dead weight. Under a schedule $\sum lr_i$ takes the place of $t\, lr$.

# %%
dead, _ = stepped(t, theta, 0, 0, v)
assert equal(dead, (1 - lr * lam) * theta)
lower, upper = -sp.log(1 - x) - x, x / (1 - x) + sp.log(1 - x)
assert lower.subs(x, 0) == upper.subs(x, 0) == 0
assert equal(sp.diff(lower, x), x / (1 - x))
assert equal(sp.diff(upper, x), x / (1 - x) ** 2)
defaults = built.hyperparameters()
assert defaults["lr"] * defaults["weight_decay"] == 1e-5
assert 2 * 99_999**69_314 > 100_000**69_314
assert 2 * 99_999**69_315 < 100_000**69_315

# %% [markdown]
# ## Noise
#
# Now the gradients are nothing but noise: independent, with mean zero and variance $\sigma^2$. Late in
# training the corrections are over, $\beta^t = 0$, and the average of squares is taken for what it
# averages, $\hat v = \sigma^2$. Measured in units of $\sigma$, with the noise $\xi$ and the moment $M$, a step
# is then linear, and the three second moments $E[\theta^2]$, $E[\theta M]$ and $E[M^2]$ after it are linear
# in those before. Decay is strong enough to hold against noise of any strength.

# %%
xi, M = sp.symbols("xi M", real=True)
v_before = (sigma**2 * (1 - beta2**t) - (1 - beta2) * (sigma * xi) ** 2) / beta2
late, M_late = stepped(t, theta, sigma * xi, sigma * M, v_before)
late = sp.simplify(late.subs({beta1**t: 0, eps: 0}))
M_late = sp.expand(M_late / sigma)
A, B, D = sp.symbols("A B D", real=True)  # of theta**2, theta*M and M**2


def expected(expression):
    """The expectation of an expression of second order, where xi is independent of the rest."""
    table = {(2, 0, 0): A, (1, 1, 0): B, (0, 2, 0): D, (0, 0, 2): 1}
    terms = sp.Poly(sp.expand(expression), theta, M, xi).terms()
    return sum(factor * table.get(powers, 0) for powers, factor in terms)


moments = [expected(each) for each in (late**2, late * M_late, M_late**2)]
solution = sp.solve([sp.Eq(old, new) for old, new in zip((A, B, D), moments, strict=True)],
                    (A, B, D), dict=True)[0]  # fmt: skip
decayed = {lam: x / lr}
stationary = sp.factor(solution[A].subs(decayed))
settled = stationary.subs(beta1, 0)
late

# %% [markdown]
# ## equilibrium
#
# The step is the one that the composition takes, with $\hat v = \sigma^2$ put in. What stays the same
# from one step to the next solves three linear equations. They are triangular: $E[M^2]$ reproduces
# itself with the factor $\beta_1^2$, $E[\theta M]$ with $(1-x) \beta_1$ and $E[\theta^2]$ with $(1-x)^2$, all
# below one in size. So the solution is unique, and every start leads there.

# %%
assert equal(late, (1 - lr * lam) * theta - lr * M_late)
assert equal(M_late, beta1 * M + (1 - beta1) * xi)
own = [sp.diff(new, old).subs(decayed) for old, new in zip((A, B, D), moments, strict=True)]
assert all(
    equal(*pair) for pair in zip(own, ((1 - x) ** 2, (1 - x) * beta1, beta1**2), strict=True)
)
assert [sp.diff(moments[2], each) for each in (A, B)] == [0, 0]
assert sp.diff(moments[1], A) == 0
stated = lr**2 * (1 - beta1) * (1 + (1 - x) * beta1)
stated /= (1 + beta1) * (1 - (1 - x) * beta1) * x * (2 - x)
assert equal(stationary, stated)

# %% [markdown]
# ## equilibrium-norm
#
# For small $x$ everything with $\beta_1$ cancels. Momentum spreads the effect of each gradient over
# several steps, which makes steps smaller and correlated, and the two effects compensate. In
# particular, halving the learning rate and doubling $\lambda$ keeps the half-life of a weight and halves
# its size.

# %%
assert sp.limit(stationary * 2 * x / lr**2, x, 0) == 1  # lr**2/(2*x) is lr/(2*lambda)
assert equal((lr**2 / (2 * x)).subs(x, lr * lam), lr / (2 * lam))

# %% [markdown]
# ## relaxation
#
# How long does it take? The slowest of the three factors is $(1-x)^2$: without momentum the distance
# follows exactly this. The square of a weight has half the half-life of the weight; with the default
# values some 35000 steps. Shorter runs never reach equilibrium.

# %%
alone = moments[0].subs({**decayed, B: 0}).subs(beta1, 0)
assert equal(alone - settled, (1 - x) ** 2 * (A - settled))

# %% [markdown]
# ## rotation
#
# Without momentum a step is $lr\, \xi$ long. Over the size of the weight in equilibrium, its mean square
# is $x (2-x)$, about $2\, lr\, \lambda$. For weights in front of a normalisation only their direction
# counts, and this is how fast it turns. There $lr$ and $\lambda$ are one hyperparameter, their product;
# apart from it they only set the scale.

# %%
assert equal(lr**2 / settled, x * (2 - x))

# %% [markdown]
# ## Figure
#
# The other difference between decay and an L2 term, which
# [l2_and_weight_decay](l2_and_weight_decay.py) proves: decay shrinks all weights alike.
# `refopt plot decay` draws it.

# %%
from refopt.report.figures.drawing import decay

decay()
