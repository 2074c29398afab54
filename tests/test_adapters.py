"""Parts, plain targets, and how a target's adapter is found."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refopt.adapters.adapt import TargetError, adapt, framework, imported
from refopt.adapters.adapter import Gradients, Part, with_options

ADAM: Mapping[str, str | tuple[str, ...]] = {
    "learning_rate": "lr",
    "betas": ("beta1", "beta2"),
    "epsilon": "eps",
}


def adam(learning_rate: float, betas: Sequence[float] = (0.9, 0.999)) -> Any:
    """A framework's function, with names of its own and no epsilon."""
    return learning_rate, betas


class GradientDescent:
    """The smallest plain target."""

    def __init__(self, params: list[np.ndarray], lr: float = 0.5, *, scale: float = 1.0) -> None:
        self.params, self.lr, self.scale = params, lr, scale

    def step(self, grads: Gradients) -> list[np.ndarray]:
        for i, g in enumerate(grads):
            if g is not None:
                self.params[i] -= self.lr * self.scale * g
        return self.params


def test_a_part_accepts_what_its_arguments_take() -> None:
    assert Part(adam, ADAM).accepted() == {"lr", "beta1", "beta2"}


def test_a_part_that_takes_any_argument_accepts_all_that_are_mapped() -> None:
    def anything(**arguments: Any) -> Any:
        return arguments

    assert Part(anything, ADAM).accepted() == {"lr", "beta1", "beta2", "eps"}


def test_a_part_accepts_nothing_that_an_option_sets() -> None:
    part = Part(adam, ADAM, options={"betas": (0.1, 0.2)})
    assert part.accepted() == {"lr"}
    given = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6}
    assert part.translated(given) == {"learning_rate": 0.3, "betas": (0.1, 0.2)}


def test_what_cannot_be_called_accepts_nothing() -> None:
    instance: Any = object()
    assert Part(instance, ADAM).accepted() == frozenset()


def test_a_callable_that_hides_its_arguments_is_an_error() -> None:
    with pytest.raises(TargetError, match="put a Python function around it"):
        Part(dict, ADAM).accepted()


def test_hyperparameters_are_translated_and_others_left_out() -> None:
    given = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6, "eps": 1e-2, "momentum": 0.5}
    assert Part(adam, ADAM).translated(given) == {"learning_rate": 0.3, "betas": (0.8, 0.6)}


def test_an_argument_for_several_has_its_default_for_those_that_are_not_given() -> None:
    assert Part(adam, ADAM).translated({"beta2": 0.6}) == {"betas": (0.9, 0.6)}
    for betas in ((0.5, 0.7), [0.5, 0.7]):
        called = partial(adam, betas=betas)
        assert Part(called, ADAM).translated({"beta1": 0.6}) == {"betas": (0.6, 0.7)}
    assert Part(adam, ADAM).translated({"lr": 0.3}) == {"learning_rate": 0.3}


def test_parts_that_are_options_extend_the_innermost_call() -> None:
    def sgd(lr: float, clipnorm: float | None = None) -> Any:
        return lr, clipnorm

    clip = Part(sgd, {"clipnorm": "max_norm"}, wraps="option")
    given = {"lr": 0.3, "max_norm": 1.7}
    assert with_options([Part(sgd, {"lr": "lr"}), clip], given) == {"lr": 0.3, "clipnorm": 1.7}


def test_a_part_that_is_no_option_is_refused_where_only_options_can_be() -> None:
    around = Part(adam, {}, wraps="argument")
    with pytest.raises(TargetError, match="cannot go around"):
        with_options([Part(adam, ADAM), around], {})


def plain(factory: Callable[..., Any], **options: Any) -> Any:
    return adapt((Part(factory, {"lr": "lr", "eps": "eps"}, options=options),), None)


def test_a_plain_target_gets_the_hyperparameters_that_it_accepts() -> None:
    adapter = plain(GradientDescent)
    assert adapter.accepted() == {"lr"}
    session = adapter.start([np.array([1.0])], {"lr": 0.25, "eps": 1e-2})
    np.testing.assert_array_equal(session.step([np.array([2.0])]), [[0.5]])
    np.testing.assert_array_equal(session.step([None]), [[0.5]])


def test_a_plain_target_gets_its_options() -> None:
    session = plain(GradientDescent, scale=3.0).start([np.array([1.0])], {"lr": 0.25})
    np.testing.assert_array_equal(session.step([np.array([2.0])]), [[-0.5]])


def test_a_plain_target_works_on_copies_of_the_parameters() -> None:
    param = np.array([1.0])
    plain(GradientDescent).start([param], {}).step([np.array([2.0])])
    np.testing.assert_array_equal(param, [1.0])


def test_a_plain_target_without_step_is_an_error() -> None:
    def make(params: list[np.ndarray]) -> list[np.ndarray]:
        return params

    with pytest.raises(TargetError, match=r"returned list, which has no method step\(grads\)"):
        plain(make).start([np.array([1.0])], {})


def test_a_target_that_cannot_be_called_is_an_error() -> None:
    with pytest.raises(TargetError, match="list cannot be called; a target is a class or function"):
        plain([1, 2])  # type: ignore[arg-type]


def test_nothing_goes_around_a_plain_target() -> None:
    around = Part(adam, {}, wraps="argument")
    with pytest.raises(TargetError, match="nothing can go around"):
        adapt((Part(GradientDescent, {}), around), None)


@pytest.mark.parametrize("target", [GradientDescent, GradientDescent([]), adam, 3, lambda p: p])
def test_a_target_of_no_framework_is_plain(target: object) -> None:
    assert framework(target) is None


def test_a_target_is_imported_by_its_name(tmp_path: Path) -> None:
    assert (
        imported("collections:OrderedDict.fromkeys")
        == __import__("collections").OrderedDict.fromkeys
    )
    file = tmp_path / "own_target.py"
    file.write_text("class Mine:\n    pass\n")
    assert imported(f"{file}:Mine").__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("collections", "not of the form package.module:attribute"),
        ("no_such_package.x:y", "cannot import no_such_package.x"),
        ("collections:Nothing", "collections has no attribute 'Nothing'"),
        ("no/such/file.py:y", "there is no file no/such/file.py"),
    ],
)
def test_a_target_that_does_not_exist_is_an_error(name: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        imported(name)


def test_a_file_that_fails_when_imported_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "failing.py"
    file.write_text("raise RuntimeError('no luck')")
    with pytest.raises(TargetError, match=r"cannot import .*failing.py: RuntimeError: no luck"):
        imported(f"{file}:x")


def backend_of_keras(
    monkeypatch: pytest.MonkeyPatch, installed: str, chosen: str | None
) -> str | None:
    monkeypatch.setenv("KERAS_BACKEND", chosen or "")
    if chosen is None:
        monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: name if name in installed else None
    )
    imported("collections:OrderedDict")
    return os.environ.get("KERAS_BACKEND")


@pytest.mark.parametrize(
    ("installed", "backend"), [("jax torch", "jax"), ("torch", "torch"), ("", None)]
)
def test_keras_is_given_a_backend_that_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: str, backend: str | None
) -> None:
    assert backend_of_keras(monkeypatch, installed, None) == backend


def test_a_backend_of_keras_that_was_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend_of_keras(monkeypatch, "jax", "tensorflow") == "tensorflow"
