"""Changes of the composition: a variant left out, exchanged, moved or added, another rule.

These are the mistakes one level above the formulas: L2 where decoupled decay was promised, AMSGrad
promised and Adam delivered, a hyperparameter accepted and ignored. They are edits like those of
lines (:mod:`refopt.oracle.edits`), with the expression of the optimizer as the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations, permutations
from typing import Final

from refopt import catalog
from refopt.hyperparameters import DECAY_RATES, DOMAINS, Boolean, Interval
from refopt.layers import (
    REQUIRED,
    Hyperparameter,
    Layer,
    OnDirection,
    OnGradient,
    OnGradients,
    OnLearningRate,
    OnParameter,
    OnRows,
    OnWindow,
)
from refopt.optimizer import Optimizer, VariantConstructor
from refopt.oracle import faults
from refopt.oracle.edits import Edit
from refopt.oracle.scope import are_alike
from refopt.oracle.values import TYPICAL, Named, Restack, changes_of_values, is_real

SIBLINGS: Final[Sequence[frozenset[str]]] = (
    *(
        frozenset(name for name in catalog.VARIANTS if name.startswith(prefixes))
        for prefixes in (
            ("l2", "weight_decay"),
            ("clip_by",),
            ("lookahead",),
            ("gradient_accumulation", "apply_every", "update_every"),
            ("lazy",),
            ("layer_adaptation", "trust_ratio"),
        )
    ),
    frozenset(
        name
        for name, variant in catalog.VARIANTS.items()
        if isinstance(variant.default, OnLearningRate) and name != "update_every"
    ),
)
"""The variants that are taken for each other."""

ADDED: Final = (
    "count_missing",
    "lazy",
    "lazy_parameter",
    "gradient_centralization",
    "l2",
    "weight_decay",
    "clip_by_value",
    "clip_by_norm",
    "clip_by_global_norm",
)
"""The variants that implementations add without saying so."""

FAULTS: Final[Mapping[str, tuple[VariantConstructor, str]]] = {
    constructor.__name__: (constructor, words)
    for constructor, words in (
        (faults.step_of_the_call_before, "each call takes the step of the call before"),
        (faults.gradient_of_the_call_before, "each call uses the gradient of the call before"),
        (faults.gradients_never_cleared, "gradients add up from call to call"),
        (faults.learning_rate_added, "the learning rate is added to the direction"),
        (faults.learning_rate_twice, "the learning rate is applied twice"),
        (faults.step_times_count, "the step is multiplied by the step count"),
        (faults.correction_around, "the step is multiplied by the correction of Adam's moments"),
        (
            faults.second_correction_around,
            "the step is multiplied by the root of the correction of Adam's second moment",
        ),
        (faults.limited_step, "no element moves by more than the learning rate"),
        (faults.no_first_step, "the first call moves nothing"),
        (faults.lazy_elements, "elements whose gradient is zero stay as they are"),
    )
}
"""What implementations do besides, and the words for it."""

WINDOWS: Final = {
    "zero_gradients_in_between": (
        faults.zero_gradients_in_between,
        "the optimizer inside also steps in between, with a gradient of zero",
    ),
    "step_in_every_call": (
        faults.step_in_every_call,
        "the optimizer inside steps in every call, on the gradients so far",
    ),
}
"""What becomes of a window that is accumulated otherwise, and the words for it."""


def recompositions(optimizer: Optimizer) -> Iterator[Edit]:
    """Every change of the composition of an optimizer, none of them twice."""
    seen = {str(optimizer)}
    kinds: tuple[tuple[str, Iterable[tuple[str, Restack]]], ...] = (
        ("composition", _of_variants(optimizer)),
        ("hyperparameter", _of_hyperparameters(optimizer)),
        ("form", _of_rule(optimizer, are_forms=True)),
        ("rule", _of_rule(optimizer, are_forms=False)),
    )
    for kind, restackings in kinds:
        for words, restack in restackings:
            after = _after(restack, optimizer)
            if after not in seen:
                seen.add(after)
                yield Edit("expression", 1, str(optimizer), after, words, kind, restack)


def _after(restack: Restack, optimizer: Optimizer) -> str:
    changed = restack(optimizer)
    text = f"{optimizer}, {changed.text}" if isinstance(changed, Named) else str(changed)
    return re.sub(r"\d\.\d{12,}", lambda number: f"{float(number[0]):g}", text)


def _of_rule(optimizer: Optimizer, are_forms: bool) -> Iterator[tuple[str, Restack]]:
    """Another rule: another form of the same, or another altogether."""
    rule = optimizer.layers[0]
    for name, constructor in catalog.RULES.items():
        is_form = constructor.default.function.__module__ == _module(rule)
        if name != rule.name and is_form == are_forms:
            words = f"{name} where {rule.name} belongs: {_meaning(name)}"
            yield words, partial(_restacked, partial(_other, 0, name))


def _module(layer: Layer) -> str:
    return catalog.layer(layer.name).function.__module__


def _of_variants(optimizer: Optimizer) -> Iterator[tuple[str, Restack]]:
    for words, change in _of_layers(optimizer):
        yield words, partial(_restacked, change)


def _of_hyperparameters(optimizer: Optimizer) -> Iterator[tuple[str, Restack]]:
    for i, layer in enumerate(optimizer.layers):
        for words, change in _of_values(i, layer):
            yield words, partial(_restacked, change)
    yield from changes_of_values(optimizer)


Change = Callable[[list[Layer]], None]


def _of_layers(optimizer: Optimizer) -> Iterator[tuple[str, Change]]:
    rule, *variants = optimizer.layers
    for i, layer in enumerate(variants, 1):
        yield from _of_variant(i, layer, variants)
    names = [variant.name for variant in variants]
    for name in [name for name in ADDED if name not in names]:
        for i in _places(_layer(name), optimizer.layers):
            yield f"{name} added: {_meaning(name)}", partial(_added, name, i)
    known = {name for layer in optimizer.layers for name in layer.hyperparameters}
    for name, (_, words) in FAULTS.items():
        if not _layer(name).hyperparameters.keys() <= known:
            continue
        for i in _places(_layer(name), optimizer.layers):
            yield words, partial(_added, name, i)
    for i, layer in enumerate(optimizer.layers):
        if "weight_decay" in layer.hyperparameters and len(layer.hyperparameters) > 1:
            for name in sorted(_siblings("l2") | {"l2"}):
                words = f"{name} instead of the decay of {layer.name}: {_meaning(name)}"
                yield words, partial(_decayed_by, i, name)
        if "momentum" in layer.hyperparameters:
            words = "the momentum gathers gradients, before anything else is done to them"
            yield words, partial(_gathering, i)
    if rule.state_names:
        for words, kind in (
            ("parameters of one shape share their state", faults.Sharing),
            ("the state is kept in float16", faults.InFloat16),
            ("the state is kept in bfloat16", faults.InBfloat16),
        ):
            yield words, partial(_of_kind, 0, kind)
        sharing = faults.sharing_numbers(rule)
        if sharing is not None:
            words = "parameters share the state that is a number, and each updates it"
            yield words, partial(_of_kind, 0, sharing)


def _places(added: Layer, layers: Sequence[Layer]) -> Iterator[int]:
    """Where a layer can be added: around the rule, and around what it does not commute with.

    Changes of one stage leave those of another alone, unless a window is between them.
    """
    yield 1
    for i, layer in enumerate(layers[1:], 2):
        if _stage(layer) == _stage(added) or isinstance(layer, OnWindow):
            yield i


def _stage(layer: Layer) -> type[Layer]:
    return OnGradient if isinstance(layer, OnGradients) else type(layer)


def _of_variant(i: int, layer: Layer, variants: Sequence[Layer]) -> Iterator[tuple[str, Change]]:
    """Changes of one variant, the i-th from the rule outwards."""
    name = layer.name
    yield f"without {name}", partial(_without, i)
    for sibling in sorted(_siblings(name)):
        if _is_complete(_taking_over(layer, catalog.layer(sibling))):
            words = f"{sibling} where {name} belongs: {_meaning(sibling)}"
            yield words, partial(_other, i, sibling)
    for j in range(i + 1, len(variants) + 1):
        yield f"{name} outside {variants[j - 1].name}", partial(_moved, i, j)
    yield f"{name} is applied twice", partial(_doubled, i)
    if isinstance(layer, OnGradient):
        yield (
            f"{name} changes the direction instead of the gradient",
            partial(_of_kind, i, faults.OnDirectionAlone),
        )
    if "weight_decay" in layer.hyperparameters:
        yield (
            f"{name} takes the index of the parameter for the parameter",
            partial(_of_kind, i, faults.of_the_index(type(layer))),
        )
    if name == "l2":
        words = "the gradient of the call before where the parameter belongs"
        yield words, partial(_other, i, "decay_of_the_gradient_before")
    if isinstance(layer, OnGradient | OnDirection) and "sum" in layer.function.__code__.co_names:
        yield (
            f"the norms of {name} are those of all parameters together",
            partial(_of_kind, i, faults.together(type(layer))),
        )
    if isinstance(layer, OnGradients):
        yield (
            f"{name} changes the directions instead of the gradients",
            partial(_of_kind, i, faults.OnDirections),
        )
    if isinstance(layer, OnParameter) and "k" in layer.hyperparameters:
        yield f"{name} resets the state inside", partial(_of_kind, i, faults.Resetting)
    if isinstance(layer, OnRows):
        words = f"{name} keeps rows of the parameter alone: the state inside goes on"
        yield words, partial(_of_kind, i, faults.OnRowsOfParameters)
        words = f"{name} keeps rows of the state inside alone: the parameter moves"
        yield words, partial(_of_kind, i, faults.OnRowsOfStates)
    if isinstance(layer, OnLearningRate):
        words = f"{name} is attached after the first step, and is one step late from then on"
        yield words, partial(_of_kind, i, faults.AttachedLate)
    if name == "piecewise_linear":
        words = "up to the first knot the factor is that of it: there is none at 0"
        yield words, partial(_other, i, "piecewise_linear_from_the_first_knot")
        words = "the line goes on after the last knot"
        yield words, partial(_other, i, "piecewise_linear_without_end")
    if name.startswith("gradient_accumulation"):
        for window, (_, words) in WINDOWS.items():
            yield words, partial(_other, i, window)


def _of_values(i: int, layer: Layer) -> Iterator[tuple[str, Change]]:
    """Hyperparameters that are ignored, taken for each other, for their complement or off by 1."""
    defaults = catalog.layer(layer.name).hyperparameters
    for name, default in defaults.items():
        domain = DOMAINS[name]
        for value in dict.fromkeys((default, *TYPICAL.get(name, ()))):
            if value is not REQUIRED and value in domain:
                yield f"{name} stays {value!r}, whatever is given", partial(_fixed, i, name, value)
        if isinstance(domain, Boolean):
            yield f"{name} is the wrong way round", partial(_mapped, i, [name], _negation)
        elif isinstance(domain, Interval) and domain.integer:
            yield f"{name} is one too large", partial(_mapped, i, [name], _successor)
            yield f"{name} is one too small", partial(_mapped, i, [name], _predecessor)
        elif isinstance(domain, Interval) and domain.high == 1:
            yield f"{name} is taken for 1 - {name}", partial(_mapped, i, [name], _complement)
    rates = [name for name in defaults if name in DECAY_RATES]
    if len(rates) > 1:
        words = f"{' and '.join(rates)} are taken for 1 minus them"
        yield words, partial(_mapped, i, rates, _complement)
    for first, second in combinations(defaults, 2):
        if are_alike(first, second):
            yield f"{first} and {second} exchanged", partial(_exchanged, i, first, second)
    real = [name for name in defaults if is_real(name)]
    for first, second in permutations(real, 2):
        yield f"{first} is given the value of {second}", partial(_taken_from, i, first, second)


def _restacked(change: Change, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)
    change(layers)
    rule, *variants = layers
    changed = replace(optimizer, layers=(replace(rule, label=rule.name),))
    for variant in variants:
        changed = changed.around(variant)
    return changed


def _layer(name: str) -> Layer:
    fault = getattr(faults, name, None)
    return fault.default if fault is not None else catalog.layer(name)


def _without(i: int, layers: list[Layer]) -> None:
    del layers[i]


def _other(i: int, name: str, layers: list[Layer]) -> None:
    layers[i] = _taking_over(layers[i], _layer(name))


def _taking_over(layer: Layer, other: Layer) -> Layer:
    """Another layer with what it shares with one: the values, and what is left alone."""
    values = dict(layer.hyperparameters)
    if len(values) == len(other.hyperparameters) == 1:  # max_norm and max_value
        values = dict(zip(other.hyperparameters, values.values(), strict=True))
    pinned = layer.pinned & other.hyperparameters.keys()
    return replace(other.given(values), pinned=pinned, exclude=layer.exclude)


def _is_complete(layer: Layer) -> bool:
    return REQUIRED not in layer.hyperparameters.values()


def _moved(i: int, j: int, layers: list[Layer]) -> None:
    layers.insert(j, layers.pop(i))


def _doubled(i: int, layers: list[Layer]) -> None:
    layers.insert(i, layers[i])


def _added(name: str, i: int, layers: list[Layer]) -> None:
    values = {k: v for layer in layers for k, v in layer.hyperparameters.items()}
    layers.insert(i, _layer(name).given(values))


def _of_kind(i: int, kind: type[Layer], layers: list[Layer]) -> None:
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    layers[i] = replace(faults.of_kind(kind, layers[i]), name=f"{words}_{layers[i].name}")


def _fixed(i: int, name: str, value: Hyperparameter, layers: list[Layer]) -> None:
    layers[i] = layers[i].given({name: value})


def _mapped(
    i: int,
    names: Sequence[str],
    function: Callable[[Hyperparameter], Hyperparameter],
    layers: list[Layer],
) -> None:
    values = layers[i].hyperparameters
    layers[i] = layers[i].given({name: function(values[name]) for name in names})


def _negation(value: Hyperparameter) -> Hyperparameter:
    return not value


def _successor(value: Hyperparameter) -> Hyperparameter:
    return value + 1


def _predecessor(value: Hyperparameter) -> Hyperparameter:
    return value - 1


def _complement(value: Hyperparameter) -> Hyperparameter:
    return 1 - value


def _exchanged(i: int, first: str, second: str, layers: list[Layer]) -> None:
    values = layers[i].hyperparameters
    layers[i] = layers[i].given({first: values[second], second: values[first]})


def _taken_from(i: int, first: str, second: str, layers: list[Layer]) -> None:
    layers[i] = layers[i].given({first: layers[i].hyperparameters[second]})


def _decayed_by(i: int, name: str, layers: list[Layer]) -> None:
    """Another kind of decay around a layer that has its own."""
    value = layers[i].hyperparameters["weight_decay"]
    layers[i] = layers[i].given({"weight_decay": 0.0})
    layers.insert(i + 1, _layer(name).given({"weight_decay": value}))


def _gathering(i: int, layers: list[Layer]) -> None:
    """The momentum of a layer as that of the gradients, around everything."""
    momentum = {"momentum": layers[i].hyperparameters["momentum"]}
    layers[i] = layers[i].given({"momentum": 0.0})
    layers.append(faults.momentum_of_gradients.default.given(momentum))


def _meaning(name: str) -> str:
    """What a rule or variant is, in a line."""
    constructor = catalog.RULES.get(name) or catalog.VARIANTS[name]
    line = (constructor.__doc__ or "").splitlines()[0].replace("``", "")
    return line if line.endswith("...") else line.removesuffix(".")


def _siblings(name: str) -> frozenset[str]:
    return frozenset[str]().union(*(group for group in SIBLINGS if name in group)) - {name}
