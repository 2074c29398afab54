"""Stacks of variants: which orders are the same, what the others mean, and who takes part.

Where two expressions are the same algorithm, values are such that float64 gives the same bits.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scalars import stepped, trace

import refopt
from refopt.catalog import build
from refopt.optimizer import Optimizer

GRADIENTS = st.lists(st.integers(-16, 16).map(float), min_size=1, max_size=8)
RULES = ("sgd(lr=0.5, momentum=0.5)", "sgd_lr_inside(lr=0.5, momentum=0.5)", "adam(lr=0.5)")


def nested(variants: tuple[str, ...], rule: str) -> str:
    """An expression with the first variant innermost; ``_`` stands for what is inside."""
    for variant in variants:
        rule = variant.replace("_, ", f"{rule}, ").replace("(_)", f"({rule})")
    return rule


# Stages

STAGES = {
    "gradient": (
        "clip_by_value(_, max_value=4.0)",
        "rescale(_, scale=0.25)",
        "l2(_, weight_decay=0.5)",
    ),
    "direction": (
        "weight_decay(_, weight_decay=0.25)",
        "layer_adaptation(_)",
        "apply_every(_, k=2)",
    ),
    "rate": (
        "update_every(_, k=2)",
        "piecewise_linear(_, schedule={1: 0.5, 4: 1.0})",
    ),
    "parameter": ("lookahead(_, k=2, alpha=0.5)",),
    "decay rates": ("beta_tilde(_, k=4)",),
}


@pytest.mark.parametrize("stages", [*combinations(STAGES, 2)], ids="-".join)
@given(data=st.data(), rule=st.sampled_from(RULES), gradients=GRADIENTS)
def test_variants_of_different_stages_commute(
    stages: tuple[str, str], data: Any, rule: str, gradients: list[float]
) -> None:
    pair = tuple(data.draw(st.sampled_from(STAGES[stage])) for stage in stages)
    one, other = nested(pair, rule), nested(pair[::-1], rule)
    assert stepped(one, gradients, 8.0) == stepped(other, gradients, 8.0)


@given(data=st.data(), gradients=GRADIENTS)
def test_one_variant_of_each_stage_in_any_order(data: Any, gradients: list[float]) -> None:
    chosen = tuple(data.draw(st.sampled_from(stage)) for stage in STAGES.values())
    shuffled = tuple(data.draw(st.permutations(chosen)))
    rule = "adam(lr=0.5)"
    thetas = stepped(nested(chosen, rule), gradients, 8.0)
    assert stepped(nested(shuffled, rule), gradients, 8.0) == thetas


# Each with gradients and a parameter by which the order shows, and both results by hand.
@pytest.mark.parametrize(
    ("inner", "outer", "inside", "outside"),
    [
        # 8 + 0.5*8 limited to 4, or 8 limited to 4 and decayed
        ("clip_by_value(_, max_value=4.0)", "l2(_, weight_decay=0.5)", 8 - 4, 8 - 8),
        # 0.25*(8 + 4), or 0.25*8 + 4
        ("rescale(_, scale=0.25)", "l2(_, weight_decay=0.5)", 8 - 3, 8 - 6),
        # LAMBW: 8/8*8 + 0.5*8, or LAMB: (8 + 4)*8/12
        ("layer_adaptation(_)", "weight_decay(_, weight_decay=0.5)", 8 - 12, 8 - 8),
        # 0.5*(8 - 8), or half of the way to 0.5*8 - 8
        ("weight_decay_after(_, weight_decay=0.5)", "lookahead(_, k=1, alpha=0.5)", 4, 2),
        # half of the rate is in the decay, or all of it
        ("constant(_, 0.5)", "weight_decay_before(_, weight_decay=0.5)", 4 - 4, 6 - 4),
        ("constant(_, 0.5)", "weight_decay_after(_, weight_decay=0.5)", 2, 3),
        # the regularisation sees 8, or what is left of it
        ("weight_decay_before(_, weight_decay=0.5)", "l2(_, weight_decay=0.5)", 4 - 12, 4 - 10),
    ],
)
def test_within_a_stage_the_order_means_something(
    inner: str, outer: str, inside: float, outside: float
) -> None:
    rule = "sgd(lr=1.0)"
    assert stepped(nested((inner, outer), rule), [8.0], 8.0) == [inside]
    assert stepped(nested((outer, inner), rule), [8.0], 8.0) == [outside]


def test_lamb_decays_inside_the_ratio_and_lambw_outside() -> None:
    """With decay inside, the step is as long as the parameter, however strong the decay is."""
    lamb = "layer_adaptation(weight_decay(sgd(lr=0.25), {}))"
    lambw = "weight_decay(layer_adaptation(sgd(lr=0.25)), {})"
    for decay in (0.5, 2.0):
        (theta,), _ = trace(lamb.format(decay), [[2.0, 0.0]], [4.0, 0.0])
        assert theta.tolist() == [4 - 0.25 * 4, 0.0]
        (theta,), _ = trace(lambw.format(decay), [[2.0, 0.0]], [4.0, 0.0])
        assert theta.tolist() == [4 - 0.25 * (4 + decay * 4), 0.0]


def test_every_layer_sees_what_it_was_given() -> None:
    """Between two decays of the parameter each other layer sees one of them."""
    decay = "weight_decay_before({}, 0.5)"
    rule = "sgd(lr=1.0)"
    assert stepped(decay.format(f"weight_decay({decay.format(rule)}, 0.5)"), [0.0], 8.0) == [2 - 2]
    assert stepped(decay.format(f"layer_adaptation({decay.format(rule)})"), [1.0], 8.0) == [2 - 4]


# Windows


@pytest.mark.parametrize(
    ("outer", "expected"),
    [
        # the gradients are 8 and 0, and so each step inside is 4
        ("weight_decay({}, 0.5)", [4, 4 - 4 - 2, -1, -1 - 4 + 0.5]),
        ("weight_decay_after({}, 0.5)", [4, 0, 0, -2]),
        ("weight_decay_before({}, 0.5)", [4, 2 - 4, -1, -0.5 - 4]),
        ("lookahead({}, k=3, alpha=0.5)", [8, 4, 6, 2]),
        ("layer_adaptation({})", [8, 0, 0, -4]),
        ("apply_every({}, k=4)", [8, 8, 8, 0]),
        ("update_every({}, k=4)", [8, 8, 8, 4]),
        ("constant({}, 0.5)", [8, 6, 6, 4]),
        ("clip_by_value({}, max_value=4.0)", [8, 6, 6, 4]),
        ("lazy({})", [8, 8, 8, 8]),
        ("count_missing({})", [8, 4, 4, 0]),
        ("gradient_accumulation({}, k=2)", [8, 8, 8, 4]),
    ],
)
def test_outside_a_window_every_call_is_a_step(outer: str, expected: list[float]) -> None:
    window = "gradient_accumulation(sgd(lr=1.0), k=2)"
    assert stepped(outer.format(window), [8.0, 0.0, 8.0, 0.0], 8.0) == expected


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("weight_decay({}, 0.5)", [8, 8 - 4 - 4, 0, -4]),
        ("weight_decay_after({}, 0.5)", [8, 2, 2, -1]),
        ("lookahead({}, k=2, alpha=0.5)", [8, 4, 4, 4]),
        ("update_every({}, k=2)", [8, 8, 8, 4]),
        ("apply_every({}, k=2)", [8, 8, 8, 0]),
        ("clip_by_value({}, max_value=2.0)", [8, 6, 6, 4]),
        ("lazy({})", [8, 4, 4, 0]),
    ],
)
def test_inside_a_window_a_window_is_a_step(inner: str, expected: list[float]) -> None:
    optimizer = f"gradient_accumulation({inner.format('sgd(lr=1.0)')}, k=2)"
    assert stepped(optimizer, [8.0, 0.0, 8.0, 0.0], 8.0) == expected


# Which parameters


def is_bias(name: str) -> bool:
    return name.endswith("bias")


PARAMS: dict[str, Any] = {"kernel": np.array([3.0, 0.0]), "bias": np.array([4.0])}


def after(optimizer: Optimizer, *calls: dict[str, Any]) -> dict[str, list[float]]:
    params = PARAMS
    state = optimizer.init(params)
    for grads in calls:
        arrays = {name: None if g is None else np.array(g) for name, g in grads.items()}
        params, state = optimizer.step(params, arrays, state)
    return {name: x.tolist() for name, x in params.items()}


def test_each_layer_excludes_for_itself() -> None:
    """Decay and layer adaptation as in LAMB for BERT: neither for biases."""
    rule = refopt.sgd(lr=1.0)
    grads = {"kernel": [0.0, 1.5], "bias": [0.5]}
    decayed = refopt.weight_decay(rule, 0.5, exclude=is_bias)
    assert after(decayed, grads) == {"kernel": [1.5, -1.5], "bias": [3.5]}
    everywhere = refopt.layer_adaptation(refopt.weight_decay(rule, 0.5, exclude=is_bias))
    assert after(everywhere, grads)["bias"] == [0.0]
    nowhere = refopt.layer_adaptation(decayed, exclude=is_bias)
    assert after(nowhere, grads)["bias"] == [3.5]
    assert after(nowhere, grads)["kernel"] == after(everywhere, grads)["kernel"]


def test_exclusion_from_a_window_reaches_none_of_its_neighbours() -> None:
    inner = refopt.clip_by_global_norm(refopt.sgd(lr=1.0), 2.5)
    window = refopt.gradient_accumulation(inner, 2, exclude=is_bias)
    optimizer = refopt.weight_decay_after(window, 0.5)
    grads = {"kernel": [3.0, 0.0], "bias": [4.0]}
    # first the bias is clipped by itself, then both to half of 3 and 4
    assert after(optimizer, grads) == {"kernel": [1.5, 0.0], "bias": [0.75]}
    assert after(optimizer, grads, grads) == {"kernel": [0.0, 0.0], "bias": [-0.625]}


def test_excluded_from_a_window_a_missing_gradient_is_a_skip_again() -> None:
    optimizer = refopt.gradient_accumulation(
        refopt.weight_decay(refopt.sgd(lr=1.0), 0.5), 2, exclude=is_bias
    )
    grads: dict[str, Any] = {"kernel": [2.0, 0.0], "bias": None}
    assert after(optimizer, grads) == {"kernel": [3.0, 0.0], "bias": [4.0]}
    nothing: dict[str, Any] = {"kernel": None, "bias": None}
    assert after(optimizer, grads, nothing) == {"kernel": [3 - 1 - 1.5, 0.0], "bias": [4.0]}


def test_exclusion_from_everything_is_the_rule_alone() -> None:
    everything: Optimizer = refopt.sgd(lr=1.0)
    for variant in (
        refopt.l2,
        refopt.weight_decay_before,
        refopt.lookahead,
        refopt.lazy,
        refopt.gradient_accumulation,
        refopt.clip_by_global_norm,
        refopt.update_every,
        refopt.layer_adaptation,
    ):
        everything = variant(everything, exclude=lambda name: True)
    grads = {"kernel": [0.0, 1.5], "bias": [8.0]}
    assert after(everything, grads) == after(refopt.sgd(lr=1.0), grads)


# The caller's arrays


@pytest.mark.parametrize(
    "expression",
    [
        "lookahead(gradient_accumulation(weight_decay(adam), k=2), k=2)",
        "lazy(clip_by_global_norm(l2(sgd(momentum=0.5))))",
        "apply_every(lookahead_from_zero(sgd_ema), k=2)",
        "gradient_accumulation_deferred(weight_decay_free(rmsprop), k=2)",
    ],
)
def test_the_caller_may_reuse_its_arrays(expression: str) -> None:
    """Gradients arrive in one buffer, and parameters are written over between the steps."""
    optimizer = build(expression)
    start = np.array([[1.0, -2.0], [3.0, 0.5]])
    gradients = [start * x for x in (1.0, -0.5, 0.25, 2.0, -1.0)]

    theta = start
    state = optimizer.init(theta)
    expected = []
    for g in gradients:
        theta, state = optimizer.step(theta, g.copy(), state)
        expected.append(theta.tolist())

    theta, buffer, got = start.copy(), np.empty_like(start), []
    state = optimizer.init(theta)
    for g in gradients:
        buffer[...] = g
        given = theta.copy()
        new, state = optimizer.step(given, buffer, state)
        assert np.array_equal(buffer, g)
        assert np.array_equal(given, theta)
        got.append(new.tolist())
        theta = new.copy()
        for array in (given, new, buffer):
            array[...] = np.nan
    assert got == expected
