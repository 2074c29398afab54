"""Optimizers on landscapes of two parameters: the reference, and targets through their adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from refopt import catalog, specification
from refopt.adapters.adapt import adapt, framework, imported
from refopt.adapters.adapter import Adapter, Part
from refopt.optimizer import Optimizer
from refopt.oracle.run import Started, Worker

Point = NDArray[np.float64]
Step = Callable[[Point], Point]
"""From the gradient to the next point."""

STEPS: Final = 150
RATES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The learning rates that are tried where none is given."""

SECONDS: Final = 20.0
"""How long one call of a target may take."""


@dataclass(frozen=True)
class Landscape:
    """A function of two parameters, with its gradient and where to start.

    Attributes:
        title: what it is.
        formula: the loss as LaTeX.
        value: the loss at x, y: numbers or arrays.
        gradient: its gradient at x, y.
        start: the first point.
        minima: where it is lowest.
        window: the part to draw: left, right, bottom, top.
    """

    title: str
    formula: str
    value: Callable[[Any, Any], Any]
    gradient: Callable[[float, float], tuple[float, float]]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    window: tuple[float, float, float, float]


LANDSCAPES: Final = (
    Landscape(
        "ravine",
        r"$(x^2 + 30\, y^2)/2$",
        lambda x, y: (x**2 + 30 * y**2) / 2,
        lambda x, y: (x, 30 * y),
        start=(-2.0, 0.6),
        minima=((0.0, 0.0),),
        window=(-2.4, 1.6, -1.5, 1.1),
    ),
    Landscape(
        "saddle",
        r"$x^2/2 - y^2/2 + y^4/4$",
        lambda x, y: x**2 / 2 - y**2 / 2 + y**4 / 4,
        lambda x, y: (x, y**3 - y),
        start=(-1.5, 0.01),
        minima=((0.0, 1.0), (0.0, -1.0)),
        window=(-1.8, 1.5, -0.4, 1.6),
    ),
    Landscape(
        "Rosenbrock / 100",
        r"$(1-x)^2/100 + (y - x^2)^2$",
        lambda x, y: (1 - x) ** 2 / 100 + (y - x**2) ** 2,
        lambda x, y: ((x - 1) / 50 - 4 * x * (y - x**2), 2 * (y - x**2)),
        start=(-1.2, 1.0),
        minima=((1.0, 1.0),),
        window=(-1.9, 1.7, -0.8, 2.2),
    ),
)
"""A ravine, 30 times as steep as it is long; a saddle at 0, 0 between two minima; a bent valley."""

REFERENCES: Final[Mapping[str, str]] = {
    "SGD": "sgd",
    "momentum": "sgd(momentum=0.9)",
    "Nesterov": "sgd(momentum=0.9, nesterov=True)",
    "RMSprop": "rmsprop",
    "Adam": "adam",
    "RAdam": "radam",
    "Ranger": "ranger",
    "Lion": "lion",
}
"""The optimizers that are drawn where none is asked for, as expressions of the catalog."""


@dataclass(frozen=True)
class Path:
    """How an optimizer went down a landscape.

    Attributes:
        points: before the first step and after each one, as rows.
        losses: the loss at each.
        lr: the learning rate; None where the optimizer's own stayed.
    """

    points: NDArray[np.float64]
    losses: NDArray[np.float64]
    lr: float | None


@dataclass(frozen=True)
class Traveller:
    """What can be sent down a landscape.

    Attributes:
        start: from the first point and a learning rate to a fresh optimizer's steps.
        rates: the learning rates to try; None for its own.
    """

    start: Callable[[Point, float | None], Step]
    rates: tuple[float | None, ...] = RATES


def of_reference(optimizer: Optimizer) -> Traveller:
    """An optimizer of the reference, at the learning rate that it was given if any."""

    def start(point: Point, lr: float | None) -> Step:
        theta: Point = point
        state = optimizer.init(point)

        def step(g: Point) -> Point:
            nonlocal theta, state
            theta, state = optimizer.step(theta, g, state, lr=lr)
            return theta

        return step

    return Traveller(start, (optimizer.lr,) if optimizer.lr_pinned else RATES)


@contextmanager
def of_target(target: Any, options: Mapping[str, Any]) -> Iterator[Traveller]:
    """A target, at the learning rate that its options set if any, else its own if it takes none.

    Args:
        target: the target, or its name.
        options: arguments of it, passed through as they are.

    Raises:
        TargetError: it cannot be found or started.
    """
    found = imported(target) if isinstance(target, str) else target
    adapter = _adapter(found, options)
    with Worker(SECONDS) as worker:

        def start(point: Point, lr: float | None) -> Step:
            given = {} if lr is None else {"lr": lr}
            # every framework has float32
            started = Started(adapter, [point.astype(np.float32)], given, worker)

            def step(g: Point) -> Point:
                (theta,) = started.step("a step", (g.astype(np.float32),))
                return np.asarray(theta, np.float64)

            return step

        try:
            yield Traveller(start, RATES if "lr" in adapter.accepted() else (None,))
        finally:
            adapter.end_sessions()


def best(traveller: Traveller, landscape: Landscape, steps: int = STEPS) -> Path:
    """The path whose second half is lowest in the mean, among the learning rates to try."""
    paths = [travelled(traveller, landscape, lr, steps) for lr in traveller.rates]
    return min(paths, key=lambda path: float(np.mean(path.losses[len(path.losses) // 2 :])))


def travelled(
    traveller: Traveller, landscape: Landscape, lr: float | None, steps: int = STEPS
) -> Path:
    """The path at one learning rate; after it is no longer finite it stays where it was."""
    point = np.array(landscape.start)
    step = traveller.start(point, lr)
    points, losses = [point], [landscape.value(*point)]
    with np.errstate(all="ignore"):
        while len(points) <= steps and np.isfinite(losses[-1]):
            point = step(np.array(landscape.gradient(*point)))
            points.append(point)
            losses.append(landscape.value(*point))
    if not np.isfinite(losses[-1]):
        losses[-1] = np.inf
    return Path(np.array(points), np.array(losses, float), lr)


def references() -> dict[str, Traveller]:
    """The optimizers that are drawn where none is asked for, by label."""
    return {label: of_reference(catalog.build(text)) for label, text in REFERENCES.items()}


def _adapter(target: Any, options: Mapping[str, Any]) -> Adapter:
    kind = framework(target)
    usual = {"lr": "lr"} if kind is None else specification.usual_arguments(kind, ["lr"])
    return adapt((Part(target, usual, options=options),), kind)
