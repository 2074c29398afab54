"""What mistakes amount to: layers and roundings that no optimizer should have."""

from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refopt import catalog
from refopt.arithmetic.bounds import FLOAT32, Bounded
from refopt.optimizer import Optimizer
from refopt.oracle.compositions import recompositions
from refopt.oracle.faults import rounded
from refopt.oracle.stepping import stepping_edits

FORMATS = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@pytest.mark.parametrize("format", FORMATS)
@given(x=st.floats(-6e4, 6e4, width=32))
def test_rounding_is_that_of_the_format(format: str, x: float) -> None:
    expected = np.float32(x).astype(FORMATS[format]).astype(np.float64)
    assert rounded(np.array(x, np.float64), format) == expected


@pytest.mark.parametrize("format", FORMATS)
@given(x=st.floats(-6e4, 6e4, width=32), share=st.floats(-1, 1), error=st.floats(0, 1e-2))
def test_a_rounded_bound_holds_what_is_rounded(
    format: str, x: float, share: float, error: float
) -> None:
    bound = rounded(Bounded(np.array(x), np.array(error), FLOAT32), format)
    got = rounded(np.array(x + share * error), format)
    assert abs(got - bound.value) <= bound.error


def changed(spec: str, description: str) -> Optimizer:
    optimizer = catalog.build(spec)
    return next(e for e in recompositions(optimizer) if e.description == description).apply(
        optimizer
    )


def steps(optimizer: Optimizer, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    params = [np.ones(shape) for shape in shapes]
    state = optimizer.init(params)
    for t in range(1, 4):
        grads = [np.full(shape, (-1.0) ** t * (i + t)) for i, shape in enumerate(shapes)]
        params, state = optimizer.step(params, grads, state, lr=0.1 * t)
    return params


@pytest.mark.parametrize("spec", ["adam", "lazy(adam)"])
def test_state_is_shared_by_parameters_of_one_shape_alone(spec: str) -> None:
    sharing = changed(spec, "parameters of one shape share their state")
    for got, expected in zip(
        steps(sharing, (2,), (3,)), steps(catalog.build(spec), (2,), (3,)), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    apart = steps(catalog.build("adam"), (2,), (2,))[1]
    assert not np.allclose(
        steps(changed("adam", "parameters of one shape share their state"), (2,), (2,))[1], apart
    )


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        ("the learning rate changes one call late", (0.01, 0.1, 0.2)),
        ("the learning rate changes one call late but for the first change", (0.1, 0.1, 0.2)),
        ("the learning rate stays that of the first call", (0.1, 0.1, 0.1)),
        ("the learning rate stays as it was at the start", (0.01, 0.01, 0.01)),
    ],
)
def test_learning_rates_that_come_late(words: str, rates: tuple[float, ...]) -> None:
    optimizer = catalog.build("sgd")
    every = [*recompositions(optimizer), *stepping_edits()]
    late = next(edit for edit in every if edit.description == words).apply(optimizer)
    (got,) = steps(late, (2,))
    moved = sum(rate * (-1.0) ** t * t for t, rate in enumerate(rates, 1))
    np.testing.assert_allclose(got, 1 - moved, rtol=1e-14)


def factors(spec: str, words: str, steps: int) -> list[float]:
    """By what plain descent of rate 1 moves in each step."""
    optimizer = changed(spec, words)
    params = [np.zeros(1)]
    state = optimizer.init(params)
    places = [0.0]
    for _ in range(steps):
        params, state = optimizer.step(params, [np.ones(1)], state)
        places.append(float(params[0][0]))
    return [a - b for a, b in pairwise(places)]


SCHEDULE = "piecewise_linear(sgd(lr=1.0, momentum=0.0), schedule={2: 0.5, 4: 0.25})"


@pytest.mark.parametrize(
    ("spec", "words", "expected"),
    [
        (
            "warmup(sgd(lr=1.0, momentum=0.0), warmup_steps=4)",
            "warmup is attached after the first step, and is one step late from then on",
            [1, 0.25, 0.5, 0.75, 1],
        ),
        (
            SCHEDULE,
            "up to the first knot the factor is that of it: there is none at 0",
            [0.5, 0.5, 0.375, 0.25, 0.25],
        ),
        (SCHEDULE, "the line goes on after the last knot", [0.25, 0.5, 0.375, 0.25, 0.125]),
    ],
)
def test_schedules(spec: str, words: str, expected: list[float]) -> None:
    assert factors(spec, words, 5) == expected


def test_numbers_are_shared_and_arrays_are_not() -> None:
    words = "parameters share the state that is a number, and each updates it"
    sharing = changed("nadam", words)
    params = [np.zeros(2), np.zeros(2)]
    state = sharing.init(params)
    _, state = sharing.step(params, [np.ones(2), -np.ones(2)], state)
    own = catalog.build("nadam")
    _, apart = own.step(params, [np.ones(2), -np.ones(2)], own.init(params))
    product = apart["0"]["nadam.mu_product"]
    products = [each["sharing_numbers_nadam.mu_product"] for each in state.values()]
    np.testing.assert_allclose(products, [product**2] * 2, rtol=1e-14)
    moments = [each["sharing_numbers_nadam.m"][0] for each in state.values()]
    assert moments == [apart["0"]["nadam.m"][0], apart["1"]["nadam.m"][0]]
