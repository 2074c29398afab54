# %% [markdown]
# # Which variants commute
#
# Variants go around an optimizer, around each other, in any order: `l2(lookahead(adam))`,
# `lookahead(l2(adam))`. Some pairs are the same algorithm either way; for others the order decides
# what is computed: `layer_adaptation(weight_decay(adam))` is LAMB, and
# `weight_decay(layer_adaptation(adam))` is not. Here is the whole table, each entry proven or refuted
# by running both orders.
#
# A step passes through the stack three times: gradients go inward, the direction comes outward, the new
# parameter goes onward ([refopt/layers.py](../refopt/layers.py)). Each variant acts at one of these
# stages, and that explains nearly all of the table.
#
# | id | statement | hypotheses | how it is checked |
# | --- | --- | --- | --- |
# | [gradient-stage](#gradient-stage) | of the variants that change the gradient only the two linear ones commute, `rescale` and `gradient_centralization` | any rule; those of the table | both orders on symbols, or an exact counterexample |
# | [accumulation](#accumulation) | `gradient_accumulation` commutes with what is linear in the gradient, `l2` included, since the parameter rests within a window; with `beta_tilde` and `layer_adaptation`; with nothing that limits gradients, counts calls or moves the parameter | windows of $k = 2$; any rule | as above |
# | [direction-stage](#direction-stage) | of `weight_decay`, `layer_adaptation` and `apply_every` no two commute: LAMB is not "LAMBW" | any rule | exact counterexamples |
# | [rate-stage](#rate-stage) | schedules, `update_every` and `beta_tilde` commute with each other and with every other variant but accumulation | a schedule is any function of the step; any rule | both orders on symbols |
# | [parameter-stage](#parameter-stage) | `lookahead` and `lazy` do not commute: whether the slow weights of an absent row move depends on the order | $k = 2$; any rule | exact counterexample |
# | [missing](#missing) | `count_missing` commutes with all but accumulation, which takes a missing gradient for zero: what is outside decides | any rule | as above |
# | [across-stages](#across-stages) | variants of different stages commute, but for `lazy`: it does not commute with what turns a zero row of the gradient into another or another into zero, `l2`, `trust_ratio` and `gradient_centralization`, nor with `apply_every`, whose state it holds back | any rule; but accumulation, see there | as above |
# | [complete](#complete) | the table has an entry for every pair of those variants, and each entry is checked by one of these claims | the variants named below | counting |
#
# Hypotheses throughout: matrices of 2 rows and 2 columns and a vector of 2; gradients and parameters
# not zero, but for one row and one missing gradient; windows of 2 calls. *Any rule* is one whose direction
# and new state are unknown functions of step, gradient, state and decay rate, element by element, and
# whose state is any state at the beginning of a window; so what is proven holds in all steps. *Refuted*
# means that two exact numbers differ.
#
# Specifications: all variants and schedules.

# %%
from dataclasses import replace
from itertools import combinations

import numpy as np
import sympy as sp

from refopt.arithmetic.elements import Elements
from refopt.catalog import VARIANTS, build
from refopt.layers import OnLearningRate
from refopt.optimizer import RuleConstructor, VariantConstructor

K = 2  # the length of windows and periods
n = sp.Symbol("n", integer=True, nonnegative=True)

# %% [markdown]
# ## Any rule, any schedule
#
# The rule is a pair of unknown functions: $H$ gives the direction, $S$ the new state. If both orders of
# two variants hand it the same arguments and do the same with what it returns, they agree for every
# rule. A schedule is an unknown function $f$ of the step.

# %%
BETA1 = sp.Symbol("beta1", positive=True)
H, S, f = (sp.Function(name, real=True) for name in "HSf")


def any_rule(xp, t, g, s, *, beta1=BETA1):
    """A rule of which nothing is known but what it reads."""

    def unknown(function):
        each = np.frompyfunc(lambda g, s: function(t, sp.expand(g), s, beta1), 2, 1)
        return Elements(each(Elements(g).values, Elements(s).values))

    return unknown(H), unknown(S)


def any_schedule(t):
    """A schedule of which nothing is known but that it counts steps."""
    return f(t)


ANY_RULE = RuleConstructor(any_rule, 1.0)()
AROUND = {**VARIANTS, "schedule": VariantConstructor(OnLearningRate, any_schedule)}

# %% [markdown]
# ## Both orders on symbols
#
# Every hyperparameter becomes a symbol of its own, every element of parameter, gradient and state too.
# From any state at the beginning of a window both orders take the calls of that window, and are
# compared after each: the parameters always, the states at the end. What gathers within a window
# starts it empty.


# %%
def symbolic(optimizer):
    """An optimizer with a symbol for each hyperparameter of each of its layers."""

    def symbol(layer, name, value):
        if name == "k":
            return K
        return sp.Symbol(f"{name}_{layer.name}", positive=True) if type(value) is float else value

    layers = tuple(
        replace(
            layer,
            hyperparameters={k: symbol(layer, k, v) for k, v in layer.hyperparameters.items()},
        )
        for layer in optimizer.layers
    )
    return replace(optimizer, layers=layers, lr=sp.Symbol("lr", positive=True))


SHAPES = {"a": (2, 2), "b": (2, 2), "c": (2,)}


def array(name, shape, zero_row=None):
    """An array of symbols that are not zero, but for one row."""
    values = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        symbol = sp.Symbol(f"{name}{''.join(map(str, place))}", real=True, nonzero=True)
        values[place] = sp.Integer(0) if place[0] == zero_row else symbol
    return Elements(values)


def gradients(call):
    """Those of a call: a whole matrix, one with a zero row, and a vector that is missing once."""
    return {
        "a": array(f"g{call}_a", SHAPES["a"]),
        "b": array(f"g{call}_b", SHAPES["b"], zero_row=call - 1),
        "c": None if call == 1 else array(f"g{call}_c", SHAPES["c"]),
    }


THETA = {name: array(f"theta_{name}", shape) for name, shape in SHAPES.items()}


def any_state(optimizer, calls):
    """Any state after a number of windows."""

    def value(parameter, key, initial):
        if key == "t":
            return calls * n
        gathers = key.endswith((".mean", ".total"))
        return initial if gathers else array(f"{key}_{parameter}", SHAPES[parameter])

    return {
        name: {key: value(name, key, initial) for key, initial in state.items()}
        for name, state in optimizer.init(THETA).items()
    }


def window(optimizer):
    """The calls after which all windows inside one another begin anew."""
    counting = [
        "k" in layer.hyperparameters and layer.name != "beta_tilde" for layer in optimizer.layers
    ]
    return K ** sum(counting)


def same(x, y):
    """Whether two values, or arrays of them, are the same expressions once multiplied out."""
    pairs = zip(Elements(x).values.ravel(), Elements(y).values.ravel(), strict=True)
    return all(x == y or sp.expand(x - y) == 0 for x, y in pairs)


def proven(one, other):
    """Whether two optimizers do the same to any parameters, from any state, in a whole window."""
    calls = window(one)
    one, other = symbolic(one), symbolic(other)
    theta = theta_other = THETA
    state, state_other = any_state(one, calls), any_state(other, calls)
    for call in range(1, calls + 1):
        theta, state = one.step(theta, gradients(call), state)
        theta_other, state_other = other.step(theta_other, gradients(call), state_other)
        if not all(same(theta[name], theta_other[name]) for name in theta):
            return False
    return all(same(x, state_other[name][key]) for name in state for key, x in state[name].items())


# %% [markdown]
# ## Counterexamples
#
# A refutation needs one rule, some numbers, and one call after which the parameters differ. The rule is
# the moving average of the gradients. All numbers are rational, and norms are roots of rational numbers,
# so that both results are known exactly.

# %%
Q = sp.Rational
NUMBERS = {
    "weight_decay": Q(1, 2), "max_norm": 2, "max_value": Q(3, 2), "scale": Q(1, 3), "alpha": Q(1, 2),
    "eta": Q(1, 3), "eps": Q(1, 10), "momentum": Q(1, 2), "k": K,
}  # fmt: skip
START = {"a": [[2, -1], [Q(3, 2), 4]], "b": [[1, 3], [-2, Q(1, 2)]]}
RUN = [
    {"a": [[1, -2], [3, Q(1, 2)]], "b": [[Q(1, 4), 5], [-3, 2]]},
    {"a": [[0, 0], [2, -1]], "b": None},
    {"a": [[1, 1], [Q(1, 3), Q(1, 5)]], "b": [[0, 0], [2, 2]]},  # two rows of equal elements
    {"a": None, "b": [[4, 0], [0, 1]]},
    {"a": [[-1, 3], [0, 7]], "b": [[1, 0], [5, -2]]},
]


def elements(arrays):
    """The arrays of a tree."""
    return {name: None if x is None else Elements(x) for name, x in arrays.items()}


def numeric(optimizer):
    """An optimizer with those numbers."""
    layers = tuple(
        replace(layer, hyperparameters={name: NUMBERS[name] for name in layer.hyperparameters})
        for layer in optimizer.layers
    )
    return replace(optimizer, layers=layers, lr=Q(1, 4))


def counterexample(one, other):
    """The first call after which an element differs, and its two values; None if none does."""
    one, other = numeric(one), numeric(other)
    theta = theta_other = elements(START)
    state, state_other = one.init(theta), other.init(theta)
    for call, given in enumerate(RUN, start=1):
        theta, state = one.step(theta, elements(given), state)
        theta_other, state_other = other.step(theta_other, elements(given), state_other)
        for name, x in theta.items():
            for left, right in zip(x.values.ravel(), theta_other[name].values.ravel(), strict=True):
                difference = (left - right).replace(f, lambda t: 1 / (t + 1))
                if abs(sp.N(difference, 20)) > Q(1, 10**10):  # twenty digits of an exact number
                    return call, left, right
    return None


# %% [markdown]
# ## The table
#
# `+` says that both orders are the same algorithm, `x` that they are not.

# %%
TABLE = """
rescale                 + x x x x x + + + + + + + + + +
gradient_centralization   x x x x x + + + + + + + + x +
clip_by_value               x x x x x + + + + + + + + +
clip_by_norm                  x x x x + + + + + + + + +
clip_by_global_norm             x x x + + + + + + + + +
l2                                x + + + + + + + + x +
trust_ratio                         x + + + + + + + x +
gradient_accumulation                 x + x x x + x x x
weight_decay                            x x + + + + + +
layer_adaptation                          x + + + + + +
apply_every                                 + + + + x +
schedule                                      + + + + +
update_every                                    + + + +
beta_tilde                                        + + +
lookahead                                           x +
lazy                                                  +
count_missing
"""
NAMES = [line.split()[0] for line in TABLE.split("\n") if line]
COMMUTE = {
    frozenset((row, column)): mark == "+"
    for row, *marks in (line.split() for line in TABLE.split("\n") if line)
    for column, mark in zip(NAMES[NAMES.index(row) + 1 :], marks, strict=True)
}


class Grid:
    """The table as a page shows it."""

    def _repr_html_(self):
        def cell(row, column):
            if row == column:
                return "<td></td>"
            commute = COMMUTE[frozenset((row, column))]
            return f"<td>{'=' if commute else '<b>≠</b>'}</td>"

        head = "".join(f"<th>{i}</th>" for i in range(1, len(NAMES) + 1))
        rows = "".join(
            f"<tr><th>{i}&nbsp;{row}</th>{''.join(cell(row, column) for column in NAMES)}</tr>"
            for i, row in enumerate(NAMES, start=1)
        )
        return f"<table><tr><th></th>{head}</tr>{rows}</table>"


Grid()

# %% [markdown]
# ## Stages

# %%
LINEAR = {"rescale", "gradient_centralization"}
LIMITS = {"clip_by_value", "clip_by_norm", "clip_by_global_norm"}
GRADIENT = LINEAR | LIMITS | {"l2", "trust_ratio"}
DIRECTION = {"weight_decay", "layer_adaptation", "apply_every"}
RATE = {"schedule", "update_every", "beta_tilde"}
PARAMETER = {"lookahead", "lazy"}


def pairs(some, others=None):
    """The pairs of two groups, or within one."""
    if others is None:
        return {frozenset(pair) for pair in combinations(some, 2)}
    return {frozenset((x, y)) for x in some for y in others if x != y}


WINDOW = pairs({"gradient_accumulation"}, NAMES)
MISSING = pairs({"count_missing"}, NAMES) - WINDOW
WITHIN_RATE = pairs(RATE, NAMES) - WINDOW - MISSING
ACROSS = pairs(GRADIENT, DIRECTION) | pairs(GRADIENT, PARAMETER) | pairs(DIRECTION, PARAMETER)


def stacked(names, rule):
    """Both orders of two variants around a rule."""
    inner, outer = (AROUND[name] for name in sorted(names))
    return outer(inner(rule)), inner(outer(rule))


def wrong_entries(some):
    """The pairs that are not proven where the table says so, or not refuted where not."""
    return [
        sorted(pair)
        for pair in some
        if not (
            proven(*stacked(pair, ANY_RULE))
            if COMMUTE[pair]
            else counterexample(*stacked(pair, build("sgd_ema")))
        )
    ]


# %% [markdown]
# ## gradient-stage
#
# Scaling a gradient and subtracting its row means are linear maps, and these two commute. A limit is
# not linear: clipping after halving is not halving after clipping. L2 adds a term that the others then
# see or do not see; MXNet clips before it adds the decay, others after.

# %%
within = pairs(GRADIENT)
assert {pair for pair in within if COMMUTE[pair]} == pairs(LINEAR)
assert wrong_entries(within) == []

# %% [markdown]
# ## accumulation
#
# The mean of scaled gradients is the scaled mean; the mean of $g_i + \lambda \theta$ is the mean plus
# $\lambda \theta$, because nothing inside moves the parameter before the window is complete. The mean of
# clipped gradients is not the clipped mean: Keras clips after averaging. Around a window, decay and
# schedules count calls; inside they count steps, so a decay outside acts $k$ times as often.

# %%
commuting = {*LINEAR, "l2", "beta_tilde", "layer_adaptation"}
assert {pair for pair in WINDOW if COMMUTE[pair]} == pairs({"gradient_accumulation"}, commuting)
assert wrong_entries(WINDOW) == []

# %% [markdown]
# ## direction-stage
#
# LAMB adds the decay to the direction, and then scales the sum to the norm of the parameter: the length
# of the step is fixed, decay only turns it. Outside, decay is not scaled, and the length of the step
# changes. Gathering directions does not commute with either, since both look at the parameter.

# %%
assert not any(COMMUTE[pair] for pair in pairs(DIRECTION))
assert wrong_entries(pairs(DIRECTION)) == []

# %% [markdown]
# ## rate-stage
#
# These read nothing that the others change: a schedule reads the count of steps, $\tilde\beta$ the decay
# rates. They commute with each other and with everything else, as long as both orders count the same
# steps; with accumulation they do not, see above.

# %%
assert all(COMMUTE[pair] for pair in WITHIN_RATE)
assert wrong_entries(WITHIN_RATE) == []

# %% [markdown]
# ## parameter-stage
#
# Around Lookahead, `lazy` holds back the slow weights of an absent row as well. Inside, Lookahead
# synchronises that row even if it was absent in the step of the synchronisation.

# %%
assert wrong_entries(pairs(PARAMETER)) == []
assert not any(COMMUTE[pair] for pair in pairs(PARAMETER))

# %% [markdown]
# ## missing
#
# Whether a missing gradient advances the step count is a question to the whole stack, not to a place in
# it. Only accumulation has another answer of its own, a gradient of zero, and the outer of the two
# decides.

# %%
assert all(COMMUTE[pair] for pair in MISSING)
assert wrong_entries(MISSING) == []

# %% [markdown]
# ## across-stages
#
# What changes the gradient and what changes the direction do not meet. The exception is `lazy`: it asks
# whether a row of *the gradient that reaches it* is zero. L2 fills absent rows with decay;
# centralization empties rows of equal elements. Outside of them, `lazy` sees the true gradient. And
# around `apply_every` it holds back what was gathered for an absent row, inside it does not.

# %%
exceptions = {pair for pair in ACROSS if not COMMUTE[pair]}
assert exceptions == pairs(
    {"lazy"}, {"l2", "trust_ratio", "gradient_centralization", "apply_every"}
)
assert wrong_entries(ACROSS) == []

# %% [markdown]
# ## complete
#
# Every pair has an entry, and the groups above cover them all, each once.

# %%
groups = [pairs(GRADIENT), WINDOW, pairs(DIRECTION), WITHIN_RATE, pairs(PARAMETER), MISSING, ACROSS]
assert set().union(*groups) == pairs(NAMES) == set(COMMUTE)
assert sum(map(len, groups)) == len(COMMUTE)
