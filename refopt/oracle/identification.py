"""What a target is: the answer of :func:`refopt.identify`."""

from __future__ import annotations

from dataclasses import dataclass

from refopt.oracle.edits import Edit
from refopt.oracle.verdict import Verdict


@dataclass(frozen=True)
class Difference:
    """A line of the reference that, changed so, explains what a target does.

    Attributes:
        file: the file, as it stands in the repository.
        line: the line's number there.
        before: the reference's line.
        after: what the target does.
        description: the difference in words.
        known_as: names under which this mistake or convention is known.
        links: reports of it.
    """

    file: str
    line: int
    before: str
    after: str
    description: str
    known_as: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @classmethod
    def of(cls, edit: Edit) -> Difference:
        """An edit as what it explains."""
        return cls(edit.file, edit.line, edit.before, edit.after, edit.description)

    def __str__(self) -> str:
        removed = "\n".join(f"- {line}" for line in self.before.splitlines())
        added = "\n".join(f"+ {line}" for line in self.after.splitlines())
        return f"{self.file}:{self.line}: {self.description}\n{removed}\n{added}"


@dataclass(frozen=True)
class Explanation:
    """An optimizer that does what the target does.

    Attributes:
        spec: its expression.
        dialect: whose form of it, or None for the canonical form.
        differences: how it differs from that.
        worst: the largest error of the target as a fraction of its bound.
    """

    spec: str
    dialect: str | None
    differences: tuple[Difference, ...]
    worst: float

    def __str__(self) -> str:
        name = f"{self.spec} as {self.dialect} has it" if self.dialect else self.spec
        if not self.differences:
            return name
        return "\n".join([f"{name}, but", *map(str, self.differences)])


@dataclass(frozen=True)
class Identification:
    """What a target is.

    Attributes:
        target: what was identified.
        explanation: the simplest explanation, or None.
        equivalent: other explanations that no probe can tell from it.
        closest: where nothing explains it, the verdict that comes nearest.
        tried: how many hypotheses were tried.
        seconds: how long it took.
        error: why the target could not be run, or None.
    """

    target: str
    explanation: Explanation | None = None
    equivalent: tuple[Explanation, ...] = ()
    closest: Verdict | None = None
    tried: int = 0
    seconds: float = 0.0
    error: str | None = None

    @property
    def dialect(self) -> str | None:
        """The name of the dialect that it is, if it is one."""
        return self.explanation.dialect if self.explanation else None

    @property
    def differences(self) -> tuple[Difference, ...]:
        """How it differs from the reference."""
        return self.explanation.differences if self.explanation else ()
