"""Parameters of 16 bits: correct implementations are admitted in their mode, wrong ones are not.

Each target below is one step in NumPy, whose arithmetic every operation rounds through ``k``: to 16
bits after each operation, or to float32, and to memory at the end. The correct ones must conform at
every seed, in a mode that is no wider than what they do; the wrong ones, which do what real bugs
did, must deviate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import refopt
from refopt import specification
from refopt.arithmetic.bounds import BFLOAT16, FLOAT16, FORMATS, Bounded, Format, modes
from refopt.oracle.matrix import example
from refopt.oracle.observation import Hypothesis, Reached, bounded, expected, idling, stepped
from refopt.oracle.probes import RESTS, Probe, probes
from refopt.oracle.run import Trace

Array = Any
SEEDS = range(4)
DTYPES = ("bfloat16", "float16")
BOTH = pytest.mark.parametrize("dtype", DTYPES)


class Kept:
    """How a target computes: the dtypes of operations, of state, and of parameters."""

    def __init__(self, operations: Any, state: Any, params: Any) -> None:
        self.operations, self.state, self.params = map(np.dtype, (operations, state, params))

    def __call__(self, x: Any) -> Array:
        """Rounded to the dtype of operations, as is every scalar that meets an array."""
        return np.asarray(x).astype(self.operations)

    def in_memory(self, x: Array) -> Array:
        """State as the next step finds it, in the dtype of operations."""
        return self(np.asarray(x).astype(self.state))


Step = Callable[[Kept, "Target", int, Array, Array], Array]


class Target:
    """A target with one step function for every parameter."""

    def __init__(self, step: Step, kept: Kept, params: Sequence[Array], **values: float) -> None:
        self.__dict__ |= values
        self.function, self.kept = step, kept
        self.params = [p.copy() for p in params]
        self.t = [0] * len(params)
        self.m = [kept(np.zeros(p.shape)) for p in params]
        self.v = [kept(np.zeros(p.shape)) for p in params]

    def step(self, grads: Sequence[Array | None]) -> list[Array]:
        for i, g in enumerate(grads):
            if g is not None:
                self.t[i] += 1
                new = self.function(self.kept, self, i, self.kept(self.params[i]), self.kept(g))
                self.params[i] = np.asarray(new).astype(self.kept.params)
                self.m[i] = self.kept.in_memory(self.m[i])
                self.v[i] = self.kept.in_memory(self.v[i])
        return [p.copy() for p in self.params]

    def set_lr(self, lr: float) -> None:
        self.lr = lr

    def state_dict(self) -> Any:
        return {"lr": self.lr, "t": [*self.t], "m": [*self.m], "v": [*self.v]}

    def load_state_dict(self, state: Any) -> None:
        self.__dict__ |= {k: v if k == "lr" else [*v] for k, v in state.items()}


def factory(step: Step, kept: Kept) -> Any:
    """A target factory with the hyperparameters of AdamW."""

    def make(
        params: Sequence[Array],
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> Target:
        values = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
        return Target(step, kept, params, **values, weight_decay=weight_decay)

    return make


def wide(k: Kept) -> Kept:
    """The same with float32 operations, where a sum with epsilon needs them."""
    return Kept(np.promote_types(k.operations, np.float32), k.state, k.params)


def moments(k: Kept, o: Any, i: int, g: Array) -> None:
    o.m[i] = k(k(k(o.beta1) * o.m[i]) + k(k(1 - o.beta1) * g))
    o.v[i] = k(k(k(o.beta2) * o.v[i]) + k(k(1 - o.beta2) * k(g * g)))


def adamw(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    moments(k, o, i, g)
    m_hat = k(o.m[i] / k(1 - o.beta1 ** o.t[i]))
    v_hat = k(o.v[i] / k(1 - o.beta2 ** o.t[i]))
    w = wide(k)  # in float16 the default epsilon would be lost
    h = k(w(m_hat) / (w(k(np.sqrt(v_hat))) + w(o.eps)))
    return k(theta - k(k(o.lr) * k(h + k(k(o.weight_decay) * theta))))


def adamw_interpolated_and_folded(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    o.m[i] = k(o.m[i] + k(k(1 - o.beta1) * k(g - o.m[i])))
    o.v[i] = k(k(o.v[i] * k(o.beta2)) + k(k(k(1 - o.beta2) * g) * g))
    w = wide(k)
    root = k(np.sqrt(o.v[i]) / k(math.sqrt(1 - o.beta2 ** o.t[i])))
    theta = k(theta * k(1 - o.lr * o.weight_decay))
    step = k(o.lr / (1 - o.beta1 ** o.t[i]))
    return k(theta - k(step * k(w(o.m[i]) / (w(root) + w(o.eps)))))


def adamw_by_reciprocals(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    moments(k, o, i, g)
    w = wide(k)
    root = k(np.sqrt(k(o.v[i] * k(1 / (1 - o.beta2 ** o.t[i])))))
    reciprocal = w(1) / (w(root) + w(o.eps))
    m_hat = k(o.m[i] * k(1 / (1 - o.beta1 ** o.t[i])))
    decay = k(k(o.lr * o.weight_decay) * theta)
    return k(k(theta - k(k(o.lr) * k(w(m_hat) * reciprocal))) - decay)


CORRECT = (adamw, adamw_interpolated_and_folded, adamw_by_reciprocals)


def storage(dtype: str) -> dict[str, Kept]:
    """The ways to compute, by the mode that admits them."""
    return {
        "float32-state": Kept(np.float32, np.float32, dtype),
        "float32-arithmetic": Kept(np.float32, dtype, dtype),
        "working": Kept(dtype, dtype, dtype),
    }


@BOTH
@pytest.mark.parametrize("mode", storage("float16"))
@pytest.mark.parametrize("step", CORRECT)
def test_correct_implementations_conform_in_their_mode(
    step: Step, mode: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RESTS, dtype, 16)  # a count is tested apart
    narrow = list(storage(dtype))
    for seed in SEEDS:
        target = factory(step, storage(dtype)[mode])
        verdict = refopt.check(target, "adamw", dtype=dtype, seed=seed, explain=False)
        assert verdict.conforms, verdict
        assert verdict.precision is not None
        assert narrow.index(verdict.precision) <= narrow.index(mode), verdict


@BOTH
def test_float32_parameters_beside_those_of_16_bits_conform(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RESTS, dtype, 16)

    class Mixed:
        def __init__(self, params: Sequence[Array], **values: float) -> None:
            self.exact = [p.astype(np.float32) for p in params]
            kept = Kept(np.float32, np.float32, np.float32)
            self.inner = Target(adamw, kept, self.exact, **values)

        def step(self, grads: Sequence[Array | None]) -> list[Array]:
            return [p.astype(dtype) for p in self.inner.step(grads)]

        def set_lr(self, lr: float) -> None:
            self.inner.lr = lr

    def make(
        params: Sequence[Array],
        lr: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> Mixed:
        values = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        return Mixed(params, lr=lr, **values)

    for seed in SEEDS:
        verdict = refopt.check(make, "adamw", dtype=dtype, seed=seed, explain=False)
        assert verdict.precision == "float32-state", verdict


# Mistakes


def adamw_without_correction(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    moments(k, o, i, g)
    h = k(o.m[i] / k(k(np.sqrt(o.v[i])) + k(o.eps)))
    return k(theta - k(k(o.lr) * k(h + k(k(o.weight_decay) * theta))))


def adamw_stuck_at_the_first_step(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    o.t[i] = 1
    return adamw(k, o, i, theta, g)


def adamw_with_rounded_rates(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    beta1, beta2 = o.beta1, o.beta2
    o.beta1, o.beta2 = (float(np.asarray(b).astype(k.params)) for b in (beta1, beta2))
    with np.errstate(all="ignore"):
        return adamw(k, o, i, theta, g)


def adam_with_l2(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    decay, o.weight_decay = o.weight_decay, 0.0
    theta = adamw(k, o, i, theta, k(g + k(k(decay) * theta)))
    o.weight_decay = decay
    return theta


def adamw_that_counts_in_16_bits(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    o.t[i] = float(np.asarray(np.asarray(o.t[i] - 1).astype(k.params) + 1).astype(k.params))
    return adamw(k, o, i, theta, g)


WRONG = (adamw_without_correction, adamw_stuck_at_the_first_step, adam_with_l2)


@BOTH
@pytest.mark.parametrize("mode", storage("float16"))
@pytest.mark.parametrize("step", WRONG)
def test_wrong_implementations_deviate(
    step: Step, mode: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RESTS, dtype, 16)
    target = factory(step, storage(dtype)[mode])
    verdict = refopt.check(target, "adamw", dtype=dtype, explain=False)
    assert verdict.outcome == "deviates", verdict


@BOTH
def test_a_count_in_16_bits_stops_and_a_long_run_shows_it(dtype: str) -> None:
    """As in pytorch/pytorch#75224: at 256 in bfloat16, at 2048 in float16."""
    for step in (adamw, adamw_that_counts_in_16_bits):
        target = factory(step, storage(dtype)["float32-arithmetic"])
        verdict = refopt.check(target, "adamw", dtype=dtype)
        assert verdict.conforms == (step is adamw), verdict
        if verdict.deviation is not None:
            assert verdict.deviation.probe == "long"
            found = [str(explanation) for explanation in verdict.explanations]
            if dtype == "bfloat16":  # in float16 what is lost of the state hides it
                assert any("the step count stops at 256" in words for words in found)


def test_decay_rates_rounded_to_bfloat16_leave_nothing_to_correct(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in FluxML/Optimisers.jl#215 and google-deepmind/optax#1414: 0.999 becomes 1."""
    monkeypatch.setitem(RESTS, "bfloat16", 16)
    target = factory(adamw_with_rounded_rates, storage("bfloat16")["working"])
    verdict = refopt.check(target, "adamw", dtype="bfloat16", explain=False)
    assert verdict.outcome == "error"
    assert verdict.error is not None
    assert "probe 'defaults' returned no finite number" in verdict.error


def adamw_in_float16_alone(k: Kept, o: Any, i: int, theta: Array, g: Array) -> Array:
    moments(k, o, i, g)
    m_hat = k(o.m[i] / k(1 - o.beta1 ** o.t[i]))
    v_hat = k(o.v[i] / k(1 - o.beta2 ** o.t[i]))
    with np.errstate(all="ignore"):
        h = k(m_hat / k(k(np.sqrt(v_hat)) + k(o.eps)))
        return k(theta - k(k(o.lr) * k(h + k(k(o.weight_decay) * theta))))


def test_an_epsilon_that_float16_loses_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in google-deepmind/optax#1754: a gradient of zero leads to 0/0."""
    monkeypatch.setitem(RESTS, "float16", 16)
    for mode, kept in storage("float16").items():
        target = factory(adamw_in_float16_alone, kept)
        verdict = refopt.check(target, "adamw", dtype="float16", explain=False)
        if mode == "working":
            assert verdict.deviation is not None
            assert verdict.deviation.probe == "defaults"
            assert math.isnan(verdict.deviation.got)
        else:
            assert verdict.conforms
    assert refopt.check(
        factory(adamw_in_float16_alone, storage("float16")["working"]),
        "adamw(eps=1e-3)",
        dtype="float16",
        explain=False,
    ).conforms


class Clipped:
    """SGD along the gradient clipped by its norm, which is taken in some dtype."""

    def __init__(self, norm: Any, params: Sequence[Array], lr: float, max_norm: float) -> None:
        self.norm, self.params = norm, [p.copy() for p in params]
        self.lr, self.max_norm = lr, max_norm

    def step(self, grads: Sequence[Array | None]) -> list[Array]:
        for i, g in enumerate(grads):
            if g is not None:
                x = g.astype(self.norm)
                with np.errstate(all="ignore"):
                    norm = np.sqrt(np.sum(x * x, dtype=self.norm))
                    factor = self.max_norm / max(float(norm), self.max_norm)
                step = (self.lr * factor * g.astype(np.float32)).astype(np.float32)
                self.params[i] = (self.params[i].astype(np.float32) - step).astype(g.dtype)
        return [p.copy() for p in self.params]

    def set_lr(self, lr: float) -> None:
        self.lr = lr


@pytest.mark.parametrize("norm", ["float32", "float16"])
def test_a_norm_that_overflows_float16_is_a_mistake(
    norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in AI-Hypercomputer/maxtext#5143: every gradient is clipped to zero."""
    monkeypatch.setitem(RESTS, "float16", 16)

    def make(params: Sequence[Array], lr: float, max_norm: float) -> Clipped:
        return Clipped(np.dtype(norm), params, lr, max_norm)

    spec = "clip_by_norm(sgd(momentum=0.0, dampening=0.0))"
    verdict = refopt.check(make, spec, dtype="float16", explain=False)
    assert verdict.conforms == (norm == "float32"), verdict
    if verdict.deviation is not None:
        assert verdict.deviation.probe == "large"


def test_the_squares_of_large_do_not_overflow_float16_but_their_sums_do() -> None:
    for seed in SEEDS:
        large = next(p for p in probes({}, dtype="float16", seed=seed) if p.id == "large")
        for x in (*large.params, *(g for gs in large.gradients for g in gs)):
            assert x is not None
            squares = x.astype(np.float64) ** 2
            assert np.all(squares < FLOAT16.huge)
            if x.size > 10:
                assert squares.sum() > FLOAT16.huge


# Modes


def through(name: str, probe: Probe, mode: str, format: Format) -> list[list[Bounded]]:
    """The reference's parameters in a probe."""
    hypothesis = Hypothesis(specification.resolve(example(name)))
    trace = Trace([], probe.rates, (), None)
    return list(expected(hypothesis, probe, trace, modes(format)[mode]))  # type: ignore[index]


@pytest.mark.parametrize("format", [BFLOAT16, FLOAT16], ids=DTYPES)
@pytest.mark.parametrize("name", specification.names())
def test_a_mode_admits_what_the_one_before_it_does(name: str, format: Format) -> None:
    varied = specification.resolve(example(name)).hyperparameters()
    for probe in probes(varied, dtype=format.name):
        if probe.id not in ("far", "defaults", "vanishing", "large"):
            continue
        runs = [through(name, probe, mode, format) for mode in modes(format)]
        for narrow, wider in pairwise(runs):
            for one, other in zip(narrow, wider, strict=True):
                for x, y in zip(one, other, strict=True):
                    assert np.array_equal(x.value, y.value, equal_nan=True)
                    assert np.all((x.error <= y.error) | np.isnan(x.value))


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", specification.names())
def test_rest_changes_nothing_at_any_step(name: str, dtype: str) -> None:
    """What the long probe takes for granted, step by step."""
    optimizer = specification.resolve(example(name))
    (probe,) = (p for p in probes(optimizer.hyperparameters(), dtype=dtype) if p.id == "long")
    at = Hypothesis(optimizer).at(probe)
    mode = modes(FORMATS[dtype])["working"]
    rested = bounded(at, mode)
    params = [mode.given(p) for p in probe.params]
    reached = Reached(params, rested.init(params))
    zero: list[Bounded | None] = [mode.given(np.zeros_like(p)) for p in probe.params]
    idle = idling(rested)
    steps = {1, 2, 3, 4, 5, 6, 7, 12, 255, 1024, RESTS[dtype] - 1}
    reached = stepped(rested, reached, zero, at.lr, mode)
    if not stepped(rested, reached, zero, at.lr, mode).is_as(idle(reached, mode)):
        assert name == "adamax"  # a maximum with epsilon is of one or the other
        return
    for step in range(1, RESTS[dtype]):
        idled = idle(reached, mode)
        if step in steps:
            assert stepped(rested, reached, zero, at.lr, mode).is_as(idled)
        reached = idled


def test_memory_rounds_once_and_only_what_is_not_there() -> None:
    x = Bounded(
        np.array([1.0, 1.001, 0.0, 1e6, 1e-9]), np.zeros(5), modes(FLOAT16)["working"].params
    )
    wide = Bounded(x.value, x.error, modes(FLOAT16)["float32-state"].arithmetic)
    zeros = Bounded(np.zeros(5), np.zeros(5), wide.format)
    stored = wide.stored(FLOAT16, zeros).error
    assert stored[0] == stored[2] == 0
    assert FLOAT16.unit * 1.001 <= stored[1] < 1.01 * FLOAT16.unit * 1.001
    assert stored[3] == math.inf
    assert FLOAT16.tiny <= stored[4] < 1.01 * FLOAT16.tiny
    assert np.array_equal(wide.stored(FLOAT16, wide).error, [0, 0, 0, math.inf, 0])
    assert np.array_equal(x.stored(FLOAT16, zeros).error, [0, 0, 0, math.inf, 0])


def test_a_float32_hyperparameter_does_not_make_a_float64_array_float32() -> None:
    """A target that computes in float32 does not conform in float64."""

    class Narrow:
        def __init__(self, params: Sequence[Array], lr: float) -> None:
            self.params, self.lr = [p.copy() for p in params], lr

        def step(self, grads: Sequence[Array | None]) -> list[Array]:
            for p, g in zip(self.params, grads, strict=True):
                if g is not None:
                    p[...] = p.astype(np.float32) - np.float32(self.lr) * g.astype(np.float32)
            return [p.copy() for p in self.params]

    verdict = refopt.check(Narrow, "sgd(momentum=0.0)", dtype="float64", explain=False)
    assert verdict.outcome == "deviates"


def test_ml_dtypes_rounds_as_the_format_says() -> None:
    one = np.asarray(1.0, ml_dtypes.bfloat16)
    assert float(np.nextafter(one, np.asarray(2.0, ml_dtypes.bfloat16)) - one) == 2.0**-7
    assert BFLOAT16.unit == 2.0**-8
    assert FLOAT16.holds(2.0**-14)
    assert not FLOAT16.holds(1e-8)
    assert BFLOAT16.nearest(0.999) == 1
