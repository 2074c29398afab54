"""What an engine is: a way to run the programs that steps are recorded as."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

from refopt.engines.program import Compute, Pass, Program, Reduce
from refopt.xp import Array, Namespace, namespace

if TYPE_CHECKING:
    from refopt.engines.layout import Layout


class EngineError(TypeError):
    """An engine cannot run what it is given: an array of another library or dtype."""


@dataclass(slots=True)
class Parameter:
    """One parameter in a step.

    Attributes:
        name: in the container of the parameters.
        arrays: the parameter itself, its gradient (None if missing), and its state arrays.
    """

    name: str
    arrays: list[Array]


@dataclass(slots=True)
class Run:
    """A program with what it runs on.

    Attributes:
        program: of a step.
        numbers: those of this step, by their position on the tape.
        members: the parameters, by position, that the program is run on, one after another, each
            time as many as it is a step of.
    """

    program: Program
    numbers: Mapping[int, float]
    members: Sequence[Sequence[int]]


class Engine(ABC):
    """Runs programs on arrays, which it writes in place."""

    name: str

    @abstractmethod
    def check(self, name: str, x: Array) -> None:
        """Whether an array of a parameter can be stepped.

        Raises:
            EngineError: it is not of the library or of a dtype that the engine knows.
        """

    def layout(self, parameters: Sequence[Parameter]) -> Layout | None:
        """Where the arrays lie, for an engine that wants to know; it may replace gradients.

        Raises:
            ValueError: two arrays that are written share memory.
        """
        return None

    @abstractmethod
    def run(
        self, parameters: Sequence[Parameter], runs: Sequence[Run], layout: Layout | None
    ) -> None:
        """Computes everything, then writes the new arrays."""


class Evaluation(ABC):
    """A program on the parameters of one of its members, up to the passes that write.

    Attributes:
        values: of the numbers and of everything small, by position on the tape.
    """

    def __init__(self, run: Run, parameters: Sequence[Parameter]) -> None:
        self.program = run.program
        self.parameters = parameters
        self.values: Mapping[int, Any] = run.numbers

    def evaluate(self) -> None:
        """Finds the values in the order of the program."""
        if not (self.program.stages or self.program.points):
            return
        values = dict(self.values)
        self.values = values
        for index, leaf, slot in self.program.points:
            values[index] = self.parameters[leaf].arrays[slot][()]
        for stage in self.program.stages:
            if isinstance(stage, Reduce):
                values |= zip(stage.indices, self._reduced(stage), strict=True)
            else:
                values[stage.index] = self._computed(stage)

    def _computed(self, stage: Compute) -> Any:
        name, *arguments = stage.operation
        given = [self.values[a] for a in arguments]
        theta = self.parameters[stage.leaf].arrays[0]
        xp = namespace(theta)
        if name == "scalar_like":
            return xp.scalar_like(theta, *given)[()]
        return operators(xp)[name](*given)

    def _reduced(self, stage: Reduce) -> list[Any]:
        """Reductions over arrays of the parameter, and over what a pass computes of them."""
        arrays = self.parameters[stage.leaf].arrays
        made = iter(self.elements_reduced(stage, stage.elements) if stage.elements else ())
        return [next(made) if slot is None else reduce(stage, arrays[slot]) for slot in stage.slots]

    @abstractmethod
    def elements_reduced(self, stage: Reduce, elements: Pass) -> list[Any]:
        """Reductions over the new arrays of a pass, in their order."""


def reduce(stage: Reduce, x: Array, axis: tuple[int, ...] | None = None) -> Array:
    """A reduction as the plain reference calls it, over its own axes or others."""
    xp = namespace(x)
    over = stage.axis if axis is None else axis
    match stage.name:
        case "sum":
            return xp.sum(x)
        case "mean":
            return xp.mean(x, over)
    return array_namespace(x).any(x, axis=over, keepdims=True)  # x is true or false already


@cache
def operators(xp: Namespace) -> Mapping[str, Callable[..., Array]]:
    """The operations as the plain reference calls them."""
    return {
        "absolute": xp.abs,
        "add": operator.add,
        "divide": operator.truediv,
        "equal": operator.eq,
        "greater": operator.gt,
        "greater_equal": operator.ge,
        "less": operator.lt,
        "less_equal": operator.le,
        "logical_and": operator.and_,
        "logical_or": operator.or_,
        "maximum": xp.maximum,
        "minimum": xp.minimum,
        "multiply": operator.mul,
        "negative": operator.neg,
        "not_equal": operator.ne,
        "sign": xp.sign,
        "sqrt": xp.sqrt,
        "square": lambda x: x**2,
        "subtract": operator.sub,
        "where": xp.where,
    }


def named(name: str) -> str:
    """A parameter as error messages call it."""
    return f"parameter {name!r}" if name else "the parameter"
