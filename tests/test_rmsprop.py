"""RMSprop: the averages in 50 digits, torch, other backends, NaN and infinity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest
from conftest import Backend
from scalars import assert_proven
from trajectory import (
    GRADIENTS,
    RATES,
    assert_backends_agree,
    assert_conforms,
    assert_equals,
    assert_stays_where_it_came_in,
    cells,
    run,
)

from refopt.catalog import build
from refopt.specification import Cell

FORMS = (
    "rmsprop",
    "rmsprop_epsilon_inside",
    "rmsprop_lr_inside",
    "rmsprop_epsilon_lr_inside",
)


def test_code_and_specification_are_equal() -> None:
    assert_proven("rmsprop", *FORMS)


STEPS = list(zip(RATES, GRADIENTS, strict=True))

RHO, EPS = Decimal("0.625"), Decimal("0.25")


def decayed_sum(values: list[Decimal], decay: Decimal) -> Decimal:
    """``values[-1] + decay*values[-2] + decay**2*values[-3] + ...``."""
    terms = [values[-1], *(decay**age * x for age, x in enumerate(values[-2::-1], 1))]
    return sum(terms, start=Decimal(0))


def averages(
    form: str, momentum: Decimal, centered: bool, nesterov: bool, initial: Decimal
) -> Iterator[Decimal]:
    """The parameter after each step, from sums over all gradients and directions so far."""
    theta, parts = Decimal("1.5"), list[Decimal]()
    gradients = [Decimal(g) for g in GRADIENTS]
    for t, (g, rate) in enumerate(zip(gradients, map(Decimal, RATES), strict=True), 1):
        square = (1 - RHO) * decayed_sum([x**2 for x in gradients[:t]], RHO) + RHO**t * initial
        mean = (1 - RHO) * decayed_sum(gradients[:t], RHO)
        variance = square - mean**2 if centered else square
        root = (variance + EPS).sqrt() if "epsilon" in form else variance.sqrt() + EPS
        inside, outside = (rate, Decimal(1)) if "lr" in form else (Decimal(1), rate)
        parts.append(inside * g / root)
        buffer = decayed_sum(parts, momentum)
        theta -= outside * (momentum * buffer + parts[-1] if nesterov else buffer)
        yield theta


CASES = [
    (form, momentum, centered, nesterov, initial)
    for form in FORMS
    for momentum in (0.0, 0.75)
    for centered in (False, True)
    for nesterov, initial in itertools.product((False, True), (0.0, 0.5))
    if "lr" in form or not (nesterov or initial)
]


@pytest.mark.parametrize(("form", "momentum", "centered", "nesterov", "initial"), CASES)
def test_averages_of_squares(
    form: str, momentum: float, centered: bool, nesterov: bool, initial: float
) -> None:
    optimizer = build(form).with_hyperparameters(
        rho=float(RHO), eps=float(EPS), momentum=momentum, centered=centered
    )
    if "lr" in form:
        optimizer = optimizer.with_hyperparameters(nesterov=nesterov, initial_accumulator=initial)
    assert_equals(
        str(optimizer),
        1.5,
        STEPS,
        lambda: averages(form, Decimal(momentum), centered, nesterov, Decimal(initial)),
    )


def test_by_hand() -> None:
    """Rho = 0.75: 2 gives a mean square of 1, then 1 one of 1; momentum halves what was."""
    steps = [(1.0, g) for g in (2.0, -1.0, 1.0)]
    optimizer = build("rmsprop(rho=0.75, eps=1.0, momentum=0.5)")
    thetas = run(optimizer, np.array, 0.0, steps)
    assert [theta.item() for theta in thetas] == [-1.0, -1.0, -1.5]


def test_centered_by_hand() -> None:
    """Rho = 0.5 and gradients 2, 6: variances 2 - 1 = 1, then 19 - 12.25 = 6.75."""
    steps = [(1.0, g) for g in (2.0, 6.0)]
    thetas = run(build("rmsprop(rho=0.5, eps=1.0, centered=True)"), np.array, 0.0, steps)
    assert [theta.item() for theta in thetas] == [-1.0, -1.0 - 6.0 / (math.sqrt(6.75) + 1.0)]


@pytest.mark.parametrize("form", FORMS)
def test_without_momentum_no_buffer_is_read(form: str) -> None:
    """0*inf is NaN. With eps = 0 a first gradient of zero is 0/0; the parameter alone keeps it."""
    optimizer = build(form).with_hyperparameters(eps=0.0)
    theta = np.zeros(1)
    _, state = optimizer.step(theta, np.zeros(1), optimizer.init(theta), lr=0.5)
    assert np.isnan(state[""][next(key for key in state[""] if key.endswith((".b", ".u")))])
    theta, _ = optimizer.step(theta, np.ones(1), state, lr=0.5)
    assert np.isfinite(theta)


@pytest.mark.parametrize("momentum", [0.0, 0.75])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_came_in(
    form: str, momentum: float, value: float
) -> None:
    assert_stays_where_it_came_in(build(form).with_hyperparameters(momentum=momentum), value)


@pytest.mark.parametrize(("target", "dialect", "cell"), cells("rmsprop"))
def test_frameworks_conform_in_double_precision(target: str, dialect: str, cell: Cell) -> None:
    assert_conforms(target, dialect, cell)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_backends_agree(backend: Backend, form: str, dtype: str) -> None:
    expression = f"{form}(rho=0.7, eps=0.01, momentum=0.8, centered=True)"
    assert_backends_agree(backend, expression, dtype)
