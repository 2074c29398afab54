"""Changes of the composition: a variant dropped, exchanged, moved or added, another rule.

These are the mistakes one level above the formulas: L2 where decoupled decay was promised, AMSGrad
promised and Adam delivered, a hyperparameter accepted and ignored. They are edits like those of
lines (:mod:`refopt.oracle.edits`), with the expression of the optimizer as the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Final

from refopt import catalog
from refopt.hyperparameters import DOMAINS
from refopt.layers import Hyperparameter, Layer
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit

SIBLINGS: Final[Sequence[frozenset[str]]] = tuple(
    frozenset(name for name in catalog.VARIANTS if name.startswith(prefixes))
    for prefixes in (
        ("l2", "weight_decay"),
        ("clip_by",),
        ("lookahead",),
        ("gradient_accumulation", "apply_every", "update_every"),
        ("lazy",),
        ("layer_adaptation", "trust_ratio"),
    )
)
"""The variants that are taken for each other."""

ADDED: Final = ("count_missing", "lazy")
"""The variants that implementations add without saying so."""


def recompositions(optimizer: Optimizer) -> Iterator[Edit]:
    """Every change of the composition of an optimizer."""
    rule, *variants = [layer.name for layer in optimizer.layers]
    for i, name in enumerate(variants, 1):
        yield _edit(optimizer, f"without {name}", partial(_without, i))
        for sibling in sorted(_siblings(name)):
            yield _edit(optimizer, f"{sibling} where {name} belongs", partial(_other, i, sibling))
        for j in range(i + 1, len(variants) + 1):
            yield _edit(optimizer, f"{name} outside {variants[j - 1]}", partial(_moved, i, j))
    for name in ADDED:
        if name not in variants:
            yield _edit(optimizer, f"{name} added", partial(_added, name))
    for name in catalog.RULES:
        if name != rule:
            yield _edit(optimizer, f"{name} where {rule} belongs", partial(_other, 0, name))
    for i, layer in enumerate(optimizer.layers):
        yield from _of_hyperparameters(optimizer, i, catalog.layer(layer.name))


def _of_hyperparameters(optimizer: Optimizer, i: int, layer: Layer) -> Iterator[Edit]:
    """Hyperparameters that are accepted and ignored, or taken for each other."""
    for name, default in layer.hyperparameters.items():
        for value in dict.fromkeys((default, 0.0, False)):
            if value in DOMAINS[name]:
                words = f"{name} stays {value!r}, whatever is given"
                yield _edit(optimizer, words, partial(_fixed, i, name, value))
    reals = [name for name, value in layer.hyperparameters.items() if type(value) is float]
    for first, second in combinations(reals, 2):
        words = f"{first} and {second} exchanged"
        yield _edit(optimizer, words, partial(_exchanged, i, first, second))


Change = Callable[[list[Layer]], None]


def _edit(optimizer: Optimizer, words: str, change: Change) -> Edit:
    return Edit(
        file="expression",
        line=1,
        before=str(optimizer),
        after=str(_restacked(change, optimizer)),
        description=words,
        apply=partial(_restacked, change),
    )


def _restacked(change: Change, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)
    change(layers)
    rule, *variants = layers
    changed = replace(optimizer, layers=(replace(rule, label=rule.name),))
    for variant in variants:
        changed = changed.around(variant)
    return changed


def _without(i: int, layers: list[Layer]) -> None:
    del layers[i]


def _other(i: int, name: str, layers: list[Layer]) -> None:
    other = catalog.layer(name)
    shared = {k: v for k, v in layers[i].hyperparameters.items() if k in other.hyperparameters}
    layers[i] = replace(
        other,
        hyperparameters={**other.hyperparameters, **shared},
        pinned=layers[i].pinned & shared.keys(),
        exclude=layers[i].exclude,
    )


def _moved(i: int, j: int, layers: list[Layer]) -> None:
    layers.insert(j, layers.pop(i))


def _added(name: str, layers: list[Layer]) -> None:
    layers.append(catalog.layer(name))


def _fixed(i: int, name: str, value: Hyperparameter, layers: list[Layer]) -> None:
    layers[i] = layers[i].given({name: value})


def _exchanged(i: int, first: str, second: str, layers: list[Layer]) -> None:
    values = layers[i].hyperparameters
    layers[i] = layers[i].given({first: values[second], second: values[first]})


def _siblings(name: str) -> frozenset[str]:
    return frozenset[str]().union(*(group for group in SIBLINGS if name in group)) - {name}
