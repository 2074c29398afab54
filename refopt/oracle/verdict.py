"""The outcome of a check."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["conforms", "deviates", "error"]
Precision = Literal["working", "float32-hyperparameters"]


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
    """

    probe: str
    step: int
    parameter: int
    index: tuple[int, ...]
    expected: float
    got: float
    bound: float
    ulps: float


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
        precision: ``working``, or ``float32-hyperparameters`` where it conforms only with
            hyperparameters rounded to float32.
        worst: the largest error as a fraction of its bound.
        deviation: where it first leaves the bound.
        error: what went wrong and what to do.
        probes: the ids of the probes that ran.
        notes: what could not be exercised, and why.
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
    notes: tuple[str, ...] = field(default=())
    seconds: float = 0.0

    @property
    def conforms(self) -> bool:
        """Whether every element of every step of every probe stays inside its bound."""
        return self.outcome == "conforms"

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON types; infinite and undefined numbers as strings."""
        return _plain(asdict(self))  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value
