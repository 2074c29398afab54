"""What an examination of properties found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from refopt.oracle.properties.relation import Failure
from refopt.oracle.verdict import MARKS, Outcome, plain


@dataclass(frozen=True)
class PropertyVerdict:
    """Whether a target has a property.

    Attributes:
        target: what was examined.
        spec: the expression whose properties it should have.
        dialect: whose form of it, or None for the canonical form.
        dtype: of parameters and gradients.
        seed: of the cases.
        name: of the property.
        statement: its mathematics.
        holds: where it must hold bit for bit, and where within derived bounds.
        outcome: ``conforms``, ``deviates``, or ``error`` where it could not be run.
        failure: the minimal case that refutes it.
        error: what went wrong and what to do.
        notes: why it was not examined.
        cases: in how many cases it was.
        seconds: how long it took.
    """

    target: str
    spec: str
    dialect: str | None
    dtype: str
    seed: int
    name: str
    statement: str
    holds: str
    outcome: Outcome
    failure: Failure | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    cases: int = 0
    seconds: float = 0.0

    @property
    def conforms(self) -> bool:
        """Whether no case refutes it, or none could."""
        return self.outcome == "conforms"

    @property
    def is_examined(self) -> bool:
        """Whether it could be."""
        return not self.notes

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON types."""
        return plain(asdict(self))  # type: ignore[no-any-return]

    def line(self) -> str:
        """The outcome in one line."""
        mark = MARKS[self.outcome] if self.is_examined else "-"
        what = f"{self.cases} cases" if self.is_examined else f"not examined: {self.notes[0]}"
        if self.outcome != "conforms":
            what = self.error or (self.failure.text if self.failure else "")
        return f"{mark} {self.name}: {what}"

    def __str__(self) -> str:
        """The outcome, the statement, and the script that refutes it."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        spec = f"{self.spec} as {self.dialect} has it" if self.dialect else self.spec
        has = {"conforms": "has", "deviates": "lacks", "error": "could not be examined for"}
        verb = has[self.outcome] if self.is_examined else "was not examined for"
        yield (
            f"{MARKS[self.outcome]} {self.target} {verb} {self.name}, a property of {spec} "
            f"({self.dtype}, seed {self.seed}, {self.cases} cases, {self.seconds:.2f} s)"
        )
        yield f"  {self.statement} ({self.holds})"
        if self.failure is not None:
            yield f"  {self.failure.text}"
            yield "  the smallest case found, to be run:"
            yield textwrap.indent(self.failure.script.rstrip(), "    ")
        if self.error is not None:
            yield f"  {self.error}"
        yield from (f"  note: {note}" for note in self.notes)


@dataclass(frozen=True)
class PropertyReport:
    """The verdicts on all properties of a target."""

    verdicts: tuple[PropertyVerdict, ...]

    @property
    def conforms(self) -> bool:
        """Whether the target has every property that could be examined."""
        return all(verdict.conforms for verdict in self.verdicts)

    @property
    def outcome(self) -> Outcome:
        """``error`` where any could not be run, else ``deviates`` where any is lacking."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        if "error" in outcomes:
            return "error"
        return "deviates" if "deviates" in outcomes else "conforms"

    def __getitem__(self, name: str) -> PropertyVerdict:
        return next(verdict for verdict in self.verdicts if verdict.name == name)

    def to_json(self) -> dict[str, Any]:
        """The verdicts as JSON types."""
        return {"outcome": self.outcome, "properties": [v.to_json() for v in self.verdicts]}

    def __str__(self) -> str:
        """A line for each property, then those that are lacking in full."""
        first = self.verdicts[0]
        examined = [v for v in self.verdicts if v.is_examined]
        held = sum(v.conforms for v in examined)
        spec = f"{first.spec} as {first.dialect} has it" if first.dialect else first.spec
        head = (
            f"{MARKS[self.outcome]} {first.target} has {held} of {len(examined)} properties of "
            f"{spec} ({first.dtype}, seed {first.seed}, {sum(v.seconds for v in examined):.1f} s)"
        )
        lines = [f"  {verdict.line()}" for verdict in self.verdicts]
        return "\n".join([head, *lines, *(str(v) for v in self.verdicts if not v.conforms)])
