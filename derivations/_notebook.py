"""Reads the notebooks: the table of claims at the top, and the cells that check each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jupytext

FOLDER: Final = Path(__file__).parent
COLUMNS: Final = "| id | statement | hypotheses | how it is checked |"

_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK: Final = re.compile(r"\[(?P<id>[a-z0-9]+(?:-[a-z0-9]+)*)\]\(#(?P=id)\)")


@dataclass(frozen=True)
class Claim:
    """A row of the table."""

    id: str
    statement: str
    hypotheses: str
    method: str


@dataclass(frozen=True)
class Cell:
    """A cell of code: its first line in the file, and the heading that it stands under."""

    line: int
    heading: str
    source: str

    def run(self, path: Path, names: dict[str, Any]) -> None:
        """Runs it on those names; a traceback shows the notebook's lines."""
        exec(compile("\n" * (self.line - 1) + self.source, str(path), "exec"), names)  # noqa: S102

    @property
    def asserts(self) -> bool:
        """Whether it asserts something."""
        return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(self.source)))


@dataclass(frozen=True)
class Notebook:
    """A notebook: its title, the claims that it declares, and its cells of code in order."""

    path: Path
    title: str
    claims: tuple[Claim, ...]
    headings: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """The name of the file, without its ending."""
        return self.path.stem

    def section(self, claim: Claim) -> list[Cell]:
        """The cells under the heading of a claim."""
        return [cell for cell in self.cells if cell.heading == claim.id]

    def shared(self, claim: Claim) -> list[Cell]:
        """The cells before the heading of a claim that belong to none."""
        ids = {each.id for each in self.claims}
        before = self.section(claim)[0].line
        return [cell for cell in self.cells if cell.heading not in ids and cell.line < before]

    def problems(self) -> Iterator[str]:
        """What is declared and not checked, or checked and not declared."""
        ids = [claim.id for claim in self.claims]
        if not ids:
            yield f"no table of claims; it starts with {COLUMNS}"
        for claim in self.claims:
            if ids.count(claim.id) > 1 or self.headings.count(claim.id) > 1:
                yield f"claim {claim.id} occurs twice"
            if not all((claim.statement, claim.hypotheses, claim.method)):
                yield f"claim {claim.id} lacks a statement, its hypotheses or how it is checked"
            if not any(cell.asserts for cell in self.section(claim)):
                yield f"claim {claim.id} is in the table, but nothing is asserted under its heading"
        for cell in self.cells:
            if cell.asserts and cell.heading not in ids:
                yield f"line {cell.line} asserts something under no claim of the table"


def is_notebook(path: Path) -> bool:
    """Whether a file of the folder is a notebook rather than what runs them."""
    return path.suffix == ".py" and not path.name.startswith("_") and path.stem != "conftest"


def notebooks() -> list[Notebook]:
    """All of them, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.py")) if is_notebook(path)]


def read(path: Path) -> Notebook:
    """A notebook from its file.

    Raises:
        ValueError: a row of the table of claims has no id, or not four columns.
    """
    text = path.read_text("utf-8")
    claims: list[Claim] = []
    cells: list[Cell] = []
    headings: list[str] = []
    position = 0
    for cell in jupytext.reads(text, fmt="py:percent").cells:
        if cell.cell_type == "markdown":
            headings += _HEADING.findall(cell.source)
            claims += _claims(path, cell.source)
        elif cell.cell_type == "code":
            position = text.index(cell.source, position)
            line = text.count("\n", 0, position) + 1
            cells.append(Cell(line, headings[-1] if headings else "", cell.source))
            position += len(cell.source)
    title = headings[0] if headings else path.stem
    return Notebook(path, title, tuple(claims), tuple(headings), tuple(cells))


def _claims(path: Path, markdown: str) -> Iterator[Claim]:
    """The rows of the table of claims, if it is in that cell."""
    _, _, table = markdown.partition(f"{COLUMNS}\n")
    for row in table.splitlines()[1:]:
        if not row.startswith("|"):
            break
        link, *columns = (column.strip() for column in row.strip("|").split("|"))
        match = _LINK.fullmatch(link)
        if match is None or len(columns) != 3:
            raise ValueError(
                f"{path.name}: this row should be | [id](#id) | statement | hypotheses | check |, "
                rf"with \lvert for a bar in a formula: {row}"
            )
        yield Claim(match["id"], *columns)
