"""L2 regularisation: the decay that passes through the rule."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from scalars import assert_plan_holds, assert_proven, plans_of, stepped, trace
from trajectory import GRADIENTS, RATES, assert_backends_agree, assert_equals

import refopt
from refopt.oracle.matrix import Plan

STEPS = list(zip(RATES, GRADIENTS, strict=True))


def test_code_and_specification_are_equal() -> None:
    assert_proven("l2", "l2")


def test_the_decay_goes_through_the_momentum() -> None:
    def expected() -> Iterator[Any]:
        theta, b = Decimal(2), Decimal(0)
        for t, (lr, g) in enumerate(STEPS, 1):
            decayed = Decimal(g) + Decimal("0.3") * theta
            b = decayed if t == 1 else Decimal("0.7") * b + decayed
            theta -= Decimal(lr) * b
            yield theta

    assert_equals("l2(sgd(momentum=0.7), 0.3)", 2.0, STEPS, expected)


def test_where_the_rule_is_the_gradient_it_is_weight_decay() -> None:
    gradients = [4.0, -2.0, 1.0, 0.0]
    decayed = stepped("weight_decay(sgd(lr=0.5), 0.25)", gradients, 8.0)
    assert stepped("l2(sgd(lr=0.5), 0.25)", gradients, 8.0) == decayed


def test_where_the_rule_normalises_decay_has_no_size_of_its_own() -> None:
    weak = stepped("l2(lion(lr=1.0), 0.25)", [0.0, 0.0], 8.0)
    strong = stepped("l2(lion(lr=1.0), 0.5)", [0.0, 0.0], 8.0)
    assert weak == strong == [7.0, 6.0]


def test_a_missing_gradient_is_not_regularised_and_a_zero_one_is() -> None:
    assert stepped("l2(sgd(lr=0.5), 0.25)", [None, 0.0], 8.0) == [8.0, 7.0]


def test_where_a_window_takes_a_missing_gradient_for_zero_it_is_regularised_outside() -> None:
    assert stepped("l2(gradient_accumulation(sgd(lr=0.5), 2), 0.25)", [None, 4.0], 8.0) == [8, 6]
    assert stepped("gradient_accumulation(l2(sgd(lr=0.5), 0.25), 2)", [None, 4.0], 8.0) == [8, 6]
    _, state = trace("l2(gradient_accumulation(sgd, 2), 0.25)", [None], 8.0)
    assert state["gradient_accumulation.mean"] == 0.25 * 8 / 2


def test_parameters_are_excluded_by_name() -> None:
    optimizer = refopt.l2(refopt.sgd(lr=1.0), 0.5, exclude=lambda name: name == "bias")
    params = {"kernel": np.ones(1), "bias": np.ones(1)}
    grads = {"kernel": np.zeros(1), "bias": np.zeros(1)}
    new, _ = optimizer.step(params, grads, optimizer.init(params))
    assert {name: float(x[0]) for name, x in new.items()} == {"kernel": 0.5, "bias": 1.0}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, dtype: str) -> None:
    assert_backends_agree(backend, "l2(adam(eps=1e-2), 0.3)", dtype)


@pytest.mark.parametrize("plan", plans_of("l2"))
def test_frameworks_conform(plan: Plan) -> None:
    assert_plan_holds(plan)
