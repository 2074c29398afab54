"""Layers that no optimizer should have: what some mistakes amount to.

They are stacked like variants, so that a mistake of this kind explains a target on its own or
beside another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from refopt import schedules
from refopt.arithmetic.bounds import Bounded
from refopt.layers import (
    Layer,
    Leaf,
    OnDirection,
    OnGradient,
    OnLearningRate,
    OnParameter,
    OnRows,
    ParameterState,
    Rule,
)
from refopt.optimizer import variant
from refopt.xp import Array, Namespace, namespace


@variant(OnDirection)
def step_of_the_call_before(h: Array, before: Array) -> tuple[Array, Array]:
    """Each call takes the step that the call before it found."""
    return before, h


@variant(OnGradient)
def gradient_of_the_call_before(g: Array, before: Array) -> tuple[Array, Array]:
    """Each call uses the gradient that the call before it was given."""
    return before, g


@variant(OnGradient)
def gradients_never_cleared(g: Array, total: Array) -> tuple[Array, Array]:
    """Gradients add up, as where nobody sets them to zero."""
    total = total + g
    return total, total


@variant(OnDirection)
def learning_rate_twice(lr: Array, h: Array) -> Array:
    """The step is multiplied by the learning rate once more."""
    return lr * h


@variant(OnDirection)
def learning_rate_added(lr: Array, h: Array) -> Array:
    """The learning rate is added to the direction, where it is to be a factor."""
    return 1 - h / lr


@variant(OnDirection)
def step_times_count(t: int, h: Array) -> Array:
    """The step grows with the step count."""
    return t * h


@variant(OnDirection)
def correction_around(
    xp: Namespace, t: int, h: Array, *, beta1: float = 0.9, beta2: float = 0.999
) -> Array:
    """The step is multiplied by the correction of Adam's moments."""
    return xp.sqrt(1 - beta2**t) / (1 - beta1**t) * h


@variant(OnDirection)
def second_correction_around(xp: Namespace, t: int, h: Array, *, beta2: float = 0.999) -> Array:
    """The step is multiplied by the root of the correction of Adam's second moment."""
    return xp.sqrt(1 - beta2**t) * h


@variant(OnGradient)
def decay_of_the_gradient_before(
    g: Array, before: Array, *, weight_decay: float = 0.01
) -> tuple[Array, Array]:
    """The gradient of the call before where the parameter belongs."""
    return g + weight_decay * before, g


@variant(OnDirection)
def limited_step(xp: Namespace, h: Array) -> Array:
    """No element of the direction is above 1 or below -1."""
    return xp.minimum(xp.maximum(h, -1.0), 1.0)


@variant(OnDirection)
def no_first_step(xp: Namespace, t: int, h: Array) -> Array:
    """The first call updates the state alone."""
    return xp.where(t == 1, xp.zeros_like(h), h)


@variant(OnGradient)
def zero_gradients_in_between(
    xp: Namespace, t: int, g: Array, mean: Array, *, k: int = 4
) -> tuple[Array, Array]:
    """What is inside steps in every call, with a gradient of zero until the window is complete."""
    mean = mean + g / k
    complete = t % k == 0
    zero = xp.zeros_like(mean)
    return xp.where(complete, mean, zero), xp.where(complete, zero, mean)


@variant(OnGradient)
def step_in_every_call(
    xp: Namespace, t: int, g: Array, mean: Array, *, k: int = 4
) -> tuple[Array, Array]:
    """What is inside steps in every call, on what the window has gathered so far."""
    mean = mean + g / k
    return mean, xp.where(t % k == 0, xp.zeros_like(mean), mean)


@variant(OnGradient)
def momentum_of_gradients(g: Array, b: Array, *, momentum: float = 0.0) -> tuple[Array, Array]:
    """The momentum gathers gradients, before anything else is done to them."""
    b = momentum * b + g
    return b, b


@variant(OnLearningRate)
def piecewise_linear_from_the_first_knot(
    xp: Namespace, t: int, *, schedule: Mapping[int, float]
) -> Array:
    """There is no implicit knot at 0: up to the first one the factor is that of it."""
    first = min(schedule)
    factor = schedules.piecewise_linear(xp, t, schedule=schedule)
    return xp.where(t < first, schedule[first], factor)


@variant(OnLearningRate)
def piecewise_linear_without_end(xp: Namespace, t: int, *, schedule: Mapping[int, float]) -> Array:
    """After the last knot the line from the last but one goes on."""
    (left, low), (right, high) = sorted({0: 0.0, **schedule}.items())[-2:]
    beyond = high + (high - low) * (t - right) / (right - left)
    return xp.where(t > right, beyond, schedules.piecewise_linear(xp, t, schedule=schedule))


@variant(OnRows)
def lazy_elements(xp: Namespace, g: Array, old: Array, new: Array) -> Array:
    """Elements whose gradient is zero keep their parameter and state."""
    return xp.where(g == 0, old, new)


def together(kind: type[Layer]) -> type[Layer]:
    """A kind of layer whose sums are those over all parameters together."""

    class Together(kind):  # type: ignore[misc, valid-type]
        def _act(self, leaves: Sequence[Leaf], act: Callable[[Sequence[Leaf]], None]) -> None:
            """Runs the layer twice: with sums over each parameter, then with their totals."""
            states = [(leaf.xp, leaf.g, leaf.h, leaf.theta) for leaf in leaves]
            sums: list[_Sums] = []
            for leaf in leaves:
                sums.append(_Sums(leaf.xp))
                leaf.xp = sums[-1]  # type: ignore[assignment]
                act([leaf])
            totals = [sum(each) for each in zip(*(own.found for own in sums), strict=True)]
            for leaf, (xp, g, h, theta) in zip(leaves, states, strict=True):
                leaf.g, leaf.h, leaf.theta = g, h, theta
                leaf.xp = _Sums(xp, totals)  # type: ignore[assignment]
                act([leaf])
                leaf.xp = xp

        def inward(self, leaves: Sequence[Leaf]) -> None:
            """Acts on the way inward."""
            self._act(leaves, super().inward)

        def outward(self, leaves: Sequence[Leaf]) -> None:
            """Acts on the way outward."""
            self._act(leaves, super().outward)

    return Together


class _Sums:
    """A namespace that notes its sums, or has others in their place."""

    def __init__(self, xp: Namespace, totals: Sequence[Array] | None = None) -> None:
        self.xp = xp
        self.found: list[Array] = []
        self.totals = None if totals is None else iter(totals)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.xp, name)

    def sum(self, x: Array) -> Array:
        """The sum of one parameter, or the total of all."""
        if self.totals is not None:
            return next(self.totals)
        self.found.append(self.xp.sum(x))
        return self.found[-1]


class OnDirections(Layer):
    """Changes the directions of all parameters together."""

    def outward(self, leaves: Sequence[Leaf]) -> None:
        """Applies the function to all directions."""
        if leaves:
            hs = [leaf.h for leaf in leaves]
            changed = self.function(leaves[0].xp, hs, **self.hyperparameters)
            for leaf, h in zip(leaves, changed, strict=True):
                leaf.h = h


class OnDirectionAlone(Layer):
    """Applies to each direction what a variant applies to the gradient."""

    def outward(self, leaves: Sequence[Leaf]) -> None:
        """Applies the function with the direction as the gradient."""
        for leaf in leaves:
            g, leaf.g = leaf.g, leaf.h
            leaf.h = self.call(leaf)
            leaf.g = g


class Resetting(OnParameter):
    """Sets the state inside to zero at the end of every period of k steps."""

    def onward(self, leaves: Sequence[Leaf]) -> None:
        """Applies the function, then resets."""
        super().onward(leaves)
        for leaf in leaves:
            if leaf.t % self.hyperparameters["k"] == 0:
                inner = [key for key in leaf.state if key.partition(".")[0] in self.inside]
                leaf.state |= {key: 0 * leaf.state[key] for key in inner}


class OnRowsOfParameters(OnRows):
    """Chooses rows of the parameter alone: the state inside always goes on."""

    def onward(self, leaves: Sequence[Leaf]) -> None:
        """Applies the function to the parameter."""
        for leaf in leaves:
            leaf.theta = self.function(leaf.xp, leaf.g, leaf.theta_old, leaf.theta)


class OnRowsOfStates(OnRows):
    """Chooses rows of the state inside alone: the parameter always moves."""

    def onward(self, leaves: Sequence[Leaf]) -> None:
        """Applies the function to the state."""
        moved = [leaf.theta for leaf in leaves]
        super().onward(leaves)
        for leaf, theta in zip(leaves, moved, strict=True):
            leaf.theta = theta


@dataclass(frozen=True, kw_only=True)
class Sharing(Rule):
    """Has one state for all parameters of a shape, instead of one for each.

    Attributes:
        latest: the state as the last parameter left it, by its name and shape.
        owners: the parameters whose state has that name and shape.
    """

    latest: dict[Any, Array] = field(default_factory=dict)
    owners: dict[Any, set[str]] = field(default_factory=dict)

    def inward(self, leaves: Sequence[Leaf]) -> None:
        """Hands the state on from parameter to parameter."""
        for leaf in leaves:
            for place in self._places(leaf).values():
                self.owners.setdefault(place, set()).add(leaf.name)
        for leaf in leaves:
            self._take_over(leaf)
            super().inward([leaf])
            self.latest.update({at: leaf.state[key] for key, at in self._places(leaf).items()})
        for leaf in leaves:
            self._take_over(leaf)

    def _take_over(self, leaf: Leaf) -> None:
        leaf.state |= {
            key: self.latest.get(place, leaf.state[key])
            for key, place in self._places(leaf).items()
            if len(self.owners[place]) > 1
        }

    def _places(self, leaf: Leaf) -> dict[str, Any]:
        keys = map(self.key, self.state_names)
        return {key: (key, _shape(leaf.state[key])) for key in keys}


def sharing_numbers(layer: Layer) -> type[Sharing] | None:
    """Has one state for all parameters where that is a number, if any is."""
    theta = np.zeros(2)
    initial = layer.initial_state(namespace(theta), theta)
    numbers = [name for name in layer.state_names if not _shape(initial[layer.key(name)])]

    class SharingNumbers(Sharing):
        def _places(self, leaf: Leaf) -> dict[str, Any]:
            return {key: key for key in map(self.key, numbers)}

    return SharingNumbers if numbers else None


class AttachedLate(OnLearningRate):
    """Is only there from the second step on, which is its first."""

    def call(self, leaf: Leaf) -> Any:
        """The factor of the step before, 1 at first."""
        if leaf.t == 1:
            return 1.0
        t, leaf.t = leaf.t, leaf.t - 1
        factor = super().call(leaf)
        leaf.t = t
        return factor


class Compounding(OnLearningRate):
    """Multiplies the learning rate by the factors of all steps so far."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """The product of the factors."""
        return ("product",)

    def initial_state(self, xp: Namespace, theta: Array) -> ParameterState:
        """A product of nothing."""
        return {self.key("product"): xp.scalar_like(theta, 1.0)}

    def inward(self, leaves: Sequence[Leaf]) -> None:
        """Scales the learning rate."""
        for leaf in leaves:
            self.skip(leaf)
            leaf.lr = leaf.lr * leaf.state[self.key("product")]

    def skip(self, leaf: Leaf) -> None:
        """Multiplies by the factor of a step."""
        factor = self.function(*(getattr(leaf, n) for n in self.arguments), **self.hyperparameters)
        key = self.key("product")
        leaf.state |= {key: leaf.xp.asarray(leaf.state[key] * factor)}


@variant(Compounding)
def correction_written_back(
    xp: Namespace, t: int, *, beta1: float = 0.9, beta2: float = 0.999
) -> Array:
    """The correction of Adam's moments."""
    return xp.sqrt(1 - beta2**t) / (1 - beta1**t)


def at_the_first_rate(layer: Layer, first: dict[str, Array]) -> Layer:
    """A layer whose part of the step has the learning rate of the first step, kept in a dict."""
    kind = type(layer)

    class AtTheFirstRate(kind):  # type: ignore[misc, valid-type]
        def call(self, leaf: Leaf) -> Any:
            """The function at that rate."""
            lr, h = leaf.lr, leaf.h
            ratio = first.setdefault("lr", lr) / lr
            if issubclass(kind, Rule):
                return ratio * super().call(leaf)
            if issubclass(kind, OnDirection):
                leaf.h = leaf.xp.zeros_like(h)
                leaf.h, added = h, super().call(leaf)
                return h + ratio * added
            leaf.lr = first["lr"]
            try:
                return super().call(leaf)
            finally:
                leaf.lr = lr

    return of_kind(AtTheFirstRate, layer)


class InFloat16(Rule):
    """Keeps its state in half precision."""

    format = "float16"

    def inward(self, leaves: Sequence[Leaf]) -> None:
        """Rounds the state that the rule leaves."""
        super().inward(leaves)
        for leaf in leaves:
            keys = map(self.key, self.state_names)
            leaf.state |= {key: rounded(leaf.state[key], self.format) for key in keys}


class InBfloat16(InFloat16):
    """Keeps its state in bfloat16."""

    format = "bfloat16"


def rounded(x: Array, format: str) -> Array:
    """An array rounded to a shorter format: with bounds, either way where both are possible."""
    if isinstance(x, Bounded):
        value = rounded(x.value, format)
        least, most = rounded(x.value - x.error, format), rounded(x.value + x.error, format)
        return Bounded(value, np.maximum(most - value, value - least), x.format)
    if format == "float16":
        return np.asarray(x, np.float16).astype(np.float64)
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    nearest = (bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) & np.uint64(0xFFFF0000)
    return nearest.astype(np.uint32).view(np.float32).astype(np.float64)


def of_the_index(kind: type[Layer]) -> type[Layer]:
    """A kind of layer that takes the index of the parameter for the parameter."""

    class OfTheIndex(kind):  # type: ignore[misc, valid-type]
        def call(self, leaf: Leaf) -> Any:
            """The function on the index."""
            theta = leaf.theta
            leaf.theta = leaf.xp.full_like(theta, float(leaf.name))
            try:
                return super().call(leaf)
            finally:
                leaf.theta = theta

    return OfTheIndex


def _shape(x: Array) -> tuple[int, ...]:
    return tuple(getattr(x, "shape", ()))


Kind = TypeVar("Kind", bound=Layer)


def of_kind(kind: type[Kind], layer: Layer) -> Kind:
    """A layer as one of another kind, with the same function."""
    return kind(**{own.name: getattr(layer, own.name) for own in fields(Layer)})
