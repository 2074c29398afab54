"""Targets of tinygrad."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from adapting import Setting, assert_same

import refopt
from refopt.adapters.adapt import TargetError, adapt, framework
from refopt.adapters.adapter import Part

tinygrad = pytest.importorskip("tinygrad", reason="tinygrad is not installed")
optim = pytest.importorskip("tinygrad.nn.optim", reason="tinygrad is not installed")

SHAPES = ((5,), (4, 3), (0,))
ARGUMENTS: Mapping[str, str | tuple[str, ...]] = {
    "lr": "lr",
    "momentum": "momentum",
    "b1": "beta1",
    "b2": "beta2",
    "eps": "eps",
    "weight_decay": "weight_decay",
}
SETTING = Setting(ARGUMENTS, steps=4, shapes=SHAPES)
params, gradients = SETTING.params, SETTING.gradients
adapted, stepped = SETTING.adapted, SETTING.stepped


def stepped_directly(make: Callable[..., Any]) -> list[np.ndarray]:
    """The same steps without refopt, with gradients from a loss."""
    adapted(optim.SGD)  # chooses the device
    with tinygrad.Context(TRAINING=1, CACHELEVEL=0):
        tensors = [tinygrad.Tensor(p).realize() for p in params()]
        optimizer = make(tensors)
        for grads in gradients():
            optimizer.zero_grad()
            losses = [(p * tinygrad.Tensor(g)).sum() for p, g in zip(tensors, grads, strict=True)]
            sum(losses[1:], losses[0]).backward()
            optimizer.step()
        return [tensor.numpy() for tensor in tensors]


@pytest.mark.parametrize("fused", [False, True])
def test_a_function_steps_as_it_does_without_refopt(fused: bool) -> None:
    given = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6, "eps": 1e-2, "k": 3}
    session = adapted(optim.AdamW, fused=fused).start(params(), given)

    def make(tensors: Any) -> Any:
        return optim.AdamW(tensors, lr=0.3, b1=0.8, b2=0.6, eps=1e-2, fused=fused)

    assert_same(stepped(session), stepped_directly(make))


def test_a_class_with_its_decay_as_a_part_steps_as_it_does_without_refopt() -> None:
    part = Part(optim.LAMB, {"weight_decay": "weight_decay"}, wraps="option")
    session = adapted(optim.LAMB, part).start(params(), {"lr": 0.3, "weight_decay": 0.5})
    assert_same(stepped(session), stepped_directly(lambda p: optim.LAMB(p, 0.3, weight_decay=0.5)))


def test_a_parameter_without_axes_is_stepped_where_tinygrad_alone_fails() -> None:
    session = adapted(optim.SGD).start([np.array(1.0, "float32")], {"lr": 0.25})
    assert_same(session.step([np.array(2.0, "float32")]), [np.array(0.5, "float32")])

    with tinygrad.Context(TRAINING=1, CACHELEVEL=0):
        theta = tinygrad.Tensor(1.0)
        theta.grad = tinygrad.Tensor(2.0)
        with pytest.raises(ValueError, match="cannot broadcast tensor to fewer dimensions"):
            optim.SGD([theta], lr=0.25).step()


def test_gradients_that_are_missing_are_not_asked_for() -> None:
    adapter = adapted(optim.SGD)
    assert not adapter.takes_missing
    first, *_ = gradients()
    with pytest.raises(AssertionError):
        adapter.start(params(), {"lr": 0.3}).step([None, *first[1:]])


@pytest.mark.parametrize("many", [False, True])
def test_the_learning_rate_can_be_set(many: bool) -> None:
    def make(tensors: Any, lr: float) -> Any:
        if many:
            return optim.OptimizerGroup(optim.SGD(tensors[:1], lr), optim.SGD(tensors[1:], lr))
        return optim.SGD(tensors, lr)

    session: Any = adapted(make).start(params(), {"lr": 0.3})
    session.set_lr(0.125)
    assert_same(stepped(session), stepped_directly(lambda tensors: make(tensors, 0.125)))


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_a_fresh_session_resumes_while_the_old_one_goes_on(name: str) -> None:
    adapter = adapted(getattr(optim, name))
    given = {"lr": 0.3, "momentum": 0.8}
    old: Any = adapter.start(params(), given)
    old.set_lr(0.1)
    for grads in gradients()[:2]:
        arrays = old.step(grads)
    saved = old.state_dict()
    fresh: Any = adapter.start(arrays, given)
    fresh.load_state_dict(saved)
    for grads in gradients()[2:]:
        expected = old.step(grads)
    for grads in gradients()[2:]:
        arrays = fresh.step(grads)
    assert_same(arrays, expected)
    assert (arrays[1] != params()[1]).all()


def test_arrays_of_the_caller_can_be_used_again() -> None:
    theta = params()
    session = adapted(optim.SGD).start(theta, {"lr": 0.3, "momentum": 0.8})
    for array in theta:
        array[...] = np.nan
    for grads in gradients():
        arrays = session.step(grads)
        for g in grads:
            g[...] = np.nan
    assert_same(arrays, stepped_directly(lambda tensors: optim.SGD(tensors, 0.3, 0.8)))


def test_an_instance_stands_for_its_class_with_its_values() -> None:
    adapted(optim.SGD)  # chooses the device
    instance = optim.SGD([tinygrad.Tensor([1.0])], 0.7, momentum=0.5, weight_decay=0.2)
    adapter = adapted(instance)
    assert adapter.accepted() == {"lr", "momentum", "weight_decay"}
    session = adapter.start(params(), {"lr": 0.3})
    assert_same(stepped(session), stepped_directly(lambda p: optim.SGD(p, 0.3, 0.5, 0.2)))


def make_sgd(tensors: Any, lr: float) -> Any:
    return optim.SGD(tensors, lr, momentum=0.8)


class Subclass(optim.LARS):  # type: ignore[misc, name-defined]
    """A user's class."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.0) -> None:
        super().__init__(params, lr, momentum, 0.0, classic=False, tcoef=0.0)


@pytest.mark.parametrize("target", [make_sgd, Subclass])
def test_functions_and_classes_of_the_user_are_recognised(target: Callable[..., Any]) -> None:
    assert framework(target) == "tinygrad"
    session = adapted(target).start(params(), {"lr": 0.3, "momentum": 0.8})
    assert_same(stepped(session), stepped_directly(lambda p: optim.SGD(p, 0.3, 0.8)))


def test_a_function_that_returns_no_optimizer_is_an_error() -> None:
    def make(tensors: Any) -> Any:
        return tensors

    with pytest.raises(TargetError, match=r"returned list, not a tinygrad.nn.optim.Optimizer"):
        adapt((Part(make, {}),), "tinygrad").start(params(), {})


def test_a_device_that_cannot_be_used_is_an_error_that_says_what_to_do() -> None:
    with (
        tinygrad.Context(DEV="NV"),
        pytest.raises(TargetError, match=r"tinygrad cannot use its device NV: .*set .*DEV=PYTHON"),
    ):
        adapted(optim.SGD)


def test_sgd_is_torchs_without_dampening() -> None:
    assert refopt.check("tinygrad.nn.optim:SGD", "sgd(dampening=0.0)").conforms
    assert not refopt.check("tinygrad.nn.optim:SGD", "sgd_ema").conforms
