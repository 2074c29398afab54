"""What people are shown: the listing, the pages of the specification, and the matrix."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console, RenderableType

import refopt
from refopt import catalog, specification
from refopt.oracle.matrix import Cell
from refopt.oracle.verdict import Outcome, Precision, Verdict
from refopt.report.listing import listing
from refopt.report.matrix import header, summary, surroundings, table
from refopt.report.pages import page


def shown(content: RenderableType, width: int = 200) -> str:
    """As it is written to a file."""
    out = io.StringIO()
    Console(file=out, width=width).print(content)
    return out.getvalue()


def cell(
    outcome: Outcome,
    worst: float | None = None,
    precision: Precision | None = None,
    *,
    framework: str = "torch",
    reason: str = "",
) -> Cell:
    verdict = Verdict(
        f"{framework}:SGD", "sgd", None, "float32", 0, outcome, precision=precision, worst=worst
    )
    return Cell(framework, verdict, reason)


# The specification


def test_the_listing_has_every_specification_under_its_kind() -> None:
    kind, found = "", {}
    for line in listing().splitlines():
        if line.startswith("  "):
            name, title = line.split(maxsplit=1)
            found[name] = (kind, title)
        else:
            kind = line.removesuffix("s")
    assert found == {
        name: (specification.load(name).kind, specification.load(name).title)
        for name in specification.names()
    }


@pytest.mark.parametrize("name", specification.names())
def test_every_specification_has_a_page(name: str) -> None:
    spec = specification.load(name)
    text = shown(page(name), width=1000)
    assert spec.title in text
    for equation in spec.equations:
        assert equation in text
    for source in spec.sources:
        assert source.url in text
    for hyperparameter in spec.hyperparameters:
        assert hyperparameter.meaning in text
    for key, dialect in spec.dialects.items():
        row = next(line for line in text.splitlines() if line.split()[:1] == [key])
        assert dialect.form in row
    if name in catalog.RULES:
        assert f"def {name}(" in text


# The matrix


def test_the_header_names_versions_platform_and_seed() -> None:
    first, second = header(["numpy", "nowhere"], 7).splitlines()
    assert first.startswith(f"refopt {refopt.__version__} · numpy ")
    assert first.endswith(" · nowhere ?")
    assert re.fullmatch(r"Python 3\.\d+\.\S+ · \S+ \S+ · seed 7", second)
    assert surroundings([])["versions"]["refopt"] == refopt.__version__


def test_the_table_has_a_row_for_each_cell() -> None:
    cells = [
        cell("conforms", 0.12345, "working"),
        cell("conforms", 0.9, "float32-hyperparameters"),
        cell("deviates", 12345.6, framework="keras"),
        cell("error", framework="keras", reason="known"),
    ]
    rows = [line.split() for line in shown(table(cells)).splitlines() if line.strip()]
    assert rows[0] == ["target", "spec", "dialect", "dtype", "precision", "worst/bound"]
    assert rows[2:] == [
        ["✓", "torch:SGD", "sgd", "canonical", "float32", "working", "0.123"],
        ["✓", "torch:SGD", "sgd", "canonical", "float32", "float32-hyperparameters", "0.9"],
        ["✗", "keras:SGD", "sgd", "canonical", "float32", "deviates", "1.23e+04"],
        ["!", "keras:SGD", "sgd", "canonical", "float32", "error", "(known)"],
    ]


def test_targets_are_no_markup() -> None:
    odd = Cell(
        "torch", Verdict("a:b", "l2(sgd)[/]", None, "float32", 0, "conforms", "working", 0.5)
    )
    assert "l2(sgd)[/]" in shown(table([odd]))


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([], "0 of 0 cells conform; 1.5 s"),
        (
            [cell("conforms", 0.25), cell("conforms", 0.75)],
            "2 of 2 cells conform, median worst error 0.50 of its bound; 1.5 s",
        ),
        (
            [
                cell("conforms", 0.25),
                cell("deviates", 9.0),
                cell("deviates", 9.0, reason="known"),
                cell("error"),
            ],
            (
                "1 of 4 cells conform, 2 deviate (1 of them known), 1 could not be run, "
                "median worst error 0.25 of its bound; 1.5 s"
            ),
        ),
    ],
)
def test_the_summary_counts_outcomes(cells: list[Cell], text: str) -> None:
    assert summary(cells, 1.5) == text
