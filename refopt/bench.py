"""How fast the engines step, beside the frameworks and a plain copy, in one run on one machine.

How to read the result. A machine is never quiet and never the same twice, so nanoseconds are worth
little on their own, and ratios of times from two runs nothing. Here all contenders are in memory at
once and take turns, a round at a time, each round beginning with another one; what is compared is
the median over the rounds of the ratio of two times of the same round. Before each turn there is a
pause, in which the threads of the one before go to sleep. ``copy`` copies one array of
the parameters' size: 8 bytes a parameter in float32, where a step of AdamW reads and writes 28 and
one of SGD with momentum 20, by one thread. The first step of ``numba`` includes compiling, unless
the code was still on disk. Extra memory is how far the resident memory of the process rises during
a step, which Linux alone tells.
"""

from __future__ import annotations

import importlib
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import refopt
from refopt.catalog import build
from refopt.engines import compile as compiled
from refopt.engines.threads import cores

Arrays = list[NDArray[np.float32]]
Step = Callable[[], object]
"""One step, in place, finished when it returns."""

SECONDS: Final = 5e-3
"""What one measurement takes at least: shorter steps are repeated."""

PAUSE: Final = 5e-3
"""Seconds before a measurement: OpenMP's threads wait for work by running for a while."""

QUICK: Final = (10_000, 1_000_000, 10_000_000)
FULL: Final = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
"""The sizes of one tensor, in parameters."""

OPTIMIZERS: Final = {"adamw": "adamw", "sgd": "sgd(momentum=0.9)"}
"""What is measured, by a name that is also torch's and optax's."""

STATES: Final = {"adamw": 2, "sgd": 1}
"""How many arrays of state each has."""

RATIOS: Final = (
    ("numba", "torch fused"),
    ("numba", "torch foreach"),
    ("numba", "optax"),
    ("blocked", "torch foreach"),
    ("blocked", "plain"),
)
"""Which contenders are compared."""

PACKAGES: Final = {"numba": "numba", "torch": "torch", "optax": "optax"}
"""What has to be there for contenders whose names begin so."""


@dataclass(frozen=True)
class Measured:
    """A contender and its times.

    Attributes:
        name: of the contender.
        seconds: of a step, median over the rounds.
        first: of the first step.
        extra: bytes of memory that a step takes beside its arrays; None where unknown.
    """

    name: str
    seconds: float
    first: float
    extra: int | None


@dataclass(frozen=True)
class Comparison:
    """One optimizer on one list of parameters."""

    optimizer: str
    workload: str
    parameters: int
    tensors: int
    measured: list[Measured]
    ratios: dict[str, float]
    """By ``"a / b"``: below 1 the first is faster."""

    def to_json(self) -> dict[str, Any]:
        """As the command writes it."""
        return asdict(self)


def transformer(width: int = 128, layers: int = 16) -> list[tuple[int, ...]]:
    """The shapes of a small transformer: 200 tensors, 3.5 million parameters by default."""
    block = [
        *([(width,)] * 4),  # two normalisations
        (3 * width, width), (3 * width,), (width, width), (width,),
        (4 * width, width), (4 * width,), (width, 4 * width), (width,),
    ]  # fmt: skip
    ends = [(1000, width), (256, width), *([(width,)] * 4), (1000, width), (1000,)]
    return [*(block * layers), *ends]


def surroundings() -> dict[str, Any]:
    """What the figures depend on: machine and versions."""
    packages = [p for p in ("numpy", "numba", "torch", "jax", "optax") if _installed(p)]
    return {
        "refopt": refopt.__version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": cores(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": {package: version(package) for package in packages},
    }


def absent() -> list[str]:
    """The packages that cannot be imported, whose contenders are left out."""
    return [package for package in PACKAGES.values() if not _installed(package)]


def workloads(sizes: Iterable[int]) -> dict[str, list[tuple[int, ...]]]:
    """Lists of shapes by name: one tensor of each size, and a transformer's."""
    return {
        **{f"one of {size:,}": [(size,)] for size in sizes},
        "transformer": transformer(),
    }


def too_large(optimizer: str, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether the contenders would fill more than half of the memory that is free."""
    size = sum(int(np.prod(shape)) for shape in shapes)
    arrays = 2 + sum((1 + STATES[optimizer]) + ("optax" in name) for name in _contenders())
    free = _free_memory()
    return free is not None and 4 * size * arrays > free / 2


def compare(
    optimizer: str, workload: str, shapes: Sequence[tuple[int, ...]], rounds: int
) -> Comparison:
    """Measures all contenders, which take turns.

    Raises:
        AssertionError: engines do not have the same bits after the same steps.
    """
    random = np.random.default_rng(0)
    params = [random.standard_normal(shape, np.float32) for shape in shapes]
    grads = [random.standard_normal(shape, np.float32) for shape in shapes]
    steps: dict[str, Step] = {}
    results: dict[str, Arrays] = {}
    first: dict[str, float] = {}
    for name, make in _contenders().items():
        own = [x.copy() for x in params]
        results[name] = own
        steps[name] = make(optimizer, own, grads)
        first[name] = _timed(steps[name], 1)
    for name in ("blocked", "numba"):
        for x, y in zip(results["plain"], results.get(name, results["plain"]), strict=True):
            assert x.tobytes() == y.tobytes(), f"{name} differs from plain"
    repeats = {name: max(1, int(SECONDS / _timed(step, 1))) for name, step in steps.items()}
    extra = {name: _extra_memory(step) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            times[name].append(_timed(steps[name], repeats[name]))
    return Comparison(
        optimizer=OPTIMIZERS[optimizer],
        workload=workload,
        parameters=sum(x.size for x in params),
        tensors=len(params),
        measured=[
            Measured(name, statistics.median(times[name]), first[name], extra[name])
            for name in names
        ],
        ratios={
            f"{a} / {b}": statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))
            for a, b in RATIOS
            if a in times and b in times
        },
    )


def _timed(step: Step, repeats: int) -> float:
    """Seconds of a step."""
    time.sleep(PAUSE)
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - began) / repeats


Make = Callable[[str, Arrays, Arrays], Step]


def _contenders() -> dict[str, Make]:
    """Each contender: makes a step of parameters, which it changes in place, and gradients."""
    every: dict[str, Make] = {
        "copy": _copy,
        "plain": _engine("plain"),
        "blocked": _engine("blocked"),
        "numba": _engine("numba"),
        "torch for-loop": _torch(foreach=False, fused=False),
        "torch foreach": _torch(foreach=True),
        "torch fused": _torch(fused=True),
        "optax": _optax,
    }
    return {
        name: make
        for name, make in every.items()
        if _installed(PACKAGES.get(name.partition(" ")[0], "numpy"))
    }


def _copy(_: str, params: Arrays, grads: Arrays) -> Step:
    def step() -> None:
        for x, g in zip(params, grads, strict=True):
            np.copyto(x, g)

    return step


def _engine(engine: str) -> Make:
    def make(optimizer: str, params: Arrays, grads: Arrays) -> Step:
        fast = compiled(build(OPTIMIZERS[optimizer]), engine)
        state = fast.init(params)
        return lambda: fast.step(params, grads, state)

    return make


def _torch(**options: bool) -> Make:
    def make(optimizer: str, params: Arrays, grads: Arrays) -> Step:
        import torch

        own = [torch.from_numpy(x).requires_grad_() for x in params]
        for x, g in zip(own, grads, strict=True):
            x.grad = torch.from_numpy(g)
        if optimizer == "adamw":
            return torch.optim.AdamW(own, lr=1e-3, weight_decay=0.01, **options).step  # type: ignore[no-any-return]
        return torch.optim.SGD(own, lr=1e-2, momentum=0.9, **options).step  # type: ignore[no-any-return]

    return make


def _optax(optimizer: str, params: Arrays, grads: Arrays) -> Step:
    import jax
    import optax

    rules = {
        "adamw": optax.adamw(1e-3, weight_decay=0.01),
        "sgd": optax.sgd(1e-2, momentum=0.9),
    }
    rule = rules[optimizer]

    def update(params: Any, state: Any, grads: Any) -> Any:
        updates, state = rule.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    fast = jax.jit(update, donate_argnums=(0, 1))
    device_grads = [jax.numpy.array(g) for g in grads]
    held = [jax.numpy.array(x) for x in params]
    held = [held, rule.init(held)]

    def step() -> None:
        held[:] = jax.block_until_ready(fast(*held, device_grads))

    return step


@cache
def _installed(package: str) -> bool:
    try:
        importlib.import_module(package)
    except (ImportError, OSError):  # the latter from a package whose libraries are not there
        return False
    return True


def _line(path: str, key: str) -> str | None:
    """What Linux says about the machine or this process, by the name that it has there."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    found = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in found if name.strip() == key), None)


def _bytes(path: str, key: str) -> int | None:
    value = _line(path, key)
    return None if value is None else int(value.split()[0]) * 1024


def _free_memory() -> int | None:
    return _bytes("/proc/meminfo", "MemAvailable")


def _extra_memory(step: Step) -> int | None:
    """How far resident memory rises during a step."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    except OSError:
        return None
    before = _bytes("/proc/self/status", "VmRSS")
    step()
    peak = _bytes("/proc/self/status", "VmHWM")
    return None if before is None or peak is None else max(0, peak - before)


def comparisons(
    optimizers: Iterable[str], sizes: Iterable[int], rounds: int
) -> Iterator[Comparison | str]:
    """Every optimizer on every workload, or why it is left out."""
    for name, shapes in workloads(sizes).items():
        for optimizer in optimizers:
            if too_large(optimizer, shapes):
                yield f"{optimizer}, {name}: left out, it would fill the memory that is free"
            else:
                yield compare(optimizer, name, shapes, rounds)
