"""Names and the expressions that stack them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from examples import AROUND, EXPRESSIONS, VALUES, around
from hypothesis import given
from hypothesis import strategies as st

import refopt
from refopt.catalog import (
    COMPOSITIONS,
    RULES,
    VARIANTS,
    CatalogError,
    build,
    components,
    goes_around,
    layer,
    names,
)
from refopt.hyperparameters import DOMAINS, Boolean, Interval
from refopt.optimizer import Optimizer


def values(name: str) -> st.SearchStrategy[Any]:
    """Any value in the domain of a hyperparameter."""
    domain = DOMAINS[name]
    if isinstance(domain, Boolean):
        return st.booleans()
    if not isinstance(domain, Interval):
        return st.dictionaries(st.integers(0, 99), st.floats(0, 9), min_size=1, max_size=3)
    if domain.integer:
        return st.integers(int(domain.low), 9)
    high = 9.0 if math.isinf(domain.high) else domain.high
    return st.floats(domain.low, high).filter(lambda value: value in domain)


@st.composite
def stacks(draw: st.DrawFn) -> Optimizer:
    """Any rule with up to three variants around it, each with some hyperparameters given."""
    rule = draw(st.sampled_from(sorted(RULES)))
    own = ["lr", *RULES[rule].default.hyperparameters]
    chosen = draw(st.lists(st.sampled_from(own), unique=True))
    optimizer = RULES[rule](**{k: draw(values(k)) for k in chosen})
    for name in draw(st.lists(st.sampled_from(sorted(VARIANTS)), max_size=3)):
        own = list(VARIANTS[name].default.hyperparameters)
        optimizer = VARIANTS[name](optimizer, **{k: draw(values(k)) for k in own})
    return optimizer


@given(stacks())
def test_what_an_optimizer_prints_reads_back_as_that_optimizer(optimizer: Optimizer) -> None:
    assert build(str(optimizer)) == optimizer


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_name_prints_and_reads_back(expression: str) -> None:
    optimizer = build(expression)
    again = build(str(optimizer))
    assert str(again) == str(optimizer)
    assert again.hyperparameters() == optimizer.hyperparameters()
    assert again.layers[0].function is optimizer.layers[0].function


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("lookahead(adam, 6, 0.25)", "lookahead(adam, k=6, alpha=0.25)"),
        ("lookahead(adam, 6, alpha=0.25)", "lookahead(adam, k=6, alpha=0.25)"),
        (" lookahead(\n  adam(),\n  k=6)", "lookahead(adam, k=6)"),
        ("adamw(beta1=0.5, weight_decay=0.1)", "weight_decay(adam(beta1=0.5), weight_decay=0.1)"),
        ("warmup(adamw, 9)", "warmup(weight_decay(adam), warmup_steps=9)"),
        ("piecewise_linear(sgd, {9: 1})", "piecewise_linear(sgd, schedule={9: 1})"),
    ],
)
def test_expressions_that_mean_the_same(expression: str, same: str) -> None:
    assert str(build(expression)) == str(build(same)) == same


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("adm", "no optimizer is named 'adm'; did you mean adam or "),
        ("qqq", "no optimizer is named 'qqq'; `refopt list` shows all names"),
        ("lookahead(adm)", "no optimizer is named 'adm'; did you mean adam or "),
        ("lookahead", "lookahead needs an optimizer inside, such as lookahead(adam)"),
        ("lookahead(k=5)", "lookahead needs an optimizer inside"),
        ("lookahead(5)", "'5' in 'lookahead(5)' is not an optimizer"),
        ("lookahead(adam + sgd)", "'adam + sgd' in 'lookahead(adam + sgd)' is not an optimizer"),
        ("adam(0.9)", "adam goes around nothing: give it hyperparameters by name"),
        ("adam(sgd)", "adam goes around nothing"),
        ("adamw(adam)", "adamw goes around nothing"),
        ("adam(beta1=beta2)", "'beta2' in 'adam(beta1=beta2)' is not a number"),
        ("adam(beta1=1/2)", "'1 / 2' in 'adam(beta1=1/2)' is not a number"),
        ("adam(eps={[]: 1})", "'{[]: 1}' in 'adam(eps={[]: 1})' is not a number"),
        ("adam(**{'eps': 1})", "adam in \"adam(**{'eps': 1})\" needs every hyperparameter by name"),
        ("adam(eps=1, eps=2)", "adam in 'adam(eps=1, eps=2)' needs every hyperparameter by name"),
        ("_", "no optimizer is named '_'"),
        ("", "'' is not an expression such as 'lookahead(adam, k=5)'"),
        ("adam(", "'adam(' is not an expression"),
        ("adam; sgd", "'adam; sgd' is not an expression"),
        ("adam\0", "'adam\\x00' is not an expression"),
        ("adam()()", "'adam()()' in 'adam()()' is not an optimizer"),
        ("torch.adam", "'torch.adam' in 'torch.adam' is not an optimizer"),
        ("'adam'", "\"'adam'\" in \"'adam'\" is not an optimizer"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_an_error_in_an_expression_names_what_is_wrong(expression: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        build(expression)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "error", "message"),
    [
        ("adam(betta1=0.5)", TypeError, "did you mean 'beta1'?"),
        ("lookahead(adam, kk=5)", TypeError, "did you mean 'k'?"),
        ("warmup(adam)", TypeError, "warmup needs a value for warmup_steps"),
        ("lookahead(adam, 5, k=5)", TypeError, "lookahead is given k twice"),
        ("lookahead(adam, 5, 0.5, 1)", TypeError, "lookahead takes 2 hyperparameters, got 3"),
        ("adam(beta1=2)", ValueError, "beta1 must be in [0, 1), got 2"),
        ("adam(beta1='0.9')", ValueError, "beta1 must be in [0, 1), got '0.9'"),
        ("lookahead(adam, k=-1)", ValueError, "k must be integers in [1, inf), got -1"),
    ],
)
def test_an_error_in_a_value_names_the_hyperparameter(
    expression: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        build(expression)
    assert message in str(caught.value)


tokens = st.sampled_from(
    [*names(), *"()[]{},=:_'\n", "k", "beta1", "0.5", "3", "**", "True", "lambda"]
)


@given(st.lists(tokens, max_size=12).map("".join) | st.text(max_size=12))
def test_no_text_raises_anything_but_a_clear_error(text: str) -> None:
    try:
        optimizer = build(text)
    except (CatalogError, TypeError, ValueError):
        return
    assert str(build(str(optimizer))) == str(optimizer)


def test_components_are_named_innermost_first() -> None:
    assert components("lookahead(weight_decay_before(adamw, weight_decay=0.5), k=5)") == [
        "adam",
        "weight_decay",
        "weight_decay_before",
        "lookahead",
    ]
    assert components("lookahead(adamw)", lambda name: name == "adamw") == ["adamw", "lookahead"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_components_are_the_layers(expression: str) -> None:
    assert components(expression) == [layer.name for layer in build(expression).layers]


def test_a_name_is_a_rule_or_a_variant_or_a_composition() -> None:
    assert len(set(names())) == len(names()) == len(RULES) + len(VARIANTS) + len(COMPOSITIONS)
    assert all(name.isidentifier() for name in names())
    assert [name for name in names() if goes_around(name)] == AROUND
    for name in (*RULES, *VARIANTS):
        assert layer(name).function.__name__ == layer(name).name == layer(name).label == name


@pytest.mark.parametrize("name", names())
def test_every_name_is_an_attribute_of_the_package(name: str) -> None:
    made = getattr(refopt, name)
    expression = around(name, "sgd") if name in AROUND else name
    needed = {k: v for k, v in VALUES.items() if f" {k}=" in expression}
    optimizer = made(refopt.sgd(), **needed) if name in AROUND else made()
    assert str(optimizer) == str(build(expression))


def test_a_name_that_does_not_exist_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="refopt has no attribute 'adamm'"):
        _ = refopt.adamm


def test_the_defaults_of_a_composition_can_be_replaced() -> None:
    assert refopt.lamb().hyperparameters()["eps"] == 1e-6
    assert refopt.lamb(eps=0.5).hyperparameters()["eps"] == 0.5
    assert not refopt.lamb().pinned()


def test_exclusion_by_name_reaches_the_layer() -> None:
    optimizer = refopt.weight_decay(refopt.sgd(lr=1.0), 0.5, exclude=lambda name: "bias" in name)
    params = {"kernel": np.ones(1), "bias": np.ones(1)}
    zeros = {"kernel": np.zeros(1), "bias": np.zeros(1)}
    new, _ = optimizer.step(params, zeros, optimizer.init(params))
    assert {name: float(x[0]) for name, x in new.items()} == {"kernel": 0.5, "bias": 1.0}
