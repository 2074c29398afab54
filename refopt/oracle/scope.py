"""What a statement of the reference can refer to, and what its names stand for."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from refopt.hyperparameters import DECAY_RATES, DOMAINS, Boolean, Interval

Kind = Literal["array", "scalar", "count", "flag", "other"]
"""What a name or an expression stands for; a count is an integer such as the step."""


@dataclass(frozen=True)
class Scope:
    """What a statement can refer to.

    Attributes:
        kinds: the names that it may read, and what they stand for.
        updated: the state that statements before it have updated, with what it averages.
        states: the names of the state.
        hyperparameters: their names.
        readable: what a function of its kind could read as well: ``lr``, ``t``, ...
        target: what the statement assigns.
        identity: what a variant without state would return to change nothing.
        has_floor: whether epsilon is inside the roots, where a state needs no floor.
    """

    kinds: Mapping[str, Kind]
    updated: Mapping[str, ast.expr | None]
    states: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    readable: frozenset[str]
    target: str = ""
    identity: str | None = None
    has_floor: bool = False

    @property
    def rates(self) -> list[str]:
        """The decay rates."""
        return [name for name in self.hyperparameters if name in DECAY_RATES]

    @property
    def fractions(self) -> list[str]:
        """The hyperparameters between 0 and 1."""
        domains = ((name, DOMAINS[name]) for name in self.hyperparameters)
        return [n for n, domain in domains if isinstance(domain, Interval) and domain.high == 1]

    @property
    def arrays(self) -> list[str]:
        """The arrays that it reads."""
        return [name for name, kind in self.kinds.items() if kind == "array"]

    def has(self, name: str) -> bool:
        """Whether a name is or could be read."""
        return name in self.kinds or name in self.readable

    def kind(self, node: ast.expr) -> Kind:
        """What an expression stands for."""
        match node:
            case ast.Constant(value=bool()):
                return "flag"
            case ast.Constant(value=int()):
                return "count"
            case ast.Constant(value=float()):
                return "scalar"
            case ast.Name(id=name):
                return self.kinds.get(name, "other")
            case ast.Compare() | ast.BinOp(op=ast.BitOr() | ast.BitAnd()):
                return "flag"
            case ast.BinOp(left=left, op=op, right=right):
                kinds = {self.kind(left), self.kind(right)}
                if kinds == {"count"} and not isinstance(op, ast.Div | ast.Pow):
                    return "count"
                return "array" if "array" in kinds else "scalar"
            case ast.UnaryOp(operand=operand):
                return self.kind(operand)
            case ast.Call(func=ast.Attribute(attr="sum")) | ast.Call(func=ast.Name(id="sum")):
                return "scalar"
            case ast.Call(func=ast.Attribute(attr="ndim" | "floor_log")):
                return "count"
            case ast.Call(func=ast.Attribute(attr="any")):
                return "flag"
            case ast.Call(func=ast.Attribute(attr="where"), args=[_, first, second]):
                kinds = {self.kind(first), self.kind(second)}
                return "array" if "array" in kinds else self.kind(first)
            case ast.Call(func=ast.Attribute(attr="mean" | "zeros_like" | "full_like")):
                return "array"
            case ast.Call(func=ast.Attribute(), args=arguments):
                return "array" if "array" in map(self.kind, arguments) else "scalar"
            case ast.Call(func=ast.Name(id=name)) if name.startswith("_"):
                return "scalar"
        return "other"


def kind_of_argument(name: str) -> Kind:
    """What an argument of a rule or variant stands for."""
    if name in ("t", "lr", "beta"):
        return "count" if name == "t" else "scalar"
    return "other" if name in ("xp", "gs") else "array"


def kind_of_hyperparameter(name: str) -> Kind:
    """What a hyperparameter stands for."""
    domain = DOMAINS[name]
    if isinstance(domain, Interval):
        return "count" if domain.integer else "scalar"
    return "flag" if isinstance(domain, Boolean) else "other"


def are_alike(first: str, second: str) -> bool:
    """Whether two hyperparameters are numbers of the same range."""
    one, other = DOMAINS[first], DOMAINS[second]
    if not isinstance(one, Interval) or not isinstance(other, Interval):
        return False
    return (one.low, one.high, one.integer) == (other.low, other.high, other.integer)
