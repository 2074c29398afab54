"""Which vectors each specification has, and how they are drawn from the probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from refopt import catalog, specification
from refopt.arithmetic.bounds import FLOAT32
from refopt.layers import REQUIRED
from refopt.optimizer import Optimizer
from refopt.oracle.probes import Probe, probes
from refopt.vectors.runs import Run

_COMMENTS: Final = {
    "far": "hyperparameters far from their defaults, so that every term shows; the learning rate "
    "changes at every step",
    "defaults": "the default hyperparameters",
    "vanishing": "gradients that shrink to the size of epsilon and on to zero, rows of zeros",
    "missing": "parameters without a gradient in some steps",
}
"""The probes that are drawn from, and what they make visible."""

_CUTS: Final = ((0, ()), (1, (3,)), (2, (2, 2)), (4, (0,)))
"""Which parameters of a probe become those of a vector, and the shapes that they are cut to."""
_CUTS_WITH_ZERO: Final = ((0, ()), (1, (3,)), (2, (2, 2)), (3, (2,)))
"""With the parameter that is zero in the probe of vanishing gradients."""

_STEPS: Final = 6
_LONG: Final = 10
"""For schedules, and where a length has to be reached before anything happens."""

_OPTIONS: Final[Mapping[str, Mapping[str, bool]]] = {
    "sgd": {"nesterov": True},
    "rmsprop": {"centered": True},
}
"""Flags that get vectors of their own."""

_AROUND_ADAM: Final = ("count_missing", "smoothed_accumulation")
"""The variants that show around Adam; others are drawn around SGD, which hides no scale."""
_AT_ZERO: Final = ("clip_by_global_norm", "clip_by_norm", "layer_adaptation", "lazy")
"""The variants that treat zeros apart."""


def planned(name: str) -> Iterator[tuple[str, str, Callable[[], Run]]]:
    """The vectors of a specification: the id and the comment of each, and what draws its run."""
    is_long = name == "radam" or specification.load(name).kind == "schedule"
    for label, optimizer, kinds in _subjects(name):
        for kind in kinds:
            draw = partial(_drawn, optimizer, kind, _LONG if is_long else _STEPS)
            yield f"{label}-{kind}-1", _COMMENTS[kind], draw


def _subjects(name: str) -> Iterator[tuple[str, Optimizer, tuple[str, ...]]]:
    """What a specification has vectors of: a label, the optimizer, and the probes to draw from."""
    spec = specification.load(name)
    if catalog.goes_around(name):
        inside = "adam" if name in _AROUND_ADAM else "sgd"
        kinds: tuple[str, ...] = ("far",) if spec.kind == "schedule" else ("far", "missing")
        kinds += ("vanishing",) if name in _AT_ZERO else ()
        yield f"{name}-{inside}", _around(name, inside), kinds
        for form in spec.forms:
            yield f"{form}-{inside}", _around(form, inside), ("far",)
    else:
        canonical = catalog.build(name)
        yield name, canonical, ("far", "defaults", "vanishing", "missing")
        for option, value in _OPTIONS.get(name, {}).items():
            yield f"{name}-{option}", canonical.with_hyperparameters(**{option: value}), ("far",)
        for form in spec.forms:
            yield form, catalog.build(form), ("far",)


def _around(name: str, inside: str) -> Optimizer:
    """A variant around an optimizer; what has no default is as in the probes."""
    parts = [name] if name in catalog.VARIANTS else catalog.components(name)
    required = {
        key: value
        for part in parts
        for key, value in catalog.VARIANTS[part].default.hyperparameters.items()
        if value is REQUIRED
    }
    values = _probe(required, "far").hyperparameters
    optimizer: Optimizer = catalog.constructor(name)(catalog.build(inside), **values)
    return optimizer


def _probe(varied: Mapping[str, Any], kind: str) -> Probe:
    return next(probe for probe in probes(varied) if probe.id == kind)


def _drawn(optimizer: Optimizer, kind: str, steps: int) -> Run:
    """A probe, cut to small shapes; all its numbers are those of float32, but for defaults."""
    varied = optimizer.hyperparameters()
    if len(optimizer.layers) > 1:
        varied.pop("dampening", None)  # not everybody's SGD has it
    probe = _probe(varied, kind)
    nearest: Callable[[float], float] = float if kind == "defaults" else FLOAT32.nearest
    values = {name: _converted(value, nearest) for name, value in probe.hyperparameters.items()}
    rates = [nearest(values["lr"] * rate) for rate in probe.rates[:steps]]
    cuts = _CUTS_WITH_ZERO if kind == "vanishing" else _CUTS
    return Run(
        form=str(optimizer),
        optimizer=optimizer.with_hyperparameters(**values | {"lr": rates[0]}),
        params=_cut(probe.params, cuts),
        steps=tuple(
            (lr, _cut(gradients, cuts))
            for lr, gradients in zip(rates, probe.gradients, strict=False)
        ),
    )


def _converted(value: Any, nearest: Callable[[float], float]) -> Any:
    if isinstance(value, Mapping):
        return {step: nearest(factor) for step, factor in value.items()}
    return nearest(value) if isinstance(value, float) else value


def _cut(
    arrays: Sequence[np.ndarray | None], cuts: Sequence[tuple[int, tuple[int, ...]]]
) -> tuple[Any, ...]:
    chosen = [(arrays[i], shape) for i, shape in cuts]
    return tuple(
        None if array is None else array[tuple(map(slice, shape))].astype("float64")
        for array, shape in chosen
    )
