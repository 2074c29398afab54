"""Mistakes that people made: each is detected, and explained by the line that it is."""

from functools import cache
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
    "sgd",
    "stepping",
    "wrappers",
)
MISTAKES = [m for name in MODULES for m in import_module(f"mistakes.{name}").MISTAKES]
EXPLAINED = [mistake for mistake in MISTAKES if not mistake.unexplained]


def name(mistake: Mistake) -> str:
    return f"{mistake.target.__module__.rpartition('.')[2]}-{mistake.name}-{mistake.spec}"


@cache
def verdict_on(mistake: Mistake) -> refopt.Verdict:
    return refopt.check(mistake.target, mistake.spec, explain=not mistake.unexplained)


@pytest.mark.parametrize("mistake", MISTAKES, ids=name)
def test_it_is_detected(mistake: Mistake) -> None:
    verdict = verdict_on(mistake)
    assert not verdict.conforms
    assert verdict.deviation is not None or verdict.error is not None


@pytest.mark.parametrize("mistake", EXPLAINED, ids=name)
def test_it_is_explained(mistake: Mistake) -> None:
    verdict = verdict_on(mistake)
    said = "\n".join([*map(str, verdict.explanations), verdict.error or "", ""])
    for words in mistake.says:
        assert words in said


def test_most_are_explained() -> None:
    assert len(EXPLAINED) >= 0.85 * len(MISTAKES)
