"""Targets of MLX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from adapting import SHAPES, Setting, assert_same

import refopt
from refopt.adapters.adapt import TargetError, adapt, framework
from refopt.adapters.adapter import Part

mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
optimizers = pytest.importorskip("mlx.optimizers", reason="MLX is not installed")

ARGUMENTS: Mapping[str, str | tuple[str, ...]] = {
    "learning_rate": "lr",
    "betas": ("beta1", "beta2"),
    "eps": "eps",
    "momentum": "momentum",
    "weight_decay": "weight_decay",
}
SETTING = Setting(ARGUMENTS, steps=5)
params, gradients = SETTING.params, SETTING.gradients
adapted, stepped = SETTING.adapted, SETTING.stepped
GIVEN = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6, "eps": 1e-2}
NAMED = {"learning_rate": 0.3, "betas": [0.8, 0.6], "eps": 1e-2}


def stepped_directly(optimizer: Any) -> list[np.ndarray]:
    """The same steps without refopt."""
    tree = {"layers": [mx.array(p) for p in params()]}
    for grads in gradients():
        tree = optimizer.apply_gradients({"layers": [mx.array(g) for g in grads]}, tree)
    return [np.array(p) for p in tree["layers"]]


@pytest.mark.parametrize("options", [{}, {"bias_correction": True}])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_a_class_steps_as_it_does_without_refopt(name: str, options: dict[str, Any]) -> None:
    optimizer = getattr(optimizers, name)
    session = adapted(optimizer, **options).start(params(), {**GIVEN, "k": 3})
    assert_same(stepped(session), stepped_directly(optimizer(**NAMED, **options)))


def test_one_of_two_decay_rates_leaves_the_other_at_its_default() -> None:
    session = adapted(optimizers.Adam).start(params(), {"lr": 0.3, "beta2": 0.6})
    direct = optimizers.Adam(0.3, betas=[0.9, 0.6])
    assert_same(stepped(session), stepped_directly(direct))


def test_decay_can_be_a_part() -> None:
    part = Part(optimizers.SGD, {"weight_decay": "weight_decay"}, wraps="option")
    session = adapted(optimizers.SGD, part).start(params(), {"lr": 0.3, "weight_decay": 0.5})
    assert_same(stepped(session), stepped_directly(optimizers.SGD(0.3, weight_decay=0.5)))


def test_float64_is_computed_in_float64() -> None:
    zeros = [np.zeros(shape) for shape in SHAPES]
    session = adapted(optimizers.SGD).start(zeros, {"lr": 0.25})
    # from zero a step is one product; MLX keeps every learning rate in float32
    grads = gradients("float64")[0]
    assert_same(session.step(grads), [np.asarray(-0.25 * g) for g in grads])


@pytest.mark.parametrize("absent", [{1}, {0, 1, 2, 3, 4}])
def test_a_missing_gradient_changes_neither_parameter_nor_state_but_counts(
    absent: set[int],
) -> None:
    session: Any = adapted(optimizers.Adam).start(params(), GIVEN)
    before = session.step(gradients()[0])
    state = session.state_dict()
    after = session.step([None if i in absent else g for i, g in enumerate(gradients()[1])])
    new = session.state_dict()
    for i in range(len(SHAPES) - 1):
        changed = i not in absent
        assert (after[i] != before[i]).all() == changed
        assert bool((new[f"theta{i}"]["m"] != state[f"theta{i}"]["m"]).all()) == changed
    assert new["step"].item() == 2


def test_a_first_gradient_can_come_late_where_mlx_alone_fails() -> None:
    given: list[np.ndarray | None] = [*gradients()[0]]
    session = adapted(optimizers.Adam).start(params(), GIVEN)
    session.step([None, *given[1:]])
    assert session.step(given)[0] != params()[0]

    alone = optimizers.Adam(0.3)
    theta = {"a": mx.array(1.0), "b": mx.array(2.0)}
    alone.apply_gradients({"a": mx.array(1.0)}, theta)
    with pytest.raises(KeyError, match="b"):
        alone.apply_gradients({"b": mx.array(1.0)}, theta)


def test_the_learning_rate_can_be_set() -> None:
    session: Any = adapted(optimizers.SGD).start(params(), {"lr": 0.3})
    session.set_lr(0.125)
    assert_same(stepped(session), stepped_directly(optimizers.SGD(0.125)))


def make_two(lr: float) -> Any:
    """Adam for the first parameter and SGD for the others."""
    adam, sgd = optimizers.Adam(lr), optimizers.SGD(lr, momentum=0.8)
    return optimizers.MultiOptimizer([adam, sgd], [lambda path, _: path == "theta0"])


@pytest.mark.parametrize("target", [optimizers.AdamW, make_two])
def test_a_fresh_session_resumes_while_the_old_one_goes_on(target: Any) -> None:
    adapter = adapted(target)
    old: Any = adapter.start(params(), GIVEN)
    old.set_lr(0.1)
    for grads in gradients()[:2]:
        arrays = old.step(grads)
    saved = old.state_dict()
    fresh: Any = adapter.start(arrays, GIVEN)
    fresh.load_state_dict(saved)
    for grads in gradients()[2:]:
        expected = old.step(grads)
    for grads in gradients()[2:]:
        arrays = fresh.step(grads)
    assert_same(arrays, expected)
    assert (arrays[1] != params()[1]).all()


def test_arrays_of_the_caller_can_be_used_again() -> None:
    theta = params()
    session = adapted(optimizers.SGD, momentum=0.8).start(theta, {"lr": 0.3})
    for array in theta:
        array[...] = np.nan
    for grads in gradients():
        arrays = session.step(grads)
        for g in grads:
            g[...] = np.nan
    assert_same(arrays, stepped_directly(optimizers.SGD(0.3, momentum=0.8)))


def test_an_instance_stands_for_its_class_with_its_values() -> None:
    instance = optimizers.AdamW(0.7, betas=[0.5, 0.9], weight_decay=0.2, bias_correction=True)
    adapter = adapted(instance)
    assert adapter.accepted() == {"lr", "beta1", "beta2", "eps", "weight_decay"}
    session = adapter.start(params(), {"lr": 0.3, "beta2": 0.6})
    direct = optimizers.AdamW(0.3, betas=[0.5, 0.6], weight_decay=0.2, bias_correction=True)
    assert_same(stepped(session), stepped_directly(direct))
    assert instance.state["step"].item() == 0


def test_an_instance_keeps_its_schedule() -> None:
    def falling(step: Any) -> Any:
        return 0.5 / (step + 1)

    session = adapted(optimizers.SGD(falling)).start(params(), {})
    assert_same(stepped(session), stepped_directly(optimizers.SGD(falling)))


def make_sgd(lr: float) -> Any:
    return optimizers.SGD(lr, momentum=0.8)


class Subclass(optimizers.SGD):  # type: ignore[misc, name-defined]
    """A user's class with canonical names where MLX has others."""

    def __init__(self, lr: float, momentum: float = 0.0) -> None:
        super().__init__(lr, momentum)


@pytest.mark.parametrize("target", [make_sgd, Subclass])
def test_functions_and_classes_of_the_user_are_recognised(target: Callable[..., Any]) -> None:
    assert framework(target) == "mlx"
    session = adapted(target).start(params(), {"lr": 0.3, "momentum": 0.8})
    assert_same(stepped(session), stepped_directly(optimizers.SGD(0.3, 0.8)))


def test_an_instance_that_cannot_be_made_again_is_an_error() -> None:
    with pytest.raises(TargetError, match="the value of lr is no attribute of this Subclass"):
        adapted(Subclass(0.3))


def test_a_function_that_returns_no_optimizer_is_an_error() -> None:
    def make(lr: float) -> Any:
        return mx.array(lr)

    with pytest.raises(TargetError, match=r"returned array, not an mlx.optimizers.Optimizer"):
        adapt((Part(make, {"lr": "lr"}),), "mlx").start(params(), {"lr": 0.3})


def test_adam_has_no_bias_correction_unless_told() -> None:
    def corrected(lr: float, betas: Any = (0.9, 0.999), eps: float = 1e-8) -> Any:
        return optimizers.Adam(lr, betas, eps, bias_correction=True)

    assert refopt.identify("mlx.optimizers:Adam", "adam").dialect == "mlx"
    assert refopt.identify(corrected, "adam").dialect == "mlx_bias_correction"
