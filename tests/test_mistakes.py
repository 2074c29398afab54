"""Mistakes that people made: each is detected, and explained by the line that it is.

Explaining all of them takes half an hour, so one in ten is explained here, and every one where the
environment has ``REFOPT_EVERY_MISTAKE``.
"""

import os
from importlib import import_module

import pytest
from mistakes.target import Mistake

import refopt

MODULES = (
    "accumulators",
    "adam",
    "decay",
    "failures",
    "hidden",
    "inplace",
    "pairs",
    "reports_adam",
    "reports_courses",
    "reports_decay",
    "reports_descent",
    "reports_libraries",
    "reports_memory",
    "reports_wrapped",
    "sgd",
    "stepping",
    "wrappers",
)
MISTAKES = [m for name in MODULES for m in import_module(f"mistakes.{name}").MISTAKES]
EXPLAINED = [mistake for mistake in MISTAKES if not mistake.unexplained]
TRIED = EXPLAINED if "REFOPT_EVERY_MISTAKE" in os.environ else EXPLAINED[::10]


def name(mistake: Mistake) -> str:
    return f"{mistake.target.__module__.rpartition('.')[2]}-{mistake.name}-{mistake.spec}"


@pytest.mark.parametrize("mistake", MISTAKES, ids=name)
def test_it_is_detected(mistake: Mistake) -> None:
    verdict = refopt.check(mistake.target, mistake.spec, explain=False)
    assert not verdict.conforms
    assert verdict.deviation is not None or verdict.error is not None


@pytest.mark.parametrize("mistake", TRIED, ids=name)
def test_it_is_explained(mistake: Mistake) -> None:
    verdict = refopt.check(mistake.target, mistake.spec)
    said = "\n".join([*map(str, verdict.explanations), verdict.error or "", ""])
    for words in mistake.says:
        assert words in said


def test_most_have_an_explanation_declared() -> None:
    assert len(EXPLAINED) >= 0.95 * len(MISTAKES)
