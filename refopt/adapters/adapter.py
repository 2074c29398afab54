"""The shape of a target, and of what adapts other things to it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

Arrays = list[np.ndarray]
Gradients = Sequence[np.ndarray | None]
Arguments = Mapping[str, str | tuple[str, ...]]
"""A framework's argument names, and the canonical hyperparameters that each takes."""


class Session(Protocol):
    """A started target. ``set_lr``, ``state_dict`` and ``load_state_dict`` are optional."""

    def step(self, grads: Gradients) -> Arrays:
        """Takes one step and returns all parameters; None leaves a parameter alone."""


@dataclass(frozen=True)
class Part:
    """One callable of a target, such as ``optax.sgd`` inside ``optax.MultiSteps``.

    Attributes:
        factory: the class or function.
        arguments: its argument names and the canonical hyperparameters they take.
        wraps: how it takes the part inside: as its first argument, chained before it, or as
            further arguments of the innermost part's own call; None for the innermost part.
        options: arguments that are passed through as they are.
    """

    factory: Callable[..., Any]
    arguments: Arguments
    wraps: Literal["argument", "chain", "option"] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def accepted(self) -> frozenset[str]:
        """The canonical hyperparameters that it takes."""
        taken = argument_names(self.factory)
        return frozenset(
            name
            for argument, canonical in self.arguments.items()
            if taken is None or argument in taken
            for name in _names(canonical)
        )

    def translated(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Canonical hyperparameters under its own argument names; others are left out."""
        taken = self.accepted()
        values: dict[str, Any] = {}
        for argument, canonical in self.arguments.items():
            names = _names(canonical)
            if all(name in taken and name in hyperparameters for name in names):
                found = tuple(hyperparameters[name] for name in names)
                values[argument] = found[0] if isinstance(canonical, str) else found
        return values | dict(self.options)


@dataclass(frozen=True)
class Adapter(ABC):
    """A target, ready to be started as often as there are probes.

    Attributes:
        parts: what it is made of, innermost first.
    """

    parts: tuple[Part, ...]

    takes_missing = True
    """Whether gradients may be missing."""

    def accepted(self) -> frozenset[str]:
        """The canonical hyperparameters that the target takes; others stay as the spec has them."""
        return frozenset[str]().union(*(part.accepted() for part in self.parts))

    @abstractmethod
    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> Session:
        """A fresh target on these parameters, with those canonical hyperparameters it takes."""


def argument_names(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names that a callable takes by keyword; None where it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY)


def with_options(part: Part, outer: Sequence[Part], values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the innermost part, with those of the parts that are options of it."""
    merged = part.translated(values)
    for option in outer:
        if option.wraps == "option":
            merged |= option.translated(values)
    return merged


def _names(canonical: str | tuple[str, ...]) -> tuple[str, ...]:
    return (canonical,) if isinstance(canonical, str) else canonical
