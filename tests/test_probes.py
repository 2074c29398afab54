"""Probes: stable to the bit, and with the values that their purposes promise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from refopt import catalog
from refopt.hyperparameters import DOMAINS, Boolean
from refopt.layers import REQUIRED
from refopt.oracle.probes import DYADIC, FAR, RESTS, SHAPES, TWINS, Probe, probes

DEFAULTS = {"lr": 1e-3, "beta1": 0.9, "momentum": 0.9, "weight_decay": 0.01, "nesterov": False}
PROBES = {probe.id: probe for probe in probes(DEFAULTS)}

DIGESTS = {
    "float32": {
        "far": "efd1647c5399562c",
        "dyadic": "2803ed947b815746",
        "defaults": "e9c7656b687999d1",
        "vanishing": "3cc7b72346832692",
        "zero": "c4f29b7c01c1ea79",
        "missing": "4c1813ad922229db",
        "strided": "1a858d2d9fa8f1f1",
        "large": "3af77848d4fa1441",
        "long": "54f252a56f123693",
    },
    "float64": {
        "far": "20d883913d2bb00c",
        "dyadic": "7b3089dc99b6c564",
        "defaults": "4ab82a3b0f72fd87",
        "vanishing": "412ab4795379e091",
        "zero": "f0603721847b4ea5",
        "missing": "31bb98fa78cccfb6",
        "strided": "c74a14c9c8380971",
        "large": "54d6b16f2faf2556",
        "long": "c8919a6aa618cab8",
    },
    "bfloat16": {
        "far": "74e7176dd64d1667",
        "dyadic": "0326e4bd5f5b4cf9",
        "defaults": "2dbe5523884137c6",
        "vanishing": "a7223ad92a765080",
        "zero": "988af5d68c598291",
        "missing": "36cb42beeccffd5c",
        "strided": "a90405b154375d91",
        "large": "75e7ceca4e68dc33",
        "long": "db47fa0a78f702d8",
    },
    "float16": {
        "far": "6f6db4b68c0923ac",
        "dyadic": "a4e93d2244021622",
        "defaults": "b6f724dae7fadb18",
        "vanishing": "5420b731b08eaf54",
        "zero": "7e248cc650da80a2",
        "missing": "c362af1b792db82c",
        "strided": "71b1f1fcaee7a05d",
        "large": "5add3ef9fe7724d5",
        "long": "75ce139fac89ba9c",
    },
}
"""Of parameters and gradients at seed 0: an id stands for these bits for ever."""


def arrays(probe: Probe) -> Iterator[np.ndarray | None]:
    """Its parameters, then the gradients of every step."""
    yield from probe.params
    for gradients in probe.gradients:
        yield from gradients


def bits(x: np.ndarray) -> bytes:
    """Little-endian."""
    known = x.view(np.uint16) if x.dtype.name == "bfloat16" else x
    return known.astype(known.dtype.newbyteorder("<")).tobytes()


def digest(probe: Probe) -> str:
    """Of the bits of its arrays, little-endian."""
    made = hashlib.sha256()
    for x in arrays(probe):
        made.update(b"missing" if x is None else bits(x))
    return made.hexdigest()[:16]


def gradients_of(probe: Probe, i: int) -> np.ndarray:
    """The gradients of one parameter, along a new first axis."""
    return np.array([gs[i] for gs in probe.gradients if gs[i] is not None])


def values_of(hyperparameters: Mapping[str, Any]) -> Iterator[float]:
    """All numbers among them."""
    for value in hyperparameters.values():
        yield from value.values() if isinstance(value, Mapping) else [value]


# Stability


@pytest.mark.parametrize("dtype", DIGESTS)
def test_the_bits_of_every_probe_stay_what_they_are(dtype: str) -> None:
    assert {p.id: digest(p) for p in probes(DEFAULTS, dtype=dtype)} == DIGESTS[dtype]


def test_arrays_depend_on_neither_hyperparameters_nor_other_probes() -> None:
    assert {p.id: digest(p) for p in probes({})} == DIGESTS["float32"]


def test_another_seed_draws_other_values() -> None:
    for one, other in zip(probes({}), probes({}, seed=1), strict=True):
        assert one.id == other.id
        assert digest(one) != digest(other)


def test_probes_in_float32_are_those_in_float64_rounded() -> None:
    for narrow, wide in zip(probes({}), probes({}, dtype="float64"), strict=True):
        for x, y in zip(arrays(narrow), arrays(wide), strict=True):
            if x is None or y is None:
                assert x is y
            else:
                assert x.dtype == np.float32
                np.testing.assert_array_equal(x, y.astype(np.float32))


# Hyperparameters


@pytest.mark.parametrize("name", DOMAINS)
def test_every_hyperparameter_gets_values_inside_its_domain(name: str) -> None:
    default = isinstance(DOMAINS[name], Boolean)
    for probe in probes({name: default}):
        assert probe.hyperparameters.keys() == {name}
        if probe.id != "defaults":
            assert probe.hyperparameters[name] in DOMAINS[name]


def test_far_values_are_not_those_of_the_dyadic_probe() -> None:
    varied = dict.fromkeys(name for name, d in DOMAINS.items() if not isinstance(d, Boolean))
    far, dyadic = (probe.hyperparameters for probe in probes(varied)[:2])
    same = {name for name in varied if far[name] == dyadic[name]}
    assert same == {name for name in same if getattr(DOMAINS[name], "integer", False)}


def test_flags_stay_and_defaults_are_those_given() -> None:
    assert {probe.hyperparameters["nesterov"] for probe in PROBES.values()} == {False}
    assert PROBES["defaults"].hyperparameters == DEFAULTS


def test_dyadic_values_are_exact_in_float32_and_so_is_1_minus_them() -> None:
    varied = dict.fromkeys(name for name, d in DOMAINS.items() if not isinstance(d, Boolean))
    dyadic = next(p for p in probes(varied) if p.id == "dyadic")
    for value in [*values_of(dyadic.hyperparameters), *dyadic.rates]:
        for number in (value, 1 - value):
            assert float(np.float32(number)) == number
    for rate in dyadic.rates:
        lr = dyadic.hyperparameters["lr"] * rate
        assert float(np.float32(lr)) == lr


def test_whatever_needs_a_value_has_one() -> None:
    layers = [catalog.layer(name) for name in (*catalog.RULES, *catalog.VARIANTS)]
    required = {n for layer in layers for n, v in layer.hyperparameters.items() if v is REQUIRED}
    assert required
    assert required <= FAR.keys() & DYADIC.keys()


def test_decay_and_momentum_are_zero_in_one_probe_each() -> None:
    for name, id in (("weight_decay", "vanishing"), ("momentum", "strided")):
        zero = {p.id for p in PROBES.values() if p.hyperparameters[name] == 0}
        assert zero == {id, "long"}


# What each is for


@pytest.mark.parametrize("id", PROBES)
def test_parameters_and_gradients_have_the_same_shapes(id: str) -> None:
    probe = PROBES[id]
    shapes = {"long": ((3,),), "large": TWINS}.get(id, SHAPES)
    assert tuple(p.shape for p in probe.params) == shapes
    assert len(probe.rates) == len(probe.gradients)
    for gradients in probe.gradients:
        for shape, g in zip(shapes, gradients, strict=True):
            assert g is None or (g.shape, g.dtype) == (shape, np.dtype(np.float32))


@pytest.mark.parametrize("id", ["far", "dyadic"])
def test_every_gradient_changes_sign(id: str) -> None:
    for i, shape in enumerate(SHAPES):
        if 0 not in shape:
            gradients = gradients_of(PROBES[id], i)
            assert np.all(gradients.min(axis=0) < 0)
            assert np.all(gradients.max(axis=0) > 0)


@pytest.mark.parametrize("id", ["far", "dyadic", "defaults", "missing", "strided"])
def test_gradients_fall(id: str) -> None:
    gradients = PROBES[id].gradients
    sizes = [max(np.max(abs(g), initial=0) for g in gs if g is not None) for gs in gradients]
    assert 2 < sizes[0] <= 8
    assert 0.01 < sizes[-1] <= 0.125


def test_parameters_have_both_signs() -> None:
    for probe in PROBES.values():
        theta = np.concatenate([p.ravel() for p in probe.params])
        assert theta.min() < -1 < 1 < theta.max()


@pytest.mark.parametrize("id", ["far", "dyadic", "missing"])
def test_the_learning_rate_differs_from_step_to_step(id: str) -> None:
    rates = PROBES[id].rates
    assert all(one != other for one, other in pairwise(rates))


def test_one_element_of_a_parameter_is_zero() -> None:
    theta = PROBES["far"].params[1]
    assert np.count_nonzero(theta == 0) == 1


def test_a_run_is_resumed_within_a_window_and_goes_on_for_two() -> None:
    probe = PROBES["dyadic"]
    (resumed,) = {p.resumes_after for p in PROBES.values()} - {None}
    assert probe.resumes_after == resumed
    for k in (DYADIC["k"], FAR["k"]):
        assert resumed % k != 0
        assert len(probe.gradients) >= resumed + 2 * k


def test_vanishing_gradients_have_zeros_of_every_kind() -> None:
    probe = PROBES["vanishing"]
    assert all(not np.any(g) for g in probe.gradients[0])  # no direction, even with momentum
    rows = gradients_of(probe, 2)
    row_is_zero = ~np.any(rows, axis=2)
    assert np.all(row_is_zero.any(axis=0) & ~row_is_zero.all(axis=0))
    single = (rows == 0) & ~row_is_zero[..., None]
    assert np.all(np.any(single, axis=(0, 1)))  # single zeros in every column
    size = abs(rows[rows != 0])
    assert size.min() ** 2 == 0  # in float32
    assert size.max() > 0.05


def test_one_parameter_is_long_and_one_is_zero() -> None:
    norms = [np.linalg.norm(p.ravel()) for p in PROBES["vanishing"].params]
    assert norms[2] > 50
    assert norms[3] == 0


def test_no_gradient_but_zero() -> None:
    assert not any(np.any(g) for gs in PROBES["zero"].gradients for g in gs)


def test_large_has_twins_and_a_row_that_sums_to_zero() -> None:
    probe = PROBES["large"]
    assert probe.params[0].shape == probe.params[3].shape
    assert not np.array_equal(probe.params[0], probe.params[3])
    rows = gradients_of(probe, 2)[:, 0]
    assert rows.any(axis=1).all()
    assert not rows.sum(axis=1).any()


def test_missing_gradients_come_late_and_stop_in_between() -> None:
    probe = PROBES["missing"]
    missing = {
        i: [step for step, gs in enumerate(probe.gradients, 1) if gs[i] is None]
        for i in range(len(SHAPES))
    }
    assert missing == {0: [], 1: [1, 3, 4], 2: [5], 3: [1, 3, 4], 4: []}
    assert [p.id for p in PROBES.values() if p.has_missing] == ["missing"]


def test_norms_lie_on_both_sides_of_where_gradients_are_clipped() -> None:
    for probe, limit in ((PROBES["far"], FAR["max_norm"]), (PROBES["dyadic"], DYADIC["max_norm"])):
        of_each = [
            [np.linalg.norm(g.ravel()) for g in gs if g is not None] for gs in probe.gradients
        ]
        of_all = [np.linalg.norm(norms) for norms in of_each]
        assert min(of_all) < limit < max(of_all)
        assert all(
            min(norms) < limit < max(norms) for norms in list(zip(*of_each, strict=True))[:4]
        )


# A long run, and 16 bits


@pytest.mark.parametrize("dtype", DIGESTS)
def test_the_long_run_rests_and_then_moves(dtype: str) -> None:
    probe = next(p for p in probes(DEFAULTS, dtype=dtype) if p.id == "long")
    assert probe.rests == RESTS[dtype]
    moving = [bool(np.any(g)) for (g,) in probe.gradients]
    assert moving == [False] * probe.rests + [True] * 4
    assert set(probe.rates) == {1.0}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_long_run_goes_past_where_counts_of_16_bits_stop(dtype: str) -> None:
    assert RESTS[dtype] > 2048
    for count in (np.float16(2048), np.asarray(256, "bfloat16")):
        assert count + np.asarray(1, count.dtype) == count


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_hold_every_value_and_see_the_steps(dtype: str) -> None:
    found = {p.id: p for p in probes(DEFAULTS, dtype=dtype)}
    for probe in found.values():
        for x in arrays(probe):
            assert x is None or (x.dtype.name == dtype and np.isfinite(x.astype(float)).all())
    defaults = found["defaults"]
    lr = DEFAULTS["lr"]
    assert all(np.max(np.spacing(p), initial=0) < lr / 8 for p in defaults.params)
    for g in gradients_of(defaults, 3):
        assert not np.any(g[::3])
        assert np.all(g[1::3] != 0)
    size = abs(gradients_of(found["vanishing"], 2).astype(float))
    least = np.asarray(np.min(size[size > 0]), dtype)
    assert least != 0
    assert least * least == 0
