"""SGD: closed-form sums in exact rational arithmetic, torch, other backends, NaN and infinity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from numpy.typing import NDArray
from scalars import assert_proven

import refopt
from refopt.arithmetic.bounds import FLOAT64, FORMATS, Bounded, distance
from refopt.catalog import build
from refopt.optimizer import Optimizer
from refopt.specification import Cell, load

Rationals = Sequence[Fraction]

# Few binary digits each, so that float64 arithmetic on them is exact.
THETA = Fraction(3, 2)
GRADIENTS = tuple(Fraction(n, 4) for n in (12, -4, 10, 0, -7, 3))
RATES = tuple(Fraction(n, 8) for n in (4, 2, 8, 1, 6, 3))
MOMENTUM, DAMPENING = Fraction(3, 4), Fraction(1, 4)

FORMS = ("sgd", "sgd_zero_buffer", "sgd_ema", "sgd_lr_inside", "sgd_hidden_accumulation")


def test_code_and_specification_are_equal() -> None:
    assert_proven("sgd", *FORMS)


def trajectory(optimizer: Optimizer, gradients: Rationals = GRADIENTS) -> list[Fraction]:
    """The parameter after each step, in float64 and on to a rational without rounding."""
    theta = np.array(float(THETA))
    state = optimizer.init(theta)
    thetas = []
    for g, lr in zip(gradients, RATES, strict=True):
        theta, state = optimizer.step(theta, np.array(float(g)), state, lr=float(lr))
        thetas.append(Fraction(float(theta)))
    return thetas


def decayed_sum(values: Rationals, decay: Fraction) -> Fraction:
    """``values[-1] + decay*values[-2] + decay**2*values[-3] + ...``."""
    return sum((decay**age * x for age, x in enumerate(reversed(values))), start=Fraction(0))


def after(steps: Rationals) -> list[Fraction]:
    return [THETA - total for total in itertools.accumulate(steps)]


@pytest.mark.parametrize("dampening", [Fraction(0), DAMPENING], ids=["", "dampening"])
@pytest.mark.parametrize("nesterov", [False, True], ids=["", "nesterov"])
@pytest.mark.parametrize("form", ["sgd", "sgd_zero_buffer"])
def test_buffers_of_gradients(form: str, nesterov: bool, dampening: Fraction) -> None:
    weights = [1 - dampening] * len(GRADIENTS)
    if form == "sgd":
        weights[0] = Fraction(1)
    parts = [w * g for w, g in zip(weights, GRADIENTS, strict=True)]
    steps = []
    for t, (g, lr) in enumerate(zip(GRADIENTS, RATES, strict=True), 1):
        buffer = decayed_sum(parts[:t], MOMENTUM)
        steps.append(lr * (g + MOMENTUM * buffer if nesterov else buffer))
    optimizer = build(form).with_hyperparameters(
        momentum=float(MOMENTUM), dampening=float(dampening), nesterov=nesterov
    )
    assert trajectory(optimizer) == after(steps)


@pytest.mark.parametrize("nesterov", [False, True], ids=["", "nesterov"])
def test_buffer_of_steps_keeps_the_learning_rate_of_each(nesterov: bool) -> None:
    plain = [lr * g for g, lr in zip(GRADIENTS, RATES, strict=True)]
    steps = []
    for t in range(1, len(plain) + 1):
        buffer = decayed_sum(plain[:t], MOMENTUM)
        steps.append(plain[t - 1] + MOMENTUM * buffer if nesterov else buffer)
    optimizer = build("sgd_lr_inside(momentum=0.75)").with_hyperparameters(nesterov=nesterov)
    assert trajectory(optimizer) == after(steps)


def test_moving_average() -> None:
    averages = [(1 - MOMENTUM) * decayed_sum(GRADIENTS[:t], MOMENTUM) for t in range(1, 7)]
    steps = [lr * m for m, lr in zip(averages, RATES, strict=True)]
    assert trajectory(build("sgd_ema(momentum=0.75)")) == after(steps)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_accumulation_hidden_in_momentum_is_exact(k: int) -> None:
    """A step on the mean of every k gradients; k is a power of two so that it divides exactly."""
    means = [sum(GRADIENTS[i : i + k]) / Fraction(k) for i in range(0, len(GRADIENTS) - k + 1, k)]
    steps = [Fraction(0)] * len(GRADIENTS)
    for i in range(len(means)):
        end = (i + 1) * k - 1
        steps[end] = RATES[end] * (1 - MOMENTUM) * decayed_sum(means[: i + 1], MOMENTUM)
    hidden = trajectory(build(f"sgd_hidden_accumulation(momentum=0.75, k={k})"))
    assert hidden == after(steps)
    assert hidden == trajectory(build(f"gradient_accumulation(sgd_ema(momentum=0.75), k={k})"))


@pytest.mark.parametrize(
    "expression",
    [
        "sgd(dampening=0.25)",
        "sgd(nesterov=True)",
        "sgd_zero_buffer(dampening=0.25)",
        "sgd_ema(momentum=0.0)",
        "sgd_lr_inside(nesterov=True)",
    ],
)
def test_without_momentum_every_form_is_gradient_descent(expression: str) -> None:
    steps = [lr * g for g, lr in zip(GRADIENTS, RATES, strict=True)]
    assert trajectory(build(expression)) == after(steps)


def test_the_first_buffer_is_the_first_gradient_of_each_parameter() -> None:
    """Each parameter counts its own steps: a late first gradient is undampened as well."""
    optimizer = build("sgd(lr=1.0, momentum=0.75, dampening=0.25)")
    params = {"early": np.array(0.0), "late": np.array(0.0)}
    state = optimizer.init(params)
    for g in ({"early": 4.0, "late": None}, {"early": 8.0, "late": 4.0}):
        grads = {name: None if x is None else np.array(x) for name, x in g.items()}
        params, state = optimizer.step(params, grads, state)
    assert params == {"early": -4.0 - (3.0 + 6.0), "late": -4.0}


@pytest.mark.parametrize("form", ["sgd", "sgd_zero_buffer", "sgd_lr_inside"])
def test_without_momentum_an_infinite_gradient_does_not_return(form: str) -> None:
    """0*inf is NaN: a buffer that nobody asked for must not be read."""
    optimizer = build(form)
    params, state = np.zeros(2), optimizer.init(np.zeros(2))
    for g in ([1.0, 1.0], [math.inf, 1.0], [1.0, 1.0]):
        params, state = optimizer.step(params, np.array(g), state)
    assert params[0] == -math.inf
    assert math.isfinite(params[1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(form: str, value: float) -> None:
    optimizer = build(form).with_hyperparameters(momentum=0.75)
    params, state = np.zeros(3), optimizer.init(np.zeros(3))
    for t in range(1, 9):
        g = np.array([1.0, value if t == 2 else 1.0, 1.0])
        params, state = optimizer.step(params, g, state)
    assert np.array_equal(params[1], -value, equal_nan=True)
    assert np.all(np.isfinite(params[[0, 2]]))


TORCH_CELLS = load("sgd").dialects["torch"].cells


@pytest.mark.parametrize("cell", TORCH_CELLS, ids=str)
def test_torch_conforms_in_float64(cell: Cell) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    verdict = refopt.check(
        "torch.optim:SGD", cell.spec, dialect="torch", dtype="float64", options=cell.options
    )
    assert verdict.conforms is not bool(cell.deviates), verdict


SHAPES: tuple[tuple[int, ...], ...] = ((), (5,), (4, 3), (0,))


def run(optimizer: Optimizer, asarray: Callable[[NDArray[Any]], Any]) -> list[Any]:
    """The parameters after six random gradients, on the arrays that ``asarray`` makes."""
    random = np.random.default_rng(0)
    params = [asarray(np.asarray(random.standard_normal(shape))) for shape in SHAPES]
    state = optimizer.init(params)
    for _ in range(6):
        grads = [asarray(np.asarray(random.standard_normal(shape))) for shape in SHAPES]
        params, state = optimizer.step(params, grads, state)
    return params


def bounded(optimizer: Optimizer, dtype: str) -> list[Bounded]:
    """The same, with error bounds for arithmetic in ``dtype``."""
    exact = optimizer.lifted(lambda _, value: Bounded(value, 0.0, FLOAT64))
    return run(exact, lambda x: Bounded.exact(x.astype(dtype), FORMATS[dtype]))


@pytest.mark.parametrize("options", [{}, {"dampening": 0.3}, {"nesterov": True}], ids=str)
def test_torch_fused_conforms_where_all_gradients_come_together(options: dict[str, Any]) -> None:
    """What the cells of fused momentum cannot show, since a late first gradient makes it raise."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    hyperparameters = {"lr": 0.3, "momentum": 0.8, **options}
    random = np.random.default_rng(0)
    tensors = [torch.tensor(random.standard_normal(shape)) for shape in SHAPES]
    fused = torch.optim.SGD(tensors, fused=True, **hyperparameters)
    for _ in range(6):
        for tensor in tensors:
            tensor.grad = torch.tensor(random.standard_normal(tensor.shape))
        fused.step()
    optimizer = build("sgd").with_hyperparameters(**hyperparameters)
    for tensor, expected in zip(tensors, bounded(optimizer, "float64"), strict=True):
        assert np.all(distance(tensor.numpy(), expected) <= 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    optimizer = build(form).with_hyperparameters(lr=0.3, momentum=0.8)
    on_numpy = run(optimizer, lambda x: x.astype(dtype))
    on_backend = run(optimizer, lambda x: backend.asarray(x, dtype))
    for got, same, expected in zip(
        map(backend.numpy, on_backend), on_numpy, bounded(optimizer, dtype), strict=True
    ):
        assert got.dtype == dtype
        assert np.all(distance(got, expected) <= 1)
        # on the GPU a power may round otherwise
        assert backend.name == "cupy" or np.array_equal(got, same)
