"""Runs a target through a probe, and turns whatever goes wrong into one clear error."""

from __future__ import annotations

import copy
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Final

import numpy as np

from refopt.adapters.adapter import Adapter, Session, TargetError, raised
from refopt.oracle.probes import Gradients, Layout, Probe, joined

_LAYOUTS: Final[Mapping[Layout, Callable[[np.ndarray], np.ndarray]]] = {
    "contiguous": np.empty_like,
    "anew": np.empty_like,
    "gaps": lambda p: np.ones((*p.shape[::-1], 2), p.dtype)[..., 0].T,
    "columns": lambda p: np.empty(p.shape[::-1], p.dtype).T,
    "backwards": lambda p: np.empty(p.shape, p.dtype)[(slice(None, None, -1),) * p.ndim + (...,)],
    "offset": lambda p: np.empty(p.size + 1, p.dtype)[1:].reshape(p.shape),
}
"""Memory for a gradient of a parameter."""


class InputChangedError(TargetError):
    """A target changed a gradient, which belongs to its caller."""


@dataclass(frozen=True)
class Trace:
    """What a target did in a probe.

    Attributes:
        params: the parameters after each step.
        rates: the multiples of the learning rate that it really stepped with.
        notes: what of the probe could not be exercised, and why.
        resumed_after: the step after which it was saved and loaded into a fresh target.
        beside: the parameters, after each step from then on, of the target that was saved, which
            goes on beside the fresh one.
    """

    params: list[list[np.ndarray]]
    rates: tuple[float, ...]
    notes: tuple[str, ...]
    resumed_after: int | None
    beside: list[list[np.ndarray]] = field(default_factory=list)

    @property
    def sets_rate(self) -> bool:
        """Whether the learning rate was set before each step; otherwise it is as at the start."""
        return any(rate != 1 for rate in self.rates)

    @cached_property
    def joined(self) -> Trace:
        """It with all parameters as one."""
        if len(self.params[0]) == 1 and self.params[0][0].ndim == 1:
            return self
        params, beside = ([[joined(ps)] for ps in steps] for steps in (self.params, self.beside))
        return replace(self, params=params, beside=beside)


class Worker:
    """A thread in which a target runs, so that one that never returns can be left behind.

    Args:
        seconds: how long a single call of the target may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._tasks: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._calling, self._since, self._is_left = "", 0.0, False
        self._thread = threading.Thread(target=self._work, daemon=True, name="refopt target")
        self._thread.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_left = True
        self._tasks.put(None)

    def call(self, what: str, task: Callable[[], Any]) -> Any:
        """The result of a call of the target.

        Raises:
            TargetError: it raised, or did not return in time.
        """
        return self.go(partial(self._called, what, task))

    def go(self, task: Callable[[], Any]) -> Any:
        """The result of a task that makes calls of the target: one change of threads for all.

        Raises:
            TargetError: a call did not return in time. What else the task raises comes as it is.
        """
        if threading.current_thread() is self._thread:
            return task()
        self._since = time.monotonic()
        self._tasks.put(task)
        result, error = self._result()
        if error is not None:
            raise error
        return result

    def _called(self, what: str, task: Callable[[], Any]) -> Any:
        self._calling, self._since = what, time.monotonic()
        if self._is_left:
            raise TargetError(f"{what} came too late")
        try:
            return task()
        except TargetError:
            raise
        except BaseException as error:
            raise TargetError(f"{what} raised {raised(error)}") from error

    def _result(self) -> tuple[Any, BaseException | None]:
        while (left := self._since + self.seconds - time.monotonic()) > 0:
            # An interrupt that comes just before a wait begins would be seen only after it.
            with suppress(queue.Empty):
                return self._results.get(timeout=min(left, 0.1))
        self._is_left = True
        raise TargetError(
            f"{self._calling} did not return within {self.seconds:g} s; "
            "if it needs longer, allow more with `timeout`"
        )

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                with np.errstate(all="ignore"):  # NaN and infinity are judged, not warned about
                    self._results.put((task(), None))
            except BaseException as error:  # noqa: BLE001  a target may raise anything
                self._results.put((None, error))


class Started:
    """A started target, whose every answer is checked.

    Args:
        adapter: starts it, and starts it afresh.
        params: the parameters before the first step.
        hyperparameters: what to start it with.
        worker: where to run it.
        layout: how the memory of its gradients looks; the caller uses it again in every step, but
            for ``anew``.

    Raises:
        TargetError: the target raised, hung, changed its inputs, or returned something other than
            arrays of the shapes and dtypes of the parameters.
    """

    def __init__(
        self,
        adapter: Adapter,
        params: Sequence[np.ndarray],
        hyperparameters: Mapping[str, Any],
        worker: Worker,
        layout: Layout = "contiguous",
    ) -> None:
        self.params = list(params)
        self._adapter, self._hyperparameters, self._worker = adapter, hyperparameters, worker
        self._layout: Layout = layout
        self._buffers = [_LAYOUTS[layout](p) for p in params]
        self._lets_write = layout in ("contiguous", "anew")
        self._session = self._start(self.params)

    @property
    def takes_rates(self) -> bool:
        """Whether its learning rate can be changed."""
        return hasattr(self._session, "set_lr")

    @property
    def can_resume(self) -> bool:
        """Whether it can be saved and loaded."""
        session = self._session
        return hasattr(session, "state_dict") and hasattr(session, "load_state_dict")

    @property
    def session(self) -> Session:
        """The target itself."""
        return self._session

    def set_lr(self, lr: float) -> None:
        """Changes the learning rate."""
        self._worker.call("set_lr", partial(self._session.set_lr, lr))  # type: ignore[attr-defined]

    def step(self, where: str, grads: Gradients) -> list[np.ndarray]:
        """One step, which errors call by its place."""
        if self._layout == "anew":
            self._buffers = [np.empty_like(p) for p in self.params]
        given = _filled(self._buffers, grads, lets_write=self._lets_write)
        returned = self._worker.call(where, partial(self._session.step, list(given)))
        _check_unchanged(where, given, grads)
        self.params = checked(where, returned, self.params)
        return self.params

    def resume(self) -> Session:
        """Saves it and goes on with a fresh one that loads this; returns the old one."""
        old: Any = self._session
        fresh: Any = self._start(self.params)
        saved = self._worker.call("state_dict", old.state_dict)
        self._worker.call("load_state_dict", partial(fresh.load_state_dict, saved))
        self._session = fresh
        return old  # type: ignore[no-any-return]

    def _start(self, params: Sequence[np.ndarray]) -> Session:
        taken = self._adapter.accepted()
        given = self._hyperparameters
        values = ", ".join(f"{n}={value!r}" for n, value in given.items() if n in taken)
        copies = [p.copy() for p in params]
        session: Session = self._worker.call(
            f"starting the target with {values or 'no hyperparameters'}",
            partial(self._adapter.start, copies, given),
        )
        return session


def run(
    adapter: Adapter, probe: Probe, hyperparameters: Mapping[str, Any], lr: float, worker: Worker
) -> Trace:
    """The trajectory of a target.

    Args:
        adapter: starts the target.
        probe: what to feed it.
        hyperparameters: what to start it with.
        lr: the learning rate that the probe's rates multiply.
        worker: where to run it.

    Raises:
        TargetError: as :class:`Started` has it.
    """
    traced = partial(_traced, adapter, probe, hyperparameters, lr, worker)
    return worker.go(traced)  # type: ignore[no-any-return]


def _traced(
    adapter: Adapter, probe: Probe, hyperparameters: Mapping[str, Any], lr: float, worker: Worker
) -> Trace:
    target = Started(adapter, probe.params, hyperparameters, worker, probe.layout)
    rates, notes = probe.rates, []
    changes_rate = any(rate != 1 for rate in rates)
    if changes_rate and not target.takes_rates:
        changes_rate, rates = False, (1.0,) * len(rates)
        notes.append("the target has no set_lr: changes of the learning rate were not exercised")
    resumes = probe.resumes_after
    if resumes and not target.can_resume:
        resumes = None
        notes.append(
            "the target lacks state_dict or load_state_dict: saving and loading was not exercised"
        )
    params: list[list[np.ndarray]] = []
    beside: list[list[np.ndarray]] = []
    targets = [target]
    for step, (grads, rate) in enumerate(zip(probe.gradients, rates, strict=True), 1):
        where = f"step {step} of probe {probe.id!r}"
        for each in targets:
            if changes_rate:
                each.set_lr(lr * rate)
        beside.extend(f.step(f"{where}, of the target that was saved,", grads) for f in targets[1:])
        reached = target.step(where, grads)
        stayed = 1 < step <= probe.rests and all(map(_same, reached, params[-1]))
        params.append(params[-1] if stayed else reached)  # thousands of steps of rest are one
        if step == resumes:
            targets.append(copy.copy(target))
            target.resume()
    return Trace(params, rates, tuple(notes), resumes, beside)


def _filled(
    buffers: Sequence[np.ndarray], grads: Gradients, *, lets_write: bool
) -> list[np.ndarray | None]:
    given: list[np.ndarray | None] = []
    for buffer, g in zip(buffers, grads, strict=True):
        if g is None:
            given.append(None)
            continue
        buffer[...] = g
        view = buffer.view()
        view.flags.writeable = lets_write
        given.append(view)
    return given


def _check_unchanged(where: str, given: Sequence[np.ndarray | None], grads: Gradients) -> None:
    for i, (now, before) in enumerate(zip(given, grads, strict=True)):
        if now is not None and before is not None and not _same(now, before):
            raise InputChangedError(
                f"{where} changed gradient {i}, which belongs to the caller; "
                "let the target work on a copy"
            )


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two arrays have the same elements; that of the bits is the quicker comparison."""
    return x.tobytes() == y.tobytes() or np.array_equal(x, y, equal_nan=True)


def checked(where: str, returned: Any, params: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a step returned, once it is found to be arrays like the parameters.

    Raises:
        TargetError: it is not.
    """
    if not isinstance(returned, list | tuple):
        raise TargetError(
            f"{where} returned {type(returned).__name__}; step(grads) must return the list of "
            "parameters"
        )
    if len(returned) != len(params):
        raise TargetError(f"{where} returned {len(returned)} arrays for {len(params)} parameters")
    for i, (array, param) in enumerate(zip(returned, params, strict=True)):
        if not isinstance(array, np.ndarray | np.generic):
            raise TargetError(
                f"{where} returned {type(array).__name__} for parameter {i}; "
                "return NumPy arrays, e.g. with numpy.asarray"
            )
        for kind, got, expected in (
            ("shape", array.shape, param.shape),
            ("dtype", array.dtype, param.dtype),
        ):
            if got != expected:
                raise TargetError(
                    f"{where} returned parameter {i} with {kind} {got} instead of {expected}"
                )
    return [np.array(array) for array in returned]
