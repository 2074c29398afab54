"""Collects the notebooks: each claim is a test, and a claim without a check is an error."""

from __future__ import annotations

import os
import traceback
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from derivations._notebook import FOLDER, Claim, Notebook, is_notebook, read

os.environ.setdefault("MPLBACKEND", "agg")  # figures are drawn, and shown nowhere


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """A notebook is collected as what it is, not as a module to import for its doctests."""
    collectors = yield
    if file_path.parent != FOLDER:
        return collectors
    return [NotebookFile.from_parent(parent, path=file_path)] if is_notebook(file_path) else []


class NotebookFile(pytest.File):
    """A notebook; its shared cells run once, each claim's cells on a copy of their names."""

    notebook: Notebook

    def collect(self) -> Iterable[pytest.Item]:
        """The claims, in the order of the table."""
        try:
            self.notebook = read(self.path)
        except (ValueError, SyntaxError) as error:
            raise self.CollectError(str(error)) from None
        if problems := list(self.notebook.problems()):
            raise self.CollectError("\n".join(problems))
        self.names: dict[str, Any] = {"__name__": "__main__"}  # as in Jupyter
        self.done = 0
        for claim in self.notebook.claims:
            yield ClaimItem.from_parent(self, name=claim.id, claim=claim)


class ClaimItem(pytest.Item):
    """A claim: what stands under its heading, after the shared cells before it."""

    def __init__(self, *, claim: Claim, **given: Any) -> None:
        super().__init__(**given)
        self.claim = claim

    def runtest(self) -> None:
        """Runs the shared cells that no claim before has run, and the claim's own."""
        file = self.parent
        assert isinstance(file, NotebookFile)
        shared = file.notebook.shared(self.claim)
        for cell in shared[file.done :]:
            cell.run(self.path, file.names)
        file.done = max(file.done, len(shared))
        own = dict(file.names)
        for cell in file.notebook.section(self.claim):
            cell.run(self.path, own)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """What is claimed, and the traceback from the notebook's line on."""
        frames = traceback.extract_tb(excinfo.tb)
        first = next((i for i, f in enumerate(frames) if f.filename == str(self.path)), 0)
        return "".join(
            [
                f"not shown: {self.claim.statement}\n",
                *traceback.format_list(frames[first:]),
                *traceback.format_exception_only(excinfo.value),
            ]
        )

    def reportinfo(self) -> tuple[Path, int, str]:
        """The place of the claim's first cell."""
        file = self.parent
        assert isinstance(file, NotebookFile)
        return self.path, file.notebook.section(self.claim)[0].line - 1, self.name
