"""Saves the state of an optimizer to a file, and loads it again, bit for bit.

A file is an ``.npz`` archive: one array for each state array, named ``parameter/layer.array``, and
one integer for each count, named ``parameter/t``. NumPy alone can read it. This is the one place
in refopt that moves arrays to the host: saving copies them there, and loading copies them back to
the device of the parameters.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any, Final

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from refopt.layers import State
from refopt.tree import Tree, flattened
from refopt.xp import Array

_MARK: Final = "refopt"
_VERSION: Final = 1
"""Stored under the mark with the number of arrays: what tells a saved state from other archives,
and a whole one from one that lost some."""

_DAMAGES: Final = (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, MemoryError)
"""What reading raises where a file is none, is cut short, encrypted or claims a size too large."""


class CheckpointError(ValueError):
    """A file is not a saved state, or not one for these parameters."""


def save(state: State, path: str | os.PathLike[str]) -> None:
    """Writes state to a file, which is replaced as a whole or not at all.

    Args:
        state: as :meth:`refopt.Optimizer.init` and :meth:`refopt.Optimizer.step` return it.
        path: of the file, taken as it is.

    Raises:
        OSError: the file cannot be written; what was there before is still there.
        TypeError: an array has a dtype that NumPy does not have, such as bfloat16.
    """
    arrays = {
        f"{parameter}/{key}": _on_host(value)
        for parameter, values in state.items()
        for key, value in values.items()
    }
    arrays[_MARK] = np.array([_VERSION, len(arrays)])
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], like: Tree) -> State:
    """The state that a file holds.

    Args:
        path: of a file that :func:`save` wrote.
        like: the parameters that the state belongs to. They decide array library and device.

    Raises:
        OSError: the file cannot be read.
        CheckpointError: it is not a saved state, or the parameters have other names, shapes or
            dtypes: a state that was converted could not continue bit for bit.
    """
    thetas = flattened(like)
    state: State = {name: {} for name in thetas}
    for member, value in _members(Path(path)).items():
        name, _, key = member.rpartition("/")
        if name not in thetas:
            raise CheckpointError(f"{path} holds state of {name!r}, which is not a parameter")
        what = f"{path}: {key} of parameter {name!r}"
        of_layer = "." in key
        state[name][key] = (
            _loaded(value, what, thetas[name]) if of_layer else _loaded_count(value, what)
        )
    for name, values in state.items():
        if "t" not in values:
            raise CheckpointError(f"{path} holds no state of parameter {name!r}")
    return state


def _on_host(value: Array) -> NDArray[Any]:
    if array_api_compat.is_torch_array(value):
        value = value.detach().cpu()
    elif array_api_compat.is_cupy_array(value):
        value = value.get()
    array = np.asarray(value)
    if array.dtype.kind not in "fi":
        raise TypeError(f"state of dtype {array.dtype} cannot be saved: it is no number to NumPy")
    return array


def _members(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an archive that carries the mark, by name and without it."""
    data = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(data) as archive:
            found = {entry.filename: _array(archive, entry) for entry in archive.infolist()}
    except _DAMAGES as error:
        reason = str(error) or "it ends too early"
        raise CheckpointError(f"{path} is not a saved state: {reason}") from None
    found = {name.removesuffix(".npy"): array for name, array in found.items()}
    mark = found.pop(_MARK, np.zeros(2))
    if mark.shape != (2,) or mark[0] != _VERSION:
        raise CheckpointError(f"{path} is not a saved state of version {_VERSION}")
    if mark[1] != len(found):
        raise CheckpointError(f"{path} is not a saved state: it has lost arrays")
    return found


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is compressed")
    content = io.BytesIO(archive.read(entry))  # compares the checksum
    array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    return array


def _loaded_count(value: NDArray[Any], what: str) -> int:
    if value.dtype.kind != "i" or value.shape:
        raise CheckpointError(f"{what} is not an integer")
    return int(value)


def _loaded(value: NDArray[Any], what: str, theta: Array) -> Array:
    dtype = str(theta.dtype).rpartition(".")[2]
    if value.dtype.name != dtype:
        raise CheckpointError(f"{what} has dtype {value.dtype}, the parameter {dtype}")
    shape = tuple(theta.shape)
    if value.shape not in (shape, ()):
        raise CheckpointError(f"{what} has shape {value.shape}, the parameter {shape}")
    library = array_api_compat.array_namespace(theta)
    return library.asarray(value, dtype=theta.dtype, device=array_api_compat.device(theta))
