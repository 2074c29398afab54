"""Targets of PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from adapting import Setting, assert_same

from refopt.adapters.adapt import TargetError, adapt, framework
from refopt.adapters.adapter import Part

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

NAMES = ("lr", "momentum", "eps", "weight_decay")
ARGUMENTS: Mapping[str, str | tuple[str, ...]] = {
    "betas": ("beta1", "beta2"),
    **{name: name for name in NAMES},
}
SETTING = Setting(ARGUMENTS, steps=6)
params, gradients = SETTING.params, SETTING.gradients
adapted, stepped = SETTING.adapted, SETTING.stepped


def stepped_directly(make: Callable[..., Any], dtype: str = "float32") -> list[np.ndarray]:
    """The same steps without refopt."""
    tensors = [torch.nn.Parameter(torch.tensor(p)) for p in params(dtype)]
    optimizer = make(tensors)
    for grads in gradients(dtype):
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.tensor(g)
        optimizer.step()
    return [tensor.detach().numpy() for tensor in tensors]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{"foreach": False}, {"foreach": True}, {"fused": True}])
def test_a_class_steps_as_it_does_without_refopt(options: dict[str, Any], dtype: str) -> None:
    given = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6, "eps": 1e-2, "k": 3}
    session = adapted(torch.optim.AdamW, **options).start(params(dtype), given)

    def make(tensors: Any) -> Any:
        return torch.optim.AdamW(tensors, lr=0.3, betas=(0.8, 0.6), eps=1e-2, **options)

    assert_same(stepped(session, dtype), stepped_directly(make, dtype))


def test_parameters_are_spread_over_two_groups() -> None:
    session: Any = adapted(torch.optim.SGD).start(params(), {"lr": 0.3})
    assert [len(group["params"]) for group in session.optimizer.param_groups] == [2, 3]
    session = adapted(torch.optim.SGD).start(params()[:1], {"lr": 0.3})
    assert [len(group["params"]) for group in session.optimizer.param_groups] == [1]


def test_a_missing_gradient_changes_neither_parameter_nor_state() -> None:
    session: Any = adapted(torch.optim.Adam).start(params(), {"lr": 0.3})
    before = session.step(gradients()[0])
    state = session.state_dict()["state"][1]
    after = session.step([None if i == 1 else g for i, g in enumerate(gradients()[1])])
    np.testing.assert_array_equal(after[1], before[1])
    assert (after[2] != before[2]).all()
    assert session.state_dict()["state"][1]["step"] == 1
    assert torch.equal(session.state_dict()["state"][1]["exp_avg"], state["exp_avg"])


@pytest.mark.parametrize("option", [None, "tensor"])
def test_the_learning_rate_can_be_set(option: str | None) -> None:
    own = torch.tensor(0.25)
    options = {"lr": own} if option else {}
    session: Any = adapted(torch.optim.SGD, **options).start(params(), {"lr": 0.25})
    session.set_lr(0.5)
    assert_same(stepped(session), stepped_directly(lambda p: torch.optim.SGD(p, lr=0.5)))
    assert own == 0.25


def test_a_fresh_session_resumes_while_the_old_one_goes_on() -> None:
    adapter = adapted(torch.optim.Adam)
    old: Any = adapter.start(params(), {"lr": 0.3})
    for grads in gradients()[:3]:
        arrays = old.step(grads)
    saved = old.state_dict()
    fresh: Any = adapter.start(arrays, {"lr": 0.3})
    fresh.load_state_dict(saved)
    for grads in gradients()[3:]:
        expected = old.step(grads)
    for grads in gradients()[3:]:
        arrays = fresh.step(grads)
    assert_same(arrays, expected)
    again: Any = adapter.start(params(), {"lr": 0.3})
    again.load_state_dict(saved)
    assert again.state_dict()["state"][1]["step"] == 3


def test_an_instance_stands_for_its_class_with_its_defaults() -> None:
    own = torch.nn.Parameter(torch.ones(2))
    instance = torch.optim.AdamW([own], lr=0.7, betas=(0.5, 0.9), amsgrad=True, foreach=True)
    adapter = adapted(instance)
    assert adapter.accepted() == {"lr", "beta1", "beta2", "eps", "weight_decay"}

    def make(tensors: Any) -> Any:
        return torch.optim.AdamW(tensors, lr=0.3, betas=(0.8, 0.9), amsgrad=True, foreach=True)

    session = adapter.start(params(), {"lr": 0.3, "beta1": 0.8})
    assert_same(stepped(session), stepped_directly(make))
    assert not instance.state


def make_sgd(params: Any, lr: float) -> Any:
    return torch.optim.SGD(params, lr=lr)


def make_annotated(params: Any, lr: float) -> torch.optim.Optimizer:  # type: ignore[name-defined]
    return make_sgd(params, lr)


class Subclass(torch.optim.SGD):  # type: ignore[misc, name-defined]
    """A user's class with canonical names where torch has others."""

    def __init__(self, params: Any, lr: float, alpha: float = 1.0) -> None:
        super().__init__(params, lr=lr * alpha)


@pytest.mark.parametrize("target", [make_sgd, make_annotated, Subclass])
def test_functions_and_classes_of_the_user_are_recognised(target: Any) -> None:
    assert framework(target) == "torch"
    session = adapted(target).start(params(), {"lr": 0.3, "momentum": 0.5})
    assert_same(stepped(session), stepped_directly(lambda p: torch.optim.SGD(p, lr=0.3)))


library = ModuleType("library")
library.Descent = type("Descent", (torch.optim.SGD,), {})  # type: ignore[attr-defined]


def make_with_library(params: Any, lr: float) -> Any:
    return library.Descent(params, lr)


def make_as_annotated(params: Any, lr: float) -> library.Descent:  # type: ignore[name-defined]
    return math.prod([library.Descent(params, lr)], start=1)


def make_with_nothing_known(params: Any, lr: float) -> Any:
    return math.prod([library, params, lr])


def test_functions_that_use_a_library_on_top_of_torch_are_recognised() -> None:
    assert framework(make_with_library) == "torch"
    assert framework(make_as_annotated) == "torch"
    assert framework(make_with_nothing_known) is None
    session = adapted(make_with_library).start(params(), {"lr": 0.3})
    assert_same(stepped(session), stepped_directly(lambda p: torch.optim.SGD(p, lr=0.3)))


def test_an_argument_under_a_canonical_name_takes_that_hyperparameter() -> None:
    adapter = adapted(Subclass)
    assert adapter.accepted() == {"lr", "alpha"}
    session = adapter.start(params(), {"lr": 0.5, "alpha": 0.5})
    assert_same(stepped(session), stepped_directly(lambda p: torch.optim.SGD(p, lr=0.25)))


def test_an_argument_of_torch_takes_only_what_it_is_mapped_to() -> None:
    adapter = adapt((Part(torch.optim.SGD, {"lr": "lr"}),), "torch")
    assert adapter.accepted() == {"lr"}


def test_an_instance_that_cannot_be_made_again_is_an_error() -> None:
    instance = Subclass([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    with pytest.raises(TargetError, match="the value of alpha is not in the defaults"):
        adapted(instance)


def test_a_function_that_returns_no_optimizer_is_an_error() -> None:
    def make(params: Any) -> Any:
        return torch.optim.lr_scheduler, params

    with pytest.raises(TargetError, match=r"returned tuple, not a torch.optim.Optimizer"):
        adapted(make).start(params(), {})


def test_a_plain_target_that_uses_torch_inside_stays_plain() -> None:
    class Wrapped:
        def __init__(self, params: list[np.ndarray]) -> None:
            self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.tensor(p)) for p in params])

    def make(params: list[np.ndarray]) -> Any:
        return Wrapped([torch.tensor(p).numpy() for p in params])

    assert framework(Wrapped) is None
    assert framework(make) is None
