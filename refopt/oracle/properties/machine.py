"""A state machine that drives a target in any order of calls, beside the reference as its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from refopt.arithmetic.bounds import Bounded, distance
from refopt.oracle.observation import Reached, bounded, stepped
from refopt.oracle.probes import Probe
from refopt.oracle.properties import script
from refopt.oracle.properties.bench import Bench
from refopt.oracle.properties.cases import (
    ORDINARY,
    Draw,
    drawn_shapes,
    hyperparameters,
    numbers,
    spread,
)
from refopt.oracle.properties.found import Found
from refopt.oracle.properties.relation import Broken, Failure
from refopt.oracle.run import Started
from refopt.specification import properties
from refopt.strategies import SHAPES

NAME = "conforms_in_any_order"

Grads = Sequence[np.ndarray | None]

MOST_ELEMENTS = 300
"""Of the parameters of a machine: larger ones are left to the cases of properties."""

_SCALES = (*ORDINARY, 10, -10, 30, -30, -60)
_FACTORS = (1.0, 0.5, 2.0, 0.0, 0.125)


class Machine(RuleBasedStateMachine):
    """A target and its model.

    Attributes:
        bench: where the target is; a subclass has it.
        found: keeps what goes wrong.
    """

    bench: ClassVar[Bench]
    found: ClassVar[Found]

    def __init__(self) -> None:
        super().__init__()
        self.found.begin()
        self.calls: list[Callable[[], str]] = []
        self.count = 0

    @initialize(data=st.data())
    def init(self, data: st.DataObject) -> None:
        """Starts both."""
        bench, draw = self.bench, data.draw
        self.given = hyperparameters(draw, bench, {})
        shapes = [s for s in SHAPES if np.prod(s, dtype=int) <= MOST_ELEMENTS]
        found = drawn_shapes(draw, bench, shapes, 4)
        start = numbers(draw)
        params = [spread(start, i, shape, bench.dtype) for i, shape in enumerate(found)]
        self.case = Probe(NAME, "", self.given, tuple(params), (), ())
        self.calls = [lambda: "\n".join(script.started(bench, self.case))]
        self.lr = bench.lr(self.given)
        self.target: Started
        self._attempt(lambda: setattr(self, "target", bench.start(params, self.given)))
        known = bench.optimizer.hyperparameters()
        values = {n: v for n, v in self.given.items() if n in known}
        self.model = bounded(bench.optimizer.with_hyperparameters(**values), bench.mode)
        self.shapes = found
        expected = [bench.mode.given(p) for p in params]
        self.reached = Reached(expected, self.model.init(expected))

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """A step with a gradient for each parameter."""
        self._step(self._gradients(data.draw))

    @precondition(lambda self: self.bench.takes_missing)
    @rule(data=st.data())
    def step_without_some(self, data: st.DataObject) -> None:
        """A step in which gradients are missing."""
        grads = self._gradients(data.draw)
        missing = data.draw(st.integers(1, 2 ** len(grads) - 1))
        self._step([None if missing >> i & 1 else g for i, g in enumerate(grads)])

    @precondition(lambda self: self.bench.takes_rates)
    @rule(factor=st.sampled_from(_FACTORS))
    def set_lr(self, factor: float) -> None:
        """Changes the learning rate."""
        self.lr = self.bench.lr(self.given) * factor
        self._write_rate()
        self._attempt(lambda: self.target.set_lr(self.lr))

    @precondition(lambda self: self.bench.can_resume)
    @rule(goes_on=st.booleans())
    def resume(self, goes_on: bool) -> None:
        """Goes on with a fresh target that loads what was saved; the old one may go on as well."""
        self.calls += [
            lambda: "old, saved = target, target.state_dict()",
            lambda: script.started(self.bench, self.case)[-1],
            lambda: "target.load_state_dict(saved)",
        ]
        if self.bench.takes_rates:
            self._write_rate()
        grads = [spread([1.0], 0, shape, self.bench.dtype) for shape in self.shapes]
        if goes_on:
            self.calls.append(lambda: f"old.step({script.gradients(grads)})")
        self._attempt(lambda: self._resume(grads if goes_on else None))

    def teardown(self) -> None:
        """Ends what the target runs in."""
        self.bench.examination.subject.adapter.end_sessions()

    def _gradients(self, draw: Draw) -> list[np.ndarray]:
        gs = numbers(draw, _SCALES)
        return [spread(gs, i, shape, self.bench.dtype) for i, shape in enumerate(self.shapes)]

    def _attempt(self, act: Callable[[], None]) -> None:
        self.found.attempt(act, lambda: self._written([]))

    def _written(self, check: Sequence[str]) -> str:
        calls = [call() for call in self.calls]
        return script.of_calls(self.bench, properties()[NAME].statement, [*calls, *check])

    def _write_rate(self) -> None:
        lr = self.lr
        self.calls.append(lambda: f"target.set_lr({lr!r})")

    def _resume(self, grads: Grads | None) -> None:
        old: Any = self.target.resume()
        if self.bench.takes_rates:
            self.target.set_lr(self.lr)
        if grads is not None:
            self.bench.worker.call("a step of the target that was saved", lambda: old.step(grads))

    def _step(self, grads: Grads) -> None:
        self.count += 1
        self.calls.append(lambda: f"params = target.step({script.gradients(grads)})")
        self._attempt(lambda: self._compare(grads))

    def _compare(self, grads: Grads) -> None:
        bench = self.bench
        returned = self.target.step(f"call {self.count} of step", tuple(grads))
        mode = bench.mode
        given = [None if g is None else mode.given(g) for g in grads]
        with np.errstate(all="ignore"):
            self.reached = stepped(self.model, self.reached, given, self.lr, mode)
        for i, (got, expected) in enumerate(zip(returned, self.reached.params, strict=True)):
            errors = distance(got, expected)
            if np.any(errors > 1):
                raise Broken(self._failure(i, np.argwhere(errors > 1)[0], got, expected))

    def _failure(self, i: int, index: np.ndarray, got: np.ndarray, expected: Bounded) -> Failure:
        place = tuple(map(int, index))
        value = float(np.asarray(expected.value)[place])
        bound = float(np.asarray(expected.error)[place])
        flat = int(np.ravel_multi_index(place, got.shape)) if place else 0
        finite = np.isfinite(value)
        check = f"abs(got - {value!r}) <= {bound!r}" if finite else "not np.isfinite(got)"
        return Failure(
            f"call {self.count} of step, parameter {i}{script.element(place)}: "
            f"{float(got[place])!r}, the reference expects {value!r} within {bound:.3g}",
            self._written([f"got = params[{i}].flat[{flat}]", f"assert {check}, got"]),
        )
