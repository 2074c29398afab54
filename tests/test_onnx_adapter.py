"""Targets of ONNX: operators of its reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from adapting import SHAPES, Setting, assert_same

import refopt
from refopt.adapters.adapt import TargetError, adapt, framework, imported
from refopt.adapters.adapter import Adapter, Part

onnx = pytest.importorskip("onnx", reason="ONNX is not installed")
reference = pytest.importorskip("onnx.reference", reason="ONNX is not installed")

HOME = "onnx.reference.ops.aionnx_preview_training"
DOMAIN = "ai.onnx.preview.training"
ARGUMENTS = {"R": "lr", "alpha": "beta1", "beta": "beta2", "epsilon": "eps"}
SETTING = Setting(ARGUMENTS, steps=4)
params, gradients = SETTING.params, SETTING.gradients
stepped = SETTING.stepped
GIVEN = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6, "eps": 1e-2}
STATES = {"Adam": 2, "Adagrad": 1, "Momentum": 1}
MOMENTUM = {"mode": "standard", "norm_coefficient": 0.0}


def operator(name: str) -> Any:
    return imported(f"{HOME}.op_{name.lower()}:{name}")


def adapted(name: str, **options: Any) -> Adapter:
    return SETTING.adapted(operator(name), **options)


def stepped_by_a_model(name: str, first: int, **attributes: Any) -> list[np.ndarray]:
    """The same steps without refopt: a model of one operator, run by the evaluator."""
    theta = [f"X{i}" for i in range(len(SHAPES))]
    grads = [f"G{i}" for i in range(len(SHAPES))]
    state = [f"S{i}" for i in range(len(SHAPES) * STATES[name])]
    new = [f"{x}_new" for x in theta + state]
    node = onnx.helper.make_node(
        name, ["R", "T", *theta, *grads, *state], new, domain=DOMAIN, **attributes
    )
    values = {
        x: onnx.helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, None)
        for x in ["R", *theta, *grads, *state, *new]
    }
    values["T"] = onnx.helper.make_tensor_value_info("T", onnx.TensorProto.INT64, None)
    graph = onnx.helper.make_graph(
        [node], "step", [values[x] for x in node.input], [values[x] for x in new]
    )
    imports = [onnx.helper.make_opsetid(DOMAIN, 1)]
    model = onnx.helper.make_model(graph, opset_imports=imports)
    evaluator = reference.ReferenceEvaluator(model)
    arrays = [*params(), *(np.zeros_like(p) for _ in range(STATES[name]) for p in params())]
    for count, given in enumerate(gradients(), first):
        scalars = {"R": np.float32(0.3), "T": np.int64(count)}
        tensors = zip([*theta, *state, *grads], [*arrays, *given], strict=True)
        arrays = evaluator.run(None, {**scalars, **dict(tensors)})
    return arrays[: len(SHAPES)]


@pytest.mark.parametrize(
    ("name", "options", "attributes"),
    [
        ("Adam", {}, {"alpha": 0.8, "beta": 0.6, "epsilon": 1e-2}),
        ("Adagrad", {"decay_factor": 0.5}, {"decay_factor": 0.5, "epsilon": 1e-2}),
        ("Momentum", MOMENTUM, {**MOMENTUM, "alpha": 0.8, "beta": 0.6}),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_an_operator_steps_as_the_evaluator_runs_it(
    name: str, options: dict[str, Any], attributes: dict[str, Any], first: int
) -> None:
    if first:
        options = {**options, "T": first}
    session = adapted(name, **options).start(params(), {**GIVEN, "k": 3})
    assert_same(stepped(session), stepped_by_a_model(name, first, **attributes))


def test_an_operator_takes_its_inputs_and_attributes() -> None:
    assert adapted("Adam").accepted() == {"lr", "beta1", "beta2", "eps"}
    assert adapted("Adagrad").accepted() == {"lr", "eps"}
    assert not adapted("Adam").takes_missing


def test_the_learning_rate_can_be_set() -> None:
    session: Any = adapted("Adagrad").start(params(), {"lr": 0.5})
    session.set_lr(0.3)
    assert_same(stepped(session), stepped_by_a_model("Adagrad", 0))


def test_a_fresh_session_resumes_while_the_old_one_goes_on() -> None:
    adapter = adapted("Adam")
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


def test_arrays_of_the_caller_can_be_used_again() -> None:
    theta = params()
    session = adapted("Adam").start(theta, GIVEN)
    for array in theta:
        array[...] = np.nan
    for grads in gradients():
        arrays = session.step(grads)
        for g in grads:
            g[...] = np.nan
    assert_same(arrays, stepped_by_a_model("Adam", 0, alpha=0.8, beta=0.6, epsilon=1e-2))


def test_another_operator_is_an_error() -> None:
    base = imported(f"{HOME}._op_run_training:OpRunTraining")
    with pytest.raises(TargetError, match="OpRunTraining is not an optimizer of ONNX; those are"):
        adapt((Part(base, {}),), framework(base))


def test_adam_corrects_late() -> None:
    assert refopt.identify(f"{HOME}.op_adam:Adam", "adam").dialect == "onnx"
