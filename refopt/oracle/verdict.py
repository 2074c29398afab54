"""The outcome of a check."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from refopt.arithmetic.bounds import Precision
from refopt.oracle.explanation import Explanation

__all__ = ["MARKS", "Deviation", "Outcome", "Precision", "Verdict", "plain"]

Outcome = Literal["conforms", "deviates", "error"]

MARKS: Final[Mapping[Outcome, str]] = {"conforms": "✓", "deviates": "✗", "error": "!"}
"""How each outcome is marked where people read it."""

_MODES: Final[Mapping[Precision, str]] = {
    "float32-state": " with float32 arithmetic and state",
    "float32-arithmetic": " with float32 arithmetic",
    "working": "",
    "float32-hyperparameters": " once its hyperparameters are rounded to float32",
}
"""What is said of a target that conforms."""


@dataclass(frozen=True)
class Deviation:
    """The first element, in the order of probes and steps, that is outside its bound.

    Attributes:
        probe: the probe's id.
        step: the 1-based step.
        parameter: the position of the parameter.
        index: the element's position in it.
        expected: what the reference computes.
        got: what the target returned.
        bound: how far it may be from that.
        ulps: how far it is, in units in the last place of the target's format.
        hyperparameters: those of the probe, with the learning rate of the step.
    """

    probe: str
    step: int
    parameter: int
    index: tuple[int, ...]
    expected: float
    got: float
    bound: float
    ulps: float
    hyperparameters: Mapping[str, Any]

    def __str__(self) -> str:
        element = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        values = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items())
        off = abs(self.got - self.expected)
        digits = self._digits()
        lines = [
            f"probe {self.probe}, step {self.step}, parameter {self.parameter}{element}",
            f"  expected  {self.expected:.{digits}g}",
            f"  got       {self.got:.{digits}g}",
            f"  off by    {off:.3g} ({self.ulps:.3g} ulps)" if math.isfinite(off) else "",
            f"  allowed   {self.bound:.3g}",
            f"  at {values}" if values else "",
        ]
        return "\n".join(line for line in lines if line)

    def _digits(self) -> int:
        """As many as show the difference."""
        off = abs(self.got - self.expected) / max(abs(self.got), abs(self.expected))
        return min(17, 3 - math.floor(math.log10(off))) if 0 < off < 1e-3 else 6


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        target: what was checked.
        spec: the expression it was checked against.
        dialect: the dialect, or None for the canonical form.
        dtype: of parameters and gradients.
        seed: of the probes' values.
        outcome: ``conforms``, ``deviates``, or ``error`` where it could not be run.
        precision: the strictest mode of arithmetic in which it conforms
            (:mod:`refopt.arithmetic.bounds`): ``working``, or ``float32-hyperparameters`` where
            it does only with hyperparameters rounded to float32; with 16 bits before these
            ``float32-state`` and ``float32-arithmetic``.
        worst: the largest error as a fraction of its bound.
        deviation: where it first leaves the bound.
        error: what went wrong and what to do.
        probes: the ids of the probes that ran.
        notes: what could not be exercised, and why.
        explanations: what it computes instead; more than one where no probe can tell them apart.
        script: where no other optimizer explains a deviation, the smallest run that shows it, as a
            script.
        seconds: how long it took.
    """

    target: str
    spec: str
    dialect: str | None
    dtype: str
    seed: int
    outcome: Outcome
    precision: Precision | None = None
    worst: float | None = None
    deviation: Deviation | None = None
    error: str | None = None
    probes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    script: str | None = None
    seconds: float = 0.0

    @property
    def conforms(self) -> bool:
        """Whether every element of every step of every probe stays inside its bound."""
        return self.outcome == "conforms"

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON types; infinite and undefined numbers as strings."""
        return plain(asdict(self))  # type: ignore[no-any-return]

    def __str__(self) -> str:
        """The outcome first, then where and how far, then what was done, and how to see it."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        spec = f"{self.spec} as {self.dialect} has it" if self.dialect else self.spec
        head = f"{MARKS[self.outcome]} {self.target}"
        if self.outcome == "error":
            yield f"{head} could not be checked against {spec}: {self.error}"
            yield from self._explained()
            return
        how = f"({self.dtype}, seed {self.seed}, {self.seconds:.2f} s)"
        if self.deviation is not None:
            yield f"{head} deviates from {spec} {how}"
            yield textwrap.indent(f"first in {self.deviation}", "  ")
            yield f"  largest error: {self.worst:.3g} times its bound"
            yield from self._explained()
            if not self.explanations:
                yield "  no change of the reference explains it"
        else:
            yield f"{head} conforms to {spec}{_MODES[self.precision or 'working']} {how}"
            yield f"  largest error: {self.worst:.2f} of its bound"
        yield f"  probes: {', '.join(self.probes)}"
        yield from (f"  note: {note}" for note in self.notes)
        if self.script:
            yield "  reproduced by:"
            yield textwrap.indent(self.script.rstrip(), "    ")

    def _explained(self) -> Iterator[str]:
        if self.explanations:
            yield textwrap.indent(f"explained by {self.explanations[0]}", "  ")
        if others := len(self.explanations[1:]):
            yield f"  or {others} more that no probe can tell from it: refopt identify"


def plain(value: Any) -> Any:
    """A value as JSON types: infinite and undefined numbers as strings, keys as well."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
