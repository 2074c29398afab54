"""The score of the probes: which changes of the reference they tell from it.

Every edit of a rule or variant must be killed by a probe, that is leave the bound of the reference
somewhere, even where hyperparameters count as rounded to float32. One that survives must be shown
to be the same optimizer: SymPy finds the parameters equal after each of the first steps, for
symbolic gradients and hyperparameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from refopt import catalog
from refopt.arithmetic.bounds import FLOAT32, Bounded, distance
from refopt.hyperparameters import DOMAINS, Boolean
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit, edits
from refopt.oracle.matrix import example
from refopt.oracle.observation import bounded
from refopt.oracle.probes import Probe, probes

STEPS: Final = 3
"""The steps over which a survivor is compared symbolically."""


@dataclass(frozen=True)
class Score:
    """What became of the edits of one specification.

    Attributes:
        name: of the specification.
        kills: for each probe, how many edits it kills, and how many that no other probe does.
        killed: how many edits some probe kills.
        equivalent: those that are the same optimizer.
        survivors: the others, which no probe tells from the reference.
    """

    name: str
    kills: Mapping[str, tuple[int, int]]
    killed: int
    equivalent: tuple[Edit, ...]
    survivors: tuple[Edit, ...]

    @property
    def share(self) -> float:
        """The share of the edits that change something which is killed, 1 at best."""
        wrong = self.killed + len(self.survivors)
        return self.killed / wrong if wrong else 1.0

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
    """
    settings = list(_settings(name))
    every = [list(edits(setting)) for setting in settings]
    killers: list[set[str]] = [set() for _ in every[0]]
    for setting, changes in zip(settings, every, strict=True):
        for probe in probes(setting.hyperparameters()):
            expected = _expected(setting, probe)
            for killed_by, edit in zip(killers, changes, strict=True):
                if _leaves_bounds(edit, setting, probe, expected):
                    killed_by.add(probe.id)
    alive = [i for i, killed_by in enumerate(killers) if not killed_by]
    same = {
        i for i in alive if all(_is_same(s, e[i]) for s, e in zip(settings, every, strict=True))
    }
    ids = dict.fromkeys(probe.id for probe in probes(settings[0].hyperparameters()))
    return Score(
        name=name,
        kills={
            id: (sum(id in by for by in killers), sum(by == {id} for by in killers)) for id in ids
        },
        killed=len(killers) - len(alive),
        equivalent=tuple(every[0][i] for i in alive if i in same),
        survivors=tuple(every[0][i] for i in alive if i not in same),
    )


def _settings(name: str) -> Iterator[Optimizer]:
    """An optimizer of the specification for every combination of its flags."""
    optimizer = catalog.build(example(name))
    own = optimizer.layers[1:] if catalog.goes_around(name) else optimizer.layers
    flags = [k for layer in own for k in layer.hyperparameters if isinstance(DOMAINS[k], Boolean)]
    for values in product((False, True), repeat=len(flags)):
        yield optimizer.with_hyperparameters(**dict(zip(flags, values, strict=True)))


def _expected(optimizer: Optimizer, probe: Probe) -> list[list[Bounded]]:
    """The reference's parameters after each step, with the wider of the two bounds."""
    base = optimizer.with_hyperparameters(**_given(optimizer, probe))
    lr = base.lr
    reference = base.lifted(lambda _, value: bounded(value, "float32-hyperparameters"))
    params = [Bounded.exact(p, FLOAT32) for p in probe.params]
    state = reference.init(params)
    expected = []
    for gradients, rate in zip(probe.gradients, probe.rates, strict=True):
        grads = [None if g is None else Bounded.exact(g, FLOAT32) for g in gradients]
        rate_lr = bounded(lr * rate, "float32-hyperparameters")
        params, state = reference.step(params, grads, state, lr=rate_lr)
        expected.append(params)
    return expected


def _leaves_bounds(
    edit: Edit, optimizer: Optimizer, probe: Probe, expected: Sequence[Sequence[Bounded]]
) -> bool:
    """Whether an edited optimizer, in plain float64, is ever further off than the bound."""
    base = optimizer.with_hyperparameters(**_given(optimizer, probe))
    try:
        changed = edit.apply(base)
        params = [np.asarray(p, np.float64) for p in probe.params]
        state = changed.init(params)
        for step, (gradients, rate) in enumerate(zip(probe.gradients, probe.rates, strict=True)):
            grads = [None if g is None else np.asarray(g, np.float64) for g in gradients]
            params, state = changed.step(params, grads, state, lr=base.lr * rate)
            for got, within in zip(params, expected[step], strict=True):
                if got.dtype.kind != "f" or np.max(distance(got, within), initial=0) > 1:
                    return True
    except (ArithmeticError, ValueError, TypeError, AttributeError, IndexError):
        return True  # it does not even run
    return False


def _given(optimizer: Optimizer, probe: Probe) -> dict[str, Any]:
    flags = {k: v for k, v in optimizer.hyperparameters().items() if isinstance(v, bool)}
    return {**probe.hyperparameters, **flags}


def _is_same(optimizer: Optimizer, edit: Edit) -> bool:
    """Whether the parameters are equal for all gradients and hyperparameters, step by step."""
    try:
        return _is_equal(optimizer, edit)
    except TypeError:  # SymPy compares no NaN, which the reference never is
        return False


def _is_equal(optimizer: Optimizer, edit: Edit) -> bool:
    import sympy as sp

    from refopt.oracle.proof import symbol

    reference = optimizer.lifted(lambda name, value: symbol(name))
    theta = sp.Symbol("theta", real=True)
    trajectories = []
    for changed in (reference, edit.apply(reference)):
        params, state = theta, changed.init(theta)
        steps = []
        for t in range(1, STEPS + 1):
            g = sp.Symbol(f"g_{t}", real=True)
            params, state = changed.step(params, g, state, lr=symbol("lr"))
            steps.append(params)
        trajectories.append(steps)
    return all(sp.simplify(a - b) == 0 for a, b in zip(*trajectories, strict=True))
