"""Two changes at once: how they are screened, and that the screen agrees with a real run."""

from dataclasses import replace

import numpy as np
import pytest

from refopt import catalog
from refopt.oracle.edits import Edit, edits
from refopt.oracle.pairs import Screen, Trial, together, waypoints
from refopt.oracle.probes import probes
from refopt.oracle.run import Trace


def followed(spec: str, *several: Edit) -> tuple[Screen, Trial]:
    """The screen of an optimizer for what it does with some edits."""
    optimizer = catalog.build(spec)
    probe = probes(optimizer.hyperparameters())[0]
    base = optimizer.with_hyperparameters(**probe.hyperparameters)
    changed = together(several, base)
    params = [np.asarray(p, np.float64) for p in probe.params]
    state = changed.init(params)
    trajectory = []
    for gradients, rate in zip(probe.gradients, probe.rates, strict=True):
        grads = [np.asarray(g, np.float64) for g in gradients if g is not None]
        params, state = changed.step(params, grads, state, lr=base.lr * rate)
        trajectory.append(params)
    trial = Trial.of(base, probe, Trace(trajectory, probe.rates, (), None))
    return Screen(base, trial), trial


def edit(spec: str, after: str) -> Edit:
    return next(e for e in edits(catalog.build(spec)) if e.after == after)


PROBE = replace(probes({})[0], params=(np.ones(1),))


def trace(*values: float) -> Trace:
    """That of a target that takes one parameter there."""
    return Trace([[np.array([value])] for value in values], (1.0,) * len(values), (), None)


LATE = "m_hat = m / (1 - beta1**(t + 1))"
INSIDE = "h = m_hat / xp.sqrt(v_hat + eps)"


def test_a_pair_passes_where_the_target_has_both_changes() -> None:
    several = edit("adam", LATE), edit("adam", INSIDE)
    screen, _ = followed("adam", *several)
    assert screen.passes(several)
    assert screen.passes(several[::-1])
    assert not screen.passes(several[:1])
    assert not screen.passes(())


def test_the_reference_passes_its_own_screen() -> None:
    screen, _ = followed("adam")
    assert screen.passes(())
    assert not screen.passes((edit("adam", LATE),))


def test_a_trial_is_of_one_parameter_unless_all_act_together() -> None:
    _, trial = followed("adam")
    assert [p.shape for p in trial.start] == [(4, 3)]
    _, trial = followed("clip_by_global_norm(sgd)")
    assert len(trial.start) > 1


def test_two_changes_of_one_line_cannot_be_made_one_after_the_other() -> None:
    again = edit("adam", "m_hat = m")
    with pytest.raises(ValueError, match="not there any more"):
        together((edit("adam", LATE), again), catalog.build("adam"))


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
