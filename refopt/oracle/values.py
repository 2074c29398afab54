"""Changes of the values that an optimizer is given: its hyperparameters and its learning rate.

Rounded, exchanged, taken for none given; a learning rate that is late, that stays in one place, or
that what is computed from it is written back into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final

import numpy as np

from refopt import catalog
from refopt.arithmetic.bounds import FLOAT64, Bounded
from refopt.hyperparameters import DECAY_RATES, DOMAINS, Interval
from refopt.layers import Hyperparameter, Layer, OnLearningRate, State
from refopt.optimizer import Optimizer
from refopt.oracle import faults
from refopt.tree import Tree

TYPICAL: Final[Mapping[str, Sequence[Hyperparameter]]] = {
    "momentum": (0.0, 0.9),
    "rho": (0.9, 0.95, 0.99),
    "beta1": (0.0, 0.9),
    "beta2": (0.0, 0.999, 0.99),
    "eps": (1e-8, 1e-7, 1e-6, 1e-10),
    "k": (1, 2),
    "alpha": (0.5, 0.8),
    "max_norm": (1.0,),
    "initial_accumulator": (0.1, 1.0),
    "momentum_decay": (0.0,),
}
"""Values that stand in people's code whatever is given, besides the default."""

Restack = Callable[[Optimizer], Optimizer]


def changes_of_values(optimizer: Optimizer) -> Iterator[tuple[str, Restack]]:
    """Every such change, in words and as what makes it."""
    names = [name for name in optimizer.hyperparameters() if is_real(name)]
    for name in names:
        if 0 in DOMAINS[name]:
            default = optimizer.hyperparameters()[name]
            for value in dict.fromkeys((default, *TYPICAL.get(name, ()))):
                if value != 0:
                    words = f"{name} of 0 is taken for none given, which means {value!r}"
                    yield words, partial(_defaulted, name, value)
    rates = [name for name in names if name in DECAY_RATES]
    for rounding in _ROUNDINGS:
        yield f"hyperparameters are {rounding}", partial(_rounded, rounding, ("lr", *names))
        if len(rates) > 1:
            words = f"{' and '.join(rates)} are {rounding}"
            yield words, partial(_rounded, rounding, rates)
        for name in ("lr", *names):
            yield f"{name} is {rounding}", partial(_rounded, rounding, (name,))
    yield "the learning rate changes one call late", partial(_late, True)
    yield "the learning rate changes one call late but for the first change", partial(_late, False)
    yield "the learning rate stays that of the first call", _first
    yield "a new learning rate is taken for a factor of the last one", _multiplied
    default = catalog.RULES[optimizer.layers[0].name].lr
    words = f"whatever learning rate is set, it is {default!r}"
    yield words, partial(_reset_to, default)
    for name in names:
        yield f"{name} and lr exchanged", partial(_exchanged, name)
        yield f"{name} and lr exchanged, until lr is set", partial(_exchanged_at_first, name)
        yield f"{name} and lr exchanged, also when lr is set", partial(_exchanged_always, name)
    yield from _of_single_layers(optimizer)
    yield from _of_written_back(optimizer)


def is_real(name: str) -> bool:
    """Whether a hyperparameter other than the learning rate is a real number."""
    domain = DOMAINS[name]
    return name != "lr" and isinstance(domain, Interval) and not domain.integer


def _of_single_layers(optimizer: Optimizer) -> Iterator[tuple[str, Restack]]:
    """The learning rate stays in one layer while another has the present one."""
    decaying = [
        i
        for i, layer in enumerate(optimizer.layers)
        if i and "weight_decay" in layer.hyperparameters and "l2" not in layer.name
    ]
    for i in (0, *decaying) if decaying else ():
        name = optimizer.layers[i].name
        yield f"{name} stays at the learning rate of the first call", partial(_staying, i, False)
        yield f"{name} stays at the learning rate of the start", partial(_staying, i, True)


def _of_written_back(optimizer: Optimizer) -> Iterator[tuple[str, Restack]]:
    """What the learning rate is multiplied by is multiplied into that of the next step."""
    for i, layer in enumerate(optimizer.layers):
        if isinstance(layer, OnLearningRate):
            for is_reset, until in _UNTIL.items():
                words = f"the factors of {layer.name} multiply up{until}"
                yield words, partial(_compounding, i, is_reset)
    uncorrected = f"{optimizer.layers[0].name}_uncorrected"
    known = optimizer.layers[0].hyperparameters.keys()
    if uncorrected in catalog.RULES and known >= {"beta1", "beta2"}:
        for is_reset, until in _UNTIL.items():
            words = f"the bias correction is written back into the learning rate{until}"
            yield words, partial(_correcting, uncorrected, is_reset)


_UNTIL: Final = {False: "", True: ", until that is set"}


@dataclass(frozen=True)
class Named(Optimizer):
    """An optimizer that changes what its learning rate is.

    Attributes:
        text: what it is called, after what it was.
        rate: the learning rate of a step, from that which is set.
    """

    text: str = ""
    rate: Callable[[Hyperparameter], Hyperparameter] = lambda lr: lr

    def step(
        self, params: Tree, grads: Tree, state: State, *, lr: Hyperparameter | None = None
    ) -> tuple[Tree, State]:
        """One step at another learning rate, where one is set."""
        return super().step(params, grads, state, lr=None if lr is None else self.rate(lr))


def _named(
    optimizer: Optimizer, text: str, rate: Callable[[Hyperparameter], Hyperparameter]
) -> Named:
    return _of_kind(Named, optimizer, text, rate=rate)


def _of_kind(kind: type[Named], optimizer: Optimizer, text: str, **own: Any) -> Named:
    values = {field.name: getattr(optimizer, field.name) for field in fields(Optimizer)}
    return kind(**values, text=text, **own)


def _bfloat16(value: float) -> float:
    """To nearest."""
    bits = int(np.float32(value).view(np.uint32))
    return _of_bits(bits + 0x7FFF + (bits >> 16 & 1))


def _truncated_bfloat16(value: float) -> float:
    return _of_bits(int(np.float32(value).view(np.uint32)))


def _of_bits(bits: int) -> float:
    return float(np.uint32(bits & 0xFFFF0000).view(np.float32))


def _float16(value: float) -> float:
    return float(np.float16(value))


_ROUNDINGS: Final[Mapping[str, Callable[[float], float]]] = {
    "rounded to bfloat16": _bfloat16,
    "cut off to bfloat16": _truncated_bfloat16,
    "rounded to float16": _float16,
}


def _rounded(rounding: str, names: Sequence[str], optimizer: Optimizer) -> Optimizer:
    def value(name: str, x: Any) -> Any:
        if name not in names:
            return x
        if isinstance(x, Bounded):
            return Bounded(_ROUNDINGS[rounding](float(x.value)), 0.0, FLOAT64)
        return _ROUNDINGS[rounding](x) if type(x) is float else x

    layers = [
        replace(layer, hyperparameters={k: value(k, v) for k, v in layer.hyperparameters.items()})
        for layer in optimizer.layers
    ]
    changed = replace(optimizer, layers=tuple(layers), lr=value("lr", optimizer.lr))
    text = f"{', '.join(names)} {rounding}"
    return _named(changed, text, lambda lr: value("lr", lr))


def _defaulted(name: str, default: Hyperparameter, optimizer: Optimizer) -> Optimizer:
    def value(x: Any) -> Any:
        return default if (x.value if isinstance(x, Bounded) else x) == 0 else x

    layers = [
        layer.given({name: value(layer.hyperparameters[name])})
        if name in layer.hyperparameters
        else layer
        for layer in optimizer.layers
    ]
    changed = replace(optimizer, layers=tuple(layers))
    return _named(changed, f"{name} = 0 as {default!r}", lambda lr: lr)


def _late(also_at_first: bool, optimizer: Optimizer) -> Optimizer:
    rates = [optimizer.lr] if also_at_first else []

    def rate(lr: Hyperparameter) -> Hyperparameter:
        rates.append(lr)
        return rates[max(len(rates) - 2, 0)]

    text = "lr one call late" + " but for the first" * (not also_at_first)
    return _named(optimizer, text, rate)


def _first(optimizer: Optimizer) -> Optimizer:
    rates: list[Hyperparameter] = []

    def rate(lr: Hyperparameter) -> Hyperparameter:
        rates.append(lr)
        return rates[0]

    return _named(optimizer, "lr of the first call", rate)


def _multiplied(optimizer: Optimizer) -> Optimizer:
    last = [optimizer.lr]

    def rate(lr: Hyperparameter) -> Hyperparameter:
        last.append(last[-1] * lr)
        return last[-1]

    return _named(optimizer, "lr times the last lr", rate)


def _reset_to(value: float, optimizer: Optimizer) -> Optimizer:
    return _named(optimizer, f"lr = {value!r} once it is set", lambda _: value)


def _given_lr(name: str, optimizer: Optimizer) -> tuple[Hyperparameter, Optimizer]:
    """What a hyperparameter is, and the optimizer with the learning rate in its place."""
    given = optimizer.hyperparameters()[name]
    layers = tuple(layer.given({name: optimizer.lr}) for layer in optimizer.layers)
    return given, replace(optimizer, layers=layers, lr=given)


def _exchanged(name: str, optimizer: Optimizer) -> Optimizer:
    given, changed = _given_lr(name, optimizer)
    text = f"{name} as lr and lr as {name}"
    return _named(changed, text, lambda _: given)


def _exchanged_at_first(name: str, optimizer: Optimizer) -> Optimizer:
    _, changed = _given_lr(name, optimizer)
    return _named(changed, f"{name} as lr and lr as {name} at first", lambda lr: lr)


def _exchanged_always(name: str, optimizer: Optimizer) -> Optimizer:
    text = f"{name} as lr and lr as {name} always"
    return _of_kind(_Exchanging, optimizer, text, exchanged=name)


@dataclass(frozen=True)
class _Exchanging(Named):
    """An optimizer that takes its learning rate for another hyperparameter in every step.

    Attributes:
        exchanged: the name of that.
    """

    exchanged: str = ""

    def step(
        self, params: Tree, grads: Tree, state: State, *, lr: Hyperparameter | None = None
    ) -> tuple[Tree, State]:
        """One step."""
        given, changed = _given_lr(self.exchanged, replace(self, lr=self.lr if lr is None else lr))
        return Optimizer.step(changed, params, grads, state, lr=given)


def _staying(i: int, is_of_the_start: bool, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)
    first = {"lr": optimizer.lr} if is_of_the_start else {}
    layers[i] = stays = faults.at_the_first_rate(layers[i], first)
    which = "lr of the start" if is_of_the_start else "first lr"
    text = f"{stays.name} at the {which}"
    return _named(replace(optimizer, layers=tuple(layers)), text, lambda lr: lr)


def _compounding(i: int, is_reset: bool, optimizer: Optimizer) -> Optimizer:
    layers = list(optimizer.layers)
    layers[i] = faults.of_kind(faults.Compounding, layers[i])
    return _written_back(optimizer, layers, i, is_reset)


def _correcting(rule: str, is_reset: bool, optimizer: Optimizer) -> Optimizer:
    uncorrected, *variants = optimizer.layers
    given = uncorrected.hyperparameters
    correction = faults.correction_written_back.default.given(given)
    layers = [catalog.RULES[rule].default.given(given), correction, *variants]
    return _written_back(optimizer, layers, 1, is_reset)


def _written_back(
    optimizer: Optimizer, layers: Sequence[Layer], i: int, is_reset: bool
) -> Optimizer:
    rule, *variants = layers
    changed = replace(optimizer, layers=(replace(rule, label=rule.name),))
    for variant in variants:
        changed = changed.around(variant)
    text = f"lr times {changed.layers[i].name} as the next lr{_UNTIL[is_reset]}"
    key = changed.layers[i].key("product") if is_reset else ""
    return _of_kind(_WrittenBack, changed, text, key=key)


@dataclass(frozen=True)
class _WrittenBack(Named):
    """An optimizer whose learning rate, once it is set, is as it is set.

    Attributes:
        key: of the product that starts anew then; empty where it never does.
    """

    key: str = ""

    def step(
        self, params: Tree, grads: Tree, state: State, *, lr: Hyperparameter | None = None
    ) -> tuple[Tree, State]:
        """One step."""
        if lr is not None and self.key:
            fresh = self.init(params)
            state = {name: own | {self.key: fresh[name][self.key]} for name, own in state.items()}
        return super().step(params, grads, state, lr=lr)
