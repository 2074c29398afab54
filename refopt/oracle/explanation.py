"""What explains a target: lines of the reference that it has otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from refopt.oracle.reports import known


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
    def of(cls, file: str, line: int, before: str, after: str, description: str) -> Self:
        """A difference with what is known of it."""
        return cls(file, line, before, after, description, *known(file, description))

    def __str__(self) -> str:
        """The place and the change in words, as a diff, and where it was seen before."""
        removed = [f"- {line}" for line in self.before.splitlines()]
        added = [f"+ {line}" for line in self.after.splitlines()]
        place = f"{self.file}:{self.line}" if self.line else self.file
        names = [f"known as: {', '.join(self.known_as)}"] * bool(self.known_as)
        lines = [f"{place}: {self.description}", *removed, *added, *names]
        return "\n".join([*lines, *(f"see {link}" for link in self.links)])


@dataclass(frozen=True)
class Explanation:
    """An optimizer that does what the target does.

    Attributes:
        spec: its expression.
        dialect: whose form of it, or None for the canonical form.
        differences: how it differs from that.
        worst: the largest error of the target as a fraction of its bound; infinite where what
            explains it is no other optimizer.
        is_changed: whether it is neither the canonical form nor a dialect.
    """

    spec: str
    dialect: str | None
    differences: tuple[Difference, ...]
    worst: float
    is_changed: bool = False

    def __str__(self) -> str:
        name = f"{self.spec} as {self.dialect} has it" if self.dialect else self.spec
        return "\n".join([name + ":" * bool(self.differences), *map(str, self.differences)])
