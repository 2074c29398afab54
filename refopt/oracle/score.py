"""The score of the probes: which changes of the reference they tell from it.

Every edit of a rule or variant must be killed by a probe, that is leave the bound of the reference
somewhere, even where hyperparameters count as rounded to float32. One that survives must be shown
to be the same optimizer, by :mod:`refopt.oracle.equivalence`.

A variant is scored around SGD, and its own lines alone are edited: those of SGD have their own
score. What no probe varies, because implementations refuse it, is pinned (:data:`PINS`), as an
expression such as ``gradient_accumulation(sgd, k=1)`` would; an edit that only shows there is
killed by the probes of that expression. The long probe is left out: it is for counts that are held
in few bits, which no line of the reference says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from refopt import catalog
from refopt.arithmetic.bounds import FLOAT32, Bounded, distance, modes
from refopt.hyperparameters import DOMAINS, Boolean
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit, edits
from refopt.oracle.equivalence import is_equivalent
from refopt.oracle.matrix import example
from refopt.oracle.observation import Reached, bounded, stepped
from refopt.oracle.probes import Probe, probes
from refopt.oracle.sieve import quiet

PINS: Final[tuple[Mapping[str, Any], ...]] = (
    {"k": 1},
    {"eta": 0.0},
    {"rho": 0.0},
    {"total_steps": 4, "pct_start": 0.25},
    {"div_factor": 0.5, "final_div_factor": 0.25},
)
"""Ends of domains that show only in an expression that pins them: windows of a single step, no
trust at all, no memory, no warmup, a start above the peak."""


@dataclass(frozen=True)
class Kill:
    """What became of one edit.

    Attributes:
        edit: the change.
        probes: the ids of those that kill it.
        pins: the pinned hyperparameters, where it shows only with them.
        is_equivalent: whether it is the same optimizer.
    """

    edit: Edit
    probes: frozenset[str]
    pins: Mapping[str, Any]
    is_equivalent: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON types."""
        edit = self.edit
        place = {"file": edit.file, "line": edit.line, "before": edit.before, "after": edit.after}
        return {
            **place,
            "description": edit.description,
            "probes": sorted(self.probes),
            "pins": dict(self.pins),
            "equivalent": self.is_equivalent,
        }


@dataclass(frozen=True)
class Score:
    """What became of the edits of one specification.

    Attributes:
        name: of the specification.
        probes: the ids of those that ran.
        kills: what became of each edit.
    """

    name: str
    probes: tuple[str, ...]
    kills: tuple[Kill, ...]

    @property
    def killed(self) -> int:
        """How many edits some probe kills."""
        return sum(bool(kill.probes) for kill in self.kills)

    @property
    def equivalent(self) -> tuple[Edit, ...]:
        """The edits that are the same optimizer."""
        return tuple(kill.edit for kill in self.kills if kill.is_equivalent)

    @property
    def survivors(self) -> tuple[Edit, ...]:
        """The others, which no probe tells from the reference."""
        alive = [kill for kill in self.kills if not kill.probes and not kill.is_equivalent]
        return tuple(kill.edit for kill in alive)

    @property
    def share(self) -> float:
        """The share of the edits that change something which is killed, 1 at best."""
        wrong = self.killed + len(self.survivors)
        return self.killed / wrong if wrong else 1.0

    def by_probe(self) -> dict[str, tuple[int, int]]:
        """For each probe, how many edits it kills, and how many that no other one does."""
        killers = [kill.probes for kill in self.kills]
        return {
            id: (sum(id in by for by in killers), sum(by == {id} for by in killers))
            for id in self.probes
        }

    def table(self) -> str:
        """A line for each probe: how many edits it kills, and how many no other one does."""
        found = self.by_probe().items()
        return "\n".join(f"  {id:<10}{all:>5}{alone:>5} alone" for id, (all, alone) in found)

    def to_json(self) -> dict[str, Any]:
        """The kill matrix as JSON types: every edit with the probes that kill it."""
        return {
            "name": self.name,
            "killed": self.killed,
            "equivalent": len(self.equivalent),
            "survivors": len(self.survivors),
            "edits": [kill.to_json() for kill in self.kills],
        }

    def __str__(self) -> str:
        """The score in a line, and a line for each survivor."""
        counts = (
            f"{self.name}: {self.killed} killed, {len(self.equivalent)} equivalent, "
            f"{len(self.survivors)} survive: {self.share:.0%}"
        )
        alive = [f"  {e.file}:{e.line}: {e.before} -> {e.after}" for e in self.survivors]
        return "\n".join([counts, *alive])


def score(name: str) -> Score:
    """Runs every edit of a specification's functions against every probe.

    Raises:
        SpecificationError: nothing is specified under that name.
        ModuleNotFoundError: python-flint is not installed.
    """
    settings = list(_settings(name))
    every = [_own_edits(name, setting) for setting in settings]
    killers: list[set[str]] = [set() for _ in every[0]]
    for setting, changes in zip(settings, every, strict=True):
        for probe in _probes(setting):
            expected = _expected(setting, probe)
            for killed_by, edit in zip(killers, changes, strict=True):
                if _leaves_bounds(edit, setting, probe, expected):
                    killed_by.add(probe.id)
    kills = []
    for i, edit in enumerate(every[0]):
        pins: Mapping[str, Any] = {}
        same = False
        if not killers[i]:
            pins = _killed_with(killers[i], [edits[i] for edits in every], settings)
            same = not killers[i] and all(
                is_equivalent(setting, edits[i])
                for setting, edits in zip(settings, every, strict=True)
            )
        kills.append(Kill(edit, frozenset(killers[i]), pins, same))
    return Score(name, tuple(probe.id for probe in _probes(settings[0])), tuple(kills))


def _own_edits(name: str, optimizer: Optimizer) -> list[Edit]:
    """Those of a specification, without those of the optimizer that a variant goes around."""
    inside: set[tuple[str, int, str, str]] = set()
    if catalog.goes_around(name):
        inside = {_key(edit) for edit in edits(catalog.build("sgd"))}
    return [edit for edit in edits(optimizer) if _key(edit) not in inside]


def _key(edit: Edit) -> tuple[str, int, str, str]:
    return edit.file, edit.line, edit.after, edit.description


def _probes(optimizer: Optimizer) -> tuple[Probe, ...]:
    return tuple(p for p in probes(optimizer.hyperparameters()) if not p.rests)


def _settings(name: str) -> Iterator[Optimizer]:
    """An optimizer of the specification for every combination of its flags."""
    optimizer = catalog.build(example(name))
    own = optimizer.layers[1:] if catalog.goes_around(name) else optimizer.layers
    flags = [k for layer in own for k in layer.hyperparameters if isinstance(DOMAINS[k], Boolean)]
    for values in product((False, True), repeat=len(flags)):
        yield optimizer.with_hyperparameters(**dict(zip(flags, values, strict=True)))


def _killed_with(
    killed_by: set[str], changes: Sequence[Edit], settings: Sequence[Optimizer]
) -> Mapping[str, Any]:
    """The pins with which probes kill an edit, and these; empty where none do."""
    for pins in PINS:
        for setting, edit in zip(settings, changes, strict=True):
            if pins.keys() <= setting.hyperparameters().keys():
                for probe in _probes(setting):
                    expected = _expected(setting, probe, pins)
                    if _leaves_bounds(edit, setting, probe, expected, pins):
                        killed_by.add(probe.id)
        if killed_by:
            return pins
    return {}


def _expected(
    optimizer: Optimizer, probe: Probe, pins: Mapping[str, Any] | None = None
) -> list[list[Bounded]]:
    """The reference's parameters after each step, with the wider of the two bounds."""
    base = optimizer.with_hyperparameters(**_given(optimizer, probe, pins))
    mode = modes(FLOAT32)["float32-hyperparameters"]
    reference = bounded(base, mode)
    params = [mode.given(p) for p in probe.params]
    reached = Reached(params, reference.init(params))
    expected = []
    for gradients, rate in zip(probe.gradients, probe.rates, strict=True):
        grads = [None if g is None else mode.given(g) for g in gradients]
        reached = stepped(reference, reached, grads, base.lr * rate, mode)
        expected.append(reached.params)
    return expected


def _leaves_bounds(
    edit: Edit,
    optimizer: Optimizer,
    probe: Probe,
    expected: Sequence[Sequence[Bounded]],
    pins: Mapping[str, Any] | None = None,
) -> bool:
    """Whether an edited optimizer, in plain float64, is ever further off than the bound."""
    base = optimizer.with_hyperparameters(**_given(optimizer, probe, pins))
    try:
        with quiet():
            return _strays(edit.apply(base), base.lr, probe, expected)
    except (ArithmeticError, ValueError, TypeError, AttributeError, IndexError):
        return True  # it does not even run


def _strays(
    changed: Optimizer, lr: float, probe: Probe, expected: Sequence[Sequence[Bounded]]
) -> bool:
    params = [np.asarray(p, np.float64) for p in probe.params]
    state = changed.init(params)
    for step, (gradients, rate) in enumerate(zip(probe.gradients, probe.rates, strict=True)):
        grads = [None if g is None else np.asarray(g, np.float64) for g in gradients]
        params, state = changed.step(params, grads, state, lr=lr * rate)
        for got, within in zip(params, expected[step], strict=True):
            if got.dtype.kind != "f" or np.max(distance(got, within), initial=0) > 1:
                return True
    return False


def _given(optimizer: Optimizer, probe: Probe, pins: Mapping[str, Any] | None) -> dict[str, Any]:
    flags = {k: v for k, v in optimizer.hyperparameters().items() if isinstance(v, bool)}
    return {**probe.hyperparameters, **flags, **(pins or {})}
