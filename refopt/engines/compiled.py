"""An optimizer that steps fast, and in place."""

from __future__ import annotations

import warnings
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
from refopt.engines.numbers import Numbers
from refopt.engines.program import Program, program
from refopt.layers import Hyperparameter, Layer, OnGradients, State
from refopt.optimizer import Optimizer
from refopt.tree import Tree, flattened
from refopt.xp import Array

ENGINES: Final = ("auto", "plain", "blocked", "numba", "cupy")
"""The names of the engines, and of the choice among them by the arrays that are given."""

_NEEDS: Final = {"numba": (("numba", "platformdirs"), "fast"), "cupy": (("cupy",), "cuda")}
"""The packages that an engine needs, and the extra that brings them."""

_MOST_RECORDINGS: Final = 64
"""How many forms of a step of the same parameters are remembered."""


def compile(optimizer: Optimizer, engine: str = "auto") -> Compiled:
    """An optimizer that does the same faster, and writes into the arrays that it is given.

    ``compile(opt).step`` takes and returns what ``opt.step`` does; the arrays that it returns are
    those it was given, with new elements. On CPU every engine yields the bits of the optimizer.

    Args:
        optimizer: any rule with any variants.
        engine: ``plain`` runs the optimizer as it is. ``blocked`` needs NumPy alone: it keeps what
            operations leave to each other in the cache, in 1 MiB for each core. ``numba`` compiles
            each step to one loop. ``cupy`` does so for CUDA. ``auto`` is ``cupy`` for CuPy arrays;
            for NumPy arrays it is ``numba`` if that is installed and knows their dtype (float32,
            float64), else ``blocked``; for arrays of other libraries it is ``plain``.

    Raises:
        ValueError: no engine has that name.
        ImportError: the engine needs a package that is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"no engine is named {engine!r}; there are {', '.join(ENGINES)}")
    if engine in _NEEDS:
        packages, extra = _NEEDS[engine]
        if missing := [package for package in packages if find_spec(package) is None]:
            raise ImportError(
                f"engine {engine!r} needs {' and '.join(missing)}: pip install 'refopt[{extra}]'"
            )
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
    _recordings: dict[Any, list[_Recording]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _last: dict[str, _Step] = field(default_factory=dict, repr=False, compare=False)

    def __reduce__(self) -> Any:
        """A copy begins with what it is, and finds out the rest again."""
        return Compiled, (self.optimizer, self.engine)

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
        last = self._last.get("step")
        if last is not None:
            keys = self._state_keys
            thetas, gradients = flattened(params), flattened(grads)
            parameters = last.layout.again(thetas, gradients, state, keys, last.counts)
            if parameters is not None:
                self._step(last, parameters, state, _number(self.optimizer.learning_rate(lr)))
                return params, state
        thetas, gradients, lr = self.optimizer.inputs(params, grads, state, lr)
        lr = _number(lr)
        chosen = self._chosen(thetas.values())
        parameters = [
            Parameter(name, [theta, gradients[name], *map(state[name].get, self._state_keys)])
            for name, theta in thetas.items()
        ]
        _check(parameters, chosen)
        if chosen is None:
            self._step_plainly(parameters, params, grads, state, lr)
            return params, state
        counts = [state[name]["t"] for name in thetas]
        groups = self._groups(parameters, counts)
        layout = chosen.layout(parameters)
        now = _Step(chosen, layout, groups, counts)
        if layout is not None and layout.lasts:
            self._last["step"] = now
        self._step(now, parameters, state, lr)
        return params, state

    def _step(
        self, now: _Step, parameters: Sequence[Parameter], state: State, lr: Hyperparameter
    ) -> None:
        runs = [self._run(parameters, members, now.counts, lr) for members in now.groups]
        now.engine.run(parameters, [run for run, _ in runs], now.layout)
        counts = now.counts.copy()
        for run, advanced in runs:
            for member in run.members:
                for position, t in zip(member, advanced, strict=True):
                    counts[position] = state[parameters[position].name]["t"] = t
        now.counts = counts

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
        self, parameters: Sequence[Parameter], counts: Sequence[int]
    ) -> list[list[tuple[int, ...]]]:
        """Parameters, by position, of which one stands for all: only their elements differ."""
        if any(isinstance(layer, OnGradients) for layer in self.optimizer.layers):
            return [[tuple(range(len(parameters)))]]
        groups: dict[Any, list[tuple[int, ...]]] = {}
        for i, (parameter, t) in enumerate(zip(parameters, counts, strict=True)):
            alike = parameter.arrays[0].dtype, t, self._form(parameter)
            groups.setdefault(alike, []).append((i,))
        return list(groups.values())

    def _form(self, parameter: Parameter) -> tuple[Any, ...]:
        """What decides, beside numbers, which operations a step of a parameter consists of."""
        theta, g, *arrays = parameter.arrays
        return (
            theta.ndim,
            g is None,
            *(x.shape == theta.shape for x in arrays),
            *(layer.excludes(parameter.name) for layer in self._excluding),
        )

    @cached_property
    def _excluding(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.optimizer.layers if layer.exclude is not None)

    def _run(
        self,
        parameters: Sequence[Parameter],
        members: Sequence[Sequence[int]],
        counts: Sequence[int],
        lr: Hyperparameter,
    ) -> tuple[Run, list[int]]:
        """A step of members that are alike, recorded on the first, and ``t`` after it."""
        first = [parameters[i] for i in members[0]]
        ts = [counts[i] for i in members[0]]
        distinct = list(dict.fromkeys(ts))
        form = tuple(
            (distinct.index(t), *self._form(parameter))
            for t, parameter in zip(ts, first, strict=True)
        )
        recordings = self._recordings.setdefault(form, [])
        given = (lr, *distinct)
        for recording in reversed(recordings):
            numbers = recording.numbers.again(given)
            if numbers is not None:
                break
        else:
            recording = self._recorded(first, ts, given)
            recordings.append(recording)
            del recordings[:-_MOST_RECORDINGS]
            numbers = recording.numbers.values
        values = {index: numbers[place] for index, place in recording.program.numbers}
        advanced = [numbers[place] for place in recording.counts]
        return Run(recording.program, values, members), advanced

    def _recorded(
        self, parameters: Sequence[Parameter], ts: Sequence[int], given: Sequence[float]
    ) -> _Recording:
        """The step of these parameters, written down."""
        tape = Tape([parameter.arrays[0].shape for parameter in parameters])
        lr, *distinct = map(tape.numbers.give, given)
        count_of = dict(zip(given[1:], distinct, strict=True))
        thetas: dict[str, Any] = {}
        gradients: dict[str, Any] = {}
        state: State = {}
        for leaf, (parameter, t) in enumerate(zip(parameters, ts, strict=True)):
            name = parameter.name
            thetas[name], gradients[name], *nodes = _inputs(tape, leaf, parameter)
            state[name] = {"t": count_of[t]} | dict(zip(self._state_keys, nodes, strict=True))
        leaves = self.optimizer.advanced(thetas, gradients, state, lr)
        outputs = tuple(
            (leaf.theta.index, None, *(leaf.state[key].index for key in self._state_keys))
            for leaf in leaves
        )
        counts = tuple(tape.numbers.place(leaf.state["t"]) for leaf in leaves)
        return _Recording(tape.numbers, program(tape, outputs), counts)


@dataclass(slots=True)
class _Step:
    """What stays the same in every step on the same arrays.

    Attributes:
        engine: that runs it.
        layout: of the arrays.
        groups: of parameters that are alike.
        counts: ``t`` of each parameter, before the next step.
    """

    engine: Engine
    layout: Any
    groups: list[list[tuple[int, ...]]]
    counts: list[int]


@dataclass(frozen=True)
class _Recording:
    """A step of some parameters, written down.

    Attributes:
        numbers: computed again in every step.
        program: what is done with arrays.
        counts: the places of the new step counts.
    """

    numbers: Numbers
    program: Program
    counts: tuple[int, ...]


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
            return _numba(others=False)
        case "cupy":
            from refopt.engines.cupy import CupyEngine

            return CupyEngine()
        case "host" if all(map(find_spec, _NEEDS["numba"][0])):
            try:
                return _numba(others=True)
            except ImportError as error:
                warnings.warn(f"engine='auto' does without numba: {error}", stacklevel=4)
                return BlockedEngine()
        case "blocked" | "host":
            return BlockedEngine()
    return None


def _numba(others: bool) -> Engine:
    from refopt.engines.numba import NumbaEngine

    return NumbaEngine(others)


def _number(lr: Hyperparameter) -> float:
    if not isinstance(lr, int | float):
        raise TypeError(f"step: lr must be a Python number, got {type(lr).__name__}")
    return lr


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
