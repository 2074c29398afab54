"""The main job: does a target conform to the specification?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refopt import specification
from refopt.adapters.adapt import TargetError, adapt, framework, imported
from refopt.adapters.adapter import Adapter, Part
from refopt.arithmetic.bounds import FLOAT32, FLOAT64, FORMATS, Bounded, Format, distance
from refopt.optimizer import Optimizer
from refopt.oracle.probes import Probe, probes
from refopt.oracle.run import Trace, Worker, run
from refopt.oracle.verdict import Deviation, Precision, Verdict

_PRECISIONS: tuple[Precision, ...] = ("working", "float32-hyperparameters")


@dataclass(frozen=True)
class Subject:
    """A target with what is known about it.

    Attributes:
        adapter: starts it.
        defaults: the canonical hyperparameters that it is known to have when it is given none.
    """

    adapter: Adapter
    defaults: Mapping[str, Any] = field(default_factory=dict)


def check(
    target: Any,
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    timeout: float = 20.0,
    name: str | None = None,
) -> Verdict:
    """Checks a target against the specification.

    Args:
        target: a factory, a framework's optimizer class, function or instance, or the name of one:
            ``"torch.optim:AdamW"``, ``"path/to/file.py:MyAdam"``.
        spec: a name or a composition, ``"gradient_accumulation(sgd, k=4)"``; what it pins stays,
            all other hyperparameters are varied.
        dialect: whose form of it; without one the canonical form.
        dtype: ``"float32"`` or ``"float64"``.
        seed: of the probes' values.
        options: further arguments of the target, passed through as they are.
        timeout: how many seconds a single call of the target may take.
        name: how the verdict calls the target.

    Raises:
        ValueError: the spec, dialect or dtype does not exist.
    """

    def subject() -> Subject:
        found = imported(target) if isinstance(target, str) else target
        return _subject(found, spec, dialect, options or {})

    name = name or (target if isinstance(target, str) else described(target))
    return judged(name, subject, spec, dialect=dialect, dtype=dtype, seed=seed, timeout=timeout)


def judged(
    name: str,
    subject: Callable[[], Subject],
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    timeout: float = 20.0,
) -> Verdict:
    """The verdict on a subject, or on why there is none: as :func:`check` has it."""
    if dtype not in FORMATS:
        raise ValueError(f"dtype must be one of {', '.join(FORMATS)}, got {dtype!r}")
    reference = specification.resolve(spec, dialect)
    judge = _Judge(name, spec, dialect, dtype, seed, timeout)
    try:
        return judge.verdict(subject(), reference)
    except TargetError as error:
        return judge.failed(error)


def _subject(target: Any, spec: str, dialect: str | None, options: Mapping[str, Any]) -> Subject:
    kind = framework(target)
    if kind is None:
        names = specification.resolve(spec, dialect).hyperparameters()
        part = Part(target, {name: name for name in names}, options=options)
        return Subject(adapt((part,), kind))
    forms = specification.dialects(spec, kind, dialect).values()
    arguments = {k: v for form in forms for k, v in form.arguments.items()}
    defaults = specification.canonical_defaults(forms) if dialect else {}
    return Subject(adapt((Part(target, arguments, options=options),), kind), defaults)


@dataclass
class _Judge:
    """Runs the probes of one check and weighs the results."""

    target: str
    spec: str
    dialect: str | None
    dtype: str
    seed: int
    timeout: float

    def __post_init__(self) -> None:
        self.began = time.perf_counter()

    def verdict(self, subject: Subject, reference: Optimizer) -> Verdict:
        values = reference.hyperparameters()
        varied = {
            name: subject.defaults.get(name, values[name])
            for name in values
            if name in subject.adapter.accepted() and name not in reference.pinned()
        }
        ran = [
            p
            for p in probes(varied, dtype=self.dtype, seed=self.seed)
            if subject.adapter.takes_missing or not p.has_missing
        ]
        with Worker(self.timeout) as worker:
            traces = [self._trace(subject, reference, probe, worker) for probe in ran]
        return self._weighed(reference, ran, traces)

    def failed(self, error: TargetError) -> Verdict:
        return self._made(outcome="error", error=str(error))

    def _trace(self, subject: Subject, reference: Optimizer, probe: Probe, worker: Worker) -> Trace:
        given = dict(probe.hyperparameters)
        if probe.id == "defaults":
            given = {name: value for name, value in given.items() if name not in subject.defaults}
        given |= {n: v for n, v in reference.hyperparameters().items() if n in reference.pinned()}
        lr = probe.hyperparameters.get("lr", reference.lr)
        return run(subject.adapter, probe, given, lr, worker)

    def _weighed(self, reference: Optimizer, ran: list[Probe], traces: list[Trace]) -> Verdict:
        ids = tuple(p.id for p in ran)
        notes = tuple(dict.fromkeys(note for trace in traces for note in trace.notes))
        for precision in _PRECISIONS:
            worst, deviation = 0.0, None
            for probe, trace in zip(ran, traces, strict=True):
                farthest, first = self._compared(reference, probe, trace, precision)
                worst = max(worst, farthest)
                deviation = deviation or first
            if deviation is None:
                return self._made(
                    outcome="conforms",
                    precision=precision,
                    worst=worst,
                    probes=ids,
                    notes=notes,
                )
        return self._made(
            outcome="deviates", worst=worst, deviation=deviation, probes=ids, notes=notes
        )

    def _compared(
        self, reference: Optimizer, probe: Probe, trace: Trace, precision: Precision
    ) -> tuple[float, Deviation | None]:
        """The largest error as a fraction of its bound, and the first element beyond it."""
        format = FORMATS[self.dtype]

        def lift(name: str, value: float) -> Bounded:
            return _hyperparameter(value, precision)

        optimizer = reference.with_hyperparameters(**probe.hyperparameters)
        lr, optimizer = optimizer.lr, optimizer.lifted(lift)
        params = [Bounded.exact(p, format) for p in probe.params]
        state = optimizer.init(params)
        worst, first = 0.0, None
        for step, (gradients, rate) in enumerate(zip(probe.gradients, trace.rates, strict=True), 1):
            grads = [None if g is None else Bounded.exact(g, format) for g in gradients]
            params, state = optimizer.step(params, grads, state, lr=lift("lr", lr * rate))
            for i, (got, expected) in enumerate(zip(trace.params[step - 1], params, strict=True)):
                errors = distance(got, expected)
                farthest = float(np.max(errors, initial=0.0))
                worst = max(worst, farthest)
                if first is None and farthest > 1:
                    index = tuple(int(j) for j in np.argwhere(errors > 1)[0])
                    first = _deviation(probe.id, step, i, index, got, expected, format)
        return worst, first

    def _made(self, **fields: Any) -> Verdict:
        return Verdict(
            target=self.target,
            spec=self.spec,
            dialect=self.dialect,
            dtype=self.dtype,
            seed=self.seed,
            seconds=time.perf_counter() - self.began,
            **fields,
        )


def _hyperparameter(value: float, precision: Precision) -> Bounded:
    """A hyperparameter: exact, or anywhere between its value and that rounded to float32."""
    if precision == "working":
        return Bounded(value, 0.0, FLOAT64)
    return Bounded(value, abs(value - FLOAT32.nearest(value)), FLOAT32)


def _deviation(
    probe: str,
    step: int,
    parameter: int,
    index: tuple[int, ...],
    got: np.ndarray,
    expected: Bounded,
    format: Format,
) -> Deviation:
    reference = float(np.asarray(expected.value)[index])
    value = float(got[index])
    ulp = float(np.spacing(np.dtype(format.name).type(abs(reference))))
    return Deviation(
        probe=probe,
        step=step,
        parameter=parameter,
        index=index,
        expected=reference,
        got=value,
        bound=float(np.asarray(expected.error)[index]),
        ulps=abs(value - reference) / ulp,
    )


def described(target: Any) -> str:
    """A target by its module and name."""
    kind = target if hasattr(target, "__qualname__") else type(target)
    return f"{kind.__module__}:{kind.__qualname__}"
