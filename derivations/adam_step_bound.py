# %% [markdown]
# # How long Adam's steps can be
#
# Section 2.1 of the paper ([arXiv:1412.6980](https://arxiv.org/abs/1412.6980)) says of Adam's step
# $\Delta_t$ with $\epsilon = 0$ that $\lvert \Delta_t \rvert \leq lr\, (1-\beta_1)/\sqrt{1-\beta_2}$ if
# $1-\beta_1 > \sqrt{1-\beta_2}$, and $\lvert \Delta_t \rvert \leq lr$ otherwise. Both numbers are the
# steps of particular gradients: one that comes after nothing but zeros, and one that never changes.
# This notebook finds the bound for *all* gradients, by induction on the rule itself, shows that
# it is attained, and with it that the two bounds of the paper are exceeded, if seldom and not by
# much.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [cauchy-schwarz](#cauchy-schwarz) | $m_t^2 \leq K_t v_t$ with $K_t = \frac{(1-\beta_1)^2}{1-\beta_2} \sum_{j<t} (\beta_1^2/\beta_2)^j$ | any real gradients; $0 < \beta_1, \beta_2 < 1$; all $t \geq 1$ | induction on the rule: the difference is a square plus what the hypothesis makes nonnegative; the sum by induction |
# | [step-bound](#step-bound) | $\lvert h_t \rvert \leq \sqrt{K_t}\, \sqrt{1-\beta_2^t} / (1-\beta_1^t)$, whatever the gradients | $v_t > 0$; $\epsilon \geq 0$; all $t \geq 1$ | SymPy, on the rule |
# | [attained](#attained) | with $\epsilon = 0$ gradients that grow by the factor $\beta_2/\beta_1$ a step attain it in every step | $0 < \beta_1, \beta_2 < 1$, $\beta_1^2 \neq \beta_2$; all $t \geq 1$ | induction on the rule |
# | [supremum](#supremum) | if $\beta_1^2 < \beta_2$, the bound tends to $C = \frac{(1-\beta_1) \sqrt{\beta_2}}{\sqrt{(1-\beta_2)(\beta_2 - \beta_1^2)}}$, and $C^2 - 1 = \frac{(\beta_2 - \beta_1)^2}{(1-\beta_2)(\beta_2-\beta_1^2)}$ | $\beta_1^2 < \beta_2$; $t \to \infty$ | SymPy, where powers of rates below one are put to zero |
# | [equal-rates](#equal-rates) | no step is longer than $lr$ if $\beta_1 = \beta_2$; if $\beta_1 \neq \beta_2$, some gradients lead to longer ones | the second part $\beta_1^2 < \beta_2$ | step-bound; supremum and attained, with SymPy |
# | [default-values](#default-values) | with the default values the bound is $C = 7.27$, where the paper's is 3.16 | $\beta_1 = 0.9$, $\beta_2 = 0.999$ | exact rational arithmetic |
# | [counterexample](#counterexample) | with $\beta_1 = 1/2$ and $\beta_2 = 3/4$ gradients growing by half a step lead in step 10 to a step of more than $1.18\, lr$, where the paper's bound is $lr$ | exact values | the rule in rational arithmetic, 10 steps |
#
# Specification: [adam](../spec/adam.toml). The cases of a single and of a constant gradient are claims
# of [adam_bias_correction](adam_bias_correction.py).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adam import adam

beta1, beta2 = sp.symbols("beta1 beta2", positive=True)  # and below one
t = sp.Symbol("t", integer=True, positive=True)
g, m = sp.symbols("g m", real=True)
v = sp.Symbol("v", nonnegative=True)


def moments(g, m, v):
    """Both moments after a step of the rule, which do not depend on t."""
    return adam(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=0)[1:]


gamma = beta1**2 / beta2
K = (1 - beta1) ** 2 / (1 - beta2) * (1 - gamma**t) / (1 - gamma)
ratio = sp.sqrt(1 - beta2**t) / (1 - beta1**t)  # by which correction scales the step
C_squared = (1 - beta1) ** 2 * beta2 / ((1 - beta2) * (beta2 - beta1**2))
K

# %% [markdown]
# ## cauchy-schwarz
#
# Both moments are weighted sums over the same gradients, and the inequality of Cauchy and Schwarz
# compares them: $(\sum a_i b_i)^2 \leq \sum a_i^2 \sum b_i^2$ with $a_i = \beta_2^{(t-i)/2} g_i$ and
# $b_i = (\beta_1/\sqrt{\beta_2})^{t-i}$. The same follows by induction on the rule, without sums. Let
# $m^2 \leq K v$ before a step, and $K' = \gamma K + (1-\beta_1)^2/(1-\beta_2)$, $\gamma =
# \beta_1^2/\beta_2$. After it $K' v' - m'^2$ is a perfect square plus $\beta_2 (K'/K)(K v - m^2)$, which
# is not negative. In the first step there is equality, and $K_t$ solves the recursion for $K$.

# %%
k = sp.Symbol("K", positive=True)
k_after = gamma * k + (1 - beta1) ** 2 / (1 - beta2)
m_after, v_after = moments(g, m, v)
root = (1 - beta1) * beta2 * m - k * beta1 * (1 - beta2) * g
square = root**2 / (k * beta2 * (1 - beta2))
assert equal(
    k_after * v_after - m_after**2, square + beta2 * k_after / k * (k * v - m**2)
)  # 0 < beta2 < 1

m_first, v_first = moments(g, 0, 0)
assert equal(K.subs(t, 1) * v_first, m_first**2)
assert equal(K.subs(t, t + 1), k_after.subs(k, K))
j = sp.Symbol("i", integer=True)
growth = sp.Symbol(
    "gamma", positive=True
)  # also where gamma is one, the sum is what the recursion says
assert holds_by_induction(
    lambda n: sp.Sum(growth ** (n - j), (j, 1, n)), 0, lambda n, before: growth * before + 1, n=t
)

# %% [markdown]
# ## step-bound
#
# Bias correction multiplies $m/\sqrt{v}$ by the ratio $r_t = \sqrt{1-\beta_2^t}/(1-\beta_1^t)$, and
# $\epsilon$ makes the denominator larger and the step shorter. So $h_t^2 \leq K_t r_t^2$. In the first
# step, where every gradient moves the parameter by $lr$, the bound is one.

# %%
positive_v, eps = sp.symbols("v epsilon", positive=True)
h, m_new, v_new = adam(SYMBOLS, t, g, m, positive_v, beta1=beta1, beta2=beta2, eps=0)
assert equal(h**2, m_new**2 / v_new * ratio**2)
with_eps, _, _ = adam(SYMBOLS, t, g, m, positive_v, beta1=beta1, beta2=beta2, eps=eps)
root_v = sp.sqrt(v_new / (1 - beta2**t))
assert equal(with_eps / h, root_v / (root_v + eps))  # between 0 and 1
assert equal((K * ratio**2).subs(t, 1), 1)

# %% [markdown]
# ## attained
#
# Cauchy and Schwarz is an equality for proportional sequences: for gradients that grow like
# $(\beta_2/\beta_1)^t$. The first moment then looks mostly at the last gradients, which are the large
# ones, while the second still divides by an average with many small ones. The closed forms of both
# moments follow by induction; their quotient is $K_t$ in every step.


# %%
def m_growing(n):
    """The first moment after n gradients (beta2/beta1)**1, ..., (beta2/beta1)**n."""
    return (1 - beta1) * (beta2 / beta1) ** n * (1 - gamma**n) / (1 - gamma)


def v_growing(n):
    """The second moment."""
    return (1 - beta2) * (beta2 / beta1) ** (2 * n) * (1 - gamma**n) / (1 - gamma)


grown = (beta2 / beta1) ** t
assert holds_by_induction(m_growing, 0, lambda n, m: moments((beta2 / beta1) ** n, m, 0)[0], n=t)
assert holds_by_induction(v_growing, 0, lambda n, v: moments((beta2 / beta1) ** n, 0, v)[1], n=t)
assert equal(m_growing(t) ** 2 / v_growing(t), K)

# %% [markdown]
# ## supremum
#
# For $\beta_1^2 < \beta_2$ the geometric series converges and bias correction fades, so the bound tends
# to a number $C$. That $C$ is never below one has a pretty reason: $C^2 - 1$ is a square over positive
# numbers.

# %%
vanished = {beta1**t: 0, beta2**t: 0, gamma**t: 0}  # all three bases are below one
assert equal((K * ratio**2).subs(vanished), C_squared)
assert equal(C_squared - 1, (beta2 - beta1) ** 2 / ((1 - beta2) * (beta2 - beta1**2)))

# %% [markdown]
# ## equal-rates
#
# With $\beta_1 = \beta_2$ the square vanishes, and more than that: the bound is exactly one in every
# step. Adam with equal rates moves each parameter by at most $lr$. This is the case that the
# literature on Adam as a sign method studies, and the only one in which $lr$ is a strict bound.

# %%
same = K.subs(beta1, beta2) * (ratio**2).subs(beta1, beta2)
assert equal(same, 1)
assert equal(C_squared.subs(beta1, beta2), 1)
beta = sp.Symbol("beta", positive=True)
distance = sp.Symbol("d", positive=True)
excess = (C_squared - 1).subs(beta2, beta + distance).subs(beta1, beta)
below_one, above_square = 1 - beta - distance, beta + distance - beta**2  # both positive
assert equal(excess, distance**2 / (below_one * above_square))

# %% [markdown]
# ## default-values
#
# The squares are rational, so nothing is rounded: $C^2$ is $52.9$ for the default values. The paper's
# bound, 3.16, is that of one gradient after zeros. It takes gradients that grow by eleven percent a
# step for thousands of steps to come near 7.27, which no training does; but a bound that a proof
# relies on must be this one.

# %%
defaults = {beta1: sp.Rational(9, 10), beta2: sp.Rational(999, 1000)}
assert sp.Rational(727, 100) ** 2 < C_squared.subs(defaults) < sp.Rational(728, 100) ** 2
assert ((1 - beta1) ** 2 / (1 - beta2)).subs(defaults) == 10

# %% [markdown]
# ## counterexample
#
# For $\beta_1 = \frac{1}{2}$ and $\beta_2 = \frac{3}{4}$, $1-\beta_1 = \sqrt{1-\beta_2}$: the paper's
# second case, whose bound is $lr$. The gradients are $1.5^t$, as attained says, and the rule runs on
# fractions. The square of its direction in step 10 is above $1.4$; the limit is $C^2 = 1.5$.

# %%
rates = {beta1: sp.Rational(1, 2), beta2: sp.Rational(3, 4)}
assert ((1 - beta1) ** 2).subs(rates) == (1 - beta2).subs(rates)
first, second = sp.Integer(0), sp.Integer(0)
for step in range(1, 11):
    gradient = sp.Rational(3, 2) ** step
    h, first, second = adam(
        SYMBOLS, step, gradient, first, second, beta1=rates[beta1], beta2=rates[beta2], eps=0
    )
assert h > 0
assert h**2 > sp.Rational(14, 10) > sp.Rational(118, 100) ** 2
assert h**2 == (K * ratio**2).subs(rates).subs(t, 10)
assert C_squared.subs(rates) == sp.Rational(3, 2)
