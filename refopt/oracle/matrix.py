"""Every optimizer of every framework on this machine, each against its dialect."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refopt import specification
from refopt.adapters.adapt import adapt, imported
from refopt.adapters.adapter import Part
from refopt.oracle.check import Subject, judged
from refopt.oracle.verdict import Verdict
from refopt.specification import Dialect


@dataclass(frozen=True)
class Plan:
    """One cell of the matrix before it is run."""

    spec: str
    dialect: str
    parts: tuple[Dialect, ...]
    options: Mapping[str, Any]

    @property
    def target(self) -> str:
        """The target as one would write it: ``optax:MultiSteps(sgd)``."""
        innermost, *outer = self.parts
        module, _, text = (innermost.target or "").rpartition(":")
        for part in outer:
            attribute = (part.target or "").rpartition(":")[2]
            if part.wraps == "argument":
                text = f"{attribute}({text})"
            elif part.wraps == "chain":
                text = f"chain({attribute}, {text})"
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{module}:{text}({given})" if given else f"{module}:{text}"

    @property
    def framework(self) -> str:
        """The package that the target belongs to."""
        return self.parts[0].framework


def plans() -> list[Plan]:
    """Every cell that the specification lists, by framework and name."""
    found = [
        Plan(
            spec=cell.spec,
            dialect=key,
            parts=tuple(specification.dialects(cell.spec, dialect.framework, key).values()),
            options=cell.options,
        )
        for name in specification.names()
        for key, dialect in specification.load(name).dialects.items()
        for cell in dialect.cells
    ]
    return sorted(found, key=lambda plan: plan.framework)


def installed(framework: str) -> bool:
    """Whether a framework can be imported here."""
    return importlib.util.find_spec(framework) is not None


def run_plan(plan: Plan, *, dtype: str = "float32", seed: int = 0) -> Verdict:
    """The verdict on one cell."""
    return judged(
        plan.target,
        lambda: _subject(plan),
        plan.spec,
        dialect=plan.dialect,
        dtype=dtype,
        seed=seed,
    )


def _subject(plan: Plan) -> Subject:
    innermost, *outer = plan.parts
    factory = imported(innermost.target or "")
    parts = [Part(factory, innermost.arguments, options=plan.options)]
    for part in outer:
        wrapper = factory if part.wraps == "option" else imported(part.target or "")
        parts.append(Part(wrapper, part.arguments, part.wraps))
    defaults = specification.canonical_defaults(plan.parts)
    return Subject(adapt(tuple(parts), plan.framework), defaults)
