# %% [markdown]
# # Adam's bias correction
#
# Adam keeps two moving averages, of the gradient and of its square, and starts both at zero. Early
# on they are therefore too small: after one step with $\beta_1 = 0.9$ the first holds a tenth of the
# gradient. Kingma and Ba ([arXiv:1412.6980](https://arxiv.org/abs/1412.6980), section 3) divide by
# $1 - \beta^t$ and call it bias correction. This notebook derives that factor from the code that
# refopt runs, says exactly when it removes the bias and how much remains otherwise, and shows what
# the correction does to the size of the first steps.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [first-moment](#first-moment) | $m_t = (1-\beta_1) \sum_{i=1}^{t} \beta_1^{t-i} g_i$ | any gradients; $m_0 = 0$; all $t$ | induction on the rule |
# | [second-moment](#second-moment) | $v_t = (1-\beta_2) \sum_{i=1}^{t} \beta_2^{t-i} g_i^2$ | any gradients; $v_0 = 0$; all $t$ | induction on the rule |
# | [weights](#weights) | the weights of both sums add up to $1 - \beta^t$ | $0 < \beta < 1$; all $t$ | induction, also on the rule |
# | [constant-gradient](#constant-gradient) | $g_i = g$ for all $i$ gives $\hat m_t = g$ and $\hat v_t = g^2$ exactly | all $t \geq 1$ | induction on the rule |
# | [expectation](#expectation) | $E[m_t] = (1-\beta_1^t)\, E[g_t] + \zeta$ with $\zeta = (1-\beta_1) \sum_{i=1}^{t} \beta_1^{t-i} (E[g_i] - E[g_t])$, and likewise for $v_t$ | expectations exist; all $t$ | linearity of the expectation, in words; the identity by SymPy |
# | [stationary](#stationary) | $\zeta = 0$, so that $\hat m_t$ and $\hat v_t$ are unbiased | $E[g_i]$ and $E[g_i^2]$ do not depend on $i$ | SymPy, from expectation |
# | [drift](#drift) | $\lvert \zeta \rvert \leq \delta\, \beta (1 - t \beta^{t-1} + (t-1) \beta^t) / (1-\beta) \leq \delta\, \beta / (1-\beta)$ | the expectation moves by at most $\delta$ a step; $0 < \beta < 1$; all $t$ | triangle inequality, in words; the sum by induction, its bound by SymPy |
# | [falls-then-rises](#falls-then-rises) | $r_t = \sqrt{1-\beta_2^t} / (1-\beta_1^t)$, by which correction scales the step, falls up to one place and rises from there on, to 1; for $\beta_1 \geq \beta_2$ it only falls | $0 < \beta_1, \beta_2 < 1$; the first part $\beta_1 < \beta_2$; all real $t > 0$ | derivatives and limits by SymPy; what follows from their signs, in words |
# | [minimum](#minimum) | with the default values the ratio is smallest at $t = 12$, where it is $0.1522$ to four digits | $\beta_1 = 0.9$, $\beta_2 = 0.999$ | three values in exact rational arithmetic; that no other is smaller is falls-then-rises |
# | [first-step](#first-step) | the first direction is $g/(\lvert g \rvert + \epsilon)$; without correction it is $\pm c$, $c = (1-\beta_1)/\sqrt{1-\beta_2}$, which grows without bound as $\beta_2 \to 1$ | $t = 1$; the second part $\epsilon = 0$, $g \neq 0$ | SymPy, on both rules |
# | [sparse-gradient](#sparse-gradient) | a gradient after $t - 1$ zero gradients gives the direction $c\, r_t\, \mathrm{sign}(g)$, which tends to $c\, \mathrm{sign}(g)$; without correction it is $c\, \mathrm{sign}(g)$ at every $t$ | zeros before; $\epsilon = 0$; $g \neq 0$; all $t \geq 1$ | SymPy, on both rules; the limit is that of falls-then-rises |
#
# Specification: [adam](../spec/adam.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adam import adam, adam_uncorrected

beta1, beta2, beta = sp.symbols("beta1 beta2 beta", positive=True)  # and below one
eps = sp.Symbol("epsilon", positive=True)
t = sp.Symbol("t", integer=True, positive=True)
i = sp.Symbol("i", integer=True)
g = sp.IndexedBase("g", real=True)

# %% [markdown]
# ## The rule
#
# This is the function that refopt runs on arrays. Here it runs on symbols: the state before the
# step and the gradient go in, and the direction $h$ and the new state come out as expressions.

# %%
m_before, v_before = sp.symbols("m v", real=True)
h, m_after, v_after = adam(SYMBOLS, t, g[t], m_before, v_before, beta1=beta1, beta2=beta2, eps=eps)
h


# %%
def moments(t, g, m, v):
    """Both moments after step t of the rule."""
    return adam(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)[1:]


# %% [markdown]
# ## Closed forms
#
# Unrolled, each moving average is a weighted sum of what it has seen: the newest gradient weighs
# $1-\beta$, and each step makes a weight smaller by the factor $\beta$.


# %%
def m_closed(t):
    """The first moment after step t."""
    return (1 - beta1) * sp.Sum(beta1 ** (t - i) * g[i], (i, 1, t))


def v_closed(t):
    """The second moment after step t."""
    return (1 - beta2) * sp.Sum(beta2 ** (t - i) * g[i] ** 2, (i, 1, t))


def weight(j):
    """What a gradient weighs j steps later."""
    return (1 - beta) * beta**j


m_closed(t)

# %% [markdown]
# ## first-moment
#
# Induction: at $t = 0$ the sum is empty, and the state starts at zero. If it holds after step $t$,
# the rule applied to it gives the same form after step $t + 1$. No step of this is done by hand:
# the induction runs the rule itself on the closed form, with a symbol for $t$.

# %%
assert holds_by_induction(m_closed, first=0, step=lambda t, m: moments(t, g[t], m, 0)[0], n=t)

# %% [markdown]
# ## second-moment
#
# The same, with the square of the gradient. Nothing is averaged over coordinates: each element of a
# parameter has its own $v$.

# %%
assert holds_by_induction(v_closed, first=0, step=lambda t, v: moments(t, g[t], 0, v)[1], n=t)

# %% [markdown]
# ## weights
#
# The weights of $t$ steps do not add up to one. They are a geometric series, and what is missing,
# $\beta^t$, is the weight that still lies on the zero that the average started from. Counted by age
# $j = t - i$, each step adds one term, so it suffices that $1 - \beta^t$ starts at zero and grows by
# that term. With a gradient of one at every step the rule adds up the same weights.


# %%
assert equal((1 - beta ** (t + 1)) - (1 - beta**t), weight(t))
assert (1 - beta**t).subs(t, 0) == 0
assert holds_by_induction(
    lambda t: 1 - beta1**t, first=0, step=lambda t, m: moments(t, 1, m, 0)[0], n=t
)

# %% [markdown]
# ## constant-gradient
#
# If all gradients are the same, dividing by the sum of the weights gives them back exactly, at every
# step, not only in the limit. The direction is then $g / (\lvert g \rvert + \epsilon)$ from the first
# step on: Adam starts at full speed.

# %%
constant = sp.Symbol("g", real=True)


def m_constant(t):
    """The first moment after t gradients g."""
    return (1 - beta1**t) * constant


def v_constant(t):
    """The second moment after t gradients g."""
    return (1 - beta2**t) * constant**2


assert holds_by_induction(m_constant, 0, lambda t, m: moments(t, constant, m, 0)[0], n=t)
assert holds_by_induction(v_constant, 0, lambda t, v: moments(t, constant, 0, v)[1], n=t)

h, _, _ = adam(
    SYMBOLS, t, constant, m_constant(t - 1), v_constant(t - 1),
    beta1=beta1, beta2=beta2, eps=eps,
)  # fmt: skip
assert equal(h, constant / (sp.Abs(constant) + eps))

# %% [markdown]
# ## Expectations
#
# Now let the gradients be random. Expectation is linear, so $E[m_t]$ is the same sum over the
# expectations $\mu_i = E[g_i]$; for $v_t$ read $\mu_i = E[g_i^2]$. Independence is not needed.

# %%
mu = sp.IndexedBase("mu", real=True)
weights = (1 - beta) * sp.Sum(beta ** (t - i), (i, 1, t))
expected_average = (1 - beta) * sp.Sum(beta ** (t - i) * mu[i], (i, 1, t))
zeta = (1 - beta) * sp.Sum(beta ** (t - i) * (mu[i] - mu[t]), (i, 1, t))
expected_average

# %% [markdown]
# ## expectation
#
# Add and subtract the current expectation $\mu_t$ inside the sum: what carries $\mu_t$ is the sum of
# the weights, which is $1 - \beta^t$ by the claim above; the rest is $\zeta$. This is the
# decomposition of the paper, equation (4), with its remainder written out.

# %%
assert equal(expected_average, weights * mu[t] + zeta)

# %% [markdown]
# ## stationary
#
# If the expectation never changes, every term of $\zeta$ is zero, and the corrected average is an
# unbiased estimate. The second moment needs $E[g_i^2]$ to be constant, which is a stronger demand
# than a constant mean: the variance must not change either.

# %%
mean = sp.Symbol("mu", real=True)
assert equal(zeta.replace(lambda e: isinstance(e, sp.Indexed), lambda _: mean), 0)

# %% [markdown]
# ## drift
#
# In training the expectation drifts. If it moves by at most $\delta$ a step, then
# $\lvert \mu_i - \mu_t \rvert \leq \delta (t - i)$, and the triangle inequality bounds $\zeta$ by
# $\delta$ times the mean age $\sum_j (1-\beta) \beta^j j$ of what has been averaged. That sum starts at
# zero and grows by one term a step, and so does the closed form. It never exceeds
# $\beta / (1 - \beta)$: the average lags behind by at most nine steps for $\beta = 0.9$ and by 999 for
# $\beta = 0.999$. Bias correction cannot remove this lag.


# %%
def age(t):
    """The closed form of the sum over j < t."""
    return beta * (1 - t * beta ** (t - 1) + (t - 1) * beta**t) / (1 - beta)


assert equal(age(t + 1) - age(t), weight(t) * t)
assert age(sp.Integer(0)) == 0
p = sp.Symbol("p", positive=True)  # 1 - beta
missing = beta / (1 - beta) - age(t)
assert equal(missing, beta**t * (t * (1 - beta) + beta) / (1 - beta))
assert (beta**t * (t * p + beta) / p).is_positive

# %% [markdown]
# ## The correction ratio
#
# Both corrections together multiply $m / \sqrt{v}$ by $r_t = \sqrt{1-\beta_2^t} / (1-\beta_1^t)$. With
# the default values it starts at $0.316$, falls, and then takes thousands of steps to come back to 1.
# Write $a = -\ln \beta_1$ and $c = -\ln \beta_2$, and take $t$ for a positive real number.

# %%
a, c, x = sp.symbols("a c x", positive=True)
time = sp.Symbol("t", positive=True)
ratio = sp.sqrt(1 - sp.exp(-c * time)) / (1 - sp.exp(-a * time))


def f(x):
    """How fast 1 - exp(-x) grows, relative to itself and to x."""
    return x / (sp.exp(x) - 1)


ratio

# %% [markdown]
# ## falls-then-rises
#
# The logarithm of the ratio has the derivative $(\frac{1}{2} f(ct) - f(at)) / t$ with
# $f(x) = x/(e^x - 1)$, so the ratio falls exactly where $f(at)/f(ct) > \frac{1}{2}$. This quotient is 1
# at $t = 0$: the ratio falls at first. Its own logarithm has the derivative
# $(\varphi(at) - \varphi(ct))/t$ with $\varphi(x) = x f'(x)/f(x)$, and $\varphi$ falls everywhere
# because $1 - (1+x) e^{-x}$ is zero at zero and grows. If $\beta_1 < \beta_2$, that is $a > c$, the
# quotient therefore falls, and it falls to zero: it passes $\frac{1}{2}$ exactly once. If
# $a \leq c$, it never falls below 1, and the ratio only falls.

# %%
assert equal(sp.diff(sp.log(ratio), time), (f(c * time) / 2 - f(a * time)) / time)

quotient = f(a * time) / f(c * time)
phi = x * sp.diff(f(x), x) / f(x)
assert equal(
    sp.diff(sp.log(quotient), time), (phi.subs(x, a * time) - phi.subs(x, c * time)) / time
)

numerator = 1 - (1 + x) * sp.exp(-x)
assert equal(sp.diff(phi, x), -numerator / (1 - sp.exp(-x)) ** 2)
assert numerator.subs(x, 0) == 0
assert equal(sp.diff(numerator, x), x * sp.exp(-x))
assert sp.diff(numerator, x).simplify().is_positive

more = sp.Symbol("d", positive=True)  # a = c + d
assert sp.limit(quotient, time, 0) == 1
decay = sp.exp(-more * time)
bounded = (1 - sp.exp(-c * time)) / (1 - sp.exp(-a * time))
assert equal(quotient.subs(a, c + more), (a / c * decay * bounded).subs(a, c + more))
assert (sp.limit(decay, time, sp.oo), sp.limit(bounded, time, sp.oo)) == (0, 1)
assert sp.limit(ratio, time, sp.oo) == 1

# %% [markdown]
# ## minimum
#
# Because the ratio has one place of smallest value, three numbers decide where it is: it still falls
# from step 11 to 12, and rises from 12 to 13. The squares are rational numbers, which are compared
# exactly. Twelve steps into training Adam without correction takes steps that are six and a half
# times as long as with it.


# %%
def ratio_squared(t):
    """The square of the ratio with the default values, a rational number."""
    return (1 - sp.Rational(999, 1000) ** t) / (1 - sp.Rational(9, 10) ** t) ** 2


assert ratio_squared(11) > ratio_squared(12) < ratio_squared(13)
assert sp.Rational("0.15215") ** 2 < ratio_squared(12) < sp.Rational("0.15225") ** 2

# %% [markdown]
# ## First steps

# %%
first = sp.Symbol("g", real=True, nonzero=True)
q, r = sp.symbols("q r", positive=True)
inside = {beta1: r / (1 + r), beta2: 1 - q}  # a rate below one, and a small 1 - beta2
c_0 = (1 - beta1) / sp.sqrt(1 - beta2)
c_0

# %% [markdown]
# ## first-step
#
# With correction the first step has length $lr$ in every coordinate, up to $\epsilon$: Adam begins
# as a sign method. Without it the first direction is $\pm c$, $c = (1-\beta_1)/\sqrt{1-\beta_2}$: with
# the default values 3.16 times as long. It is long when *much is averaged over*, $\beta_2$ close to
# one, which is what sparse gradients call for. (The paper's text says "small values of $\beta_2$"
# there: it fits a notation in which $\beta_2$ is the weight of the new value.)

# %%
h, _, _ = adam(SYMBOLS, 1, first, 0, 0, beta1=beta1, beta2=beta2, eps=eps)
assert equal(h, first / (sp.Abs(first) + eps))


h, _, _ = adam_uncorrected(SYMBOLS, 1, first, 0, 0, beta1=beta1, beta2=beta2, eps=0)
assert equal((h / first) ** 2, (c_0 / first) ** 2)
assert (h / first).subs(inside).is_positive
assert sp.diff(c_0.subs(inside), q).is_negative
assert sp.limit(c_0.subs(inside), q, 0) == sp.oo

# %% [markdown]
# ## sparse-gradient
#
# A word that occurs first in step $t$ has had zero gradients until then. Its first true gradient
# moves it by $c\, r_t$: by 1 if it comes at once, by half of that in step 12, and by $c = 3.16$
# if it comes late. Bias correction undoes the zero *start* of the averages; the zeros that the
# gradients themselves bring are data, and it leaves them alone.

# %%
assert moments(t, 0, 0, 0) == (0, 0)  # zeros leave the moments at zero
h, _, _ = adam(SYMBOLS, t, first, 0, 0, beta1=beta1, beta2=beta2, eps=0)
r_t = sp.sqrt(1 - beta2**t) / (1 - beta1**t)
assert equal(h**2, (c_0 * r_t) ** 2)  # and both h/g and c are positive
h, _, _ = adam_uncorrected(SYMBOLS, t, first, 0, 0, beta1=beta1, beta2=beta2, eps=0)
assert equal(h**2, c_0**2)

# %% [markdown]
# ## Figure
#
# Over the first 10,000 steps, on a logarithmic axis: the ratio falls to its minimum, marked, and comes
# back to 1 only after some $3/(1-\beta_2)$ steps.

# %%
from refopt.report.figures.drawing import correction

correction()
