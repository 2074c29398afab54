"""No edit of a rule goes unnoticed: an equality with the specification fails, or a claim does.

The edited code is compared with the specification by exact evaluation at points, on a tensor of two
rows and two columns. Where two expressions differ at a point they differ, which takes SymPy a
millisecond and `simplify` up to half a minute.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

import pytest
import sympy as sp

from derivations._notebook import notebooks as all_notebooks
from refopt import catalog, specification
from refopt.arithmetic.identity import differ
from refopt.arithmetic.symbols import (
    SymbolsNamespace,
    any_in_row,
    any_over,
    largest,
    mean_over,
    row_mean,
    row_sum,
    total,
)
from refopt.hyperparameters import DOMAINS, Interval
from refopt.layers import REQUIRED
from refopt.optimizer import Optimizer
from refopt.oracle.edits import LineEdit, edits
from refopt.oracle.equivalence import is_equivalent
from refopt.oracle.probes import FAR
from refopt.oracle.proof import Equality, equalities

SAMPLE: Final = 6
"""The edits of each function."""

POINTS: Final = 100
"""As many as it takes to meet what only some points show: one in fourteen rectifies RAdam."""

ARRAYS: Final = ("g", "g_other", "h", "theta", "theta_after", "old", "new")
"""The symbols that stand for the generic element of an array."""

FUNCTIONS: Final = {
    function: name
    for name in specification.names()
    if specification.load(name).kind != "composition"
    for function in (*catalog.components(name), *specification.load(name).forms)
    if function != "count_missing"  # it has no lines
}
"""Every rule, variant and form, and the specification that it stands under."""


def around_descent(function: str) -> Optimizer:
    """A rule, or a variant around gradient descent with what it requires."""
    if function in catalog.RULES:
        return catalog.build(function)
    variant = catalog.VARIANTS[function]
    defaults = variant.default.hyperparameters
    required = {name: FAR[name] for name, value in defaults.items() if value is REQUIRED}
    return variant(catalog.build("sgd"), **required)


def own_edits(optimizer: Optimizer) -> list[LineEdit]:
    """The edits of the lines of the outermost layer.

    What they add after ``==`` is left out: of two symbols Python says that they are not equal,
    whatever values they may have.
    """
    last = len(optimizer.layers) - 1
    own = (e for e in edits(optimizer) if isinstance(e, LineEdit) and e.index == last)
    return [e for e in own if e.after.count("==") <= e.before.count("==")]


# A tensor

ROW, COLUMN = "'", '"'
"""What the names of the elements in the other row and column end in."""


def along(x: Any, axes: Sequence[Any]) -> list[Any]:
    """The elements of a tensor along some axes from the generic one on."""
    found = [x]
    for axis in axes:
        end = (ROW, COLUMN)[int(axis)]
        found += [
            each.xreplace(
                {s: sp.Symbol(s.name + end, real=True) for s in each.free_symbols if is_element(s)}
            )
            for each in found
        ]
    return found


def is_element(symbol: Any) -> bool:
    return symbol.name.rstrip(ROW + COLUMN) in ARRAYS


def added_up(expression: Any) -> Any:
    """An expression whose sums, means and rows are those of the tensor."""

    def mean(x: Any, *axes: Any) -> Any:
        return sp.Add(*along(x, axes)) / 2 ** len(axes)

    def is_any(x: Any, *axes: Any) -> Any:
        return sp.Min(1, sp.ceiling(sp.Add(*(each**2 for each in along(x, axes)))))

    return (
        sp.sympify(expression)
        .replace(total, lambda x: sp.Add(*along(x, (0, 1))))
        .replace(largest, lambda x: sp.Max(*along(x, (0, 1))))
        .replace(row_sum, lambda x: sp.Add(*along(x, (1,))))
        .replace(row_mean, lambda x: mean(x, 1))
        .replace(mean_over, mean)
        .replace(any_in_row, lambda x: is_any(x, 1))
        .replace(any_over, is_any)
    )


def places(*expressions: Any) -> Iterator[dict[Any, Any]]:
    """Where expressions are compared: anywhere, and where arrays, rows or rates are zero."""
    symbols = sorted(set().union(*(x.free_symbols for x in expressions)), key=str)
    yield {s: s / 8 for s in symbols if is_element(s)}  # below what clips
    zeros: list[list[Any]] = [[]]
    for name, end in product(ARRAYS, ("", COLUMN, ROW + COLUMN)):
        zeros.append([s for s in symbols if is_element(s) and s.name.rstrip(end or " ") == name])
    rates = [s for s in symbols if isinstance(DOMAINS.get(s.name), Interval) and can_be_zero(s)]
    for elements, rate in product(filter(lambda z: z or z is zeros[0], zeros), [None, *rates]):
        yield dict.fromkeys(elements if rate is None else [*elements, rate], 0)


def can_be_zero(rate: Any) -> bool:
    return 0 in DOMAINS[rate.name]


def are_apart(code: Any, stated: Any, points: int) -> bool:
    """Whether two expressions certainly differ, somewhere that the second is defined."""
    for place in places(code, stated):
        there = stated.subs(place)
        if there.has(sp.nan, sp.zoo, sp.oo):
            continue
        try:
            here = code.subs(place)
            if here.has(sp.nan, sp.zoo) or differ(here, there, points):
                return True
        except (TypeError, ValueError):  # it asks which of two complex numbers is larger
            return True
    return False


# Noticed by an equality


def broken(equality: Equality, points: int) -> bool:
    """Whether an equality does not hold."""
    if not isinstance(equality.code, sp.Expr):
        return not equality.holds
    return are_apart(added_up(equality.code), added_up(equality.specification), points)


def found(monkeypatch: pytest.MonkeyPatch, function: str, edited: Any, ndim: int) -> list[Equality]:
    """The equalities of a function that is edited, on arrays of so many axes."""
    original = catalog.layer
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "layer", lambda name: edited if name == function else original(name))
        patch.setattr(SymbolsNamespace, "ndim", lambda self, x: ndim)
        equal = list(equalities(FUNCTIONS[function], function))
    if function == "gradient_centralization" and ndim < 2:
        # the equation is about matrices; numbers and vectors stay as they are, says the summary
        return [replace(each, specification=sp.Symbol("g", real=True)) for each in equal]
    return equal


def ranks(function: str) -> tuple[int, ...]:
    """The numbers of axes for which the equations speak."""
    return (2, 0) if function == "lazy_parameter" else (2, 1, 0)  # there a vector is one row


def is_noticed(monkeypatch: pytest.MonkeyPatch, function: str, edit: LineEdit) -> bool:
    """Whether an equality with the specification fails, or the edited code does not run at all."""
    edited = edit.apply(around_descent(function)).layers[edit.index]
    equal: list[Equality] = []
    for ndim in ranks(function) if "ndim" in edit.before + edit.after else (2,):
        try:
            equal += found(monkeypatch, function, edited, ndim)
        except (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError):
            return True
    return any(broken(each, points) for points in (1, 10, POINTS) for each in equal)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_noticed_of_what_is_not_edited(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    code = catalog.layer(function)
    equal = [e for ndim in ranks(function) for e in found(monkeypatch, function, code, ndim)]
    assert [str(each) for each in equal if broken(each, points=3)] == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_edit_is_noticed_unless_it_is_the_same_algorithm(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    optimizer = around_descent(function)
    own = own_edits(optimizer)
    drawn = random.Random(function).sample(own, min(SAMPLE, len(own)))
    changed = [edit for edit in drawn if not is_equivalent(optimizer, edit)]
    assert changed
    unnoticed = [edit for edit in changed if not is_noticed(monkeypatch, function, edit)]
    assert list(map(str, unnoticed)) == []


# Noticed by a claim

EDITED: Final = {
    "adadelta": ("(1 - rho) * h**2", "(1 - rho) * g**2"),
    "adagrad": ("s + g**2", "0.9 * s + g**2"),
    "adam": ("xp.sqrt(v_hat) + eps", "xp.sqrt(v_hat + eps)"),
    "adamax": ("xp.abs(g) + eps", "xp.abs(g)"),
    "amsgrad": ("xp.maximum(v_max, v)", "v"),
    "lion": ("beta1 * m + (1 - beta1) * g", "beta2 * m + (1 - beta2) * g"),
    "nadam": ("t * momentum_decay", "momentum_decay"),
    "radam": ("rectified = rho > 4", "rectified = rho > 5"),
    "rmsprop": ("(1 - rho) * g**2", "g**2"),
    "sgd": ("momentum * b + (1 - dampening) * g", "b + (1 - dampening) * g"),
    "clip_by_norm": ("max_norm / xp.maximum(norm, max_norm)", "max_norm"),
    "cosine": ("/ decay_steps", "/ (decay_steps - 1)"),
    "gradient_accumulation": ("g / k", "g"),
    "l2": ("weight_decay * theta", "weight_decay * g"),
    "layer_adaptation": ("norm_theta / norm_h", "norm_h / norm_theta"),
    "lookahead": ("theta - slow", "theta"),
    "step_decay": ("(t - 1) //", "t //"),
    "trust_ratio": ("norm_g + weight_decay * norm_theta", "norm_g"),
    "weight_decay": ("weight_decay * theta", "weight_decay * h"),
}
"""A change of each of these functions: what is replaced, and by what."""


def edit(monkeypatch: pytest.MonkeyPatch, function: str, before: str, after: str) -> None:
    """Changes a function wherever it is imported from afterwards."""
    constructor: Any = {**catalog.RULES, **catalog.VARIANTS}[function]
    original = constructor.default.function
    text = inspect.getsource(original)
    text = text[text.index("def ") :]
    assert text.count(before) == 1
    names: dict[str, Any] = {}
    exec(text.replace(before, after), original.__globals__, names)
    edited = names[function]
    monkeypatch.setattr(constructor, "default", replace(constructor.default, function=edited))
    if getattr(sys.modules[original.__module__], function) is original:
        monkeypatch.setattr(sys.modules[original.__module__], function, edited)


def refuted(claims: Sequence[str]) -> str:
    """The first claim whose check fails; empty if none does."""
    notebooks = {notebook.name: notebook for notebook in all_notebooks()}
    shared: dict[str, dict[str, Any]] = {}
    for name in claims:
        notebook = notebooks[name.partition("::")[0]]
        (claim,) = (claim for claim in notebook.claims if name.endswith(f"::{claim.id}"))
        names = shared.setdefault(notebook.name, {"__name__": "__main__", "done": 0})
        try:
            for cell in notebook.shared(claim)[names["done"] :]:
                cell.run(notebook.path, names)
                names["done"] += 1
            own = dict(names)
            for cell in notebook.section(claim):
                cell.run(notebook.path, own)
        except AssertionError:
            return name
    return ""


@pytest.mark.parametrize("function", EDITED)
def test_a_claim_fails_when_the_rule_that_it_runs_is_edited(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    claims = specification.load(FUNCTIONS[function]).claims
    edit(monkeypatch, function, *EDITED[function])
    assert refuted(claims)
