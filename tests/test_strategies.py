"""The strategies that others may use: what they draw fits what it is drawn for."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refopt
from refopt.catalog import build
from refopt.hyperparameters import DOMAINS
from refopt.strategies import (
    SHAPES,
    arrays,
    gradient_trees,
    gradients,
    hyperparameters,
    parameter_trees,
    parameters,
    repeated,
    shapes,
)
from refopt.tree import flattened

SPECS = [
    "sgd",
    "adamw",
    "lookahead(lamb, k=2)",
    "one_cycle(rmsprop, total_steps=9)",
    "warmup(adagrad, 3)",
]
DTYPES = st.sampled_from(["float32", "float64"])


@given(shapes().flatmap(lambda shape: st.tuples(st.just(shape), DTYPES)), st.data())
def test_arrays_have_the_shape_and_dtype_that_are_asked_for(
    asked: tuple[tuple[int, ...], str], data: st.DataObject
) -> None:
    shape, dtype = asked
    for strategy in (arrays, gradients, parameters):
        drawn = data.draw(strategy(shape, dtype))
        assert drawn.shape == shape
        assert drawn.dtype == dtype
        assert np.isfinite(drawn).all()


@given(arrays((40,), "float64"))
def test_numbers_have_few_bits(drawn: np.ndarray) -> None:
    """So that every format from bfloat16 up holds them."""
    mantissas, _ = np.frexp(drawn)
    assert np.array_equal(mantissas * 2**8, np.rint(mantissas * 2**8))
    assert np.unique(drawn).size <= 5


def test_numbers_repeat_to_a_shape() -> None:
    assert np.array_equal(repeated([1, 2, 3], (2, 2), "float32"), [[1, 2], [3, 1]])
    assert repeated([1], (), "float32").shape == ()
    assert repeated([1], (0, 3), "float32").shape == (0, 3)


def test_shapes_are_those_that_kernels_treat_differently() -> None:
    assert {0, 1, 2, 3, 4} == {len(shape) for shape in SHAPES}
    sizes = {int(np.prod(shape)) for shape in SHAPES}
    assert {0, 1, 16, 17, 64, 65} <= sizes


@pytest.mark.parametrize("spec", SPECS)
@given(data=st.data())
def test_hyperparameters_lie_in_their_domains(spec: str, data: st.DataObject) -> None:
    drawn = data.draw(hyperparameters(spec))
    optimizer = build(spec)
    assert drawn.keys() == optimizer.hyperparameters().keys() - optimizer.pinned()
    assert all(value in DOMAINS[name] for name, value in drawn.items())
    assert drawn.get("eps", 1) > 0
    assert drawn.get("lr", 1) > 0
    assert optimizer.with_hyperparameters(**drawn).layers


def test_hyperparameters_of_a_dialect_are_those_of_its_form() -> None:
    drawn: dict[str, Any] = {}

    @given(hyperparameters("amsgrad", dialect="torch"))
    def collect(values: dict[str, Any]) -> None:
        drawn.update(values)

    collect()
    assert set(drawn) == {"lr", "beta1", "beta2", "eps"}


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean adam"):
        hyperparameters("adan")
    with pytest.raises(ValueError, match="has a dialect 'qqq'"):
        hyperparameters("adam", dialect="qqq")


@given(hyperparameters("adamw"), parameter_trees(), st.data())
def test_the_reference_steps_on_any_tree(
    values: dict[str, Any], params: Any, data: st.DataObject
) -> None:
    """A tree is its leaves: in a list, each alone, they step alike."""
    grads = data.draw(gradient_trees(params, missing=True))
    optimizer = refopt.adamw(**values)
    stepped, _ = optimizer.step(params, grads, optimizer.init(params))
    leaves, given = flattened(params), flattened(grads)
    assert flattened(stepped).keys() == leaves.keys() == given.keys()
    for name, theta in leaves.items():
        alone, _ = optimizer.step(theta, given[name], optimizer.init(theta))
        assert np.array_equal(flattened(stepped)[name], alone, equal_nan=True)


@given(st.data(), parameter_trees("float64"))
def test_gradients_fit_their_parameters(data: st.DataObject, params: Any) -> None:
    leaves = flattened(params)
    for name, g in flattened(data.draw(gradient_trees(params))).items():
        assert g.shape == leaves[name].shape
        assert g.dtype == "float64"


def test_they_are_found_where_the_documentation_has_them() -> None:
    assert refopt.strategies.gradients is gradients
    assert "strategies" in dir(refopt)


def test_without_hypothesis_the_error_says_what_to_install() -> None:
    script = "import sys; sys.modules['hypothesis'] = None; import refopt; refopt.strategies"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "pip install 'refopt[properties]'" in ran.stderr.splitlines()[-1]
