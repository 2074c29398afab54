"""Proofs: they hold for what is written, and for nothing that differs from it."""

from __future__ import annotations

import inspect
import io
import tokenize
from collections.abc import Iterator
from typing import Any

import pytest
import sympy as sp

from refopt import catalog
from refopt.arithmetic.symbols import total
from refopt.catalog import COMPOSITIONS, RULES, VARIANTS, layer
from refopt.layers import Function
from refopt.optimizer import RuleConstructor, VariantConstructor
from refopt.oracle import proof
from refopt.oracle.proof import Equality, equalities, evaluated
from refopt.specification import Specification, load, names

X, Y = sp.symbols("x y", positive=True)


@pytest.mark.parametrize("name", names())
def test_code_equals_specification(name: str) -> None:
    found = list(equalities(name))
    assert found
    assert [str(equality) for equality in found if not equality.holds] == []


@pytest.mark.parametrize("name", sorted(set(names()) - COMPOSITIONS.keys()))
def test_everything_that_code_computes_is_proven_at_the_first_step_and_later(name: str) -> None:
    spec = load(name)
    for function in (name, *spec.forms):
        found = [e for e in equalities(name) if e.name == function]
        state = layer(function).state_names
        quantities = {e.quantity for e in found}
        assert quantities > set(state)
        assert {e.step == 1 for e in found if e.step != 0} == {True, False}
        assert {e.quantity for e in found if e.step == 0} == set(state)


@pytest.mark.parametrize("name", sorted(COMPOSITIONS))
def test_a_composition_is_proven_as_one_step(name: str) -> None:
    found = list(equalities(name))
    if load(name).kind == "composition":
        assert {e.quantity for e in found} >= {"theta"}


# Equalities that do not hold


@pytest.mark.parametrize(
    ("code", "stated", "holds"),
    [
        (X * (X + 1), X**2 + X, True),
        (X * (X + 1), X**2, False),
        (sp.sqrt(X**2), X, True),
        (sp.Max(X, Y), sp.Min(X, Y), False),
        (sp.Float(0.96), sp.Rational(24, 25), True),
        (sp.Float(0.96), sp.Rational(24, 25) + sp.Rational(1, 10**9), False),
        (sp.Piecewise((X, X > 1), (Y, True)), sp.Piecewise((Y, X <= 1), (X, True)), True),
        (sp.Piecewise((X, X > 1), (Y, True)), sp.Piecewise((X, X >= 1), (Y, True)), False),
        (True, sp.true, True),
        (True, sp.false, False),
        (sp.false, sp.true, False),
    ],
    ids=str,
)
def test_equalities_hold_where_they_are_true_and_only_there(
    code: Any, stated: Any, holds: bool
) -> None:
    assert Equality("name", "h", 1, code, stated).holds is holds


def test_an_equality_prints_both_sides() -> None:
    equality = Equality("adam", "h", sp.Integer(1), X, Y)
    assert str(equality) == "adam, h at t = 1: x = y"


SWAPS = {
    "+": "-",
    "-": "+",
    "*": "+",
    "/": "*",
    "**": "*",
    "<": ">=",
    "<=": ">",
    "==": "!=",
    "%": "//",
    "//": "%",
    "beta1": "beta2",
    "beta2": "beta1",
    "m": "v",
    "v": "m",
    "m_hat": "m",
    "v_hat": "v",
    "g": "theta",
    "h": "theta",
    "t": "(t + 1)",
    "k": "(k + 1)",
    "eps": "0",
    "alpha": "(1 - alpha)",
    "theta": "(2*theta)",
    "slow": "(2*slow)",
    "momentum": "dampening",
    "dampening": "momentum",
    "decay_steps": "(decay_steps + 1)",
    "end_factor": "(1 - end_factor)",
    "weight_decay": "1",
    "maximum": "minimum",
    "minimum": "maximum",
    "cos": "sqrt",
    "sqrt": "abs",
    "1": "2",
    "2": "3",
}
"""What each token of a function is exchanged for: mistakes that people make."""


def mutants(function: Function) -> Iterator[tuple[str, str]]:
    """The source of a function with one token of its body exchanged, and what was exchanged."""
    source = inspect.getsource(function)
    source = source[source.index("def ") :]
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    body = next(i for i, token in enumerate(tokens) if token.type == tokenize.INDENT)
    lines = source.splitlines(keepends=True)
    for before, token in zip(tokens[body:], tokens[body + 1 :], strict=False):
        assigned = token.line.lstrip().startswith((f"{token.string} =", f"{token.string},"))
        if token.string not in SWAPS or (assigned and before.type != tokenize.OP):
            continue
        (row, start), (_, end) = token.start, token.end
        line = lines[row - 1]
        changed = [*lines]
        changed[row - 1] = f"{line[:start]}{SWAPS[token.string]}{line[end:]}"
        yield "".join(changed), f"{line.strip()} -> {changed[row - 1].strip()}"


def compiled(source: str, original: Function) -> Function:
    found: dict[str, Any] = {}
    exec(source, {**original.__globals__, "__name__": original.__module__}, found)
    function: Function = found[original.__name__]
    return function


MUTATED = [
    "adam",
    "sgd",
    "lion",
    "l2",
    "weight_decay_before",
    "lookahead",
    "clip_by_value",
    "cosine",
    "step_decay",
    "warmup",
]


def specified(function: str) -> str:
    """The specification that a function belongs to."""
    return next(name for name in names() if function == name or function in load(name).forms)


def proven(function: str) -> bool:
    """Whether every equality of a function holds; code that does not run on symbols is not."""
    try:
        return all(e.holds for e in equalities(specified(function)) if e.name == function)
    except (NameError, TypeError, ValueError, ZeroDivisionError):
        return False


@pytest.mark.parametrize("name", MUTATED)
def test_no_function_with_one_token_exchanged_is_proven(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original = layer(name).function
    survivors, count = [], 0
    for source, change in mutants(original):
        wrong = compiled(source, original)
        if name in RULES:
            monkeypatch.setitem(catalog.RULES, name, RuleConstructor(wrong, RULES[name].lr))
        else:
            kind = type(VARIANTS[name].default)
            monkeypatch.setitem(catalog.VARIANTS, name, VariantConstructor(kind, wrong))
        count += 1
        if proven(name):
            survivors.append(change)
        monkeypatch.undo()
    assert count
    assert survivors == []
    assert proven(name)


@pytest.mark.parametrize("name", ["adam", "lookahead", "cosine", "layer_adaptation"])
def test_no_specification_with_one_equation_changed_is_proven(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spec = load(name)
    for i, equation in enumerate(spec.equations):
        left, right = equation.split(" = ", 1)
        changed = [*spec.equations]
        changed[i] = f"{left} = 2*({right})"
        wrong = Specification(
            name=name,
            title="",
            kind=spec.kind,
            summary="",
            sources=(),
            equations=tuple(changed),
            state=spec.state,
        )
        monkeypatch.setattr(proof, "load", lambda _, wrong=wrong: wrong)
        assert not all(equality.holds for equality in equalities(name)), changed[i]


# Equations


def test_equations_are_evaluated_in_order() -> None:
    given = {"g[t]": X, "m[t-1]": Y, "beta1": sp.Rational(1, 2)}
    lines = ["m[t] = beta1*m[t-1] + g[t]", "c = 1 - beta1**t", "h[t] = m[t]/c"]
    found = evaluated(lines, given, sp.Integer(2))
    assert found == {"m": Y / 2 + X, "c": sp.Rational(3, 4), "h": (Y / 2 + X) * sp.Rational(4, 3)}


@pytest.mark.parametrize(
    ("lines", "unknown"),
    [
        (["h[t] = m[t]"], "m_at_0"),
        (["h[t] = m[t]", "m[t] = g[t]"], "m_at_0"),
        (["h[t] = m[t-1]"], "m_at_1"),
        (["h[t] = gamma_rate*g[t]"], "gamma_rate"),
        (["h[t] = g[t-2]"], "g_at_2"),
    ],
)
def test_a_quantity_that_is_not_defined_is_named(lines: list[str], unknown: str) -> None:
    with pytest.raises(ValueError, match=f"uses undefined {unknown}"):
        evaluated(lines, {"g[t]": X}, sp.Integer(1))


def test_equations_may_use_norms_and_the_functions_of_sympy() -> None:
    found = evaluated(
        ["a = Max(1, norm(g[t]))", "b = Piecewise((1, Eq(t, 1)), (2, True))", "c = Mod(t, 2)"],
        {"g[t]": X},
        sp.Integer(3),
    )
    assert found["a"] == sp.Max(1, sp.sqrt(total(X**2)))
    assert (found["b"], found["c"]) == (2, 1)


def test_symbols_carry_their_domains() -> None:
    assert proof.symbol("lr").is_positive
    assert proof.symbol("k").is_integer
    assert proof.symbol("beta1").is_integer is None
    knots = sorted(proof.symbol("schedule"))
    assert len(knots) == 2
    assert knots[0].is_positive
    assert (knots[1] - knots[0]).is_positive
