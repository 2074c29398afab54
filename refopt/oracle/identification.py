"""What a target is: the answer of :func:`refopt.identify`."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from typing import Any, Literal

from refopt.oracle.explanation import Difference, Explanation
from refopt.oracle.verdict import plain

Outcome = Literal["identified", "unknown", "error"]


@dataclass(frozen=True)
class Identification:
    """What a target is.

    Attributes:
        target: what was identified.
        outcome: ``identified``, ``unknown`` where nothing explains it, or ``error`` where it could
            not be run.
        explanation: the simplest explanation, or None.
        equivalent: other explanations that no probe can tell from it.
        closest: where nothing explains it, the form that most probes agree with.
        script: the smallest run that shows how the target differs from that, as a script.
        error: what went wrong and what to do.
        tried: how many hypotheses were tried.
        seconds: how long it took.
    """

    target: str
    outcome: Outcome
    explanation: Explanation | None = None
    equivalent: tuple[Explanation, ...] = ()
    closest: str | None = None
    script: str | None = None
    error: str | None = None
    tried: int = 0
    seconds: float = 0.0

    @property
    def is_a_form(self) -> bool:
        """Whether it is the reference or a dialect, not a change of one."""
        return self.explanation is not None and not self.explanation.is_changed

    @property
    def dialect(self) -> str | None:
        """The name of the dialect that it is, if it is one."""
        return self.explanation.dialect if self.explanation else None

    @property
    def differences(self) -> tuple[Difference, ...]:
        """How it differs from the reference."""
        return self.explanation.differences if self.explanation else ()

    def to_json(self) -> dict[str, Any]:
        """The identification as JSON types."""
        return plain(asdict(self) | {"dialect": self.dialect})  # type: ignore[no-any-return]

    def __str__(self) -> str:
        """The answer first, as a difference of the reference; then what else it could be."""
        if self.outcome == "error":
            return f"! {self.target} could not be identified: {self.error}"
        if self.explanation is None:
            none = f"{self.target} is none of {self.tried} forms and changes of them"
            lines = [f"? {none}; the closest is {self.closest}"]
            if self.script:
                lines += ["they differ in this:", textwrap.indent(self.script.rstrip(), "  ")]
            return "\n".join(lines)
        lines = [f"{self.target} is {self.explanation}"]
        if self.equivalent:
            count = len(self.equivalent)
            lines.append(f"no probe can tell it from {count} other{'s' if count > 1 else ''}:")
            lines += [textwrap.indent(str(other), "  ") for other in self.equivalent]
        return "\n".join(lines)
