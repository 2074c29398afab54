"""Proves the code equal to the specification: the same function run on symbols, side by side.

A rule or variant runs on SymPy symbols for one generic element; the equations of spec/ are parsed
and evaluated on the same symbols. The two were written independently from the source. The step
``t`` takes every form that code can tell apart: 1 and any later step, or with windows of k steps
the start, the middle and the end of any window, for k = 1 and for any longer one, and as numbers
two windows of 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sympy as sp

from refopt import catalog
from refopt.arithmetic.symbols import SYMBOLS, any_in_row, row_mean, total
from refopt.hyperparameters import DOMAINS, Boolean, Interval, Knots
from refopt.layers import (
    CountsMissing,
    Layer,
    OnDecayRates,
    OnDirection,
    OnGradient,
    OnGradients,
    OnLearningRate,
    OnParameter,
    OnParameterBefore,
    OnRows,
    OnWindow,
    Rule,
)
from refopt.optimizer import Optimizer
from refopt.specification import Specification, StateArray, load

Values = dict[str, Any]
"""Quantities by name."""

_VOCABULARY: Final[Mapping[str, Any]] = {
    "norm": lambda x: sp.sqrt(total(sp.expand(x**2))),
    "total": total,
    "row_mean": row_mean,
    "any_in_row": any_in_row,
}
"""What equations may use besides SymPy's own functions."""

_G, _G_OTHER, _H, _THETA, _THETA_NEW = sp.symbols("g g_other h theta theta_after", real=True)
_LR, _BETA, _OLD, _NEW = sp.symbols("lr beta old new", real=True)
_FACTOR_1, _FACTOR_2 = sp.symbols("factor1 factor2", real=True)
_STEP_1, _GAP = sp.symbols("step1 gap", integer=True, positive=True)
_STEP_2 = _STEP_1 + _GAP

_INPUTS: Final[Mapping[str, Any]] = {
    "g[t]": _G,
    "g_other[t]": _G_OTHER,
    "h[t]": _H,
    "theta[t-1]": _THETA,
    "theta[t]": _THETA_NEW,
    "lr": _LR,
    "beta": _BETA,
    "old": _OLD,
    "new": _NEW,
    "step1": _STEP_1,
    "factor1": _FACTOR_1,
    "step2": _STEP_2,
    "factor2": _FACTOR_2,
}
"""What equations may read at every step; ``theta[t]`` is the parameter that the step left."""

_STAGE_INPUTS: Final[Mapping[type[Layer], Values]] = {
    Rule: {"g": _G, "lr": _LR, "theta": _THETA},
    OnGradient: {"g": _G, "theta": _THETA},
    OnGradients: {},
    OnWindow: {"g": _G},
    OnParameterBefore: {"theta": _THETA, "lr": _LR},
    OnDecayRates: {"beta": _BETA},
    OnLearningRate: {},
    OnDirection: {"h": _H, "theta": _THETA},
    OnParameter: {"g": _G, "lr": _LR, "theta": _THETA_NEW, "theta_old": _THETA},
    OnRows: {"g": _G, "old": _OLD, "new": _NEW},
    CountsMissing: {},
}

_RESULTS: Final[Mapping[type[Layer], str]] = {
    Rule: "h",
    OnGradient: "g_new",
    OnGradients: "g_new",
    OnParameterBefore: "theta_new",
    OnDecayRates: "beta_new",
    OnLearningRate: "factor",
    OnDirection: "h_new",
    OnParameter: "theta_new",
    OnRows: "chosen",
}
"""The name under which equations define what a kind of layer returns."""

_STEPPED: Final = re.compile(r"\b([A-Za-z_]\w*)\[t(?:-(\d+))?\]")


@dataclass(frozen=True)
class Equality:
    """One quantity at one step, as the code has it and as the specification has it."""

    name: str
    quantity: str
    step: Any
    code: Any
    specification: Any

    @property
    def holds(self) -> bool:
        """Whether SymPy finds their difference to be zero."""
        if isinstance(self.code, bool) or self.code in (sp.true, sp.false):
            return bool(self.code) == bool(self.specification)
        # literals stand for the decimal numbers that they show
        difference = sp.nsimplify(self.code - self.specification, rational=True)
        return bool(sp.simplify(sp.piecewise_fold(difference)) == 0)

    def __str__(self) -> str:
        return (
            f"{self.name}, {self.quantity} at t = {self.step}: {self.code} = {self.specification}"
        )


def equalities(name: str, function: str | None = None) -> Iterator[Equality]:
    """Every equality between code and specification under a name, for its forms as well.

    Args:
        name: of the specification.
        function: a form or a part under that name, to have its equalities alone.

    Raises:
        SpecificationError: nothing is specified under that name.
    """
    spec = load(name)
    if spec.kind == "composition":
        yield from _of_optimizer(spec)
        return
    stated = dict.fromkeys(catalog.components(name), (spec.equations, spec.state))
    for form_name, form in spec.forms.items():
        stated[form_name] = (form.equations, spec.state if form.state is None else form.state)
    for each, (equations, state) in stated.items():
        if function in (None, each):
            yield from _of_function(each, equations, state)


def evaluated(equations: Sequence[str], given: Values, t: Any) -> Values:
    """The quantities that equations define at step ``t``.

    Args:
        equations: lines such as ``"m[t] = beta1*m[t-1] + (1 - beta1)*g[t]"``, in order.
        given: the inputs by name, the values of the step before under ``"name[t-1]"``.
        t: the step.

    Raises:
        ValueError: an equation uses a quantity that is neither given nor defined before it.
    """
    known = {_identifier(name): value for name, value in given.items()}
    defined: Values = {}
    for equation in equations:
        left, _, right = equation.partition("=")
        name = left.strip().removesuffix("[t]")
        text = _STEPPED.sub(lambda match: _identifier(match.group()), right)
        parsed = sp.parse_expr(text, local_dict={**_VOCABULARY, **known, "t": t}, evaluate=True)
        unknown = {s.name for s in parsed.free_symbols} - {
            s.name for value in (t, *known.values()) for s in sp.sympify(value).free_symbols
        }
        if unknown:
            raise ValueError(f"{equation!r} uses undefined {', '.join(sorted(unknown))}")
        known[_identifier(f"{name}[t]")] = known[name] = defined[name] = parsed
    return defined


def _identifier(name: str) -> str:
    """A quantity at a step as an identifier: ``m[t-1]`` is ``m_at_1``, ``m[t]`` is ``m_at_0``."""
    return _STEPPED.sub(lambda match: f"{match[1]}_at_{match[2] or 0}", name)


def symbol(name: str) -> Any:
    """The symbol of a hyperparameter, with its domain as assumptions; of knots, any two."""
    domain = DOMAINS.get(name)
    if isinstance(domain, Knots):
        return {_STEP_1: _FACTOR_1, _STEP_2: _FACTOR_2}
    if isinstance(domain, Interval):
        return sp.Symbol(name, positive=True, integer=domain.integer or None)
    return sp.Symbol(name, real=True)


def _of_function(
    name: str, equations: Sequence[str], state: Sequence[StateArray]
) -> Iterator[Equality]:
    layer = catalog.layer(name)
    for t, window in _steps(layer):
        for flags in _flags(layer.hyperparameters):
            fixed = window | flags
            hyperparameters = {key: fixed.get(key, symbol(key)) for key in layer.hyperparameters}
            first = bool(t == 1)
            before = {
                s.name: sp.sympify(s.initial, locals={"theta": _THETA, **hyperparameters})
                if first
                else sp.Symbol(s.name, real=True)
                for s in state
            }
            if first:
                yield from _of_initial_state(layer, hyperparameters, before)
            code = _run(layer, t, hyperparameters, before)
            given = {**hyperparameters, **_INPUTS, **{f"{k}[t-1]": v for k, v in before.items()}}
            stated = evaluated(equations, given, t)
            for quantity, value in code.items():
                yield Equality(name, quantity, t, value, stated[quantity])


def _steps(layer: Layer) -> list[tuple[Any, Values]]:
    """Each step that code can tell apart, with the length of the window that it falls into.

    The symbols carry what is known of them, so that SymPy decides every remainder by itself.
    """
    n, i, j = sp.symbols("n i j", integer=True, positive=True)
    past = sp.Symbol("past", integer=True, nonnegative=True)
    if "k" not in layer.hyperparameters or "t" not in layer.arguments:
        return [(sp.Integer(1), {}), (n + 1, {})]
    single, longer, longest = {"k": sp.Integer(1)}, {"k": j + 1}, {"k": i + j + 1}
    return [
        (sp.Integer(1), single),
        (n + 1, single),
        (sp.Integer(1), longer),
        (longer["k"] * n + 1, longer),
        (longest["k"] * past + i + 1, longest),  # neither the first of its window nor the last
        (longer["k"] * n, longer),
        # Python's == takes a remainder that symbols leave open for a number that it is not
        *((sp.Integer(t), {"k": sp.Integer(4)}) for t in range(2, 9)),
    ]


def _flags(names: Iterable[str]) -> list[Values]:
    """Every combination of what code may branch on: flags, and momentum, where 0 means none."""
    combinations: list[Values] = [{}]
    for name in names:
        if isinstance(DOMAINS[name], Boolean):
            values = [False, True]
        elif name == "momentum":
            values = [symbol(name), sp.Integer(0)]
        else:
            continue
        combinations = [{**c, name: value} for c in combinations for value in values]
    return combinations


def _of_initial_state(layer: Layer, hyperparameters: Values, stated: Values) -> Iterator[Equality]:
    initial = replace(layer, hyperparameters=hyperparameters).initial_state(SYMBOLS, _THETA)
    for quantity, value in stated.items():
        yield Equality(layer.name, quantity, 0, initial[layer.key(quantity)], value)


def _run(layer: Layer, t: Any, hyperparameters: Values, before: Values) -> Values:
    """What the code computes: its result, under the name of the stage, and its new state."""
    inputs = {"xp": SYMBOLS, "t": t, "gs": [_G, _G_OTHER], **_STAGE_INPUTS[type(layer)]}
    arguments = [inputs[a] if a in inputs else before[a] for a in layer.arguments]
    result = layer.function(*arguments, **hyperparameters)
    first, *states = result if layer.state_names else (result,)
    if isinstance(layer, CountsMissing):
        # such a layer has no function: a step without a gradient shows what it does
        optimizer = catalog.constructor(layer.name)(catalog.build("sgd"))
        state = optimizer.init(_THETA)
        state[""]["t"] = t - 1
        theta, state = optimizer.step(_THETA, None, state)
        return {"t_new": state[""]["t"], "theta_new": theta}
    if isinstance(layer, OnWindow):
        t_new, first = first
        return {"t_new": t_new, "g_new": first, **dict(zip(layer.state_names, states, strict=True))}
    if isinstance(layer, OnGradients):
        first = first[0]
    quantity = (
        "step" if "lr" in layer.arguments and isinstance(layer, Rule) else _RESULTS[type(layer)]
    )
    return {quantity: first, **dict(zip(layer.state_names, states, strict=True))}


def _of_optimizer(spec: Specification) -> Iterator[Equality]:
    """A composition: a whole step from symbolic state, against the parameter that is specified."""
    built = catalog.build(spec.name)
    windowed = next((each for each in built.layers if "k" in each.hyperparameters), built.layers[0])
    for t, window in _steps(windowed):
        for flags in _flags(built.hyperparameters()):
            known = {name: symbol(name) for name in built.hyperparameters()} | flags | window
            yield from _of_step(spec, _with(built, known), t, known)


def _with(optimizer: Optimizer, values: Values) -> Optimizer:
    """An optimizer with symbols for its hyperparameters, whatever their domain."""
    layers = tuple(
        replace(layer, hyperparameters={name: values[name] for name in layer.hyperparameters})
        for layer in optimizer.layers
    )
    return replace(optimizer, layers=layers, lr=values["lr"])


def _of_step(
    spec: Specification, optimizer: Optimizer, t: Any, hyperparameters: Values
) -> Iterator[Equality]:
    initial = optimizer.init(_THETA)[""]
    names = {key: key.partition(".")[2] for key in initial if key != "t"}
    before = {key: sp.Symbol(name, real=True) for key, name in names.items()}
    theta, after = optimizer.step(_THETA, _G, {"": {"t": t - 1, **before}})
    given = {**_INPUTS, **hyperparameters, **{f"{n}[t-1]": before[key] for key, n in names.items()}}
    stated = evaluated(spec.equations, given, t)
    yield Equality(spec.name, "theta", t, theta, stated["theta"])
    for key, name in names.items():
        yield Equality(spec.name, name, t, after[""][key], stated[name])
