"""Every optimizer of every framework on this machine, each against its dialect."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from refopt import catalog, specification
from refopt.adapters.adapt import adapt, imported
from refopt.adapters.adapter import Part
from refopt.layers import REQUIRED
from refopt.oracle.check import check, judged
from refopt.oracle.probes import FAR
from refopt.oracle.reference import reference
from refopt.oracle.subject import Subject
from refopt.oracle.verdict import Verdict
from refopt.specification import Dialect

DTYPES: Final = ("float32", "float64")
"""Those of the reference's own cells. In float16 NumPy would lose the default epsilon."""


@dataclass(frozen=True)
class Plan:
    """A cell of the matrix before it is run.

    Attributes:
        spec: the expression to check against.
        dialect: the dialect's key.
        parts: the dialects of the expression's parts, innermost first.
        options: the target's further arguments.
        reason: why it is known to deviate, or empty.
    """

    spec: str
    dialect: str
    parts: tuple[Dialect, ...]
    options: Mapping[str, Any]
    reason: str = ""

    @property
    def target(self) -> str:
        """The target as one would write it: ``optax:MultiSteps(sgd)``."""
        innermost, *outer = self.parts
        module, _, text = (innermost.target or "").rpartition(":")
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        text += f"({options})" if options else ""
        for part in outer:
            attribute = (part.target or "").rpartition(":")[2]
            if part.wraps == "argument":
                text = f"{attribute}({text})"
            elif part.wraps == "chain":
                text = f"chain({attribute}, {text})"
        return f"{module}:{text}"

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
            reason=cell.deviates,
        )
        for name in specification.names()
        for key, dialect in specification.load(name).dialects.items()
        for cell in dialect.cells
    ]
    return sorted(found, key=lambda plan: plan.framework)


def installed(framework: str) -> bool:
    """Whether a framework can be imported here."""
    return importlib.util.find_spec(framework) is not None


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix.

    Attributes:
        framework: the package of the target, ``refopt`` for the reference itself.
        verdict: the outcome.
        reason: why the specification says that this cell deviates, with the evidence; else empty.
    """

    framework: str
    verdict: Verdict
    reason: str = ""

    @property
    def is_known_deviation(self) -> bool:
        """Whether it does not conform, and the specification says why."""
        return bool(self.reason) and not self.verdict.conforms

    @property
    def is_as_specified(self) -> bool:
        """Whether it conforms, or does not for the reason that the specification gives."""
        return self.is_known_deviation if self.reason else self.verdict.conforms


def run_plan(plan: Plan, *, dtype: str = "float32", seed: int = 0) -> Cell:
    """Runs one cell."""
    verdict = judged(
        plan.target,
        lambda: _subject(plan),
        plan.spec,
        dialect=plan.dialect,
        dtype=dtype,
        seed=seed,
        explain=not plan.reason,
    )
    return Cell(plan.framework, verdict, plan.reason)


def reference_cells(*, seed: int = 0) -> list[Callable[[], Cell]]:
    """The NumPy reference against its own bounds: every specification, float32 and float64."""
    return [
        partial(_reference_cell, name, dtype, seed)
        for name in specification.names()
        for dtype in DTYPES
    ]


def _reference_cell(name: str, dtype: str, seed: int) -> Cell:
    spec = example(name)
    target = reference(specification.resolve(spec))
    return Cell("refopt", check(target, spec, dtype=dtype, seed=seed, name=f"refopt:{name}"))


def example(name: str) -> str:
    """An expression of a specification: a variant goes around SGD and gets what it requires."""
    if specification.load(name).kind not in ("variant", "schedule"):
        return name
    variant = catalog.VARIANTS.get(name)
    hyperparameters = variant.default.hyperparameters if variant else {}
    required = [h for h, value in hyperparameters.items() if value is REQUIRED]
    return f"{name}({', '.join(['sgd', *(f'{h}={FAR[h]!r}' for h in required)])})"


def _subject(plan: Plan) -> Subject:
    innermost, *outer = plan.parts
    factory = imported(innermost.target or "")
    parts = [Part(factory, innermost.arguments, options=plan.options)]
    for part in outer:
        wrapper = factory if part.wraps == "option" else imported(part.target or "")
        parts.append(Part(wrapper, part.arguments, part.wraps))
    defaults = specification.canonical_defaults(plan.parts)
    return Subject(adapt(tuple(parts), plan.framework), defaults)
