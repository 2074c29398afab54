# %% [markdown]
# # Lookahead on noisy quadratics
#
# Lookahead (Zhang et al., [arXiv:1907.08610](https://arxiv.org/abs/1907.08610)) lets any optimizer take
# $k$ steps and then goes back: the *slow* weights move a part $\alpha$ of the way to where the *fast*
# ones arrived, and both go on from there. On a quadratic with noisy gradients all of it can be
# calculated, one eigenvalue at a time: the mean contracts a little more slowly, and the variance in
# which it ends is smaller. This notebook runs the variant and gradient descent on symbols and
# arrives at the formulas of the paper.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [k-one](#k-one) | with $k = 1$ Lookahead scales the learning rate by $\alpha$ | any rule that reads step, gradient and state alone, and by name SGD with momentum, Adam, RAdam and Lion without decay; all $t$ | SymPy: a step of both from any state |
# | [alpha-one](#alpha-one) | with $\alpha = 1$ Lookahead changes nothing | any parameters; all $k \geq 1$ and $t \geq 1$ | SymPy, on the variant |
# | [fast-weights](#fast-weights) | $\theta_k = q\, \theta_0 + \gamma a \sum_{j=1}^{k} (1-\gamma a)^{k-j} c_j$ with $q = (1-\gamma a)^k$ | loss $\frac{a}{2} (\theta - c_j)^2$; learning rate $\gamma$; all $k$ | induction on the rule of SGD |
# | [contraction](#contraction) | the expectation of the slow weights shrinks by $1 - \alpha + \alpha q$ in $k$ steps, and to zero | $E[c_j] = 0$; $0 < \gamma a < 2$; $0 < \alpha \leq 1$ | SymPy, on the variant; linearity of the expectation in words |
# | [variance](#variance) | the variance ends in $V_{LA} = \frac{\alpha^2 (1 - q^2)}{\alpha^2 (1 - q^2) + 2 \alpha (1-\alpha) (1 - q)} V_{SGD}$ with $V_{SGD} = \frac{\gamma^2 a^2 \sigma^2}{1 - (1-\gamma a)^2}$ (Proposition 2) | $c_j$ independent with mean 0 and variance $\sigma^2$; as before | SymPy: the fixed point on the variant; that variances of independent terms add up, in words |
# | [less-variance](#less-variance) | $V_{LA} < V_{SGD}$, and $V_{LA} \to \frac{\alpha}{2-\alpha} V_{SGD}$ as $k \to \infty$: a third, at $\alpha = \frac{1}{2}$ | $0 < \alpha < 1$ | identities by SymPy, whose signs are said in words |
# | [slower-or-calmer](#slower-or-calmer) | in expectation Lookahead is slower where SGD does not oscillate, $q \geq 0$, and faster where it oscillates much, $q < -\frac{1-\alpha}{1+\alpha}$ | $\lvert q \rvert < 1$; $0 < \alpha < 1$ | identities by SymPy, whose signs are said in words |
# | [best-alpha](#best-alpha) | between two points the loss is smallest at $\alpha^* = \frac{(\theta_0-\theta^*)^T A (\theta_0-\theta_k)}{(\theta_0-\theta_k)^T A (\theta_0-\theta_k)}$ (Proposition 1) | $A$ symmetric and positive definite, of three dimensions; $\theta_k \neq \theta_0$ | SymPy: the loss as a parabola in $\alpha$, written out |
# | [ranger](#ranger) | in Ranger it does not matter whether Lookahead stands around or inside the centralization of gradients, and RAdam's moments know nothing of it | RAdam's own rates; all $t$ and $k \geq 2$ | SymPy, a step of both compositions from any state |
#
# Specification: [lookahead](../spec/lookahead.toml), [ranger](../spec/ranger.toml).

# %%
from dataclasses import replace

import sympy as sp

import refopt
from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.optimizer import RuleConstructor
from refopt.rules.sgd import sgd

alpha, lr = sp.symbols("alpha gamma", positive=True)
t, n = sp.symbols("t n", integer=True, positive=True)
theta, slow, g = sp.symbols("theta phi g", real=True)
variant = refopt.build("lookahead(sgd)").layers[-1].function


def with_symbols(optimizer, **values):
    """An optimizer, or an expression, with some hyperparameters replaced by symbols."""
    built = refopt.build(optimizer) if isinstance(optimizer, str) else optimizer
    layers = [
        replace(
            layer,
            hyperparameters={k: values.get(k, v) for k, v in layer.hyperparameters.items()},
        )
        for layer in built.layers
    ]
    return replace(built, layers=tuple(layers), lr=values["lr"])


def state_of(optimizer, steps):
    """Any state of an optimizer after some steps: a symbol for each array."""
    names = [key for key in optimizer.init(theta)[""] if key != "t"]
    return {"t": steps} | {key: sp.Symbol(key.rpartition(".")[2], real=True) for key in names}


variant(SYMBOLS, n, theta, slow, k=n, alpha=alpha)[0]  # the last step of the first window

# %% [markdown]
# ## k-one
#
# With $k = 1$ every step ends in a synchronisation, after which slow and fast weights are the same. So
# a step begins at $\phi = \theta$ and ends at $\theta + \alpha (\theta' - \theta)$, a step of the same
# direction with the learning rate $\alpha\, lr$. The state inside moves on as always. It follows that
# a comparison of Lookahead with its inner optimizer at the same learning rate is not a fair one.

# %%
H, S = (sp.Function(name, real=True) for name in "HS")


def any_rule(xp, t, g, s):
    """A rule of which nothing is known but what it reads."""
    return H(t, g, s), S(t, g, s)


named = [refopt.build(text) for text in ("sgd(momentum=0.9)", "adam", "radam", "lion")]
for inner in (RuleConstructor(any_rule, 1.0)(), *named):
    plain = with_symbols(inner, lr=alpha * lr)
    around = with_symbols(refopt.lookahead(inner, k=1), lr=lr, alpha=alpha)
    for steps in (sp.Integer(0), n):  # before the first step, and before any later one
        before = state_of(plain, steps)
        expected, moved = plain.step(theta, g, {"": before})
        reached, after = around.step(theta, g, {"": {**before, "lookahead.slow": theta}})
        assert equal(sp.piecewise_fold(reached - expected), 0)
        assert after[""]["lookahead.slow"] == reached  # so the next step begins the same way
        assert {key: after[""][key] for key in moved[""]} == moved[""]

# %% [markdown]
# ## alpha-one
#
# With $\alpha = 1$ the slow weights jump to the fast ones and nothing is taken back. Each step is the
# last one of its window, $t = kn$, or one inside, $t = k n + r$ with $0 < r < k$; the variant is asked
# for both with symbols, the second with $k = r + j$. With another $\alpha$ the first is where it acts.

# %%
k, j, r = sp.symbols("k j r", integer=True, positive=True)
last, within = (k * n, k), ((r + j) * n + r, r + j)
for step, window in (last, within):
    assert equal(variant(SYMBOLS, step, theta, slow, k=window, alpha=1)[0], theta)
acting, waiting = (
    variant(SYMBOLS, step, theta, slow, k=window, alpha=alpha) for step, window in (last, within)
)
assert equal(acting[0], slow + alpha * (theta - slow))
assert waiting == (theta, slow)

# %% [markdown]
# ## The noisy quadratic
#
# Along an eigenvector with the eigenvalue $a$ the loss is $\frac{a}{2} (\theta - c_j)^2$, and $c_j$ is
# new in every step: the minimum moves at random about zero. The gradient is $a (\theta - c_j)$. Write
# $b = 1 - \gamma a$ for what a step leaves of the distance.

# %%
a, sigma = sp.symbols("a sigma", positive=True)
c = sp.IndexedBase("c", real=True)
j = sp.Symbol("i", integer=True)
b = sp.Symbol("b", real=True)  # 1 - gamma*a
q = sp.Symbol("q", real=True)  # b**k


def descent(weight, centre):
    """A step of gradient descent, by the rule."""
    h, _ = sgd(SYMBOLS, t, a * (weight - centre), 0)
    return (weight - lr * h).subs(a, (1 - b) / lr)


returned, _ = variant(SYMBOLS, n, theta, slow, k=n, alpha=alpha)
V_sgd = lr**2 * a**2 * sigma**2 / (1 - (1 - lr * a) ** 2)
ratio = alpha**2 * (1 - q**2) / (alpha**2 * (1 - q**2) + 2 * alpha * (1 - alpha) * (1 - q))
returned

# %% [markdown]
# ## fast-weights
#
# Each step multiplies what was there by $b$ and adds $\gamma a$ times the new centre. After $k$ steps
# the start has the weight $b^k$, and older centres weigh less.


# %%
def fast(k):
    """The fast weights k steps after the slow ones."""
    return b**k * slow + (1 - b) * sp.Sum(b ** (k - j) * c[j], (j, 1, k))


assert holds_by_induction(fast, first=slow, step=lambda k, w: descent(w, c[k]), n=n)
assert equal(descent(theta, g), b * theta + (1 - b) * g)

# %% [markdown]
# ## contraction
#
# The centres have the mean zero, so in expectation only $b^k$ of the start is left when the slow
# weights move. They keep $1 - \alpha$ of themselves. For $0 < \gamma a < 2$, $\lvert q \rvert < 1$, and
# the factor lies between $1 - 2\alpha$ and 1: the expectation goes to zero.

# %%
assert equal(returned.subs(theta, q * slow), (1 - alpha + alpha * q) * slow)
assert equal(1 - (1 - alpha + alpha * q), alpha * (1 - q))  # positive
assert equal(1 - alpha + alpha * q - (1 - 2 * alpha), alpha * (1 + q))  # positive

# %% [markdown]
# ## variance
#
# The variance of independent terms adds up. Starting from variance $V$, the fast weights arrive with
# $q^2 V + S$, where $S$ is the sum of $(1-b)^2 b^{2(k-j)} \sigma^2$, a geometric series; the slow ones with
# $(1-\alpha+\alpha q)^2 V + \alpha^2 S$. What solves $V = (\ldots)$ is the variance in which it ends, and
# since the factor of $V$ is below one, every start leads there. The paper's form follows, for all
# $k$ at once.


# %%
def series(k):
    """The sum of (1 - b)**2 * b**(2*(k - j)) over j = 1..k."""
    return (1 - b) ** 2 * (1 - b ** (2 * k)) / (1 - b**2)


assert holds_by_induction(series, 0, lambda k, s: b**2 * s + (1 - b) ** 2, n=n)
S = sigma**2 * (1 - b) ** 2 * (1 - q**2) / (1 - b**2)
V = sp.Symbol("V", positive=True)
spread = sp.expand(returned.subs(theta, q * slow + g))  # g: the noise of the fast weights
assert equal(sp.diff(spread, slow) ** 2 * V + sp.diff(spread, g) ** 2 * S,
             (1 - alpha + alpha * q) ** 2 * V + alpha**2 * S)  # fmt: skip
(fixed,) = sp.solve(sp.Eq(V, (1 - alpha + alpha * q) ** 2 * V + alpha**2 * S), V)
assert equal(fixed, ratio * V_sgd.subs(a, (1 - b) / lr))
(plain,) = sp.solve(sp.Eq(V, b**2 * V + (1 - b) ** 2 * sigma**2), V)
assert equal(plain, V_sgd.subs(a, (1 - b) / lr))

# %% [markdown]
# ## less-variance
#
# The quotient is $\alpha (1+q) / (2 - \alpha (1-q))$, and one less it is $2(1-\alpha)$ over the same
# denominator, which is positive because $\alpha (1-q) < 2$. With long windows $q$ vanishes, and at
# $\alpha = \frac{1}{2}$ a third of the variance remains.

# %%
denominator = 2 - alpha * (1 - q)
assert equal(ratio, alpha * (1 + q) / denominator)
assert equal(1 - ratio, 2 * (1 - alpha) / denominator)
assert equal(denominator, 2 * (1 - alpha) + alpha * (1 + q))  # a sum of positive numbers
assert equal(ratio.subs(q, 0), alpha / (2 - alpha))
assert ratio.subs({q: 0, alpha: sp.Rational(1, 2)}) == sp.Rational(1, 3)

# %% [markdown]
# ## slower-or-calmer
#
# In $k$ steps SGD keeps $q$ of its distance in expectation, Lookahead $1 - \alpha + \alpha q$, which is
# larger: the price of the smaller variance. But where the learning rate is too large for an
# eigenvalue, $\gamma a > 1$, the fast weights jump from side to side, and for odd $k$ they end on the
# other side, $q < 0$. Going half-way back is then a step in the right direction.

# %%
kept = 1 - alpha + alpha * q
assert equal(kept - q, (1 - alpha) * (1 - q))  # positive: slower where q >= 0
turning = -(1 - alpha) / (1 + alpha)
assert equal(-q - kept, (1 + alpha) * (turning - q))  # positive below it: kept < |q|
assert equal(kept - q, (1 - alpha) * (1 - q))  # and kept > -|q|

# %% [markdown]
# ## best-alpha
#
# Between the points $\theta_0$ and $\theta_k$ a quadratic loss is a parabola in $\alpha$, which opens
# upwards if $A$ is positive definite. With $e = \theta_0 - \theta^*$ and $d = \theta_k - \theta_0$ it is
# $\frac{1}{2} (e^T A e + 2 \alpha\, e^T A d + \alpha^2 d^T A d)$, where symmetry makes the two mixed terms
# the same; written out here for three dimensions. In one dimension $\alpha^* = 1/(1-q)$: without noise
# and oscillation one should go further than the fast weights, not back.

# %%
size = 3
e, d = (sp.Matrix(sp.symbols(f"{name}1:4", real=True)) for name in "ed")
entries = sp.symbols("A1:7", real=True)
A = sp.zeros(size)
for entry, (row, column) in zip(
    entries, [(r, s) for r in range(size) for s in range(r, size)], strict=True
):
    A[row, column] = A[column, row] = entry
loss = (e + alpha * d).dot(A * (e + alpha * d)) / 2
best = e.dot(A * -d) / d.dot(A * d)
assert equal(sp.diff(loss, alpha).subs(alpha, best), 0)
assert equal(sp.diff(loss, alpha, 2), d.dot(A * d))
assert equal(best.subs(dict(zip(d, (q - 1) * e, strict=True))), 1 / (1 - q))

# %% [markdown]
# ## ranger
#
# Ranger is Lookahead around RAdam on centralized gradients. The three change different stages of a
# step (the parameter, the direction, the gradient), so their order leaves no trace. Between two
# synchronisations the moments run on as if nothing had happened, although the gradients they hold
# were taken at points that have been left: the paper keeps them, too. The step is any step of a window
# of $k \geq 2$ steps: its last one, or one inside.

# %%
i = sp.Symbol("j", integer=True, positive=True)
window = i + 1
texts = (
    "lookahead(gradient_centralization(radam))",
    "gradient_centralization(lookahead(radam))",
)
for step in (window * n, window * n + 1):
    results = []
    for text in texts:
        optimizer = with_symbols(text, lr=lr, k=window, alpha=alpha)
        results.append(optimizer.step(theta, g, {"": state_of(optimizer, step - 1)}))
    (first, state_1), (second, state_2) = results
    assert equal(first, second)
    assert first.has(alpha) == (step == window * n)
    assert state_1 == state_2
    inner = with_symbols("gradient_centralization(radam)", lr=lr)
    _, alone = inner.step(theta, g, {"": state_of(inner, step - 1)})
    assert all(state_1[""][key] == alone[""][key] for key in alone[""])

# %% [markdown]
# ## Figure
#
# Ranger and RAdam beside others, on functions of two parameters: a ravine, a saddle between two
# minima, and Rosenbrock's valley. Each learning rate is the one of ten that leads lowest.
# Gradients of two numbers are vectors, so that centralization does not act here.
# `refopt plot trajectories` draws it, `--target` with your own optimizer.

# %%
from refopt.report.figures.drawing import trajectories

trajectories()
