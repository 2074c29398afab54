# %% [markdown]
# # Layer adaptation: LAMB, LARS and "LAMBW"
#
# With very large batches the learning rate has to be large, and then some layers diverge long before
# others move. Layer adaptation (You et al., LARS, [arXiv:1708.03888](https://arxiv.org/abs/1708.03888),
# and LAMB, [arXiv:1904.00962](https://arxiv.org/abs/1904.00962)) makes every tensor's step as long as
# the learning rate times the tensor. LAMB is `layer_adaptation(weight_decay(adam))`. Readers ask what
# happens if the two variants are exchanged; this notebook shows that it is another algorithm, in
# which weight decay means something else.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [update-norm](#update-norm) | $\lVert \theta_t - \theta_{t-1} \rVert = lr\, \lVert \theta_{t-1} \rVert$, whatever the rule inside | neither $\theta$ nor the direction is zero; tensors of any size | SymPy, on the variant |
# | [relative-change](#relative-change) | $(1 - lr) \lVert \theta_{t-1} \rVert \leq \lVert \theta_t \rVert \leq (1 + lr) \lVert \theta_{t-1} \rVert$ | as before | SymPy, on the variant |
# | [direction-scale](#direction-scale) | directions times $s > 0$ lead to the same step; so gradients times $s$ do for SGD | as before | SymPy, on the composition |
# | [lamb-gradient-scale](#lamb-gradient-scale) | gradients times $s > 0$ lead to the same parameters under LAMB, for every $\lambda$ | $\epsilon = 0$; $m_0 = v_0 = 0$; $v_t > 0$; all $t$ | SymPy: the rule of Adam carries the scaled state along |
# | [lamb-decay](#lamb-decay) | where the rule's direction is zero LAMB shrinks a tensor by the factor $1 - lr$ for every $\lambda > 0$; with the variants exchanged by $1 - lr\, \lambda$ | $\theta \neq 0$; here SGD with a gradient of zero | SymPy, on both compositions |
# | [not-lambw](#not-lambw) | exchanged, the update has the norm $lr \lVert \theta \rVert \sqrt{1 + 2 \lambda \cos\, \varphi + \lambda^2}$ with the angle $\varphi$ between direction and parameter: that of LAMB only for $\lambda = 0$ or $\lambda = -2 \cos\, \varphi$ | neither $\theta$ nor the direction is zero | SymPy, on the composition |
# | [lars-bound](#lars-bound) | the direction of LARS is at most $\eta \lVert \theta \rVert$ long | $\epsilon = 0$; $\theta, g \neq 0$ | SymPy, on the variant; $\cos\, \varphi \leq 1$ in words |
#
# Specification: [layer_adaptation](../spec/layer_adaptation.toml), [lamb](../spec/lamb.toml),
# [lars](../spec/lars.toml).

# %%
from dataclasses import replace

import sympy as sp

import refopt
from refopt.arithmetic.identity import equal
from refopt.arithmetic.symbols import SYMBOLS, total
from refopt.rules.adam import adam

lr, lam, eta, s = sp.symbols("gamma lambda eta s", positive=True)
t = sp.Symbol("t", integer=True, positive=True)
theta, g = sp.symbols("theta g", real=True)
N, G = sp.symbols("N G", positive=True)  # the norms of parameter and gradient
cosine = sp.Symbol("c", real=True)  # of the angle between them, from -1 to 1

# %% [markdown]
# ## One element and all of them
#
# A variant runs on the symbols of one element, and what it sums over the tensor stays open,
# `total(...)`. These sums are linear and of second order in $\theta$ and $g$, so three numbers say all
# about a tensor of any size: $\lVert \theta \rVert^2 = N^2$, $\lVert g \rVert^2 = G^2$ and
# $\langle \theta, g \rangle = N G \cos\, \varphi$. That $\lvert \cos\, \varphi \rvert \leq 1$ is the inequality
# of Cauchy and Schwarz. Where a norm is zero the ratio is one; the claims are about the other case.


# %%
def over_elements(expression):
    """The sum over all elements of an expression of second order."""
    sums = {(2, 0): N**2, (0, 2): G**2, (1, 1): N * G * cosine}
    terms = sp.Poly(sp.expand(expression), theta, g).terms()
    return sum(factor * sums[powers] for powers, factor in terms if factor != 0)


def summed(expression):
    """An expression with its sums over a tensor in terms of norms, where none is zero."""
    other = expression.replace(lambda e: isinstance(e, sp.Piecewise), lambda e: e.args[-1][0])
    return sp.simplify(other.replace(total, over_elements))


def step_of(expression, gradient=g):
    """How far a composition moves an element in its first step."""
    built = refopt.build(expression)
    layers = [
        replace(
            layer,
            hyperparameters={
                k: lam if k == "weight_decay" else v for k, v in layer.hyperparameters.items()
            },
        )
        for layer in built.layers
    ]
    optimizer = replace(built, layers=tuple(layers), lr=lr)
    reached, _ = optimizer.step(theta, gradient, {"": {"t": 0, "sgd.b": sp.Integer(0)}})
    return sp.expand(summed(theta - reached))


adapt = refopt.build("layer_adaptation(sgd)").layers[-1].function
adapted = summed(adapt(SYMBOLS, g, theta))
whole = over_elements((g + lam * theta) ** 2)  # the squared norm of gradient and decay
adapted

# %% [markdown]
# ## update-norm
#
# The direction is divided by its norm and multiplied by that of the parameter, so the norm of the
# result is that of the parameter. What was inside decides where the step goes, never how far. The
# learning rate becomes a relative one: with $lr = 0.01$ every tensor changes by one percent a step.
# For LAMB's own composition, with decay in the direction, it is no different.

# %%
assert equal(over_elements(adapted**2), N**2)
assert equal(over_elements(step_of("layer_adaptation(sgd)") ** 2), (lr * N) ** 2)
assert equal(over_elements(step_of("layer_adaptation(weight_decay(sgd))") ** 2), (lr * N) ** 2)

# %% [markdown]
# ## relative-change
#
# $\lVert \theta - lr\, d \rVert^2 = N^2 - 2\, lr N^2 \cos\, \varphi + lr^2 N^2$ with the angle $\varphi$ between
# parameter and direction $d$. No tensor can explode in one step, and none can vanish if $lr < 1$. Both
# bounds are attained: where the step points along the parameter, or against it.

# %%
squared = over_elements((theta - lr * adapted) ** 2)
assert equal((1 + lr) ** 2 * N**2 - squared, 2 * lr * N**2 * (1 + cosine))  # not negative
assert equal(squared - (1 - lr) ** 2 * N**2, 2 * lr * N**2 * (1 - cosine))  # not negative

# %% [markdown]
# ## direction-scale
#
# A positive factor cancels between the direction and its norm. For a rule whose direction is in
# proportion to the gradient, such as SGD, layer adaptation thus does what Adam does by itself: the size
# of the loss no longer matters.

# %%
assert equal(summed(adapt(SYMBOLS, s * g, theta)), adapted)
assert equal(step_of("layer_adaptation(sgd)", s * g), step_of("layer_adaptation(sgd)"))

# %% [markdown]
# ## lamb-gradient-scale
#
# If the moments are $s$ and $s^2$ times as large, so are the next ones, and without $\epsilon$ the
# direction is the same. Weight decay and layer adaptation only see this direction. The claim needs
# $\epsilon = 0$; LAMB's default of $10^{-6}$ is felt where gradients are that small.

# %%
m = sp.Symbol("m", real=True)
v = sp.Symbol("v", positive=True)
beta1, beta2 = sp.symbols("beta1 beta2", positive=True)
rates = {"beta1": beta1, "beta2": beta2, "eps": 0}
h_1, m_1, v_1 = adam(SYMBOLS, t, g, m, v, **rates)
h_s, m_s, v_s = adam(SYMBOLS, t, s * g, s * m, s**2 * v, **rates)
assert equal(m_s, s * m_1)
assert equal(v_s, s**2 * v_1)
assert equal(h_s, h_1)
assert refopt.build("lamb").hyperparameters()["eps"] == 1e-6

# %% [markdown]
# ## lamb-decay
#
# Inside layer adaptation the decay is part of the direction. If the rule has nothing to say, all of
# the direction is decay, and it is brought to the length $lr \lVert \theta \rVert$ like any other:
# $\lambda$ cancels. A dead layer thus shrinks by $1 - lr$ a step however small $\lambda$ is. Outside, decay
# is what it is in AdamW. Here the rule is SGD with a gradient of zero, which leaves nothing to adapt
# where the decay stands outside.

# %%
assert equal(step_of("layer_adaptation(weight_decay(sgd))", sp.Integer(0)), lr * theta)
assert equal(step_of("weight_decay(layer_adaptation(sgd))", sp.Integer(0)), lr * lam * theta)

# %% [markdown]
# ## not-lambw
#
# Outside, the decay comes on top of a step that already has its full length, so that the update can be
# up to $1 + \lambda$ times as long as LAMB's. The same length would need $\lambda = -2 \cos\, \varphi$ in each
# step, a coincidence. And even then the decay is not the same: in LAMB it shrinks the parameter by
# $lr\, \lambda \lVert \theta \rVert / \lVert h + \lambda \theta \rVert$, which changes all the time; outside, by
# $lr\, \lambda$.

# %%
outside = step_of("weight_decay(layer_adaptation(sgd))")
inside = step_of("layer_adaptation(weight_decay(sgd))")
long = lr**2 * N**2 * (1 + 2 * lam * cosine + lam**2)
assert equal(over_elements(outside**2), long)
assert equal(long - (lr * N) ** 2, lr**2 * N**2 * lam * (2 * cosine + lam))
assert equal(long.subs(cosine, 1), (lr * N * (1 + lam)) ** 2)
assert equal(outside.coeff(theta), lr * lam)
assert equal((sp.diff(inside, theta) / (lr * lam * N)) ** 2, 1 / whole)

# %% [markdown]
# ## lars-bound
#
# LARS adapts the gradient before momentum, and divides by the *sum* of the norms of gradient and decay,
# where LAMB takes the norm of the sum. The sum is the larger one, by the triangle inequality, so LARS's
# direction is at most $\eta \lVert \theta \rVert$ long; it is shorter where gradient and decay point in
# different directions.

# %%
trust_ratio = refopt.build("lars").layers[-1].function
direction = summed(trust_ratio(SYMBOLS, g, theta, eta=eta, weight_decay=lam, eps=0))
squared = over_elements(direction**2)
assert equal(squared, (eta * N) ** 2 * whole / (G + lam * N) ** 2)
assert equal((G + lam * N) ** 2 - whole, 2 * lam * G * N * (1 - cosine))  # not negative
