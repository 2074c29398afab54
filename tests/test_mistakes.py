"""Mistakes that people made: each is detected."""

from importlib import import_module

import pytest
from mistakes.target import Mistake

import refopt

MODULES = (
    "accumulators", "adam", "decay", "failures", "inplace", "pairs", "sgd", "stepping", "wrappers",
)  # fmt: skip
MISTAKES = [m for name in MODULES for m in import_module(f"mistakes.{name}").MISTAKES]


def name(mistake: Mistake) -> str:
    return f"{mistake.target.__module__.rpartition('.')[2]}-{mistake.name}-{mistake.spec}"


@pytest.mark.parametrize("mistake", MISTAKES, ids=name)
def test_it_is_detected(mistake: Mistake) -> None:
    verdict = refopt.check(mistake.target, mistake.spec, explain=False)
    assert not verdict.conforms
    assert verdict.deviation is not None or verdict.error is not None
