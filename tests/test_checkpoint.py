"""Saving and loading state: a run that was interrupted ends with the bits of one that was not."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Backend
from examples import EXPRESSIONS
from hypothesis import given
from hypothesis import strategies as st

import refopt
from refopt.catalog import build
from refopt.checkpoint import CheckpointError, load, save

SHAPES = {"": (), "bias": (5,), "block/0": (4, 3), "empty": (0,)}


def drawn(dtype: str, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {k: np.asarray(random.standard_normal(shape), dtype) for k, shape in SHAPES.items()}


def missing(grads: dict[str, Any], seed: int) -> dict[str, Any]:
    """The gradients with one missing in some steps."""
    return {k: None if (i + seed) % 5 == 0 else g for i, (k, g) in enumerate(grads.items())}


def bits(tree: dict[str, Any]) -> Any:
    return {
        k: bits(x) if isinstance(x, dict) else x if isinstance(x, int) else (x.dtype, x.tobytes())
        for k, x in tree.items()
    }


@given(
    expression=st.sampled_from(EXPRESSIONS),
    dtype=st.sampled_from(["float32", "float64"]),
    steps=st.integers(1, 9),
    data=st.data(),
)
def test_a_resumed_run_equals_one_that_was_not_interrupted(
    tmp_path_factory: pytest.TempPathFactory,
    expression: str,
    dtype: str,
    steps: int,
    data: st.DataObject,
) -> None:
    file = tmp_path_factory.getbasetemp() / "state.npz"
    interrupted = data.draw(st.sets(st.integers(0, steps - 1)))
    optimizer = build(expression)
    whole = resumed = drawn(dtype)
    state, saved = optimizer.init(whole), optimizer.init(resumed)
    for step in range(steps):
        if step in interrupted:
            save(saved, file)
            saved = load(file, like=resumed)
        grads = missing(drawn(dtype, seed=step + 1), step)
        whole, state = optimizer.step(whole, grads, state)
        resumed, saved = build(expression).step(resumed, grads, saved)
    assert bits(resumed) == bits(whole)
    assert bits(saved) == bits(state)


@pytest.mark.parametrize("expression", ["adam", "lookahead(sgd)", "nadam", "radam"])
def test_state_comes_back_on_the_array_library_that_it_left(
    backend: Backend, tmp_path: Path, expression: str
) -> None:
    optimizer = build(expression)
    params = {k: backend.asarray(x, "float32") for k, x in drawn("float32").items()}
    _, state = optimizer.step(params, params, optimizer.init(params))
    save(state, tmp_path / "state")
    loaded = load(tmp_path / "state", like=params)
    assert loaded.keys() == state.keys()
    for name, values in state.items():
        assert loaded[name].keys() == values.keys()
        for key, x in values.items():
            assert type(loaded[name][key]) is type(x)
            if not isinstance(x, int):
                assert loaded[name][key].dtype == x.dtype
                assert np.array_equal(backend.numpy(loaded[name][key]), backend.numpy(x))


def test_state_moves_between_torch_jax_and_numpy(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="moves state between array libraries")
    jnp = pytest.importorskip("jax.numpy", reason="moves state between array libraries")
    host = drawn("float32")
    optimizer = refopt.adam()
    theirs = {k: torch.tensor(x, requires_grad=False) for k, x in host.items()}
    _, state = optimizer.step(theirs, theirs, optimizer.init(theirs))
    save(state, tmp_path / "state")
    _, expected = optimizer.step(host, host, optimizer.init(host))
    for asarray in (np.asarray, torch.asarray, jnp.asarray):
        like = {k: asarray(x) for k, x in host.items()}
        loaded = load(tmp_path / "state", like=like)
        for name, values in loaded.items():
            assert all(type(x) in (int, type(like[name])) for x in values.values())
            assert bits({k: x if k == "t" else np.asarray(x) for k, x in values.items()}) == bits(
                {k: x if k == "t" else np.asarray(state[name][k]) for k, x in values.items()}
            )
            assert values["t"] == expected[name]["t"]


def test_numpy_alone_can_read_a_file(tmp_path: Path) -> None:
    params = {"w": np.ones((2, 3), np.float32)}
    optimizer = refopt.adam(beta1=0.5)
    _, state = optimizer.step(params, params, optimizer.init(params))
    save(state, tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz") as found:
        assert set(found) == {"refopt", "w/t", "w/adam.m", "w/adam.v"}
        assert found["w/t"] == 1
        assert found["w/adam.m"].tolist() == [[0.5] * 3] * 2
        assert found["w/adam.m"].dtype == np.float32


@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8))
def test_parameters_may_have_any_name(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    file = tmp_path_factory.getbasetemp() / "names.npz"
    params = {name: np.ones(2)}
    state = refopt.adam().init(params)
    save(state, file)
    assert bits(load(file, like=params)) == bits(state)


def test_no_parameters_are_no_error(tmp_path: Path) -> None:
    save({}, tmp_path / "state")
    assert load(tmp_path / "state", like={}) == {}


# What happens when writing fails


class BrokenError(Exception):
    """Stands for anything that interrupts a program."""


@pytest.mark.parametrize("place", ["write_array", "fsync", "replace"])
def test_an_interrupted_save_leaves_the_old_file_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    theta = np.ones(3)
    old = refopt.adam().init(theta)
    _, new = refopt.adam().step(theta, theta, old)
    save(old, tmp_path / "state.npz")

    def broken(*arguments: Any, **_: Any) -> None:
        if place == "write_array":
            arguments[0].write(b"half a file")
        raise BrokenError

    owner: Any = {"write_array": np.lib.format, "fsync": os, "replace": Path}[place]
    with monkeypatch.context() as patch:
        patch.setattr(owner, place, broken)
        with pytest.raises(BrokenError):
            save(new, tmp_path / "state.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    assert bits(load(tmp_path / "state.npz", like=theta)) == bits(old)
    save(new, tmp_path / "state.npz")
    assert bits(load(tmp_path / "state.npz", like=theta)) == bits(new)


def test_a_dtype_that_numpy_lacks_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="has the dtype bfloat16")
    state = {"w": {"t": 0, "m": np.ones(2, ml_dtypes.bfloat16)}}
    with pytest.raises(TypeError, match="state of dtype bfloat16 cannot be saved"):
        save(state, tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_or_read_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save({}, tmp_path / "absent" / "state")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent", like=np.ones(1))
    with pytest.raises(IsADirectoryError):
        load(tmp_path, like=np.ones(1))


# Files that do not fit, or are none


W = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"v": W}, "holds state of 'w', which is not a parameter"),
        ({"w": W, "v": W}, "holds no state of parameter 'v'"),
        (W, "holds state of 'w', which is not a parameter"),
        ({"w": W.T}, "adam.m of parameter 'w' has shape (2, 3), the parameter (3, 2)"),
        ({"w": W[0]}, "adam.m of parameter 'w' has shape (2, 3), the parameter (3,)"),
        (
            {"w": W.astype(float)},
            "adam.m of parameter 'w' has dtype float32, the parameter float64",
        ),
    ],
    ids=["name", "another", "none", "transposed", "smaller", "dtype"],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, like: Any, message: str) -> None:
    save(refopt.adam().init({"w": W}), tmp_path / "state")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "state", like=like)
    assert str(caught.value).startswith(str(tmp_path / "state"))
    assert message in str(caught.value)


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as found:
        found.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        archive(w=W),
        archive(refopt=1),
        archive(refopt=[2, 0]),
        archive(refopt=["1", "0"]),
        archive(refopt=[1, 2], w=W),
        archive(refopt=np.array([1], object)),
        zipped("refopt.npy", b"not an array"),
        zipped("README", b"text"),
    ],
    ids=[
        "empty",
        "text",
        "arrays",
        "no count",
        "newer",
        "strings",
        "lost",
        "pickle",
        "no array",
        "no arrays",
    ],
)
def test_a_file_that_is_no_saved_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a saved state"):
        load(tmp_path / "state", like=W)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"w/t": 1.0}, "t of parameter 'w' is not an integer"),
        ({"w/t": W.astype(int)}, "t of parameter 'w' is not an integer"),
        ({"w/t": 1, "w/adam.m": 1}, "adam.m of parameter 'w' has dtype int64, the parameter"),
        ({"w/adam.m": W}, "holds no state of parameter 'w'"),
        ({"t": 1}, "holds state of '', which is not a parameter"),
    ],
    ids=["real", "array", "integer", "no count", "no name"],
)
def test_an_archive_with_other_arrays_is_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    (tmp_path / "state").write_bytes(archive(refopt=[1, len(arrays)], **arrays))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "state", like={"w": W})
    assert message in str(caught.value)


@given(st.data())
def test_a_damaged_file_is_refused_or_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.npz"
    state = refopt.adam().init({"w": W})
    save(state, file)
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(content))
    try:
        found = load(file, like={"w": W})
    except CheckpointError:
        return
    assert bits(found) == bits(state)
