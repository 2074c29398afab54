# %% [markdown]
# # Nadam: Adam with Nesterov's momentum
#
# Nesterov's momentum evaluates the gradient where the momentum is about to lead. Dozat
# ([ICLR 2016 workshop](https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ)) rewrites it so that the
# gradient stays where it is, and the step uses the *next* momentum instead; Nadam does this to Adam, and
# lets the momentum rise slowly besides. This notebook shows in which sense Nadam looks one step ahead,
# and what that does to the first step.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [looks-ahead](#looks-ahead) | with constant momentum, numerator for numerator, the direction is the one that Adam would have a step later if the gradient came again: $\beta_1 m_t + (1-\beta_1) g_t = m_{t+1}$ for $g_{t+1} = g_t$ | any state and gradient; all $t$ | SymPy, on the rules of both |
# | [momentum-schedule](#momentum-schedule) | $\mu_t = \beta_1 (1 - \frac{1}{2} 0.96^{t \psi})$ rises from $\frac{1}{2} \beta_1$ at $t = 0$ to $\beta_1$, and the product of the first $t$ is at most $\beta_1^t$, so tends to zero | $\psi > 0$; $0 < \beta_1 < 1$ | derivative and limit by SymPy, of what the rule computes; the product in words |
# | [longer-first-step](#longer-first-step) | the first direction is $1 + \frac{(1-\beta_1) \mu_2}{1 - \mu_1 \mu_2}$ times the sign of the gradient: five to six percent longer than Adam's, with the default values | $\epsilon = 0$; $g \neq 0$ | SymPy, on the rule; rational bounds of both momenta, in which it grows |
# | [late-steps](#late-steps) | as $t \to \infty$ the direction tends to $(\beta_1 m_t + (1-\beta_1) g_t) / (\sqrt{v_t} + \epsilon)$, with constant momentum and with the schedule | any state and gradient | SymPy, on both rules, where powers of rates and products of momenta are put to zero |
#
# Specification: [nadam](../spec/nadam.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adam import adam
from refopt.rules.nadam import nadam, nadam_constant_momentum

beta1, beta2, eps, psi = sp.symbols("beta1 beta2 epsilon psi", positive=True)
t = sp.Symbol("t", integer=True, positive=True)
g, m = sp.symbols("g m", real=True)
v, product = sp.symbols("v P", positive=True)

h, m_new, v_new = nadam_constant_momentum(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)


def with_schedule(t, g, m, v, product, eps=eps):
    """A step of Nadam."""
    return nadam(
        SYMBOLS, t, g, m, v, product, beta1=beta1, beta2=beta2, eps=eps, momentum_decay=psi
    )


mu = with_schedule(t, g, m, v, product)[3] / product  # the momentum of step t
rate = sp.Rational(24, 25)
h

# %% [markdown]
# ## looks-ahead
#
# Adam's direction at step $t$ has $m_t$ in the numerator. Nadam's has $\beta_1 m_t$ and $(1-\beta_1) g_t$,
# the two parts that make up $m_{t+1}$ if the next gradient is like this one. Each part is divided by
# the bias correction of the step that it belongs to, $1 - \beta_1^{t+1}$ and $1 - \beta_1^t$, so the two are
# equal but for that one denominator.

# %%
_, m_ahead, _ = adam(SYMBOLS, t + 1, g, m_new, v_new, beta1=beta1, beta2=beta2, eps=eps)
root = sp.sqrt(v_new / (1 - beta2**t)) + eps
parts = beta1 * m_new / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
assert equal(h * root, parts)
assert equal(m_ahead, beta1 * m_new + (1 - beta1) * g)
_, m_adam, v_adam = adam(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)
assert (m_adam, v_adam) == (m_new, v_new)

# %% [markdown]
# ## momentum-schedule
#
# The factor $0.96^{t\psi}$ with $\psi = 0.004$ needs 4245 steps to halve: for the first thousands of steps
# the momentum in the direction is far below $\beta_1$, while the average itself has the rate $\beta_1$
# throughout. Keras has $\psi = 1$, with which the schedule is over after a hundred steps.

# %%
assert equal(mu, beta1 * (1 - sp.Rational(24, 25) ** (t * psi) / 2).subs(sp.Rational(24, 25), 0.96))
time, base = sp.symbols("t b", positive=True)  # b = 0.96**psi is below one
smooth = beta1 * (1 - sp.exp(-base * time) / 2)
assert sp.diff(smooth, time).is_positive
assert smooth.subs(time, 0) == beta1 / 2
assert sp.limit(smooth, time, sp.oo) == beta1
assert sp.expand(beta1 - smooth).is_positive  # so each factor of the product is below beta1
assert rate**16 > sp.Rational(1, 2) > rate**17  # 16.98 / 0.004 = 4245

# %% [markdown]
# ## longer-first-step
#
# At the start the average is $(1-\beta_1) g$ and its corrected value $g$. Nadam adds the part that the
# next momentum will bring. Both $\mu$ are a little above $\frac{1}{2} \beta_1$, so the first step is
# about $1.056\, lr$ long; with constant momentum it would be $1 + \beta_1/(1+\beta_1) = 1.47$ times.

# %%
first = sp.Symbol("g", real=True, nonzero=True)
mu_1, mu_2 = mu.subs(t, 1), mu.subs(t, 2)
h_1, _, _, _ = with_schedule(1, first, 0, 0, 1, eps=0)
expected = 1 + (1 - beta1) * mu_2 / (1 - mu_1 * mu_2)
m_1, m_2 = sp.symbols("mu1 mu2", positive=True)
assert equal((h_1 / first * sp.Abs(first)).subs({mu_1: m_1}).subs({mu_2: m_2}),
             expected.subs({mu_1: m_1}).subs({mu_2: m_2}))  # fmt: skip
value = 1 + (1 - beta1) * m_2 / (1 - m_1 * m_2)
low, high = sp.Rational(9, 20), sp.Rational(46, 100)  # both mu lie between: 0.9*(1 - 0.5) and so on
defaults = {beta1: sp.Rational(9, 10)}
assert rate ** sp.Rational(1, 100) > 1 - sp.Rational(1, 1000)  # 0.96**0.008 is nearer to one
# Larger momenta make it larger: both derivatives are positive.
assert equal(sp.diff(value, m_1), (1 - beta1) * m_2**2 / (1 - m_1 * m_2) ** 2)
assert equal(sp.diff(value, m_2), (1 - beta1) / (1 - m_1 * m_2) ** 2)
assert value.subs(defaults).subs({m_1: low, m_2: low}) > sp.Rational(105, 100)
assert value.subs(defaults).subs({m_1: high, m_2: high}) < sp.Rational(106, 100)
h_1, _, _ = nadam_constant_momentum(SYMBOLS, 1, first, 0, 0, beta1=beta1, beta2=beta2, eps=0)
assert equal(h_1 * sp.Abs(first) / first, 1 + beta1 / (1 + beta1))

# %% [markdown]
# ## late-steps
#
# Powers of the rates and the product of the momenta fade, and the momentum reaches $\beta_1$. Both forms
# then step along $\beta_1 m_t + (1-\beta_1) g_t$, the momentum of Nesterov. Late in training Nadam and Adam
# differ in nothing but this.

# %%
limit = (beta1 * m_new + (1 - beta1) * g) / (sp.sqrt(v_new) + eps)
faded = {beta2**t: 0, beta1**t: 0, beta1 ** (t + 1): 0}
assert equal(h.subs(faded), limit)
scheduled, _, _, _ = with_schedule(t, g, m, v, product)
power, next_power = sp.Float(0.96) ** (t * psi), sp.Float(0.96) ** ((t + 1) * psi)
late = scheduled.subs({power: 0, next_power: 0, beta2**t: 0}).subs(product, 0)
assert equal(late, limit)
