"""The matrix of all frameworks, as a table."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

import refopt
from refopt.oracle.matrix import Cell
from refopt.oracle.verdict import MARKS

_STYLES: Final = {"conforms": "green", "deviates": "red", "error": "yellow"}


def surroundings(frameworks: Iterable[str]) -> dict[str, Any]:
    """What the checks ran with, and where."""
    return {
        "versions": {
            "refopt": refopt.__version__,
            **{name: _version(name) for name in ("numpy", *frameworks)},
        },
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def header(frameworks: Iterable[str], seed: int) -> str:
    """What was checked, with what, where."""
    found = surroundings(frameworks)
    versions = " · ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{versions}\nPython {found['python']} · {found['platform']} · seed {seed}"


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
            Text(MARKS[verdict.outcome], style=_STYLES[verdict.outcome]),
            Text(verdict.target),
            Text(verdict.spec),
            verdict.dialect or "canonical",
            verdict.dtype,
            _result(cell),
            "" if verdict.worst is None else f"{verdict.worst:.3g}",
        )
    return made


def summary(cells: Sequence[Cell], seconds: float) -> str:
    """How many cells there are of each outcome, and how close the bounds are."""
    conforming = [c.verdict for c in cells if c.verdict.conforms]
    parts = [f"{len(conforming)} of {len(cells)} cells conform"]
    for outcome, words in (("deviates", "deviate"), ("error", "could not be run")):
        found = [cell for cell in cells if cell.verdict.outcome == outcome]
        known = sum(cell.is_known_deviation for cell in found)
        if found:
            parts.append(f"{len(found)} {words}" + (f" ({known} of them known)" if known else ""))
    ratios = [v.worst for v in conforming if v.worst is not None]
    if ratios:
        parts.append(f"median worst error {statistics.median(ratios):.2f} of its bound")
    return f"{', '.join(parts)}; {seconds:.1f} s"


def _result(cell: Cell) -> str:
    found = cell.verdict.precision or cell.verdict.outcome
    return f"{found} (known)" if cell.is_known_deviation else found


def _version(package: str) -> str:
    """The version of a package, whatever the distribution is called that it came with."""
    try:
        return version(package)
    except PackageNotFoundError:
        distributions = packages_distributions().get(package, [])
        return version(distributions[0]) if distributions else "?"
