"""Layers: what each kind changes, in which order a stack of them acts, and what they remember."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refopt.catalog import VARIANTS, build
from refopt.layers import (
    REQUIRED,
    CountsMissing,
    Layer,
    OnDecayRates,
    OnDirection,
    OnGradient,
    OnGradients,
    OnLearningRate,
    OnParameter,
    OnParameterBefore,
    OnRows,
    OnWindow,
    Rule,
    keyword_defaults,
    keyword_names,
    positional_names,
)
from refopt.optimizer import Optimizer, RuleConstructor, VariantConstructor, variant

# Doubling and adding one do not commute, so a result says in which order they were done. All
# numbers below are small integers or dyadic fractions: float64 arithmetic on them is exact.


def plain(g: Any) -> Any:
    """The gradient is the direction."""
    return g


def reading_lr(lr: Any, g: Any) -> Any:
    """The same with the learning rate inside."""
    return lr * g


def averaging(g: Any, m: Any, *, beta1: float = 0.5, eps: float = 0.5) -> Any:
    """A rule with one decay rate and one hyperparameter that is none."""
    m = beta1 * m + g
    return m + eps, m


PLAIN = RuleConstructor(plain, 1.0)


def both(kind: type[Layer], argument: str) -> tuple[VariantConstructor, VariantConstructor]:
    """Doubling and adding one at the stage of a kind of layer."""
    found: dict[str, Any] = {}
    exec(f"def double({argument}): return 2*{argument}", globals(), found)
    exec(f"def increment({argument}): return {argument} + 1", globals(), found)
    return variant(kind)(found["double"]), variant(kind)(found["increment"])


def after_one_step(
    optimizer: Optimizer, g: float = 4.0, theta: float = 64.0, lr: float = 1.0
) -> float:
    parameter = np.array([theta])
    new, _ = optimizer.step(parameter, np.array([g]), optimizer.init(parameter), lr=lr)
    return float(new[0])


def test_gradients_go_inward() -> None:
    double, increment = both(OnGradient, "g")
    assert after_one_step(double(increment(PLAIN()))) == 64 - (2 * 4 + 1)
    assert after_one_step(increment(double(PLAIN()))) == 64 - 2 * (4 + 1)


def test_directions_go_outward() -> None:
    double, increment = both(OnDirection, "h")
    assert after_one_step(double(increment(PLAIN()))) == 64 - 2 * (4 + 1)
    assert after_one_step(increment(double(PLAIN()))) == 64 - (2 * 4 + 1)


def test_parameters_go_inward_before_and_outward_after() -> None:
    double, increment = both(OnParameterBefore, "theta")
    assert after_one_step(double(increment(PLAIN()))) == (2 * 64 + 1) - 4
    assert after_one_step(increment(double(PLAIN()))) == 2 * (64 + 1) - 4
    double, increment = both(OnParameter, "theta")
    assert after_one_step(double(increment(PLAIN()))) == 2 * (64 - 4 + 1)
    assert after_one_step(increment(double(PLAIN()))) == 2 * (64 - 4) + 1


def test_stages_of_different_kinds_commute() -> None:
    double_g, _ = both(OnGradient, "g")
    _, increment_h = both(OnDirection, "h")
    assert after_one_step(double_g(increment_h(PLAIN()))) == 64 - (2 * 4 + 1)
    assert after_one_step(increment_h(double_g(PLAIN()))) == 64 - (2 * 4 + 1)


def test_learning_rates_multiply_and_reach_the_rule() -> None:
    half = VARIANTS["constant"]
    assert after_one_step(half(half(PLAIN(), 0.5), 0.25)) == 64 - 4 * 0.125
    inside = RuleConstructor(reading_lr, 1.0)
    assert after_one_step(half(half(inside(), 0.5), 0.25)) == 64 - 4 * 0.125


def test_what_a_layer_reads_of_the_learning_rate_is_what_encloses_it() -> None:
    seen = []

    @variant(OnParameterBefore)
    def look(lr: Any, theta: Any) -> Any:
        seen.append(lr)
        return theta

    half = VARIANTS["constant"]
    after_one_step(look(half(look(PLAIN()), 0.5)))
    assert seen == [1.0, 0.5]


def test_direction_layers_see_the_parameter_times_lr_where_the_direction_holds_it() -> None:
    @variant(OnDirection)
    def decay(h: Any, theta: Any) -> Any:
        return h + theta

    plain_step = after_one_step(decay(PLAIN()), lr=0.125)
    assert plain_step == 64 - 0.125 * (4 + 64)
    inside = RuleConstructor(reading_lr, 1.0)
    assert after_one_step(decay(inside()), lr=0.125) == plain_step


def test_decay_rates_change_from_the_outside_in_and_nothing_else_does() -> None:
    halve, _ = both(OnDecayRates, "beta")

    @variant(OnDecayRates)
    def shorter(beta: Any) -> Any:
        return beta / 2

    rule = RuleConstructor(averaging, 1.0)
    theta, g = np.array([0.0]), np.array([1.0])
    for optimizer, beta in ((rule(), 0.5), (shorter(rule()), 0.25), (halve(shorter(rule())), 0.5)):
        state = optimizer.init(theta)
        first, state = optimizer.step(theta, g, state)
        second, _ = optimizer.step(first, g, state)
        assert float(first[0]) == -(1 + 0.5)
        assert float((first - second)[0]) == beta + 1 + 0.5


def test_joint_gradients_are_those_of_the_parameters_that_take_part() -> None:
    seen = []

    @variant(OnGradients)
    def joint(xp: Any, gs: Any) -> Any:
        seen.append([float(g) for g in map(xp.sum, gs)])
        return [sum(gs) for _ in gs]

    optimizer = joint(PLAIN(), exclude=lambda name: name == "c")
    params = {name: np.zeros(1) for name in "abcd"}
    grads = {"a": np.array([1.0]), "b": None, "c": np.array([4.0]), "d": np.array([2.0])}
    new, _ = optimizer.step(params, grads, optimizer.init(params))
    assert seen == [[1.0, 2.0]]
    assert {name: float(x[0]) for name, x in new.items()} == {"a": -3, "b": 0, "c": -4, "d": -3}


def test_no_joint_gradients_are_no_call() -> None:
    @variant(OnGradients)
    def never(xp: Any, gs: Any) -> Any:
        raise AssertionError((xp, gs))

    optimizer = never(PLAIN())
    theta = np.zeros(1)
    assert optimizer.step(theta, None, optimizer.init(theta))[0] is not None
    assert optimizer.step({}, {}, {}) == ({}, {})


def test_a_window_holds_back_what_is_inside_and_not_what_is_outside() -> None:
    double, _ = both(OnParameter, "theta")
    window = VARIANTS["gradient_accumulation"]
    theta, g = np.array([8.0]), np.array([1.0])
    optimizer = window(double(PLAIN()), k=2)
    held, state = optimizer.step(theta, g, optimizer.init(theta))
    assert float(held[0]) == 8
    moved, _ = optimizer.step(held, g, state)
    assert float(moved[0]) == 2 * (8 - 1)
    optimizer = double(window(PLAIN(), k=2))
    doubled, state = optimizer.step(theta, g, optimizer.init(theta))
    assert float(doubled[0]) == 16
    moved, _ = optimizer.step(doubled, g, state)
    assert float(moved[0]) == 2 * (16 - 1)


def test_inside_a_window_the_step_counts_windows() -> None:
    seen = []

    @variant(OnLearningRate)
    def look(t: Any) -> Any:
        seen.append(t)
        return 1.0

    window = VARIANTS["gradient_accumulation"]
    optimizer = window(look(window(look(PLAIN()), k=2)), k=3)
    theta = np.zeros(1)
    state = optimizer.init(theta)
    for _ in range(12):
        theta, state = optimizer.step(theta, np.ones(1), state)
    # the outer one sees every third call, the inner one every second of those
    assert seen == [1, 2, 1, 3, 4, 2]


def test_rows_choose_between_old_and_new_for_the_parameter_and_the_state_inside() -> None:
    lazy = VARIANTS["lazy"]
    rule = RuleConstructor(averaging, 1.0)
    optimizer = VARIANTS["gradient_accumulation"](lazy(rule()), k=1)
    theta = np.array([[1.0, 2.0], [3.0, 4.0]])
    state = optimizer.init(theta)
    new, state = optimizer.step(theta, np.array([[0.0, 0.0], [0.0, 1.0]]), state)
    assert new.tolist() == [[1.0, 2.0], [3.0 - 0.5, 4.0 - 1.5]]
    assert state[""]["averaging.m"].tolist() == [[0.0, 0.0], [0.0, 1.0]]
    new, state = optimizer.step(new, np.array([[1.0, 0.0], [0.0, 0.0]]), state)
    assert state[""]["averaging.m"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert new[1].tolist() == [2.5, 2.5]


def test_excluded_parameters_are_left_alone_by_that_layer_only() -> None:
    double, increment = both(OnGradient, "g")
    optimizer = increment(double(PLAIN(), exclude=lambda name: name.endswith("bias")))
    params = {"kernel": np.zeros(1), "bias": np.zeros(1)}
    grads = {"kernel": np.ones(1), "bias": np.ones(1)}
    new, _ = optimizer.step(params, grads, optimizer.init(params))
    assert {name: float(x[0]) for name, x in new.items()} == {"kernel": -4, "bias": -2}


@pytest.mark.parametrize(
    ("expression", "missing_step", "counted"),
    [
        ("sgd", False, False),
        ("count_missing(sgd)", False, True),
        ("gradient_accumulation(sgd, k=1)", True, True),
        ("count_missing(gradient_accumulation(sgd, k=1))", False, True),
        ("gradient_accumulation(count_missing(sgd), k=1)", True, True),
    ],
)
def test_the_outermost_layer_that_says_so_decides_what_a_missing_gradient_means(
    expression: str, missing_step: bool, counted: bool
) -> None:
    optimizer = build(f"weight_decay_before({expression}, weight_decay=0.5)").with_hyperparameters(
        lr=1.0
    )
    theta = np.array([8.0])
    new, state = optimizer.step(theta, None, optimizer.init(theta))
    assert float(new[0]) == (4.0 if missing_step else 8.0)
    assert state[""]["t"] == int(counted)


# What a layer reads and remembers


def test_arguments_say_what_is_read_what_is_state_and_what_is_a_hyperparameter() -> None:
    def function(xp: Any, t: Any, g: Any, m: Any, v: Any, *, beta1: Any, eps: float = 0.5) -> None:
        pass

    assert positional_names(function) == ("xp", "t", "g", "m", "v")
    assert keyword_names(function) == ("beta1", "eps")
    assert keyword_defaults(function) == {"beta1": REQUIRED, "eps": 0.5}
    layer = Rule(name="rule", label="rule", function=function)
    assert layer.arguments == ("xp", "t", "g", "m", "v")
    assert layer.state_names == ("m", "v")


def doubled_init(xp: Any, theta: Any, *, scale: float) -> Any:
    """Not all hyperparameters of the function: only those that it names."""
    return xp.copy(scale * theta)


def test_state_starts_at_zero_or_at_what_the_initial_function_says() -> None:
    @variant(OnParameter)
    def doubled(theta: Any, slow: Any, *, scale: float = 2.0, alpha: float = 0.5) -> Any:
        return scale * theta, alpha * slow

    theta = np.array([3.0], np.float32)
    state = doubled(PLAIN(), alpha=0.25).init(theta)[""]
    assert state["doubled.slow"].tolist() == [6.0]
    state = RuleConstructor(averaging, 1.0)().init(theta)[""]
    assert state["averaging.m"].tolist() == [0.0]
    assert state["averaging.m"].dtype == np.float32


def test_layers_of_the_same_name_keep_apart() -> None:
    optimizer = build("lookahead(lookahead(lookahead(sgd, k=2), k=3), k=5)")
    assert [layer.label for layer in optimizer.layers] == [
        "sgd",
        "lookahead",
        "lookahead#2",
        "lookahead#3",
    ]
    state = optimizer.init(np.ones(2))[""]
    assert {key for key in state if key != "t"} == {
        "sgd.b",
        "lookahead.slow",
        "lookahead#2.slow",
        "lookahead#3.slow",
    }
    assert [layer.hyperparameters["k"] for layer in optimizer.layers[1:]] == [2, 3, 5]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_of_the_catalog_has_a_kind_with_a_stage(name: str) -> None:
    kinds = (
        OnGradient,
        OnGradients,
        OnWindow,
        OnParameterBefore,
        OnDecayRates,
        OnLearningRate,
        OnDirection,
        OnParameter,
        OnRows,
        CountsMissing,
    )
    layer = VARIANTS[name].default
    assert isinstance(layer, kinds)
    assert (layer.function.__doc__ or "").strip().endswith(".")
