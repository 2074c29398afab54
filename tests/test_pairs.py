"""Two changes at once: how they are screened, and that the screen agrees with a real run."""

import numpy as np
import pytest

from refopt import catalog
from refopt.oracle.edits import Edit, edits
from refopt.oracle.observation import Hypothesis, Observation
from refopt.oracle.pairs import Screen, together
from refopt.oracle.probes import probes
from refopt.oracle.run import Trace
from refopt.oracle.sieve import Sieve


def followed(spec: str, *several: Edit) -> Screen:
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
    seen = Observation("float32", (probe,), (Trace(trajectory, probe.rates, (), None),))
    return Screen.of(Hypothesis(optimizer), Sieve(seen))


def edit(spec: str, after: str) -> Edit:
    return next(e for e in edits(catalog.build(spec)) if e.after == after)


LATE = "m_hat = m / (1 - beta1**(t + 1))"
INSIDE = "h = m_hat / xp.sqrt(v_hat + eps)"


def test_a_pair_passes_where_the_target_has_both_changes() -> None:
    several = edit("adam", LATE), edit("adam", INSIDE)
    screen = followed("adam", *several)
    assert screen.passes(several)
    assert screen.passes(several[::-1])
    assert not screen.passes(several[:1])
    assert not screen.passes(())


def test_the_reference_passes_its_own_screen() -> None:
    screen = followed("adam")
    assert screen.passes(())
    assert not screen.passes((edit("adam", LATE),))


def test_a_trial_is_of_one_parameter_unless_all_act_together() -> None:
    assert [p.shape for p in followed("adam").trial.start] == [(4, 3)]
    assert len(followed("clip_by_global_norm(sgd)").trial.start) > 1


def test_a_screen_counts_what_it_sorts_out() -> None:
    screen = followed("adam")
    screen.passes((edit("adam", LATE),))
    screen.passes(())
    assert screen.sieve.tried == 1


def test_two_changes_of_one_line_cannot_be_made_one_after_the_other() -> None:
    again = edit("adam", "m_hat = m")
    with pytest.raises(ValueError, match="not there any more"):
        together((edit("adam", LATE), again), catalog.build("adam"))


@pytest.mark.parametrize("spec", ["adam", "radam", "lookahead(nadam, k=2)", "rmsprop"])
def test_one_element_rules_out_nothing_that_the_arrays_let_pass(spec: str) -> None:
    target = list(edits(catalog.build(spec)))[7]
    screen = followed(spec, target)
    element = screen.element
    assert element is not None
    for each in edits(catalog.build(spec)):
        passes = screen.passes((each,))
        out = element.rules_out(screen.exchangeable, screen.numbers)
        screen.element = None
        assert screen.passes((each,)) == passes
        assert not (passes and out)
        screen.element = element


def test_one_element_is_not_tried_where_elements_act_together() -> None:
    assert followed("lamb").element is None
