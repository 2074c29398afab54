"""What is known of changes: every entry is about one, and is what its report says."""

from functools import cache

import pytest

from refopt import catalog, specification
from refopt.oracle.circumstances import CIRCUMSTANCES
from refopt.oracle.edits import double_edits
from refopt.oracle.identify import all_edits
from refopt.oracle.matrix import example
from refopt.oracle.reports import Report, known, reports
from refopt.oracle.saving import losses


@cache
def changes() -> frozenset[tuple[str, str]]:
    """File and description of all that explains a target of any specification or dialect."""
    found = {(each.subject, each.description) for each in CIRCUMSTANCES}
    for name in specification.names():
        optimizer = catalog.build(example(name))
        found |= {(edit.file, edit.description) for edit in all_edits(optimizer)}
        found |= {("saving and loading", words) for words in losses(optimizer)}
        for key in specification.dialect_keys(name):
            found.add(("", specification.differences(name, key)))
    for rule in ("sgd_lr_inside", "sgd_ema", "nadam"):
        found |= {(e.file, e.description) for e in double_edits(catalog.build(rule))}
        found |= {(e.file, e.description) for e in all_edits(catalog.build(rule))}
    return frozenset(found)


@pytest.mark.parametrize(
    "report", reports(), ids=lambda report: f"{report.match[0]} in {report.file}"
)
def test_an_entry_is_about_a_change(report: Report) -> None:
    for pattern in report.match:
        alone = Report(match=(pattern,), known_as=report.known_as, file=report.file)
        assert any(alone.is_of(file, words) for file, words in changes()), pattern


def test_a_change_has_its_names_and_reports() -> None:
    names, links = known("refopt/rules/adam.py", "the step count is one too large")
    assert "bias correction off by one" in names
    assert links == ("https://github.com/tensorflow/tensorflow/issues/35444",)


def test_the_same_words_elsewhere_are_another_change() -> None:
    names, _ = known("refopt/schedules.py", "the step count is one too large")
    assert names == ("schedule off by one step",)


def test_what_is_not_known_has_no_names() -> None:
    assert known("refopt/rules/adam.py", "qqq") == ((), ())
