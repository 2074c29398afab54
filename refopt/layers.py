"""What an optimizer is stacked from: a rule, and variants that each change one stage of a step.

An optimizer is a stack of layers, the rule innermost. A step passes through it three
times::

    inward    gradients go from the outermost layer to the rule, which returns the direction h
    outward   h goes from the rule to the outermost layer; then theta' = theta - lr * h
    onward    theta' goes from the rule to the outermost layer

so that a variant changes exactly one stage, any two variants stack in either order, and the order
means something within a stage. A layer that gathers gradients ends the pass for everything inside
it until its window is complete.

The functions that layers hold are plain array math. They declare what they read by the names of
their arguments: ``xp`` the namespace, ``t`` the 1-based step, ``lr`` the learning rate, ``g`` the
gradient (``gs`` those of all parameters), ``h`` the direction, ``theta`` the parameter,
``theta_old`` the parameter before the step, ``beta`` a decay rate, ``old`` and ``new`` what rows
are chosen from. Further positional arguments are state, keyword-only ones hyperparameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, Final, NamedTuple, Self

from refopt.hyperparameters import DECAY_RATES
from refopt.xp import Array, Namespace

Function = Callable[..., Any]
Hyperparameter = Any
"""A number, a boolean or a schedule; lifted to bounds or symbols where a rule runs on those."""
ParameterState = dict[str, Array]
State = dict[str, ParameterState]
"""For each parameter, by name: its state arrays by name, and its step counts as integers."""

REQUIRED: Final = object()
"""Stands for the default of a hyperparameter that has none."""

_READS: Final = frozenset(
    {"xp", "t", "lr", "g", "gs", "h", "theta", "theta_old", "beta", "old", "new"}
)


class Entry(NamedTuple):
    """What a layer was given on the way inward."""

    lr: Array
    t: int
    g: Array
    theta: Array


@dataclass
class Leaf:
    """One parameter on its way through the layers of a step."""

    name: str
    xp: Namespace
    theta: Array
    g: Array
    state: ParameterState
    state_old: ParameterState
    lr: Array
    t: int
    h: Array = None
    theta_old: Array = None
    scaled: bool = False
    """Whether h already contains lr."""
    depth: int = 0
    """The innermost layer that takes part: those inside an incomplete window wait."""
    entries: dict[int, Entry] = field(default_factory=dict)
    adjustments: list[Callable[[Hyperparameter], Hyperparameter]] = field(default_factory=list)
    """What the layers around the rule do to its decay rates, outermost first."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A function of the stack with its hyperparameters.

    Attributes:
        name: the name in the catalog.
        function: the array math.
        initial: returns the initial state; without it all state starts at zero.
        missing: returns the states it reads after a call that counts though it has no gradient;
            without it they stay.
        hyperparameters: by canonical name.
        pinned: those that were given rather than left at their defaults.
        exclude: the parameters, by name, that this layer leaves alone.
        inside: the labels of the layers that it encloses.
        label: the name, made unique where a variant occurs twice.
    """

    name: str
    function: Function
    initial: Function | None = None
    missing: Function | None = None
    hyperparameters: Mapping[str, Hyperparameter] = field(default_factory=dict)
    pinned: frozenset[str] = frozenset()
    exclude: Callable[[str], bool] | None = None
    inside: tuple[str, ...] = ()
    label: str = ""

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The positional arguments of the function."""
        return positional_names(self.function)

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        """The names of the state arrays, in the order of the function's arguments."""
        return tuple(name for name in self.arguments if name not in _READS)

    @cached_property
    def state_keys(self) -> tuple[str, ...]:
        """The names of the state arrays in the state of a parameter."""
        return tuple(map(self.key, self.state_names))

    @cached_property
    def index(self) -> int:
        """The place in the stack, 0 for the rule."""
        return len(self.inside)

    def given(self, values: Mapping[str, Hyperparameter]) -> Self:
        """This layer with those of the values that are its own."""
        own = {k: v for k, v in values.items() if k in self.hyperparameters}
        hyperparameters = {**self.hyperparameters, **own}
        return replace(self, hyperparameters=hyperparameters, pinned=self.pinned | own.keys())

    def excludes(self, name: str) -> bool:
        """Whether this layer leaves a parameter alone."""
        return self.exclude is not None and self.exclude(name)

    def acts_on(self, leaf: Leaf) -> bool:
        """Whether this layer takes part in the step of a parameter."""
        return leaf.depth <= self.index and not self.excludes(leaf.name)

    def key(self, name: str) -> str:
        """The name of one of its state arrays in the state of a parameter."""
        return f"{self.label}.{name}"

    def initial_state(self, xp: Namespace, theta: Array) -> ParameterState:
        """The state before the first step."""
        if self.initial is None:
            values: Any = tuple(xp.zeros_like(theta) for _ in self.state_names)
        else:
            accepted = keyword_names(self.initial)
            used = {k: v for k, v in self.hyperparameters.items() if k in accepted}
            values = self.initial(xp, theta, **used)
            values = values if isinstance(values, tuple) else (values,)
        return {self.key(name): value for name, value in zip(self.state_names, values, strict=True)}

    def call(self, leaf: Leaf) -> Any:
        """The function on what it reads: stores its new state and returns its result."""
        state = iter(self.state_keys)
        arguments = [
            getattr(leaf, name) if name in _READS else leaf.state[next(state)]
            for name in self.arguments
        ]
        result = self.function(*arguments, **self.hyperparameters_for(leaf))
        if not self.state_keys:
            return result
        first, *states = result
        asarray = leaf.xp.asarray
        leaf.state |= zip(self.state_keys, map(asarray, states), strict=True)
        return first

    def skip(self, leaf: Leaf) -> None:
        """What a call that counts though it has no gradient does to the state."""
        if self.missing is None:
            return
        accepted = keyword_names(self.missing)
        used = {k: v for k, v in self.hyperparameters.items() if k in accepted}
        names = [name for name in positional_names(self.missing) if name not in _READS]
        values = self.missing(leaf.xp, leaf.t, *(leaf.state[self.key(n)] for n in names), **used)
        values = values if isinstance(values, tuple) else (values,)
        leaf.state |= {
            self.key(name): leaf.xp.asarray(value)
            for name, value in zip(names, values, strict=True)
        }

    def hyperparameters_for(self, leaf: Leaf) -> Mapping[str, Hyperparameter]:
        """The hyperparameters as the layers around this one leave them."""
        return self.hyperparameters

    def inward(self, leaves: Sequence[Leaf]) -> None:
        """What the layer does before the rule."""

    def outward(self, leaves: Sequence[Leaf]) -> None:
        """What the layer does between the rule and the update of the parameter."""

    def onward(self, leaves: Sequence[Leaf]) -> None:
        """What the layer does after the update of the parameter."""


class Rule(Layer):
    """The rule itself: ``h, *state = f(xp, t, g, *state)``.

    A rule that reads ``lr`` keeps the learning rate inside its state and returns ``lr * h``.
    """

    def hyperparameters_for(self, leaf: Leaf) -> Mapping[str, Hyperparameter]:
        if not leaf.adjustments:
            return self.hyperparameters
        values = dict(self.hyperparameters)
        for adjust in leaf.adjustments:
            values |= {name: adjust(values[name]) for name in values.keys() & DECAY_RATES}
        return values

    def inward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            leaf.h = self.call(leaf)
            leaf.scaled = "lr" in self.arguments


class OnGradient(Layer):
    """Changes the gradient of each parameter: ``g' = f(g, theta)``."""

    def inward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            leaf.g = self.call(leaf)


class OnGradients(Layer):
    """Changes the gradients of all parameters together: ``gs' = f(xp, gs)``."""

    def inward(self, leaves: Sequence[Leaf]) -> None:
        if leaves:
            gs = [leaf.g for leaf in leaves]
            changed = self.function(leaves[0].xp, gs, **self.hyperparameters)
            for leaf, g in zip(leaves, changed, strict=True):
                leaf.g = g


class OnWindow(Layer):
    """Gathers gradients and lets what is inside step only when a window of them is complete.

    ``(t', g'), *state = f(xp, t, g, *state)``, where t' is the step inside, 0 while the window is
    incomplete. To the layers outside, an incomplete window is a step along a zero direction.
    """

    def inward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            leaf.t, leaf.g = self.call(leaf)
            if not leaf.t:
                leaf.depth = self.index
                leaf.h = leaf.xp.zeros_like(leaf.theta)

    def skip(self, leaf: Leaf) -> None:
        zero = leaf.xp.zeros_like(leaf.theta)
        leaf.t, _ = self.call(replace(leaf, g=zero, state=dict(leaf.state)))


class OnParameterBefore(Layer):
    """Changes the parameter before everything inside sees it: ``theta' = f(lr, theta)``."""

    def inward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            leaf.theta = self.call(leaf)


class OnDecayRates(Layer):
    """Changes the decay rates of the rule's moving averages: ``beta' = f(beta)``."""

    def inward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            leaf.adjustments.append(lambda beta: self.function(beta, **self.hyperparameters))


class OnLearningRate(Layer):
    """Scales the learning rate of what it encloses by a schedule: ``lr' = lr * f(t)``."""

    def inward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            leaf.lr = leaf.lr * self.call(leaf)


class OnDirection(Layer):
    """Changes the direction: ``h' = f(h, theta)``.

    Such functions are homogeneous, ``f(c*h, c*theta) = c*f(h, theta)``, so where the rule returned
    ``lr * h`` they act on it and ``lr * theta``.
    """

    def outward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            if leaf.scaled:
                leaf.theta = leaf.lr * leaf.theta
            leaf.h = self.call(leaf)


class OnParameter(Layer):
    """Changes the parameter after the step: ``theta' = f(theta)``."""

    def onward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            leaf.theta = self.call(leaf)


class OnRows(Layer):
    """Chooses row by row between old and new parameter and state: ``f(xp, g, old, new)``."""

    def onward(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves:
            leaf.theta = self.function(leaf.xp, leaf.g, leaf.theta_old, leaf.theta)
            for key, new in leaf.state.items():
                encloses = key.partition(".")[0] in self.inside
                if encloses and _shape(new) == _shape(leaf.theta):
                    old = leaf.state_old[key]
                    leaf.state[key] = self.function(leaf.xp, leaf.g, old, new)


class CountsMissing(Layer):
    """Makes ``t`` count every call, also those without a gradient for the parameter.

    What a missing gradient means is up to the outermost layer that says so: a window takes it for
    zero, this one counts the call and leaves the parameter alone.
    """


def _shape(x: Array) -> tuple[int, ...] | None:
    return getattr(x, "shape", None)  # a symbol stands for one element and has none


def positional_names(function: Function) -> tuple[str, ...]:
    """The positional arguments of a function: what it reads, and its state."""
    parameters = _parameters(function).values()
    return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)


def keyword_names(function: Function) -> tuple[str, ...]:
    """The keyword-only arguments of a function: its hyperparameters."""
    parameters = _parameters(function).values()
    return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def keyword_defaults(function: Function) -> dict[str, Hyperparameter]:
    """The hyperparameters of a function with their defaults, :data:`REQUIRED` where it has none."""
    parameters = _parameters(function)
    return {
        name: REQUIRED
        if parameters[name].default is inspect.Parameter.empty
        else parameters[name].default
        for name in keyword_names(function)
    }


def _parameters(function: Function) -> Mapping[str, inspect.Parameter]:
    signature = getattr(function, "__signature__", None) or _signature(function)
    return signature.parameters


@cache
def _signature(function: Function) -> inspect.Signature:
    return inspect.signature(function)
