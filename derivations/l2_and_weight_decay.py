# %% [markdown]
# # L2 regularisation and weight decay
#
# Two ways to pull weights towards zero. *L2 regularisation* adds $\frac{\lambda}{2} \lVert \theta
# \rVert^2$ to the loss, so that $\lambda \theta$ joins the gradient and passes through the optimizer.
# *Decoupled weight decay* leaves the gradient alone and subtracts $lr \cdot \lambda \theta$ beside the
# step. For plain gradient descent they are the same; under momentum, and more so under Adam, they are
# not (Loshchilov & Hutter, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101)). Both are variants in
# refopt, `l2` and `weight_decay`, which go around any optimizer: what follows runs them on symbols.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [sgd-equal](#sgd-equal) | for plain gradient descent both are the same step, if and only if their coefficients are: after a step the parameters differ by $lr\,(\lambda' - \lambda)\,\theta$ | no momentum; $\theta \neq 0$, $lr > 0$ for "only if"; every step | SymPy, on both optimizers |
# | [sgd-uncoupled](#sgd-uncoupled) | a decay by $w \theta$ that $lr$ does not scale is L2 regularisation with $\lambda' = w / lr$: it changes whenever $lr$ does | no momentum; $lr > 0$; every step | SymPy, on both optimizers |
# | [momentum-unrolled](#momentum-unrolled) | at the same parameters the directions differ by $\lambda' \sum_{i=1}^{t} \mu^{t-i} \theta_{i-1} - \lambda \theta_{t-1}$ | momentum $\mu$, dampening 0; any gradients and parameters; all $t$ | induction on the rule |
# | [momentum-no-constant](#momentum-no-constant) | no constant $\lambda'$ makes both equal: the first parameter $\theta_s \neq 0$ forces $\lambda' = \lambda$ in step $s+1$, and then step $s+2$ differs by $lr\, \lambda\, \mu\, \theta_s$ | as above; $\mu, \lambda, lr > 0$; any gradients; all $s \geq 0$ | SymPy, two steps from any state |
# | [momentum-degenerate](#momentum-degenerate) | they agree in all steps if $\mu = 0$ and $\lambda' = \lambda$, if $\lambda = \lambda' = 0$, if $lr = 0$, or if all parameters are zero; by the claim before in no other case | momentum $\mu$, dampening 0 | SymPy, a step from any state; that a buffer which is not read may differ, in words |
# | [adam-shrinkage](#adam-shrinkage) | under Adam with L2 the decay part of the direction is $\lambda \hat n_t / (\sqrt{\hat v_t} + \epsilon)$ with $\hat n_t$ the corrected average of past parameters; decoupled it is $\lambda \theta_{t-1}$ whatever the gradients | any gradients and parameters; all $t$ | induction on the rule |
# | [adam-relative-rate](#adam-relative-rate) | two weights of the same value whose gradients differ by the factor $s$ are shrunk by L2 at rates that differ by $1/s$; decoupled at the same rate | the same weights so far, $\lambda \ll \lvert g \rvert$: to first order in $\lambda$; $\epsilon = 0$; all $t$ | SymPy, derivative with respect to $\lambda$ at 0 |
# | [l2-alone](#l2-alone) | where there is no gradient, L2's first step under Adam is $lr\, \lambda \theta / (\lambda \lvert \theta \rvert + \epsilon)$: without $\epsilon$ it has length $lr$ for every $\lambda$ and every weight | $g = 0$, $t = 1$; $\lambda > 0$, $\theta \neq 0$ | SymPy, on the optimizer |
# | [scale-decoupled](#scale-decoupled) | under Adam with decoupled decay, gradients times $c$ give the same parameters | $\epsilon = 0$, $c > 0$; $v_t > 0$; all $t$ | SymPy: the scaled state is carried along |
# | [scale-l2](#scale-l2) | under Adam with L2, gradients times $c$ give the parameters that $\lambda / c$ gives without the factor | $\epsilon = 0$, $c > 0$; $v_t > 0$; all $t$ | SymPy: the scaled state is carried along |
#
# Specifications: [l2](../spec/l2.toml), [weight_decay](../spec/weight_decay.toml),
# [adamw](../spec/adamw.toml), [sgd](../spec/sgd.toml), [adam](../spec/adam.toml).

# %%
import sympy as sp

import refopt
from refopt.arithmetic.identity import equal, holds_by_induction
from refopt.arithmetic.symbols import SYMBOLS
from refopt.rules.adam import adam
from refopt.rules.sgd import sgd
from refopt.variants.weight_decay import weight_decay_free

theta, g = sp.symbols("theta g", real=True)
lr, mu, beta1, beta2, eps, c = sp.symbols("lr mu beta1 beta2 epsilon c", positive=True)
lam, lam_l2, w = sp.symbols("lambda lambda' w", positive=True)
t = sp.Symbol("t", integer=True, positive=True)
i = sp.Symbol("i", integer=True)

# %% [markdown]
# ## Optimizers on symbols
#
# An optimizer takes one step from any state. Its hyperparameters become symbols; everything else is
# as it runs on arrays.


# %%
def symbolic(optimizer, **values):
    """An optimizer with symbols for its real hyperparameters."""
    return optimizer.lifted(lambda name, _: values[name])


def l2_and_decoupled(optimizer, **values):
    """The optimizer with L2 and with decoupled decay."""
    return (
        symbolic(refopt.l2(optimizer), weight_decay=lam_l2, **values),
        symbolic(refopt.weight_decay(optimizer), weight_decay=lam, **values),
    )


with_l2, decoupled = l2_and_decoupled(refopt.sgd(), lr=lr, momentum=sp.Integer(0), dampening=0)
state = {"": {"t": t, "sgd.b": sp.Symbol("b", real=True)}}  # of any number of steps
by_l2, _ = with_l2.step(theta, g, state)
by_decay, _ = decoupled.step(theta, g, state)
by_l2

# %% [markdown]
# ## sgd-equal
#
# Without momentum the direction is what comes in. The step has no memory, so one step from any
# parameter says everything: with $\lambda' = \lambda$ both are the same algorithm, and with any other
# $\lambda'$ they part wherever $\theta \neq 0$. This is why the two names were long used for one thing.

# %%
assert equal(by_decay - by_l2, lr * (lam_l2 - lam) * theta)

# %% [markdown]
# ## sgd-uncoupled
#
# Loshchilov and Hutter decay by $w \theta$ without $lr$, and so does TensorFlow Addons; PyTorch, Optax
# and refopt's canonical form multiply by $lr$. Uncoupled, the equivalent L2 coefficient is $w/lr$. A
# value of $w$ taken over from one convention to the other is wrong by the factor $lr$, a thousand for
# the usual $10^{-3}$, and under a schedule it is wrong by a factor that moves.

# %%
uncoupled = symbolic(
    weight_decay_free(refopt.sgd()), lr=lr, momentum=sp.Integer(0), dampening=0, weight_decay=w
)
by_uncoupled, _ = uncoupled.step(theta, g, state)
assert equal(by_uncoupled - by_l2, (lr * lam_l2 - w) * theta)
assert equal((by_uncoupled - by_l2).subs(lam_l2, w / lr), 0)

# %% [markdown]
# ## Momentum
#
# With momentum $\mu$ the direction is a weighted sum of everything that came in. L2 puts all past
# parameters into that sum; decoupled decay knows the current one alone.

# %%
gs, thetas = sp.IndexedBase("g", real=True), sp.IndexedBase("theta", real=True)


def sum_of(sequence, t):
    """The sum over the past, each term weighted by its age."""
    return sp.Sum(mu ** (t - i) * sequence, (i, 1, t))


def buffer(t, g, b):
    """The momentum buffer after step t of the rule; the first is the gradient itself."""
    return sgd(SYMBOLS, t, g, b, momentum=mu)[1]


with_l2, decoupled = l2_and_decoupled(refopt.sgd(), lr=lr, momentum=mu, dampening=0)
g_1, g_2, b = sp.symbols("g_1 g_2 b", real=True)
before = {"": {"t": t, "sgd.b": b}}  # of any number of steps
sum_of(gs[i] + lam_l2 * thetas[i - 1], t)

# %% [markdown]
# ## momentum-unrolled
#
# By induction on the rule, the buffer is $\sum_i \mu^{t-i} x_i$ for any inputs $x_i$: those of L2 are
# $g_i + \lambda' \theta_{i-1}$. The sum is linear, so what remains when the decoupled direction
# $\sum_i \mu^{t-i} g_i + \lambda \theta_{t-1}$ is taken away contains no gradient any more.

# %%
x = sp.IndexedBase("x", real=True)
assert buffer(1, x[1], sp.Symbol("b")) == x[1]
assert holds_by_induction(
    lambda t: sum_of(x[i], t), first=0, step=lambda t, b: buffer(t + 1, x[t], b), n=t
)
h_l2 = sum_of(gs[i] + lam_l2 * thetas[i - 1], t)
h_decoupled = sum_of(gs[i], t) + lam * thetas[t - 1]
assert equal(h_l2 - h_decoupled, lam_l2 * sum_of(thetas[i - 1], t) - lam * thetas[t - 1])

# %% [markdown]
# ## momentum-no-constant
#
# Suppose both have agreed so far, and $\theta_s$ is the first parameter that is not zero. Until then L2
# has added nothing to the buffer, so both hold the same one, whatever the gradients were. Step $s+1$
# decides $\lambda'$: it must be $\lambda$. In step $s+2$ the buffer of L2 still contains
# $\mu \lambda \theta_s$, which decoupled decay never had. So no constant works for more than one step,
# and the difference is known exactly.

# %%
l2_1, l2_state = with_l2.step(theta, g_1, before)
decay_1, decay_state = decoupled.step(theta, g_1, before)
assert equal(decay_1 - l2_1, lr * (lam_l2 - lam) * theta)

l2_2, _ = with_l2.step(l2_1, g_2, l2_state)
decay_2, _ = decoupled.step(decay_1, g_2, decay_state)
assert equal((decay_2 - l2_2).subs(lam_l2, lam), lr * lam * mu * theta)

# the same from the start, where the first buffer is the gradient itself
l2_1, l2_state = with_l2.step(theta, g_1, with_l2.init(theta))
decay_1, decay_state = decoupled.step(theta, g_1, decoupled.init(theta))
l2_2, _ = with_l2.step(l2_1, g_2, l2_state)
decay_2, _ = decoupled.step(decay_1, g_2, decay_state)
assert equal((decay_2 - l2_2).subs(lam_l2, lam), lr * lam * mu * theta)

# %% [markdown]
# ## momentum-degenerate
#
# The product $lr\, \lambda\, \mu\, \theta_s$ says where the two do agree: one of its factors must vanish.
# A weight that starts at zero is no exception, unless it never gets a gradient: the first step moves
# it away from zero, and the argument starts there.

# %%
l2_1, l2_state = with_l2.step(theta, g_1, before)
decay_1, decay_state = decoupled.step(theta, g_1, before)
b_l2, b_decay = l2_state[""]["sgd.b"], decay_state[""]["sgd.b"]
for agreement in ({mu: 0, lam_l2: lam}, {lam: 0, lam_l2: 0}, {lr: 0}, {theta: 0}):
    assert equal(decay_1.subs(agreement), l2_1.subs(agreement))
assert equal((b_l2 - b_decay).subs(lam_l2, 0), 0)
assert equal((b_l2 - b_decay).subs(theta, 0), 0)

# %% [markdown]
# ## Adam
#
# Adam's first moment is linear in what comes in, so L2's share of it can be followed on its own: it is
# $\lambda n_t$, where $n_t$ is the same moving average of the parameters. Its second moment is not
# linear, and it divides both shares.

# %%
ns = sp.IndexedBase("n", real=True)
m_g, n_theta, v = sp.symbols("m n v", real=True)


def moments(t, g, m, v):
    """Adam's moments after a step."""
    return adam(SYMBOLS, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)[1:]


with_l2, decoupled = l2_and_decoupled(refopt.adam(), lr=lr, beta1=beta1, beta2=beta2, eps=eps)
h, _, _ = adam(SYMBOLS, t, g + lam * theta, m_g, v, beta1=beta1, beta2=beta2, eps=eps)
h

# %% [markdown]
# ## adam-shrinkage
#
# If the first moment is $m_g + \lambda n$ before a step, it is so after it, with $m_g$ and $n$ each
# stepped by the rule on its own. The direction is therefore
# $(\hat m_g + \lambda \hat n)/(\sqrt{\hat v} + \epsilon)$: a weight with large gradients, large
# $\hat v$, is regularised less. Decoupled decay adds $\lambda \theta$ after the division.

# %%
together = moments(t, g + lam * theta, m_g + lam * n_theta, v)
assert equal(together[0], moments(t, g, m_g, v)[0] + lam * moments(t, theta, n_theta, v)[0])

m_hat, n_hat = m_g / (1 - beta1**t), n_theta / (1 - beta1**t)
v_hat = together[1] / (1 - beta2**t)
h, m_after, _ = adam(
    SYMBOLS, t, g + lam * theta, m_g + lam * n_theta, v, beta1=beta1, beta2=beta2, eps=eps
)
part = lam * moments(t, theta, n_theta, v)[0] / (1 - beta1**t) / (sp.sqrt(v_hat) + eps)
rest = moments(t, g, m_g, v)[0] / (1 - beta1**t) / (sp.sqrt(v_hat) + eps)
assert equal(h, rest + part)

decay = refopt.weight_decay.default.function
assert equal(decay(h, theta, weight_decay=lam) - h, lam * theta)

# %% [markdown]
# ## adam-relative-rate
#
# Take two weights of the same value so far, the gradients of one $s$ times those of the other. How
# the direction responds to L2 is $\partial h / \partial \lambda$ at $\lambda = 0$. It has two parts,
# $\hat n / \sqrt{\hat v}$ from the first moment, and one from the change of $\hat v$; both carry the
# factor $1/s$. The weight with the larger gradients decays $s$ times more slowly, though nothing about
# the weight itself is different.

# %%
s = sp.Symbol("s", positive=True)


def rate(scale):
    """How the direction depends on lambda, at lambda = 0, for gradients of that scale.

    The state: a first moment m, an average n of parameters, second moment v + 2*lambda*u, where u
    averages the product of gradient and parameter.
    """
    u = sp.Symbol("u", real=True)
    positive_v = sp.Symbol("v", positive=True)
    m = scale * m_g + lam * n_theta
    second = scale**2 * positive_v + 2 * lam * scale * u
    h, _, _ = adam(SYMBOLS, t, scale * g + lam * theta, m, second, beta1=beta1, beta2=beta2, eps=0)
    return sp.diff(h, lam).subs(lam, 0)


assert equal(s * rate(s), rate(1))

# %% [markdown]
# ## l2-alone
#
# A weight that the loss does not see, a dead unit say, gets nothing but $\lambda \theta$. Adam divides
# that by its own size: the first step is $lr\, \lambda \theta / (\lambda \lvert \theta \rvert +
# \epsilon)$, of length $lr$ for every $\lambda$ and every weight that $\epsilon$ does not outweigh.
# Decoupled, the same weight shrinks by the fraction $lr\, \lambda$.

# %%
after, _ = with_l2.step(theta, sp.Integer(0), with_l2.init(theta))
assert equal(after, theta - lr * lam_l2 * theta / (lam_l2 * sp.Abs(theta) + eps))
assert equal(after.subs({eps: 0, theta: c}), c - lr)
assert equal(after.subs({eps: 0, theta: -c}), -c + lr)

after, _ = decoupled.step(theta, sp.Integer(0), decoupled.init(theta))
assert equal(after, theta - lr * lam * theta)

# %% [markdown]
# ## Scaled gradients

# %%
with_l2, decoupled = l2_and_decoupled(refopt.adam(), lr=lr, beta1=beta1, beta2=beta2, eps=0)
m, v = sp.Symbol("m", real=True), sp.Symbol("v", positive=True)
state = {"": {"t": t, "adam.m": m, "adam.v": v}}


def scaled(state, c):
    """The state of an Adam whose gradients are c times as large."""
    values = state[""]
    return {"": values | {"adam.m": c * values["adam.m"], "adam.v": c**2 * values["adam.v"]}}


# %% [markdown]
# ## scale-decoupled
#
# Multiply the loss, and so all gradients, by $c$. If before a step the moments are $c\,m$ and $c^2 v$
# where they would be $m$ and $v$, then so they are after it, and the direction is the same. Both start
# at zero, so this holds in all steps. Decoupled decay does not look at the gradients: the parameters
# are the same, and $\lambda$ keeps its meaning when a loss is averaged instead of summed.

# %%
plain, after_plain = decoupled.step(theta, g, state)
times_c, after_c = decoupled.step(theta, c * g, scaled(state, c))
assert equal(times_c, plain)
assert all(equal(after_c[""][key], x) for key, x in scaled(after_plain, c)[""].items())

# %% [markdown]
# ## scale-l2
#
# With L2 the scale matters: $c\,g + \lambda \theta = c\,(g + \frac{\lambda}{c} \theta)$, and Adam
# removes the factor in front. Summing a loss over a batch of 256 instead of averaging it weakens the
# regularisation by 256.

# %%
weaker, after_weaker = with_l2.step(theta, g, state)
weaker, after_weaker = (
    weaker.subs(lam_l2, lam_l2 / c),
    {"": {key: sp.sympify(x).subs(lam_l2, lam_l2 / c) for key, x in after_weaker[""].items()}},
)
times_c, after_c = with_l2.step(theta, c * g, scaled(state, c))
assert equal(times_c, weaker)
assert all(equal(after_c[""][key], x) for key, x in scaled(after_weaker, c)[""].items())

# %% [markdown]
# ## Figure
#
# L2 and decoupled decay of the same coefficient, as weights over steps and as the shrinkage of one step
# against the size of the gradients.

# %%
from refopt.report.figures.drawing import decay

decay()
