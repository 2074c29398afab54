# %% [markdown]
# # Where epsilon goes
#
# Adam divides by $\sqrt{\hat v} + \epsilon$. Below its Algorithm 1 the paper notes that computing the
# correction first is faster, and writes $\hat\epsilon$ there; implementations took that form and called
# it $\epsilon$. Others put it inside the root. With $\epsilon = 10^{-8}$ and gradients near one nobody
# sees a difference; with the larger values that people use for stability everybody does. In refopt the
# three are `adam`, `adam_epsilon_hat` and `adam_epsilon_inside`.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [translation](#translation) | the hat form with $\hat\epsilon_t = \epsilon \sqrt{1 - \beta_2^t}$ is Adam | any state and gradient; every step $t \geq 1$ | SymPy, on both rules |
# | [no-constant](#no-constant) | no constant $\hat\epsilon$ is Adam with a constant $\epsilon > 0$ in two steps, since $\sqrt{1-\beta_2^t}$ grows with $t$ | $0 < \beta_2 < 1$; $m_t \neq 0$ in both steps | SymPy, on both rules |
# | [effective](#effective) | with the same number in both, the hat form is Adam with $\epsilon / \sqrt{1-\beta_2^t}$: in the first step 31.6 times as much with $\beta_2 = 0.999$, and tending to it | $0 < \beta_2 < 1$; all $t \geq 1$ | SymPy, on both rules; the numbers in rational arithmetic |
# | [first-step-hat](#first-step-hat) | the first step of the hat form is $g/(\lvert g \rvert + \epsilon/\sqrt{1-\beta_2})$ | $t = 1$ | SymPy, on the rule |
# | [amsgrad-hat](#amsgrad-hat) | the same translation holds for AMSGrad, whose maximum is over the raw second moment | any state and gradient; every step | SymPy, on both rules |
# | [inside-outside](#inside-outside) | $\sqrt{v} + \epsilon$ and $\sqrt{v + \epsilon^2}$ agree for $v = 0$ and for large $v$; the first is larger in between, at most $\sqrt{2}$ times, at $\sqrt v = \epsilon$ | $\epsilon > 0$, $v \geq 0$ | derivative and limits by SymPy; what follows from its sign, in words |
# | [no-translation-inside](#no-translation-inside) | $\sqrt{v + \delta} = \sqrt v + \epsilon$ if and only if $\delta = \epsilon^2 + 2 \epsilon \sqrt v$, so no constant $\delta$ does it for two values of $v$ | $\epsilon > 0$, $v \geq 0$ | SymPy |
# | [vanishing-gradient](#vanishing-gradient) | as $g \to 0$ the first direction tends to $g/\epsilon$ outside and $g/\sqrt\epsilon$ inside: with $10^{-8}$ the step is $10^4$ times longer where it stands outside | $t = 1$, state zero; Adam, Adagrad and RMSprop | SymPy: limits, on the rules |
# | [adadelta-epsilon](#adadelta-epsilon) | in Adadelta $\epsilon$ is what starts the motion: without it every step is zero | $\epsilon = 0$; any gradients; all $t$ | induction on the rule |
#
# Specifications: [adam](../spec/adam.toml), [amsgrad](../spec/amsgrad.toml),
# [adagrad](../spec/adagrad.toml), [rmsprop](../spec/rmsprop.toml), [adadelta](../spec/adadelta.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adadelta import adadelta
from refopt.rules.adagrad import adagrad, adagrad_epsilon_inside
from refopt.rules.adam import adam, adam_epsilon_hat, adam_epsilon_inside
from refopt.rules.amsgrad import amsgrad, amsgrad_epsilon_hat
from refopt.rules.rmsprop import rmsprop, rmsprop_epsilon_inside

g, m = sp.symbols("g m", real=True)
v, eps, eps_hat, rho = sp.symbols("v epsilon epsilonhat rho", positive=True)
beta1, beta2, c, p = sp.symbols("beta1 beta2 c p", positive=True)
small = sp.Symbol("g", positive=True)
t = sp.Symbol("t", integer=True, positive=True)
rates = {"beta1": beta1, "beta2": beta2}


def corrected(expression):
    """The expression with 1 - beta2**t written as the square of a positive number c."""
    return sp.sympify(expression).subs(beta2**t, 1 - c**2)


def outside(t, g, m, v, eps):
    """The direction of Adam."""
    return corrected(adam(SYMBOLS, t, g, m, v, eps=eps, **rates)[0])


def hat(t, g, m, v, eps):
    """The direction with epsilon added before the correction."""
    return corrected(adam_epsilon_hat(SYMBOLS, t, g, m, v, eps=eps, **rates)[0])


hat(t, g, m, v, eps)

# %% [markdown]
# ## Two forms
#
# In the hat form numerator and denominator are multiplied by $\sqrt{1-\beta_2^t}$, here $c$. That
# multiplies epsilon as well, so epsilon has to shrink with it. Both forms are compared by their
# reciprocals, which are linear in epsilon.

# %%
m_new, v_new = adam(SYMBOLS, t, g, m, v, eps=eps, **rates)[1:]
linear = (sp.sqrt(v_new) / c + eps) * (1 - beta1**t) / m_new  # 1/h of Adam
linear_hat = (sp.sqrt(v_new) + eps_hat) * (1 - beta1**t) / (c * m_new)  # 1/h of the hat form
linear

# %% [markdown]
# ## translation
#
# For any state, gradient and step: if epsilon-hat is $\epsilon \sqrt{1-\beta_2^t}$ at step $t$, the two
# rules return the same direction. Their moments never differed.

# %%
assert equal(linear * outside(t, g, m, v, eps), 1)
assert equal(linear_hat * hat(t, g, m, v, eps_hat), 1)
assert equal(linear_hat.subs(eps_hat, eps * c), linear)
assert adam_epsilon_hat(SYMBOLS, t, g, m, v, eps=eps_hat, **rates)[1:] == (m_new, v_new)

# %% [markdown]
# ## no-constant
#
# The reciprocals differ by a multiple of $\hat\epsilon - \epsilon \sqrt{1-\beta_2^t}$: the translation
# is not only sufficient, it is the only one. A constant would have to equal
# $\epsilon \sqrt{1-\beta_2^t}$ in every step, but $1 - \beta_2^{t+1} - (1-\beta_2^t) =
# \beta_2^t (1-\beta_2) > 0$. So a framework with epsilon-hat cannot be set to compute Adam, and no
# choice of epsilon makes a comparison of the two exact for more than one step.

# %%
apart = (1 - beta1**t) / (c * m_new) * (eps_hat - eps * c)
assert equal(linear_hat - linear, apart)
assert equal((1 - beta2 ** (t + 1)) - (1 - beta2**t), beta2**t * (1 - beta2))

# %% [markdown]
# ## effective
#
# Read the other way round, the hat form with a fixed number is Adam with an epsilon that starts at
# $\epsilon/\sqrt{1-\beta_2}$ and falls to $\epsilon$. For $\beta_2 = 0.999$ it starts 31.6 times too
# large, and after a thousand steps is still 1.26 times as large: a warm-up that nobody asked for,
# felt where gradients are comparable to epsilon.

# %%
assert equal(linear_hat.subs(eps_hat, eps), linear.subs(eps, eps / c))
assert sp.limit(1 - (1 / (1 + p)) ** t, t, sp.oo) == 1  # beta2 = 1/(1 + p)
excess = 1 / (1 - sp.Rational(999, 1000) ** t)  # squared
assert sp.Rational("31.6") ** 2 < excess.subs(t, 1) < sp.Rational("31.7") ** 2
assert sp.Rational("1.25") ** 2 < excess.subs(t, 1000) < sp.Rational("1.26") ** 2

# %% [markdown]
# ## first-step-hat
#
# The first step shows it best: with a single gradient everything is known, and the whole difference is
# the factor in front of epsilon. This is how `refopt identify` tells the two apart.

# %%
assert equal(outside(1, g, 0, 0, eps), g / (sp.Abs(g) + eps))  # without c
first = hat(1, g, 0, 0, eps).subs(beta2, 1 - c**2)  # where c is the root of 1 - beta2
assert equal(first, g / (sp.Abs(g) + eps / c))

# %% [markdown]
# ## amsgrad-hat
#
# AMSGrad takes the maximum before the correction, so the correction is still a common factor and the
# translation the same. (Over the *corrected* second moment it would not be: the maximum then mixes
# corrections of different steps.)

# %%
v_max = sp.Symbol("v_max", positive=True)
h, *state = amsgrad(SYMBOLS, t, g, m, v, v_max, eps=eps, **rates)
h_hat, *state_hat = amsgrad_epsilon_hat(SYMBOLS, t, g, m, v, v_max, eps=eps * c, **rates)
assert state == state_hat
largest = sp.Symbol("u", positive=True)  # the maximum, which both take alike
assert equal(
    corrected(h.subs(state[2], largest)),
    corrected(h_hat.subs(state[2], largest)).subs(sp.sqrt(c**2), c),
)

# %% [markdown]
# ## Inside the root
#
# Inside, epsilon is compared with $v$ instead of $\sqrt v$. To compare like with like, put
# $\epsilon^2$ there, and let $s = \sqrt v$.

# %%
s = sp.Symbol("s", nonnegative=True)
quotient = (s + eps) / sp.sqrt(s**2 + eps**2)
quotient

# %% [markdown]
# ## inside-outside
#
# The two denominators agree at both ends, and the derivative of their quotient has the sign of
# $\epsilon - s$: it grows up to $s = \epsilon$ and falls from there on. So the choice is worth at most a
# factor $\sqrt 2$, *if* the number inside is squared.

# %%
assert quotient.subs(s, 0) == 1
assert sp.limit(quotient.subs(s, v), v, sp.oo) == 1
assert equal(sp.diff(quotient, s), eps * (eps - s) / (s**2 + eps**2) ** sp.Rational(3, 2))
assert equal(quotient.subs(s, eps), sp.sqrt(2))

# %% [markdown]
# ## no-translation-inside
#
# What would have to stand inside to do what epsilon does outside depends on $v$, and so on the weight
# and the step. Two weights with different $v$ cannot both be served by one number.

# %%
delta = sp.Symbol("delta", positive=True)
needed = eps**2 + 2 * eps * s
assert equal(s**2 + needed, (s + eps) ** 2)
(solution,) = sp.solve(sp.Eq(s**2 + delta, (s + eps) ** 2), delta)
assert equal(solution, needed)
assert sp.diff(needed, s) == 2 * eps

# %% [markdown]
# ## vanishing-gradient
#
# In practice the number is *not* squared when it moves inside. Then the floor under the denominator is
# $\sqrt\epsilon$ instead of $\epsilon$, $10^{-4}$ instead of $10^{-8}$, and where gradients vanish the
# steps differ by the factor $1/\sqrt\epsilon$. The same holds for Adagrad and RMSprop, of which
# frameworks have both forms.

# %%
inside_1 = adam_epsilon_inside(SYMBOLS, 1, small, 0, 0, eps=eps, **rates)[0]
firsts = {
    "adam": (outside(1, small, 0, 0, eps), inside_1),
    "adagrad": (
        adagrad(SYMBOLS, small, 0, eps=eps)[0],
        adagrad_epsilon_inside(SYMBOLS, small, 0, eps=eps)[0],
    ),
    "rmsprop": (
        rmsprop(SYMBOLS, small, 0, 0, 0, rho=rho, eps=eps)[0],
        rmsprop_epsilon_inside(SYMBOLS, small, 0, 0, 0, rho=rho, eps=eps)[0],
    ),
}
for h_outside, h_inside in firsts.values():
    assert equal(sp.limit(h_outside / small, small, 0), 1 / eps)
    assert equal(sp.limit(h_inside / small, small, 0), 1 / sp.sqrt(eps))

# %% [markdown]
# ## adadelta-epsilon
#
# Adadelta multiplies by the root of what it has moved so far, which is zero at first: epsilon inside
# *both* roots is what gets it going, and its size sets the pace of the first steps, about
# $\sqrt{\epsilon/(1-\rho)}$. There it is no safeguard but a hyperparameter. Without it the accumulated
# motion stays zero, whatever the gradients are.

# %%
assert holds_by_induction(
    lambda t: sp.Integer(0) * t,
    first=0,
    step=lambda t, u: adadelta(SYMBOLS, g, v, u, rho=rho, eps=0)[2],
    n=t,
)
assert adadelta(SYMBOLS, g, v, 0, rho=rho, eps=0)[0] == 0
h, _, _ = adadelta(SYMBOLS, small, 0, 0, rho=1 - p, eps=eps)
assert equal(h, sp.sqrt(eps) * small / sp.sqrt(p * small**2 + eps))
assert equal(sp.limit(h, small, sp.oo), sp.sqrt(eps / p))
