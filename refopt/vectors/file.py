"""What a file of vectors holds, and how it is read and laid out."""

from __future__ import annotations

import hashlib
import math
import re
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
import numpy as np
from msgspec import Meta

from refopt import specification
from refopt.arithmetic.bounds import FLOAT32


class VectorError(ValueError):
    """A file of vectors is missing, malformed or wrong; says which file, which vector and why."""


Text = Annotated[str, Meta(pattern=r"^\S(.*\S)?$", max_length=300, description="one line of text")]
Id = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9_]+(-[a-z0-9_]+)*-[a-z]+-[1-9][0-9]*$",
        max_length=100,
        description="an id, such as adam-far-1",
    ),
]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", description="a name in lower case")]
Form = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9_]+(\(.*\))?$",
        max_length=300,
        description="the expression of an optimizer",
    ),
]
Hex = Annotated[
    str,
    Meta(
        pattern=r"^-?0x[01](\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}$",
        description="a number, hexadecimal as C99 prints it: 0x1.8p+1 is 3",
    ),
]
StateName = Annotated[
    str, Meta(pattern=r"^[a-z0-9_]+(#[0-9]+)?\.[a-z0-9_]+$", description="a state, such as adam.m")
]
StepText = Annotated[str, Meta(pattern=r"^[0-9]{1,6}$", description="a step")]
MistakeId = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{6}$", description="the id of a mistake, six hexadecimal digits")
]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Numbers = tuple[Hex, ...]
"""The elements of an array, row by row."""
# The pattern stands in the schema alone: msgspec frees a type that is text with a pattern or an
# object twice (its issue 717).
HexOrOther = Annotated[
    str,
    Meta(
        extra_json_schema={
            "pattern": r"^-?0x[01](\.[0-9a-f]{1,13})?p[+-][0-9]{1,4}$",
            "description": "a number, hexadecimal as C99 prints it: 0x1.8p+1 is 3",
        }
    ),
]
Value = HexOrOther | bool | Count | dict[StepText, Hex]
"""Of a hyperparameter: a real number, a flag, a count, or a schedule's factors by step."""

_MEANINGS: Final[Mapping[str, str]] = {
    meta.pattern: meta.description
    for _, meta in map(get_args, (Text, Id, Name, Form, Hex, StateName, StepText, MistakeId))
}
"""What a text should be, by the pattern that it should match."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An object of a file of vectors; unknown keys are errors."""


class Bounds(Record, frozen=True):
    """How far a result may be from the exact one: of the parameters, and of each state array."""

    params: tuple[Numbers, ...]
    state: dict[StateName, tuple[Numbers, ...]]


class Step(Record, frozen=True):
    """One step: what it is given, and what follows from it.

    Attributes:
        lr: the learning rate.
        gradients: one for each parameter, null where it is missing.
        params: the parameters after the step.
        counts: how many steps each parameter has taken.
        state: by name the state arrays after the step, one for each parameter; it has the shape of
            the parameter, or is a single number.
        bound_float32: for float32 arithmetic.
        bound_float64: for float64 arithmetic.
    """

    lr: Hex
    gradients: tuple[Numbers | None, ...]
    params: tuple[Numbers, ...]
    counts: tuple[Count, ...]
    state: dict[StateName, tuple[Numbers, ...]]
    bound_float32: Bounds
    bound_float64: Bounds


class Vector(Record, frozen=True):
    """One run with exact results.

    Attributes:
        id: never changes, and neither does what it stands for.
        comment: what the vector makes visible.
        flags: what is particular about it; spec/flags.toml explains each.
        form: the expression of the optimizer.
        hyperparameters: all of them by canonical name, but the learning rate.
        shapes: of the parameters.
        params: the parameters before the first step.
        steps: in order.
        kills: the mistakes that it catches: with any of them, some parameter leaves its bound.
    """

    id: Id
    comment: Text
    flags: tuple[Name, ...]
    form: Form
    hyperparameters: dict[Name, Value]
    shapes: tuple[tuple[Count, ...], ...]
    params: tuple[Numbers, ...]
    steps: Annotated[tuple[Step, ...], Meta(min_length=1, max_length=100)]
    kills: Annotated[tuple[MistakeId, ...], Meta(min_length=1)]


Schema = Literal["../schema/vectors.json"]
SCHEMA: Final[Schema] = "../schema/vectors.json"


class VectorFile(Record, frozen=True):
    """The vectors of one specification.

    Attributes:
        schema: where the schema is, from here.
        name: the specification.
        mistakes: in words, those that some vector catches.
        vectors: in no particular order.
    """

    schema: Schema
    name: Name
    mistakes: dict[MistakeId, Text]
    vectors: Annotated[tuple[Vector, ...], Meta(min_length=1)]


class Flag(Record, frozen=True):
    """What is particular about a vector, what a failure says, and where to read on."""

    meaning: Text
    effect: Text
    links: tuple[specification.Url, ...] = ()


def schema() -> dict[str, Any]:
    """The JSON schema of a file of vectors, as spec/schema/vectors.json holds it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **msgspec.json.schema(VectorFile),
    }


def folder() -> Path:
    """Where the vectors lie that come with refopt."""
    return Path(str(specification.folder())).resolve() / "vectors"


def flags() -> dict[str, Flag]:
    """The flags of spec/flags.toml."""
    text = specification.folder().joinpath("flags.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Flag])


def load(name: str, inside: Path) -> tuple[VectorFile, str]:
    """A file of vectors, and its text.

    Raises:
        VectorError: there is none of that name, or it breaks the schema.
    """
    path = inside / f"{name}.json"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise VectorError(f"{path}: no such file; `refopt vectors write {name}` makes it") from None
    except UnicodeDecodeError as error:
        raise VectorError(f"{path}: not UTF-8: {error}") from None
    return parse(str(path), text), text


def parse(file: str, text: str) -> VectorFile:
    """The vectors in the text of a file.

    Raises:
        VectorError: it is not JSON, or breaks the schema.
    """
    try:
        return msgspec.json.decode(text, type=VectorFile)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at ")
        for pattern, meaning in _MEANINGS.items():
            reason = reason.replace(f"`str` matching regex {pattern!r}", meaning)
        where = re.sub(r"[`$]", "", place).replace(" .", " ").removeprefix(".")
        place = _with_id(where, text) or "top level"
        raise VectorError(f"{file}: {specification.one_line(f'{place}: {reason}')}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise VectorError(f"{file}: not JSON: {error}") from None


def _with_id(place: str, text: str) -> str:
    """A place in a file, with the id of the vector instead of its number."""
    found = re.search(r"vectors\[(\d+)\]\.?", place)
    try:
        content = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):  # after the place of the error
        return place
    match content:
        case {"vectors": [*vectors]} if found and int(found[1]) < len(vectors):
            match vectors[int(found[1])]:
                case {"id": str(id)}:
                    return f"{id}: {place.replace(found[0], '')}"
    return place


_LINE: Final = 100
_LINES: Final = ",\n"
_PARTS_OF_STEPS: Final = 5
"""How deep the parts of a step lie, which stay on one line however long they are."""


def rendered(file: VectorFile) -> str:
    """The text of a file: whatever is short, or part of a step, on one line."""
    return _laid_out(msgspec.to_builtins(file), 0) + "\n"


def _laid_out(value: Any, depth: int) -> str:
    line = _json(value)
    is_short = depth + len(line) <= _LINE or depth >= _PARTS_OF_STEPS
    if is_short or not isinstance(value, dict | list | tuple):
        return line
    pad = " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{pad}{_json(key)}: {_laid_out(part, depth + 1)}" for key, part in value.items()]
        return f"{{\n{_LINES.join(parts)}\n{pad[1:]}}}"
    if all(isinstance(part, str) for part in value):
        filled = textwrap.fill(
            ", ".join(map(_json, value)), _LINE, initial_indent=pad, subsequent_indent=pad
        )
        return f"[\n{filled}\n{pad[1:]}]"
    parts = [pad + _laid_out(part, depth + 1) for part in value]
    return f"[\n{_LINES.join(parts)}\n{pad[1:]}]"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# Numbers and mistakes


def mistake_id(words: str) -> str:
    """The same for the same words, in every file."""
    return hashlib.sha256(words.encode()).hexdigest()[:6]


def hexadecimal(value: float) -> str:
    """A number as C99's ``%a`` prints it.

    >>> hexadecimal(3.0), hexadecimal(0.1)
    ('0x1.8p+1', '0x1.999999999999ap-4')
    """
    mantissa, exponent = (value + 0.0).hex().split("p")  # no -0.0
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}"


def hexadecimals(array: Any) -> Numbers:
    """The elements of an array, row by row."""
    return tuple(hexadecimal(float(x)) for x in np.ravel(array))


def number(text: str) -> float:
    """A number from its only text.

    Raises:
        ValueError: another text is how this number is written.
        OverflowError: it is beyond the largest float64.
    """
    value = float.fromhex(text)
    if hexadecimal(value) != text:
        raise ValueError(f"{text} should be written {hexadecimal(value)}")
    return value


def array(numbers: Numbers, shape: Sequence[int]) -> np.ndarray:
    """An array of a shape from its elements.

    Raises:
        ValueError: there are more or fewer.
    """
    if len(numbers) != math.prod(shape):
        raise ValueError(f"{len(numbers)} numbers for an array of shape {list(shape)}")
    return elements(numbers).reshape(shape)


def elements(*arrays: Numbers) -> np.ndarray:
    """The elements of arrays, one after the other."""
    return np.array([number(x) for numbers in arrays for x in numbers], np.float64)


def is_float32(value: float) -> bool:
    """Whether float32 holds a number."""
    with np.errstate(over="ignore"):
        return FLOAT32.nearest(value) == value
