"""What belongs to one layer and stands in the formula of another.

The decay reaches one moment alone or the denominator, the epsilon of the rule is in the trust
ratio, a factor that is computed from the gradient scales the step: each is one line of a layer that
reads what another layer has.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final

from refopt import layers as stages
from refopt.layers import Function, Layer, Leaf, Rule
from refopt.optimizer import Optimizer
from refopt.oracle.edited import Change, Edited, Source, source, with_change
from refopt.oracle.edits import Edit, scope_of
from refopt.oracle.rewriting import place_of, replaced
from refopt.oracle.scope import Scope
from refopt.oracle.trees import Place, expression, named, parts, put, total_of, with_fields
from refopt.oracle.wording import said, written
from refopt.xp import Array

DECAYS: Final = ("l2", "weight_decay", "weight_decay_before")
"""The variants whose decay people put into a line of the rule."""


def crossings(optimizer: Optimizer) -> Iterator[Edit]:
    """Every change of a line of one layer by what another layer has."""
    for i, layer in enumerate(optimizer.layers):
        if layer.name in DECAYS:
            yield from _of_decay(i, optimizer)
        if i and "eps" not in layer.hyperparameters and "eps" in optimizer.hyperparameters():
            yield from _of_epsilon(i, layer)
        if isinstance(layer, stages.OnGradient | stages.OnDirection):
            yield from _of_factor(i, optimizer)


# A term of a variant in a line of the rule


def _of_decay(i: int, optimizer: Optimizer) -> Iterator[Edit]:
    """The decay at another place than around the gradient or the direction."""
    rule, name = optimizer.layers[0], optimizer.layers[i].name
    code = source(rule.function)
    for position, statement in enumerate(code.statements):
        value: ast.expr = statement.value  # type: ignore[attr-defined]
        scope = scope_of(code, position, Rule)
        whole = [((), value)] if isinstance(value, ast.BinOp) else []
        for place, part in [*whole, *_terms(value, scope)]:
            for decay in ("weight_decay * theta", "lr * weight_decay * theta"):
                joined = total_of(part, expression(decay))
                changed = with_fields(statement, value=put(value, place, joined))
                words = f"the decay is added to {said(part)} here alone, not by {name}"
                keeps_rate = "lr" not in code.arguments
                change = Change({}, partial(replaced, statement, (changed,)), keeps_rate=keeps_rate)
                yield _edit(code, statement, changed, words, partial(_decayed, i, change))


def _terms(node: ast.expr, scope: Scope, place: Place = ()) -> Iterator[tuple[Place, ast.expr]]:
    """The arrays in an expression, and the denominators."""
    if isinstance(node, ast.Name) and scope.kind(node) == "array":
        yield place, node
    for at, part in parts(node):
        items = part if isinstance(part, list) else [part]
        for j, item in enumerate(items):
            is_divisor = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
            if is_divisor and at == "right" and isinstance(item, ast.BinOp):
                yield (*place, (at, j)), item
            yield from _terms(item, scope, (*place, (at, j)))


def _decayed(i: int, change: Change, optimizer: Optimizer) -> Optimizer:
    values = {"weight_decay": optimizer.layers[i].hyperparameters["weight_decay"]}
    changed = _knowing(0, values, with_change(0, change, optimizer))
    return _restacked([layer for j, layer in enumerate(changed.layers) if j != i], changed)


# A hyperparameter of the rule in a line of a variant


def _of_epsilon(i: int, layer: Layer) -> Iterator[Edit]:
    """Epsilon in a ratio."""
    code = source(layer.function)
    for position, statement in enumerate(code.statements):
        value: ast.expr = statement.value  # type: ignore[attr-defined]
        scope = scope_of(code, position, type(layer))
        for place, divisor in _divisors(value):
            if scope.kind(divisor) == "scalar":
                joined = total_of(divisor, named("eps"))
                changed = with_fields(statement, value=put(value, place, joined))
                words = f"the epsilon of the rule is added to {said(divisor)}"
                apply = partial(_with_epsilon, i, statement, changed)
                yield _edit(code, statement, changed, words, apply)


def _divisors(node: ast.expr, place: Place = ()) -> Iterator[tuple[Place, ast.expr]]:
    for at, part in parts(node):
        items = part if isinstance(part, list) else [part]
        for j, item in enumerate(items):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and at == "right":
                yield (*place, (at, j)), item
            yield from _divisors(item, (*place, (at, j)))


def _with_epsilon(i: int, old: ast.stmt, new: ast.stmt, optimizer: Optimizer) -> Optimizer:
    values = {"eps": optimizer.hyperparameters()["eps"]}
    change = Change({}, partial(replaced, old, (new,)))
    return _knowing(i, values, with_change(i, change, optimizer))


# A factor of a variant at another stage


def _of_factor(i: int, optimizer: Optimizer) -> Iterator[Edit]:
    """A factor computed at one stage that scales what there is at another."""
    layer = optimizer.layers[i]
    code = source(layer.function)
    last = code.statements[-1]
    scope = scope_of(code, len(code.statements) - 1, type(layer))
    match last:
        case ast.Return(value=ast.BinOp(left=factor, op=ast.Mult(), right=rest)) if (
            scope.kind(factor) == "scalar" and not layer.state_names
        ):
            own = said(factor)
            if isinstance(layer, stages.OnGradient):
                words = f"{own}, computed from the gradient, scales the direction instead"
                after = f"{written(with_fields(last, value=rest))}  # and the direction times it"
                place = place_of(code, last, after, words, "crossing")
                yield Edit(**place, apply=partial(_outside, i, factor, rest))
                return
            for j, inner in enumerate(optimizer.layers[1:i], 1):
                if isinstance(inner, stages.OnDirection):
                    words = f"{own} is computed before {inner.name}, and scales what is after it"
                    after = f"{written(last)}  # with the ratio from before {inner.name}"
                    place = place_of(code, last, after, words, "crossing")
                    yield Edit(**place, apply=partial(_earlier, i, j, factor))
                    words = f"{own} scales only what there is before {inner.name}"
                    after = f"{written(last)}  # for what there is before {inner.name}"
                    place = place_of(code, last, after, words, "crossing")
                    yield Edit(**place, apply=partial(_in_part, i, j, factor))


@dataclass(frozen=True, kw_only=True)
class Noting(stages.OnDirection):
    """Computes a factor and leaves the direction as it is.

    Attributes:
        kept: the factors, by the parameter's name.
    """

    kept: dict[str, Array]

    def outward(self, leaves: Sequence[Leaf]) -> None:
        """Computes the factor from the direction."""
        for leaf in leaves:
            h, theta = leaf.h, leaf.theta
            super().outward([leaf])
            self.kept[leaf.name], leaf.h, leaf.theta = leaf.h, h, theta


@dataclass(frozen=True, kw_only=True)
class Scaling(Layer):
    """Scales the direction by a factor that another layer computed.

    Attributes:
        kept: the factors, by the parameter's name.
    """

    kept: dict[str, Array]

    def outward(self, leaves: Sequence[Leaf]) -> None:
        """Applies the factor."""
        for leaf in leaves:
            leaf.h = self.kept[leaf.name] * leaf.h


@dataclass(frozen=True, kw_only=True)
class ScalingLater(Scaling):
    """Computes a factor from the gradient, and scales the direction by it.

    Attributes:
        factor: what it computes.
    """

    factor: Layer

    def inward(self, leaves: Sequence[Leaf]) -> None:
        """Computes the factor, and what is left of the change of the gradient."""
        for leaf in leaves:
            self.kept[leaf.name] = self.factor.call(leaf)
            leaf.g = self.call(leaf)


@dataclass(frozen=True, kw_only=True)
class Keeping(Layer):
    """Keeps the direction as it is at that stage.

    Attributes:
        kept: the directions, by the parameter's name.
    """

    kept: dict[str, Array]

    def outward(self, leaves: Sequence[Leaf]) -> None:
        """Keeps the direction."""
        for leaf in leaves:
            self.kept[leaf.name] = leaf.h


@dataclass(frozen=True, kw_only=True)
class ScalingInPart(stages.OnDirection):
    """Scales the part of the direction that was there at an earlier stage.

    Attributes:
        kept: these parts, by the parameter's name.
    """

    kept: dict[str, Array]

    def outward(self, leaves: Sequence[Leaf]) -> None:
        """Applies a factor, computed from the whole direction, to the part."""
        for leaf in leaves:
            part, whole = self.kept[leaf.name], leaf.h
            super().outward([leaf])
            leaf.h = leaf.h * part + (whole - part)


def _outside(i: int, factor: ast.expr, rest: ast.expr, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)
    own = _own(layers[i])
    first, second = (_returning(layers[i].function, result) for result in (factor, rest))
    noted = Layer(**(own | {"function": first}))
    layers[i] = ScalingLater(**(own | {"function": second}), factor=noted, kept={})
    return replace(optimizer, layers=tuple(layers))


def _earlier(i: int, j: int, factor: ast.expr, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)
    own = _own(layers[i])
    kept: dict[str, Array] = {}
    layers[i] = Scaling(**own, kept=kept)
    noting = _returning(layers[i].function, factor)
    layers.insert(j, Noting(**(own | {"function": noting}), kept=kept))
    return _restacked(layers, optimizer)


def _in_part(i: int, j: int, factor: ast.expr, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)
    own = _own(layers[i])
    kept: dict[str, Array] = {}
    function = _returning(layers[i].function, factor)
    layers[i] = ScalingInPart(**(own | {"function": function}), kept=kept)
    layers.insert(j, Keeping(**own, kept=kept))
    return _restacked(layers, optimizer)


def _own(layer: Layer) -> dict[str, Any]:
    return {own.name: getattr(layer, own.name) for own in fields(Layer)}


def _returning(function: Function, result: ast.expr) -> Edited:
    """A function that returns something else."""
    code = source(function)
    *statements, _ = code.statements
    return Edited(function, code, [*statements, ast.Return(result)])


# What they share


def _edit(code: Source, old: ast.stmt, new: ast.stmt, words: str, apply: Any) -> Edit:
    place = place_of(code, old, written(new), words, "crossing")
    return Edit(**place, apply=apply)


def _knowing(i: int, values: Mapping[str, Any], optimizer: Optimizer) -> Optimizer:
    """An optimizer of which one layer knows hyperparameters of others."""
    layers = list(optimizer.layers)
    known = {**layers[i].hyperparameters, **values}
    layers[i] = replace(layers[i], hyperparameters=known, pinned=layers[i].pinned | values.keys())
    return replace(optimizer, layers=tuple(layers))


def _restacked(layers: Sequence[Layer], optimizer: Optimizer) -> Optimizer:
    rule, *variants = layers
    changed = replace(optimizer, layers=(replace(rule, label=rule.name),))
    for variant in variants:
        changed = changed.around(variant)
    return changed
