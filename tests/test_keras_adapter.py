"""Targets of Keras 3."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from adapting import SHAPES, Setting, assert_same

from refopt.adapters.adapt import TargetError, framework
from refopt.adapters.adapter import Part

os.environ.setdefault("KERAS_BACKEND", "jax")
pytest.importorskip(os.environ["KERAS_BACKEND"], reason="the backend of Keras is not installed")
keras = pytest.importorskip("keras", reason="Keras is not installed")

ARGUMENTS: Mapping[str, str | tuple[str, ...]] = {
    "learning_rate": "lr",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "epsilon": "eps",
}
SETTING = Setting(ARGUMENTS, steps=5)
params, gradients = SETTING.params, SETTING.gradients
adapted, stepped = SETTING.adapted, SETTING.stepped
GIVEN = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6, "eps": 1e-2}
NAMED = {"learning_rate": 0.3, "beta_1": 0.8, "beta_2": 0.6, "epsilon": 1e-2}


def stepped_directly(optimizer: Any) -> list[np.ndarray]:
    """The same steps without refopt."""
    variables = [keras.Variable(p) for p in params()]
    with warnings.catch_warnings():
        # Keras reads tensors of torch in a way that a future NumPy forbids.
        warnings.filterwarnings("ignore", message="__array__ implementation doesn't accept")
        for grads in gradients():
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in grads], variables)
    return [read(variable) for variable in variables]


def compiled_directly(optimizer: Any, rates: Sequence[float]) -> list[np.ndarray]:
    """The same steps as training on JAX takes them, with a learning rate for each."""
    import jax

    variables = [keras.Variable(p) for p in params()]
    optimizer.build(variables)
    apply = jax.jit(optimizer.stateless_apply)
    theta = [v.value for v in variables]
    state = [v.value for v in optimizer.variables]
    (place,) = [i for i, v in enumerate(optimizer.variables) if v is optimizer.learning_rate]
    for rate, grads in zip(rates, gradients(), strict=True):
        state[place] = jax.numpy.float32(rate)
        theta, state = apply(state, grads, theta)
    return [np.asarray(p) for p in theta]


def read(variable: Any) -> np.ndarray:
    value = variable.value.detach() if hasattr(variable.value, "detach") else variable.value
    return np.asarray(value)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Nadam", "Adamax", "Lamb"])
def test_a_class_steps_as_it_does_without_refopt(name: str) -> None:
    optimizer = getattr(keras.optimizers, name)
    session = adapted(optimizer).start(params(), {**GIVEN, "k": 3})
    assert_same(stepped(session), stepped_directly(optimizer(**NAMED)))


@pytest.mark.parametrize(
    ("option", "canonical", "value"),
    [
        ("clipnorm", "max_norm", 1.7),
        ("global_clipnorm", "max_norm", 1.7),
        ("clipvalue", "max_norm", 0.7),
        ("weight_decay", "weight_decay", 0.3),
        ("gradient_accumulation_steps", "k", 2),
    ],
)
def test_what_every_optimizer_of_keras_takes_can_be_a_part(
    option: str, canonical: str, value: float
) -> None:
    part = Part(keras.optimizers.Adam, {option: canonical}, wraps="option")
    adapter = adapted(keras.optimizers.Adam, part)
    assert adapter.accepted() == {"lr", "beta1", "beta2", "eps", canonical}
    got = stepped(adapter.start(params(), {**GIVEN, canonical: value}))
    assert_same(got, stepped_directly(keras.optimizers.Adam(**NAMED, **{option: value})))
    plain = stepped(adapted(keras.optimizers.Adam).start(params(), GIVEN))
    assert (got[3] != plain[3]).any()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX compiles steps")
def test_compiled_steps_are_those_that_training_compiles() -> None:
    options = {"gradient_accumulation_steps": 2, "refopt_jit": True}
    session: Any = adapted(keras.optimizers.Adam, **options).start(params(), GIVEN)
    rates = (0.3, 0.1, 0.2, 0.05, 0.3)
    for rate, grads in zip(rates, gradients(), strict=True):
        session.set_lr(rate)
        got = session.step(grads)
    direct = keras.optimizers.Adam(**NAMED, gradient_accumulation_steps=2)
    assert_same(got, compiled_directly(direct, rates))
    assert session.optimizer.iterations == 2


def test_float64_is_computed_in_float64() -> None:
    zeros = [np.zeros(shape) for shape in SHAPES]
    session = adapted(keras.optimizers.SGD).start(zeros, {"lr": 0.3})
    grads = gradients("float64")[0]
    # from zero a step is one product, so that no order of evaluation changes it
    assert_same(session.step(grads), [np.asarray(-0.3 * g) for g in grads])
    assert keras.config.floatx() == "float32"


def test_a_missing_gradient_leaves_its_parameter_alone() -> None:
    session: Any = adapted(keras.optimizers.Adam).start(params(), GIVEN)
    before = session.step(gradients()[0])
    after = session.step([None if i == 1 else g for i, g in enumerate(gradients()[1])])
    np.testing.assert_array_equal(after[1], before[1])
    assert (after[2] != before[2]).all()


def test_without_any_gradient_nothing_is_stepped_or_counted() -> None:
    session: Any = adapted(keras.optimizers.Adam).start(params(), GIVEN)
    before = session.step(gradients()[0])
    assert_same(session.step([None] * len(SHAPES)), before)
    assert session.optimizer.iterations == 1
    with pytest.raises(ValueError, match="No gradients provided"):
        session.optimizer.apply([None] * len(SHAPES), session.variables)
    assert session.optimizer.iterations == 1


def test_the_learning_rate_can_be_set() -> None:
    session: Any = adapted(keras.optimizers.SGD).start(params(), {"lr": 0.3})
    session.set_lr(0.125)
    assert_same(stepped(session), stepped_directly(keras.optimizers.SGD(0.125)))


def test_a_fresh_session_resumes_while_the_old_one_goes_on() -> None:
    adapter = adapted(keras.optimizers.Nadam)
    old: Any = adapter.start(params(), GIVEN)
    old.set_lr(0.1)
    for grads in gradients()[:2]:
        arrays = old.step(grads)
    saved = old.state_dict()
    fresh: Any = adapter.start(arrays, GIVEN)
    fresh.load_state_dict(saved)
    for grads in gradients()[2:]:
        expected = old.step(grads)
    for array in saved:
        array[...] = 0
    for grads in gradients()[2:]:
        arrays = fresh.step(grads)
    assert_same(arrays, expected)


def test_arrays_of_the_caller_can_be_used_again() -> None:
    theta = params()
    session = adapted(keras.optimizers.SGD, momentum=0.8).start(theta, {"lr": 0.3})
    for array in theta:
        array[...] = np.nan
    for grads in gradients():
        arrays = session.step(grads)
        for g in grads:
            g[...] = np.nan
    assert_same(arrays, stepped_directly(keras.optimizers.SGD(0.3, momentum=0.8)))


def test_an_instance_stands_for_its_class_with_its_configuration() -> None:
    instance = keras.optimizers.Adam(0.7, beta_1=0.5, amsgrad=True, clipnorm=1.0)
    adapter = adapted(instance)
    assert adapter.accepted() == {"lr", "beta1", "beta2", "eps"}
    session = adapter.start(params(), {"lr": 0.3, "beta2": 0.6})
    direct = keras.optimizers.Adam(0.3, beta_1=0.5, beta_2=0.6, amsgrad=True, clipnorm=1.0)
    assert_same(stepped(session), stepped_directly(direct))
    assert not instance.built


def make_sgd(lr: float) -> Any:
    return keras.optimizers.SGD(lr, momentum=0.8)


class Subclass(keras.optimizers.SGD):  # type: ignore[misc, name-defined]
    """A user's class with canonical names where Keras has others."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.0) -> None:
        super().__init__(lr, momentum=momentum)


@pytest.mark.parametrize("target", [make_sgd, Subclass])
def test_functions_and_classes_of_the_user_are_recognised(target: Any) -> None:
    assert framework(target) == "keras"
    session = adapted(target).start(params(), {"lr": 0.3, "momentum": 0.8})
    direct = target(0.3) if target is make_sgd else Subclass(0.3, 0.8)
    assert_same(stepped(session), stepped_directly(direct))


def test_a_function_that_returns_no_optimizer_is_an_error() -> None:
    def make(lr: float) -> Any:
        return keras.Variable(lr)

    with pytest.raises(TargetError, match=r"not a keras.optimizers.Optimizer"):
        adapted(make).start(params(), {"lr": 0.3})


def test_nothing_can_be_chained_before_an_optimizer_of_keras() -> None:
    part = Part(keras.optimizers.Adam, {}, wraps="chain")
    with pytest.raises(TargetError, match="cannot go around"):
        adapted(keras.optimizers.Adam, part).start(params(), {})


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="this is the run on torch")
def test_all_of_this_holds_on_torch() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
