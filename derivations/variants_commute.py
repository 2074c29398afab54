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
# | [accumulation](#accumulation) | `gradient_accumulation` commutes with what is linear in the gradient, `l2` included, since the parameter rests within a window; with `beta_tilde` and `layer_adaptation`; with nothing that limits gradients, counts calls or moves the parameter. The deferred form, whose step count is that of calls, commutes with schedules and `update_every` as well, but not with `l2` | windows of any length; any rule | as above, by induction over the calls of a window |
# | [direction-stage](#direction-stage) | of `weight_decay`, its corrected form, `layer_adaptation` and `apply_every` only the two decays commute: LAMB is not "LAMBW" | any rule | as above |
# | [rate-stage](#rate-stage) | schedules, `update_every` and `beta_tilde` commute with each other and with every other variant but accumulation and, the first two, the decays that read the learning rate by themselves: before the step and after it | a schedule is any function of the step; periods of any length; any rule | as above |
# | [parameter-stage](#parameter-stage) | of the variants that change the parameter after the step, only decays of the new parameter commute with each other, the one that no learning rate scales with the forms of Lookahead whose slow weights do not start at the parameter, and the two forms of `lazy` | windows of any length, each its own; any rule | as above |
# | [missing](#missing) | `count_missing` commutes with all but accumulation, which takes a missing gradient for zero: what is outside decides | any rule | as above |
# | [across-stages](#across-stages) | variants of different stages commute, but for `lazy`: neither form commutes with what turns a zero row of the gradient into another or another into zero, `l2`, `trust_ratio` and `gradient_centralization`; the one that holds back state does not with `apply_every`, which has some; and decay before the step commutes with nothing that reads the parameter | any rule; but accumulation and rates, see there | as above |
# | [complete](#complete) | the table has an entry for every pair of those variants, and each entry is checked by one of these claims; every variant of the catalog is in it, schedules as one | the variants named below | counting |
#
# Hypotheses throughout: matrices of 2 rows and 2 columns and vectors of 2; gradients and parameters
# not zero, but for a row, an element and a missing gradient. *Any rule* is one whose direction and new
# state are unknown functions of step, gradient, state and decay rate, element by element. *Proven*
# means that both orders take the same step from any state, at any step, with windows and periods of any
# length, and reach states that are related as before, so that what is proven holds in all steps.
# *Refuted* means that two exact numbers differ after some calls at some learning rates, with windows of
# two or three calls: the pair does not commute for all lengths. For which others it might, as windows
# of one call do with nearly everything, is left open.
#
# Specifications: all variants and schedules.

# %%
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import sympy as sp

from refopt.arithmetic.elements import EXACT, Elements
from refopt.catalog import VARIANTS, build
from refopt.layers import OnLearningRate
from refopt.optimizer import RuleConstructor, VariantConstructor

t, j = sp.symbols("t j", integer=True, positive=True)

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
# Every hyperparameter becomes a symbol of its own, every element of parameter, gradient and state too,
# and both orders take one step from any state. Variants that count ask one thing of the step, whether a
# window ends (or begins) with it. Either it does: then $k$ divides $t$, and is written $t/n$. Or it does
# not: then $k$ is a symbol of which nothing is known, and no remainder is zero. Two forms do in the first
# step what they do in no other; with them it is taken besides, $t = 1$ from the initial state.


# %%
def counts(layer):
    """Whether a layer asks for the place of a step in a window."""
    return "k" in layer.hyperparameters and "t" in layer.arguments


FROM_THE_FIRST = {
    "gradient_accumulation_deferred", "lookahead_from_zero", "lookahead_from_first_step"
}  # fmt: skip
"""Those that act in the steps 1, k + 1, 2k + 1, ..."""
IN_THE_FIRST = {"lookahead_from_first_step", "lookahead_after_first_step"}
"""Those that ask whether a step is the first."""


def lengths(names, step, acting):
    """The length of each window, so that a step is one of those in which the layer acts or not."""
    found = {}
    for name, acts in zip(names, acting, strict=True):
        length = sp.Symbol(f"k_{name}", integer=True, positive=True)
        count = sp.Symbol(f"n_{name}", integer=True, positive=True)
        if acts and step == t:
            length = (t - 1 if name in FROM_THE_FIRST else t) / count
        elif acts and name not in FROM_THE_FIRST:
            length = sp.Integer(1)
        found[name] = length
    return found


def cases(optimizer):
    """Each kind of step that the layers can tell apart: the step, and the lengths of windows."""
    names = [layer.name for layer in optimizer.layers if counts(layer)]
    steps = (sp.Integer(1), t) if IN_THE_FIRST.intersection(names) else (t,)
    for step, acting in product(steps, product((True, False), repeat=len(names))):
        waiting = {name for name, acts in zip(names, acting, strict=True) if not acts}
        if step == t or not waiting & FROM_THE_FIRST:
            yield step, lengths(names, step, acting), waiting


def symbolic(optimizer, lengths):
    """An optimizer with a symbol for each hyperparameter of each of its layers."""

    def symbol(layer, name, value):
        if name == "k" and layer.name in lengths:
            return lengths[layer.name]
        known = {"positive": True, "integer": name == "k" or None}
        return value if isinstance(value, bool) else sp.Symbol(f"{name}_{layer.name}", **known)

    layers = tuple(
        replace(
            layer,
            hyperparameters={k: symbol(layer, k, v) for k, v in layer.hyperparameters.items()},
        )
        for layer in optimizer.layers
    )
    return replace(optimizer, layers=layers, lr=sp.Symbol("lr", positive=True))


SHAPES = {"a": (2, 2), "b": (2, 2), "c": (2,), "d": (2,)}


def array(name, shape, zero_row=None):
    """An array of symbols that are not zero, but for one row."""
    values = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        symbol = sp.Symbol(f"{name}{''.join(map(str, place))}", real=True, nonzero=True)
        values[place] = sp.Integer(0) if place[0] == zero_row else symbol
    return Elements(values)


# a whole matrix, one with a zero row, a vector that is missing, and one with a zero
GRADIENTS = {
    "a": array("g_a", SHAPES["a"]),
    "b": array("g_b", SHAPES["b"], zero_row=0),
    "c": None,
    "d": array("g_d", SHAPES["d"], zero_row=0),
}
THETA = {name: array(f"theta_{name}", shape) for name, shape in SHAPES.items()}


def any_state(optimizer, steps):
    """Any state after some steps; before the first one, the initial state."""
    initial = optimizer.init(THETA)
    if steps == 0:
        return initial
    return {
        name: {key: steps if key == "t" else array(f"{key}_{name}", SHAPES[name]) for key in state}
        for name, state in initial.items()
    }


def same(x, y):
    """Whether two values, or arrays of them, are the same expressions once multiplied out."""
    pairs = zip(Elements(x).values.ravel(), Elements(y).values.ravel(), strict=True)
    return all(x == y or sp.expand(x - y) == 0 or are_one_by_cases(x, y) for x, y in pairs)


def are_one_by_cases(x, y):
    """Whether two expressions with case distinctions are the same in each case."""
    return (x - y).has(sp.Piecewise) and sp.simplify(sp.piecewise_fold(x - y)) == 0


# %% [markdown]
# ## What both orders keep
#
# Where both orders hold the same state after each step, that is all of the induction. Some pairs commute
# though what they hold differs: inside `rescale` a window gathers scaled gradients, outside raw ones.
# Then the states are related by the variant itself, and by `l2` with the part $j/k$ of its term after
# $j$ calls. A Lookahead around a decay of the new parameter holds slow weights that are decayed once
# more than those of one inside it.


# %%
WINDOW = {"gradient_accumulation", "gradient_accumulation_deferred"}


def keeping(first, second, gathered):
    """What the second order keeps, from what the first one does, which has `second` outside.

    Within a window `gathered` parts of it are in.
    """
    inner, outer = (symbolic(AROUND[name](ANY_RULE), {}).layers[-1] for name in (first, second))
    if second in WINDOW and first == "rescale":
        return lambda x, theta: inner.function(x, **inner.hyperparameters)
    if second in WINDOW and first == "gradient_centralization":
        return lambda x, theta: inner.function(EXACT, x)
    if second in WINDOW and first == "l2":
        return lambda x, theta: x + gathered * inner.hyperparameters["weight_decay"] * theta
    if first.startswith("lookahead_") and second == "weight_decay_free_after":
        return lambda x, theta: (1 - outer.hyperparameters["weight_decay"]) * x
    return lambda x, theta: x


def related(states, theta, relation):
    """The states of the second order, from those of the first."""
    return {
        name: {
            key: relation(x, theta[name]) if key.endswith((".mean", ".total", ".slow")) else x
            for key, x in state.items()
        }
        for name, state in states.items()
    }


def proven(first, second):
    """Whether both orders of two variants do the same in any step from any state."""
    order = AROUND[second](AROUND[first](ANY_RULE))
    exchanged = AROUND[first](AROUND[second](ANY_RULE))
    for step, windows, waiting in cases(order):
        one, other = symbolic(order, windows), symbolic(exchanged, windows)
        # of a window that is not complete any number of calls are in, of another one all of them
        part = 1 / windows[second] if second in WINDOW else 0
        gathered = (1 if step == 1 else j) * part if second in waiting else 1
        state = any_state(one, step - 1)
        state_other = related(state, THETA, keeping(first, second, gathered - part))
        theta, state = one.step(THETA, GRADIENTS, state)
        theta_other, state_other = other.step(THETA, GRADIENTS, state_other)
        is_empty = second == "gradient_accumulation" and second not in waiting
        expected = state if is_empty else related(state, theta, keeping(first, second, gathered))
        if not all(same(x, theta_other[name]) for name, x in theta.items()):
            return False
        if not all(same(x, state_other[n][key]) for n in state for key, x in expected[n].items()):
            return False
    return True


# %% [markdown]
# ## Counterexamples
#
# A refutation needs one rule, some numbers, and one call after which the parameters differ. The rule is
# the moving average of the gradients. All numbers are rational, and norms are roots of rational numbers,
# so that both results are known exactly. The learning rate changes from call to call, and windows have
# two or three calls.

# %%
Q = sp.Rational
NUMBERS = {
    "weight_decay": Q(1, 2), "max_norm": 2, "max_value": Q(3, 2), "scale": Q(1, 3), "alpha": Q(1, 2),
    "eta": Q(1, 3), "eps": Q(1, 10), "momentum": Q(1, 2), "beta1": Q(1, 2), "beta2": Q(3, 4),
}  # fmt: skip
START = {"a": [[2, -1], [Q(3, 2), 4]], "b": [[1, 3], [-2, Q(1, 2)]]}
RUN = [
    {"a": [[1, -2], [3, Q(1, 2)]], "b": [[Q(1, 4), 5], [-3, 2]]},
    {"a": [[0, 0], [2, -1]], "b": None},
    {"a": [[1, 1], [Q(1, 3), Q(1, 5)]], "b": [[0, 0], [2, 2]]},  # two rows of equal elements
    {"a": None, "b": [[4, 0], [0, 1]]},
    {"a": [[-1, 3], [0, 7]], "b": [[1, 0], [5, -2]]},
    {"a": [[0, 0], [1, 2]], "b": None},
    {"a": [[2, 1], [0, 0]], "b": [[0, 0], [1, -3]]},
]


def elements(arrays):
    """The arrays of a tree."""
    return {name: None if x is None else Elements(x) for name, x in arrays.items()}


def numeric(optimizer, lengths):
    """An optimizer with those numbers, and windows of those lengths."""

    def number(layer, name):
        return lengths[layer.name] if name == "k" else NUMBERS[name]

    layers = tuple(
        replace(
            layer, hyperparameters={name: number(layer, name) for name in layer.hyperparameters}
        )
        for layer in optimizer.layers
    )
    return replace(optimizer, layers=layers)


def apart(one, other):
    """The first call after which an element differs, and its two values; None if none does."""
    theta = theta_other = elements(START)
    state, state_other = one.init(theta), other.init(theta)
    for call, given in enumerate(RUN, start=1):
        rate = Q(1, 3 + call % 5)
        theta, state = one.step(theta, elements(given), state, lr=rate)
        theta_other, state_other = other.step(theta_other, elements(given), state_other, lr=rate)
        for name, x in theta.items():
            for left, right in zip(x.values.ravel(), theta_other[name].values.ravel(), strict=True):
                difference = (left - right).replace(f, lambda t: 1 / (t + 1))
                if abs(sp.N(difference, 20)) > Q(1, 10**10):  # twenty digits of an exact number
                    return call, left, right
    return None


def counterexample(first, second):
    """Where both orders of two variants differ; None if they do not, at any of those lengths."""
    rule = build("sgd_ema")
    orders = AROUND[second](AROUND[first](rule)), AROUND[first](AROUND[second](rule))
    for lengths in product((2, 3), repeat=2):
        named = dict(zip((first, second), lengths, strict=True))
        found = apart(*(numeric(order, named) for order in orders))
        if found:
            return found
        if not any("k" in layer.hyperparameters for layer in orders[0].layers):
            return None
    return None


# %% [markdown]
# ## The table
#
# `+` says that both orders are the same algorithm, `x` that they are not, at some lengths of windows at
# least. Forms of a variant, such as the five of Lookahead, have names of their own.

# %%
TABLE = """
rescale                        + x x x x x x x + + + + + + + + + + + + + + + + + + + + + +
gradient_centralization          x x x x x x x + + + + + + + + + + + + + + + + + + + x x +
clip_by_value                      x x x x x x x x + + + + + + + + + + + + + + + + + + + +
clip_by_norm                         x x x x x x x + + + + + + + + + + + + + + + + + + + +
clip_by_global_norm                    x x x x x x + + + + + + + + + + + + + + + + + + + +
clip_by_global_norm_offset               x x x x x + + + + + + + + + + + + + + + + + + + +
l2                                         x x + x x + + + + + + + + + + + + + + + + x x +
trust_ratio                                  x x x x + + + + + + + + + + + + + + + + x x +
trust_ratio_of_sum                             x x x + + + + + + + + + + + + + + + + x x +
gradient_accumulation                            x x x x + x x x + x x x x x x x x x x x x
gradient_accumulation_deferred                     x x x + x + + + x x x x x x x x x x x x
weight_decay_before                                  x x x + x x + + + x + + + + + + x x +
weight_decay                                           + x x + + + + + + + + + + + + + + +
weight_decay_corrected                                   x x + + + + + + + + + + + + + + +
layer_adaptation                                           x + + + + + + + + + + + + + + +
apply_every                                                  + + + + + + + + + + + + + x +
schedule                                                       + + x x + + + + + + + + + +
update_every                                                     + x x + + + + + + + + + +
beta_tilde                                                         + + + + + + + + + + + +
weight_decay_after                                                   + x + x x x x x x x +
weight_decay_after_corrected                                           x + x x x x x x x +
weight_decay_free                                                        x x x x x x x x +
weight_decay_free_after                                                    x + + + + x x +
lookahead                                                                    x x x x x x +
lookahead_from_zero                                                            x x x x x +
lookahead_from_first_step                                                        x x x x +
lookahead_after_first_step                                                         x x x +
lookahead_from_first_period                                                          x x +
lazy_parameter                                                                         + +
lazy                                                                                     +
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
            commute = row == column or COMMUTE[frozenset((row, column))]
            shown = "" if row == column else "=" if commute else "<b>≠</b>"
            return f"<td {narrow}>{shown}</td>"

        narrow = "style='padding: 1px; text-align: center'"
        head = "".join(f"<th {narrow}>{i}</th>" for i in range(1, len(NAMES) + 1))
        rows = "".join(
            f"<tr><th style='padding: 1px'>{i}&nbsp;{row}</th>{''.join(cell(row, column) for column in NAMES)}</tr>"
            for i, row in enumerate(NAMES, start=1)
        )
        return f"<table style='font-size: 80%'><tr><th></th>{head}</tr>{rows}</table>"


Grid()

# %% [markdown]
# ## Stages

# %%
LINEAR = {"rescale", "gradient_centralization"}
LIMITS = {"clip_by_value", "clip_by_norm", "clip_by_global_norm", "clip_by_global_norm_offset"}
ON_ROWS = {"gradient_centralization", "l2", "trust_ratio", "trust_ratio_of_sum"}
GRADIENT = LINEAR | LIMITS | ON_ROWS
BEFORE = {"weight_decay_before"}
DIRECTION = {"weight_decay", "weight_decay_corrected", "layer_adaptation", "apply_every"}
RATE = {"schedule", "update_every", "beta_tilde"}
LOOKAHEADS = {name for name in NAMES if name.startswith("lookahead")}
LAZY = {"lazy", "lazy_parameter"}
AFTER = {
    "weight_decay_after", "weight_decay_after_corrected", "weight_decay_free_after"
}  # fmt: skip
PARAMETER = AFTER | {"weight_decay_free"} | LOOKAHEADS | LAZY


def pairs(some, others=None):
    """The pairs of two groups, or within one."""
    if others is None:
        return {frozenset(pair) for pair in combinations(some, 2)}
    return {frozenset((x, y)) for x in some for y in others if x != y}


WITH_WINDOW = pairs(WINDOW, NAMES)
MISSING = pairs({"count_missing"}, NAMES) - WITH_WINDOW
WITH_RATE = pairs(RATE, NAMES) - WITH_WINDOW - MISSING
STAGES = (GRADIENT, BEFORE, DIRECTION, PARAMETER)
ACROSS = set().union(*(pairs(*stages) for stages in combinations(STAGES, 2)))


def commuting(some):
    """The pairs that commute, as the table says."""
    return {pair for pair in some if COMMUTE[pair]}


def wrong_entries(some):
    """The pairs that are not proven where the table says so, or not refuted where not."""
    wrong = []
    for pair in some:
        names = sorted(sorted(pair), key=lambda name: name in WINDOW)  # windows outside
        if not (proven(*names) if COMMUTE[pair] else counterexample(*names)):
            wrong.append(names)
    return wrong


# %% [markdown]
# ## gradient-stage
#
# Scaling a gradient and subtracting its row means are linear maps, and these two commute. A limit is
# not linear: clipping after halving is not halving after clipping. L2 adds a term that the others then
# see or do not see; MXNet clips before it adds the decay, others after.

# %%
within = pairs(GRADIENT)
assert commuting(within) == pairs(LINEAR)
assert wrong_entries(within) == []

# %% [markdown]
# ## accumulation
#
# The mean of scaled gradients is the scaled mean; the mean of $g_i + \lambda \theta$ is the mean plus
# $\lambda \theta$, because nothing inside moves the parameter before the window is complete. The mean of
# clipped gradients is not the clipped mean: Keras clips after averaging. Around a window, decay and
# schedules count calls; inside they count steps, so a decay outside acts $k$ times as often. The form
# that steps at the first call of the next window counts calls inside as well, so that schedules do not
# mind; but its parameter moves between the gradient of that call and those that follow, which `l2` does.

# %%
indifferent = {*LINEAR, "beta_tilde", "layer_adaptation"}
assert commuting(WITH_WINDOW) == (
    pairs({"gradient_accumulation"}, indifferent | {"l2"})
    | pairs({"gradient_accumulation_deferred"}, indifferent | {"schedule", "update_every"})
)
assert wrong_entries(WITH_WINDOW) == []

# %% [markdown]
# ## direction-stage
#
# LAMB adds the decay to the direction, and then scales the sum to the norm of the parameter: the length
# of the step is fixed, decay only turns it. Outside, decay is not scaled, and the length of the step
# changes. Gathering directions does not commute with either, since both look at the parameter. Two decays
# are two terms of a sum.

# %%
assert commuting(pairs(DIRECTION)) == pairs({"weight_decay", "weight_decay_corrected"})
assert wrong_entries(pairs(DIRECTION)) == []

# %% [markdown]
# ## rate-stage
#
# These read nothing that the others change: a schedule reads the count of steps, $\tilde\beta$ the decay
# rates. They commute with each other and with everything else, as long as both orders count the same
# steps, as with accumulation they do not, see above. But a decay that multiplies by the learning rate
# itself, before or after the step, sees the scheduled one inside a schedule and the plain one outside.
# Inside the direction, the canonical form, decay is scaled with everything else wherever it stands.

# %%
reading = BEFORE | {"weight_decay_after", "weight_decay_after_corrected"}
assert WITH_RATE - commuting(WITH_RATE) == pairs({"schedule", "update_every"}, reading)
assert wrong_entries(WITH_RATE) == []

# %% [markdown]
# ## parameter-stage
#
# Around Lookahead, `lazy` holds back the slow weights of an absent row as well. Inside, Lookahead
# synchronises that row even if it was absent in the step of the synchronisation. A decay of the new
# parameter is a factor, and factors commute. Slow weights that start at the parameter are decayed by one
# order at the first synchronisation and not by the other; slow weights that start at zero, or are set in
# some step, are scaled by the factor for ever, unless it changes with the learning rate.

# %%
assert commuting(pairs(PARAMETER)) == (
    pairs(AFTER) | pairs(LAZY) | pairs({"weight_decay_free_after"}, LOOKAHEADS - {"lookahead"})
)
assert wrong_entries(pairs(PARAMETER)) == []

# %% [markdown]
# ## missing
#
# Whether a missing gradient advances the step count is a question to the whole stack, not to a place in
# it. Only accumulation has another answer of its own, a gradient of zero, and the outer of the two
# decides.

# %%
assert commuting(MISSING) == MISSING
assert wrong_entries(MISSING) == []

# %% [markdown]
# ## across-stages
#
# What changes the gradient and what changes the direction do not meet. The exception is `lazy`: it asks
# whether a row of *the gradient that reaches it* is zero. L2 fills absent rows with decay;
# centralization empties rows of equal elements. Outside of them, `lazy` sees the true gradient. And
# around `apply_every` it holds back what was gathered for an absent row, inside it does not; the form
# that holds back the parameter alone does not touch that. Decay before the step changes the parameter
# that all inside see and none outside, so it commutes with what reads no parameter.

# %%
reading = {
    "l2", "trust_ratio", "trust_ratio_of_sum", "weight_decay", "weight_decay_corrected",
    "layer_adaptation", "weight_decay_free",
} | LAZY  # fmt: skip
exceptions = ACROSS - commuting(ACROSS)
assert exceptions == (
    pairs(LAZY, ON_ROWS) | pairs({"lazy"}, {"apply_every"}) | pairs(BEFORE, reading)
)
assert wrong_entries(ACROSS) == []

# %% [markdown]
# ## complete
#
# Every pair has an entry, and the groups above cover them all, each once.

# %%
groups = [pairs(some) for some in STAGES] + [WITH_WINDOW, WITH_RATE, MISSING, ACROSS]
assert set().union(*groups) == pairs(NAMES) == set(COMMUTE)
assert sum(map(len, groups)) == len(COMMUTE)
scheduled = {
    name
    for name, variant in VARIANTS.items()
    if isinstance(variant.default, OnLearningRate) and name != "update_every"
}
assert set(VARIANTS) - scheduled == set(NAMES) - {"schedule"}
