"""The smallest run in which a target deviates, as a script for a bug report.

The script needs NumPy, refopt and the target. It is the probe in which the target first deviates,
cut as long as it still does: to the steps up to there, to a constant learning rate, to that
parameter, to that element of it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from refopt.adapters.adapt import imported
from refopt.adapters.adapter import TargetError
from refopt.optimizer import Optimizer
from refopt.oracle.observation import (
    Hypothesis,
    Observation,
    Variation,
    given_to,
    weigh,
)
from refopt.oracle.probes import Gradients, Probe
from refopt.oracle.run import Worker, run
from refopt.oracle.subject import Subject, described
from refopt.oracle.verdict import Deviation


@dataclass(frozen=True)
class Reproduction:
    """What a script is to reproduce.

    Attributes:
        name: how the verdict calls the target.
        subject: the target.
        variation: the hyperparameters that it is given.
        spec: what it is compared with.
        dialect: whose form of that.
        reference: the same as an optimizer.
        dtype: of parameters and gradients.
        timeout: how many seconds a single call of the target may take.
    """

    name: str
    subject: Subject
    variation: Variation
    spec: str
    dialect: str | None
    reference: Optimizer
    dtype: str
    timeout: float

    def script(self, probe: Probe, deviation: Deviation) -> str | None:
        """The script; None where the target deviates no more when it is run again on its own."""
        cut = replace(
            probe,
            gradients=probe.gradients[: deviation.step],
            rates=probe.rates[: deviation.step],
        )
        found = self._deviation(cut)
        if found is None or len(self.subject.adapter.parts) > 1:
            return None
        probe, deviation = cut, found
        for smaller in _CUTS:
            cut = smaller(probe, deviation)
            found = self._deviation(cut)
            if found is not None:
                probe, deviation = cut, found
        return "\n".join(self._lines(probe, deviation)) + "\n"

    def _deviation(self, probe: Probe) -> Deviation | None:
        given = given_to(self.subject, self.variation, probe)
        lr = probe.hyperparameters.get("lr", self.variation.lr)
        adapter = self.subject.adapter
        try:
            with Worker(self.timeout) as worker:
                trace = run(adapter, probe, given, lr, worker)
        except TargetError:
            return None
        finally:
            adapter.end_sessions()
        seen = Observation(self.dtype, (probe,), (trace,))
        return weigh(Hypothesis(self.reference), seen)[1].deviation

    def _lines(self, probe: Probe, deviation: Deviation) -> Iterator[str]:
        lr = probe.hyperparameters.get("lr", self.variation.lr)
        given = given_to(self.subject, self.variation, probe)
        taken = self.subject.adapter.accepted()
        own = {name: value for name, value in given.items() if name in taken and name != "lr"}
        known = Hypothesis(self.reference).at(probe).hyperparameters()
        expected = {n: known[n] for n in probe.hyperparameters if n in known and n != "lr"}
        changes = len(set(probe.rates)) > 1
        target = _text_of(self.name, self.subject.adapter.parts[0].factory)
        dialect = "" if self.dialect is None else f", {self.dialect!r}"
        yield "import numpy as np"
        yield "import refopt"
        yield "from refopt.specification import resolve"
        yield ""
        yield f"params = [{', '.join(map(_array, probe.params))}]"
        yield "steps = ["
        steps = (
            f"({lr * rate!r}, [{', '.join(map(_array, grads))}])"
            for rate, grads in zip(probe.rates, probe.gradients, strict=True)
        )
        for step, same in groupby(steps):
            count = len(list(same))
            yield f"    {step}," if count == 1 else f"    *[{step}] * {count},"
        yield "]"
        if target is None:
            yield "Target = ...  # the target that was checked"
        yield (
            f"target = refopt.start({target or 'Target'}, params, spec={self.spec!r}"
            + (f", dialect={self.dialect!r}" if self.dialect is not None else "")
            + "".join(f", {name}={value!r}" for name, value in {"lr": lr, **own}.items())
            + ")"
        )
        values = ", ".join(f"{name}={value!r}" for name, value in expected.items())
        yield f"reference = resolve({self.spec!r}{dialect}).with_hyperparameters({values})"
        yield "exact = [p.astype(float) for p in params]"
        yield "state = reference.init(exact)"
        yield "for step, (lr, grads) in enumerate(steps, 1):"
        if changes:
            yield "    target.set_lr(lr)"
        yield "    got = target.step(grads)"
        yield "    grads = [None if g is None else g.astype(float) for g in grads]"
        yield "    exact, state = reference.step(exact, grads, state, lr=lr)"
        if probe.resumes_after is not None:
            again = f"refopt.start({target or 'Target'}, got, spec={self.spec!r}"
            options = "".join(f", {n}={v!r}" for n, v in {"lr": lr, **own}.items())
            yield f"    if step == {probe.resumes_after}:"
            yield "        saved = target.state_dict()"
            yield f"        target = {again}{options})"
            yield "        target.load_state_dict(saved)"
        place = f"[{deviation.parameter}]" + f"[{deviation.index}]" * bool(deviation.index)
        yield f'print("got", got{place}, "expected", exact{place}, "allowed", {deviation.bound!r})'


Cut = Callable[[Probe, Deviation], Probe]


def _plain(probe: Probe, _: Deviation) -> Probe:
    """In memory as it comes, never saved."""
    return replace(probe, layout="contiguous", resumes_after=None)


def _at_one_rate(probe: Probe, _: Deviation) -> Probe:
    return replace(probe, rates=(1.0,) * len(probe.rates))


def _of_one_parameter(probe: Probe, deviation: Deviation) -> Probe:
    return _chosen(probe, lambda arrays: [arrays[deviation.parameter]])


def _of_one_element(probe: Probe, deviation: Deviation) -> Probe:
    index = deviation.index
    chosen = (deviation.parameter,)
    return _chosen(
        probe,
        lambda arrays: [
            np.array([x[index]], x.dtype) if i in chosen and x is not None and index else x
            for i, x in enumerate(arrays)
        ],
    )


_CUTS: Sequence[Cut] = (_plain, _at_one_rate, _of_one_parameter, _of_one_element)
"""What is tried to make a probe smaller, one after the other."""


def _chosen(probe: Probe, choose: Callable[[Sequence[Any]], Sequence[Any]]) -> Probe:
    gradients: list[Gradients] = [tuple(choose(step)) for step in probe.gradients]
    return replace(probe, params=tuple(choose(probe.params)), gradients=tuple(gradients))


def _array(x: np.ndarray | None) -> str:
    """An array as code, with as few digits as tell its numbers from others of the dtype."""
    if x is None:
        return "None"
    shortest = np.array([float(str(value)) for value in x.ravel()]).reshape(x.shape).tolist()
    values = re.sub(r"\b(nan|inf)\b", r"np.\1", repr(shortest))
    shape = f".reshape({x.shape})" * (x.size == 0 and x.ndim > 1)
    return f"np.array({values}, {x.dtype.name!r}){shape}"


def _text_of(name: str, factory: Any) -> str | None:
    """A target as code: a name under which it can be imported, None where it has none."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    own = described(factory)
    for candidate in (name, own.replace("__main__:", f"{main}:") if main else own):
        try:
            imported(candidate)
        except TargetError:
            continue
        return repr(candidate)
    return None
