"""Equivalence: what is the same is found so, and what differs anywhere on the domain is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sympy as sp

from refopt import catalog
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit, edits
from refopt.oracle.equivalence import THRESHOLDS, is_equivalent


def edit_of(name: str, after: str) -> Edit:
    return next(edit for edit in edits(catalog.build(name)) if edit.after == after)


def changed(name: str, function: Callable[..., Any], line: str = "") -> tuple[Optimizer, Edit]:
    """An optimizer, and the edit that puts another function in the place of its outermost."""
    optimizer = catalog.build(name)

    def apply(given: Optimizer) -> Optimizer:
        *inner, outer = given.layers
        return replace(given, layers=(*inner, replace(outer, function=function)))

    return optimizer, Edit("", 1, line, line, "", "", apply)


def sgd(xp: Any, t: Any, g: Any, b: Any, *, momentum: Any, dampening: Any, nesterov: Any) -> Any:
    b = xp.where(t == 1, g, b - b * (1 - momentum) + g - g * dampening)
    return xp.where(momentum == 0, g, xp.where(nesterov, g + momentum * b, b)), b


def adam(xp: Any, t: Any, g: Any, m: Any, v: Any, *, beta1: Any, beta2: Any, eps: Any) -> Any:
    m = m + (1 - beta1) * (g - m)
    v = v + (1 - beta2) * (g * g - v)
    root = xp.sqrt(1 - beta2**t)
    return m * root / (1 - beta1**t) / (xp.sqrt(v) + eps * root), m, v


def adam_from_step_5(
    xp: Any, t: Any, g: Any, m: Any, v: Any, *, beta1: Any, beta2: Any, eps: Any
) -> Any:
    h, m, v = adam(xp, t, g, m, v, beta1=beta1, beta2=beta2, eps=eps)
    return h + h * xp.where(t == 5, 2.0**-60, 0.0), m, v


@pytest.mark.parametrize(("name", "function"), [("sgd", sgd), ("adam", adam)])
def test_another_order_of_evaluation_is_the_same(name: str, function: Callable[..., Any]) -> None:
    assert is_equivalent(*changed(name, function))


def test_a_difference_in_the_twentieth_digit_at_one_step_is_not() -> None:
    assert not is_equivalent(*changed("adam", adam_from_step_5))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("layer_adaptation(sgd)", "norm_h = "),
        ("adam", "v_hat = "),
        ("gradient_accumulation(sgd)", "mean = "),
    ],
)
def test_mistakes_are_not_the_same(name: str, line: str) -> None:
    optimizer = catalog.build(name)
    found = [edit for edit in edits(optimizer) if edit.before.startswith(line)]
    assert len(found) > 5
    for edit in found[:12]:
        assert not is_equivalent(optimizer, edit), edit


def test_a_threshold_between_counts_that_meet_matters() -> None:
    optimizer = catalog.build("lookahead(sgd)")
    moved = [e for e in edits(optimizer) if "<" in e.after or ">" in e.after]
    assert not any(is_equivalent(optimizer, edit) for edit in moved)


def test_radam_s_threshold_is_met_by_no_binary_fraction() -> None:
    """For every t: the leading coefficient of the numerator is odd, so no root has a half in it."""
    b, t = sp.symbols("b t", positive=True)
    difference = 2 / (1 - b) - 1 - 2 * t * b**t / (1 - b**t) - 4
    numerator = (2 * t - 5) * b ** (t + 1) - (2 * t - 3) * b**t + 5 * b - 3
    assert sp.simplify(difference * (1 - b) * (1 - b**t) - numerator) == 0
    for step in range(1, THRESHOLDS + 1):
        polynomial = sp.Poly(numerator.subs(t, step), b)
        assert polynomial.LC() % 2 == 1
        assert polynomial.eval(0) != 0
    assert is_equivalent(catalog.build("radam"), edit_of("radam", "rectified = rho >= 4"))
