"""The shape of a target, and of what adapts other things to it."""

from __future__ import annotations

import inspect
import os
import textwrap
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

import numpy as np

Arrays = list[np.ndarray]
Gradients = Sequence[np.ndarray | None]
Arguments = Mapping[str, str | tuple[str, ...]]
"""A framework's argument names, and the canonical hyperparameters that each takes."""

MANY_STEPS: Final = 32
"""The steps after which those that follow are worth compiling."""

_NOT_THE_TARGET: Final = (f"{Path(__file__).parent.parent}{os.sep}", "<")
"""How the names of files begin that are refopt's own or the interpreter's."""


class TargetError(Exception):
    """A target cannot be found, started or stepped; says what to do about it."""


def raised(error: BaseException) -> str:
    """What was raised, on one line, and where in the target's code."""
    said = textwrap.shorten(f"{type(error).__name__}: {error}", 400, placeholder=" ...")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_TARGET)]
    return f"{said} ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else said


class Session(Protocol):
    """A started target. ``set_lr``, ``state_dict`` and ``load_state_dict`` are optional."""

    def step(self, grads: Gradients) -> Arrays:
        """Takes one step and returns all parameters; None leaves a parameter alone."""


@dataclass(frozen=True)
class Part:
    """One callable of a target, such as ``optax.sgd`` inside ``optax.MultiSteps``.

    Attributes:
        factory: the class or function, or what an adapter takes in its place.
        arguments: its argument names and the canonical hyperparameters they take; those that it
            does not have are left out.
        wraps: how it takes the part inside: as its first argument, chained before it, or as
            further arguments of the innermost part's own call, which is then its factory as
            well; None for the innermost part.
        options: arguments that are passed through as they are; no hyperparameter sets them.
    """

    factory: Callable[..., Any]
    arguments: Arguments
    wraps: Literal["argument", "chain", "option"] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def accepted(self) -> frozenset[str]:
        """The canonical hyperparameters that it takes."""
        return frozenset(name for canonical in self._taken().values() for name in _names(canonical))

    def translated(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Canonical hyperparameters under its own argument names; others are left out.

        An argument that takes several, of which only some are given, has its default for the rest.
        """
        named, _ = arguments_of(self.factory)
        values: dict[str, Any] = {}
        for argument, canonical in self._taken().items():
            names = _names(canonical)
            default = named[argument].default if argument in named else None
            if not isinstance(canonical, str) and isinstance(default, tuple | list):
                known = dict(zip(names, default, strict=True)) | dict(hyperparameters)
            else:
                known = dict(hyperparameters)
            if hyperparameters.keys() & set(names) and known.keys() >= set(names):
                found = tuple(known[name] for name in names)
                values[argument] = found[0] if isinstance(canonical, str) else found
        return values | dict(self.options)

    def untouched(self) -> dict[str, Any]:
        """The arguments after the first that nothing sets, with their defaults."""
        named, _ = arguments_of(self.factory)
        set_by_us = self._taken().keys() | self.options.keys()
        return {n: p.default for n, p in [*named.items()][1:] if n not in set_by_us}

    def _taken(self) -> Arguments:
        named, others = arguments_of(self.factory)
        free = {a: c for a, c in self.arguments.items() if a not in self.options}
        return {a: c for a, c in free.items() if others or a in named}


@dataclass(frozen=True)
class Adapter(ABC):
    """A target, ready to be started as often as there are probes.

    Attributes:
        parts: what it is made of, innermost first.
    """

    parts: tuple[Part, ...]

    takes_missing = True
    """Whether gradients may be missing."""

    compiles = False
    """Whether its framework compiles anew for parameters of shapes that it has not met."""

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Self:
        """The adapter of these parts; in some frameworks the innermost may be an instance.

        Raises:
            TargetError: it cannot be started afresh.
        """
        innermost, *outer = parts
        inner = innermost.factory
        shared = [replace(p, factory=inner) if p.wraps == "option" else p for p in outer]
        return cls((innermost, *shared))

    def accepted(self) -> frozenset[str]:
        """The canonical hyperparameters that the target takes; others stay as the spec has them."""
        return frozenset[str]().union(*(part.accepted() for part in self.parts))

    def takes_rate(self, argument: str) -> bool:
        """Whether its argument for the learning rate is one: of Rprop it is the first step size."""
        return self.parts[0].arguments.get(argument, "lr") == "lr"

    @abstractmethod
    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> Session:
        """A fresh target on these parameters, with those canonical hyperparameters it takes."""

    def end_sessions(self) -> None:  # noqa: B027  most are only memory
        """Ends what still runs of the sessions that were started."""


def arguments_of(function: Callable[..., Any]) -> tuple[Mapping[str, inspect.Parameter], bool]:
    """The arguments that a callable takes by keyword, and whether it takes any others.

    What cannot be called takes none.

    Raises:
        TargetError: a callable of the interpreter does not tell.
    """
    if not callable(function):
        return {}, False
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        raise TargetError(
            f"the arguments of {function!r} are unknown; put a Python function around it"
        ) from None
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: p for name, p in parameters.items() if p.kind in by_keyword}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def with_options(parts: Sequence[Part], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the innermost part, with those of the parts that are options of it."""
    innermost, *options = parts
    merged = innermost.translated(hyperparameters)
    for part in options:
        if part.wraps != "option":
            raise TargetError(f"{part.factory!r} cannot go around {innermost.factory!r}")
        merged |= part.translated(hyperparameters)
    return merged


def _names(canonical: str | tuple[str, ...]) -> tuple[str, ...]:
    return (canonical,) if isinstance(canonical, str) else canonical
