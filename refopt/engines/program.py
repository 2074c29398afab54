"""A recorded step as a program: passes over elements around what is computed of whole arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from refopt.engines.fragment import ROUNDED_ALIKE, Fragment
from refopt.engines.graph import REDUCTIONS, Kind, Operation, Recorded, Tape

_SCALARS = (Kind.NUMBER, Kind.POINT)


@dataclass(frozen=True)
class Pass:
    """A fragment, and where its operands come from.

    Attributes:
        fragment: what is computed.
        arrays: the slots of the parameter's arrays that it reads or writes; None for a new array.
        rows: positions on the tape.
        scalars: positions on the tape.
    """

    fragment: Fragment
    arrays: tuple[int | None, ...]
    rows: tuple[int, ...]
    scalars: tuple[int, ...]


@dataclass(frozen=True)
class Reduce:
    """Sums, means or disjunctions over the elements of one parameter.

    Attributes:
        leaf: the place of the parameter in the step.
        name: of the reduction.
        axis: the axes that it is taken over; all if empty.
        indices: positions on the tape of the results.
        slots: for each the array that is reduced; None for the next new array of the pass.
        elements: the pass that computes those.
    """

    leaf: int
    name: str
    axis: tuple[int, ...]
    indices: tuple[int, ...]
    slots: tuple[int | None, ...]
    elements: Pass | None


@dataclass(frozen=True)
class Compute:
    """An operation on few elements, of one parameter or on its behalf."""

    index: int
    leaf: int
    operation: Operation


@dataclass(frozen=True)
class Final:
    """How the new arrays of one parameter come about.

    Attributes:
        elements: the pass that writes them, None if nothing changes.
        points: the 0-d arrays that change: slot, and position on the tape.
    """

    elements: Pass | None
    points: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Program:
    """A step of several parameters: reductions and small things in order, then the writes.

    Nothing is written before everything that is read has been read; what a reduction needs of the
    elements is computed again by the last pass, so that no array of the parameter's size is needed
    in between.
    """

    stages: tuple[Reduce | Compute, ...]
    finals: tuple[Final, ...]
    numbers: tuple[tuple[int, int], ...]
    """The Python numbers that are read: position on the tape, and place among the numbers."""
    points: tuple[tuple[int, int, int], ...]
    """The 0-d arrays that are read: position on the tape, parameter and slot."""
    by_rows: bool
    """Whether anything is computed row by row."""

    @cached_property
    def elementwise(self) -> bool:
        """Whether it does nothing but one pass over the elements of each parameter."""
        return not (self.stages or self.points or any(final.points for final in self.finals))


def program(tape: Tape, outputs: Sequence[Sequence[int | None]]) -> Program:
    """The program of a tape.

    Args:
        tape: of the step; inputs are ``("input", leaf, slot, kind)``.
        outputs: for each parameter the positions of its new arrays, in the order of its slots;
            None for the gradient.

    Raises:
        TypeError: the step does what no engine can do to the same bits.
    """
    return _Builder(tape).build(outputs)


class _Builder:
    def __init__(self, tape: Tape) -> None:
        self.operations = tape.operations
        self.nodes = tape.nodes

    def build(self, outputs: Sequence[Sequence[int | None]]) -> Program:
        changed = [
            [
                (slot, i)
                for slot, i in enumerate(of_leaf)
                if i is not None and self.operations[i][:3] != ("input", leaf, slot)
            ]
            for leaf, of_leaf in enumerate(outputs)
        ]
        needed = self._closure(i for of_leaf in changed for _, i in of_leaf)
        finals = []
        for of_leaf in changed:
            full = {slot: i for slot, i in of_leaf if self.nodes[i].kind is Kind.FULL}
            points = tuple((slot, i) for slot, i in of_leaf if slot not in full)
            finals.append(Final(self._pass(full) if full else None, points))
        inputs = [i for i in needed if self.operations[i][0] == "input"]
        return Program(
            stages=tuple(self._stages(needed)),
            finals=tuple(finals),
            numbers=tuple(
                (i, self.operations[i][1]) for i in needed if self.operations[i][0] == "number"
            ),
            points=tuple(
                (i, *self.operations[i][1:3]) for i in inputs if self.nodes[i].kind is Kind.POINT
            ),
            by_rows=any(self.nodes[i].kind is Kind.ROW for i in needed),
        )

    def _arguments(self, index: int) -> tuple[int, ...]:
        name, *arguments = self.operations[index]
        if name in ("input", "number"):
            return ()
        return (arguments[0],) if name in REDUCTIONS else tuple(arguments)

    def _closure(self, targets: Iterable[int], only: Kind = Kind.NUMBER) -> list[int]:
        """What the targets are computed from, in order; through arrays of at least one kind."""
        found: set[int] = set()
        waiting = list(targets)
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                if self.nodes[index].kind >= only:
                    waiting += self._arguments(index)
        return sorted(found)

    def _stages(self, needed: Sequence[int]) -> list[Reduce | Compute]:
        """The reductions whose elements need no other reduction first, then those that do."""
        levels: dict[int, int] = {}
        for index in needed:
            below = max((levels[a] for a in self._arguments(index)), default=0)
            levels[index] = below + (self.operations[index][0] in REDUCTIONS)
        stages: list[Reduce | Compute] = []
        for level in range(max(levels.values(), default=0) + 1):
            here = [i for i in needed if levels[i] == level]
            reduced: dict[tuple[Any, ...], list[int]] = {}
            for i in here:
                name, _, *axis = (*self.operations[i], None)[:3]
                if name in REDUCTIONS:
                    reduced.setdefault((self.nodes[i].leaf, name, *axis), []).append(i)
            stages += [self._reduce(indices) for indices in reduced.values()]
            for i in here:
                name = self.operations[i][0]
                small = self.nodes[i].kind in (Kind.POINT, Kind.ROW)
                if small and name != "input" and name not in REDUCTIONS:
                    stages.append(Compute(i, self.nodes[i].leaf, self.operations[i]))
        return stages

    def _reduce(self, indices: Sequence[int]) -> Reduce:
        computed: dict[int, int] = {}
        slots: list[int | None] = []
        for index in indices:
            operand = self.operations[index][1]
            source = self.operations[operand]
            slots.append(source[2] if source[0] == "input" else None)
            if slots[-1] is None:
                computed[-len(computed) - 1] = operand
        name, _, *axis = self.operations[indices[0]]
        return Reduce(
            leaf=self.nodes[indices[0]].leaf,
            name=name,
            axis=axis[0] if axis else (),
            indices=tuple(indices),
            slots=tuple(slots),
            elements=self._pass(computed) if computed else None,
        )

    def _pass(self, targets: Mapping[int, int]) -> Pass:
        """The pass that computes arrays, by slot; negative slots are new arrays."""
        closure = self._closure(targets.values(), only=Kind.FULL)
        nodes = [self.nodes[i] for i in closure]
        inputs = {
            self.operations[n.index][2]: n.index
            for n in nodes
            if n.kind is Kind.FULL and self.operations[n.index][0] == "input"
        }
        arrays = [*inputs, *(slot for slot in targets if slot not in inputs)]
        rows = [n for n in nodes if n.kind is Kind.ROW]
        scalars = [n for n in nodes if n.kind in _SCALARS]
        results = [
            n for n in nodes if n.kind is Kind.FULL and self.operations[n.index][0] != "input"
        ]
        numbers = {index: arrays.index(slot) for slot, index in inputs.items()}
        order = [n.index for n in (*rows, *scalars, *results)]
        numbers |= {index: len(arrays) + i for i, index in enumerate(order)}
        return Pass(
            Fragment(
                arrays=len(arrays),
                rows=tuple(n.boolean for n in rows),
                scalars=tuple(n.boolean for n in scalars),
                code=tuple(self._instruction(n, numbers) for n in results),
                stores=tuple(
                    (arrays.index(slot), numbers[index]) for slot, index in targets.items()
                ),
            ),
            arrays=tuple(slot if slot >= 0 else None for slot in arrays),
            rows=tuple(n.index for n in rows),
            scalars=tuple(n.index for n in scalars),
        )

    def _instruction(
        self, node: Recorded, numbers: Mapping[int, int]
    ) -> tuple[str, tuple[int, ...]]:
        name = self.operations[node.index][0]
        if name not in ROUNDED_ALIKE:
            raise TypeError(
                f"no engine computes {name} of every element to the same bits; use engine='plain'"
            )
        return name, tuple(numbers[a] for a in self._arguments(node.index))
