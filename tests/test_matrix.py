"""The matrix: what the specification plans, how cells are judged, and the reference's own."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

import refopt
from refopt import specification
from refopt.catalog import components
from refopt.oracle.matrix import (
    DTYPES,
    Cell,
    Plan,
    example,
    installed,
    plans,
    reference_cells,
    run_plan,
)
from refopt.oracle.verdict import Outcome, Verdict
from refopt.specification import Dialect

PLANS = plans()


def dialect(target: str | None, wraps: Any = None) -> Dialect:
    """A part of a target."""
    return Dialect(framework="optax", version="1", source="-", form="-", target=target, wraps=wraps)


# Plans


def test_every_cell_of_the_specification_is_planned() -> None:
    cells = [
        (key, cell.spec, dict(cell.options))
        for name in specification.names()
        for key, dialect in specification.load(name).dialects.items()
        for cell in dialect.cells
    ]
    planned = [(plan.dialect, plan.spec, dict(plan.options)) for plan in PLANS]
    assert len(cells) >= 45
    assert sorted(planned, key=str) == sorted(cells, key=str)


def test_plans_are_grouped_by_framework() -> None:
    frameworks = [plan.framework for plan in PLANS]
    assert frameworks == sorted(frameworks)


def test_no_plan_is_there_twice() -> None:
    titles = [(plan.target, plan.spec, plan.dialect) for plan in PLANS]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    "plan", PLANS, ids=lambda plan: f"{plan.target}-{plan.spec}-{plan.dialect}"
)
def test_a_plan_can_be_carried_out(plan: Plan) -> None:
    specification.resolve(plan.spec, plan.dialect)
    innermost, *outer = plan.parts
    assert innermost.target
    assert innermost.wraps is None
    assert all(part.wraps == "option" or (part.wraps and part.target) for part in outer)
    assert {part.framework for part in plan.parts} == {plan.framework}
    assert plan.target.startswith(innermost.target.partition(":")[0] + ":")


@pytest.mark.parametrize(
    ("outer", "options", "title"),
    [
        ([], {}, "optax:sgd"),
        ([], {"nesterov": True, "mode": "a"}, "optax:sgd(nesterov=True, mode='a')"),
        ([dialect("optax:lookahead", "argument")], {}, "optax:lookahead(sgd)"),
        ([dialect("optax:clip", "chain")], {}, "optax:chain(clip, sgd)"),
        ([dialect(None, "option")], {}, "optax:sgd"),
        (
            [dialect("optax:clip", "chain"), dialect("optax:MultiSteps", "argument")],
            {"nesterov": True},
            "optax:MultiSteps(chain(clip, sgd(nesterov=True)))",
        ),
    ],
)
def test_a_target_is_titled_as_one_would_write_it(
    outer: list[Dialect], options: dict[str, Any], title: str
) -> None:
    assert Plan("-", "optax", (dialect("optax:sgd"), *outer), options).target == title


def test_installed() -> None:
    assert installed("numpy")
    assert not installed("a_module_that_is_nowhere")


# Cells


def verdict(outcome: Outcome) -> Verdict:
    return Verdict("a:b", "sgd", None, "float32", 0, outcome=outcome)


@pytest.mark.parametrize(
    ("outcome", "reason", "as_specified", "known"),
    [
        ("conforms", "", True, False),
        ("conforms", "known", False, False),
        ("deviates", "", False, False),
        ("deviates", "known", True, True),
        ("error", "", False, False),
        ("error", "known", True, True),
    ],
)
def test_a_cell_is_as_specified(
    outcome: Outcome, reason: str, as_specified: bool, known: bool
) -> None:
    cell = Cell("optax", verdict(outcome), reason)
    assert (cell.is_as_specified, cell.is_known_deviation) == (as_specified, known)


def test_a_target_that_cannot_be_imported_is_an_error() -> None:
    nowhere = Dialect(
        framework="torch",
        version="1",
        source="-",
        form="sgd",
        target="a_module_that_is_nowhere:SGD",
    )
    cell = run_plan(Plan("sgd", "torch", (nowhere,), {}))
    assert cell.framework == "torch"
    assert cell.verdict.outcome == "error"
    assert cell.verdict.error is not None
    assert cell.verdict.error.startswith("cannot import a_module_that_is_nowhere")


# The reference itself


def test_the_reference_has_a_cell_for_every_specification_and_format() -> None:
    assert len(reference_cells()) == len(specification.names()) * len(DTYPES)


@pytest.mark.parametrize("name", specification.names())
def test_there_is_an_example_of_every_specification(name: str) -> None:
    expression = example(name)
    assert name in components(expression, lambda part: part == name)
    params = [np.ones(3)]
    optimizer = specification.resolve(expression)
    new, _ = optimizer.step(params, params, optimizer.init(params))
    assert np.isfinite(new[0]).all()


def test_cells_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specification, "names", lambda: ("sgd",))
    cells = [run() for run in reference_cells(seed=2)]
    assert [cell.verdict.dtype for cell in cells] == list(DTYPES)
    for cell in cells:
        assert cell.verdict.conforms, str(cell.verdict)
        assert (cell.framework, cell.verdict.target) == ("refopt", "refopt:sgd")
        assert cell.verdict.seed == 2


# Frameworks


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_cell_of_torch() -> None:
    plan = next(plan for plan in PLANS if plan.target == "torch.optim:Adam(foreach=True)")
    cell = run_plan(plan)
    assert cell.verdict.conforms, str(cell.verdict)
    assert cell.verdict.worst is not None
    assert 0.2 < cell.verdict.worst <= 1


@pytest.mark.parametrize(
    ("target", "spec"), [("torch.optim:RAdam", "radam"), ("keras.optimizers:Adam", "adam")]
)
def test_a_dialect_deviates_from_the_canonical_form_and_says_where(target: str, spec: str) -> None:
    framework = target.partition(".")[0]
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    found = refopt.check(target, spec)
    assert found.outcome == "deviates"
    assert found.deviation is not None
    assert abs(found.deviation.got - found.deviation.expected) > found.deviation.bound
    assert f"explained by {spec} as {framework} has it" in str(found)
