"""The matrix of all frameworks, as a table."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from rich import box
from rich.table import Table
from rich.text import Text

from refopt.oracle.matrix import Cell
from refopt.report.verdict import MARKS

STYLES = {"conforms": "green", "deviates": "red", "error": "yellow"}


def header(frameworks: Iterable[str], seed: int) -> str:
    """What was checked, with what, where."""
    versions = [f"{name} {_version(name)}" for name in ("refopt", "numpy", *frameworks)]
    return (
        f"{' · '.join(versions)}\n"
        f"Python {platform.python_version()} · {platform.system()} {platform.machine()} · "
        f"seed {seed}"
    )


def table(cells: Sequence[Cell]) -> Table:
    """A row for each cell: target, what it was checked against, outcome, precision, worst."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "target", "spec", "dialect", "dtype", "precision"):
        made.add_column(column, overflow="fold")
    made.add_column("worst/bound", justify="right")
    previous = None
    for cell in cells:
        verdict = cell.verdict
        if previous not in (None, cell.framework):
            made.add_section()
        previous = cell.framework
        made.add_row(
            Text(MARKS[verdict.outcome], style=STYLES[verdict.outcome]),
            verdict.target,
            verdict.spec,
            verdict.dialect or "canonical",
            verdict.dtype,
            verdict.precision or verdict.outcome,
            "" if verdict.worst is None else f"{verdict.worst:.2f}",
        )
    return made


def summary(cells: Sequence[Cell], seconds: float) -> str:
    """How many cells there are of each outcome, and how close the bounds are."""
    count = {outcome: sum(c.verdict.outcome == outcome for c in cells) for outcome in MARKS}
    known = sum(c.is_known_deviation for c in cells)
    ratios = [c.verdict.worst for c in cells if c.verdict.conforms and c.verdict.worst is not None]
    parts = [f"{count['conforms']} of {len(cells)} cells conform"]
    if count["deviates"]:
        parts.append(f"{count['deviates']} deviate ({known} of them known)")
    if count["error"]:
        parts.append(f"{count['error']} could not be run")
    if ratios:
        parts.append(f"median worst error {statistics.median(ratios):.2f} of its bound")
    return f"{', '.join(parts)}; {seconds:.1f} s"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
