"""Several parameters as one: the same values and bounds, where it is allowed at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from refopt import catalog, specification
from refopt.arithmetic.bounds import FORMATS, modes
from refopt.optimizer import Optimizer
from refopt.oracle.edits import edits
from refopt.oracle.elementwise import is_elementwise
from refopt.oracle.matrix import example
from refopt.oracle.observation import Hypothesis, Reached, _place, bounded, stepped
from refopt.oracle.probes import Probe, joined, probes
from refopt.oracle.stepping import stepping_edits

TOGETHER = (
    "clip_by_global_norm",
    "clip_by_norm",
    "gradient_centralization",
    "lamb",
    "lars",
    "layer_adaptation",
    "lazy",
    "ranger",
)
"""What reads norms, means or rows."""


def course(optimizer: Optimizer, probe: Probe, dtype: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Values and bounds of all elements after each step."""
    mode = modes(FORMATS[dtype])["float32-hyperparameters"]
    lifted = bounded(optimizer, mode)
    params = [mode.given(p) for p in probe.params]
    reached = Reached(params, lifted.init(params))
    for gradients, rate in zip(probe.gradients, probe.rates, strict=True):
        grads = [mode.given(g) for g in gradients]
        reached = stepped(lifted, reached, grads, optimizer.lr * rate, mode)
        yield tuple(joined([getattr(p, of) for p in reached.params]) for of in ("value", "error"))


def assert_same(optimizer: Optimizer, probe: Probe, dtype: str = "float32") -> None:
    assert probe.joined is not None
    one, several = (course(optimizer, each, dtype) for each in (probe.joined, probe))
    for ours, theirs in zip(one, several, strict=True):
        # powers of arrays may be vectorised, and are good to four units of float64 then
        np.testing.assert_allclose(ours, theirs, rtol=2**-48, atol=0)


@pytest.mark.parametrize("name", specification.names())
def test_what_reads_whole_parameters_is_not_elementwise_and_all_else_is(name: str) -> None:
    assert is_elementwise(catalog.build(example(name))) == (name not in TOGETHER)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(n, "float32") for n in specification.names() if n not in TOGETHER] + [("adamw", "float16")],
)
def test_values_and_bounds_are_the_same(name: str, dtype: str) -> None:
    optimizer = catalog.build(example(name))
    for probe in probes(optimizer.hyperparameters(), dtype=dtype):
        if probe.id in ("far", "vanishing"):
            assert_same(Hypothesis(optimizer).at(probe), probe, dtype)


def test_so_are_those_of_changed_lines() -> None:
    optimizer = catalog.build("adamw")
    far = probes(optimizer.hyperparameters())[0]
    changed = [edit.apply(Hypothesis(optimizer).at(far)) for edit in edits(optimizer)]
    elementwise = [each for each in changed if is_elementwise(each)]
    assert len(elementwise) > 0.8 * len(changed)
    for each in elementwise[::13]:
        try:
            assert_same(each, far)
        except (TypeError, ValueError, ZeroDivisionError):
            continue  # it does not even run


def test_a_change_of_the_stepping_code_is_not_elementwise() -> None:
    optimizer = catalog.build("adam")
    assert not any(is_elementwise(edit.apply(optimizer)) for edit in stepping_edits())


def test_what_excludes_parameters_is_not_elementwise() -> None:
    import refopt

    assert not is_elementwise(refopt.weight_decay(refopt.sgd(), exclude=lambda name: name == "1"))


def test_a_place_among_all_elements() -> None:
    shapes = [(), (0,), (2, 3), (2,)]
    numbers = [
        np.full(shape, i) + np.arange(np.prod(shape)).reshape(shape) / 10
        for i, shape in enumerate(shapes)
    ]
    for position, value in enumerate(joined(numbers)):
        parameter, index = _place(shapes, position)
        assert numbers[parameter][index] == value
