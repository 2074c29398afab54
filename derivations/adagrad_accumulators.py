# %% [markdown]
# # What accumulates: Adagrad, RMSprop and Adadelta
#
# Adagrad (Duchi, Hazan and Singer, [JMLR 12, 2011](https://jmlr.org/papers/v12/duchi11a.html)) divides each
# gradient by the root of the sum of all squares so far. That makes it robust, and in the end makes
# it stop. RMSprop ([Lecture 6.5](https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf))
# forgets old squares, and Adadelta ([arXiv:1212.5701](https://arxiv.org/abs/1212.5701)) asks in
# addition that a step have the units of a parameter. This notebook derives what these changes do,
# and finds the learning rate that Adadelta hides in its $\epsilon$.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [sum-of-squares](#sum-of-squares) | $s_t = s_0 + \sum_{i=1}^{t} g_i^2$, so the factor $1/\sqrt{s_t}$ never grows | any gradients; all $t$ | induction on the rule |
# | [dying-step](#dying-step) | gradients of one size $\lvert g \rvert$ lead to steps of $lr \lvert g \rvert / (\lvert g \rvert \sqrt{t} + \epsilon)$: $lr/\sqrt{t}$ for $\epsilon = 0$ | $s_0 = 0$; $g \neq 0$; any signs; all $t \geq 1$ | induction on the rule |
# | [distance](#distance) | $t$ steps in one direction lead as far as $lr$ times a number between $2\sqrt{t+1} - 2$ and $2\sqrt{t}$: without bound, ever more slowly | as before, $\epsilon = 0$ | the bounds of each term in words, from identities by SymPy; the sums by induction |
# | [after-a-burst](#after-a-burst) | after one gradient $G$ every later step is at most $lr \lvert g \rvert / \lvert G \rvert$ | $\epsilon \geq 0$; $G \neq 0$; any gradients | SymPy, on the rule; that squares only add up is sum-of-squares |
# | [forgetting](#forgetting) | RMSprop's $v_t = (1-\rho) \sum_{i=1}^{t} \rho^{t-i} g_i^2$, and $v_t/(1-\rho)$ tends to Adagrad's $s_t$ as $\rho \to 1$ | zero at first; all $t$ | induction on the rule; the limit is the value of a polynomial |
# | [rmsprop-step](#rmsprop-step) | gradients of one size lead to steps of $lr/\sqrt{1-\rho^t}$: from $lr/\sqrt{1-\rho}$ down to $lr$ | $\epsilon = 0$; no momentum; all $t \geq 1$ | induction on the rule; limit by SymPy |
# | [ratio-of-scales](#ratio-of-scales) | if gradients are measured in units $s$ times as small and steps in units $c$ times as small, Adadelta's step is $c$ times as many of them, whatever $s$ is | $\epsilon = 0$; $v_t, u_t > 0$; all $t$ | SymPy: the rule carries the scales of its state along |
# | [units](#units) | a step of SGD is $s$ times as many, one of Adagrad, RMSprop or Adam the same number: their learning rates carry units | $\epsilon = 0$; $v_t > 0$; all $t$ | SymPy: the rules carry the scales of their state along |
# | [averages](#averages) | Adadelta's $v_t$ is RMSprop's, $u_t = (1-\rho) \sum_{i=1}^{t} \rho^{t-i} h_i^2$ is the same average of its own steps, and $h_t = \sqrt{u_{t-1} + \epsilon}\, g_t / \sqrt{v_t + \epsilon}$ | $u_0 = v_0 = 0$; any gradients; all $t$ | induction on the rule |
# | [starts-from-epsilon](#starts-from-epsilon) | the first step of Adadelta is $\sqrt{\epsilon}\, g / \sqrt{(1-\rho) g^2 + \epsilon}$, which tends to zero with $\epsilon$, and with $\epsilon = 0$ it never moves | $u_0 = v_0 = 0$; $g \neq 0$ | SymPy, on the rule; the second part by induction |
#
# Specification: [adagrad](../spec/adagrad.toml), [rmsprop](../spec/rmsprop.toml),
# [adadelta](../spec/adadelta.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adadelta import adadelta
from refopt.rules.adagrad import adagrad
from refopt.rules.adam import adam
from refopt.rules.rmsprop import rmsprop
from refopt.rules.sgd import sgd

t = sp.Symbol("t", integer=True, positive=True)
i = sp.Symbol("i", integer=True)
g = sp.IndexedBase("g", real=True)
G = sp.Symbol("G", real=True, nonzero=True)
eps, c, s = sp.symbols("epsilon c s", positive=True)
r = sp.Symbol("r", positive=True)
rho = r / (1 + r)  # any rate between zero and one
rate = sp.Symbol("rho", positive=True)
before = sp.Symbol("s0", nonnegative=True)
gradient, m = sp.symbols("g m", real=True)
v, u = sp.symbols("v u", positive=True)


def accumulated(gradient, s):
    """Adagrad's sum of squares after a step."""
    return adagrad(SYMBOLS, gradient, s, eps=eps)[1]


def averaged(gradient, v):
    """RMSprop's average of squares after a step."""
    return rmsprop(SYMBOLS, gradient, v, 0, 0, rho=rho, eps=0)[1]


def squares(n):
    """The sum of squares after n steps."""
    return before + sp.Sum(g[i] ** 2, (i, 1, n))


# %% [markdown]
# ## sum-of-squares
#
# The rule adds the square of each gradient and never takes anything away. In every coordinate the step
# per unit of gradient can only become smaller, which is what the regret bound of the paper rests on.


# %%
assert holds_by_induction(squares, before, lambda n, total: accumulated(g[n], total), n=t)
assert (accumulated(G, before) - before).is_nonnegative

# %% [markdown]
# ## dying-step
#
# While gradients keep their size, the sum grows like $t$ and the step shrinks like $1/\sqrt{t}$. The
# size of the gradient cancels, and its sign does not matter to the sum. After ten thousand steps the
# step is a hundredth of the first one, whether or not training is done.

# %%
assert holds_by_induction(lambda n: n * G**2, 0, lambda n, total: accumulated(G, total), n=t)
assert holds_by_induction(lambda n: n * G**2, 0, lambda n, total: accumulated(-G, total), n=t)
h, _ = adagrad(SYMBOLS, G, (t - 1) * G**2, eps=eps)
assert equal(h, G / (sp.Abs(G) * sp.sqrt(t) + eps))
h, _ = adagrad(SYMBOLS, G, (t - 1) * G**2, eps=0)
assert equal(sp.Abs(h), 1 / sp.sqrt(t))

# %% [markdown]
# ## distance
#
# How far does that lead? $1/\sqrt{t}$ lies between $2(\sqrt{t+1} - \sqrt{t})$ and
# $2(\sqrt{t} - \sqrt{t-1})$: expanded by the sums of the roots both are $2$ over such a sum. Added up,
# each side telescopes. To go twice as far takes four times as long, but Adagrad can get anywhere.

# %%
x = sp.Symbol("t", positive=True)
ahead, behind = sp.sqrt(x + 1) - sp.sqrt(x), sp.sqrt(x + 1) + sp.sqrt(x)
assert equal(ahead * behind, 1)  # 2*ahead = 2/behind < 1/sqrt(t), as behind > 2*sqrt(t)
assert equal(behind - 2 * sp.sqrt(x), ahead)  # positive
assert equal(2 * sp.sqrt(x + 1) - behind, ahead)  # so 2*ahead > 1/sqrt(t + 1)
assert holds_by_induction(
    lambda n: 2 * sp.sqrt(n + 1) - 2, 0, lambda n, far: far + 2 * ahead.subs(x, n), n=t
)
assert holds_by_induction(
    lambda n: 2 * sp.sqrt(n), 0, lambda n, far: far + 2 * ahead.subs(x, n - 1), n=t
)

# %% [markdown]
# ## after-a-burst
#
# One outlier is never forgotten: its square stays in the sum. If a bad batch has gradients a hundred
# times as large as usual, all later steps are at most a hundredth of what the gradient would give at
# the start.

# %%
later = sp.Symbol("d", nonnegative=True)  # what other squares add
h, held = adagrad(SYMBOLS, gradient, G**2 + later, eps=0)
assert equal(held - G**2, gradient**2 + later)  # not negative: sqrt(held) is at least |G|
assert equal(h, gradient / sp.sqrt(held))
with_eps, _ = adagrad(SYMBOLS, gradient, G**2 + later, eps=eps)
assert equal(with_eps / h, sp.sqrt(held) / (sp.sqrt(held) + eps))  # at most one

# %% [markdown]
# ## forgetting
#
# RMSprop gives a square the weight $\rho^{t-i}$. Up to the factor $1-\rho$, which a learning rate can
# absorb, it is Adagrad with a sum that forgets: for $\rho \to 1$ all weights become one. (The sum is a
# polynomial in $\rho$, so the limit is its value at one.)


# %%
def forgetful(n):
    """RMSprop's average over 1 - rho, after n steps."""
    return sp.Sum(rate ** (n - i) * g[i] ** 2, (i, 1, n))


assert holds_by_induction(
    lambda n: (1 - rate) * forgetful(n),
    0,
    lambda n, v: rmsprop(SYMBOLS, g[n], v, 0, 0, rho=rate, eps=0)[1],
    n=t,
)
assert equal(forgetful(t).subs(rate, 1), squares(t).subs(before, 0))

# %% [markdown]
# ## rmsprop-step
#
# The average of equal squares tends to that square, so the step tends to $lr$ and stays there. The
# first ones are too long, by $1/\sqrt{1-\rho}$: RMSprop has no bias correction. With $\rho = 0.9$ the
# first step is $3.2\, lr$ long.


# %%
assert holds_by_induction(lambda n: (1 - rho**n) * G**2, 0, lambda n, v: averaged(G, v), n=t)
h, v_new, _, _ = rmsprop(SYMBOLS, G, (1 - rho ** (t - 1)) * G**2, 0, 0, rho=rho, eps=0)
assert equal(v_new, (1 - rho**t) * G**2)
assert equal(h**2, G**2 / v_new)
assert equal((G**2 / v_new).subs(t, 1), 1 / (1 - rho))
assert equal(1 - rho ** (t + 1) - (1 - rho**t), (1 - rho) * rho**t)  # positive: the steps shrink
assert sp.limit((r / (1 + r)) ** t, t, sp.oo) == 0

# %% [markdown]
# ## ratio-of-scales
#
# Adadelta multiplies by the root of an average of its own squared steps. Without $\epsilon$ everything
# is a ratio: measured in other units, gradients and their average $v$ carry the factors $s$ and $s^2$,
# steps and their average $u$ the factors $c$ and $c^2$. The rule maps such a state to such a state, so by
# induction the factors stay.

# %%
h, v_new, u_new = adadelta(SYMBOLS, gradient, v, u, rho=rate, eps=0)
h_scaled, v_scaled, u_scaled = adadelta(SYMBOLS, s * gradient, s**2 * v, c**2 * u, rho=rate, eps=0)
assert equal(h_scaled, c * h)
assert equal(v_scaled, s**2 * v_new)
assert equal(u_scaled, c**2 * u_new)

# %% [markdown]
# ## units
#
# If a parameter is measured in units $c$ times as small and the loss in units $b$ times as small, the
# gradient becomes $s = b/c$ times as large, and a step should become $c$ times as many. SGD's becomes $s$
# times as many, and that of the others does not change: their learning rates have to be changed with the
# units. This is the argument of the paper's section 3.2, to which Newton's method also conforms.

# %%
h, b = sgd(SYMBOLS, t, gradient, m)
h_scaled, b_scaled = sgd(SYMBOLS, t, s * gradient, s * m)
assert equal(h_scaled, s * h)
assert equal(b_scaled, s * b)
for scaled, plain, powers in (
    (adagrad(SYMBOLS, s * gradient, s**2 * v, eps=0), adagrad(SYMBOLS, gradient, v, eps=0), (0, 2)),
    (
        rmsprop(SYMBOLS, s * gradient, s**2 * v, 0, 0, rho=rate, eps=0),
        rmsprop(SYMBOLS, gradient, v, 0, 0, rho=rate, eps=0),
        (0, 2),
    ),
    (
        adam(SYMBOLS, t, s * gradient, s * m, s**2 * v, eps=0),
        adam(SYMBOLS, t, gradient, m, v, eps=0),
        (0, 1, 2),
    ),
):  # the direction, and the states that the next step begins with
    assert all(equal(x, s**p * y) for x, y, p in zip(scaled, plain, powers, strict=False))

# %% [markdown]
# ## averages
#
# What the ratio is a ratio of: below the root of the average of squared gradients, above it that of
# squared steps, which lags by one step since the new one is not known yet. (The paper keeps
# $\epsilon$ under both roots, and so does the rule.)

# %%
steps = sp.IndexedBase("h", real=True)
h, v_new, _ = adadelta(SYMBOLS, gradient, v, u, rho=rate, eps=eps)
assert equal(v_new, averaged(gradient, v).subs(r, rate / (1 - rate)))
assert equal(h**2, (u + eps) * gradient**2 / (v_new + eps))
assert equal(h.subs(gradient, -gradient), -h)
assert equal(
    h.subs({gradient: 1, v: 1}), sp.sqrt(u + eps) / sp.sqrt(1 + eps)
)  # the sign is that of g
for new in (-1, 1):  # steps with one sign or the other, as the gradient has it
    _, _, u_new = adadelta(SYMBOLS, new * gradient, v, u, rho=rate, eps=eps)
    assert equal(u_new, rate * u + (1 - rate) * h**2)
assert holds_by_induction(
    lambda n: (1 - rate) * sp.Sum(rate ** (n - i) * steps[i] ** 2, (i, 1, n)),
    0,
    lambda n, u: rate * u + (1 - rate) * steps[n] ** 2,
    n=t,
)

# %% [markdown]
# ## starts-from-epsilon
#
# The ratio needs steps to begin with, and the average of steps starts at zero: without $\epsilon$ it
# stays there. The first step is about $\sqrt{\epsilon/(1-\rho)}$, a number with the units of a
# parameter that someone has to choose. With $\epsilon = 10^{-6}$ and $\rho = 0.95$ it is $0.0045$. So
# Adadelta does have a learning rate, for its start; frameworks add another one.

# %%
h, _, _ = adadelta(SYMBOLS, G, 0, 0, rho=rho, eps=eps)
assert equal(h**2, eps * G**2 / ((1 - rho) * G**2 + eps))
assert sp.limit(eps * G**2 / ((1 - rho) * G**2 + eps), eps, 0) == 0
h, _, u_new = adadelta(SYMBOLS, G, v, 0, rho=rho, eps=0)
assert (h, u_new) == (0, 0)

# %% [markdown]
# ## Figure
#
# The size of the steps, in units of the learning rate: Adagrad's dies, and a single large gradient at
# step 100 takes from it for ever what RMSprop and Adam recover. `refopt plot adagrad` draws it.

# %%
from refopt.report.figures.drawing import adagrad as figure

figure()
