"""Reads spec/: what each optimizer is, where it comes from, and how frameworks differ.

The files are the second, independent statement of every optimizer: their equations are written by
hand from the source and proven equal to the code. Nothing here is generated from the rules.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from refopt.hyperparameters import DOMAINS

if TYPE_CHECKING:
    from refopt.optimizer import Optimizer


class SpecificationError(ValueError):
    """A file of the specification is missing or malformed; says which file, which key and why."""


Text = Annotated[str, Meta(pattern=r"^\S(.*\S)?$", description="one line of text")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="an identifier")]
# The pattern stands in the schema alone: msgspec frees a type that is text with a pattern or
# something else twice (its issue 717).
OneName = Annotated[
    str,
    Meta(extra_json_schema={"pattern": r"^[A-Za-z][A-Za-z0-9_]*$", "description": "an identifier"}),
]
Url = Annotated[str, Meta(pattern=r"^https://\S+$", description="an address, https://...")]
Equation = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_]*(\[t\])? = \S(.*\S)?$",
        description="an equation, quantity[t] = expression",
    ),
]
DomainText = Annotated[
    str,
    Meta(
        pattern=(
            r"^(integers in )?[\[(](-inf|-?[0-9][0-9.e+-]*), (inf|-?[0-9][0-9.e+-]*)[\])]$"
            r"|^True or False$"
            r"|^\{step: factor, \.\.\.\}$"
        ),
        description="a domain: [0, 1), integers in [1, inf), True or False, {step: factor, ...}",
    ),
]
Target = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", description="package.module:attribute"),
]
ClaimName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]*::[a-z0-9]+(-[a-z0-9]+)*$",
        description="a claim of a notebook in derivations/, notebook::claim",
    ),
]
Equations = Annotated[tuple[Equation, ...], Meta(min_length=1)]

_MEANINGS: Final[Mapping[str, str]] = {
    meta.pattern: meta.description
    for _, meta in map(get_args, (Text, Name, Url, Equation, DomainText, Target, ClaimName))
}
"""What a text should be, by the pattern that it should match."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a specification file; unknown keys are errors."""


class Source(Record, frozen=True):
    """Where a definition comes from."""

    citation: Text
    where: Text
    url: Url


class Hyperparameter(Record, frozen=True):
    """A hyperparameter: its LaTeX symbol, what it means, the source's default, and its domain."""

    name: Name
    symbol: Text
    meaning: Text
    domain: DomainText
    default: float | bool | int | None = None


class StateArray(Record, frozen=True):
    """A state array: its LaTeX symbol, what it holds, and its value before the first step."""

    name: Name
    symbol: Text
    meaning: Text
    initial: Text


class Property(Record, frozen=True):
    """What optimizers do whatever the numbers.

    Attributes:
        statement: its mathematics in a sentence.
        of: what has it.
        holds: bit for bit, or within which derived bounds.
    """

    statement: Text
    of: Literal["every target", "each layer", "outermost layer", "any layer", "specification"]
    holds: Text


class StepBound(Record, frozen=True):
    """How far one step can move an element, whatever the gradients.

    Attributes:
        bound: an expression of ``lr``, the hyperparameters, ``t`` and the element ``theta[t-1]``.
        given: the hyperparameters that must have these values.
        why: the proof in a sentence.
        source: where it stands, and what else stands there.
        claim: the claim of a notebook that proves it.
    """

    bound: Text
    why: Text
    source: Text
    given: dict[Name, Any] = {}
    claim: ClaimName | None = None


class Form(Record, frozen=True):
    """Another algorithm under the same name, with equations of its own.

    Attributes:
        summary: how it differs from the canonical form.
        equations: all of them, in order.
        hyperparameters: those that the specification itself lacks, or has with other defaults.
        state: where it is not that of the specification.
        properties: where they are not those of the specification.
    """

    summary: Text
    equations: Equations
    hyperparameters: tuple[Hyperparameter, ...] = ()
    state: tuple[StateArray, ...] | None = None
    properties: tuple[Name, ...] | None = None


class Cell(Record, frozen=True):
    """One check of the matrix.

    Attributes:
        spec: the expression to check against.
        options: further arguments of the target, passed through as they are.
        deviates: where the framework does not do what it documents: what it does instead, with
            its source line and numbers. Such a cell must deviate.
    """

    spec: Text
    options: dict[Name, Any] = {}
    deviates: str = ""


class Dialect(Record, frozen=True):
    """A framework's form of an optimizer.

    Attributes:
        framework: the package that it belongs to.
        version: the version that was read.
        source: the file that was read.
        form: the expression of the form; ``_`` stands for the optimizer inside a variant.
        differences: from the canonical form, in words.
        target: the class or function, ``package.module:attribute``, where it can be checked.
        wraps: how a variant's target takes the optimizer inside it.
        arguments: the framework's argument names, and the canonical hyperparameters they take.
        defaults: the framework's defaults by its own names.
        cells: the checks of the matrix.
    """

    framework: Text
    version: Text
    source: Text
    form: Text
    differences: tuple[Text, ...] = ()
    target: Target | None = None
    wraps: Literal["argument", "chain", "option"] | None = None
    arguments: dict[Name, OneName | tuple[Name, ...]] = {}
    defaults: dict[Name, Any] = {}
    cells: tuple[Cell, ...] = ()


class Specification(Record, frozen=True):
    """One file of spec/.

    ``properties`` are what the optimizer does whatever the numbers; of a variant, also what it lets
    be of those that the optimizer inside has. ``claims`` are those of derivations/ about it.
    """

    name: Name
    title: Text
    kind: Literal["rule", "composition", "variant", "schedule"]
    summary: Text
    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    equations: Equations
    hyperparameters: tuple[Hyperparameter, ...] = ()
    state: tuple[StateArray, ...] = ()
    properties: tuple[Name, ...] = ()
    step_bound: StepBound | None = None
    claims: tuple[ClaimName, ...] = ()
    forms: dict[Name, Form] = {}
    dialects: dict[Name, Dialect] = {}


_PARTS: Final[Mapping[str, type[Record]]] = {"forms": Form, "dialects": Dialect}
"""The tables of named records, each checked on its own so that an error can name it."""


def schema() -> dict[str, Any]:
    """The JSON schema of a specification file, as spec/schema/specification.json holds it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **msgspec.json.schema(Specification),
    }


def folder() -> Traversable:
    """The folder of specification files: inside the installed package, or beside it in a clone."""
    installed = files("refopt") / "spec"
    return installed if installed.is_dir() else files("refopt").joinpath("../spec")


@functools.cache
def names() -> tuple[str, ...]:
    """The names of all specifications, in alphabetical order."""
    found = {entry.name for entry in folder().iterdir()} - {"flags.toml", "properties.toml"}
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


@functools.cache
def load(name: str) -> Specification:
    """The specification of a rule, variant, schedule or composition.

    Raises:
        SpecificationError: there is none of that name, or its file is malformed.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`refopt list` shows all names"
        raise SpecificationError(f"no specification is named {name!r}; {hint}")
    return parse(f"spec/{name}.toml", folder().joinpath(f"{name}.toml").read_text("utf-8"))


def parse(file: str, text: str) -> Specification:
    """A specification from the text of its file.

    Raises:
        SpecificationError: the text is not TOML, or breaks the schema.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number or a nesting that is too large
        raise SpecificationError(f"{file}: not TOML: {one_line(str(error))}") from None
    for key, kind in _PARTS.items():
        parts = table.get(key)
        if isinstance(parts, dict):
            for name, part in parts.items():
                _converted(part, kind, file, f"{key}.{name}")
    return _converted(table, Specification, file, "")


RecordType = TypeVar("RecordType", bound=Record)


def one_line(text: str) -> str:
    """What an error says of a file: what cannot be printed escaped, the middle of much left out."""
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    line = "".join(escaped)
    return line if len(line) <= _LINE else f"{line[: _LINE // 2]} ... {line[-_LINE // 2 :]}"


_LINE: Final = 600


def _converted(table: Any, kind: type[RecordType], file: str, key: str) -> RecordType:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        for pattern, meaning in _MEANINGS.items():
            reason = reason.replace(f"`str` matching regex {pattern!r}", meaning)
        of_key, _, path = path.strip("`").rpartition("` in `")
        place = (key + path.removeprefix("$")).removeprefix(".")
        reason += " as a key" if of_key else ""
        where = place or "top level"
        raise SpecificationError(f"{file}: {one_line(f'{where}: {reason}')}") from None


@functools.cache
def properties() -> dict[str, Property]:
    """All properties by name, as spec/properties.toml explains them."""
    file = "spec/properties.toml"
    table = tomllib.loads(folder().joinpath("properties.toml").read_text("utf-8"))
    return {name: _converted(stated, Property, file, name) for name, stated in table.items()}


def resolve(expression: str, dialect: str | None = None) -> Optimizer:
    """The optimizer of an expression, in its canonical form or as a framework has it.

    Each name that has the dialect stands for its form; others stay canonical.

    >>> str(resolve("adamw", "keras"))
    'weight_decay_before(count_missing(adam_epsilon_hat))'

    Raises:
        SpecificationError: nothing in the expression has that dialect, or its form there lacks a
            hyperparameter that the expression gives.
    """
    from refopt.catalog import build  # with NumPy, which those who only read do without

    if dialect is None:
        return build(expression)
    used: list[str] = []

    def form(name: str) -> str | None:
        if name in names() and dialect in load(name).dialects:
            used.append(name)
            return load(name).dialects[dialect].form
        return None

    try:
        optimizer = build(expression, form)
    except TypeError as error:
        build(expression)  # what the canonical form does not take either is no matter of dialects
        raise SpecificationError(f"{expression!r} as {dialect!r} has it: {error}") from None
    if not used:
        known = ", ".join(dialect_keys(expression)) or "none"
        raise SpecificationError(
            f"nothing in {expression!r} has a dialect {dialect!r}; it has: {known}"
        )
    return optimizer


def dialects(
    expression: str, framework: str | None = None, key: str | None = None
) -> dict[str, Dialect]:
    """The dialects of the parts of an expression, innermost first, by the part's name.

    Args:
        expression: a composition that has such a dialect itself counts as one part.
        framework: whose dialects; any if None.
        key: the dialect's key; if None, the first of the framework.
    """
    from refopt.catalog import components

    def found(name: str) -> Dialect | None:
        spec = owner(name)
        matching = [
            dialect
            for dialect_key, dialect in (load(spec).dialects.items() if spec else ())
            if framework in (None, dialect.framework) and key in (None, dialect_key)
        ]
        return matching[0] if matching else None

    parts = components(expression, lambda name: found(name) is not None)
    return {name: dialect for name in parts if (dialect := found(name)) is not None}


def dialect_keys(expression: str) -> list[str]:
    """The dialects that any part of an expression has, or it as a whole."""
    from refopt.catalog import components

    parts = [*components(expression, lambda name: name in names()), *components(expression)]
    specified = [name for name in dict.fromkeys(parts) if name in names()]
    return list(dict.fromkeys(key for name in specified for key in load(name).dialects))


def differences(expression: str, key: str) -> str:
    """How the dialect of an expression differs from the canonical form, in words."""
    parts = dialects(expression, key=key).values()
    return "; ".join(dict.fromkeys(words for part in parts for words in part.differences))


def owner(name: str) -> str | None:
    """The specification that a name of the catalog belongs to: its own, or that of its form."""
    return name if name in names() else _owners().get(name)


@functools.cache
def _owners() -> dict[str, str]:
    return {form: name for name in names() for form in load(name).forms}


def usual_arguments(framework: str, canonical: Iterable[str]) -> dict[str, str | tuple[str, ...]]:
    """What a framework usually calls hyperparameters: as in the first dialect that has them."""
    wanted = frozenset(canonical)
    usual: dict[str, str | tuple[str, ...]] = {}
    for name in names():
        for dialect in load(name).dialects.values():
            if dialect.framework == framework:
                for argument, taken in dialect.arguments.items():
                    if wanted.issuperset((taken,) if isinstance(taken, str) else taken):
                        usual.setdefault(argument, taken)
    return usual


def canonical_names(argument: str) -> tuple[str, ...]:
    """The hyperparameters that an argument of that name is in most frameworks; none if in none."""
    if argument in DOMAINS:
        return (argument,)
    every = (dialect for name in names() for dialect in load(name).dialects.values())
    taken = Counter(d.arguments[argument] for d in every if argument in d.arguments)
    (most, _), *_ = taken.most_common(1) or [((), 0)]
    return (most,) if isinstance(most, str) else most


def canonical_defaults(parts: Iterable[Dialect]) -> dict[str, Any]:
    """The defaults that dialects state, by canonical name."""
    defaults: dict[str, Any] = {}
    for dialect in parts:
        for argument, canonical in dialect.arguments.items():
            if argument in dialect.defaults:
                value = dialect.defaults[argument]
                defaults |= (
                    {canonical: value}
                    if isinstance(canonical, str)
                    else dict(zip(canonical, value, strict=True))
                )
    return defaults


def home(target: str) -> tuple[str, str] | None:
    """The specification and the dialect whose target has this name."""
    for name in names():
        for key, dialect in load(name).dialects.items():
            if dialect.target == target and dialect.wraps is None:
                return name, key
    return None
