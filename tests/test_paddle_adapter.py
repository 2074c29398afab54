"""Targets of Paddle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from adapting import SHAPES, Setting, assert_same

import refopt
from refopt import specification
from refopt.adapters.adapt import TargetError, adapt, framework
from refopt.adapters.adapter import Part
from refopt.report.matrix import surroundings

paddle = pytest.importorskip("paddle", reason="Paddle is not installed")

ARGUMENTS: Mapping[str, str | tuple[str, ...]] = {
    "learning_rate": "lr",
    "momentum": "momentum",
    "beta1": "beta1",
    "beta2": "beta2",
    "epsilon": "eps",
    "weight_decay": "weight_decay",
}
SETTING = Setting(ARGUMENTS, steps=6)
params, gradients = SETTING.params, SETTING.gradients
adapted, stepped = SETTING.adapted, SETTING.stepped
GIVEN = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6, "eps": 1e-2}
NAMED = {"learning_rate": 0.3, "beta1": 0.8, "beta2": 0.6, "epsilon": 1e-2}


def stepped_directly(make: Callable[..., Any], dtype: str = "float32") -> list[np.ndarray]:
    """The same steps without refopt, in a layer and with gradients from a loss."""
    layer = paddle.nn.Layer()
    for i, p in enumerate(params(dtype)):
        assign = paddle.nn.initializer.Assign(p)
        made = layer.create_parameter(p.shape, dtype=dtype, default_initializer=assign)
        layer.add_parameter(f"p{i}", made)
    optimizer = make(parameters=layer.parameters())
    for grads in gradients(dtype):
        losses = [
            (p * paddle.to_tensor(g)).sum() for p, g in zip(layer.parameters(), grads, strict=True)
        ]
        sum(losses, paddle.zeros([], dtype)).backward()
        optimizer.step()
        optimizer.clear_grad()
    return [p.numpy() for p in layer.parameters()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam"])
def test_a_class_steps_as_it_does_without_refopt(name: str, dtype: str) -> None:
    optimizer = getattr(paddle.optimizer, name)
    session = adapted(optimizer).start(params(dtype), {**GIVEN, "k": 3})

    def make(parameters: Any) -> Any:
        return optimizer(parameters=parameters, **NAMED)

    assert_same(stepped(session, dtype), stepped_directly(make, dtype))


def test_decay_and_clipping_can_be_parts() -> None:
    decay = Part(paddle.optimizer.Momentum, {"weight_decay": "weight_decay"}, wraps="option")
    clip = Part(paddle.nn.ClipGradByNorm, {"clip_norm": "max_norm"}, wraps="chain")
    adapter = adapted(paddle.optimizer.Momentum, decay, clip)
    given = {"lr": 0.3, "momentum": 0.8, "weight_decay": 0.5, "max_norm": 0.75}

    def make(parameters: Any) -> Any:
        clip = paddle.nn.ClipGradByNorm(0.75)
        return paddle.optimizer.Momentum(0.3, 0.8, parameters, weight_decay=0.5, grad_clip=clip)

    assert_same(stepped(adapter.start(params(), given)), stepped_directly(make))


def test_the_older_name_of_the_parameters_is_known() -> None:
    lars = paddle.incubate.optimizer.LarsMomentumOptimizer
    session = adapted(lars).start(params(), {"lr": 0.3, "momentum": 0.8})

    def make(parameters: Any) -> Any:
        return lars(0.3, 0.8, parameter_list=parameters)

    assert_same(stepped(session), stepped_directly(make))


@pytest.mark.parametrize("absent", [{1}, {0, 1, 2, 3, 4}])
def test_a_missing_gradient_changes_neither_parameter_nor_state(absent: set[int]) -> None:
    session: Any = adapted(paddle.optimizer.Adam).start(params(), GIVEN)
    before = session.step(gradients()[0])
    (state,) = session.state_dict()
    after = session.step([None if i in absent else g for i, g in enumerate(gradients()[1])])
    (new,) = session.state_dict()
    for i in range(len(SHAPES) - 1):
        changed = i not in absent
        assert (after[i] != before[i]).all() == changed
        for key in (f"theta{i}_moment1_0", f"theta{i}_beta1_pow_acc_0"):
            assert bool((new[key] != state[key]).all()) == changed


def test_the_learning_rate_can_be_set() -> None:
    session: Any = adapted(paddle.optimizer.SGD).start(params(), {"lr": 0.3})
    session.set_lr(0.125)

    def make(parameters: Any) -> Any:
        return paddle.optimizer.SGD(0.125, parameters)

    assert_same(stepped(session), stepped_directly(make))


@pytest.mark.parametrize("name", ["AdamW", "Momentum", "RAdam", "RMSProp"])
def test_a_fresh_session_resumes_while_the_old_one_goes_on(name: str) -> None:
    adapter = adapted(getattr(paddle.optimizer, name))
    old: Any = adapter.start(params(), GIVEN)
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
    session = adapted(paddle.optimizer.Momentum).start(theta, {"lr": 0.3, "momentum": 0.8})
    for array in theta:
        array[...] = np.nan
    for grads in gradients():
        arrays = session.step(grads)
        for g in grads:
            g[...] = np.nan

    def make(parameters: Any) -> Any:
        return paddle.optimizer.Momentum(0.3, 0.8, parameters)

    assert_same(arrays, stepped_directly(make))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("AdamW", {"beta1": 0.5, "beta2": 0.7, "epsilon": 1e-3, "weight_decay": 0.2}),
        ("Momentum", {"momentum": 0.5, "use_nesterov": True, "weight_decay": 0.2}),
        ("SGD", {"weight_decay": 0.2}),
        ("Lamb", {"lamb_weight_decay": 0.2, "always_adapt": True}),
    ],
)
def test_an_instance_stands_for_its_class_with_its_values(
    name: str, arguments: dict[str, Any]
) -> None:
    kind = getattr(paddle.optimizer, name)
    parameter = paddle.create_parameter([2], "float32")
    instance = kind(learning_rate=0.7, parameters=[parameter], **arguments)
    adapter = adapted(instance)
    assert "lr" in adapter.accepted()

    def make(parameters: Any) -> Any:
        return kind(learning_rate=0.3, parameters=parameters, **arguments)

    assert_same(stepped(adapter.start(params(), {"lr": 0.3})), stepped_directly(make))


def make_momentum(parameters: Any, lr: float) -> Any:
    return paddle.optimizer.Momentum(lr, 0.8, parameters)


class Subclass(paddle.optimizer.Momentum):  # type: ignore[misc, name-defined]
    """A user's class with canonical names where Paddle has others."""

    def __init__(self, lr: float, parameters: Any, momentum: float = 0.0) -> None:
        super().__init__(lr, momentum, parameters)


@pytest.mark.parametrize("target", [make_momentum, Subclass])
def test_functions_and_classes_of_the_user_are_recognised(target: Callable[..., Any]) -> None:
    assert framework(target) == "paddle"
    session = adapted(target).start(params(), {"lr": 0.3, "momentum": 0.8})
    assert_same(
        stepped(session), stepped_directly(lambda parameters: make_momentum(parameters, 0.3))
    )


def test_an_instance_that_cannot_be_made_again_is_an_error() -> None:
    instance = Subclass(0.3, [paddle.create_parameter([2], "float32")])
    with pytest.raises(TargetError, match="the value of lr is no attribute of this Subclass"):
        adapted(instance)


def test_a_function_that_returns_no_optimizer_is_an_error() -> None:
    def make(parameters: Any) -> Any:
        return parameters

    with pytest.raises(TargetError, match=r"returned list, not a paddle.optimizer.Optimizer"):
        adapt((Part(make, {}),), "paddle").start(params(), {})


def test_lookahead_starts_where_step_1_leads_and_counts_missing_gradients() -> None:
    """Its cell of the matrix deviates for a parameter of shape (), before this shows."""
    momentum = Part(paddle.optimizer.Momentum, ARGUMENTS)
    around = Part(paddle.incubate.LookAhead, {"k": "k", "alpha": "alpha"}, wraps="argument")
    given = {"lr": 0.25, "momentum": 0.5, "k": 3, "alpha": 0.5}
    theta = [p for p in params() if p.ndim == 1]
    session = adapt((momentum, around), "paddle").start(theta, given)
    optimizer = specification.resolve("lookahead(sgd)", "paddle").with_hyperparameters(**given)
    expected: Any = {str(i): p.astype("float64") for i, p in enumerate(theta)}
    state = optimizer.init(expected)
    random = np.random.default_rng(3)
    for step in range(1, 9):
        gs = [np.asarray(random.normal(size=p.shape), "float32") for p in theta]
        given_gs = [None if i == 1 and step in (1, 3) else g for i, g in enumerate(gs)]
        got = session.step(given_gs)
        named = {str(i): None if g is None else g.astype("float64") for i, g in enumerate(given_gs)}
        expected, state = optimizer.step(expected, named, state)
        for one, other in zip(got, expected.values(), strict=True):
            # at most 8 steps of 10 operations on numbers below 4
            np.testing.assert_allclose(one, other, rtol=0, atol=80 * 4 * 2.0**-24)
    canonical = specification.resolve("lookahead(sgd)").with_hyperparameters(**given)
    assert str(canonical) != str(optimizer)


def test_the_version_is_that_of_the_distribution() -> None:
    assert surroundings(["paddle"])["versions"]["paddle"] == paddle.__version__


def test_adam_is_found_and_adamax_gathers_epsilon() -> None:
    assert refopt.check("paddle.optimizer:Adam", "adam").conforms
    found = refopt.identify("paddle.optimizer:Adamax", "adamax")
    assert found.dialect == "paddle"
