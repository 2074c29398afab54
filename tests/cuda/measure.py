"""Runs the CuPy engine on a CUDA device and prints what there is to know about it.

    python tests/cuda/measure.py [PARAMETERS]

First whether every rule conforms to its specification and how much of the bound it needs, and how
far it is from the plain reference on the CPU, in units in the last place; then how long AdamW in
float32 takes at 10^9 parameters, or as many as are given, beside a copy on the device (28 bytes a
parameter are read and written by a step, 8 by a copy) and, where torch sees the device,
``torch.optim.AdamW(fused=True)``; all take turns. No run has been recorded yet: keep the output,
which begins with the date, the device and the versions. The exit status is 1 if a rule deviates.
"""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

import numpy as np

import refopt
from refopt.catalog import RULES, build

ROUNDS = 20
STEP_BYTES, COPY_BYTES = 28, 8


def stepped_by(engine: str, library: Any, back: Callable[[Any], Any], expression: str) -> Any:
    """A target of ``refopt.check``: an optimizer that an engine runs on arrays of a library."""

    class Target:
        def __init__(self, params: Sequence[Any], **hyperparameters: Any) -> None:
            optimizer = build(expression).with_hyperparameters(**hyperparameters)
            self.fast = refopt.compile(optimizer, engine)
            self.params = [library.array(x) for x in params]
            self.state = self.fast.init(self.params)
            self.lr: float | None = None

        def set_lr(self, lr: float) -> None:
            self.lr = lr

        def step(self, grads: Sequence[Any]) -> list[Any]:
            given = [None if g is None else library.asarray(g) for g in grads]
            self.fast.step(self.params, given, self.state, lr=self.lr)
            return [back(x) for x in self.params]

    return Target


def largest_difference(expression: str, cupy: Any) -> int:
    """Units in the last place between the engine and the reference on the CPU, over five steps."""
    optimizer = build(expression)
    fast = refopt.compile(optimizer, "cupy")
    random = np.random.default_rng(0)
    params = random.standard_normal(1000, np.float32)
    own = cupy.asarray(params)
    state, own_state = optimizer.init(params), fast.init(own)
    for _ in range(5):
        g = random.standard_normal(1000, np.float32)
        params, state = optimizer.step(params, g, state)
        fast.step(own, cupy.asarray(g), own_state)
    a, b = (x.view(np.int32).astype(np.int64) for x in (params, cupy.asnumpy(own)))
    return int(np.max(np.abs(a - b)))


def seconds(step: Callable[[], object], cupy: Any) -> float:
    """Of one step, by the clock of the device."""
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    begin.record()
    step()
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3


def contenders(count: int, cupy: Any) -> dict[str, Callable[[], object]]:
    """What takes turns."""
    theta = cupy.ones(count, cupy.float32)
    g = cupy.full(count, 0.5, cupy.float32)
    fast = refopt.compile(refopt.adamw(), "cupy")
    state = fast.init(theta)
    found: dict[str, Callable[[], object]] = {
        "copy": lambda: cupy.copyto(theta, g),
        "cupy": lambda: fast.step(theta, g, state),
    }
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            own = torch.ones(count, device="cuda", requires_grad=True)
            own.grad = torch.full_like(own, 0.5)
            stream = torch.cuda.ExternalStream(cupy.cuda.get_current_stream().ptr)
            step = torch.optim.AdamW([own], lr=1e-3, weight_decay=0.01, fused=True).step

            def on_stream() -> None:
                with torch.cuda.stream(stream):
                    step()

            found["torch fused"] = on_stream
    return found


def versions(cupy: Any) -> str:
    """Of everything that the figures depend on."""
    runtime = cupy.cuda.runtime
    found = {
        "python": platform.python_version(),
        "refopt": refopt.__version__,
        "numpy": np.__version__,
        "cupy": cupy.__version__,
        "CUDA": runtime.runtimeGetVersion(),
        "driver for CUDA": runtime.driverGetVersion(),
    }
    if find_spec("torch"):
        import torch

        found["torch"] = torch.__version__
    return ", ".join(f"{name} {number}" for name, number in found.items())


def main() -> int:
    """Measures, and returns the exit status."""
    say = sys.stdout.write
    try:
        import cupy

        device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except Exception:  # noqa: BLE001  CuPy raises errors of its own, which need CuPy to be named
        sys.stderr.write("measure.py needs CuPy and a CUDA device: pip install 'refopt[cuda]'\n")
        return 2
    say(f"{datetime.now(UTC):%Y-%m-%d} {device}\n{versions(cupy)}\n")
    deviating = 0
    for name in (*RULES, "adamw", "lamb", "ranger"):
        target = stepped_by("cupy", cupy, cupy.asnumpy, name)
        verdict = refopt.check(target, name, explain=False)
        deviating += not verdict.conforms
        say(f"{name}: {verdict.outcome}, {verdict.worst:.2f} of the bound, ")
        say(f"{largest_difference(name, cupy)} ulp from the reference on the CPU\n")
    count = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**9
    steps = contenders(count, cupy)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(ROUNDS + 1):
        for name, step in steps.items():
            taken = seconds(step, cupy)
            if turn:  # the first compiles
                times[name].append(taken)
    median = {name: statistics.median(taken) for name, taken in times.items()}
    for name, taken in median.items():
        say(f"{name}: {1e3 * taken:.2f} ms for {count:,} parameters\n")
    copied = COPY_BYTES * count / median["copy"]
    stepped = STEP_BYTES * count / median["cupy"]
    say(f"bandwidth of a step / of a copy: {stepped / copied:.3f} (at least 0.9 is wanted)\n")
    if "torch fused" in median:
        say(f"cupy / torch fused: {median['cupy'] / median['torch fused']:.3f} (at most 1)\n")
    return int(deviating > 0)


if __name__ == "__main__":
    sys.exit(main())
