"""Changes that hold only where a hyperparameter is zero, or only where it is not."""

from collections.abc import Callable

import pytest

from refopt import catalog
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit, edits
from refopt.oracle.gates import Gate, gates
from refopt.oracle.observation import Hypothesis, Observation
from refopt.oracle.probes import probes
from refopt.oracle.run import Trace
from refopt.oracle.sieve import Sieve

SGD = catalog.build("sgd")
UNDAMPENED = "b = xp.where(t == 1, g, momentum * b + g)"


def edit(after: str) -> Edit:
    return next(edit for edit in edits(SGD) if edit.after == after)


def seen(changed: Callable[[Optimizer], Optimizer]) -> Sieve:
    """The sieve for a target that is SGD as it is changed."""
    hypothesis = Hypothesis(SGD)
    every = [probe for probe in probes(SGD.hyperparameters()) if not probe.has_missing]
    traces = []
    for probe in every:
        optimizer = changed(hypothesis.at(probe))
        params, state = list(probe.params), optimizer.init(list(probe.params))
        trajectory = []
        for gradients, rate in zip(probe.gradients, probe.rates, strict=True):
            params, state = optimizer.step(
                params, list(gradients), state, lr=hypothesis.at(probe).lr * rate
            )
            trajectory.append(params)
        traces.append(Trace(trajectory, probe.rates, (), None))
    return Sieve(Observation("float32", tuple(every), tuple(traces)))


@pytest.mark.parametrize("is_zero", [True, False])
def test_an_edit_is_made_where_the_hyperparameter_is_so(is_zero: bool) -> None:
    gate = Gate("momentum", is_zero)
    changed = gate.around(edit(UNDAMPENED))
    assert changed.after == f"{UNDAMPENED}  # where momentum {'=' if is_zero else '!'}= 0"
    assert changed.description.endswith(f"where momentum is {'' if is_zero else 'not '}zero")
    for momentum in (0.0, 0.5):
        optimizer = SGD.with_hyperparameters(momentum=momentum)
        is_changed = changed.apply(optimizer) is not optimizer
        assert is_changed == ((momentum == 0) == is_zero)


def test_the_probes_that_a_target_does_not_follow_tell_the_gate() -> None:
    def changed(optimizer: Optimizer) -> Optimizer:
        return edit(UNDAMPENED).apply(optimizer)

    found = dict(gates(Hypothesis(SGD), seen(changed)))
    assert Gate("momentum", is_zero=True) not in found
    few = found[Gate("momentum", is_zero=False)]
    assert {probe.id for probe, _ in few.runs} >= {"far", "dyadic"}
    assert few.tried == 0
    assert few.passes(Hypothesis(SGD, changed))


def test_a_target_that_follows_everywhere_has_no_gate() -> None:
    assert not list(gates(Hypothesis(SGD), seen(lambda optimizer: optimizer)))
