"""Which vectors each specification has, and how they are drawn from the probes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from refopt import catalog, specification
from refopt.arithmetic.bounds import FLOAT32
from refopt.layers import REQUIRED
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

_OPTIONS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "sgd": ("nesterov", {"nesterov": True, "dampening": 0.0}),
    "rmsprop": ("centered", {"centered": True}),
}
"""Flags that get vectors of their own."""

_AROUND_ADAM: Final = ("count_missing", "smoothed_accumulation")
"""The variants that show around Adam; others are drawn around SGD, which hides no scale."""
_AT_ZERO: Final = ("clip_by_global_norm", "clip_by_norm", "layer_adaptation", "lazy")
"""The variants that treat zeros apart."""


def planned(name: str) -> Iterator[tuple[str, str, Callable[[], Run]]]:
    """The vectors of a specification: the id and the comment of each, and what draws its run."""
    is_long = name == "radam" or specification.load(name).kind == "schedule"
    for label, form, pins, kinds in _subjects(name):
        for kind in kinds:
            draw = partial(_drawn, form, pins, kind, _LONG if is_long else _STEPS)
            yield f"{label}-{kind}-1", _COMMENTS[kind], draw


Subject = tuple[str, str, Mapping[str, Any], tuple[str, ...]]
"""A label, the expression of an optimizer, what of it stays as it is, and the probes to draw."""


def _subjects(name: str) -> Iterator[Subject]:
    """What a specification has vectors of."""
    spec = specification.load(name)
    if catalog.goes_around(name):
        inside = "adam" if name in _AROUND_ADAM else "sgd"
        # not everybody's SGD has dampening
        pins: Mapping[str, Any] = {} if inside == "adam" else {"dampening": 0.0}
        kinds: tuple[str, ...] = ("far",) if spec.kind == "schedule" else ("far", "missing")
        kinds += ("vanishing",) if name in _AT_ZERO else ()
        yield f"{name}-{inside}", _around(name, inside), pins, kinds
        for form in spec.forms:
            yield f"{form}-{inside}", _around(form, inside), pins, ("far",)
    else:
        yield name, name, {}, ("far", "defaults", "vanishing", "missing")
        if name in _OPTIONS:
            option, pins = _OPTIONS[name]
            yield f"{name}-{option}", name, pins, ("far",)
        for form in spec.forms:
            yield form, form, {}, ("far",)


def _around(name: str, inside: str) -> str:
    """A variant around an optimizer, as an expression; what has no default is as in the probes."""
    defaults = catalog.layer(name).hyperparameters if name in catalog.VARIANTS else {}
    required = {key: value for key, value in defaults.items() if value is REQUIRED}
    values = _float32(_probe(required, "far").hyperparameters)
    return f"{name}({inside}{''.join(f', {key}={value!r}' for key, value in values.items())})"


def _probe(varied: Mapping[str, Any], kind: str) -> Probe:
    return next(probe for probe in probes(varied) if probe.id == kind)


def _drawn(form: str, pins: Mapping[str, Any], kind: str, steps: int) -> Run:
    """A probe, cut to small shapes; all its numbers are those of float32, but for defaults."""
    optimizer = catalog.build(form).with_hyperparameters(**pins)
    known = optimizer.hyperparameters()
    probe = _probe({name: value for name, value in known.items() if name not in pins}, kind)
    values = {**probe.hyperparameters}
    rates = dict(enumerate(values["lr"] * rate for rate in probe.rates[:steps]))
    if kind != "defaults":
        values, rates = _float32(values), _float32(rates)
    cuts = _CUTS_WITH_ZERO if kind == "vanishing" else _CUTS
    return Run(
        form=form,
        optimizer=optimizer.with_hyperparameters(**values | {"lr": rates[0]}),
        params=_cut(probe.params, cuts),
        steps=tuple(
            (lr, _cut(gradients, cuts))
            for lr, gradients in zip(rates.values(), probe.gradients, strict=False)
        ),
    )


def _float32(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Values with each real number rounded to float32."""
    return {
        key: _float32(value)
        if isinstance(value, Mapping)
        else FLOAT32.nearest(value)
        if isinstance(value, float)
        else value
        for key, value in values.items()
    }


def _cut(
    arrays: Sequence[np.ndarray | None], cuts: Sequence[tuple[int, tuple[int, ...]]]
) -> tuple[Any, ...]:
    chosen = [(arrays[i], shape) for i, shape in cuts]
    return tuple(
        None if array is None else array[tuple(map(slice, shape))].astype("float64")
        for array, shape in chosen
    )
