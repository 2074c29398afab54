# %% [markdown]
# # Momentum, its conventions, and Nesterov's
#
# Gradient descent with momentum is written in several ways that textbooks call the same. They are the
# same as long as nothing changes; once the learning rate follows a schedule, or dampening comes in,
# they are different algorithms. Here each equality is derived from the rules that refopt runs, with
# what it needs, and each difference is given exactly.
#
# Written out: *heavy ball* $\theta_{t+1} = \theta_t - lr_t\, g_t + \mu (\theta_t - \theta_{t-1})$
# (Polyak 1964); *buffer* $b_t = \mu b_{t-1} + g_t$, step $lr_t\, b_t$ (PyTorch, Optax); *average*
# $m_t = \mu m_{t-1} + (1-\mu) g_t$, step $lr_t\, m_t$; *velocity*
# $u_t = \mu u_{t-1} + lr_t\, g_t$, step $u_t$ (Keras, TensorFlow).
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [buffer-unrolled](#buffer-unrolled) | $b_t = \sum_{i=1}^{t} \mu^{t-i} g_i$ | dampening 0; any gradients; all $t$ | induction on the rule |
# | [constant-gradient](#constant-gradient) | $g_i = g$ gives $b_t = \frac{1-\mu^t}{1-\mu} g$: momentum lengthens the steps up to $\frac{1}{1-\mu}$ times | dampening 0, $0 < \mu < 1$; all $t$ | induction on the rule |
# | [average](#average) | $m_t = (1-\mu)\, b_t$: the average with $lr/(1-\mu)$ takes the steps of the buffer with $lr$, also under a schedule | constant $\mu$; dampening 0; any gradients; all $t$ | induction on both rules |
# | [heavy-ball](#heavy-ball) | the velocity is the heavy ball: $\theta_{t+1} - \theta_t = -lr\, g + \mu(\theta_t - \theta_{t-1})$ with the learning rate of each step | no Nesterov; any gradients and learning rates; all $t$ | SymPy, on the optimizer |
# | [constant-rate](#constant-rate) | $u_t = lr\, b_t$: velocity and buffer take the same steps, with Nesterov's as well | constant $lr$; dampening 0; all $t$ | induction on both rules |
# | [changing-rate](#changing-rate) | $u_t - lr_t\, b_t = \sum_{i=1}^{t-1} \mu^{t-i} (lr_i - lr_t)\, g_i$: under a schedule they differ, by $\mu\,(lr_1 - lr_2)\, g_1$ in the second step | dampening 0, $\mu > 0$; all $t$ | induction on both rules |
# | [nesterov-lookahead](#nesterov-lookahead) | Nesterov's method in its three forms, gradient at the point ahead, two sequences, and the one of frameworks, is the same: they hold $\theta$ and $\phi = \theta + \mu(\theta - \theta_{before})$ | constant $lr$ and $\mu$; the gradient is taken at $\phi$; any gradients; all $t$ | SymPy: a step from any state |
# | [nesterov-schedule](#nesterov-schedule) | under a schedule they part: the form with the buffer then moves by $\mu^2 (lr_1 - lr_2)\, b$ less than the form with the velocity, in the step of the change | $lr_1$ up to a step, $lr_2$ from then on; dampening 0 | SymPy, on both rules |
# | [dampening](#dampening) | dampening $d$ from a buffer of zeros scales the buffer by $1-d$, so it is a smaller learning rate; $d = \mu$ gives the average | no Nesterov; any gradients; all $t$ | induction on the rules |
# | [undampened-first](#undampened-first) | where the first buffer is the gradient itself, $b_t = (1-d) \sum_{i=1}^{t} \mu^{t-i} g_i + d\, \mu^{t-1} g_1$: the first step is $1/(1-d)$ times as long, and the excess decays like $\mu^t$ | $0 < d < 1$; any gradients; all $t$ | induction on the rule |
# | [dampened-nesterov](#dampened-nesterov) | with Nesterov dampening is no change of the learning rate: $h_t = g_t + (1-d)\, \mu \sum_{i=1}^{t} \mu^{t-i} g_i$ | buffer of zeros; $\mu, d > 0$; all $t$ | induction on the rule; exact counterexample |
#
# Specification: [sgd](../spec/sgd.toml).

# %%
import sympy as sp

from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.catalog import build
from refopt.rules.sgd import sgd, sgd_ema, sgd_lr_inside, sgd_zero_buffer

mu, lr, lr_1, lr_2, d = sp.symbols("mu lr lr_1 lr_2 d", positive=True)
theta, b, u = sp.symbols("theta b u", real=True)
g, rate = sp.IndexedBase("g", real=True), sp.IndexedBase("lr", positive=True)
i = sp.Symbol("i", integer=True)
t = sp.Symbol("t", integer=True, positive=True)


def buffer(t, g, b, d=0):
    """The buffer after step t, whose first value is the gradient itself."""
    return sgd(SYMBOLS, t, g, b, momentum=mu, dampening=d)[1]


def from_zero(g, b, d=0):
    """The buffer after a step, from a buffer of zeros."""
    return sgd_zero_buffer(SYMBOLS, g, b, momentum=mu, dampening=d)[1]


def average(g, m):
    """The average after a step."""
    return sgd_ema(SYMBOLS, g, m, momentum=mu)[1]


def velocity(lr, g, u, nesterov=False):
    """The step and the velocity after it."""
    return sgd_lr_inside(SYMBOLS, lr, g, u, momentum=mu, nesterov=nesterov)


def weighted(t, term=g[i]):
    """A sum over the past, weighted by age."""
    return sp.Sum(mu ** (t - i) * term, (i, 1, t))


weighted(t)

# %% [markdown]
# ## buffer-unrolled
#
# Each step multiplies the past by $\mu$ and adds the gradient. The rule says that the first buffer *is*
# the gradient; without dampening a buffer of zeros gives the same.

# %%
assert buffer(1, g[1], b) == g[1] == from_zero(g[1], 0)
assert holds_by_induction(weighted, first=0, step=lambda t, b: from_zero(g[t], b), n=t)
assert equal(buffer(t + 1, g[t + 1], weighted(t)), weighted(t + 1))

# %% [markdown]
# ## constant-gradient
#
# Down a constant slope the buffer grows to $g/(1-\mu)$: $\mu = 0.9$ makes the steps ten times as long,
# after $\ln 2/\ln(1/0.9) \approx 7$ steps five times. Whoever turns momentum on without lowering $lr$
# has also raised the learning rate.

# %%
constant = sp.Symbol("g", real=True)
assert holds_by_induction(
    lambda t: constant * (1 - mu**t) / (1 - mu),
    first=0,
    step=lambda t, b: from_zero(constant, b),
    n=t,
)
assert sp.Rational(9, 10) ** 7 < sp.Rational(1, 2) < sp.Rational(9, 10) ** 6

# %% [markdown]
# ## average
#
# The average is the buffer times $1-\mu$, in every step, whatever the gradients. Both multiply by the
# learning rate *after* that, so the factor stays a factor under any schedule. It does not survive a
# change of $\mu$: the buffer keeps what it summed up at the old weight, the average does not.

# %%
assert equal(average(g[t], (1 - mu) * b), (1 - mu) * from_zero(g[t], b))
assert holds_by_induction(
    lambda t: (1 - mu) * weighted(t), first=0, step=lambda t, m: average(g[t], m), n=t
)

# %% [markdown]
# ## heavy-ball
#
# Polyak's form has no buffer at all: its memory is the last movement, which contains the learning rate
# that it was made with. Run the optimizer two steps with two learning rates from any velocity: the
# second movement is $\mu$ times the first, minus $lr_2\, g_2$.

# %%
optimizer = build("sgd_lr_inside").lifted(lambda name, _: {"lr": lr, "momentum": mu}[name])
state = {"": {"t": t, "sgd_lr_inside.u": u}}
g_1, g_2 = sp.symbols("g_1 g_2", real=True)
theta_1, state = optimizer.step(theta, g_1, state, lr=lr_1)
theta_2, state = optimizer.step(theta_1, g_2, state, lr=lr_2)
assert equal(theta_2, theta_1 - lr_2 * g_2 + mu * (theta_1 - theta))

# %% [markdown]
# ## constant-rate
#
# With a constant learning rate the velocity is $lr$ times the buffer: a factor that can be multiplied
# in before or after the sum. Nesterov's direction is linear in both, so it follows.

# %%
step, after = velocity(lr, g[t], lr * b)
assert equal(after, lr * from_zero(g[t], b))
step, _ = velocity(lr, g[t], lr * b, nesterov=True)
h, _ = sgd_zero_buffer(SYMBOLS, g[t], b, momentum=mu, nesterov=True)
assert equal(step, lr * h)

# %% [markdown]
# ## changing-rate
#
# The velocity remembers each gradient with the learning rate of its own step, $u_t = \sum_i \mu^{t-i}
# lr_i\, g_i$; the buffer applies today's to all. After a drop from $0.1$ to $0.01$ the buffer brakes at
# once, the velocity only as fast as $\mu^t$ decays. A constant learning rate cannot tell them apart,
# which is why test suites rarely notice.


# %%
def unrolled(t):
    """The velocity after step t."""
    return weighted(t, rate[i] * g[i])


assert holds_by_induction(unrolled, first=0, step=lambda t, u: velocity(rate[t], g[t], u)[1], n=t)
difference = unrolled(t) - rate[t] * weighted(t)
assert equal(difference, weighted(t, (rate[i] - rate[t]) * g[i]))
assert equal(difference.subs(t, 2).doit(), mu * (rate[1] - rate[2]) * g[1])

# %% [markdown]
# ## Nesterov
#
# Nesterov's method takes the gradient not where it stands but where momentum is about to carry it. The
# three forms below differ in what they call the parameter.

# %%
G = sp.Symbol("G", real=True)  # the gradient at the point ahead, whatever the loss
before = sp.Symbol("theta_b", real=True)


def ahead(theta, v):
    """Nesterov's point and velocity after a step: the gradient is that at theta + mu*v."""
    v = mu * v - lr * G
    return theta + v, v


def two_sequences(x, y):
    """The gradient step y from x, and the new x beyond it."""
    y_new = x - lr * G
    return y_new + mu * (y_new - y), y_new


ahead(theta, sp.Symbol("v"))

# %% [markdown]
# ## nesterov-lookahead
#
# Let $v = \theta - \theta_{before}$, and let $\phi = \theta + \mu v$ be the point ahead. Suppose the
# first form is at $\theta$ with velocity $v$, the second at $x = \phi$, $y = \theta$, and the rule at the
# parameter $\phi$ with the buffer $b = -v/lr$. They then see the same gradient $G$ at $\phi$, and after
# the step the same relations hold again. From $v = 0$ they hold at the start, and so always. Frameworks
# train $\phi$: the weights that they store are the point ahead, not Nesterov's $\theta$.

# %%
v = theta - before
phi = theta + mu * v
theta_new, v_new = ahead(theta, v)
x_new, y_new = two_sequences(phi, theta)
assert equal(x_new, theta_new + mu * v_new)
assert equal(y_new, theta_new)

h, b_new = sgd_zero_buffer(SYMBOLS, G, -v / lr, momentum=mu, nesterov=True)
assert equal(phi - lr * h, theta_new + mu * v_new)
assert equal(b_new, -v_new / lr)
# and so it is with the rule whose first buffer is the gradient, which from v = 0 is the same
h_first, b_first = sgd(SYMBOLS, sp.Integer(1), G, b, momentum=mu, nesterov=True)
assert equal(h_first, h.subs(theta, before))
assert equal(b_first, b_new.subs(theta, before))

# %% [markdown]
# ## nesterov-schedule
#
# The relation $b = -v/lr$ needs *one* learning rate. When it changes from $lr_1$ to $lr_2$, the buffer
# is read with the new one. The velocity keeps the old: it moves on by $\mu^2 lr_1 b$ where the buffer
# moves on by $\mu^2 lr_2 b$.

# %%
step, _ = velocity(lr_2, G, lr_1 * b, nesterov=True)
h, _ = sgd_zero_buffer(SYMBOLS, G, b, momentum=mu, nesterov=True)
assert equal(step - lr_2 * h, mu**2 * (lr_1 - lr_2) * b)

# %% [markdown]
# ## dampening
#
# Dampening weighs each new gradient by $1-d$. From a buffer of zeros that is a common factor of
# everything the buffer ever holds: constant dampening does nothing that a learning rate of
# $(1-d)\, lr$ does not do. With $d = \mu$ it turns the buffer into the average.

# %%
assert equal(from_zero(g[t], (1 - d) * b, d=d), (1 - d) * from_zero(g[t], b))
assert equal(from_zero(g[t], b, d=mu), average(g[t], b))

# %% [markdown]
# ## undampened-first
#
# PyTorch starts the buffer at the first gradient, *not* dampened; MLX and others dampen it too. The
# difference is one term, $d\,\mu^{t-1} g_1$. The first step is $1/(1-d)$ times as long, ten times for
# $d = 0.9$; after $t$ steps the excess has decayed to $\mu^{t-1}$ of that. With $d = 0$, the default
# everywhere, nothing shows.


# %%
def undampened(t):
    """The buffer after step t, the first one undampened."""
    return (1 - d) * weighted(t) + d * mu ** (t - 1) * g[1]


assert equal(buffer(1, g[1], b, d=d), undampened(sp.Integer(1)))
assert equal(buffer(t + 1, g[t + 1], undampened(t), d=d), undampened(t + 1))
dampened = from_zero(g[1], 0, d=d)
assert equal(buffer(1, g[1], b, d=d) / dampened, 1 / (1 - d))
assert holds_by_induction(
    lambda t: (1 - d) * weighted(t), first=0, step=lambda t, b: from_zero(g[t], b, d=d), n=t
)

# %% [markdown]
# ## dampened-nesterov
#
# Nesterov's direction $g + \mu b$ contains the gradient once outside the buffer, where dampening does
# not reach. The two parts are scaled differently, and no learning rate makes up for it: from the
# gradients 1, 0 the directions stand in the ratio $1 + (1-d)\mu : (1-d)\mu^2$, which depends on $d$.
# PyTorch refuses the combination for this reason.

# %%
h, after = sgd_zero_buffer(
    SYMBOLS, g[t + 1], (1 - d) * weighted(t), momentum=mu, dampening=d, nesterov=True
)
assert equal(h, g[t + 1] + (1 - d) * mu * weighted(t + 1))


def ratio(d):
    """The first direction over the second, for the gradients 1 and 0 and momentum 1/2."""
    half = sp.Rational(1, 2)
    h_1, b_1 = sgd_zero_buffer(SYMBOLS, 1, 0, momentum=half, dampening=d, nesterov=True)
    h_2, _ = sgd_zero_buffer(SYMBOLS, 0, b_1, momentum=half, dampening=d, nesterov=True)
    return h_1 / h_2


assert (ratio(0), ratio(sp.Rational(1, 2))) == (6, 10)
