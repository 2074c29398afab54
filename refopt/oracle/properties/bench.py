"""Where properties are examined: a target that can be run on any case, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from refopt.adapters.adapter import TargetError
from refopt.arithmetic.bounds import FORMATS, Bounded, Mode, modes
from refopt.optimizer import Optimizer
from refopt.oracle.examination import Examination
from refopt.oracle.observation import Hypothesis, expected, weigh
from refopt.oracle.probes import Probe
from refopt.oracle.run import InputChangedError, Started, Trace, Worker, run


@dataclass(frozen=True)
class Run:
    """A case, and what the target did in it."""

    case: Probe
    trace: Trace
    bench: Bench

    def got(self, step: int, parameter: int) -> np.ndarray:
        """A parameter after a step, 1-based; before the first it is that of the case."""
        return (self.trace.params[step - 1] if step else self.case.params)[parameter]

    def reference(self, step: int, parameter: int) -> Bounded:
        """What the reference expects there, and how far a target may be from it."""
        if not step:
            return self.bench.mode.given(self.case.params[parameter])
        return self._expected[step - 1][parameter]

    def expected_of(self, optimizer: Optimizer) -> list[list[Bounded]]:
        """What another optimizer is expected to do in this case."""
        steps = expected(Hypothesis(optimizer), self.case, self.trace, self.bench.mode)
        with np.errstate(all="ignore"):
            return list(steps)

    @cached_property
    def _expected(self) -> list[list[Bounded]]:
        return self.expected_of(self.bench.optimizer)


@dataclass
class Bench:
    """A target with all that properties need to know about it.

    Attributes:
        examination: of the target on the fixed probes.
        optimizer: the reference.
        worker: where the target runs.
        varied: the hyperparameters that cases choose, with their defaults; flags stay as they are.
        mode: of arithmetic that bounds admit.
        takes_rates: whether the learning rate can be changed.
        can_resume: whether the target can be saved and loaded.
        shows_state: whether it has ``state()``, which returns its state arrays by the names of the
            specification, one for each parameter.
        target_text: what stands for the target in a script.
        options: further arguments of the target.
        running: the case that runs, or ran last.

    Raises:
        TargetError: the target cannot be started.
    """

    examination: Examination
    worker: Worker
    target_text: str
    options: Mapping[str, Any]
    optimizer: Optimizer = field(init=False)
    varied: Mapping[str, Any] = field(init=False)
    mode: Mode = field(init=False)
    takes_rates: bool = field(init=False)
    can_resume: bool = field(init=False)
    shows_state: bool = field(init=False)
    running: Probe | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        examination = self.examination
        self.optimizer = examination.reference
        failed = examination.seen
        if isinstance(failed, TargetError) and not isinstance(failed, InputChangedError):
            raise failed  # once, rather than in the cases of every property
        self.mode = self._mode()
        known = examination.subject.defaults
        varied = {n: known.get(n, v) for n, v in examination.variation.varied.items()}
        self.varied = {n: value for n, value in varied.items() if not isinstance(value, bool)}
        started = self.start([np.ones(1, self.dtype)], self.varied)
        self.takes_rates, self.can_resume = started.takes_rates, started.can_resume
        self.shows_state = callable(getattr(started.session, "state", None))
        examination.subject.adapter.end_sessions()

    def _mode(self) -> Mode:
        """The mode in which the target conforms to the fixed probes, or else the last.

        In place of the working precision the one with rounded hyperparameters, which contains it: a
        target that conforms in that is not wrong, and parameters of the size of 1 may hide it.
        """
        found = modes(FORMATS[self.dtype])
        *_, last = found.values()
        seen = self.examination.seen
        if len(found) == 2 or isinstance(seen, TargetError):
            return last
        precision, _ = weigh(Hypothesis(self.optimizer), seen)
        return last if precision in (None, "working") else found[precision]

    @property
    def dtype(self) -> str:
        """Of parameters and gradients."""
        return self.examination.dtype

    @property
    def takes_missing(self) -> bool:
        """Whether gradients may be missing."""
        return self.examination.subject.adapter.takes_missing

    @property
    def compiles(self) -> bool:
        """Whether shapes that the target has not met cost time."""
        return self.examination.subject.adapter.compiles

    def value(self, name: str, given: Mapping[str, Any]) -> Any:
        """A hyperparameter of the optimizer in a case that gives some."""
        return {**self.optimizer.hyperparameters(), **given}.get(name)

    def why_not(self, needed: Mapping[str, Any]) -> str | None:
        """Why hyperparameters cannot have the values that a property needs, if they cannot."""
        have = self.optimizer.hyperparameters()
        for name, value in needed.items():
            if name in have and name not in self.varied and have[name] != value:
                is_pinned = name in self.optimizer.pinned()
                held = "the spec pins it to" if is_pinned else "the target takes none and it stays"
                return f"it needs {name}={value!r}, and {held} {have[name]!r}"
        return None

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the target is started with in a case."""
        own = {n: v for n, v in given.items() if n in self.varied}
        return {**own, **self.examination.variation.fixed}

    def lr(self, given: Mapping[str, Any]) -> float:
        """The learning rate that the rates of a case multiply."""
        return float(given.get("lr", self.examination.variation.lr))

    def start(
        self, params: Sequence[np.ndarray], given: Mapping[str, Any], layout: Any = "contiguous"
    ) -> Started:
        """The target, started."""
        adapter = self.examination.subject.adapter
        return Started(adapter, params, self.settings(given), self.worker, layout)

    def state(self, target: Started) -> dict[str, list[np.ndarray]]:
        """Copies of the state arrays that a target shows.

        Raises:
            TargetError: it does not return them.
        """
        session: Any = target.session
        shown = self.worker.call("state", session.state)
        try:
            return {name: [np.array(x) for x in arrays] for name, arrays in shown.items()}
        except (TypeError, AttributeError):
            raise TargetError(
                f"state() returned {type(shown).__name__}; it must return a dict of state arrays: "
                "{name: [one for each parameter]}"
            ) from None

    def steps(self, case: Probe) -> Iterator[tuple[int, Started]]:
        """Runs the target on a case, and stops after each step.

        Raises:
            TargetError: it could not be run.
        """
        self.running = case
        given = case.hyperparameters
        target = self.start(case.params, given, case.layout)
        for step, (grads, rate) in enumerate(zip(case.gradients, case.rates, strict=True), 1):
            if target.takes_rates:
                target.set_lr(self.lr(given) * rate)
            target.step(f"step {step} of a case of {case.id}", grads)
            yield step, target
        self.examination.subject.adapter.end_sessions()

    def run(self, case: Probe) -> Run:
        """Runs the target on a case.

        Raises:
            TargetError: it could not be run.
        """
        adapter = self.examination.subject.adapter
        self.running = case
        given = case.hyperparameters
        try:
            trace = run(adapter, case, self.settings(given), self.lr(given), self.worker)
        finally:
            adapter.end_sessions()
        return Run(case, trace, self)

    def without(self, names: Sequence[str]) -> Optimizer:
        """The reference without its layers of those names."""
        rule, *variants = self.optimizer.layers
        optimizer = replace(self.optimizer, layers=(rule,))
        for layer in variants:
            if layer.name not in names:
                optimizer = optimizer.around(layer)
        return optimizer
