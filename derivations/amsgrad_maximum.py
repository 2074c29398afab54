# %% [markdown]
# # AMSGrad's maximum
#
# Adam's average of squares forgets, so the step size can grow again after a large gradient. Reddi,
# Kale and Kumar ([arXiv:1904.09237](https://arxiv.org/abs/1904.09237)) build a convex problem on which
# that sends Adam to the wrong end, and replace the average by its largest value so far. Their
# algorithm has no bias correction. Implementations add one, after the maximum in PyTorch and Keras
# (and in [amsgrad](../spec/amsgrad.toml)) or before it in Optax, and only the latter keeps the step size
# from growing. This notebook proves both.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [maximum](#maximum) | $v^{\max}_t = \max_{i \leq t} v_i$, which never falls | any gradients; $v^{\max}_0 = 0$; all $t$ | induction on the rule; three steps written out besides |
# | [adam-forgets](#adam-forgets) | Adam's $v$ falls by the factor $\beta_2$ in every step without a gradient, so that $1/\sqrt{v}$ grows | $0 < \beta_2 < 1$; $g = 0$ | SymPy, on the rule of Adam |
# | [corrected-after](#corrected-after) | corrected after the maximum, the denominator can fall: one gradient $g$ and then zeros give $\hat v_t = g^2 (1-\beta_2)/(1-\beta_2^t)$, from $g^2$ down towards $(1-\beta_2) g^2$ | $0 < \beta_2 < 1$; all $t \geq 1$ | induction on the rule; the limit puts $\beta_2^t$ to zero |
# | [falls-at-most](#falls-at-most) | in a step it falls at most by the factor $(1-\beta_2^t)/(1-\beta_2^{t+1}) < 1$, which tends to 1 | any gradients; all $t \geq 1$ | SymPy, on the denominator that the rule has by corrected-after |
# | [corrected-before](#corrected-before) | corrected before the maximum, it never falls | any gradients; all $t \geq 1$ | SymPy, on the rule |
# | [equals-adam](#equals-adam) | AMSGrad steps as Adam for as long as $v$ does not fall | $v_t \geq v^{\max}_{t-1}$ | SymPy, on both rules |
#
# Specification: [amsgrad](../spec/amsgrad.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adam import adam
from refopt.rules.amsgrad import amsgrad, amsgrad_of_corrected

beta1, r = sp.symbols("beta1 r", positive=True)
beta2 = r / (1 + r)  # any rate between zero and one
eps = sp.Symbol("epsilon", positive=True)
t = sp.Symbol("t", integer=True, positive=True)
g, m = sp.symbols("g m", real=True)
v, v_max, more = sp.symbols("v v_max d", nonnegative=True)

h, m_new, v_new, max_new = amsgrad(SYMBOLS, t, g, m, v, v_max, beta1=beta1, beta2=beta2, eps=eps)
max_new

# %% [markdown]
# ## maximum
#
# Each step takes the larger of the old maximum and the new average: the maximum over one more value.
# The average itself is that of Adam, to the letter. That the larger of two is not below the first
# is all it takes for the maximum never to fall.

# %%
assert max_new == sp.Max(v_max, v_new)
assert equal(sp.Max(v_max, v) - v_max, sp.Max(0, v - v_max))
assert sp.Max(0, v - v_max).is_nonnegative
assert v_new == adam(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)[2]
state, averages = (0, 0, 0), []
gradients = sp.symbols("g1:4", real=True)
for step, each in enumerate(gradients, 1):
    _, *state = amsgrad(SYMBOLS, step, each, *state, beta1=beta1, beta2=beta2, eps=eps)
    averages.append(state[1])
    assert state[2] == sp.Max(0, *averages)

# %% [markdown]
# ## adam-forgets
#
# Between the rare large gradients of the paper's example, Adam's average decays at the rate
# $\beta_2$, and each step is longer than the last by $1/\sqrt{\beta_2}$ for the same $m$. The maximum is
# there to stop this.

# %%
_, _, forgotten = adam(SYMBOLS, t, 0, m, v, beta1=beta1, beta2=beta2, eps=eps)
assert equal(forgotten, beta2 * v)

# %% [markdown]
# ## corrected-after
#
# Bias correction divides by $1 - \beta_2^t$, which grows with $t$. Where the maximum stands still the
# quotient falls: after one gradient and zeros it falls from $g^2$ to a thousandth of that with
# $\beta_2 = 0.999$, and the factor $1/\sqrt{\hat v}$ grows thirtyfold, as it would without the maximum.
# The quantity that the paper's proof needs to be monotone, $\sqrt{\hat v_t}/lr_t$, is not. The check has
# three parts: the first step sets the maximum, a zero gradient leaves it alone, and the rule divides
# by the root of it over $1 - \beta_2^t$.

# %%
size = sp.Symbol("g", positive=True)
_, _, v_first, first = amsgrad(SYMBOLS, 1, size, 0, 0, 0, beta1=beta1, beta2=beta2, eps=0)
assert v_first == first
assert equal(first, (1 - beta2) * size**2)

_, _, v_zero, kept = amsgrad(SYMBOLS, t, 0, m, v, v + more, beta1=beta1, beta2=beta2, eps=0)
assert kept == sp.Max(v + more, v_zero)
assert sp.simplify(v + more - v_zero).is_nonnegative  # a zero gradient leaves the maximum alone

held = sp.Symbol("w", positive=True)
h, m_zero, _, _ = amsgrad(SYMBOLS, t, 0, 1, 0, held, beta1=beta1, beta2=beta2, eps=0)
assert equal((m_zero / (1 - beta1**t) / h) ** 2, held / (1 - beta2**t))
fall = first / (1 - beta2**t)
assert equal(fall.subs(t, 1), size**2)
assert sp.limit(fall.subs(r, 1), t, sp.oo) == size**2 / 2
rate = sp.Symbol("beta2", positive=True)
assert equal(((1 - rate) / (1 - rate**t)).subs(rate**t, 0), 1 - rate)

# %% [markdown]
# ## falls-at-most
#
# The maximum cannot fall, so all that $\hat v$ can lose in a step is the growth of $1 - \beta_2^t$.
# After a few times $1/(1-\beta_2)$ steps that is nothing: the flaw belongs to the beginning of
# training.

# %%
held = sp.Symbol("w", positive=True)
rate = sp.Symbol("beta2", positive=True)
v_hat = held / (1 - rate**t)
v_hat_next = (held + more) / (1 - rate ** (t + 1))
factor = (1 - rate**t) / (1 - rate ** (t + 1))
assert equal(v_hat_next - factor * v_hat, more / (1 - rate ** (t + 1)))  # not negative
assert equal(1 - factor, rate**t * (1 - rate) / (1 - rate ** (t + 1)))  # positive, and tends to 0

# %% [markdown]
# ## corrected-before
#
# Optax corrects the average first and takes the maximum over the corrected ones. Nothing comes after
# the maximum then, and the denominator is the maximum itself. The two orders differ most where the
# first gradients are the largest.

# %%
h, m_new, v_new, kept = amsgrad_of_corrected(
    SYMBOLS, t, g, m, v, v_max, beta1=beta1, beta2=beta2, eps=0
)
assert kept == sp.Max(v_max, v_new / (1 - beta2**t))
assert equal(h, m_new / (1 - beta1**t) / sp.sqrt(kept))

# %% [markdown]
# ## equals-adam
#
# While the average grows, the maximum is the average and AMSGrad is Adam. It differs from the first
# step on in which $v$ falls, which for gradients of constant size is never.

# %%
grown = {max_new: v_new}
h, _, _, _ = amsgrad(SYMBOLS, t, g, m, v, v_max, beta1=beta1, beta2=beta2, eps=eps)
adam_h, _, _ = adam(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)
assert h != adam_h
assert equal(h.subs(grown), adam_h)
