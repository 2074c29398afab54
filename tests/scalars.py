"""One number stepped with plain gradients: trajectories that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from refopt.catalog import build
from refopt.optimizer import Optimizer
from refopt.oracle.matrix import Plan, installed, plans, run_plan
from refopt.oracle.proof import equalities


def stepped(
    optimizer: Optimizer | str, gradients: Sequence[float | None], theta: float = 0.0
) -> list[float]:
    """A parameter of float64 after each step."""
    return [float(x) for x in trace(optimizer, gradients, theta)[0]]


def trace(
    optimizer: Optimizer | str, gradients: Sequence[Any], theta: Any
) -> tuple[list[Any], dict[str, Any]]:
    """A parameter after each step, and the state after the last."""
    optimizer = build(optimizer) if isinstance(optimizer, str) else optimizer
    theta = np.array(theta, float)
    state = optimizer.init(theta)
    thetas = []
    for g in gradients:
        theta, state = optimizer.step(theta, None if g is None else np.array(g, float), state)
        thetas.append(theta)
    return thetas, state[""]


def assert_proven(name: str, *parts: str) -> None:
    """That code and specification are equal under a name, for these functions and no others."""
    found = list(equalities(name))
    assert {equality.name for equality in found} == set(parts)
    assert [str(equality) for equality in found if not equality.holds] == []


def plans_of(*names: str) -> list[Any]:
    """The cells of the matrix with one of these variants outermost, on torch and optax."""
    return [
        pytest.param(plan, id=f"{plan.target}-{plan.spec}")
        for plan in plans()
        if plan.spec.partition("(")[0] in names and plan.framework in ("torch", "optax")
    ]


def assert_plan_holds(plan: Plan) -> None:
    """That a framework does what its dialect says."""
    if not installed(plan.framework):
        pytest.skip(f"{plan.framework} is not installed")
    cell = run_plan(plan)
    assert cell.is_as_specified, cell.verdict
