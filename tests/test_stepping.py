"""Changes of the stepping code: what they do, on optimizers small enough to do it by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from refopt import catalog
from refopt.arithmetic.bounds import FLOAT32, Bounded
from refopt.optimizer import Optimizer
from refopt.oracle.stepping import from_one_array, stepping_edits

Array = np.ndarray


def changed(spec: str, description: str) -> Optimizer:
    found = [edit for edit in stepping_edits() if edit.description == description]
    return found[0].apply(catalog.build(spec))


def walk(
    optimizer: Optimizer, params: Sequence[Array], *grads: Sequence[Array | None]
) -> list[list[float]]:
    """The first element of every parameter after each step."""
    params, state = list(params), optimizer.init(list(params))
    walked = []
    for each in grads:
        params, state = optimizer.step(params, list(each), state)
        walked.append([float(np.ravel(p)[0]) for p in params])
    return walked


ONE = np.ones(1)


@pytest.mark.parametrize(
    ("words", "spec", "expected"),
    [
        ("a missing gradient is taken for the last one", "sgd(lr=1.0)", [-1, -2, -3]),
        ("the parameters of the step before are returned", "sgd(lr=1.0)", [0, -1, -1]),
        (
            "a missing gradient is taken for zero once there was one",
            "sgd(lr=1.0, momentum=0.5)",
            [-1, -1.5, -2.75],
        ),
        ("a missing gradient resets the state", "sgd(lr=1.0, momentum=0.5)", [-1, -1, -2]),
    ],
)
def test_what_a_missing_gradient_does(words: str, spec: str, expected: list[float]) -> None:
    found = walk(changed(spec, words), [0 * ONE], [ONE], [None], [ONE])
    assert [p for (p,) in found] == expected


def test_memory_is_that_of_one_run() -> None:
    optimizer = "sgd(lr=1.0)"
    words = "a missing gradient is taken for the last one"
    for _ in range(2):
        assert walk(changed(optimizer, words), [0 * ONE], [None], [ONE]) == [[0], [-1]]


def test_variants_that_count_together_or_by_calls() -> None:
    grads: list[list[Array | None]] = [[ONE, None], [ONE, ONE], [ONE, ONE]]
    start, spec = [0 * ONE, 0 * ONE], "lookahead(sgd(lr=1.0), k=2, alpha=0.5)"
    own = walk(catalog.build(spec), start, *grads)
    calls = walk(changed(spec, "the variants count the calls, not the steps of each parameter"),
                 start, *grads)  # fmt: skip
    together = walk(
        changed(spec, "the variants have one step count, which advances with every parameter"),
        start,
        *grads,
    )
    assert own == [[-1, 0], [-1, -1], [-2, -1]]
    assert calls == [[-1, 0], [-1, -0.5], [-2, -1.5]]
    assert together == [[-1, 0], [-1, -1], [-1.5, -2]]


def test_an_outermost_variant_may_act_without_a_gradient() -> None:
    words = "the outermost variant counts the calls and acts on parameters without a gradient, too"
    lookahead = changed("lookahead(sgd(lr=1.0), k=2, alpha=0.5)", words)
    found = walk(lookahead, [0 * ONE, 0 * ONE], [ONE, ONE], [ONE, None])
    assert found == [[-1, -1], [-1, -0.5]]


def test_an_outermost_variant_may_act_before_the_step() -> None:
    lookahead = changed(
        "lookahead(sgd(lr=1.0), k=2, alpha=0.5)", "the outermost variant acts before the step"
    )
    assert walk(lookahead, [0 * ONE], *[[ONE]] * 4) == [[-1], [-1.5], [-2.5], [-2.5]]


def test_the_first_gradient_may_set_up_the_state_alone() -> None:
    words = "the first gradient only sets up the state, and does not count"
    late = walk(changed("adam(lr=1.0)", words), [ONE], *[[t * ONE] for t in range(1, 5)])
    right = walk(catalog.build("adam(lr=1.0)"), [ONE], *[[t * ONE] for t in range(2, 5)])
    assert late == [[1.0], *right]


def test_what_two_blocks_have_is_stepped_twice() -> None:
    words = next(e.description for e in stepping_edits() if "blocks of 4 elements" in e.description)
    optimizer = changed("sgd(lr=1.0)", words)
    params: list[Array] = [np.zeros(6), np.zeros((2, 4)), np.zeros(3)]
    new, _ = optimizer.step(params, [np.ones(p.shape) for p in params], optimizer.init(params))
    assert new[0].tolist() == [-1, -1, -2, -2, -1, -1]
    assert (new[1] == -1).all()
    assert (new[2] == -1).all()


@pytest.mark.parametrize("by", [1, -1])
def test_gradients_of_one_array(by: int) -> None:
    thetas = {"0": np.zeros((2, 2)), "1": np.zeros(()), "2": np.zeros(0), "3": np.zeros(2)}
    gradients = {
        "0": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "1": None,
        "2": np.zeros(0),
        "3": np.array([6.0, 7.0]),
    }
    read = from_one_array(thetas, gradients, by)
    flat = [1.0, 2.0, 3.0, 4.0, 0.0, 6.0, 7.0]
    assert np.concatenate([np.ravel(g) for g in read.values()]).tolist() == [
        flat[(i + by) % len(flat)] for i in range(len(flat))
    ]
    assert [g.shape for g in read.values()] == [theta.shape for theta in thetas.values()]

    def lifted(x: Array, error: float) -> Bounded:
        return Bounded(x, np.full(x.shape, error), FLOAT32)

    bounds = from_one_array(
        {name: lifted(theta, 0.0) for name, theta in thetas.items()},
        {name: None if g is None else lifted(g, 0.5) for name, g in gradients.items()},
        by,
    )
    for name, bound in bounds.items():
        np.testing.assert_array_equal(bound.value, read[name])
