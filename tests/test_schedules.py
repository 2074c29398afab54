"""Schedules: against numbers worked out by hand, against frameworks, and what sources promise."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from refopt.arithmetic.bounds import BOUNDS, FLOAT32, FLOAT64, Bounded, distance
from refopt.arithmetic.symbols import SYMBOLS
from refopt.catalog import VARIANTS, build
from refopt.oracle.proof import equalities
from refopt.specification import load, names, resolve
from refopt.xp import namespace

Step = Callable[[int], float]

SCHEDULES = [name for name in names() if load(name).kind == "schedule"]
FUNCTIONS = [name for schedule in SCHEDULES for name in (schedule, *load(schedule).forms)]
XP = namespace(np.ones(1))

ROUNDOFF_64, ROUNDOFF_32 = 2.0**-53, 2.0**-24
OPERATIONS = 16
"""More than any of these factors takes to compute, on either side."""


def factor(name: str, t: int, **hyperparameters: Any) -> float:
    """A factor as floating-point numbers give it."""
    return float(VARIANTS[name].default.function(XP, t, **hyperparameters))


def exact_factor(name: str, t: int, **hyperparameters: Any) -> Any:
    """A factor as exact arithmetic gives it: a SymPy number."""
    given = {k: sp.sympify(v, rational=True) for k, v in hyperparameters.items() if k != "schedule"}
    if "schedule" in hyperparameters:
        given["schedule"] = {
            step: sp.sympify(value, rational=True)
            for step, value in hyperparameters["schedule"].items()
        }
    return VARIANTS[name].default.function(SYMBOLS, sp.Integer(t), **given)


def slack(operations: int, roundoff: float) -> float:
    """How far two evaluations of that many operations each may differ.

    Every intermediate result is at most 4 (the argument of a cosine at most pi), and no operation
    here magnifies the error of what it is given.
    """
    return 2 * operations * 4 * roundoff


BY_HAND: dict[str, tuple[dict[str, Any], dict[int, str]]] = {
    "constant": ({"factor": "3/8"}, {1: "3/8", 7: "3/8"}),
    "warmup": ({"warmup_steps": 4}, {1: "1/4", 2: "1/2", 3: "3/4", 4: "1", 5: "1", 99: "1"}),
    "warmup_zero_based": ({"warmup_steps": 4}, {1: "0", 2: "1/4", 4: "3/4", 5: "1", 99: "1"}),
    "exponential": (
        {"decay_rate": "1/4", "decay_steps": 2},
        {1: "1", 2: "1/2", 3: "1/4", 4: "1/8", 7: "1/64"},
    ),
    "step_decay": (
        {"decay_rate": "1/10", "decay_steps": 3},
        {1: "1", 3: "1", 4: "1/10", 6: "1/10", 7: "1/100"},
    ),
    "cosine": (
        {"decay_steps": 6, "end_factor": "1/5"},
        {1: "1", 3: "4/5", 4: "3/5", 5: "2/5", 7: "1/5", 8: "1/5", 99: "1/5"},
    ),
    "cosine_periodic": (
        {"decay_steps": 6, "end_factor": "1/5"},
        {1: "1", 3: "4/5", 7: "1/5", 9: "2/5", 10: "3/5", 13: "1", 19: "1/5"},
    ),
    "cosine_restarts": (
        {"decay_steps": 6, "end_factor": "1/5"},
        {1: "1", 3: "4/5", 5: "2/5", 7: "1", 9: "4/5", 13: "1", 17: "2/5"},
    ),
    # cycles of 3, 6, 12 steps begin at 1, 4, 10 and 22
    "cosine_growing_restarts": (
        {"decay_steps": 3, "t_mult": 2},
        {1: "1", 2: "3/4", 3: "1/4", 4: "1", 6: "3/4", 8: "1/4", 10: "1", 14: "3/4", 22: "1"},
    ),
    "polynomial": (
        {"decay_steps": 4, "power": "2", "end_factor": "1/5"},
        {1: "1", 2: "13/20", 3: "2/5", 4: "1/4", 5: "1/5", 99: "1/5"},
    ),
    # the peak is at step 6, the end at step 11
    "one_cycle": (
        {"total_steps": 11, "pct_start": "6/11", "div_factor": 4, "final_div_factor": 10},
        {1: "1/4", 6: "1", 11: "1/40", 12: "1/40", 99: "1/40"},
    ),
    # halves of the way up and down
    "one_cycle_linear": (
        {"total_steps": 9, "pct_start": "5/9", "div_factor": 4, "final_div_factor": 10},
        {1: "1/4", 2: "7/16", 3: "5/8", 5: "1", 7: "41/80", 9: "1/40", 10: "1/40"},
    ),
    # up to step 5, down until step 9, out until step 11
    "one_cycle_three_phase": (
        {"total_steps": 11, "pct_start": "5/11", "div_factor": 4, "final_div_factor": 10},
        {1: "1/4", 3: "5/8", 5: "1", 7: "5/8", 9: "1/4", 10: "11/80", 11: "1/40", 12: "1/40"},
    ),
    "inverse_sqrt": ({"warmup_steps": 4}, {1: "1/8", 2: "1/4", 4: "1/2", 9: "1/3", 16: "1/4"}),
    "inverse_time": ({"decay": "1/2"}, {1: "1", 2: "2/3", 3: "1/2", 7: "1/4"}),
    "piecewise_linear": (
        {"schedule": {4: "1", 8: "1/2"}},
        {1: "1/4", 3: "3/4", 4: "1", 5: "7/8", 8: "1/2", 9: "1/2", 99: "1/2"},
    ),
    "piecewise_linear_zero_based": (
        {"schedule": {4: "1", 8: "1/2"}},
        {1: "0", 2: "1/4", 5: "1", 6: "7/8", 9: "1/2", 99: "1/2"},
    ),
}
"""For each function hyperparameters, and factors by step."""


def test_every_schedule_is_worked_out_by_hand() -> None:
    assert sorted(BY_HAND) == sorted(FUNCTIONS)


@pytest.mark.parametrize("name", BY_HAND)
def test_factors_equal_those_worked_out_by_hand(name: str) -> None:
    hyperparameters, expected = BY_HAND[name]
    for t, value in expected.items():
        assert sp.simplify(exact_factor(name, t, **hyperparameters) - sp.Rational(value)) == 0, t


@pytest.mark.parametrize("name", BY_HAND)
def test_floating_point_stays_close_to_exact_arithmetic(name: str) -> None:
    stated, _ = BY_HAND[name]
    hyperparameters = {
        k: {s: float(Fraction(f)) for s, f in v.items()}
        if isinstance(v, dict)
        else float(Fraction(v))
        if isinstance(v, str)
        else v
        for k, v in stated.items()
    }
    for t in range(1, 40):
        exact = float(exact_factor(name, t, **hyperparameters))
        assert abs(factor(name, t, **hyperparameters) - exact) <= slack(OPERATIONS, ROUNDOFF_64), t


@pytest.mark.parametrize("name", SCHEDULES)
def test_code_equals_the_equations_of_the_specification(name: str) -> None:
    found = list(equalities(name))
    assert {equality.name for equality in found} == {name, *load(name).forms}
    for equality in found:
        assert equality.holds, str(equality)


@pytest.mark.parametrize("name", BY_HAND)
def test_bounded_hyperparameters_give_a_bound_that_holds_for_rounded_ones(name: str) -> None:
    stated, _ = BY_HAND[name]

    def real(value: Any) -> float:
        return FLOAT32.nearest(float(Fraction(value)) * (1 - 2.0**-20))

    def bounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {step: bounded(f) for step, f in value.items()}
        return Bounded(real(value), 2.0**-24, FLOAT64) if isinstance(value, str) else value

    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {step: rounded(f) for step, f in value.items()}
        return real(value) + 2.0**-24 if isinstance(value, str) else value

    for t in (1, 2, 5, 12):
        function = VARIANTS[name].default.function
        with np.errstate(all="ignore"):  # as in Optimizer.step
            bound = function(BOUNDS, t, **{k: bounded(v) for k, v in stated.items()})
        got = function(XP, t, **{k: rounded(v) for k, v in stated.items()})
        if isinstance(bound, Bounded):
            assert distance(got, bound) <= 1, t
        else:
            assert got == bound, t


def test_a_schedule_scales_the_learning_rate_of_what_it_encloses() -> None:
    one, lr, decay = np.ones(1), 0.5, 0.25
    outside = build(f"warmup(weight_decay_before(sgd(lr={lr}), {decay}), 4)")
    inside = build(f"weight_decay_before(warmup(sgd(lr={lr}), 4), {decay})")
    (scaled, _) = outside.step(one, one, outside.init(one))
    (full, _) = inside.step(one, one, inside.init(one))
    # a first warmup factor of 1/4 makes the learning rate 1/8
    assert scaled == 1 - 0.125 * 0.25 - 0.125
    assert full == 1 - 0.5 * 0.25 - 0.125


def test_schedules_multiply() -> None:
    one = np.ones(1)
    both = build("constant(warmup(sgd(lr=0.5), warmup_steps=4), factor=0.5)")
    state, theta = both.init(one), one
    moved = []
    for _ in range(5):
        new, state = both.step(theta, one, state)
        moved.append(float((theta - new)[0]))
        theta = new
    assert moved == [0.0625, 0.125, 0.1875, 0.25, 0.25]


def test_a_missing_gradient_does_not_advance_the_schedule() -> None:
    params = {"a": np.ones(1), "b": np.ones(1)}
    opt = build("piecewise_linear(sgd(lr=1.0), {4: 1.0})")
    first, state = opt.step(params, {"a": np.ones(1), "b": None}, opt.init(params))
    second, _ = opt.step(first, {"a": np.ones(1), "b": np.ones(1)}, state)
    assert [float(first["a"][0]), float(first["b"][0])] == [0.75, 1.0]
    assert [float(second["a"][0]), float(second["b"][0])] == [0.25, 0.75]


def test_dialects_resolve_to_forms_whose_hyperparameters_have_no_default() -> None:
    knots = "{3: 1.0, 7: 0.5}"
    for expression in (
        f"piecewise_linear(adam, {knots})",
        f"piecewise_linear(adam, schedule={knots})",
    ):
        optimizer = resolve(expression, "bert4keras")
        assert "piecewise_linear_zero_based(" in str(optimizer)
        assert f"schedule={knots}" in str(optimizer)
    with pytest.raises(TypeError, match="needs a value for schedule"):
        resolve("piecewise_linear(adam)", "bert4keras")


# What the sources promise

steps = st.integers(1, 10**5)
counts = st.integers(1, 10**4)
fractions = st.floats(0, 1)
knots = st.dictionaries(
    st.integers(0, 1000), st.floats(0, 10, allow_subnormal=False), min_size=1, max_size=6
)


@given(steps, counts)
def test_warmup_never_falls_and_ends_at_one(t: int, warmup_steps: int) -> None:
    now, later = (factor("warmup", s, warmup_steps=warmup_steps) for s in (t, t + 1))
    assert 0 < now <= later <= 1
    assert (now == 1) == (t >= warmup_steps)


@given(steps, counts, fractions, st.floats(0.125, 4))
def test_decays_never_rise_and_stay_between_one_and_their_end(
    t: int, decay_steps: int, end: float, power: float
) -> None:
    for name, more in (("cosine", {}), ("polynomial", {"power": power})):
        here = {"decay_steps": decay_steps, "end_factor": end, **more}
        now, later = (factor(name, s, **here) for s in (t, t + 1))
        # monotone up to the rounding of each value
        assert end - slack(4, ROUNDOFF_64) <= later <= now + slack(4, ROUNDOFF_64)
        assert factor(name, 1, **here) == 1
        assert abs(factor(name, decay_steps + 1, **here) - end) <= slack(4, ROUNDOFF_64)


@given(steps, counts, st.floats(0.125, 1), st.floats(0, 4))
def test_unbounded_decays_start_at_one_and_never_rise(
    t: int, decay_steps: int, rate: float, decay: float
) -> None:
    for name, here in (
        ("exponential", {"decay_rate": rate, "decay_steps": decay_steps}),
        ("step_decay", {"decay_rate": rate, "decay_steps": decay_steps}),
        ("inverse_time", {"decay": decay}),
    ):
        assert factor(name, 1, **here) == 1
        assert 0 <= factor(name, t + 1, **here) <= factor(name, t, **here)


@given(counts, st.integers(2, 9), st.integers(0, 6))
def test_restarts_are_exactly_where_the_cycles_end(first: int, t_mult: int, cycle: int) -> None:
    here = {"decay_steps": first, "t_mult": t_mult}
    start = first * sum(t_mult**i for i in range(cycle))
    assert factor("cosine_growing_restarts", start + 1, **here) == 1
    last = (1 + math.cos(math.pi * (1 - 1 / (first * t_mult**cycle)))) / 2
    before_next = start + first * t_mult**cycle
    got = factor("cosine_growing_restarts", before_next, **here)
    assert abs(got - last) <= slack(OPERATIONS, ROUNDOFF_64)
    assert factor("cosine_restarts", cycle * first + 1, decay_steps=first) == 1


@given(st.integers(8, 1000), st.floats(0.25, 0.45), st.floats(1, 100), st.floats(1, 1e6))
def test_one_cycle_rises_to_one_and_falls_to_its_end(
    total: int, pct_start: float, div_factor: float, final_div_factor: float
) -> None:
    here = {
        "total_steps": total,
        "pct_start": pct_start,
        "div_factor": div_factor,
        "final_div_factor": final_div_factor,
    }
    peak = pct_start * total - 1
    for name in ("one_cycle", "one_cycle_linear", "one_cycle_three_phase"):
        values = [factor(name, t, **here) for t in range(1, total + 3)]
        tiny = slack(OPERATIONS, ROUNDOFF_64)
        assert abs(values[0] - 1 / div_factor) <= tiny
        assert max(values) <= 1 + tiny
        for n, (now, later) in enumerate(pairwise(values)):
            assert now <= later + tiny if n + 1 <= peak else n <= peak or later <= now + tiny
        assert abs(values[total - 1] - 1 / div_factor / final_div_factor) <= tiny
        assert values[total - 1] == values[total] == values[total + 1]


@given(steps, counts)
def test_inverse_sqrt_is_largest_at_the_end_of_the_warmup(t: int, warmup_steps: int) -> None:
    here = {"warmup_steps": warmup_steps}
    largest = factor("inverse_sqrt", warmup_steps, **here)
    assert factor("inverse_sqrt", t, **here) <= largest * (1 + 8 * ROUNDOFF_64)


@given(knots, steps)
def test_piecewise_linear_meets_its_knots_and_is_no_steeper_than_they_are(
    schedule: dict[int, float], t: int
) -> None:
    points = sorted(({0: 0.0} | schedule).items())
    for step, value in points[1:]:
        assert factor("piecewise_linear", step, schedule=schedule) == value
    last = points[-1][0]
    assert factor("piecewise_linear", last + t, schedule=schedule) == points[-1][1]
    slopes = [abs(high - low) / (right - left) for (left, low), (right, high) in pairwise(points)]
    now, later = (factor("piecewise_linear", s, schedule=schedule) for s in (t, t + 1))
    # values of at most 10, each after five roundings
    assert abs(later - now) <= max(slopes, default=0.0) + 2 * 5 * 10 * 2 * ROUNDOFF_64


@given(knots, steps, counts)
def test_zero_based_forms_are_one_step_behind(
    schedule: dict[int, float], t: int, warmup_steps: int
) -> None:
    now = factor("piecewise_linear", t, schedule=schedule)
    assert factor("piecewise_linear_zero_based", t + 1, schedule=schedule) == now
    assert factor("piecewise_linear_zero_based", 1, schedule=schedule) == schedule.get(0, 0.0)
    now = factor("warmup", t, warmup_steps=warmup_steps)
    assert factor("warmup_zero_based", t + 1, warmup_steps=warmup_steps) == now


# Frameworks

LENGTH = 30


def torch_rates(make: Callable[[Any, Any], Any], length: int = LENGTH) -> list[float]:
    """The learning rates of a torch scheduler around an optimizer with learning rate 1."""
    torch = pytest.importorskip("torch", reason="compares with torch's schedulers")
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=0.9)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(length):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


CYCLE = {"total_steps": 31, "pct_start": 0.3, "div_factor": 20.0, "final_div_factor": 50.0}

TORCH = [
    (
        lambda module, o: module.LinearLR(o, start_factor=0.25, end_factor=0.75, total_iters=8),
        ("piecewise_linear_zero_based", {"schedule": {0: 0.25, 8: 0.75}}),
    ),
    (lambda module, o: module.ExponentialLR(o, gamma=0.9), ("exponential", {"decay_rate": 0.9})),
    (
        lambda module, o: module.StepLR(o, step_size=7, gamma=0.3),
        ("step_decay", {"decay_steps": 7, "decay_rate": 0.3}),
    ),
    (
        lambda module, o: module.CosineAnnealingWarmRestarts(o, T_0=7, eta_min=0.1),
        ("cosine_restarts", {"decay_steps": 7, "end_factor": 0.1}),
    ),
    (
        lambda module, o: module.CosineAnnealingWarmRestarts(o, T_0=2, T_mult=3, eta_min=0.1),
        ("cosine_growing_restarts", {"decay_steps": 2, "t_mult": 3, "end_factor": 0.1}),
    ),
    (
        lambda module, o: module.PolynomialLR(o, total_iters=20, power=1.5),
        ("polynomial", {"decay_steps": 20, "power": 1.5}),
    ),
    (lambda module, o: module.OneCycleLR(o, max_lr=1.0, **CYCLE), ("one_cycle", CYCLE)),
    (
        lambda module, o: module.OneCycleLR(o, max_lr=1.0, anneal_strategy="linear", **CYCLE),
        ("one_cycle_linear", CYCLE),
    ),
    (
        lambda module, o: module.OneCycleLR(
            o, max_lr=1.0, anneal_strategy="linear", three_phase=True, **CYCLE
        ),
        ("one_cycle_three_phase", CYCLE),
    ),
]


@pytest.mark.parametrize(("make", "here"), TORCH, ids=[name for _, (name, _) in TORCH])
def test_torch_has_the_same_factors(
    make: Callable[[Any, Any], Any], here: tuple[str, dict[str, Any]]
) -> None:
    name, hyperparameters = here
    for n, rate in enumerate(torch_rates(make)):
        # torch computes some rates from the one before, so its roundings add up
        allowed = slack(OPERATIONS * (n + 1), ROUNDOFF_64)
        assert abs(rate - factor(name, n + 1, **hyperparameters)) <= allowed, n


def test_torch_cosine_annealing_rises_again() -> None:
    rates = torch_rates(lambda module, o: module.CosineAnnealingLR(o, T_max=9, eta_min=0.1))
    here = {"decay_steps": 9, "end_factor": 0.1}
    # each rate is the one before times (1 + cos a)/(1 + cos b); both are at least 0.06 away from
    # the end of a cycle and exactly 0 there, where torch starts anew
    magnified = 1 / (1 + math.cos(math.pi * 8 / 9))
    for n, rate in enumerate(rates):
        allowed = slack(OPERATIONS * (n + 1), ROUNDOFF_64) * magnified
        assert abs(rate - factor("cosine_periodic", n + 1, **here)) <= allowed, n
    assert rates[18] > 0.99
    assert factor("cosine", 19, **here) == 0.1


def test_torch_finds_the_wrong_cycle_when_told_the_epoch() -> None:
    torch = pytest.importorskip("torch", reason="shows a difference that spec/cosine.toml states")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was not stepped before: only the epoch matters here
        scheduler.step(121)
    assert scheduler.get_last_lr() == [0.0]
    assert factor("cosine_growing_restarts", 122, decay_steps=1, t_mult=3) == 1


def test_torch_adagrad_decays_with_inverse_time() -> None:
    torch = pytest.importorskip("torch", reason="compares with torch.optim.Adagrad")
    rng = np.random.default_rng(0)
    theta, gs = rng.standard_normal(5), rng.standard_normal((6, 5))
    parameter = torch.nn.Parameter(torch.tensor(theta))
    target = torch.optim.Adagrad([parameter], lr=0.3, lr_decay=0.5, eps=0.01)
    reference = build("inverse_time(adagrad(lr=0.3, eps=0.01), decay=0.5)").lifted(
        lambda _, value: Bounded(value, 0.0, FLOAT64)
    )
    expected = Bounded.exact(theta, FLOAT64)
    state = reference.init(expected)
    for g in gs:
        parameter.grad = torch.tensor(g)
        target.step()
        expected, state = reference.step(expected, Bounded.exact(g, FLOAT64), state)
        assert distance(parameter.detach().numpy(), expected).max() <= 1


OPTAX = [
    (
        lambda optax: optax.linear_schedule(0.0, 1.0, 8),
        ("warmup_zero_based", {"warmup_steps": 8}),
    ),
    (
        lambda optax: optax.exponential_decay(1.0, 4, 0.5),
        ("exponential", {"decay_rate": 0.5, "decay_steps": 4}),
    ),
    (
        lambda optax: optax.exponential_decay(1.0, 4, 0.5, staircase=True),
        ("step_decay", {"decay_rate": 0.5, "decay_steps": 4}),
    ),
    (
        lambda optax: optax.cosine_decay_schedule(1.0, 9, alpha=0.1),
        ("cosine", {"decay_steps": 9, "end_factor": 0.1}),
    ),
    (
        lambda optax: optax.polynomial_schedule(1.0, 0.25, 2, 9),
        ("polynomial", {"decay_steps": 9, "power": 2.0, "end_factor": 0.25}),
    ),
    (
        lambda optax: optax.piecewise_interpolate_schedule("linear", 1.0, {2: 0.5, 6: 0.5}),
        ("piecewise_linear_zero_based", {"schedule": {0: 1.0, 2: 0.5, 6: 0.25}}),
    ),
    (lambda optax: optax.constant_schedule(0.375), ("constant", {"factor": 0.375})),
]


@pytest.mark.parametrize(("make", "here"), OPTAX, ids=[name for _, (name, _) in OPTAX])
def test_optax_has_the_same_factors(
    make: Callable[[Any], Step], here: tuple[str, dict[str, Any]]
) -> None:
    optax = pytest.importorskip("optax", reason="compares with optax's schedules")
    name, hyperparameters = here
    schedule = make(optax)
    for n in range(LENGTH):
        allowed = slack(OPERATIONS, ROUNDOFF_32)
        assert abs(float(schedule(n)) - factor(name, n + 1, **hyperparameters)) <= allowed, n


KERAS = [
    (
        lambda module: module.ExponentialDecay(1.0, 4, 0.5),
        ("exponential", {"decay_rate": 0.5, "decay_steps": 4}),
    ),
    (
        lambda module: module.ExponentialDecay(1.0, 4, 0.5, staircase=True),
        ("step_decay", {"decay_rate": 0.5, "decay_steps": 4}),
    ),
    (
        lambda module: module.CosineDecay(1.0, 9, alpha=0.1),
        ("cosine", {"decay_steps": 9, "end_factor": 0.1}),
    ),
    (
        lambda module: module.CosineDecayRestarts(1.0, 3, t_mul=2.0, alpha=0.1),
        ("cosine_growing_restarts", {"decay_steps": 3, "t_mult": 2, "end_factor": 0.1}),
    ),
    (
        lambda module: module.CosineDecayRestarts(1.0, 5, t_mul=1.0, alpha=0.1),
        ("cosine_restarts", {"decay_steps": 5, "end_factor": 0.1}),
    ),
    (
        lambda module: module.PolynomialDecay(1.0, 9, end_learning_rate=0.25, power=1.5),
        ("polynomial", {"decay_steps": 9, "power": 1.5, "end_factor": 0.25}),
    ),
    (lambda module: module.InverseTimeDecay(1.0, 4, 0.5), ("inverse_time", {"decay": 0.125})),
]


@pytest.fixture(scope="module")
def keras_schedules() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras", reason="compares with Keras' schedules")
    return keras.optimizers.schedules


@pytest.mark.parametrize(("make", "here"), KERAS, ids=[name for _, (name, _) in KERAS])
def test_keras_has_the_same_factors(
    keras_schedules: Any, make: Callable[[Any], Step], here: tuple[str, dict[str, Any]]
) -> None:
    name, hyperparameters = here
    schedule = make(keras_schedules)
    for n in range(LENGTH):
        allowed = slack(OPERATIONS, ROUNDOFF_32)
        assert abs(float(schedule(n)) - factor(name, n + 1, **hyperparameters)) <= allowed, n


def test_keras_finds_the_wrong_cycle_at_some_restarts(keras_schedules: Any) -> None:
    schedule = keras_schedules.CosineDecayRestarts(1.0, 1, t_mul=7.0)
    assert float(schedule(57)) == 0
    assert factor("cosine_growing_restarts", 58, decay_steps=1, t_mult=7) == 1
