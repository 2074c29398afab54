# %% [markdown]
# # Schedules
#
# A schedule multiplies the learning rate by a factor that depends on the step alone. In refopt each is
# a function of the 1-based step $t$. These claims say where the curves begin, where they end, and which
# of them are the same curve under two names. The figure at the end draws all of them.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [constant](#constant) | a constant factor $c$ is the learning rate $c \cdot lr$ | gradient descent with momentum, whose buffer holds no learning rate | SymPy, a step of both optimizers from any state |
# | [warmup](#warmup) | linear warm-up over $W$ steps is piecewise linear with one knot, $\{W: 1\}$ | all $t, W \geq 1$ | SymPy: $t < W$, $t = W$ and $t > W$ |
# | [inverse-sqrt](#inverse-sqrt) | warm-up and $1/\sqrt t$ meet at $t = W$, where the factor is largest, $1/\sqrt W$ | all $t, W \geq 1$ | SymPy: the quotient of the branches; that one rises and the other falls, in words |
# | [steps](#steps) | step decay meets exponential decay whenever it falls, and lies above it in between | $0 < $ rate $ \leq 1$; all $t \geq 1$ | SymPy; the whole part of a quotient in words |
# | [cosine](#cosine) | half a cosine falls from 1 to the end factor, with slope 0 at both ends, and is their mean halfway | $0 \leq $ end $ < 1$; within the decay | values and derivative by SymPy; the sign of the sine in words |
# | [polynomial](#polynomial) | polynomial decay falls from 1 to the end factor; with power 1 it is a straight line | power $p > 0$; $0 \leq $ end $ < 1$; within the decay | values and derivative by SymPy |
# | [inverse-time](#inverse-time) | the reciprocal of inverse-time decay is 1 in the first step and grows by $d$ in every later one | decay $d \geq 0$; all $t \geq 1$ | SymPy |
# | [one-cycle](#one-cycle) | one cycle starts at $1/$div, reaches 1 after a fraction of the steps, and ends at $1/($div $\cdot$ final div$)$ in the last | a peak after the first step and before the last | SymPy |
#
# Specifications: all schedules.

# %%
import sympy as sp

import refopt
from refopt import schedules
from refopt.arithmetic.identity import equal
from refopt.arithmetic.symbols import SYMBOLS

t, W, D, j, d = sp.symbols("t W D j d", integer=True, positive=True)
n = sp.Symbol("n", integer=True, nonnegative=True)
rate, end, power, c = sp.symbols("rate end p c", positive=True)
x = sp.Symbol("x", nonnegative=True)

# %% [markdown]
# ## constant
#
# The factor enters where the learning rate does, so it can be folded into it. Not so for an optimizer
# that keeps the learning rate of each step in its state, unless the factor never changes.

# %%
theta, g, b = sp.symbols("theta g b", real=True)
lr, mu, damp = sp.symbols("lr mu d", positive=True)
values = {"factor": c, "momentum": mu, "dampening": damp}
scaled = refopt.constant(refopt.sgd()).lifted(lambda name, _: {**values, "lr": lr}[name])
plain = refopt.sgd().lifted(lambda name, _: {**values, "lr": c * lr}[name])
state = {"": {"t": t, "sgd.b": b}}
(reached, after), (stated, after_plain) = (
    optimizer.step(theta, g, state) for optimizer in (scaled, plain)
)
assert equal(reached, stated)
assert after == after_plain

# %% [markdown]
# ## warmup
#
# Warm-up is the simplest piecewise linear schedule: it comes from an implicit $(0, 0)$, so that the
# first step already has the factor $1/W$ and not 0, and stays where its last knot is.

# %%
for step, length in ((j, j + d), (W, W), (W + d, W)):  # before, at and after the knot
    factor = schedules.piecewise_linear(SYMBOLS, step, schedule={length: sp.Integer(1)})
    fraction = step / length
    expected = fraction if step == j else 1
    assert equal(factor, expected)
    assert schedules.warmup(SYMBOLS, step, warmup_steps=length) in (expected, sp.Min(1, fraction))
assert equal(1 - j / (j + d), d / (j + d))  # which is positive, so the minimum is j/(j + d)
assert equal((W + d) / W - 1, d / W)  # and here it is 1

# %% [markdown]
# ## inverse-sqrt
#
# The factor is the smaller of $1/\sqrt t$ and $t/W^{3/2}$. Their quotient is $(t/W)^{3/2}$: warm-up
# below $W$, decay above, and at $W$ both are $1/\sqrt W$. Transformers were trained with this curve
# times $d_{model}^{-1/2}$.

# %%
factor = schedules.inverse_sqrt(SYMBOLS, t, warmup_steps=W)
(rising,) = (branch for branch in factor.args if branch.has(W))
assert equal(rising * sp.sqrt(t), (t / W) ** sp.Rational(3, 2))
assert factor == sp.Min(rising, 1 / sp.sqrt(t))
assert equal(schedules.inverse_sqrt(SYMBOLS, W, warmup_steps=W), 1 / sp.sqrt(W))

# %% [markdown]
# ## steps
#
# After $nD$ steps both are rate$^n$. Until the next fall, step decay stays there while exponential decay
# goes on: $r$ steps later it is smaller by rate$^{r/D} \leq 1$.

# %%
r = sp.Symbol("r", integer=True, nonnegative=True)  # of D = r + j steps
smooth = schedules.exponential(SYMBOLS, D * n + r + 1, decay_rate=rate, decay_steps=D)
falls = schedules.step_decay(SYMBOLS, D * n + 1, decay_rate=rate, decay_steps=D)
assert equal(falls, rate**n)
assert equal(smooth, rate**n * rate ** (r / D))

between = schedules.step_decay(SYMBOLS, t, decay_rate=rate, decay_steps=D)
assert between == rate ** sp.floor((t - 1) / D)
windows = ((t - 1) / D).subs({t: D * n + r + 1}).subs(D, r + j)
assert equal(windows - n, r / (r + j))  # at least 0 and below 1, so n is the whole part

# %% [markdown]
# ## cosine
#
# Both ends are flat: the schedule leaves its start and reaches its end without a kink. Halfway it is
# halfway. It falls in between, since the sine is positive there.


# %%
def cosine(fraction):
    """The factor at a fraction of the decay."""
    return schedules._cosine(SYMBOLS, 1, end, fraction)


assert equal(schedules.cosine(SYMBOLS, sp.Integer(1), decay_steps=D, end_factor=end), 1)
assert equal(schedules.cosine(SYMBOLS, D + 1, decay_steps=D, end_factor=end), end)
assert equal(cosine(sp.Rational(1, 2)), (1 + end) / 2)
halfway = schedules.cosine(SYMBOLS, D + 1, decay_steps=2 * D, end_factor=end)
assert equal(halfway, (1 + end) / 2)
slope = sp.diff(cosine(x), x)
assert equal(slope, -(1 - end) * sp.pi * sp.sin(sp.pi * x) / 2)
assert (slope.subs(x, 0), slope.subs(x, 1)) == (0, 0)

# %% [markdown]
# ## polynomial
#
# A straight line is the polynomial of degree one. Larger powers fall earlier and arrive more gently.


# %%
def polynomial(step, p):
    """The factor of polynomial decay."""
    return schedules.polynomial(SYMBOLS, step, decay_steps=D, power=p, end_factor=end)


assert equal(polynomial(sp.Integer(1), power), 1)
assert equal(polynomial(D + 1, power), end)
line = 1 + (end - 1) * j / (j + d)
at_j = schedules.polynomial(SYMBOLS, j + 1, decay_steps=j + d, power=1, end_factor=end)
assert equal(at_j.replace(sp.Min, lambda *ends: j / (j + d)), line)  # which is below 1, see warmup
at_j = schedules.polynomial(SYMBOLS, j + 1, decay_steps=j + d, power=power, end_factor=end)
fraction = sp.Symbol("f", positive=True)
falling = at_j.replace(sp.Min, lambda *ends: fraction)
assert equal(sp.diff(falling, fraction), -(1 - end) * power * (1 - fraction) ** (power - 1))

# %% [markdown]
# ## inverse-time
#
# This is the $1/t$ decay of stochastic approximation. For $d = 1$ it is the harmonic series, whose sum
# diverges while the sum of its squares converges, as Robbins and Monro ask; for other $d > 0$ the factors
# lie between two multiples of it.


# %%
def inverse(step):
    """The reciprocal of the factor."""
    return 1 / schedules.inverse_time(SYMBOLS, step, decay=x)


assert equal(inverse(t + 1) - inverse(t), x)
assert inverse(sp.Integer(1)) == 1
harmonic = 1 / inverse(n + 1).subs(x, 1)
assert sp.summation(harmonic, (n, 0, sp.oo)) == sp.oo
assert sp.summation(harmonic**2, (n, 0, sp.oo)) == sp.pi**2 / 6

# %% [markdown]
# ## one-cycle
#
# With $T$ steps and the fraction $p$ the peak is at step $pT$, the last step is $T$. Here $p = a/T$
# with whole numbers $2 \leq a < T$. What comes last is far below the start, by the factor `final_div`.

# %%
a, more, div, final = sp.symbols("a more div final", integer=True, positive=True)
total, peak = a + 1 + more, a + 1
given = {
    "total_steps": total, "pct_start": peak / total, "div_factor": div, "final_div_factor": final
}  # fmt: skip
first, highest, last = (
    schedules.one_cycle(SYMBOLS, step, **given) for step in (sp.Integer(1), peak, total)
)
assert equal(first, 1 / div)
assert equal(highest, 1)
assert equal(last, 1 / (div * final))

# %% [markdown]
# ## Figure

# %%
from refopt.report.figures.drawing import schedules as drawn

drawn()
