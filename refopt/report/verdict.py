"""A verdict in words."""

from __future__ import annotations

from refopt.oracle.verdict import Deviation, Verdict

MARKS = {"conforms": "✓", "deviates": "✗", "error": "!"}


def text(verdict: Verdict) -> str:
    """The verdict as a person wants to read it: the outcome first, then where and how far."""
    spec = form(verdict)
    head = f"{MARKS[verdict.outcome]} {verdict.target}"
    if verdict.outcome == "error":
        return f"{head} could not be checked against {spec}: {verdict.error}"
    runs = f"{verdict.dtype}, seed {verdict.seed}, {verdict.seconds:.2f} s"
    lines = [
        f"{head} conforms to {spec}: worst error {verdict.worst:.2f} of its bound ({runs})"
        if verdict.conforms
        else f"{head} deviates from {spec} ({runs})"
    ]
    if verdict.precision == "float32-hyperparameters":
        lines.append("  once its hyperparameters are taken as rounded to float32")
    if verdict.deviation is not None:
        lines += _where(verdict.deviation, verdict.worst or 0.0)
    lines.append(f"  probes: {', '.join(verdict.probes)}")
    lines += [f"  note: {note}" for note in verdict.notes]
    return "\n".join(lines)


def form(verdict: Verdict) -> str:
    """What it was checked against: ``adam as keras has it``."""
    return f"{verdict.spec} as {verdict.dialect} has it" if verdict.dialect else verdict.spec


def _where(deviation: Deviation, worst: float) -> list[str]:
    element = f"[{', '.join(map(str, deviation.index))}]" if deviation.index else ""
    off = abs(deviation.got - deviation.expected)
    return [
        f"  first in probe {deviation.probe}, step {deviation.step}, "
        f"parameter {deviation.parameter}{element}",
        f"    expected {deviation.expected!r:>24}",
        f"    got      {deviation.got!r:>24}",
        f"    off by   {off:24.2e}  ({deviation.ulps:.3g} ulps)",
        f"    allowed  {deviation.bound:24.2e}",
        f"  farthest anywhere: {worst:.3g} times its bound",
    ]
