"""What is near enough to where a target went, and which probes decide."""

from dataclasses import replace

import numpy as np
import pytest

from refopt import catalog
from refopt.oracle.observation import Hypothesis, Observation
from refopt.oracle.probes import Probe, probes
from refopt.oracle.run import Trace
from refopt.oracle.sieve import Sieve, waypoints

PROBE = replace(probes({})[0], params=(np.ones(1),))


def trace(*values: float) -> Trace:
    """That of a target that takes one parameter there."""
    return Trace([[np.array([value])] for value in values], (1.0,) * len(values), (), None)


@pytest.mark.parametrize(
    ("got", "theta", "near"),
    [
        (1.0, 1.0, True),
        (3.0, 3.0015, True),  # a thousandth of the way from the start is 0.002
        (3.0, 3.01, False),
        (np.nan, np.inf, True),
        (np.nan, 3.0, False),
    ],
)
def test_near_is_measured_by_what_moved_the_parameter(got: float, theta: float, near: bool) -> None:
    (target,), _ = waypoints(PROBE, trace(got, got))
    assert target.is_near(np.array([theta])) is near


def test_a_parameter_back_at_zero_is_near_what_rounding_left_of_it() -> None:
    _, (target,) = waypoints(PROBE, trace(0.3, 1.0))
    assert target.is_near(np.array([1.0 + 1e-8]))
    assert not target.is_near(np.array([1.0 + 1e-3]))


def moved_by_sgd(probe: Probe) -> Trace:
    """That of the reference in the precision of the probe."""
    optimizer = catalog.build("sgd(lr=0.5)")
    params, state = list(probe.params), optimizer.init(list(probe.params))
    seen = []
    for gradients in probe.gradients:
        params, state = optimizer.step(params, list(gradients), state)
        seen.append(params)
    return Trace(seen, (1.0,) * len(seen), (), None)


def test_probes_whose_squares_underflow_are_left_to_the_bounds() -> None:
    every = probes({})
    seen = Observation("float32", every, tuple(map(moved_by_sgd, every)))
    ids = [probe.id for probe, _ in Sieve(seen).runs]
    assert "far" in ids
    assert "vanishing" not in ids


def test_a_hypothesis_that_the_target_follows_passes_and_another_does_not() -> None:
    every = probes({})
    sieve = Sieve(Observation("float32", every, tuple(map(moved_by_sgd, every))))
    assert sieve.passes(Hypothesis(catalog.build("sgd(lr=0.5)")))
    assert not sieve.passes(Hypothesis(catalog.build("sgd(lr=0.4)")))
    assert sieve.tried == 2
