"""Targets of Optax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from adapting import Setting, assert_same

from refopt.adapters.adapt import TargetError, adapt, framework
from refopt.adapters.adapter import Part

jax = pytest.importorskip("jax", reason="JAX is not installed")
optax = pytest.importorskip("optax", reason="Optax is not installed")
jnp = jax.numpy

STEPS = 7
CONSTANT = (0.3,) * STEPS
RATES = (0.3, 0.15, 0.1, 0.6, 0.07, 0.3, 0.2)
ARGUMENTS: Mapping[str, str | tuple[str, ...]] = {
    "learning_rate": "lr",
    "momentum": "momentum",
    "b1": "beta1",
    "b2": "beta2",
    "eps": "eps",
}
SETTING = Setting(ARGUMENTS, steps=STEPS)
params, gradients = SETTING.params, SETTING.gradients
adapted, stepped = SETTING.adapted, SETTING.stepped
GIVEN = {"lr": 0.3, "beta1": 0.8, "beta2": 0.6, "eps": 1e-2}
ACCUMULATION = Part(optax.MultiSteps, {"every_k_schedule": "k"}, wraps="argument")
CLIP = Part(optax.clip_by_global_norm, {"max_norm": "max_norm"}, wraps="chain")
LOOKAHEAD = Part(optax.lookahead, {"sync_period": "k", "slow_step_size": "alpha"}, wraps="argument")


def stepped_at_rates(session: Any) -> list[np.ndarray]:
    for rate, grads in zip(RATES, gradients(), strict=True):
        session.set_lr(rate)
        arrays: list[np.ndarray] = session.step(grads)
    return arrays


def stepped_directly(
    transformation: Any, *, synced: bool = False, dtype: str = "float32"
) -> list[np.ndarray]:
    """The same steps without refopt."""
    with jax.enable_x64(dtype == "float64"):
        theta: Any = [jnp.array(p) for p in params(dtype)]
        if synced:
            theta = optax.LookaheadParams.init_synced(theta)
        state = transformation.init(theta)
        for grads in gradients(dtype):
            updates, state = transformation.update([jnp.array(g) for g in grads], state, theta)
            theta = optax.apply_updates(theta, updates)
        return [np.asarray(p) for p in (theta.fast if synced else theta)]


def compiled_directly(
    make: Callable[[Any], Any], rates: Sequence[float] = RATES
) -> list[np.ndarray]:
    """The same steps, compiled, with a learning rate for each."""

    @jax.jit  # type: ignore[untyped-decorator]
    def step(lr: Any, grads: Any, state: Any, theta: Any) -> Any:
        updates, state = make(lr).update(grads, state, theta)
        return optax.apply_updates(theta, updates), state

    theta: Any = [jnp.array(p) for p in params()]
    state = make(0.3).init(theta)
    for lr, grads in zip(rates, gradients(), strict=True):
        theta, state = step(lr, [jnp.array(g) for g in grads], state, theta)
    return [np.asarray(p) for p in theta]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "function",
    [optax.adam, optax.adamw, optax.nadam, optax.radam, optax.lamb, optax.adamax],
    ids=lambda f: f.func.__name__ + "_partial" if isinstance(f, partial) else f.__name__,
)
def test_a_function_steps_as_it_does_without_refopt(function: Any, dtype: str) -> None:
    session = adapted(function).start(params(dtype), {**GIVEN, "k": 3})
    direct = function(0.3, b1=0.8, b2=0.6, eps=1e-2)
    assert_same(stepped(session, dtype), stepped_directly(direct, dtype=dtype))


def test_a_transformation_accepts_nothing_and_steps_as_it_is() -> None:
    adapter = adapted(optax.adam(0.3, b1=0.8))
    assert adapter.accepted() == frozenset()
    session = adapter.start(params(), GIVEN)
    assert_same(stepped(session), stepped_directly(optax.adam(0.3, b1=0.8)))
    assert not hasattr(session, "set_lr")


def test_a_part_can_be_chained_before_the_optimizer() -> None:
    session = adapted(optax.sgd, CLIP).start(params(), {"lr": 0.3, "max_norm": 1.7})
    direct = optax.chain(optax.clip_by_global_norm(1.7), optax.sgd(0.3))
    assert_same(stepped(session), stepped_directly(direct))


def accumulated(lr: Any) -> Any:
    return optax.MultiSteps(optax.adam(lr, b1=0.8, b2=0.6, eps=1e-2), 3)


def test_a_part_can_take_the_optimizer_as_its_argument() -> None:
    adapter = adapted(optax.adam, ACCUMULATION, refopt_jit=True)
    assert adapter.accepted() == {"lr", "beta1", "beta2", "eps", "k"}
    session = adapter.start(params(), {**GIVEN, "k": 3})
    assert_same(stepped(session), compiled_directly(accumulated, CONSTANT))


def test_parts_stack_from_the_innermost_outward() -> None:
    clip = optax.clip_by_global_norm(1.7)

    def clipped_inside(lr: Any) -> Any:
        return optax.MultiSteps(optax.chain(clip, optax.sgd(lr)), 2)

    def clipped_outside(lr: Any) -> Any:
        return optax.chain(clip, optax.MultiSteps(optax.sgd(lr), 2))

    given = {"lr": 0.3, "max_norm": 1.7, "k": 2}
    inside = adapted(optax.sgd, CLIP, ACCUMULATION, refopt_jit=True).start(params(), given)
    outside = adapted(optax.sgd, ACCUMULATION, CLIP, refopt_jit=True).start(params(), given)
    got = stepped(inside), stepped(outside)
    assert_same(got[0], compiled_directly(clipped_inside, CONSTANT))
    assert_same(got[1], compiled_directly(clipped_outside, CONSTANT))
    assert (got[0][3] != got[1][3]).any()


def test_a_part_can_be_a_further_argument() -> None:
    momentum = Part(optax.sgd, {"momentum": "momentum"}, wraps="option")
    adapter = adapt((Part(optax.sgd, {"learning_rate": "lr"}), momentum), "optax")
    session = adapter.start(params(), {"lr": 0.3, "momentum": 0.8})
    assert_same(stepped(session), stepped_directly(optax.sgd(0.3, momentum=0.8)))


def ranger(lr: float) -> Any:
    """A user's function, with a lookahead that only its result shows."""
    return optax.chain(optax.centralize(), optax.lookahead(optax.radam(lr), 3, 0.4))


def test_lookahead_steps_fast_and_slow_parameters(capfd: pytest.CaptureFixture[str]) -> None:
    session = adapted(optax.adam, LOOKAHEAD).start(params(), {**GIVEN, "k": 3, "alpha": 0.4})
    direct = optax.lookahead(optax.adam(0.3, b1=0.8, b2=0.6, eps=1e-2), 3, 0.4)
    assert_same(stepped(session), stepped_directly(direct, synced=True))
    session = adapted(ranger).start(params(), {"lr": 0.3})
    assert_same(stepped(session), stepped_directly(ranger(0.3), synced=True))
    assert capfd.readouterr().err == ""


def test_a_learning_rate_that_is_set_is_that_of_a_schedule() -> None:
    session: Any = adapted(optax.adam).start(params(), GIVEN)
    got = stepped_at_rates(session)
    rates = jnp.array(RATES)
    direct = optax.adam(lambda count: rates[count], b1=0.8, b2=0.6, eps=1e-2)
    assert_same(got, stepped_directly(direct))


def test_compiled_steps_are_those_that_jax_compiles() -> None:
    adapter = adapted(optax.adam, ACCUMULATION, refopt_jit=True)
    session = adapter.start(params(), {**GIVEN, "k": 3})
    assert_same(stepped_at_rates(session), compiled_directly(accumulated))


def test_a_compiled_step_is_compiled_once() -> None:
    made = []

    def counted(lr: float) -> Any:
        made.append(lr)
        return optax.sgd(lr)

    session: Any = adapt((Part(counted, {}, options={"refopt_jit": True}),), "optax").start(
        params(), {"lr": 0.3}
    )
    session.step(gradients()[0])
    after_first = len(made)
    session.set_lr(0.1)
    session.step(gradients()[1])
    assert len(made) == after_first


@pytest.mark.parametrize("outer", [(), (LOOKAHEAD,)], ids=["adam", "lookahead"])
def test_a_fresh_session_resumes_while_the_old_one_goes_on(outer: tuple[Part, ...]) -> None:
    adapter = adapted(optax.adam, *outer)
    given = {**GIVEN, "k": 4, "alpha": 0.4}
    old: Any = adapter.start(params(), given)
    old.set_lr(0.1)
    for grads in gradients()[:3]:
        arrays = old.step(grads)
    saved = old.state_dict()
    fresh: Any = adapter.start(arrays, given)
    fresh.load_state_dict(saved)
    for grads in gradients()[3:]:
        expected = old.step(grads)
    for grads in gradients()[3:]:
        arrays = fresh.step(grads)
    assert_same(arrays, expected)


def test_arrays_of_the_caller_can_be_used_again() -> None:
    theta = params()
    session = adapted(optax.sgd, momentum=0.8).start(theta, {"lr": 0.3})
    for array in theta:
        array[...] = np.nan
    for grads in gradients():
        arrays = session.step(grads)
        for g in grads:
            g[...] = np.nan
    assert_same(arrays, stepped_directly(optax.sgd(0.3, momentum=0.8)))


def test_gradients_cannot_be_missing() -> None:
    assert not adapted(optax.sgd).takes_missing


def make_adam(lr: float, beta1: float = 0.9) -> Any:
    return optax.chain(optax.scale_by_adam(b1=beta1), optax.scale(-lr))


def test_functions_of_the_user_are_recognised_and_may_use_canonical_names() -> None:
    adapter = adapted(make_adam)
    assert adapter.accepted() == {"lr", "beta1"}
    session: Any = adapter.start(params(), {"lr": 0.6, "beta1": 0.8})
    session.set_lr(0.3)
    assert_same(stepped(session), stepped_directly(optax.adam(0.3, b1=0.8)))


@pytest.mark.parametrize("function", [optax.adam, optax.nadam, optax.MultiSteps, optax.sgd(0.1)])
def test_what_optax_defines_is_recognised(function: Callable[..., Any]) -> None:
    assert framework(function) == "optax"


def test_a_function_that_returns_no_transformation_is_an_error() -> None:
    def make(lr: float) -> Any:
        return optax.apply_updates, lr

    with pytest.raises(TargetError, match=r"returned tuple, not an optax.GradientTransformation"):
        adapted(make).start(params(), {"lr": 0.3})
