# %% [markdown]
# # Rprop: steps that look at signs alone
#
# Rprop (Riedmiller and Braun 1993) gives every weight a step size of its own and lets nothing but the
# sign of its gradient decide: as long as the sign stays, the step size is multiplied by
# $\eta^+ > 1$; where it changes, a minimum was jumped over, and it is multiplied by $\eta^- < 1$. The
# form of Igel and Hüsken (2003), which PyTorch and Paddle have, takes no step after a change. RMSprop
# began as a version of it for mini-batches. This notebook proves how step sizes grow, shrink and
# stay within their limits, and what Optax does otherwise.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [limits](#limits) | $\Delta_{\min} \leq \Delta_t \leq \Delta_{\max}$ | it is so at $t = 0$; any gradients; all $t$ | induction on the rule, for each of its three cases |
# | [growth](#growth) | while no gradient changes sign or is zero, $\Delta_t = (\eta^+)^{t-1} \Delta_0$ | as long as that is at most $\Delta_{\max}$; all $t \geq 1$ | induction on the rule |
# | [pause](#pause) | where the sign changes there is no step, and in the step after it $\Delta$ stays | any state | SymPy, on the rule |
# | [oscillation](#oscillation) | where the sign changes in every step, $\Delta_{2n+1} = (\eta^-)^n \Delta_0$, and only every other call is a step | as long as that is at least $\Delta_{\min}$; all $n \geq 0$ | induction on the rule, two steps at a time |
# | [scale-free](#scale-free) | gradients times $s > 0$ lead to the same parameters | $g_0 = 0$; all $t$ | induction on the rule, for each sign of $g_t g_{t-1}$ |
# | [backtracking](#backtracking) | taking the last step back leads to where the parameter was before it | $lr$ did not change | SymPy, on the rule |
# | [one-call-late](#one-call-late) | while no gradient changes sign or is zero, Optax's direction at $t + 1$ is the reference's at $t$ | all $t \geq 1$ | induction on the rule |
#
# Specification: [rprop](../spec/rprop.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.rprop import rprop, rprop_backtracking, rprop_delayed

plus, minus = sp.symbols("eta_plus eta_minus", positive=True)  # minus below one, plus above
least, most = sp.symbols("Delta_min Delta_max", positive=True)
delta, a, b, s = sp.symbols("Delta a b s", positive=True)  # a, b: sizes of gradients
theta, lr = sp.symbols("theta lr", positive=True)
n = sp.Symbol("n", integer=True, nonnegative=True)
rates = {"eta_minus": minus, "eta_plus": plus, "min_step": least, "max_step": most}


def stepped(g, delta, g_old):
    """Direction, step size and last gradient after a step."""
    return rprop(SYMBOLS, g, delta, g_old, **rates)


def unlimited(expression):
    """The expression where no limit of step sizes is met."""
    return expression.replace(sp.Min, lambda *x: next(y for y in x if y != most)).replace(
        sp.Max, lambda *x: next(y for y in x if y != least)
    )


# %% [markdown]
# ## limits
#
# The rule has three cases: the sign stays, changes, or one of the two gradients is zero. A step
# size that grows is limited from above and larger than what it was; one that shrinks is limited from
# below and smaller; the third case changes nothing. The step sizes are written as
# $\Delta = \Delta_{\min} + x$ and $\Delta_{\max} = \Delta + y$ with $x, y \geq 0$, so that SymPy knows
# the hypothesis.

# %%
x, y = sp.symbols("x y", nonnegative=True)
cases = {1: stepped(a, delta, b)[1], -1: stepped(a, delta, -b)[1], 0: stepped(a, delta, sp.S(0))[1]}
assert cases == {1: sp.Min(most, plus * delta), -1: sp.Max(least, minus * delta), 0: delta}
more, less = sp.symbols("p q", positive=True)  # eta_plus = 1 + p, eta_minus = 1/(1 + q)
inside = {delta: least + x, most: least + x + y}
grown = {sp.Min: [most, delta + more * delta], sp.Max: [least, delta / (1 + less)]}
for bound in grown[sp.Min]:  # both of what the smaller one is taken of are at least the least
    assert sp.expand((bound - least).subs(inside)).is_nonnegative
for bound in grown[sp.Max]:  # both of what the larger one is taken of are at most the most
    assert sp.expand(sp.cancel((most - bound).subs(inside) * (1 + less))).is_nonnegative

# %% [markdown]
# ## growth
#
# The first gradient meets none before it, so the first step has the size $\Delta_0$. From then on each
# step is $\eta^+$ times the one before: with the usual 1.2 a step is tenfold after 13 gradients of one
# sign.

# %%
assert stepped(a, delta, sp.S(0))[:2] == (delta, delta)
assert holds_by_induction(
    lambda n: plus**n * delta, delta, lambda n, d: unlimited(stepped(a, d, b)[1]), n
)
assert sp.Rational(12, 10) ** 12 < 10 < sp.Rational(12, 10) ** 13

# %% [markdown]
# ## pause
#
# After a change of sign the last gradient is taken for zero. That makes the direction zero, and it
# makes the next product zero, too: the shrunken step size is tried once before it is judged.

# %%
h, shrunk, g_old = stepped(a, delta, -b)
assert equal(h, 0)
assert equal(g_old, 0)
h, stays, _ = stepped(-a, shrunk, sp.S(0))
assert stays == shrunk == sp.Max(least, minus * delta)
assert equal(h, -shrunk)

# %% [markdown]
# ## oscillation
#
# Suppose that the sign changes with every gradient. Steps and pauses take turns, and two calls
# multiply the step size by $\eta^-$ once.


# %%
def two_calls(_, delta):
    """The step size after a gradient of the other sign, and one of the first sign again."""
    _, delta, g_old = stepped(-a, delta, b)
    h, delta, _ = stepped(a, unlimited(delta), g_old)
    assert equal(h, delta)
    return delta


assert holds_by_induction(lambda n: minus**n * delta, delta, two_calls, n)

# %% [markdown]
# ## scale-free
#
# The gradient enters by the sign of a product with the last one, and by its own sign. Positive
# factors change neither, and the last gradient is kept with the same factor, by induction from zero.

# %%
for g in (a, -a, sp.S(0)):
    for last in (b, -b, sp.S(0)):
        h, size, kept = stepped(g, delta, last)
        scaled = stepped(s * g, delta, s * last)
        assert all(map(equal, scaled, (h, size, s * kept)))

# %% [markdown]
# ## backtracking
#
# The first paper goes back instead of standing still: the direction is minus the last one. The
# parameter is then where it was before the step that jumped over the minimum; unless a schedule
# changed the learning rate in between, and then it is not.

# %%
h_1, size, g_old, last = rprop_backtracking(SYMBOLS, a, delta, sp.S(0), sp.S(0), **rates)
h_2, *_ = rprop_backtracking(SYMBOLS, -b, size, g_old, last, **rates)
other = sp.Symbol("lr'", positive=True)
assert equal(theta - lr * h_1 - lr * h_2, theta)
assert not equal(theta - lr * h_1 - other * h_2, theta)

# %% [markdown]
# ## one-call-late
#
# Optax stores each update and returns the one that it stored in the call before: the first call
# moves nothing. While the sign stays, step sizes are the reference's, and every direction comes one
# call late. Where it changes, the step that waits is left out, so a change of sign undoes the last
# step of the reference, which Optax never takes.

# %%
h, size, _ = stepped(a, delta, b)
late, late_size, waits = rprop_delayed(SYMBOLS, a, delta, s, **rates)
assert (late, late_size, waits) == (s, size, h)  # what waited is returned; h waits now
first, first_size, waits = rprop_delayed(SYMBOLS, a, delta, sp.S(0), **rates)
assert (first, first_size, waits) == (0, delta, delta)
turned, _, waits = rprop_delayed(SYMBOLS, -a, delta, s, **rates)
assert equal(turned, 0)
assert equal(waits, 0)
