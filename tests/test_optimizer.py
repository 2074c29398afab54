"""Optimizers: containers, missing gradients, purity, dtypes, backends, and what they refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import pytest
from conftest import Backend
from examples import AROUND, EXPRESSIONS, around

import refopt
from refopt.arithmetic.bounds import FLOAT32, FLOAT64, Bounded, distance
from refopt.catalog import build
from refopt.optimizer import Optimizer
from refopt.tree import flattened

Array = Any
SHAPES = ((), (5,), (4, 3), (11,), (0,))
STEPS = 7


def drawn(dtype: str, seed: int = 0) -> tuple[list[Array], list[list[Array]]]:
    """Parameters of every shape, and gradients for several steps, with a row of zeros in each."""
    random = np.random.default_rng(seed)

    def draw() -> list[Array]:
        arrays = [np.asarray(random.standard_normal(shape), dtype) for shape in SHAPES]
        arrays[2][1] = 0
        return arrays

    return draw(), [draw() for _ in range(STEPS)]


def run(
    optimizer: Optimizer, params: list[Array], gradients: list[list[Array]]
) -> tuple[list[Array], Any]:
    state = optimizer.init(params)
    for grads in gradients:
        params, state = optimizer.step(params, grads, state)
    return params, state


def arrays_of(params: Any, state: Any) -> dict[str, Array]:
    """Every array of parameters and state by name; step counts are left out."""
    found = {f"{name}|": x for name, x in flattened(params).items()}
    for name, values in state.items():
        found |= {f"{name}|{key}": x for key, x in values.items() if not isinstance(x, int)}
    return found


def bits(x: Array) -> tuple[Any, Any, bytes]:
    x = np.asarray(x)
    return x.shape, x.dtype, x.tobytes()


# Containers and missing gradients


def test_parameters_come_back_in_the_containers_they_came_in() -> None:
    params = {"block": [{"w": np.ones((2, 3)), "b": np.zeros(3)}, (np.ones(2),)], "s": np.ones(())}
    optimizer = refopt.adam()
    state = optimizer.init(params)
    assert list(state) == ["block.0.w", "block.0.b", "block.1.0", "s"]
    new, state = optimizer.step(params, params, state)
    assert new.keys() == params.keys()
    assert isinstance(new["block"][1], tuple)
    assert {name: x.shape for name, x in flattened(new).items()} == {
        name: x.shape for name, x in flattened(params).items()
    }
    assert all(values["t"] == 1 for values in state.values())


def test_one_array_is_a_container_of_its_own() -> None:
    theta = np.ones(3)
    new, state = refopt.sgd(lr=0.5).step(theta, theta, refopt.sgd().init(theta))
    assert new.tolist() == [0.5] * 3
    assert list(state) == [""]


def test_no_parameters_are_no_error() -> None:
    assert refopt.adam().step({}, {}, refopt.adam().init({})) == ({}, {})


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_parameters_are_independent(expression: str) -> None:
    if "global_norm" in expression:
        pytest.skip("a global norm makes parameters depend on each other by definition")
    optimizer = build(expression)
    params, gradients = drawn("float32")
    together = arrays_of(*run(optimizer, params, gradients))
    for i, theta in enumerate(params):
        alone = arrays_of(*run(optimizer, [theta], [[grads[i]] for grads in gradients]))
        for name, x in alone.items():
            assert bits(x) == bits(together[name.replace("0|", f"{i}|", 1)])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_missing_gradient_leaves_parameter_state_and_count(
    backend: Backend, expression: str
) -> None:
    optimizer = build(expression)
    if "accumulation" in expression or "count_missing" in expression:
        pytest.skip("says itself what a missing gradient means")
    params, gradients = drawn("float32")
    params = [backend.asarray(x, "float32") for x in params]
    grads = [[backend.asarray(x, "float32") for x in step] for step in gradients]
    before, state = run(optimizer, params, grads[:3])
    some: list[Array] = [None if i in (1, 2) else g for i, g in enumerate(grads[3])]
    after, new = optimizer.step(before, some, state)
    for i in range(len(SHAPES)):
        moved = int(i not in (1, 2))
        assert new[str(i)]["t"] == state[str(i)]["t"] + moved
        if not moved:
            assert bits(backend.numpy(after[i])) == bits(backend.numpy(before[i]))
            for key, x in new[str(i)].items():
                assert key == "t" or bits(backend.numpy(x)) == bits(
                    backend.numpy(state[str(i)][key])
                )


def test_all_gradients_missing_changes_nothing() -> None:
    params, gradients = drawn("float64")
    optimizer = build("lookahead(clip_by_global_norm(adamw), k=2)")
    before, state = run(optimizer, params, gradients)
    after, new = optimizer.step(before, [None] * len(params), state)
    old = arrays_of(before, state)
    assert {k: bits(x) for k, x in arrays_of(after, new).items()} == {
        k: bits(x) for k, x in old.items()
    }


# Purity


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_step_changes_none_of_its_arguments(expression: str) -> None:
    optimizer = build(expression)
    params, gradients = drawn("float32")
    params, state = run(optimizer, params, gradients)
    arguments = (params, gradients[0], state)
    before = copy.deepcopy(arguments)
    first = optimizer.step(*arguments)
    again = optimizer.step(*arguments)
    assert {k: bits(x) for k, x in arrays_of(*first).items()} == {
        k: bits(x) for k, x in arrays_of(*again).items()
    }
    for now, then in zip(arguments, before, strict=True):
        assert all(
            x is y is None or isinstance(x, int) or bits(x) == bits(y)
            for x, y in zip(flattened(now).values(), flattened(then).values(), strict=True)
        )
    assert {name: values["t"] for name, values in state.items()} == {
        name: values["t"] for name, values in before[2].items()
    }


@pytest.mark.parametrize("missing", [False, True], ids=["", "missing"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_state_shares_no_memory_with_what_the_caller_may_write_into(
    expression: str, missing: bool
) -> None:
    optimizer = build(expression)
    params, gradients = drawn("float32")
    state = optimizer.init(params)
    for step, full in enumerate(gradients):
        grads = [None if missing and i == step % 4 else g for i, g in enumerate(full)]
        new, after = optimizer.step(params, grads, state)
        others = [*params, *(g for g in grads if g is not None), *new]
        others += [x for k, x in arrays_of([], state).items()]
        for x in arrays_of([], after).values():
            assert not any(np.shares_memory(x, other) for other in others)
        params, state = new, after


# Dtypes and backends


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_dtypes_and_shapes_stay(expression: str, dtype: str) -> None:
    params, gradients = drawn(dtype)
    new, state = run(build(expression), params, gradients)
    for i, shape in enumerate(SHAPES):
        assert new[i].shape == shape
        for x in (new[i], *(v for k, v in state[str(i)].items() if k != "t")):
            assert type(x) is np.ndarray
            assert x.dtype == dtype
            assert x.shape in (shape, ())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_backend_computes_what_numpy_does(
    backend: Backend, expression: str, dtype: str
) -> None:
    optimizer = build(expression)
    params, gradients = drawn(dtype)
    expected = arrays_of(*run(optimizer, params, gradients))
    got = arrays_of(
        *run(
            optimizer,
            [backend.asarray(x, dtype) for x in params],
            [[backend.asarray(x, dtype) for x in step] for step in gradients],
        )
    )
    if backend.name == "cupy":
        worst = furthest(
            optimizer, params, gradients, [backend.numpy(got[f"{i}|"]) for i in range(5)]
        )
        assert worst <= 1
    else:
        assert {k: bits(x) for k, x in got.items()} == {k: bits(x) for k, x in expected.items()}


def furthest(
    optimizer: Optimizer, params: list[Array], gradients: list[list[Array]], got: list[Array]
) -> float:
    """The largest distance of results from the reference, as a fraction of the computed bound."""
    format = FLOAT32 if params[0].dtype == np.float32 else FLOAT64
    expected, _ = run(
        optimizer.lifted(lambda _, value: Bounded(value, 0.0, FLOAT64)),
        [Bounded.exact(x, format) for x in params],
        [[Bounded.exact(g, format) for g in grads] for grads in gradients],
    )
    return max(float(distance(x, y).max(initial=0)) for x, y in zip(got, expected, strict=True))


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("an array was converted to NumPy")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_nothing_leaves_the_device(expression: str) -> None:
    """Arrays of array-api-strict on another device mix with no other and become no NumPy array."""
    device = array_api_strict.Device("device1")
    params, gradients = drawn("float32")

    def there(x: Array) -> Array:
        return array_api_strict.asarray(x, device=device)

    optimizer = build(expression)
    new, state = run(optimizer, [*map(there, params)], [[*map(there, step)] for step in gradients])
    expected = arrays_of(*run(optimizer, params, gradients))
    for name, x in arrays_of(new, state).items():
        assert x.device == device
        back = array_api_strict.asarray(x, device=array_api_strict.Device("CPU_DEVICE"))
        assert bits(back) == bits(expected[name])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_torch_tensors_stay_torch_tensors(monkeypatch: pytest.MonkeyPatch, expression: str) -> None:
    torch = pytest.importorskip("torch", reason="runs the reference on torch tensors")
    params, gradients = drawn("float32")
    ours, theirs = ([*map(torch.tensor, x)] for x in (params, gradients[0]))
    with monkeypatch.context() as patch:
        for name in ("__array__", "numpy", "tolist"):
            patch.setattr(torch.Tensor, name, refuse)
        optimizer = build(expression)
        new, state = run(optimizer, ours, [theirs] * STEPS)
    assert all(isinstance(x, torch.Tensor) for x in arrays_of(new, state).values())
    assert furthest(optimizer, params, [gradients[0]] * STEPS, [x.numpy() for x in new]) <= 1


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_jax_arrays_stay_jax_arrays(expression: str) -> None:
    jax = pytest.importorskip("jax", reason="runs the reference on JAX arrays")
    params, gradients = drawn("float32")
    ours, theirs = ([*map(jax.numpy.asarray, x)] for x in (params, gradients[0]))
    optimizer = build(expression)
    # arrays that have a shape and no values: nothing could be converted
    jax.eval_shape(lambda p, g: run(optimizer, p, [g] * STEPS), ours, theirs)
    new, state = run(optimizer, ours, [theirs] * STEPS)
    assert all(type(x) is type(ours[0]) for x in arrays_of(new, state).values())
    assert furthest(optimizer, params, [gradients[0]] * STEPS, [*map(np.asarray, new)]) <= 1


@pytest.mark.parametrize("layout", ["transposed", "strided", "reversed"])
def test_the_layout_of_an_array_does_not_matter(layout: str) -> None:
    random = np.random.default_rng(1)
    base = random.standard_normal((6, 6)).astype(np.float32)
    views = {"transposed": base.T, "strided": base[::2, ::3], "reversed": base[::-1, ::-1]}
    theta, optimizer = views[layout], refopt.adamw()
    plain, _ = run(optimizer, [theta.copy()], [[theta.copy()]] * 3)
    viewed, _ = run(optimizer, [theta], [[theta]] * 3)
    assert np.array_equal(plain[0], viewed[0])


# Hyperparameters


def test_a_step_may_have_a_learning_rate_of_its_own() -> None:
    theta, optimizer = np.ones(1), refopt.sgd(lr=1.0)
    state = optimizer.init(theta)
    assert float(optimizer.step(theta, theta, state, lr=0.25)[0][0]) == 0.75
    assert float(optimizer.step(theta, theta, state, lr=0)[0][0]) == 1.0
    assert float(optimizer.step(theta, theta, state)[0][0]) == 0.0


@pytest.mark.parametrize("lr", [-1.0, np.nan, np.inf, True], ids=str)
def test_a_learning_rate_outside_its_domain_is_refused_at_the_step_too(lr: float) -> None:
    theta, optimizer = np.ones(1), refopt.sgd()
    with pytest.raises(ValueError, match=r"step: lr must be in \[0, inf\), got "):
        optimizer.step(theta, theta, optimizer.init(theta), lr=lr)
    with pytest.raises(ValueError, match=r"sgd: lr must be in \[0, inf\), got "):
        refopt.sgd(lr=lr)


def test_numbers_of_numpy_do_not_promote_arrays() -> None:
    theta = np.ones(2, np.float32)
    optimizer = refopt.adamw(lr=np.float64(0.1), eps=np.float64(0.1), weight_decay=np.float64(0.1))
    new, _ = optimizer.step(theta, theta, optimizer.init(theta), lr=np.float64(0.5))
    assert new.dtype == np.float32
    assert str(optimizer) == "weight_decay(adam(eps=0.1, lr=0.1), weight_decay=0.1)"
    knots = refopt.piecewise_linear(refopt.sgd(), {1: np.float64(0.5)})
    assert knots.step(theta, theta, knots.init(theta))[0].dtype == np.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: refopt.adam(betta1=0.5),
            "adam has no hyperparameter 'betta1'; did you mean 'beta1'?",
        ),
        (lambda: refopt.adam(zzz=0.5), "'zzz'; it has: lr, beta1, beta2, eps"),
        (lambda: refopt.adamw(k=5), "weight_decay(adam) has no hyperparameter 'k'; it has: lr, "),
        (
            lambda: refopt.lookahead(refopt.adam(), kk=5),
            "no hyperparameter 'kk'; did you mean 'k'?",
        ),
        (lambda: refopt.count_missing(refopt.adam(), k=5), "'k'; it has: none"),
        (lambda: refopt.lookahead(refopt.adam(), 5, 0.5, 1), "takes 2 hyperparameters, got 3"),
        (lambda: refopt.lookahead(refopt.adam(), 5, k=6), "lookahead is given k twice"),
        (lambda: refopt.warmup(refopt.adam()), "warmup needs a value for warmup_steps"),
        (lambda: refopt.lookahead("adam"), "goes around an optimizer, such as refopt.lookahead("),
        (lambda: refopt.lookahead(refopt.adam), "got RuleConstructor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arguments_that_do_not_exist_are_named(make: Callable[[], Optimizer], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: refopt.adam(beta1=1.0), "adam: beta1 must be in [0, 1), got 1.0"),
        (lambda: refopt.adam(eps=-1e-8), "adam: eps must be in [0, inf), got -1e-08"),
        (lambda: refopt.adam(beta2="0.9"), "adam: beta2 must be in [0, 1), got '0.9'"),
        (lambda: refopt.adam(lr=None), "adam: lr must be in [0, inf), got None"),
        (lambda: refopt.lookahead(refopt.sgd(), k=0), "k must be integers in [1, inf), got 0"),
        (lambda: refopt.lookahead(refopt.sgd(), k=2.0), "k must be integers in [1, inf), got 2.0"),
        (lambda: refopt.sgd(nesterov=1), "sgd: nesterov must be True or False, got 1"),
        (
            lambda: refopt.piecewise_linear(refopt.sgd(), {-1: 0.5}),
            "piecewise_linear: schedule must be {step: factor, ...}, got {-1: 0.5}",
        ),
        (lambda: refopt.piecewise_linear(refopt.sgd(), {}), "got {}"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_outside_their_domain_are_refused(
    make: Callable[[], Optimizer], message: str
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        make()
    assert message in str(caught.value)


def test_other_hyperparameters_reach_every_layer_that_has_them() -> None:
    optimizer = refopt.l2(refopt.adamw(beta1=0.5)).with_hyperparameters(weight_decay=0.25, lr=0.5)
    assert str(optimizer) == (
        "l2(weight_decay(adam(beta1=0.5, lr=0.5), weight_decay=0.25), weight_decay=0.25)"
    )
    assert optimizer.hyperparameters() == {
        "lr": 0.5,
        "beta1": 0.5,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.25,
    }
    assert optimizer.pinned() == {"lr", "beta1", "weight_decay"}
    assert optimizer.unpinned(["lr", "beta1"]).pinned() == {"weight_decay"}
    assert refopt.adam().pinned() == set()


def test_lifting_replaces_every_real_hyperparameter_and_no_other() -> None:
    optimizer = build("piecewise_linear(lookahead(sgd(nesterov=True)), {3: 1.0})")
    lifted = optimizer.lifted(lambda name, value: (name, value))
    assert lifted.lr == ("lr", 1e-2)
    values = {k: v for layer in lifted.layers for k, v in layer.hyperparameters.items()}
    assert values == {
        "momentum": ("momentum", 0.0),
        "dampening": ("dampening", 0.0),
        "nesterov": True,
        "k": 5,
        "alpha": ("alpha", 0.5),
        "schedule": {3: ("schedule", 1.0)},
    }


# Refusals


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool", "complex64", "complex128"])
def test_parameters_that_are_not_real_numbers_are_refused(dtype: str) -> None:
    with pytest.raises(TypeError) as caught:
        refopt.adam().init({"a": np.ones(2), "table": [np.ones(3, dtype)]})
    assert f"parameter 'table.0' has dtype {dtype}; optimizers are defined for the real" in str(
        caught.value
    )


@pytest.mark.parametrize("dtype", ["int32", "complex64"])
def test_parameters_of_array_api_strict_are_refused_alike(dtype: str) -> None:
    theta = array_api_strict.ones(3, dtype=getattr(array_api_strict, dtype))
    with pytest.raises(
        TypeError, match="defined for the real floating-point numbers of its library"
    ):
        refopt.adam().init(theta)


@pytest.mark.parametrize("theta", [1.0, 1, "w", None], ids=repr)
def test_parameters_that_are_not_arrays_are_refused(theta: Any) -> None:
    with pytest.raises(TypeError, match="a parameter must be a floating-point array, got "):
        refopt.adam().init({"w": theta})


W = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"v": W}, "must have the same names; these are in one alone: v, w"),
        ({}, "these are in one alone: w"),
        (W, "these are in one alone: , w"),
        ({"w": W, "b": W}, "these are in one alone: b"),
        ({"w": W[0]}, "parameter 'w' has shape (2, 3), its gradient (3,)"),
        ({"w": W.T}, "parameter 'w' has shape (2, 3), its gradient (3, 2)"),
        ({"w": W.astype(float)}, "parameter 'w' has dtype float32, its gradient float64"),
        ({"w": W.astype(int)}, "parameter 'w' has dtype float32, its gradient int64"),
        ({"w": 1.0}, "parameter 'w' has shape (2, 3), its gradient None"),
        ({"w": W.tolist()}, "these are in one alone: w, w.0.0, "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gradients_that_do_not_fit_are_refused(grads: Any, message: str) -> None:
    params = {"w": W}
    optimizer = refopt.adam()
    with pytest.raises(ValueError, match="parameter") as caught:
        optimizer.step(params, grads, optimizer.init(params))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("other", "params", "message"),
    [
        ("sgd", {"w": W}, "the state of parameter 'w' is not that of adam: it has sgd.b, t, not "),
        ("lookahead(adam)", {"w": W}, "it has adam.m, adam.v, lookahead.slow, t, not adam.m, "),
        ("adam", {"v": W}, "parameters and state must have the same names; these are in one"),
    ],
    ids=["sgd", "lookahead", "names"],
)
def test_state_of_another_optimizer_is_refused(other: str, params: Any, message: str) -> None:
    with pytest.raises(ValueError, match="state") as caught:
        refopt.adam().step({"w": W}, {"w": W}, build(other).init(params))
    assert message in str(caught.value)


def test_every_variant_goes_around_every_other() -> None:
    theta = np.ones((3, 2), np.float32)
    for outer in AROUND:
        for inner in AROUND:
            optimizer = build(around(outer, around(inner, "sgd")))
            new, _ = run(optimizer, [theta], [[theta]] * 3)
            assert new[0].dtype == theta.dtype
            assert np.isfinite(new[0]).all()
