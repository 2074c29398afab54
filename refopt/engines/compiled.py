"""An optimizer that steps fast, and in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from array_api_compat import is_writeable_array

from refopt.engines.blocked import BlockedEngine
from refopt.engines.engine import Engine, EngineError, Parameter, Run, named
from refopt.engines.graph import Kind, Recorded, Tape
from refopt.engines.program import Program, program
from refopt.layers import Hyperparameter, OnGradients, State
from refopt.optimizer import Optimizer
from refopt.tree import Tree, flattened
from refopt.xp import Array

ENGINES: Final = ("auto", "plain", "blocked", "numba", "cupy")
"""The names of the engines, and of the choice among them by the arrays that are given."""

_MOST_PROGRAMS: Final = 64
"""How many forms of a step are remembered."""


def compile(optimizer: Optimizer, engine: str = "auto") -> Compiled:
    """An optimizer that does the same faster, and writes into the arrays that it is given.

    ``compile(opt).step`` takes and returns what ``opt.step`` does; the arrays that it returns are
    those it was given, with new elements. On CPU every engine yields the bits of the optimizer.

    Args:
        optimizer: any rule with any variants.
        engine: ``plain`` runs the optimizer as it is. ``blocked`` needs NumPy alone: it keeps what
            operations leave to each other in the cache. ``numba`` compiles each step to one loop.
            ``cupy`` does so for CUDA. ``auto`` is ``cupy`` for CuPy arrays; for NumPy arrays it is
            ``numba`` if that is installed and knows their dtype (float32, float64), else
            ``blocked``; for arrays of other libraries it is ``plain``.

    Raises:
        ValueError: no engine has that name.
        ImportError: the engine needs a package that is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine is named {engine!r}; there are {', '.join(ENGINES)}")
    for package in ("numba", "cupy"):
        if engine == package and find_spec(package) is None:
            extra = {"numba": "fast", "cupy": "cuda"}[package]
            raise ImportError(f"engine {engine!r} needs {package}: pip install 'refopt[{extra}]'")
    return Compiled(optimizer, engine)


@dataclass(frozen=True)
class Compiled:
    """What :func:`compile` returns.

    Attributes:
        optimizer: what is computed.
        engine: how.
    """

    optimizer: Optimizer
    engine: str
    _programs: dict[Any, Program] = field(default_factory=dict, repr=False, compare=False)

    def init(self, params: Tree) -> State:
        """The state before the first step, as :meth:`refopt.Optimizer.init` returns it.

        Raises:
            TypeError: a parameter is not an array that the engine can write to.
        """
        thetas = flattened(params)
        state = self.optimizer.init(params)
        chosen = self._chosen(thetas.values())
        for name, theta in thetas.items():
            _check_writeable(name, theta)
            if chosen is not None:
                chosen.check(name, theta)
        return state

    def step(
        self, params: Tree, grads: Tree, state: State, *, lr: Hyperparameter | None = None
    ) -> tuple[Tree, State]:
        """One step, written into the parameters and the state, which are returned.

        If it raises an error of these, nothing has been written.

        Args:
            params: as in :meth:`init`; no two may share memory.
            grads: as in :meth:`refopt.Optimizer.step`.
            state: from :meth:`init`, from the previous step or from :func:`refopt.load`.
            lr: the learning rate of this step, instead of the optimizer's own.

        Raises:
            TypeError: an array is not one that the engine can write to, or ``lr`` is no number.
            ValueError: gradients or state do not fit the parameters, two arrays share memory, or
                ``lr`` lies outside its domain.
        """
        thetas, gradients, lr = self.optimizer.inputs(params, grads, state, lr)
        if not isinstance(lr, int | float):
            raise TypeError(f"step: lr must be a Python number, got {type(lr).__name__}")
        chosen = self._chosen(thetas.values())
        keys = self._state_keys
        parameters = [
            Parameter(name, [theta, gradients[name], *(state[name][key] for key in keys)])
            for name, theta in thetas.items()
        ]
        _check(parameters, chosen)
        if chosen is None:
            self._step_plainly(parameters, params, grads, state, lr)
            return params, state
        counts: dict[str, int] = {}
        chosen.run([self._recorded(p, state, lr, counts) for p in self._groups(parameters, state)])
        for name, t in counts.items():
            state[name]["t"] = t
        return params, state

    @cached_property
    def _state_keys(self) -> tuple[str, ...]:
        layers = self.optimizer.layers
        return tuple(layer.key(name) for layer in layers for name in layer.state_names)

    def _chosen(self, thetas: Iterable[Array]) -> Engine | None:
        """The engine for these parameters; None stands for the optimizer as it is."""
        name = self.engine
        if name == "auto":
            kinds = {_library(theta) for theta in thetas}
            name = {frozenset({"numpy"}): "host", frozenset({"cupy"}): "cupy"}.get(
                frozenset(kinds), "plain"
            )
        return _engine(name)

    def _step_plainly(
        self,
        parameters: Sequence[Parameter],
        params: Tree,
        grads: Tree,
        state: State,
        lr: Hyperparameter,
    ) -> None:
        new_params, new_state = self.optimizer.step(params, grads, state, lr=lr)
        new_thetas = flattened(new_params)
        for parameter in parameters:
            name = parameter.name
            theta, _, *arrays = parameter.arrays
            theta[...] = new_thetas[name]
            for key, array in zip(self._state_keys, arrays, strict=True):
                array[...] = new_state[name][key]
            state[name]["t"] = new_state[name]["t"]

    def _groups(
        self, parameters: Sequence[Parameter], state: State
    ) -> Iterable[Sequence[Sequence[Parameter]]]:
        """Parameters of which one stands for all, since nothing but their elements differs."""
        layers = self.optimizer.layers
        if any(isinstance(layer, OnGradients) for layer in layers):
            return [[parameters]]
        excluding = [layer for layer in layers if layer.exclude is not None]
        groups: dict[Any, list[Sequence[Parameter]]] = {}
        for parameter in parameters:
            theta, g, *arrays = parameter.arrays
            alike = (
                theta.dtype,
                theta.ndim,
                g is None,
                state[parameter.name]["t"],
                *(x.shape == theta.shape for x in arrays),
                *(layer.excludes(parameter.name) for layer in excluding),
            )
            groups.setdefault(alike, []).append((parameter,))
        return groups.values()

    def _recorded(
        self,
        members: Sequence[Sequence[Parameter]],
        state: State,
        lr: Hyperparameter,
        counts: dict[str, int],
    ) -> Run:
        """The program of a step, recorded on the first of its members; ``t`` of all of them."""
        tape = Tape([parameter.arrays[0].shape for parameter in members[0]])
        thetas: dict[str, Any] = {}
        gradients: dict[str, Any] = {}
        recorded: State = {}
        for leaf, parameter in enumerate(members[0]):
            name = parameter.name
            thetas[name], gradients[name], *nodes = _inputs(tape, leaf, parameter)
            recorded[name] = {"t": state[name]["t"]} | dict(
                zip(self._state_keys, nodes, strict=True)
            )
        leaves = self.optimizer.advanced(thetas, gradients, recorded, lr)
        outputs = tuple(
            (leaf.theta.index, None, *(leaf.state[key].index for key in self._state_keys))
            for leaf in leaves
        )
        for member in members:
            for parameter, advanced in zip(member, leaves, strict=True):
                counts[parameter.name] = advanced.state["t"]
        key = (tuple(tape.operations), outputs)
        found = self._programs.get(key)
        if found is None:
            found = program(tape, outputs)
            self._programs[key] = found
            if len(self._programs) > _MOST_PROGRAMS:
                self._programs.pop(next(iter(self._programs)), None)
        return Run(found, tape.numbers, members)


def _inputs(tape: Tape, leaf: int, parameter: Parameter) -> list[Recorded | None]:
    """The arrays of a parameter, recorded."""
    theta = parameter.arrays[0]
    nodes: list[Recorded | None] = []
    for slot, x in enumerate(parameter.arrays):
        if x is None:
            nodes.append(None)
        else:
            kind = Kind.FULL if x.shape == theta.shape else Kind.POINT
            nodes.append(tape.add(("input", leaf, slot, kind), kind, leaf))
    return nodes


@cache
def _engine(name: str) -> Engine | None:
    match name:
        case "numba":
            from refopt.engines.numba import NumbaEngine

            return NumbaEngine(others=False)
        case "cupy":
            from refopt.engines.cupy import CupyEngine

            return CupyEngine()
        case "host" if find_spec("numba"):
            from refopt.engines.numba import NumbaEngine

            return NumbaEngine(others=True)
        case "blocked" | "host":
            return BlockedEngine()
    return None


def _library(x: Array) -> str:
    return type(x).__module__.partition(".")[0]


def _check(parameters: Sequence[Parameter], engine: Engine | None) -> None:
    """Whether everything that is written can be, fits, and is given once."""
    owners: dict[int, str] = {}
    for parameter in parameters:
        name = parameter.name
        theta, _, *arrays = parameter.arrays
        for x in (theta, *arrays):
            _check_writeable(name, x)
            if x.dtype != theta.dtype or (x.shape and x.shape != theta.shape):
                raise ValueError(
                    f"{named(name)} is {theta.dtype} of shape {tuple(theta.shape)}, one of its "
                    f"state arrays {x.dtype} of shape {tuple(x.shape)}"
                )
            if id(x) in owners:
                raise ValueError(
                    f"{named(name)} and {named(owners[id(x)])}, or their states, share an array, "
                    "which a step in place would change twice: copy one of them"
                )
            owners[id(x)] = name
        if engine is not None:
            for x in parameter.arrays:
                if x is not None:
                    engine.check(name, x)


def _check_writeable(name: str, x: Array) -> None:
    writeable = x.flags.writeable if type(x) is np.ndarray else is_writeable_array(x)
    if not writeable:
        raise EngineError(
            f"{named(name)} has an array of type {type(x).__name__} that cannot be written to; "
            "Optimizer.step returns new arrays instead"
        )
