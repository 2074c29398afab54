"""What a vector gives, and where that leads: exactly, within bounds, and on NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refopt import specification
from refopt.arithmetic.bounds import FLOAT64, Bounded, Format
from refopt.hyperparameters import validated
from refopt.optimizer import Optimizer
from refopt.vectors.file import (
    Numbers,
    Value,
    Vector,
    VectorError,
    array,
    hexadecimal,
    is_float32,
    number,
)

Change = Callable[[Optimizer], Optimizer]


@dataclass(frozen=True)
class Run:
    """What a vector gives.

    Attributes:
        form: the expression of the optimizer.
        optimizer: with all its hyperparameters.
        params: before the first step, in float64.
        steps: the learning rate of each, and its gradients.
    """

    form: str
    optimizer: Optimizer
    params: tuple[np.ndarray, ...]
    steps: tuple[tuple[float, tuple[np.ndarray | None, ...]], ...]


@dataclass(frozen=True)
class Reached:
    """Where a step led.

    Attributes:
        params: the parameters.
        counts: how many steps each of them has taken.
        state: the state arrays by name, one for each parameter.
    """

    params: Sequence[Any]
    counts: Sequence[Any]
    state: Mapping[str, Sequence[Any]]


def run_of(vector: Vector) -> Run:
    """What a vector gives.

    Raises:
        ValueError: there is no such optimizer; arrays do not fit their shapes; a parameter or a
            gradient is not a number of float32.
        TypeError: the optimizer does not take these hyperparameters.
        OverflowError: a number is beyond the largest float64.
    """
    optimizer = specification.resolve(vector.form)
    given = {name: _value(value) for name, value in vector.hyperparameters.items()}
    needed = optimizer.hyperparameters().keys() - {"lr"}
    if odd := sorted(needed ^ given.keys()):
        raise ValueError(f"hyperparameters: {', '.join(odd)} is missing, or too many")
    rates = [_rate(step.lr) for step in vector.steps]
    return Run(
        form=vector.form,
        optimizer=optimizer.with_hyperparameters(**given, lr=rates[0]),
        params=_arrays("params", vector.params, vector.shapes),
        steps=tuple(
            (lr, _arrays(f"steps[{i}].gradients", step.gradients, vector.shapes))
            for i, (lr, step) in enumerate(zip(rates, vector.steps, strict=True))
        ),
    )


def _value(value: Value) -> Any:
    if isinstance(value, Mapping):
        return {int(step): number(factor) for step, factor in value.items()}
    return number(value) if isinstance(value, str) else value


def _rate(text: str) -> float:
    lr: float = validated("steps", {"lr": number(text)})["lr"]
    return lr


def _arrays(
    where: str, given: Sequence[Numbers | None], shapes: Sequence[Sequence[int]]
) -> tuple[Any, ...]:
    if len(given) != len(shapes):
        raise ValueError(f"{where}: {len(given)} arrays for {len(shapes)} shapes")
    found = []
    for numbers, shape in zip(given, shapes, strict=True):
        x = None if numbers is None else array(numbers, shape)
        for element in () if x is None else x.flat:
            if not is_float32(element):
                raise ValueError(f"{where}: {hexadecimal(element)} is not a number of float32")
        found.append(x)
    return tuple(found)


def exact(run: Run) -> list[Reached]:
    """The exact results of every step, rounded to float64.

    Raises:
        ArithmeticError: a result is undefined or too large.
        VectorError: python-flint is not installed.
    """
    try:
        from refopt.arithmetic.balls import Balls, decided
    except ModuleNotFoundError:
        raise VectorError(
            "exact results need python-flint: pip install 'refopt[vectors]'"
        ) from None

    def results() -> list[Reached]:
        return [
            Reached(
                [p.rounded() for p in step.params],
                [int(t.rounded()) for t in step.counts],
                {key: [x.rounded() for x in own] for key, own in step.state.items()},
            )
            for step in _stepped(run, Balls.exact, Balls.exact, Balls.exact(0))
        ]

    return decided(results)


def bounded(run: Run, format: Format) -> Iterator[Reached]:
    """The results of every step with a bound on the error of arithmetic in a format."""
    return _stepped(run, lambda x: Bounded.exact(x, format), lambda x: Bounded(x, 0.0, FLOAT64))


def on_numpy(run: Run, dtype: str, change: Change = lambda optimizer: optimizer) -> list[Reached]:
    """What NumPy gives at every step, with the optimizer as it is or changed."""
    return list(_stepped(run, lambda x: x.astype(dtype), change=change))


def _stepped(
    run: Run,
    lift: Callable[[np.ndarray], Any],
    real: Callable[[float], Any] = float,
    count: Any = 0,
    change: Change = lambda optimizer: optimizer,
) -> Iterator[Reached]:
    """The steps of a run on some kind of arrays.

    Args:
        run: what to step.
        lift: makes an array.
        real: makes a real hyperparameter.
        count: the count of steps before the first.
        change: made to the optimizer first.
    """
    optimizer = change(run.optimizer).lifted(lambda _, value: real(value))
    params = [lift(p) for p in run.params]
    state = {name: own | {"t": count} for name, own in optimizer.init(params).items()}
    for lr, gradients in run.steps:
        grads = [None if g is None else lift(g) for g in gradients]
        params, state = optimizer.step(params, grads, state, lr=real(lr))
        owns = [state[str(i)] for i in range(len(params))]
        yield Reached(
            params,
            [own["t"] for own in owns],
            {key: [own[key] for own in owns] for key in (owns[0] if owns else {}) if key != "t"},
        )
