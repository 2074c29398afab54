"""A target with what the specification knows about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refopt import specification
from refopt.adapters.adapt import adapt, framework
from refopt.adapters.adapter import Adapter, Part


@dataclass(frozen=True)
class Subject:
    """A target with what is known about it.

    Attributes:
        adapter: starts it.
        defaults: the canonical hyperparameters that it is known to have when it is given none.
    """

    adapter: Adapter
    defaults: Mapping[str, Any] = field(default_factory=dict)


def subject_of(
    target: Any, specs: Sequence[str], dialect: str | None, options: Mapping[str, Any]
) -> Subject:
    """A target that should be one of some optimizers, adapted."""
    kind = framework(target)
    arguments: dict[str, str | tuple[str, ...]] = {}
    defaults: dict[str, Any] = {}
    for spec in specs:
        if kind is None:
            arguments |= {n: n for n in specification.resolve(spec, dialect).hyperparameters()}
            continue
        forms = specification.dialects(spec, kind, dialect).values()
        arguments |= {k: v for form in forms for k, v in form.arguments.items()}
        if dialect is not None:
            defaults |= specification.canonical_defaults(forms)
    return Subject(adapt((Part(target, arguments, options=options),), kind), defaults)


def described(target: Any) -> str:
    """A target by its module and name."""
    kind = target if hasattr(target, "__qualname__") else type(target)
    return f"{kind.__module__}:{kind.__qualname__}"
