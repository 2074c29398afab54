# %% [markdown]
# # AdaMax and the infinity norm
#
# Section 7.1 of Adam's paper ([arXiv:1412.6980](https://arxiv.org/abs/1412.6980)) replaces the squares in
# the second moment by $p$-th powers and lets $p$ grow. What remains is a maximum that decays, and needs
# no bias correction. The paper adds that the steps of AdaMax have the simple bound
# $\lvert \Delta_t \rvert \leq lr$. This notebook derives the limit, and shows that the bound is very
# nearly true: with the default values it is $\frac{111}{110}\, lr$.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [decaying-maximum](#decaying-maximum) | $u_t = \max_{i \leq t} \beta_2^{t-i} (\lvert g_i \rvert + \epsilon)$ | any gradients; $u_0 = 0$; all $t$ | induction on the rule: a positive factor goes through a maximum; three steps at a point besides |
# | [p-norm](#p-norm) | with $v_t = (1-\beta_2^p) \sum_{i \leq t} \beta_2^{p(t-i)} \lvert g_i \rvert^p$, $v_t^{1/p} \to u_t$ as $p \to \infty$ | $\epsilon = 0$; all $t$ | the squeeze in words, its limits by SymPy |
# | [infinity-step](#infinity-step) | $\lvert h_t \rvert \leq \frac{(1-\beta_1)(1-\delta^t)}{(1-\beta_1^t)(1-\delta)}$ with $\delta = \beta_1/\beta_2$ | any gradients; $\epsilon \geq 0$; $\delta \neq 1$; all $t \geq 1$ | induction on the rule: triangle inequality in words, the difference by SymPy |
# | [infinity-attained](#infinity-attained) | gradients that shrink by the factor $\beta_2$ a step attain it in every step | $\epsilon = 0$; $\delta \neq 1$; all $t \geq 1$ | induction on the rule |
# | [infinity-limit](#infinity-limit) | for $\beta_1 < \beta_2$ it tends to $\beta_2 (1-\beta_1)/(\beta_2-\beta_1) > 1$: $\frac{111}{110}$ with the default values | $0 < \beta_1 < \beta_2 < 1$ | SymPy, where powers of what is below one are put to zero; exact rational arithmetic |
#
# Specification: [adamax](../spec/adamax.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adamax import adamax

beta1, beta2 = sp.symbols("beta1 beta2", positive=True)  # and below one
eps = sp.Symbol("epsilon", positive=True)
t = sp.Symbol("t", integer=True, positive=True)
g, m = sp.symbols("g m", real=True)
u = sp.Symbol("u", positive=True)
delta = beta1 / beta2

h, m_new, u_new = adamax(SYMBOLS, t, g, m, u, beta1=beta1, beta2=beta2, eps=eps)
K = (1 - beta1) * (1 - delta**t) / (1 - delta)
h

# %% [markdown]
# ## decaying-maximum
#
# Every step multiplies what was there by $\beta_2$ and takes the larger of it and the new size. Since a
# positive factor goes through a maximum, the terms keep their own powers of $\beta_2$: if $u_t$ is the
# maximum over $t$ terms, then $\max(\beta_2 u_t, \lvert g_{t+1} \rvert + \epsilon)$ is the one over
# $t + 1$. The rule is run for three steps besides.

# %%
x, more = sp.symbols("x d", positive=True)  # two sizes: x, and the larger x + d
assert u_new == sp.Max(beta2 * u, sp.Abs(g) + eps)
assert sp.Max(beta2 * x, sp.expand(beta2 * (x + more))) == sp.expand(beta2 * (x + more))
assert sp.Max(x, x + more) == x + more
gradients = sp.symbols("g1:4", real=True)
state = (sp.Integer(0), sp.Integer(0))
for step, gradient in enumerate(gradients, 1):
    _, *state = adamax(SYMBOLS, step, gradient, *state, beta1=beta1, beta2=beta2, eps=eps)
draw = [sp.Rational(3, 7), -sp.Rational(5, 3), sp.Rational(9, 8)]
rates = {beta2: sp.Rational(2, 3), eps: sp.Rational(1, 10)}
sizes = [abs(each) + sp.Rational(1, 10) for each in draw]
stated = max(sp.Rational(2, 3) ** (2 - i) * size for i, size in enumerate(sizes))
assert state[1].subs(rates).subs(dict(zip(gradients, draw, strict=True))) == stated

# %% [markdown]
# ## p-norm
#
# Let $M$ be the largest of the $t$ terms $\beta_2^{t-i} \lvert g_i \rvert$. The sum of their $p$-th powers
# lies between $M^p$ and $t M^p$, so $v_t^{1/p}$ lies between $(1-\beta_2^p)^{1/p} M$ and
# $(1-\beta_2^p)^{1/p}\, t^{1/p} M$. Both factors tend to one. The first of them is the bias
# correction of $v_t$ for large $t$: nothing of it is left.

# %%
p, steps = sp.symbols("p t", positive=True)
assert sp.limit(steps ** (1 / p), p, sp.oo) == 1
a = sp.Symbol("a", positive=True)  # beta2 = exp(-a)
logarithm = sp.log(1 - sp.exp(-a * p)) / p
assert sp.limit(logarithm, p, sp.oo) == 0

# %% [markdown]
# ## infinity-step
#
# By induction $\lvert m \rvert \leq K u$ gives $\lvert m' \rvert \leq K' u'$ with $K' = \delta K + 1 - \beta_1$.
# For $u'$ is at least $\beta_2 u$, and at least $\lvert g \rvert$: with $u' = \beta_2 u + d$ and
# $u' = \lvert g \rvert + e$, where $d, e \geq 0$, the difference is a sum of what is not negative.
# Bias correction divides by $1 - \beta_1^t$; the maximum needs none.

# %%
k, d, e, size = sp.symbols("K d e w", nonnegative=True)
k_after = delta * k + 1 - beta1
before, gradient = (size - d) / beta2, size - e  # u and |g|, from u' = size
largest = beta1 * k * before + (1 - beta1) * gradient  # what |m'| can be
assert equal(m_new, beta1 * m + (1 - beta1) * g)
assert equal(k_after * size - largest, delta * k * d + (1 - beta1) * e)
assert equal(K.subs(t, t + 1), k_after.subs(k, K))
assert equal(K.subs(t, 1), 1 - beta1)
assert equal(h, m_new / (1 - beta1**t) / u_new)

# %% [markdown]
# ## infinity-attained
#
# The worst gradients shrink exactly as fast as the maximum decays: then $u_t = \lvert g_t \rvert$, and the
# average still holds the larger ones before. The closed forms of both states follow by induction.


# %%
def m_shrinking(n):
    """The first moment after n gradients beta2**1, ..., beta2**n."""
    return (1 - beta1) * beta2 * (beta2**n - beta1**n) / (beta2 - beta1)


def states(n, m, u):
    """Both states after a step with the gradient beta2**n."""
    return adamax(SYMBOLS, n, beta2**n, m, u, beta1=beta1, beta2=beta2, eps=0)[1:]


assert holds_by_induction(m_shrinking, 0, lambda n, m: states(n, m, 0)[0], n=t)
assert equal(states(1, 0, 0)[1], beta2)
assert equal(states(t + 1, 0, beta2**t)[1], beta2 ** (t + 1))
assert equal(m_shrinking(t) / beta2**t, K)

# %% [markdown]
# ## infinity-limit
#
# The limit is one plus $\beta_1 (1 - \beta_2) / (\beta_2 - \beta_1)$, and that is small if the maximum
# is remembered for much longer than the average. With $\beta_1 = 0.9$ and $\beta_2 = 0.999$ the steps
# of AdaMax can exceed the learning rate by less than one percent. For equal rates there is no bound:
# the sum of $t$ equal terms grows.

# %%
limit = (1 - beta1) * beta2 / (beta2 - beta1)
assert equal((K / (1 - beta1**t)).subs({delta**t: 0, beta1**t: 0}), limit)
assert equal(limit - 1, beta1 * (1 - beta2) / (beta2 - beta1))  # positive for beta1 < beta2
defaults = {beta1: sp.Rational(9, 10), beta2: sp.Rational(999, 1000)}
assert limit.subs(defaults) == sp.Rational(111, 110)
