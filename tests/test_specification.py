"""The specification files: their schema, their loader, and what they say against the code."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from importlib.resources.abc import Traversable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from examples import around
from hypothesis import given
from hypothesis import strategies as st

from refopt import specification
from refopt.catalog import COMPOSITIONS, RULES, VARIANTS, build, components, goes_around, layer
from refopt.catalog import names as catalog_names
from refopt.hyperparameters import DOMAINS
from refopt.layers import REQUIRED, keyword_defaults
from refopt.specification import (
    Dialect,
    Form,
    Specification,
    SpecificationError,
    canonical_defaults,
    dialects,
    load,
    names,
    parse,
    resolve,
    schema,
)

FOLDER: Traversable = specification.folder()
TABLES = {
    name: tomllib.loads(FOLDER.joinpath(f"{name}.toml").read_text("utf-8")) for name in names()
}
DIALECTS = [(name, key) for name in names() for key in load(name).dialects]
FUNCTIONS = [
    (name, function)
    for name in names()
    if name not in COMPOSITIONS
    for function in (name, *load(name).forms)
]
SCHEMA = json.loads(json.dumps(schema()))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def toml(table: dict[str, Any]) -> str:
    """The text of a TOML file."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(k)} = {text(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(text, value)) + "]"
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

    return "".join(f"{json.dumps(key)} = {text(value)}\n" for key, value in table.items())


# The schema


def test_the_schema_file_is_that_of_the_records() -> None:
    stored = json.loads(FOLDER.joinpath("schema", "specification.json").read_text("utf-8"))
    assert stored == SCHEMA, (
        "write it anew: python -c 'import json; from refopt.specification import schema; "
        "print(json.dumps(schema(), indent=2))' > spec/schema/specification.json"
    )


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", names())
def test_every_file_follows_the_schema(name: str) -> None:
    VALIDATOR.validate(TABLES[name])
    assert load(name).name == name


# The loader: errors name the file, the key and the reason


ADAM = FOLDER.joinpath("adam.toml").read_text("utf-8")


def without(*keys: str | int) -> dict[str, Any]:
    table = copy.deepcopy(TABLES["adam"])
    inner: Any = table
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return table


def having(value: Any, *keys: str | int) -> dict[str, Any]:
    table = copy.deepcopy(TABLES["adam"])
    inner: Any = table
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (without("name"), "top level: Object missing required field `name`"),
        (without("sources", 0, "url"), "sources[0]: Object missing required field `url`"),
        (without("hyperparameters", 1, "domain"), "hyperparameters[1]: Object missing required"),
        (
            without("forms", "adam_uncorrected", "equations"),
            "forms.adam_uncorrected: Object missing required field `equations`",
        ),
        (without("dialects", "keras", "form"), "dialects.keras: Object missing required field"),
        (having("x", "unknown"), "top level: Object contains unknown field `unknown`"),
        (having("x", "dialects", "keras", "cell"), "dialects.keras: Object contains unknown field"),
        (having("optimizer", "kind"), "kind: Invalid enum value 'optimizer'"),
        (having("", "summary"), "summary: Expected one line of text"),
        (having("two\nlines", "title"), "title: Expected one line of text"),
        (having(" indented", "state", 0, "meaning"), "state[0].meaning: Expected one line of text"),
        (having(1, "title"), "title: Expected `str`, got `int`"),
        (having([], "sources"), "sources: Expected `array` of length >= 1"),
        (having([], "equations"), "equations: Expected `array` of length >= 1"),
        (having(["h == 1"], "equations"), "equations[0]: Expected an equation, quantity[t] = "),
        (having("ftp://x", "sources", 0, "url"), "sources[0].url: Expected an address, https://"),
        (having("a b", "state", 0, "name"), "state[0].name: Expected an identifier"),
        (
            having("0 to 1", "hyperparameters", 1, "domain"),
            "hyperparameters[1].domain: Expected a ",
        ),
        (having("1", "hyperparameters", 1, "default"), "hyperparameters[1].default: Expected"),
        (having({}, "forms", "a-b"), "forms.a-b: Object missing required field `summary`"),
        (
            having("keras.Adam", "dialects", "keras", "target"),
            "dialects.keras.target: Expected package.module:attribute",
        ),
        (
            having("around", "dialects", "keras", "wraps"),
            "dialects.keras.wraps: Invalid enum value 'around'",
        ),
        (
            having({"epsilon": 1}, "dialects", "keras", "arguments"),
            "dialects.keras.arguments[...]: Expected `str | array`, got `int`",
        ),
        (
            having([{"spec": "adam"}, {"options": {}}], "dialects", "keras", "cells"),
            "dialects.keras.cells[1]: Object missing required field `spec`",
        ),
        (having(3, "dialects"), "dialects: Expected `object`, got `int`"),
        (
            having(TABLES["adam"]["dialects"]["keras"], "dialects", "a b"),
            "dialects: Expected an identifier as a key",
        ),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value)[:40] if isinstance(value, str) else "",
)
def test_an_error_names_file_key_and_reason(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        parse("spec/adam.toml", toml(table))
    assert str(caught.value).startswith(f"spec/adam.toml: {message}")
    assert not VALIDATOR.is_valid(table)


@pytest.mark.parametrize(
    "text",
    [
        "name = ",
        "name = 'adam'\nname = 'adam'",
        "= 1",
        "[a\n",
        "x = 1" + "0" * 5000,
        "x = " + "[" * 5000,
    ],
    ids=["nothing", "twice", "no key", "open", "long number", "deep"],
)
def test_what_is_not_toml_is_said_to_be_not_toml(text: str) -> None:
    with pytest.raises(SpecificationError, match=r"^spec/x\.toml: not TOML: "):
        parse("spec/x.toml", text)


def test_a_name_without_a_file_suggests_another() -> None:
    with pytest.raises(SpecificationError, match="named 'adm'; did you mean adam"):
        load("adm")
    with pytest.raises(SpecificationError, match="named 'qqq'; `refopt list` shows all names"):
        load("qqq")
    with pytest.raises(SpecificationError, match="no specification is named"):
        load("../pyproject")


def test_toml_of_a_table_is_read_as_that_table() -> None:
    for table in TABLES.values():
        assert tomllib.loads(toml(table)) == table


scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | st.text(max_size=5)
others = st.one_of(
    scalars.filter(lambda value: value is not None),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.text("abc", max_size=3), st.integers(0, 3), max_size=2),
)


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    """A valid file with up to three of its values removed, replaced, renamed or added."""
    table = copy.deepcopy(TABLES[draw(st.sampled_from(names()))])
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = table
        while True:
            keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(inner[key], dict | list) and draw(st.integers(0, 3)):
                inner = inner[key]
                continue
            match draw(st.sampled_from(["remove", "replace", "add", "rename"])):
                case "remove":
                    del inner[key]
                case "replace":
                    inner[key] = draw(others)
                case "rename" if isinstance(inner, dict):
                    inner[draw(st.text("abc-", max_size=3))] = inner.pop(key)
                case _ if isinstance(inner, dict):
                    inner[draw(st.sampled_from(["name", "x", "form", ""]))] = draw(others)
                case _:
                    inner.append(draw(others))
            break
    return table


@given(mutants())
def test_loader_and_schema_agree_on_any_change(table: dict[str, Any]) -> None:
    try:
        spec = parse("spec/x.toml", toml(table))
    except SpecificationError as error:
        assert re.match(r"spec/x\.toml: [\w.\[\]-]+( level)?: \S", str(error)), error  # noqa: PT017
        assert not VALIDATOR.is_valid(table)
    else:
        assert isinstance(spec, Specification)
        assert VALIDATOR.is_valid(table)


@given(st.data())
def test_no_text_raises_anything_but_a_specification_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(ADAM)))
    end = data.draw(st.integers(start, min(start + 30, len(ADAM))))
    text = ADAM[:start] + data.draw(st.text(max_size=5)) + ADAM[end:]
    try:
        assert parse("spec/x.toml", text).name
    except SpecificationError:
        return


# What the files say against the code


def test_every_name_of_the_catalog_is_specified_or_is_a_form_and_nothing_else_is() -> None:
    forms = [form for name in names() for form in load(name).forms]
    assert sorted([*names(), *forms]) == sorted(catalog_names())


@pytest.mark.parametrize("name", names())
def test_the_kind_is_that_of_the_code(name: str) -> None:
    kind = load(name).kind
    if name in COMPOSITIONS:
        assert kind == ("variant" if goes_around(name) else "composition")
    else:
        assert kind == "rule" if name in RULES else kind in ("variant", "schedule")
    for form in load(name).forms:
        assert (form in VARIANTS) == (kind in ("variant", "schedule"))


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_domains_and_defaults_are_those_of_the_code(name: str, function: str) -> None:
    spec = load(name)
    form = spec.forms.get(function)
    stated = {h.name: h for h in (*spec.hyperparameters, *(form.hyperparameters if form else ()))}
    defaults = keyword_defaults(layer(function).function)
    if function in RULES:
        defaults["lr"] = RULES[function].lr
    for key, default in defaults.items():
        assert stated[key].domain == str(DOMAINS[key])
        assert stated[key].default == (None if default is REQUIRED else default), key
        assert type(stated[key].default) is type(None if default is REQUIRED else default), key
    own = form.hyperparameters if form else spec.hyperparameters
    assert {h.name for h in own} <= defaults.keys()


@pytest.mark.parametrize("name", sorted(COMPOSITIONS))
def test_hyperparameters_of_compositions_are_those_of_their_parts(name: str) -> None:
    stated = {h.name: h for h in load(name).hyperparameters}
    whole = build(f"{name}(sgd)" if goes_around(name) else name).hyperparameters()
    inside = build("sgd").hyperparameters() if goes_around(name) else {}
    own = {key: value for key, value in whole.items() if key not in inside}
    assert {key: h.default for key, h in stated.items()} == own
    assert all(h.domain == str(DOMAINS[key]) for key, h in stated.items())


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_state_is_that_of_the_code(name: str, function: str) -> None:
    spec = load(name)
    form = spec.forms.get(function)
    state = spec.state if form is None or form.state is None else form.state
    assert tuple(s.name for s in state) == layer(function).state_names


@pytest.mark.parametrize("name", names())
def test_nothing_is_stated_twice(name: str) -> None:
    spec = load(name)
    parts: list[Specification | Form] = [spec, *spec.forms.values()]
    for part in parts:
        for found in ([h.name for h in part.hyperparameters], [s.name for s in part.state or ()]):
            assert len(found) == len(set(found))
        assert len(part.equations) == len(set(part.equations))


INSIDE = "sgd_ema"
"""A rule that no dialect replaces by another."""


def alone(form: str) -> str:
    """The form of a dialect as an expression that stands alone."""
    return form.replace("_)", f"{INSIDE})").replace("(_,", f"({INSIDE},")


@pytest.mark.parametrize(("name", "key"), DIALECTS)
def test_every_dialect_resolves_to_its_form(name: str, key: str) -> None:
    expression = around(name, INSIDE) if goes_around(name) else name
    dialect = load(name).dialects[key]
    found = resolve(expression, key)
    assert [part.name for part in found.layers] == components(alone(dialect.form))
    own = {"lr", *found.hyperparameters()}
    taken = [
        c
        for names in dialect.arguments.values()
        for c in ([names] if isinstance(names, str) else names)
    ]
    assert set(taken) <= own | DOMAINS.keys()
    for canonical, default in canonical_defaults([dialect]).items():
        assert default in DOMAINS[canonical], canonical


@pytest.mark.parametrize(("name", "key"), DIALECTS)
def test_what_a_dialect_differs_in_is_said_in_words(name: str, key: str) -> None:
    dialect = load(name).dialects[key]
    canonical = f"{name}(_)" if goes_around(name) else name
    assert dialect.differences or dialect.form in (canonical, COMPOSITIONS.get(name))
    assert dialect.wraps is None or goes_around(name)
    assert dialect.target or dialect.wraps == "option" or not dialect.cells
    for cell in dialect.cells:
        assert resolve(cell.spec, key).layers


def test_an_expression_without_the_dialect_is_an_error() -> None:
    with pytest.raises(SpecificationError, match="nothing in 'adam' has a dialect 'qqq'"):
        resolve("adam", "qqq")


def test_a_hyperparameter_that_the_dialect_lacks_is_an_error() -> None:
    with pytest.raises(
        SpecificationError, match=r"'keras' has it: .* no hyperparameter 'dampening'"
    ):
        resolve("sgd(dampening=0.5)", "keras")


def test_a_hyperparameter_that_nobody_has_is_no_matter_of_dialects() -> None:
    with pytest.raises(TypeError, match="adam has no hyperparameter 'qqq'"):
        resolve("adam(qqq=1)", "keras")


def test_without_a_dialect_an_expression_is_canonical() -> None:
    assert resolve("lookahead(adam, 6)") == build("lookahead(adam, 6)")


def test_dialects_of_an_expression_are_those_of_its_parts() -> None:
    found = dialects("lookahead(adam)", framework="optax")
    assert list(found) == ["adam", "lookahead"]
    assert all(isinstance(dialect, Dialect) for dialect in found.values())
    assert dialects("adam", key="keras") == {"adam": load("adam").dialects["keras"]}
    assert dialects("adam", framework="qqq") == {}
