"""Weight decay: when it happens, of which parameter, and what is in its rate."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from scalars import assert_plan_holds, assert_proven, plans_of, stepped
from trajectory import GRADIENTS, RATES, assert_backends_agree, assert_equals

import refopt
from refopt.catalog import build
from refopt.oracle.matrix import Plan

FORMS = (
    "weight_decay",
    "weight_decay_before",
    "weight_decay_after",
    "weight_decay_free",
    "weight_decay_free_after",
    "weight_decay_corrected",
    "weight_decay_after_corrected",
)
STEPS = list(zip(RATES, GRADIENTS, strict=True))
RULE = "sgd(lr=0.5)"


def test_code_and_specification_are_equal() -> None:
    assert_proven("weight_decay", *FORMS)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("weight_decay", 8 - 0.5 * (4 + 0.25 * 8)),
        ("weight_decay_before", (1 - 0.5 * 0.25) * 8 - 0.5 * 4),
        ("weight_decay_after", (1 - 0.5 * 0.25) * (8 - 0.5 * 4)),
        ("weight_decay_free", (8 - 0.5 * 4) - 0.25 * 8),
        ("weight_decay_free_after", (1 - 0.25) * (8 - 0.5 * 4)),
    ],
)
def test_one_step_by_hand(form: str, expected: float) -> None:
    assert stepped(f"{form}({RULE}, 0.25)", [4.0], 8.0) == [expected]


@pytest.mark.parametrize("form", FORMS)
def test_without_a_rate_there_is_no_decay(form: str) -> None:
    assert stepped(f"{form}(adam, 0.0)", GRADIENTS, 3.0) == stepped("adam", GRADIENTS, 3.0)


@pytest.mark.parametrize("form", FORMS)
def test_without_a_learning_rate_only_free_decay_is_left(form: str) -> None:
    decayed = stepped(f"{form}(sgd(lr=0.0), 0.25)", [4.0, 4.0], 8.0)
    assert decayed == ([6.0, 4.5] if "free" in form else [8.0, 8.0])


def test_old_and_new_parameter_differ_by_the_decay_of_the_step() -> None:
    (old,), (new,) = (stepped(f"{form}({RULE}, 0.5)", [3.0], 1.0) for form in FORMS[1:3])
    assert new - old == 0.5 * 0.5 * 0.5 * 3.0


def test_before_the_step_the_rule_sees_the_decayed_parameter() -> None:
    # the decayed parameter is 6, and the gradient of the regularisation inside 3
    assert stepped("weight_decay_before(l2(sgd(lr=1.0), 0.5), 0.25)", [0.0], 8.0) == [6 - 3]
    # outside, regularisation sees 8
    assert stepped("l2(weight_decay_before(sgd(lr=1.0), 0.25), 0.5)", [0.0], 8.0) == [6 - 4]
    # the direction inside the decay is seen decayed too, and outside not
    assert stepped("weight_decay_before(weight_decay(sgd(lr=1.0), 0.5), 0.25)", [0.0], 8.0) == [3]
    assert stepped("weight_decay(weight_decay_before(sgd(lr=1.0), 0.25), 0.5)", [0.0], 8.0) == [2]


def test_decay_and_momentum_are_apart() -> None:
    def expected() -> Iterator[Any]:
        theta, b, decay = Decimal(2), Decimal(0), Decimal("0.3")
        for t, (lr, g) in enumerate(STEPS, 1):
            b = Decimal(g) if t == 1 else Decimal("0.7") * b + Decimal(g)
            theta -= Decimal(lr) * (b + decay * theta)
            yield theta

    assert_equals("weight_decay(sgd(momentum=0.7), 0.3)", 2.0, STEPS, expected)


def test_where_the_learning_rate_is_in_the_buffer_decay_still_has_it_once() -> None:
    inside = stepped(
        "weight_decay(sgd_lr_inside(lr=0.5, momentum=0.5), 0.25)", [4.0, 2.0, 1.0], 8.0
    )
    outside = stepped("weight_decay(sgd(lr=0.5, momentum=0.5), 0.25)", [4.0, 2.0, 1.0], 8.0)
    assert inside == outside


# With Adam's bias correction in the rate, as in MXNet


@pytest.mark.parametrize("form", ["weight_decay_corrected", "weight_decay_after_corrected"])
def test_the_first_correction_is_a_third(form: str) -> None:
    """sqrt(1 - 0.999)/(1 - 0.9) is 0.316: Oneflow-Inc/oneflow#5960 decays by that much less."""
    (theta,) = stepped(f"{form}(adam(lr=1.0), 0.5)", [0.0], 1.0)
    assert round((1 - theta) / 0.5, 3) == 0.316


@pytest.mark.parametrize("fused", [False, True])
def test_mxnet(fused: bool) -> None:
    """Both loops of mxnet.optimizer.AdamW, written out."""

    def expected() -> Iterator[Any]:
        beta1, beta2, eps, wd = map(Decimal, ("0.8", "0.6", "0.01", "0.3"))
        weight, mean, var = Decimal(2), Decimal(0), Decimal(0)
        for t, (rate, g) in enumerate(STEPS, 1):
            grad = Decimal(g)
            lr = Decimal(rate) * (1 - beta2**t).sqrt() / (1 - beta1**t)
            mean = mean * beta1 + (1 - beta1) * grad
            var = var * beta2 + (1 - beta2) * grad**2
            d = mean / (var.sqrt() + eps)
            if fused:
                weight = weight - lr * (d + wd * weight)
            else:
                weight = weight - lr * d
                weight = weight - lr * wd * weight
            yield weight

    form = "weight_decay_corrected" if fused else "weight_decay_after_corrected"
    betas = "beta1=0.8, beta2=0.6"
    expression = f"{form}(adam_epsilon_hat({betas}, eps=0.01), 0.3, {betas})"
    assert_equals(expression, 2.0, STEPS, expected)


# Which parameters decay


def no_decay(name: str) -> bool:
    return name.endswith(("bias", "norm"))


@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_excluded_by_name(form: str) -> None:
    optimizer = getattr(refopt, form)(refopt.adam(), 0.5, exclude=no_decay)
    params = {"dense": {"kernel": np.ones(2), "bias": np.ones(2)}, "norm": np.ones(2)}
    grads = {"dense": {"kernel": np.ones(2), "bias": np.ones(2)}, "norm": np.ones(2)}
    decayed, _ = optimizer.step(params, grads, optimizer.init(params))
    plain, _ = refopt.adam().step(params, grads, refopt.adam().init(params))
    assert decayed["dense"]["bias"].tolist() == plain["dense"]["bias"].tolist()
    assert decayed["norm"].tolist() == plain["norm"].tolist()
    assert np.all(decayed["dense"]["kernel"] < plain["dense"]["kernel"])


@pytest.mark.parametrize("form", FORMS)
def test_a_parameter_without_a_gradient_does_not_decay(form: str) -> None:
    assert stepped(f"{form}(adam, 0.5)", [None, None], 3.0) == [3.0, 3.0]
    assert stepped(f"count_missing({form}(adam, 0.5))", [None, None], 3.0) == [3.0, 3.0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    assert_backends_agree(backend, f"{form}(adam(eps=1e-2), 0.3)", dtype)


@pytest.mark.parametrize("plan", plans_of("weight_decay"))
def test_frameworks_conform(plan: Plan) -> None:
    assert_plan_holds(plan)


def test_the_expression_of_every_form_reads_back() -> None:
    for form in FORMS:
        expression = str(build(f"{form}(adam, 0.5)"))
        assert str(build(expression)) == expression == f"{form}(adam, weight_decay=0.5)"
