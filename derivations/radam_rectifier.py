# %% [markdown]
# # RAdam's rectifier
#
# Adam divides by the root of an average of squared gradients. In the first steps that average rests
# on a handful of gradients, and dividing by a number that can be close to zero by chance makes the
# step size vary wildly. Liu et al. ([arXiv:1908.03265](https://arxiv.org/abs/1908.03265)) measure how
# many gradients the average is worth, $\rho_t$, work out how much the variance of the step size is
# inflated by so few, and scale the step down by the root of that ratio, $r_t$; where the variance
# does not even exist, they step along the momentum alone. This notebook derives $\rho_t$ and $r_t$,
# proves that no choice of $\beta_2$ makes the rectifier act before the fifth step, and says for each
# $\beta_2$ when it does.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [length](#length) | $\rho_t = \frac{2}{1-\beta_2} - 1 - \frac{2 t \beta_2^t}{1-\beta_2^t}$ is the length of the simple average whose values are as old, in the mean, as those in $\hat v_t$ | $0 < \beta_2 < 1$; all $t \geq 1$ | induction; SymPy, on the rule |
# | [grows](#grows) | $\rho_1 = 1$, and $\rho_t$ grows with $t$, to $\rho_\infty = \frac{2}{1-\beta_2} - 1$ | $0 < \beta_2 < 1$; all real $t > 0$ | derivatives and limits by SymPy; what follows from their signs, in words |
# | [at-most-t](#at-most-t) | $\rho_t \leq t$, with equality at $t = 1$ alone: the rule with the threshold 4 rectifies no step before the fifth, those with 5 none before the sixth | $0 < \beta_2 < 1$; all real $t \geq 1$ | hyperbolic form and derivatives by SymPy; what follows from their signs, in words |
# | [acts-ever](#acts-ever) | the rectifier acts in some step, and then in all later ones, if and only if $\beta_2 > 3/5$; with the threshold 5, $\beta_2 > 2/3$ | $0 < \beta_2 < 1$ | grows, and SymPy |
# | [first-acting-step](#first-acting-step) | it acts from step 5 on for every $\beta_2 > 0.7734$, and later for every $\beta_2 < 0.7733$; from step 6 with the threshold 5 for every $\beta_2 > 0.8398$; a table has the steps of eight values | $0 < \beta_2 < 1$ | polynomials with one positive root, by Descartes' rule and SymPy; the table by the rules in rational arithmetic, 40 steps each |
# | [inverse-moments](#inverse-moments) | $\psi^2 = \rho / \sum g_i^2$ has the mean $\frac{\rho}{\rho-2} \sigma^{-2}$ and the variance $\frac{2 \rho^2}{(\rho-2)^2 (\rho-4)} \sigma^{-4}$, infinite at $\rho = 4$ | $g_1, \ldots, g_\rho$ independent and normal with mean 0 and variance $\sigma^2$; $\rho > 4$ | SymPy integrates the density of $\chi^2_\rho$; the limit at 4 |
# | [exact-variance](#exact-variance) | the variance of $\psi$ itself is $\frac{\rho}{\rho-2} - \frac{\rho\, 2^{2\rho-5}}{\pi} B(\frac{\rho-1}{2}, \frac{\rho-1}{2})^2$, in units of $\sigma^{-2}$ | as before, $\rho > 2$ | SymPy, with the duplication formula; $\rho = 3$ to $8$ besides |
# | [rectifier](#rectifier) | to first order the variance of $\psi$ is $\frac{\rho}{2 (\rho-2) (\rho-4)}$, and the root of its quotient at $\rho_\infty$ and $\rho_t$ is the factor $r_t$ of the rule | first order of the delta method; $\rho_t > 4$ | SymPy, on the rule |
# | [times-adam](#times-adam) | the direction is $r_t$ times Adam's where the rectifier acts, and $\hat m_t$ elsewhere | any state and gradient; all $t$ | SymPy, on both rules |
# | [limit-one](#limit-one) | $0 < r_t < 1$, $r_t$ grows with $t$ and tends to 1: RAdam ends as Adam | $\rho_t > 4$ | derivative and limits by SymPy; what follows from their signs, in words |
#
# Specification: [radam](../spec/radam.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adam import adam
from refopt.rules.radam import radam, radam_from_5

beta1, beta2, eps = sp.symbols("beta1 beta2 epsilon", positive=True)  # rates below one
t = sp.Symbol("t", integer=True, positive=True)
g, m, v = sp.symbols("g m v", real=True)

# %% [markdown]
# ## The rule
#
# The rule on symbols is a case distinction. Its condition holds the length $\rho_t$, and its first
# case the rectifier. The code guards the root against negative numbers where it is not used; under
# the condition those guards are open.

# %%
h, _, _ = radam(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)
(rectified, acts), (momentum, _) = h.args
rectified = rectified.replace(
    lambda e: isinstance(e, sp.Piecewise), lambda e: e.args[0][0] if e.args[0][1] == acts else e
)
acts

# %%
rho_inf = 2 / (1 - beta2) - 1
rho_t = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
adam_h, _, _ = adam(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)
rho_t

# %% [markdown]
# ## length
#
# In $\hat v_t$ a gradient that is $j$ steps old weighs $(1-\beta_2)\beta_2^j / (1-\beta_2^t)$. Its mean
# age is therefore $A_t = \sum_{j<t} j \beta_2^j (1-\beta_2) / (1-\beta_2^t)$; the sum has a closed form,
# which starts at zero and grows by one term a step. A simple average of the last $\rho$ values has
# the mean age $(\rho - 1)/2$. Equal ages mean $\rho = 2 A_t + 1$, and that is what the rule compares
# with its threshold.


# %%
def age_sum(n):
    """The sum of j * beta2**j over j < n."""
    return (beta2 - n * beta2**n + (n - 1) * beta2 ** (n + 1)) / (1 - beta2) ** 2


assert holds_by_induction(age_sum, first=0, step=lambda n, a: a + (n - 1) * beta2 ** (n - 1), n=t)
mean_age = age_sum(t) * (1 - beta2) / (1 - beta2**t)
assert equal(2 * mean_age + 1, rho_t)
assert acts.rel_op == "<"
assert equal(acts.rhs - acts.lhs, rho_t - 4)

# %% [markdown]
# ## Time without steps
#
# For the next claims let $t$ be any positive number and write $a = -\ln \beta_2$.

# %%
a, time = sp.symbols("a t", positive=True)
x = sp.Symbol("x", positive=True)
smooth = rho_t.subs(t, time).subs(beta2, sp.exp(-a))
limit = rho_inf.subs(beta2, sp.exp(-a))
smooth

# %% [markdown]
# ## grows
#
# What $\rho_t$ lacks of its limit is $\frac{2}{a} f(at)$ with $f(x) = x / (e^x - 1)$. The numerator
# of $f'$ is $e^x - 1 - x e^x$, which is zero at zero and has the derivative $-x e^x$: $f$ falls, and
# it falls to zero. One gradient is worth one gradient; infinitely many are worth 1999 at
# $\beta_2 = 0.999$.

# %%
f = x / (sp.exp(x) - 1)
assert equal(limit - smooth, 2 / a * f.subs(x, a * time))
numerator = sp.exp(x) - 1 - x * sp.exp(x)
assert equal(sp.diff(f, x), numerator / (sp.exp(x) - 1) ** 2)
assert numerator.subs(x, 0) == 0
assert sp.diff(numerator, x).simplify().is_negative
assert sp.limit(f, x, sp.oo) == 0
assert equal(rho_t.subs(t, 1), 1)
assert rho_inf.subs(beta2, sp.Rational(999, 1000)) == 1999

# %% [markdown]
# ## at-most-t
#
# An average of $t$ gradients cannot be worth more than $t$. In hyperbolic functions
# $t - \rho_t = t \coth(at/2) - \coth(a/2)$, which is $\frac{2}{a}$ times the growth of $x \coth x$
# between $a/2$ and $at/2$. The derivative of $x \coth x$ has the sign of $\sinh 2x - 2x$, which is
# zero at zero and grows. So $\rho_4 < 4$ and $\rho_5 < 5$ for every $\beta_2$, and the first steps of
# RAdam are always momentum: at least four of them, or five with the other threshold.

# %%
growth = x * sp.coth(x)
between = (growth.subs(x, a * time / 2) - growth.subs(x, a / 2)) * 2 / a
assert equal((time - smooth - between).rewrite(sp.exp), 0)
excess = sp.sinh(2 * x) - 2 * x
assert equal((sp.diff(growth, x) - excess / (2 * sp.sinh(x) ** 2)).rewrite(sp.exp), 0)
assert excess.subs(x, 0) == 0
assert equal(sp.diff(excess, x), 4 * sp.sinh(x) ** 2)

# %% [markdown]
# ## acts-ever
#
# Because $\rho_t$ grows to $\rho_\infty$ without reaching it, it passes a threshold $T$ if and only if
# $\rho_\infty > T$, and after that it stays above. This holds for $\beta_2 > (T-1)/(T+1)$. For smaller
# $\beta_2$ RAdam is momentum with bias correction for ever, however long it runs.

# %%
threshold = sp.Symbol("T", positive=True)
crossing = (threshold - 1) / (threshold + 1)
assert equal(rho_inf.subs(beta2, crossing), threshold)
assert equal(sp.diff(rho_inf, beta2), 2 / (1 - beta2) ** 2)  # positive: it grows with beta2
assert [crossing.subs(threshold, each) for each in (4, 5)] == [
    sp.Rational(3, 5),
    sp.Rational(2, 3),
]

# %% [markdown]
# ## first-acting-step
#
# Weighed with $\beta_2^j$, $\rho_t > T$ says that $p(\beta_2) = \sum_{j<t} (2j + 1 - T) \beta_2^j > 0$.
# The coefficients grow with $j$ and so change sign once: by Descartes' rule there is one positive root,
# and $p$ is positive above it. For all usual values the rectifier acts as early as it can, at step 5. Which of
# the two thresholds an implementation has makes a difference of one step, and the size of that step
# is where the two differ most. The table runs the rules themselves in rational arithmetic: with a
# gradient of one and $\epsilon = 0$ the direction is $r_t$, and exactly 1 where it is not rectified.


# %%
def polynomial(steps, threshold):
    """Positive where rho at that step is above the threshold."""
    return sum((2 * j + 1 - threshold) * beta2**j for j in range(steps))


for steps, above in ((5, 4), (6, 5)):
    weighed = (rho_t.subs(t, steps) - above) * sum(beta2**j for j in range(steps))
    assert equal(weighed, polynomial(steps, above))

first = sp.Poly(polynomial(5, 4), beta2)
assert first.count_roots(0, None) == 1
assert first.count_roots(sp.Rational(7733, 10000), sp.Rational(7734, 10000)) == 1
second = sp.Poly(polynomial(6, 5), beta2)
assert second.count_roots(0, None) == 1
assert second.count_roots(sp.Rational(8397, 10000), sp.Rational(8398, 10000)) == 1


def first_step(rule, rate, last):
    """The first step up to the last that the rule rectifies, for a constant gradient."""
    for step in range(1, last + 1):
        before = 1 - sp.Rational(rate) ** (step - 1)
        h, _, _ = rule(
            SYMBOLS, sp.Integer(step), 1, 0, before, beta1=sp.Integer(0), beta2=sp.Rational(rate), eps=0
        )  # fmt: skip
        if h != 1:
            return step
    return None


table = {
    "0.999": (5, 6),
    "0.99": (5, 6),
    "0.95": (5, 6),
    "0.9": (5, 6),
    "0.8": (5, 7),
    "0.7": (6, 10),
    "0.65": (8, None),
    "0.6": (None, None),
}
for rate, steps in table.items():
    assert tuple(first_step(rule, rate, 40) for rule in (radam, radam_from_5)) == steps

# %% [markdown]
# ## Few gradients
#
# Now the variance. Take $\rho$ independent normal gradients; the step size of Adam is in proportion to
# $\psi = \sqrt{\rho / \sum g_i^2}$. The sum of squares over $\sigma^2$ has the distribution
# $\chi^2_\rho$, and the moments of its inverse are integrals of its density.

# %%
rho, chi = sp.symbols("rho chi", positive=True)
density = chi ** (rho / 2 - 1) * sp.exp(-chi / 2) / (2 ** (rho / 2) * sp.gamma(rho / 2))


def moment(power):
    """The mean of chi**power."""
    integrand = sp.powsimp(chi**power * density)
    return sp.gammasimp(sp.integrate(integrand, (chi, 0, sp.oo), conds="none"))


mean = rho * moment(-1)
variance = rho**2 * moment(-2) - mean**2
first_order = variance / (4 * mean)
r_squared = first_order.subs(rho, rho_inf) / first_order.subs(rho, rho_t)
rule_r = rectified / adam_h
power = sp.Symbol("q", positive=True)


def same(left, right):
    """Whether two rational functions of beta2 and beta2**t are equal: in lowest terms, exactly."""
    return sp.cancel(sp.together((left - right).subs(beta2**t, power))) == 0


variance

# %% [markdown]
# ## inverse-moments
#
# Both moments come out as rational functions of $\rho$. The second one exists
# for $\rho > 4$ alone: that is where the threshold comes from. With four gradients or fewer, the
# variance of the squared step size is infinite.

# %%
assert equal(mean, rho / (rho - 2))
assert equal(variance, 2 * rho**2 / ((rho - 2) ** 2 * (rho - 4)))
assert sp.limit(variance, rho, 4, "+") == sp.oo

# %% [markdown]
# ## exact-variance
#
# The paper also gives the variance of $\psi$ itself, with a Beta function. It is $E[\psi^2]$, which we
# have, less the square of $E[\psi]$, the moment of power $-\frac{1}{2}$. To compare the two forms,
# $\Gamma(\rho - 1)$ is taken apart by the duplication formula. This variance is finite down to
# $\rho = 2$: the threshold 4 belongs to the approximation below.

# %%
exact = rho / (rho - 2) - rho * moment(-sp.Rational(1, 2)) ** 2
half = (rho - 1) / 2
duplication = 2 ** (rho - 2) / sp.sqrt(sp.pi) * sp.gamma(half) * sp.gamma(rho / 2)
assert sp.gammasimp(sp.gamma(rho - 1) / duplication) == 1
beta_function = sp.gamma(half) ** 2 / duplication
paper = rho / (rho - 2) - rho * 2 ** (2 * rho - 5) / sp.pi * beta_function**2
assert sp.simplify(exact - paper) == 0
assert all(sp.simplify((exact - paper).subs(rho, count)) == 0 for count in range(3, 9))

# %% [markdown]
# ## rectifier
#
# A small deviation of $\psi^2$ moves its root by $1/(2\psi)$ times as much, so to first order
# $\mathrm{Var}[\psi] = \mathrm{Var}[\psi^2] / (4 E[\psi^2])$. Scaling a random quantity by $r$ scales
# its variance by $r^2$: the factor that brings the variance at $\rho_t$ down to the one at
# $\rho_\infty$ is the root of their quotient. It is the factor in the rule.

# %%
assert equal(first_order, rho / (2 * (rho - 2) * (rho - 4)))
assert same(rule_r**2, r_squared)

# %% [markdown]
# ## times-adam
#
# Everything else is Adam: the moments are the same, and so is the place of $\epsilon$. PyTorch's form
# puts $\epsilon$ before the correction, which makes it another algorithm
# ([radam](../spec/radam.toml), form `radam_epsilon_hat`).

# %%
assert not rule_r.free_symbols & {g, m, v, beta1, eps}
assert equal(momentum, (beta1 * m + (1 - beta1) * g) / (1 - beta1**t))
moments = [each(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2)[1:] for each in (radam, adam)]
assert moments[0] == moments[1]

# %% [markdown]
# ## limit-one
#
# As a function of $\rho$, $r^2$ is $\varphi(\rho) / \varphi(\rho_\infty)$ with
# $\varphi(\rho) = (\rho - 4)(\rho - 2)/\rho = \rho - 6 + 8/\rho$. It is zero at 4 and its derivative
# $1 - 8/\rho^2$ is positive beyond. So $r_t$ grows with $\rho_t$, stays below one because $\rho_t$ stays
# below $\rho_\infty$, and both limits are reached together.

# %%
phi = (rho - 4) * (rho - 2) / rho
quotient = phi.subs(rho, rho_t) / phi.subs(rho, rho_inf)
assert same(r_squared, quotient)
assert phi.subs(rho, 4) == 0
beyond = sp.Symbol("d", positive=True)
assert sp.diff(phi, rho).subs(rho, 4 + beyond).simplify().is_positive
assert sp.limit(limit - smooth, time, sp.oo) == 0

# %% [markdown]
# ## Figure
#
# The factor over the steps, from the first step that it acts in. RAdam brings its own warmup: about
# as long as the average that it distrusts. `refopt plot rectifier` draws it.

# %%
from refopt.report.figures.drawing import rectifier

rectifier()
