"""One rule with its variants, stepped: ``theta' = theta - lr * h``."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from refopt.hyperparameters import validated
from refopt.layers import (
    REQUIRED,
    CountsMissing,
    Entry,
    Function,
    Hyperparameter,
    Layer,
    Leaf,
    OnWindow,
    ParameterState,
    Rule,
    State,
    keyword_defaults,
)
from refopt.tree import Tree, flattened, rebuilt
from refopt.xp import Array, Namespace, namespace


@dataclass(frozen=True)
class Optimizer:
    """A rule with its variants and a learning rate.

    Attributes:
        layers: the rule and, outwards from it, its variants.
        lr: the learning rate, before any schedule.
        lr_pinned: whether it was given rather than left at the default.
    """

    layers: tuple[Layer, ...]
    lr: Hyperparameter
    lr_pinned: bool = False

    def init(self, params: Tree) -> State:
        """The state before the first step.

        Args:
            params: one floating-point array, or a nested dict or list of them.

        Raises:
            TypeError: a parameter is not an array of real floating-point numbers.
        """
        state: State = {}
        for name, theta in flattened(params).items():
            xp = _checked(name, theta)
            state[name] = {"t": 0}
            for layer in self.layers:
                state[name] |= _unshared(xp, layer.initial_state(xp, theta), (theta,))
        return state

    def step(
        self, params: Tree, grads: Tree, state: State, *, lr: Hyperparameter | None = None
    ) -> tuple[Tree, State]:
        """One step: the new parameters and the new state; nothing is modified in place.

        Args:
            params: the parameters, as in :meth:`init`.
            grads: a gradient of the same shape for each, in a container of the same form; None
                leaves the parameter, its state and its step count as they are.
            state: from :meth:`init` or the previous step.
            lr: the learning rate of this step, instead of the optimizer's own.

        Raises:
            ValueError: gradients or state do not fit the parameters, or ``lr`` lies outside its
                domain.
        """
        thetas, gradients, lr = self.inputs(params, grads, state, lr)
        leaves = self.advanced(thetas, gradients, state, lr)
        return (
            rebuilt(params, {leaf.name: leaf.xp.asarray(leaf.theta) for leaf in leaves}),
            {
                leaf.name: _unshared(
                    leaf.xp,
                    leaf.state,
                    (
                        thetas[leaf.name],
                        gradients[leaf.name],
                        leaf.theta,
                        *leaf.state_old.values(),
                    ),
                )
                for leaf in leaves
            },
        )

    def inputs(
        self, params: Tree, grads: Tree, state: State, lr: Hyperparameter | None
    ) -> tuple[dict[str, Array], dict[str, Array], Hyperparameter]:
        """What a step is given, checked: parameters and gradients by name, and its learning rate.

        Raises:
            ValueError: as for :meth:`step`.
        """
        thetas = flattened(params)
        gradients = flattened(grads)
        _check_fit(thetas, gradients, state)
        self._check_own(state)
        return thetas, gradients, self.learning_rate(lr)

    def learning_rate(self, lr: Hyperparameter | None) -> Hyperparameter:
        """The one that a step is given, or the optimizer's own.

        Raises:
            ValueError: it lies outside its domain.
        """
        if lr is None:
            return self.lr
        return validated("step", {"lr": lr})["lr"] if isinstance(lr, int | float) else lr

    def advanced(
        self,
        thetas: Mapping[str, Array],
        gradients: Mapping[str, Array],
        state: State,
        lr: Hyperparameter,
    ) -> list[Leaf]:
        """Every parameter after one step, with its new state, on whatever numbers it is given."""
        leaves = [
            self._leaf(name, theta, gradients[name], state[name], lr)
            for name, theta in thetas.items()
        ]
        with np.errstate(all="ignore"):  # NaN and infinity propagate, as IEEE 754 says
            self._pass(leaves)
        return leaves

    def _pass(self, leaves: Sequence[Leaf]) -> None:
        """Inward, outward, the step itself, onward: see :mod:`refopt.layers`."""
        for layer in reversed(self.layers):
            acting = [leaf for leaf in leaves if layer.acts_on(leaf)]
            for leaf in acting:
                leaf.entries[layer.index] = Entry(leaf.lr, leaf.t, leaf.g, leaf.theta)
            layer.inward(acting)
        for layer in self.layers:
            acting = [leaf for leaf in leaves if layer.acts_on(leaf)]
            for leaf in acting:
                _, leaf.t, leaf.g, leaf.theta = leaf.entries[layer.index]
            layer.outward(acting)
        for leaf in leaves:
            if leaf.entries:
                theta = leaf.entries[leaf.depth].theta
                leaf.theta = theta - (leaf.h if leaf.scaled else leaf.lr * leaf.h)
        for layer in self.layers:
            acting = [leaf for leaf in leaves if layer.acts_on(leaf)]
            for leaf in acting:
                leaf.lr, leaf.t, leaf.g, leaf.theta_old = leaf.entries[layer.index]
            layer.onward(acting)

    def _leaf(
        self, name: str, theta: Array, g: Array | None, state: ParameterState, lr: Hyperparameter
    ) -> Leaf:
        xp = namespace(theta)
        missing = g is None
        kinds = [type(layer) for layer in reversed(self.layers) if not layer.excludes(name)]
        meaning = next((kind for kind in kinds if kind in (OnWindow, CountsMissing)), None)
        if missing and meaning is OnWindow:
            g = xp.zeros_like(theta)
        t = state["t"] + int(not missing or meaning is not None)
        depth = len(self.layers) if g is None else 0
        leaf = Leaf(name, xp, theta, g, state | {"t": t}, state, lr, t, depth=depth)
        if missing and meaning is CountsMissing:
            for layer in reversed(self.layers):
                if leaf.t and not layer.excludes(name):  # t = 0: the window waits
                    layer.skip(leaf)
        return leaf

    def _check_own(self, state: State) -> None:
        keys = {"t"}.union(*(map(layer.key, layer.state_names) for layer in self.layers))
        for name, arrays in state.items():
            if arrays.keys() != keys:
                raise ValueError(
                    f"the state of parameter {name!r} is not that of {self}: it has "
                    f"{', '.join(sorted(arrays))}, not {', '.join(sorted(keys))}"
                )

    def around(self, layer: Layer) -> Optimizer:
        """This optimizer with one more layer around it."""
        inside = tuple(existing.label for existing in self.layers)
        count = sum(existing.name == layer.name for existing in self.layers)
        label = f"{layer.name}#{count + 1}" if count else layer.name
        return replace(self, layers=(*self.layers, replace(layer, inside=inside, label=label)))

    def hyperparameters(self) -> dict[str, Hyperparameter]:
        """Every hyperparameter of the rule and its variants by canonical name, ``lr`` first."""
        values: dict[str, Hyperparameter] = {"lr": self.lr}
        for layer in self.layers:
            values |= layer.hyperparameters
        return values

    def pinned(self) -> frozenset[str]:
        """The hyperparameters that were given rather than left at their defaults."""
        given = frozenset({"lr"} if self.lr_pinned else ())
        return given.union(*(layer.pinned for layer in self.layers))

    def with_hyperparameters(self, **values: Hyperparameter) -> Optimizer:
        """This optimizer with other hyperparameters, in every layer that has one of that name.

        Raises:
            TypeError: no layer has a hyperparameter of that name.
            ValueError: a value lies outside its domain.
        """
        known = self.hyperparameters()
        _check_known(str(self), values, known)
        values = validated(str(self), values)
        layers = tuple(layer.given(values) for layer in self.layers)
        lr_given = "lr" in values
        lr = values["lr"] if lr_given else self.lr
        return replace(self, layers=layers, lr=lr, lr_pinned=self.lr_pinned or lr_given)

    def unpinned(self, names: Iterable[str]) -> Optimizer:
        """This optimizer with those hyperparameters counted as defaults rather than as given."""
        names = frozenset(names)
        layers = tuple(replace(layer, pinned=layer.pinned - names) for layer in self.layers)
        return replace(self, layers=layers, lr_pinned=self.lr_pinned and "lr" not in names)

    def with_outer(self, inside: Optimizer, values: Mapping[str, Hyperparameter]) -> Optimizer:
        """This optimizer with other hyperparameters in the layers that it adds around another."""
        added = self.layers[len(inside.layers) :]
        _check_known(str(self), values, {k for layer in added for k in layer.hyperparameters})
        values = validated(str(self), values)
        return replace(self, layers=(*inside.layers, *(layer.given(values) for layer in added)))

    def lifted(self, lift: Callable[[str, float], Hyperparameter]) -> Optimizer:
        """This optimizer with each real hyperparameter replaced by ``lift(name, value)``."""

        def lifted(name: str, value: Hyperparameter) -> Hyperparameter:
            if isinstance(value, Mapping):
                return {step: lift(name, factor) for step, factor in value.items()}
            return lift(name, value) if isinstance(value, float) else value

        layers = tuple(
            replace(
                layer, hyperparameters={k: lifted(k, v) for k, v in layer.hyperparameters.items()}
            )
            for layer in self.layers
        )
        return replace(self, layers=layers, lr=lift("lr", self.lr))

    def __str__(self) -> str:
        """The expression that the catalog reads back as this optimizer."""
        rule, *variants = self.layers
        pinned = {"lr": self.lr} if self.lr_pinned else {}
        text = _call(rule, [], pinned)
        for layer in variants:
            text = _call(layer, [text], {})
        return text


def _call(layer: Layer, arguments: list[str], extra: Mapping[str, Hyperparameter]) -> str:
    defaults = keyword_defaults(layer.function)
    given = {
        name: value
        for name, value in layer.hyperparameters.items()
        if name in layer.pinned or value != defaults[name]
    } | dict(extra)
    arguments = arguments + [f"{name}={value!r}" for name, value in given.items()]
    return f"{layer.name}({', '.join(arguments)})" if arguments else layer.name


class RuleConstructor:
    """Makes optimizers of one rule: ``adam(lr=1e-3, beta1=0.9)``.

    State starts at zero, unless the rule's module has a function ``<name>_init(xp, theta, ...)``
    that returns it. What depends on the count of steps alone moves on in a counted call without a
    gradient by ``<name>_missing(xp, t, *state, ...)``.
    """

    def __init__(self, function: Function, lr: float) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.lr = lr
        self.default = Rule(
            name=function.__name__,
            label=function.__name__,
            function=function,
            initial=_companion(function, "init"),
            missing=_companion(function, "missing"),
            hyperparameters=keyword_defaults(function),
        )

    def __call__(self, **hyperparameters: Hyperparameter) -> Optimizer:
        """The rule alone, with those hyperparameters instead of its defaults."""
        return Optimizer((self.default,), self.lr).with_hyperparameters(**hyperparameters)


class VariantConstructor:
    """Puts a layer around an optimizer: ``lookahead(adam(), k=5, alpha=0.5)``.

    ``exclude`` is a predicate on parameter names: the layer leaves those parameters alone.
    """

    def __init__(self, layer: type[Layer], function: Function) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.default = layer(
            name=function.__name__,
            label=function.__name__,
            function=function,
            initial=_companion(function, "init"),
            hyperparameters=keyword_defaults(function),
        )

    def __call__(
        self,
        optimizer: Optimizer,
        *values: Hyperparameter,
        exclude: Callable[[str], bool] | None = None,
        **hyperparameters: Hyperparameter,
    ) -> Optimizer:
        """The optimizer with the variant around it; values go by position or by name."""
        name = self.__name__
        defaults = self.default.hyperparameters
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{name} goes around an optimizer, such as refopt.{name}(refopt.sgd(), ...); "
                f"got {type(optimizer).__name__}"
            )
        if len(values) > len(defaults):
            raise TypeError(f"{name} takes {len(defaults)} hyperparameters, got {len(values)}")
        positional = dict(zip(defaults, values, strict=False))
        if twice := positional.keys() & hyperparameters:
            raise TypeError(f"{name} is given {', '.join(sorted(twice))} twice")
        given = positional | hyperparameters
        _check_known(name, given, defaults)
        missing = [k for k, v in ({**defaults, **given}).items() if v is REQUIRED]
        if missing:
            raise TypeError(f"{name} needs a value for {', '.join(missing)}")
        layer = replace(self.default, exclude=exclude)
        return optimizer.around(layer.given(validated(name, given)))


def variant(layer: type[Layer]) -> Callable[[Function], VariantConstructor]:
    """Declares array math to be a variant that changes the stage of its kind of layer."""

    def decorate(function: Function) -> VariantConstructor:
        return VariantConstructor(layer, function)

    return decorate


def _companion(function: Function, kind: str) -> Function | None:
    module = sys.modules[function.__module__]
    return getattr(module, f"{function.__name__}_{kind}", None)


def _check_known(owner: str, values: Iterable[str], known: Iterable[str]) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            names = ", ".join(known) or "none"
            raise TypeError(f"{owner} has no hyperparameter {name!r}; {hint}it has: {names}")


def _checked(name: str, theta: Array) -> Namespace:
    xp = namespace(theta)
    if not xp.is_real(theta):
        where = f" {name!r}" if name else ""
        raise TypeError(
            f"parameter{where} has dtype {theta.dtype}; optimizers are defined for the real "
            "floating-point numbers of its library: convert it, or split a complex array into two "
            "real ones"
        )
    return xp


def _unshared(xp: Namespace, state: ParameterState, others: Sequence[Array]) -> ParameterState:
    """State in arrays of its own: the caller may write into the others, and into each."""
    taken = {id(x) for x in others}
    own: ParameterState = {}
    for key, x in state.items():
        own[key] = xp.copy(x) if id(x) in taken and not isinstance(x, int) else x
        taken.add(id(x))
    return own


def _check_fit(thetas: dict[str, Array], gradients: dict[str, Array], state: State) -> None:
    for kind, names in (("gradients", gradients), ("state", state)):
        if thetas.keys() != names.keys():
            odd = sorted(thetas.keys() ^ names.keys())
            raise ValueError(
                f"parameters and {kind} must have the same names; these are in one alone: "
                f"{', '.join(odd)}"
            )
    for name, theta in thetas.items():
        g = gradients[name]
        for kind in ("shape", "dtype"):  # symbols and numbers with bounds lack one or both
            expected, got = getattr(theta, kind, None), getattr(g, kind, None)
            if g is not None and got != expected:
                raise ValueError(f"parameter {name!r} has {kind} {expected}, its gradient {got}")
