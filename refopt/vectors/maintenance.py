"""Files of vectors written, verified and linted."""

from __future__ import annotations

import math
import os
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from refopt import specification
from refopt.vectors.draw import planned
from refopt.vectors.file import (
    SCHEMA,
    Bounds,
    Step,
    Vector,
    VectorError,
    VectorFile,
    elements,
    flags,
    load,
    mistake_id,
    rendered,
)
from refopt.vectors.results import BOUNDED, completed, flags_of, kills
from refopt.vectors.runs import Reached, Run, on_numpy, run_of

LARGEST: Final = 2**18
"""In bytes: a file that a person can still open."""


def write(name: str, inside: Path) -> bool:
    """Writes the file of a specification, whole or not at all: whether it changed.

    Vectors that are there keep what they give and expect; those that are missing are added.

    Raises:
        VectorError: the file is malformed, a vector of it would expect something else now, or
            cannot be computed.
    """
    path = inside / f"{name}.json"
    file, before = load(name, inside) if path.exists() else (None, "")
    old = {vector.id: vector for vector in file.vectors} if file else {}
    draws: dict[str, tuple[str, Callable[[], Run]]] = {
        id: (vector.comment, partial(run_of, vector)) for id, vector in old.items()
    }
    for id, comment, draw in planned(name):
        draws.setdefault(id, (comment, draw))
    vectors = []
    mistakes: dict[str, str] = {}
    for id, (comment, draw) in draws.items():
        try:
            run = draw()
            vector = completed(id, comment, run)
        except VectorError:
            raise
        except (ValueError, TypeError, ArithmeticError) as error:
            raise VectorError(f"{path}: {id}: {error}") from error
        if id in old:
            _check_kept(path, old[id], vector)
        caught = kills(run, vector)
        mistakes |= caught
        vectors.append(msgspec.structs.replace(vector, kills=tuple(sorted(caught))))
    mistakes = dict(sorted(mistakes.items(), key=itemgetter(1)))
    new = VectorFile(schema=SCHEMA, name=name, mistakes=mistakes, vectors=tuple(vectors))
    text = rendered(new)
    if text != before:
        _replace(path, text)
    return text != before


def _check_kept(path: Path, old: Vector, new: Vector) -> None:
    for difference in _differences(_kept(old), _kept(new)):
        raise VectorError(
            f"{path}: {old.id}: {difference}; but a vector never changes: delete it, and give what "
            "replaces it a new id"
        )


def _kept(vector: Vector) -> dict[str, Any]:
    """What a vector gives and expects; bounds may become sharper, and more mistakes known."""
    fields = msgspec.to_builtins(vector)
    steps = tuple(
        {key: part for key, part in step.items() if not key.startswith("bound")}
        for step in fields["steps"]
    )
    return {k: v for k, v in fields.items() if k not in ("flags", "kills")} | {"steps": steps}


def _replace(path: Path, text: str) -> None:
    """Under this name is the old file or the new one, whenever this is interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="\n", dir=path.parent, suffix=".tmp", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise


def verify(file: VectorFile) -> Iterator[str]:
    """What is wrong with the results of a file, in words.

    Results must be those of exact arithmetic to the last bit, bounds those of the bounded one, and
    the reference on NumPy must stay inside them, in float64 and in float32.

    Raises:
        VectorError: python-flint is not installed.
    """
    for vector in file.vectors:
        try:
            run = run_of(vector)
            right = completed(vector.id, vector.comment, run, vector.kills)
            got = {dtype: on_numpy(run, dtype) for dtype in BOUNDED}
        except VectorError:
            raise
        except (ValueError, TypeError, ArithmeticError) as error:
            yield f"{vector.id}: {error}"
            continue
        differences = _differences(msgspec.to_builtins(vector), msgspec.to_builtins(right))
        yield from (f"{vector.id}: {difference}" for difference in differences)
        for dtype, steps in got.items():
            for i, (step, reached) in enumerate(zip(right.steps, steps, strict=True)):
                if not _is_within(reached, step, getattr(step, f"bound_{dtype}")):
                    yield f"{vector.id}: steps[{i}]: the reference in {dtype} leaves the bound"


def _is_within(got: Reached, step: Step, bounds: Bounds) -> bool:
    arrays = [*got.params, *(x for key in step.state for x in got.state[key])]
    right = [*step.params, *(x for own in step.state.values() for x in own)]
    allowed = [*bounds.params, *(x for key in step.state for x in bounds.state[key])]
    values = np.concatenate([np.ravel(x).astype("float64") for x in arrays])
    return bool(np.all(np.abs(values - elements(*right)) <= elements(*allowed)))


def _differences(stored: Any, right: Any, place: str = "") -> Iterator[str]:
    """Where two structures differ, in words."""
    if isinstance(stored, dict) and isinstance(right, dict) and stored.keys() == right.keys():
        for key in right:
            yield from _differences(stored[key], right[key], f"{place}.{key}" if place else key)
    elif isinstance(stored, tuple) and isinstance(right, tuple) and len(stored) == len(right):
        for i, (one, other) in enumerate(zip(stored, right, strict=True)):
            yield from _differences(one, other, f"{place}[{i}]")
    elif stored != right:
        yield f"{place}: {_short(stored)} should be {_short(right)}"


def _short(value: Any) -> str:
    return textwrap.shorten(specification.one_line(msgspec.json.encode(value).decode()), 80)


def lint(name: str, file: VectorFile, text: str) -> Iterator[str]:
    """What is wrong with the form of a file, in words; needs no exact arithmetic."""
    if file.name != name or name not in specification.names():
        yield f"name: {file.name!r}, in the file of {name!r}, is not that of its specification"
    if len(text) > LARGEST:
        yield f"{len(text)} bytes are too large a file; {LARGEST} is the most"
    if text != rendered(file):
        yield "not laid out as `refopt vectors write` does: a key twice, or other spaces"
    for id, words in file.mistakes.items():
        if id != mistake_id(words):
            shown = specification.one_line(words)
            yield f"mistakes: {id} should be {mistake_id(words)}: {shown}"
    used = {id for vector in file.vectors for id in vector.kills}
    if odd := sorted(used ^ file.mistakes.keys()):
        yield f"mistakes: {', '.join(odd)} is in no kills, or in kills alone"
    known = flags()
    counts = Counter(vector.id for vector in file.vectors)
    yield from (f"{id}: {count} vectors have this id" for id, count in counts.items() if count > 1)
    for vector in file.vectors:
        if unknown := sorted(set(vector.flags) - known.keys()):
            yield f"{vector.id}: flags: spec/flags.toml does not explain {', '.join(unknown)}"
        if vector.kills != tuple(sorted(set(vector.kills))):
            yield f"{vector.id}: kills: not in alphabetical order, or one twice"
        try:
            run = run_of(vector)
            _check_fit(vector, run)
        except (ValueError, TypeError, OverflowError) as error:
            yield f"{vector.id}: {error}"
            continue
        if vector.flags != flags_of(run):
            yield f"{vector.id}: flags: should be {', '.join(flags_of(run)) or 'none'}"


def _check_fit(vector: Vector, run: Run) -> None:
    """That results have the form of what they are results of."""
    sizes = [math.prod(shape) for shape in vector.shapes]
    keys = {layer.key(name) for layer in run.optimizer.layers for name in layer.state_names}
    for i, step in enumerate(vector.steps):
        if len(step.counts) != len(sizes):
            raise ValueError(f"steps[{i}].counts: not one for each parameter")
        for kind in ("", ".bound_float32", ".bound_float64"):
            part: Step | Bounds = getattr(step, kind[1:]) if kind else step
            where = f"steps[{i}]{kind}"
            if [elements(p).size for p in part.params] != sizes:
                raise ValueError(f"{where}.params: not of the shapes of the parameters")
            if part.state.keys() != keys:
                raise ValueError(f"{where}.state: not {', '.join(sorted(keys))}")
            for key, own in part.state.items():
                fits = [elements(x).size in (1, n) for x, n in zip(own, sizes, strict=False)]
                if len(own) != len(sizes) or not all(fits):
                    raise ValueError(f"{where}.state.{key}: not of the shapes of the parameters")
