"""Changes that hold only where a hyperparameter is zero, or only where it is not.

Implementations have two code paths: without momentum there is no buffer, without decay no product
with the parameter. A mistake in one of them is a change of the reference that some probes see and
others do not, and which ones the values of one hyperparameter tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from refopt.hyperparameters import DOMAINS, Interval
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit
from refopt.oracle.observation import Hypothesis
from refopt.oracle.sieve import Sieve
from refopt.oracle.trees import named
from refopt.oracle.wording import said


@dataclass(frozen=True)
class Gate:
    """Whether a hyperparameter is zero.

    Attributes:
        name: of the hyperparameter.
        is_zero: whether it is to be zero, or else anything but that.
    """

    name: str
    is_zero: bool

    def admits(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer has such a value."""
        value = optimizer.hyperparameters()[self.name]
        return bool(getattr(value, "value", value) == 0) == self.is_zero

    def around(self, edit: Edit) -> Edit:
        """An edit that is made only there."""
        return Edit(
            file=edit.file,
            line=edit.line,
            before=edit.before,
            after=f"{edit.after}  # where {self.name} {'=' if self.is_zero else '!'}= 0",
            description=f"{edit.description}, but only where {self}",
            kind=edit.kind,
            apply=partial(_admitted, self, edit),
        )

    def __str__(self) -> str:
        return f"{said(named(self.name))} is {'' if self.is_zero else 'not '}zero"


def _admitted(gate: Gate, edit: Edit, optimizer: Optimizer) -> Optimizer:
    return edit.apply(optimizer) if gate.admits(optimizer) else optimizer


def gates(hypothesis: Hypothesis, sieve: Sieve) -> Iterator[tuple[Gate, Sieve]]:
    """What tells the probes that a target does not follow from the others, and these probes alone.

    Args:
        hypothesis: what the target follows in the other probes.
        sieve: what the target did.
    """
    ids = {probe.id for probe, _ in sieve.runs}
    astray = {id for id in ids if not sieve.among([id]).passes(hypothesis)}
    for name in hypothesis.optimizer.hyperparameters():
        domain = DOMAINS[name]
        if not isinstance(domain, Interval) or domain.integer or 0 not in domain:
            continue
        for is_zero in (True, False):
            gate = Gate(name, is_zero)
            behind = {probe.id for probe, _ in sieve.runs if gate.admits(hypothesis.at(probe))}
            if astray and astray <= behind and behind < ids:
                yield gate, sieve.among(behind)
