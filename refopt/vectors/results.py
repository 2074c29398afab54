"""What follows from a run: its exact results, their bounds, its flags, and what it catches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from refopt import specification
from refopt.arithmetic.bounds import FLOAT32, FLOAT64, Bounded, Format
from refopt.oracle.identify import all_edits
from refopt.vectors.file import (
    Bounds,
    Step,
    Value,
    Vector,
    elements,
    hexadecimal,
    hexadecimals,
    is_float32,
    mistake_id,
)
from refopt.vectors.runs import Reached, Run, bounded, exact, on_numpy

BOUNDED: Final[Mapping[str, Format]] = {"float32": FLOAT32, "float64": FLOAT64}
"""The formats whose bounds a vector has."""


def completed(id: str, comment: str, run: Run, kills: tuple[str, ...] = ()) -> Vector:
    """The vector of a run.

    Raises:
        ArithmeticError: a result is undefined or too large, or a bound infinite.
        VectorError: python-flint is not installed.
    """
    truth = exact(run)
    bounds = {
        name: [_bounds(*pair) for pair in zip(bounded(run, format), truth, strict=True)]
        for name, format in BOUNDED.items()
    }
    known = run.optimizer.hyperparameters()
    return Vector(
        id=id,
        comment=comment,
        flags=flags_of(run),
        form=run.form,
        hyperparameters={name: _written(v) for name, v in known.items() if name != "lr"},
        shapes=tuple(p.shape for p in run.params),
        params=tuple(map(hexadecimals, run.params)),
        steps=tuple(
            Step(
                lr=hexadecimal(lr),
                gradients=tuple(None if g is None else hexadecimals(g) for g in gradients),
                params=tuple(map(hexadecimals, right.params)),
                counts=tuple(right.counts),
                state={key: tuple(map(hexadecimals, own)) for key, own in right.state.items()},
                bound_float32=bounds["float32"][i],
                bound_float64=bounds["float64"][i],
            )
            for i, ((lr, gradients), right) in enumerate(zip(run.steps, truth, strict=True))
        ),
        kills=kills,
    )


def _bounds(found: Reached, right: Reached) -> Bounds:
    return Bounds(
        params=tuple(
            hexadecimals(_bound(x, y)) for x, y in zip(found.params, right.params, strict=True)
        ),
        state={
            key: tuple(
                hexadecimals(_bound(x, y)) for x, y in zip(own, right.state[key], strict=True)
            )
            for key, own in found.state.items()
        },
    )


def _bound(found: Bounded, right: np.ndarray) -> list[float]:
    """How far a target may be from the exact result: over the value of the reference."""
    errors = np.asarray(found.error) + np.abs(np.asarray(found.value) - right)
    if not np.all(np.isfinite(errors)):
        raise OverflowError("a bound is infinite: a sign or a choice is undecided in the format")
    return [_rounded_up(float(error)) for error in errors.flat]


def _rounded_up(value: float) -> float:
    """To 8 binary digits, which is as sharp as a bound needs to be."""
    fraction, exponent = math.frexp(value)
    return math.ldexp(math.ceil(fraction * 2**8), exponent - 8)


def _written(value: Any) -> Value:
    if isinstance(value, Mapping):
        return {str(step): hexadecimal(factor) for step, factor in value.items()}
    return hexadecimal(value) if isinstance(value, float) else value


def kills(run: Run, vector: Vector) -> dict[str, str]:
    """The mistakes that lead some parameter outside its bound for float32, in words, by id.

    A mistake is one change of the reference (:mod:`refopt.oracle.edits`) or, where several share a
    description, all of them. At least twice the bound keeps rounding out of the decision.
    """
    expected = [elements(*step.params) for step in vector.steps]
    allowed = [2 * elements(*step.bound_float32.params) for step in vector.steps]
    caught: dict[str, bool] = {}
    for edit in all_edits(run.optimizer):
        try:
            with warnings.catch_warnings(action="ignore"):  # a mistake may divide by nothing
                steps = on_numpy(run, "float64", edit.apply)
            got = [np.concatenate([np.ravel(p) for p in step.params]) for step in steps]
            is_caught = not np.all(np.abs(np.array(got) - expected) <= allowed)
        except (ArithmeticError, ValueError, TypeError, AttributeError, IndexError):
            continue  # nobody makes a mistake that does not run
        caught[edit.description] = caught.get(edit.description, True) and is_caught
    return {mistake_id(words): words for words, every in caught.items() if every}


def flags_of(run: Run) -> tuple[str, ...]:
    """What is particular about a run."""
    return tuple(name for name, holds in FLAGS.items() if holds(run))


def _has_default_hyperparameters(run: Run) -> bool:
    defaults = specification.resolve(run.form).hyperparameters()
    return run.optimizer.hyperparameters() | {"lr": None} == defaults | {"lr": None}


def _is_float64_needed(run: Run) -> bool:
    values: list[Any] = [lr for lr, _ in run.steps]
    for value in run.optimizer.hyperparameters().values():
        values += value.values() if isinstance(value, Mapping) else [value]
    return not all(map(is_float32, values))


def _gradients(run: Run) -> list[np.ndarray]:
    return [g for _, gs in run.steps for g in gs if g is not None and g.size]


FLAGS: Final[Mapping[str, Callable[[Run], bool]]] = {
    "changing_learning_rate": lambda run: len({lr for lr, _ in run.steps}) > 1,
    "default_hyperparameters": _has_default_hyperparameters,
    "float64_hyperparameters": _is_float64_needed,
    "missing_gradient": lambda run: any(g is None for _, gs in run.steps for g in gs),
    "vanishing_gradient": lambda run: any(
        np.any((g != 0) & (g**2 < FLOAT32.tiny)) for g in _gradients(run)
    ),
    "zero_element": lambda run: any(np.any(g == 0) and np.any(g) for g in _gradients(run)),
    "zero_gradient": lambda run: any(not np.any(g) for g in _gradients(run)),
    "zero_parameter": lambda run: any(p.size and not np.any(p) for p in run.params),
}
"""How to tell each flag of spec/flags.toml."""
