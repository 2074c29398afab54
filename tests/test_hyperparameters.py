"""The domains of hyperparameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refopt.catalog import RULES, VARIANTS, layer
from refopt.hyperparameters import DECAY_RATES, DOMAINS, Boolean, Interval, Knots, validated
from refopt.layers import REQUIRED, keyword_defaults

numbers = st.integers(-5, 5) | st.floats(-5, 5)


@given(numbers, st.integers(-3, 0), st.integers(1, 3), st.booleans(), st.booleans())
def test_an_interval_holds_what_lies_between_its_ends(
    value: float, low: int, high: int, closed_left: bool, closed_right: bool
) -> None:
    interval = Interval(low, high, closed_left, closed_right)
    inside = (
        low < value < high or (value == low and closed_left) or (value == high and closed_right)
    )
    assert (value in interval) == inside
    integers = Interval(low, high, closed_left, closed_right, integer=True)
    assert (value in integers) == (inside and isinstance(value, int))


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0, 1), "[0, 1]"),
        (Interval(0, 1, closed_right=False), "[0, 1)"),
        (Interval(0, math.inf, closed_left=False, closed_right=False), "(0, inf)"),
        (Interval(-math.inf, 0.5, closed_left=False), "(-inf, 0.5]"),
        (Interval(1, math.inf, closed_right=False, integer=True), "integers in [1, inf)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_interval_prints_as_mathematics_writes_it(interval: Interval, text: str) -> None:
    assert str(interval) == text


@pytest.mark.parametrize("value", [True, "0.5", None, 0.5j, np.float32(0.5), math.nan], ids=repr)
def test_only_python_numbers_are_in_an_interval(value: Any) -> None:
    assert value not in Interval(0, 1)


def test_infinity_is_no_value_of_any_hyperparameter() -> None:
    for domain in DOMAINS.values():
        assert math.inf not in domain
        assert -math.inf not in domain


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ({1: 0.5}, True),
        ({0: 0.0, 10: 2}, True),
        ({}, False),
        ({-1: 0.5}, False),
        ({1.5: 0.5}, False),
        ({True: 0.5}, False),
        ({1: -0.5}, False),
        ({1: math.inf}, False),
        ({1: "0.5"}, False),
        ([(1, 0.5)], False),
        (0.5, False),
    ],
    ids=repr,
)
def test_knots_are_factors_at_steps(value: Any, held: bool) -> None:
    assert (value in Knots()) is held


def test_flags_are_booleans_and_nothing_else() -> None:
    assert True in Boolean()
    assert 1 not in Boolean()
    assert "yes" not in Boolean()


def test_validated_values_are_python_numbers() -> None:
    values = {"lr": np.float64(0.5), "k": 3, "schedule": {1: np.float64(0.25)}, "nesterov": True}
    found = validated("opt", values)
    assert found == values
    assert [
        type(x) for x in (found["lr"], found["k"], found["schedule"][1], found["nesterov"])
    ] == [
        float,
        int,
        float,
        bool,
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("beta1", 1.0, r"opt: beta1 must be in \[0, 1\), got 1\.0"),
        ("k", 0, r"opt: k must be integers in \[1, inf\), got 0"),
        ("nesterov", "yes", r"opt: nesterov must be True or False, got 'yes'"),
        ("schedule", {}, r"opt: schedule must be \{step: factor, \.\.\.\}, got \{\}"),
    ],
)
def test_an_error_says_whose_value_of_what_should_be_what(
    name: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        validated("opt", {name: value})


@pytest.mark.parametrize("name", [*RULES, *VARIANTS])
def test_every_default_lies_in_its_domain(name: str) -> None:
    for key, default in keyword_defaults(layer(name).function).items():
        assert default is REQUIRED or default in DOMAINS[key], key


def test_every_domain_belongs_to_a_hyperparameter_that_exists() -> None:
    layers = [layer(name) for name in (*RULES, *VARIANTS)]
    used = {key for each in layers for key in each.hyperparameters} | {"lr"}
    assert used == DOMAINS.keys()
    assert used >= DECAY_RATES


def test_recommended_learning_rates_lie_in_their_domain() -> None:
    assert all(rule.lr in DOMAINS["lr"] and rule.lr > 0 for rule in RULES.values())
