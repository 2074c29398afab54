"""The engines: to the last bit what the optimizer does, in place, in constant memory."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
from examples import AROUND, EXPRESSIONS, around
from hypothesis import given, settings
from hypothesis import strategies as st

import refopt
from refopt.catalog import RULES, build
from refopt.engines import blocked, compiled, host
from refopt.engines.engine import EngineError
from refopt.optimizer import Optimizer

Array = Any
Arrays = dict[str, Array]

STACKS = [
    "layer_adaptation(lookahead(gradient_centralization(clip_by_global_norm(nadam)), k=2))",
    "lazy(lookahead(lookahead(rmsprop_lr_inside(momentum=0.9, centered=True), k=2), k=3))",
    "sgd(momentum=0.9, nesterov=True, dampening=0.5)",
    "gradient_accumulation(lazy(clip_by_norm(amsgrad)), k=2)",
    "lazy_parameter(gradient_centralization(nadam))",
    "gradient_centralization(clip_by_value(sgd, max_value=0.0))",
    "count_missing(gradient_centralization(clip_by_norm(nadam)))",
    "clip_by_norm(l2(trust_ratio(clip_by_global_norm_offset(adam))))",
]
"""Compositions in which what is computed of whole arrays meets what is computed of elements."""

SHAPES = {
    "point": (),
    "vector": (5,),
    "matrix": (4, 3),
    "empty": (0,),
    "nothing": (0, 3),
    "column": (6, 1),
    "cube": (3, 4, 5),
    "blocks": (9_000,),  # more elements than a block has
    "rows": (2, 9_000),  # rows longer than a block
}
SPECIAL = 0.1
"""How many elements are -0, and how many the smallest number."""

TRUE_MOST = blocked.MOST
PIECES = {"pieces": (70_001,), "long rows": (3, 40_000)}
"""More elements than exist at a time of what is reduced."""


@pytest.fixture(autouse=True, scope="module")
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "MOST", 1 << 12)
        yield


def drawn(shapes: Mapping[str, tuple[int, ...]], dtype: str, seed: int) -> Arrays:
    """Arrays with a row of zeros, some -0, and from the tiniest to large elements."""
    random = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes.items():
        scale = 10.0 ** random.integers(-3, 3)
        arrays[name] = np.asarray(scale * random.standard_normal(shape), dtype)
        arrays[name][random.random(shape) < SPECIAL] = -0.0
        arrays[name][random.random(shape) < SPECIAL] = np.finfo(dtype).smallest_subnormal
        if arrays[name].ndim > 1:
            arrays[name][1:2] = 0
    return arrays


def flat(params: Mapping[str, Array], state: Any) -> Arrays:
    """Every array and count by name."""
    return dict(params) | {f"{p}|{k}": x for p, values in state.items() for k, x in values.items()}


def assert_same_bits(expected: Mapping[str, Array], got: Mapping[str, Array]) -> None:
    """NaN may have any payload and sign: IEEE 754 leaves them open."""
    assert expected.keys() == got.keys()
    for name, x in expected.items():
        a, b = np.asarray(x), np.asarray(got[name])
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        number = ~np.isnan(a)
        assert np.array_equal(number, ~np.isnan(b)), name
        assert a[number].tobytes() == b[number].tobytes(), name


def assert_agrees(
    optimizer: Optimizer,
    engine: str,
    dtype: str,
    shapes: Mapping[str, tuple[int, ...]],
    steps: int = 6,
    seed: int = 0,
) -> None:
    """Several steps, with missing gradients, NaN, infinity and changing learning rates."""
    fast = refopt.compile(optimizer, engine)
    params = drawn(shapes, dtype, seed)
    own = copy.deepcopy(params)
    state, own_state = optimizer.init(params), fast.init(own)
    for step in range(steps):
        grads = drawn(shapes, dtype, seed + 1 + step)
        if step == 2:
            grads |= dict.fromkeys(list(shapes)[:2])
        if step == 4:
            last = grads[list(shapes)[-1]]
            last[(0,) * last.ndim] = np.nan
            last[(-1,) * last.ndim] = -np.inf
        lr = None if step < 3 else 0.1 / step
        params, state = optimizer.step(params, grads, state, lr=lr)
        given = (own, own_state)
        got = fast.step(own, grads, own_state, lr=lr)
        assert got[0] is given[0]
        assert got[1] is given[1]
        assert_same_bits(flat(params, state), flat(own, own_state))


# Bits


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("expression", [*EXPRESSIONS, *STACKS])
def test_blocks_have_the_bits_of_the_optimizer(expression: str, dtype: str) -> None:
    assert_agrees(build(expression), "blocked", dtype, SHAPES)


@pytest.mark.parametrize(
    ("expression", "dtype"),
    [
        *((expression, "float32") for expression in (*EXPRESSIONS, *STACKS)),
        *((expression, "float64") for expression in ("adamw", "lamb", "ranger", *STACKS)),
    ],
)
def test_compiled_loops_have_the_bits_of_the_optimizer(expression: str, dtype: str) -> None:
    assert_agrees(build(expression), "numba", dtype, SHAPES)


@pytest.mark.parametrize("engine", ["blocked", "numba"])
@pytest.mark.parametrize("expression", ["lamb", "lars", *STACKS])
def test_reductions_in_pieces_have_the_bits_of_the_optimizer(expression: str, engine: str) -> None:
    assert_agrees(build(expression), engine, "float32", PIECES, steps=3)


@pytest.mark.parametrize("expression", ["adamw", "sgd(momentum=0.9)", "lazy(adam)"])
def test_blocks_of_their_true_size_have_the_bits_of_the_optimizer(
    expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked, "MOST", TRUE_MOST)
    shapes = {"large": (2 * TRUE_MOST + 7,), "rows": (2, TRUE_MOST + 3)}
    assert_agrees(build(expression), "blocked", "float32", shapes, steps=2)


STACKED = st.recursive(
    st.sampled_from(sorted(RULES)),
    lambda inside: st.builds(around, st.sampled_from(sorted(AROUND)), inside),
    max_leaves=4,
)
SIDES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def optimizers(draw: st.DrawFn) -> Optimizer:
    """Any rule in any variants, with any hyperparameters that decide a branch or a rounding."""
    optimizer = build(draw(STACKED))
    unit = st.floats(0, 1, exclude_max=True)
    values: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("momentum", "rho", "beta1", "beta2"), unit),
        **dict.fromkeys(("dampening", "alpha"), st.floats(0, 1)),
        **dict.fromkeys(("nesterov", "centered"), st.booleans()),
        **dict.fromkeys(("eps", "weight_decay", "max_value"), st.floats(0, 10)),
        **dict.fromkeys(("lr", "initial_accumulator"), st.floats(0, 2)),
        **dict.fromkeys(("max_norm", "scale"), st.floats(1e-3, 1e3)),
        "k": st.integers(1, 4),
    }
    chosen = {name: draw(values[name]) for name in optimizer.hyperparameters() if name in values}
    return optimizer.with_hyperparameters(**chosen)


@settings(max_examples=150)
@given(
    optimizer=optimizers(),
    shapes=st.lists(SIDES, min_size=1, max_size=4),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 1000),
)
def test_blocks_agree_for_any_optimizer(
    optimizer: Optimizer, shapes: list[tuple[int, ...]], dtype: str, seed: int
) -> None:
    named = {str(i): shape for i, shape in enumerate((*shapes, (2,)))}
    assert_agrees(optimizer, "blocked", dtype, named, seed=seed)


@settings(max_examples=12)  # each compiles a few loops
@given(
    optimizer=optimizers(),
    shapes=st.lists(SIDES, min_size=1, max_size=4),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 1000),
)
def test_compiled_loops_agree_for_any_optimizer(
    optimizer: Optimizer, shapes: list[tuple[int, ...]], dtype: str, seed: int
) -> None:
    named = {str(i): shape for i, shape in enumerate((*shapes, (2,)))}
    assert_agrees(optimizer, "numba", dtype, named, seed=seed)


@given(st.integers(0, 400_000), st.sampled_from(["float32", "float64"]))
def test_sums_of_pieces_are_sums(size: int, dtype: str) -> None:
    terms = np.random.default_rng(size).standard_normal(size).astype(dtype) ** 2
    pieces = np.split(terms, host._ends_of_terms(size)[:-1])
    assert max(piece.size for piece in pieces) <= host.PIECE
    total = host._total(size, iter([np.sum(piece) for piece in pieces]))
    assert total == np.sum(terms)


# Memory


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "columns first": np.asfortranarray,
    "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "unaligned": lambda x: np.frombuffer(bytearray(b" " + x.tobytes()), x.dtype, x.size, 1).reshape(
        x.shape
    ),
}


@pytest.mark.parametrize("engine", ["blocked", "numba"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("expression", ["adamw", "lamb", STACKS[0], "lazy(adam)"])
def test_arrays_may_lie_in_memory_as_they_like(expression: str, layout: str, engine: str) -> None:
    optimizer = build(expression)
    fast = refopt.compile(optimizer, engine)
    shapes = {"w": (120, 7), "v": (3, 4)}
    laid = LAYOUTS[layout]
    params = {name: laid(x) for name, x in drawn(shapes, "float32", 0).items()}
    own = {name: laid(x.copy()) for name, x in params.items()}
    state, own_state = optimizer.init(params), fast.init(own)
    for step in range(3):
        grads = drawn(shapes, "float32", 1 + step)
        if step == 2:
            grads = {name: laid(x) for name, x in grads.items()}
        params, state = optimizer.step(params, grads, state)
        fast.step(own, grads, own_state)
        # The reference's results lie in memory as its operations leave them: compare from there.
        assert_same_bits(flat(params, state), flat(own, own_state))
        params = {name: own[name].copy("K") for name in own}


@pytest.mark.parametrize("engine", ["blocked", "numba"])
@pytest.mark.parametrize("shift", [0, 1])
def test_a_gradient_may_share_memory_with_a_parameter(engine: str, shift: int) -> None:
    buffer = np.linspace(1, 2, 20_001, dtype="float32")
    theta, g = buffer[:20_000], buffer[shift : 20_000 + shift]
    optimizer = refopt.adamw(lr=0.1)
    expected, _ = optimizer.step(theta, g, optimizer.init(theta))
    fast = refopt.compile(optimizer, engine)
    fast.step(theta, g, fast.init(theta))
    assert theta.tobytes() == expected.tobytes()


def test_read_only_gradients_and_mapped_parameters(tmp_path: Path) -> None:
    theta = np.memmap(tmp_path / "theta", "float32", "w+", shape=(10,))
    theta[:] = 1
    g = np.ones(10, "float32")
    g.flags.writeable = False
    for engine in ("blocked", "numba"):
        fast = refopt.compile(refopt.sgd(lr=0.25), engine)
        fast.step(theta, g, fast.init(theta))
    assert theta.tolist() == [0.5] * 10


@pytest.mark.parametrize("engine", ["blocked", "numba"])
@pytest.mark.parametrize("expression", ["adamw", "sgd(momentum=0.9)", "lamb", "lookahead(adam)"])
def test_a_step_takes_memory_for_blocks_alone(expression: str, engine: str) -> None:
    fast = refopt.compile(build(expression), engine)
    theta = np.ones(10_000_000, "float32")
    g = np.full_like(theta, 0.5)
    state = fast.init(theta)
    fast.step(theta, g, state)  # the first step compiles
    tracemalloc.start()
    try:
        fast.step(theta, g, state)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = 2 * blocked.MEMORY if engine == "blocked" else 0  # by two threads
    assert peak + kept < 4 * 2**20


# State


@pytest.mark.parametrize("engine", ["plain", "blocked", "numba"])
@pytest.mark.parametrize("expression", ["nadam", "lookahead(rmsprop_lr_inside(momentum=0.9), k=2)"])
def test_a_saved_state_goes_on_to_the_same_bits(
    expression: str, engine: str, tmp_path: Path
) -> None:
    optimizer = build(expression)
    fast = refopt.compile(optimizer, engine)
    params = drawn(SHAPES, "float32", 0)
    own = copy.deepcopy(params)
    state, own_state = optimizer.init(params), fast.init(own)
    for step in range(5):
        grads = drawn(SHAPES, "float32", 1 + step)
        params, state = optimizer.step(params, grads, state)
        fast.step(own, grads, own_state)
        refopt.save(own_state, tmp_path / "state.npz")
        own_state = refopt.load(tmp_path / "state.npz", own)
    assert_same_bits(flat(params, state), flat(own, own_state))


def test_the_state_of_the_optimizer_can_be_taken_over() -> None:
    optimizer = build(STACKS[1])
    params = drawn(SHAPES, "float64", 0)
    state = optimizer.init(params)
    for step in range(6):
        params, state = optimizer.step(params, drawn(SHAPES, "float64", step), state)
    own, own_state = copy.deepcopy(params), copy.deepcopy(state)
    grads = drawn(SHAPES, "float64", 9)
    refopt.compile(optimizer, "blocked").step(own, grads, own_state)
    assert_same_bits(flat(*optimizer.step(params, grads, state)), flat(own, own_state))


def test_parameters_left_alone_by_name() -> None:
    optimizer = refopt.weight_decay(refopt.adam(), 0.1, exclude=lambda name: "v" in name)
    for engine in ("blocked", "numba"):
        assert_agrees(optimizer, engine, "float32", SHAPES)


# Arrays that come again


CHANGES: dict[str, Callable[[Arrays, Arrays, Any], Any]] = {
    "another gradient": lambda params, grads, state: grads.update(w=-grads["w"]),
    "columns first": lambda params, grads, state: grads.update(w=np.asfortranarray(grads["w"])),
    "missing": lambda params, grads, state: grads.update(v=None),
    "read-only": lambda params, grads, state: grads["w"].setflags(write=False),
    "the parameter": lambda params, grads, state: grads.update(w=params["w"]),
    "in the parameter": lambda params, grads, state: grads.update(w=params["w"][::-1]),
    "another parameter": lambda params, grads, state: params.update(w=-params["w"]),
    "another state": lambda params, grads, state: state.update(v=copy.deepcopy(state["v"])),
    "another count": lambda params, grads, state: state["v"].update(t=1),
    "another order": lambda params, grads, state: params.update(w=params.pop("w")),
    "fewer parameters": lambda params, grads, state: [x.pop("w") for x in (params, grads, state)],
}
"""What may happen to parameters, gradients and state between two steps."""


@pytest.mark.parametrize("engine", ["blocked", "numba"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("expression", ["adamw", "lamb", "clip_by_global_norm(sgd(momentum=0.9))"])
def test_what_changes_between_steps_is_noticed(expression: str, change: str, engine: str) -> None:
    optimizer = build(expression)
    fast = refopt.compile(optimizer, engine)
    shapes = {"w": (4, 3), "v": (5,)}
    own, grads = drawn(shapes, "float32", 0), drawn(shapes, "float32", 1)
    own_state = fast.init(own)
    for step in range(6):
        if step == 3:
            CHANGES[change](own, grads, own_state)
        params, state, given = copy.deepcopy((own, own_state, grads))
        expected = flat(*optimizer.step(params, given, state))
        fast.step(own, grads, own_state)
        assert_same_bits(expected, flat(own, own_state))


@pytest.mark.parametrize("engine", ["blocked", "numba"])
def test_what_is_no_longer_right_is_refused_in_a_later_step(engine: str) -> None:
    fast = refopt.compile(refopt.adam(), engine)
    theta = np.ones((4, 2), "float32")
    g, state = theta.copy(), fast.init(theta)
    fast.step(theta, g, state)
    before = theta.copy()
    with pytest.raises(ValueError, match=r"has shape \(4, 2\), its gradient \(8,\)"):
        fast.step(theta, g.ravel(), state)
    with pytest.raises(ValueError, match="has dtype float32, its gradient float64"):
        fast.step(theta, g.astype("float64"), state)
    with pytest.raises(TypeError, match="lr must be a Python number"):
        fast.step(theta, g, state, lr=np.asarray(0.1))
    with pytest.raises(ValueError, match="lr must be in"):
        fast.step(theta, g, state, lr=-1.0)
    with pytest.raises(ValueError, match="is not that of"):
        fast.step(theta, g, {"": {"t": 1, "adam.m": theta}})
    theta.flags.writeable = False
    with pytest.raises(EngineError, match="cannot be written to"):
        fast.step(theta, g, state)
    assert theta.tobytes() == before.tobytes()


@pytest.mark.parametrize("engine", ["blocked", "numba"])
def test_an_engine_keeps_no_array_alive(engine: str) -> None:
    fast = refopt.compile(refopt.adam(), engine)
    params, grads = {"w": np.ones((4, 2))}, {"w": np.ones((4, 2))}
    state = fast.init(params)
    arrays = [weakref.ref(params["w"]), weakref.ref(grads["w"]), weakref.ref(state["w"]["adam.m"])]
    for _ in range(2):
        fast.step(params, grads, state)
    del params, grads, state
    assert [x() for x in arrays] == [None] * 3


def test_an_array_that_an_engine_knows_stays_where_it_is() -> None:
    fast = refopt.compile(refopt.sgd())
    theta = np.ones(4)
    fast.step(theta, np.ones(4), fast.init(theta))
    with pytest.raises(ValueError, match="cannot resize"):
        theta.resize(400, refcheck=False)


@pytest.mark.parametrize("engine", ["blocked", "numba"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda fast: pickle.loads(pickle.dumps(fast))])
def test_a_copy_goes_on_with_other_arrays(copied: Callable[[Any], Any], engine: str) -> None:
    fast = refopt.compile(refopt.adam(), engine)
    theta, g = np.ones(4), np.ones(4)
    state = fast.init(theta)
    fast.step(theta, g, state)
    again, (own, own_state) = copied(fast), copy.deepcopy((theta, state))
    for stepped_by, params, of in ((fast, theta, state), (again, own, own_state)):
        stepped_by.step(params, g, of)
    assert_same_bits(flat({"": theta}, state), flat({"": own}, own_state))
    assert again == fast


# Recordings


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("adamw", 1),
        ("sgd(momentum=0.9)", 2),  # the first step, the others
        ("radam", 2),  # not yet rectified, rectified
        ("lookahead(adam, k=3)", 2),
        ("clip_by_global_norm(nadam)", 1),
        ("gradient_accumulation(adam, k=4)", 2),
        ("cosine(adam, decay_steps=8)", 1),
    ],
)
def test_a_step_is_recorded_once(expression: str, count: int) -> None:
    fast = refopt.compile(build(expression), "blocked")
    params = [np.ones(3), np.ones(2)]
    state = fast.init(params)
    for step in range(12):
        fast.step(params, [np.ones(3), np.ones(2)], state, lr=0.5 if step == 5 else None)
    assert [len(found) for found in fast._recordings.values()] == [count]


def test_products_with_one_are_left_out() -> None:
    def operations(expression: str) -> list[str]:
        fast = refopt.compile(build(expression), "blocked")
        theta = np.ones(3)
        state = fast.init(theta)
        for _ in range(2):
            fast.step(theta, theta.copy(), state)
        (found,) = fast._recordings.values()
        elements = found[-1].program.finals[0].elements
        assert elements is not None
        return [name for name, _ in elements.fragment.code]

    assert operations("sgd(momentum=0.9)") == ["multiply", "add", "multiply", "subtract"]
    assert operations("sgd(momentum=0.9, dampening=0.5)").count("multiply") == 3
    # That of the learning rate stays: the next one may be another.
    assert operations("sgd(lr=1.0, momentum=0.9)").count("multiply") == 2


# Which engine, and what it refuses


def test_auto_takes_an_engine_that_knows_the_arrays() -> None:
    params = {"w": np.ones(3, "float32"), "b": np.ones(3, "float16")}
    fast = refopt.compile(refopt.adam())
    assert getattr(fast._chosen(params.values()), "name", None) == "numba"
    fast.step(params, params, fast.init(params))
    assert fast._chosen([array_api_strict.ones(3)]) is None


def test_without_numba_auto_takes_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "find_spec", lambda _: None)
    compiled._engine.cache_clear()
    try:
        fast = refopt.compile(refopt.adam())
        assert getattr(fast._chosen([np.ones(3)]), "name", None) == "blocked"
        with pytest.raises(ImportError, match=r"pip install 'refopt\[fast\]'"):
            refopt.compile(refopt.adam(), "numba")
        with pytest.raises(ImportError, match=r"pip install 'refopt\[cuda\]'"):
            refopt.compile(refopt.adam(), "cupy")
    finally:
        compiled._engine.cache_clear()


def test_auto_says_so_if_numba_does_not_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def numba(others: bool) -> Any:
        raise ImportError(f"Numba needs NumPy 2.0 or less, others={others}")

    monkeypatch.setattr(compiled, "_numba", numba)
    compiled._engine.cache_clear()
    try:
        fast = refopt.compile(refopt.adam())
        theta = np.ones(3)
        with pytest.warns(UserWarning, match="does without numba: Numba needs NumPy 2.0 or less"):
            fast.step(theta, theta.copy(), fast.optimizer.init(theta))
        assert theta.tolist() != [1.0] * 3
    finally:
        compiled._engine.cache_clear()


@pytest.mark.parametrize("engine", ["auto", "plain"])
def test_other_libraries_are_stepped_plainly_and_in_place(engine: str) -> None:
    optimizer = build("lookahead(nadam, k=2)")
    fast = refopt.compile(optimizer, engine)
    params = {"w": array_api_strict.ones((2, 3)), "s": array_api_strict.asarray(1.5)}
    own = {name: array_api_strict.asarray(x, copy=True) for name, x in params.items()}
    state, own_state = optimizer.init(params), fast.init(own)
    for _ in range(3):
        params, state = optimizer.step(params, params, state)
        got, _ = fast.step(own, own, own_state)
        assert got is own
    assert_same_bits(flat(params, state), flat(own, own_state))


def test_no_engine_has_that_name() -> None:
    with pytest.raises(ValueError, match="no engine is named 'fast'; there are auto, plain"):
        refopt.compile(refopt.adam(), "fast")


@pytest.mark.parametrize("engine", ["plain", "blocked", "numba"])
def test_what_cannot_be_written_to_is_refused(engine: str) -> None:
    fast = refopt.compile(refopt.adam(), engine)
    theta = np.ones(3)
    state = fast.init(theta)
    theta.flags.writeable = False
    for refused in (fast.init, lambda x: fast.step(x, x, state)):
        with pytest.raises(EngineError, match="cannot be written to"):
            refused(theta)
    with pytest.raises(EngineError, match="cannot be written to"):
        fast.init(np.float64(1.0))


@pytest.mark.parametrize("engine", ["plain", "blocked", "numba"])
def test_what_would_be_changed_twice_is_refused(engine: str) -> None:
    fast = refopt.compile(refopt.sgd(), engine)
    theta = np.ones(4)
    params = {"tied": theta, "too": theta}
    with pytest.raises(ValueError, match="'too' and parameter 'tied', or their states, share"):
        fast.step(params, params, fast.init(params))
    assert theta.tolist() == [1.0] * 4


@pytest.mark.parametrize("engine", ["blocked", "numba"])
def test_what_overlaps_is_refused(engine: str) -> None:
    fast = refopt.compile(refopt.sgd(), engine)
    buffer = np.ones(5)
    params = {"a": buffer[:3], "b": buffer[2:]}
    with pytest.raises(ValueError, match="'a' and parameter 'b', or their states, share memory"):
        fast.step(params, params, fast.init(params))
    with pytest.raises(ValueError, match="share"):
        fast.step(theta := np.broadcast_to(np.ones(1), (3,)).copy(), theta, {
            "": {"t": 0, "sgd.b": theta}})  # fmt: skip
    assert buffer.tolist() == [1.0] * 5


@pytest.mark.parametrize("engine", ["plain", "blocked", "numba"])
def test_states_of_other_parameters_are_refused(engine: str) -> None:
    fast = refopt.compile(refopt.adam(), engine)
    theta = np.ones(4)
    with pytest.raises(ValueError, match=r"is float64 of shape \(4,\), one of its state arrays"):
        fast.step(theta, theta, fast.init(np.ones(5)))
    with pytest.raises(ValueError, match="one of its state arrays float32"):
        fast.step(theta, theta, fast.init(np.ones(4, "float32")))
    with pytest.raises(ValueError, match="is not that of"):
        fast.step(theta, theta, refopt.sgd().init(theta))


def test_arrays_and_numbers_that_an_engine_does_not_know() -> None:
    blocked = refopt.compile(refopt.adam(), "blocked")
    with pytest.raises(EngineError, match="steps NumPy arrays"):
        blocked.init(array_api_strict.ones(3))
    with pytest.raises(EngineError, match="byte order"):
        blocked.init(np.ones(3, np.dtype("float32").newbyteorder()))
    with pytest.raises(EngineError, match="engine 'numba' knows float32 and float64"):
        refopt.compile(refopt.adam(), "numba").init(np.ones(3, "float16"))
    theta = np.ones(3)
    with pytest.raises(TypeError, match="lr must be a Python number, got ndarray"):
        blocked.step(theta, theta, blocked.init(theta), lr=np.asarray(0.1))
    with pytest.raises(ValueError, match="lr must be in"):
        blocked.step(theta, theta, blocked.init(theta), lr=-1.0)


def test_nothing_is_written_if_a_step_fails() -> None:
    fast = refopt.compile(refopt.adam(), "blocked")
    params = {"a": np.ones(3), "b": np.ones(3)}
    state = fast.init(params)
    before = copy.deepcopy((params, state))
    masked = np.ma.masked_array(np.ones(3))
    with pytest.raises(EngineError, match="has an array of type MaskedArray"):
        fast.step(params, params | {"b": masked}, state)
    assert_same_bits(flat(*before), flat(params, state))


# Compilation


def test_loops_use_vectors_and_contract_nothing(tmp_path: Path) -> None:
    from refopt.engines import numba as engine

    engine.loop.cache_clear()
    found: list[Any] = []
    original = engine.loop

    def loop(*arguments: Any) -> Any:
        found.append(original(*arguments))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "loop", loop)
        patch.setattr(engine, "_folder", lambda: tmp_path)  # numba shows no code from the disk
        assert_agrees(build("lookahead(amsgrad, k=1)"), "numba", "float32", {"w": (100,)}, steps=1)
    (code,) = {text for f in found for text in f.inspect_asm().values()}
    if "sqrtss" in code:  # x86
        assert "sqrtps" in code
    assert "fmadd" not in code
    assert "fmla" not in code


PROGRAM = """
import numpy as np, refopt
from refopt.engines import numba as engine
found = []
original = engine.loop
engine.loop = lambda *a: found.append(original(*a)) or found[-1]
fast = refopt.compile(refopt.adamw(), "numba")
theta = np.ones(5, "float32")
fast.step(theta, theta.copy(), fast.init(theta))
print(sum(found[-1].stats.cache_hits.values()), sum(found[-1].stats.cache_misses.values()))
"""


def stepped(cache: Path) -> str:
    """How much a new process found in the cache, and how much it compiled for it."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    environment.pop("NUMBA_CACHE_DIR", None)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_compiled_code_is_kept_on_disk(tmp_path: Path) -> None:
    assert stepped(tmp_path) == "0 1"
    assert stepped(tmp_path) == "1 0"


def test_what_is_wrong_on_the_disk_is_made_anew(tmp_path: Path) -> None:
    stepped(tmp_path)
    (source,) = tmp_path.rglob("*.py")
    source.write_bytes(b"raise SystemExit")
    assert stepped(tmp_path) == "1 0"
    for suffix in (".nbi", ".nbc"):
        (broken,) = tmp_path.rglob(f"*{suffix}")
        broken.write_bytes(b"raise SystemExit")
        assert stepped(tmp_path) == "0 1"  # not kept: what was there is removed
        assert stepped(tmp_path) == "0 1"
        assert stepped(tmp_path) == "1 0"


def test_a_cache_that_cannot_be_written_to_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "refopt").write_text("a file where the folder should be")
    assert stepped(tmp_path) == "0 1"
