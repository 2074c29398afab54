"""A target in plain NumPy, whose formula is a function and whose stepping can be overridden."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

Array = Any


class State:
    """The state of one parameter: arrays by name, zeros until they are first written."""

    def __init__(self, like: Array) -> None:
        self.__dict__["_zeros"] = np.zeros_like(like)

    def __getattr__(self, name: str) -> Array:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__dict__["_zeros"]

    def __setattr__(self, name: str, value: Array) -> None:
        self.__dict__[name] = value


class Target:
    """Steps every parameter that has a gradient, and counts its steps."""

    formula: ClassVar[Callable[..., Array]]
    """``new = formula(theta, g, t, s, lr=..., ...)``, with the state ``s``."""

    def __init__(self, params: Sequence[Array], **hyperparameters: Any) -> None:
        self.params = list(params)
        self.hyperparameters = hyperparameters
        self.states = [State(p) for p in params]
        self.counts = [0] * len(self.params)

    def step(self, grads: Sequence[Array | None]) -> list[Array]:
        for i, g in enumerate(grads):
            if g is not None:
                self.counts[i] += 1
                self.update(i, g)
        return self.params

    def update(self, i: int, g: Array) -> None:
        """Applies the formula to one parameter."""
        formula = type(self).formula
        own = np.array(g)  # the caller reuses its array
        new = formula(self.params[i], own, self.counts[i], self.states[i], **self.hyperparameters)
        self.params[i] = np.asarray(new, self.params[i].dtype)

    def set_lr(self, lr: float) -> None:
        self.hyperparameters["lr"] = lr

    def state_dict(self) -> Any:
        return copy.deepcopy((self.states, self.counts))

    def load_state_dict(self, state: Any) -> None:
        self.states, self.counts = copy.deepcopy(state)


@dataclass(frozen=True)
class Mistake:
    """A wrong target.

    Attributes:
        target: its factory.
        spec: what it should be.
        says: texts that the explanation contains.
        links: reports of it.
        entry: its number in the project's list of reported mistakes, 0 for one that was made up.
        unexplained: why nothing explains it.
    """

    target: type[Target]
    spec: str
    says: tuple[str, ...]
    links: tuple[str, ...] = ()
    entry: int = 0
    unexplained: str = ""

    @property
    def name(self) -> str:
        return self.target.__name__


class Mistakes(list[Mistake]):
    """The mistakes of a module, declared by decorating their formulas or their classes."""

    def __call__(
        self, spec: str, *says: str, entry: int = 0, links: str = "", unexplained: str = ""
    ) -> Callable[[Any], Any]:
        """Declares a mistake.

        Args:
            spec: what the target should be.
            says: texts that the explanation contains.
            entry: its number in the list of reported mistakes.
            links: reports, as ``owner/repository#number``, separated by spaces.
            unexplained: why nothing explains it.
        """

        def declare(formula: Any) -> Any:
            if isinstance(formula, type):
                target = formula
            else:
                members = {
                    "formula": staticmethod(formula),
                    "__module__": formula.__module__,
                    "__signature__": signature_of(formula),
                }
                target = type(formula.__name__, (Target,), members)
            self.append(Mistake(target, spec, says, addresses(links), entry, unexplained))
            return formula

        return declare


def signature_of(formula: Callable[..., Array]) -> inspect.Signature:
    """Of a factory that takes the hyperparameters of a formula."""
    params = inspect.Parameter("params", inspect.Parameter.POSITIONAL_ONLY)
    given = inspect.signature(formula).parameters.values()
    own = [p for p in given if p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    return inspect.Signature([params, *own])


def addresses(links: str) -> tuple[str, ...]:
    """``owner/repository#number`` as addresses."""
    pairs = (link.split("#") for link in links.split())
    return tuple(f"https://github.com/{name}/issues/{number}" for name, number in pairs)
