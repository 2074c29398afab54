# %% [markdown]
# # Gradient accumulation hidden in momentum
#
# Where memory allows only small batches, gradients of $k$ of them are averaged before each step. That
# takes one more array, for the mean. Su Jianlin observed that a momentum buffer can gather the
# gradients itself ([kexue.fm/archives/8634](https://kexue.fm/archives/8634), 2021): exactly for
# gradient descent with momentum, nearly for Adam; and that merely lengthening the moving averages and
# stepping every $k$-th time comes close to it. "Exactly", "nearly" and "close" are made precise here.
#
# Throughout, $k$ calls make a *window*, $\bar g$ is the mean of the gradients of a window, and
# $\beta$ is the decay rate of a moving average $m' = \beta m + (1-\beta) g$.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [sgdm-exact](#sgdm-exact) | momentum that gathers the gradients is accumulation: after each call both have taken the same step, and at the end of each window both hold the same $m$ | any gradients; all $k \geq 1$, all windows | induction over the calls of a window, on both rules |
# | [gap](#gap) | the mean of the squares exceeds the square of the mean by the variance within the window, $\frac{1}{k} \sum_i (g_i - \bar g)^2 \geq 0$ | any gradients; all $k \geq 1$ | SymPy |
# | [adam-second-moment](#adam-second-moment) | Adam's hidden $m$ is exact; its hidden $v$ is too large by $(1-\beta_2) \sum_{w=1}^{n} \beta_2^{n-w} s_w^2$ after window $n$, with $s_w^2$ the variance within window $w$, so its steps are never longer | any gradients; $\epsilon$ inside the root; all $k, n \geq 1$ | induction on both rules; the last part in words |
# | [gap-expectation](#gap-expectation) | $E[\frac{1}{k} \sum_i g_i^2] = \mu^2 + \sigma^2$ but $E[\bar g^2] = \mu^2 + \sigma^2/k$: their quotient is between 1, without noise, and $k$, for noise alone | gradients of a window uncorrelated, mean $\mu$, variance $\sigma^2$; all $k \geq 1$ | the terms of the double sum counted in words, the rest by SymPy; all outcomes of $\pm 1$ noise for $k \leq 4$ besides |
# | [adam-step](#adam-step) | where both corrected moments *are* their expectations, the direction of hidden accumulation is $\sqrt{(\mu^2+\sigma^2)/(\mu^2+\sigma^2/k)}$ times shorter: as long without noise, tending to $\sqrt k$ times shorter as noise outweighs the mean; of the expected direction it says nothing | as in gap-expectation, stationary, $\mu > 0$; $\epsilon = 0$ | SymPy, on the rule |
# | [beta-tilde](#beta-tilde) | $\tilde\beta = 1 - (1-\beta)/k$ has $\beta \leq \tilde\beta^k < e^{-(1-\beta)}$, and $\tilde\beta^k$ grows with $k$ from the one to the other | $0 < \beta < 1$; all real $k \geq 1$ | derivatives and limit by SymPy; what follows from their signs, in words |
# | [beta-tilde-error](#beta-tilde-error) | $0 \leq \tilde\beta^k - \beta \leq \frac{k-1}{2k} (1-\beta)^2$ and $0 < e^{-(1-\beta)} - \tilde\beta^k \leq \frac{1}{2k} (1-\beta)^2$ | $0 < \beta < 1$; all integers $k \geq 1$ | Taylor's theorem and an induction in words, their terms by SymPy |
# | [weights-error](#weights-error) | within a window the weights are $(1-\tilde\beta)\tilde\beta^j$ instead of $(1-\tilde\beta)$, and $0 \leq 1 - \tilde\beta^j \leq j (1-\beta)/k$ | $0 < \beta < 1$; all $j \geq 0$, $k \geq 1$ | induction |
# | [trajectory](#trajectory) | at the same gradients, $\lvert g \rvert \leq G$, the momenta of $\tilde\beta$ and of accumulation differ by at most $G (1-\beta)(1-1/k)(1-\beta^n)$ after window $n$, and the parameters by at most $n$ times $lr$ times that of $n \to \infty$ | gradient descent with momentum, both from zero; all $k, n \geq 1$ | both rules unrolled by induction, their difference by SymPy; each part bounded in words by beta-tilde-error and weights-error; the sum of the bounds by induction |
# | [less-often](#less-often) | stepping every $k$-th time, with $\beta$ as it is, averages windows with the decay $\beta^k$, and within the last one by age: $m' = \beta^k m + (1-\beta) \sum_{i=1}^{k} \beta^{k-i} g_i$ | any gradients; all $k \geq 1$ | induction on the rule |
# | [noise](#noise) | the variance of the direction is $\sigma^2 \frac{1-\beta}{1+\beta}$ as it is and stepping less often, $1/k$ of that for accumulation, and for $\tilde\beta$ smaller again, by $\frac{1+\beta}{1+\tilde\beta}$ | gradients independent, variance $\sigma^2$; $t \to \infty$ | SymPy: fixed point of the variance, whose recursion is that of independent terms |
#
# Specifications: [gradient_accumulation](../spec/gradient_accumulation.toml),
# [smoothed_accumulation](../spec/smoothed_accumulation.toml), [sgd](../spec/sgd.toml),
# [adam](../spec/adam.toml).

# %%
from itertools import product

import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.catalog import layer
from refopt.rules.adam import adam_epsilon_inside, adam_hidden_accumulation
from refopt.rules.sgd import sgd_ema, sgd_hidden_accumulation

beta, beta1, beta2, eps, lr = sp.symbols("beta beta1 beta2 epsilon lr", positive=True)
m, v, mean = sp.symbols("m v mean", real=True)
g = sp.IndexedBase("g", real=True)
i = sp.Symbol("i", integer=True)
n = sp.Symbol("n", integer=True, nonnegative=True)  # windows so far
j, d = sp.symbols("j d", integer=True, positive=True)
k = sp.Symbol("k", integer=True, positive=True)

accumulate = layer("gradient_accumulation").function
beta_tilde = layer("beta_tilde").function


def sum_to(last, term):
    """The sum of a sequence from 1 on."""
    return sp.Sum(term, (i, 1, last))


# %% [markdown]
# ## Windows
#
# The rule of hidden accumulation decides by $t$ what to do: at the first call of a window the buffer
# decays, at every call the gradient joins it with weight $(1-\beta)/k$, at the last call there is a
# step. Call $j$ of window $n + 1$ is $t = kn + j$. Three cases cover all calls: the first
# ($j = 1$), one that is not the first ($k = j + d$ says that $j$ is not the last either), and the last.

# %%
first = (k * n + 1, k)
inner = ((j + d + 1) * n + j + 1, j + d + 1)  # call j + 1 of more
last = ((j + 1) * (n + 1), j + 1)  # call j + 1 of as many
_, after_first = sgd_hidden_accumulation(SYMBOLS, first[0], g[1], m, momentum=beta, k=first[1])
after_first

# %% [markdown]
# ## sgdm-exact
#
# After call $j$ of a window the hidden buffer is $\beta m + \frac{1-\beta}{k} \sum_{i \leq j} g_i$:
# true after the first call, and the rule carries it from call $j$ to call $j + 1$. The explicit form
# holds $\frac{1}{k} \sum_{i \leq j} g_i$ in an array of its own, by the same induction. At the end of
# the window the one has $\beta m + (1-\beta) \bar g$, and the other puts $\bar g$ into the same formula.
# Before the end neither moves the parameter.


# %%
def hidden(j, k):
    """The hidden buffer after call j of a window that began with m."""
    return beta * m + (1 - beta) / k * sum_to(j, g[i])


def gathered(j, k):
    """The mean of accumulation after call j."""
    return sum_to(j, g[i]) / k


assert equal(after_first, hidden(1, k))
for t, window in (inner, last):
    _, after = sgd_hidden_accumulation(
        SYMBOLS, t, g[j + 1], hidden(j, window), momentum=beta, k=window
    )
    assert equal(after, hidden(j + 1, window))

assert equal(accumulate(SYMBOLS, k * n + 1, g[1], 0, k=k)[1], gathered(1, k))
t, window = inner
(inner_t, _), so_far = accumulate(SYMBOLS, t, g[j + 1], gathered(j, window), k=window)
assert equal(so_far, gathered(j + 1, window))

# any call but the last: nothing moves
h, _ = sgd_hidden_accumulation(SYMBOLS, t, g[j + 1], m, momentum=beta, k=window)
assert (h, inner_t) == (0, 0)

# the last call: both step along the same direction, and keep the same buffer
t, window = last
h, after = sgd_hidden_accumulation(SYMBOLS, t, g[j + 1], hidden(j, window), momentum=beta, k=window)
(inner_t, averaged), emptied = accumulate(SYMBOLS, t, g[j + 1], gathered(j, window), k=window)
h_explicit, m_explicit = sgd_ema(SYMBOLS, averaged, m, momentum=beta)
assert equal(h, h_explicit)
assert equal(after, m_explicit)
assert (inner_t, emptied) == (n + 1, 0)

# a window of one call is its first and its last
h, after = sgd_hidden_accumulation(SYMBOLS, n + 1, g[1], m, momentum=beta, k=sp.Integer(1))
assert equal(h, sgd_ema(SYMBOLS, g[1], m, momentum=beta)[0])

# %% [markdown]
# ## Adam
#
# Adam's second moment takes the *square* of the mean. A running sum of squares gives the mean of the
# squares instead, and there is no way back from it: the two differ by what the gradients vary within
# the window.

# %%
g_bar = sum_to(k, g[i]) / k
mean_of_squares = sum_to(k, g[i] ** 2) / k
mu, sigma = sp.symbols("mu sigma", positive=True)
variance = sp.IndexedBase("s", nonnegative=True)
square_of_mean = (k * (mu**2 + sigma**2) + k * (k - 1) * mu**2) / k**2  # expected
quotient = (mu**2 + sigma**2) / (mu**2 + sigma**2 / k)
mean_of_squares - g_bar**2

# %% [markdown]
# ## gap
#
# The classical identity of the variance, here for any $k$. The right side is a mean of squares, so the
# mean of squares is never the smaller one, and they are equal only if the window's gradients are.

# %%
center = sp.Symbol("c", real=True)  # the mean, so that the sum below has one index
spread = sum_to(k, (g[i] - center) ** 2) / k
assert equal(spread, mean_of_squares - 2 * center * g_bar + center**2)
assert equal(
    mean_of_squares - g_bar**2,
    (mean_of_squares - 2 * center * g_bar + center**2).subs(center, g_bar),
)

# %% [markdown]
# ## adam-second-moment
#
# Window by window the hidden $v$ follows $\beta_2 v + (1-\beta_2) \overline{g^2}$, and that of true
# accumulation $\beta_2 v + (1-\beta_2) \bar g^2$. Their difference $D$ follows the same recursion with
# the variance of the window, and starts at zero. It is never negative: at the same $\hat m$ the hidden
# denominator is the larger one, and the step the shorter one. Both correct for $n$ windows at the end
# of the $n$-th, since $t/k = n$ there.


# %%
def hidden_moments(t, k, g, m, v):
    """Direction and moments after a call of hidden accumulation."""
    return adam_hidden_accumulation(SYMBOLS, t, g, m, v, k=k, beta1=beta1, beta2=beta2, eps=eps)


def explicit_moments(t, g, m, v):
    """Direction and moments after a step of the same Adam on a mean."""
    return adam_epsilon_inside(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)


def gathering(rate, j, k, x, term):
    """A moment after call j of a window that began with x."""
    return rate * x + (1 - rate) / k * sum_to(j, term)


def moments_after(j, k):
    """Both moments after call j."""
    return gathering(beta1, j, k, m, g[i]), gathering(beta2, j, k, v, g[i] ** 2)


_, *after = hidden_moments(*first, g[1], m, v)
assert all(equal(x, y) for x, y in zip(after, moments_after(1, k), strict=True))
for t, window in (inner, last):
    _, *after = hidden_moments(t, window, g[j + 1], *moments_after(j, window))
    assert all(equal(x, y) for x, y in zip(after, moments_after(j + 1, window), strict=True))

# at the end of the window, with any mean of squares S and any mean g: the first moment is the same,
S, gap = sp.symbols("S D", nonnegative=True)
_, m_explicit, v_explicit = explicit_moments(n + 1, mean, m, v)
assert equal(gathering(beta1, k, k, m, g[i]), m_explicit.subs(mean, g_bar))
# and the gap of the second follows its recursion
assert equal(
    beta2 * (v + gap) + (1 - beta2) * S - v_explicit, beta2 * gap + (1 - beta2) * (S - mean**2)
)
w = sp.Symbol("i", integer=True)
assert holds_by_induction(
    lambda n: (1 - beta2) * sp.Sum(beta2 ** (n - w) * variance[w], (w, 1, n)),
    first=0,
    step=lambda n, before: beta2 * before + (1 - beta2) * variance[n],
    n=n,
)
# the direction at the last call of window n + 1, from the moments after the call before it
h, m_last, v_last = hidden_moments(*last, g[j + 1], m, v)
h_explicit = (m_last / (1 - beta1 ** (n + 1))) / sp.sqrt(v_last / (1 - beta2 ** (n + 1)) + eps)
assert equal(h, h_explicit)

# %% [markdown]
# ## gap-expectation
#
# The square of the mean is a double sum over the window, $k$ terms with $E[g_i^2] = \mu^2 + \sigma^2$
# and $k(k-1)$ terms with $E[g_i g_j] = \mu^2$. Averaging removes noise from the mean and hence from its
# square, which the mean of squares keeps. Uncorrelated is enough; independent noise is.

# %%
assert equal(square_of_mean, mu**2 + sigma**2 / k)

assert quotient.subs(sigma, 0) == 1
assert equal(quotient.subs(mu, 0), k)
r = sp.Symbol("r", nonnegative=True)  # sigma**2/mu**2, the noise
assert equal(sp.diff((1 + r) / (1 + r / k), r), (1 - 1 / k) / (1 + r / k) ** 2)  # it grows with it

# every outcome of g = mu + sigma*x with x = -1 or 1, each equally likely
for size in range(1, 5):
    outcomes = [[mu + sigma * x for x in xs] for xs in product((-1, 1), repeat=size)]
    assert equal(sum(sum(x**2 for x in xs) / size for xs in outcomes) / 2**size, mu**2 + sigma**2)
    squares = [(sum(xs) / size) ** 2 for xs in outcomes]
    assert equal(sum(squares) / 2**size, square_of_mean.subs(k, size))

# %% [markdown]
# ## adam-step
#
# Put those expectations into the rule, in the stationary state: the first moments agree, the second
# differ by the quotient, and the direction by its root. (The direction is not linear in the moments,
# so this is not the expectation of the direction; it is what the direction tends to where averages are
# long, $\beta \to 1$.) Early in training, when gradients agree,
# hidden accumulation is accumulation; late, when noise dominates, it behaves like accumulation with a
# learning rate that is $\sqrt k$ times smaller, which the square-root rule for batch sizes would ask
# to be $\sqrt k$ times *larger*.

# %%
stationary = sp.Symbol("t", integer=True, positive=True)


def direction(second):
    """The direction of Adam whose corrected moments have come to rest at their expectations."""
    m_rest, v_rest = (1 - beta1**stationary) * mu, (1 - beta2**stationary) * second
    m_before = (m_rest - (1 - beta1) * mu) / beta1
    v_before = (v_rest - (1 - beta2) * second) / beta2
    at_rest = adam_epsilon_inside(
        SYMBOLS, stationary, sp.Symbol("g"), m_before, v_before, beta1=beta1, beta2=beta2, eps=0
    )[0]
    square = sp.Symbol("g") ** 2
    return at_rest.subs(square, second).subs(sp.Symbol("g"), mu)


assert equal(direction(square_of_mean) / direction(mu**2 + sigma**2), sp.sqrt(quotient))
assert quotient.subs(sigma, 0) == 1
assert sp.limit(quotient, mu, 0) == k

# %% [markdown]
# ## Longer averages
#
# The rule of hidden accumulation needs no array, but a rule of its own. Su's second proposal needs
# nothing but two arguments: replace $\beta$ by $\tilde\beta = 1 - (1-\beta)/k$, and step every $k$-th
# time. In refopt it is `smoothed_accumulation`, which is `update_every` around `beta_tilde`. Write
# $x = 1-\beta$.

# %%
x, y, real_k = sp.symbols("x y k", positive=True)
tilde_k = beta_tilde(beta, k=k)
age = sp.Symbol("j", integer=True, nonnegative=True)  # within a window
tilde = beta_tilde(1 - x, k=real_k)  # and beta = 1 - x
tilde**real_k

# %% [markdown]
# ## beta-tilde
#
# $\ln \tilde\beta^k = k \ln(1 - x/k)$ has the derivative $\ln(1-y) + y/(1-y)$ with respect to $k$,
# where $y = x/k$. That is zero at $y = 0$ and grows with $y$, so it is positive: $\tilde\beta^k$ rises
# with $k$, from $1 - x = \beta$ at $k = 1$ to its limit $e^{-x}$.

# %%
assert equal(beta_tilde(beta, k=k), 1 - (1 - beta) / k)
slope = sp.log(1 - y) + y / (1 - y)
assert equal(sp.diff(real_k * sp.log(tilde), real_k), slope.subs(y, x / real_k))
assert slope.subs(y, 0) == 0
assert equal(sp.diff(slope, y), y / (1 - y) ** 2)
assert (tilde**real_k).subs(real_k, 1) == 1 - x
assert sp.limit(tilde**real_k, real_k, sp.oo) == sp.exp(-x)

# %% [markdown]
# ## beta-tilde-error
#
# As a function of $x$, $F(x) = (1 - x/k)^k$ has $F(0) = 1$, $F'(0) = -1$ and
# $F''(x) = \frac{k-1}{k} (1-x/k)^{k-2}$, which lies between 0 and $\frac{k-1}{k}$ for $k \geq 2$
# (and is 0 for $k = 1$). Taylor's theorem gives the first bound. For the second,
# $e^{-y} - (1-y) \leq y^2/2$ by the same theorem, and $a^k - b^k \leq k(a - b)$ for
# $0 \leq b \leq a \leq 1$ with $a = e^{-y}$, $b = 1 - y$, $y = x/k$. Both approximations are of the
# second order in $1-\beta$; the first does not improve with $k$, the second does, like $1/k$. For
# $\beta = 0.9$ the first is at most 0.005.

# %%
F = tilde**real_k
assert F.subs(x, 0) == 1
assert sp.diff(F, x).subs(x, 0) == -1
assert equal(sp.simplify(sp.diff(F, x, 2) / F), (real_k - 1) / real_k / (1 - x / real_k) ** 2)

short = sp.exp(-y)
assert (short.subs(y, 0), sp.diff(short, y).subs(y, 0)) == (1, -1)
assert equal(sp.diff(short, y, 2), sp.exp(-y))  # between 0 and 1
a, b = sp.symbols("a b", nonnegative=True)
power = sp.Symbol("k", integer=True, nonnegative=True)
# a**k - b**k <= k*(a - b): if so for k, then for k + 1, since a**(k+1) - b**(k+1) is
assert equal(a ** (power + 1) - b ** (power + 1), a * (a**power - b**power) + b**power * (a - b))
# at most 1*k*(a - b) + 1*(a - b); and k*(x/k)**2/2 is
assert equal(real_k * (x / real_k) ** 2 / 2, x**2 / (2 * real_k))

# %% [markdown]
# ## weights-error
#
# Accumulation weighs all gradients of a window alike. With $\tilde\beta$ the last one counts most, and
# one that is $j$ calls older counts $\tilde\beta^j$ of it. By induction
# $1 - \tilde\beta^j \leq j\,y$ with $y = (1-\beta)/k$: what is missing from $j\,y$ grows by
# $y(1 - \tilde\beta^j) \geq 0$ from $j$ to $j + 1$.


# %%
def missing(age):
    """What j*y has more than 1 - (1 - y)**j."""
    return age * y - (1 - (1 - y) ** age)


assert missing(sp.Integer(0)) == 0
assert equal(missing(age + 1), missing(age) + y * (1 - (1 - y) ** age))

# %% [markdown]
# ## One window

# %%
calls = sp.Symbol("j", integer=True, nonnegative=True)
rate = sp.Symbol("r", positive=True)


def unrolled(calls):
    """The moving average after some calls from m, at any rate: g[1] is the oldest gradient."""
    return rate**calls * m + (1 - rate) * sp.Sum(rate ** (calls - i) * g[i], (i, 1, calls))


unrolled(calls)

# %% [markdown]
# ## trajectory
#
# Let $\tilde m$ be the average with $\tilde\beta$ and $m$ that of accumulation, both at the end of a
# window, and $D = \tilde m - m$. One window later
# $D' = \beta D + (\tilde\beta^k - \beta)\, \tilde m - \frac{1-\beta}{k} \sum_i (1-\tilde\beta^{k-i}) g_i$.
# With $\lvert \tilde m \rvert, \lvert g \rvert \leq G$ the two errors above bound the second and the
# third part by $G \frac{k-1}{2k} (1-\beta)^2$ each. The sum of such additions is a geometric series.
# So the momentum is off by at most $(1-\beta)(1-1/k)$ of the largest gradient, a tenth for
# $\beta = 0.9$, a thousandth for $0.999$, for any $k$; and each of $n$ steps adds at most $lr$ times
# that to the distance of the parameters. (In training the gradients then differ as well; how that
# grows depends on the loss.)

# %%
assert holds_by_induction(
    unrolled,
    first=m,
    step=lambda t, before: sgd_ema(SYMBOLS, g[t], before, momentum=rate)[1],
    n=calls,
)

m_tilde = sp.Symbol("mtilde", real=True)
after_tilde = unrolled(k).subs({rate: tilde_k, m: m_tilde})
after_mean = beta * m + (1 - beta) * g_bar
parts = (
    beta * (m_tilde - m)
    + (tilde_k**k - beta) * m_tilde
    - (1 - beta) / k * sum_to(k, (1 - tilde_k ** (k - i)) * g[i])
)
assert equal(after_tilde - after_mean, parts)

# sum of the bounds on the weights, j = k - i = 0 .. k-1, each times (1 - beta)/k
ages = sp.summation(age * x / k, (age, 0, k - 1)) * x / k
assert equal(ages, (k - 1) * x**2 / (2 * k))
G = sp.Symbol("G", positive=True)
added = 2 * G * (k - 1) / (2 * k) * x**2
assert holds_by_induction(
    lambda n: G * x * (1 - 1 / k) * (1 - (1 - x) ** n),
    first=0,
    step=lambda n, bound: (1 - x) * bound + added,
    n=n,
)

# %% [markdown]
# ## less-often
#
# Su found that stepping every $k$-th time helps even with $\beta$ as it is. What that does is the
# closed form at the rate $\beta$: windows decay by $\beta^k$, so the average reaches back over as many
# *calls* as before, $k$ times fewer windows. With $\beta^k \ll 1$ it is nearly the last window alone,
# and in it nearly the last $1/(1-\beta)$ gradients.

# %%
by_age = sp.Sum(beta ** (k - i) * g[i], (i, 1, k))
assert equal(unrolled(k).subs(rate, beta), beta**k * m + (1 - beta) * by_age)
every = layer("update_every").function
assert (every(SYMBOLS, k * (n + 1), k=k), every(SYMBOLS, (j + d) * n + j, k=j + d)) == (1, 0)

# %% [markdown]
# ## noise
#
# What a large batch is for is less noise in the direction. For independent gradients of variance
# $\sigma^2$ the variance of a moving average comes to rest where
# $V = \beta^2 V + (1-\beta)^2 \sigma^2$. Stepping less often does not change it: it makes fewer steps,
# each as noisy, and less alike. Accumulation divides it by $k$, and so does $\tilde\beta$, which gains
# up to another factor $(1+\beta)/2$ because it is no longer held back by the mean of a whole window.

# %%
V = sp.Symbol("V", positive=True)


def at_rest(rate, noise):
    """The variance at which a moving average of independent gradients comes to rest."""
    (found,) = sp.solve(sp.Eq(V, rate**2 * V + (1 - rate) ** 2 * noise), V)
    return found


assert equal(at_rest(beta, sigma**2), sigma**2 * (1 - beta) / (1 + beta))
accumulated = at_rest(beta, sigma**2 / k)
assert equal(accumulated, at_rest(beta, sigma**2) / k)
assert equal(at_rest(tilde_k, sigma**2) / accumulated, (1 + beta) / (1 + tilde_k))

# %% [markdown]
# ## Figure
#
# Both approximations for $k = 2$ to $64$, with the bounds that are derived above.

# %%
from refopt.report.figures.drawing import beta_tilde

beta_tilde()
