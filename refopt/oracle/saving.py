"""What saving and loading may lose: changes of the state at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import combinations, permutations

from refopt.layers import State
from refopt.optimizer import Optimizer
from refopt.oracle.faults import rounded
from refopt.oracle.trees import named
from refopt.oracle.wording import said

Reload = Callable[[State, State], State]
"""The state after loading, from that which was saved and that of a fresh optimizer."""


def losses(optimizer: Optimizer) -> dict[str, Reload]:
    """What saving and loading may lose, in words."""
    names = {layer.key(name): name for layer in optimizer.layers for name in layer.state_names}
    lost: dict[str, Reload] = {
        "the step count is not saved": partial(_fresh, ["t"]),
        "the step count is one too small after loading": partial(_counted, -1),
        "the step count is one too large after loading": partial(_counted, 1),
    }
    for format in ("float16", "bfloat16"):
        lost[f"the state is rounded to {format} by loading"] = partial(_shortened, format, names)
        for key, name in names.items() if len(names) > 1 else ():
            words = f"{said(named(name))} is rounded to {format} by loading"
            lost[words] = partial(_shortened, format, [key])
    for key, name in names.items():
        lost[f"{said(named(name))} is not saved"] = partial(_fresh, [key])
    lost["only the state of the first parameter is loaded"] = _of_the_first
    lost["only the state arrays of the first parameter are loaded, all step counts are"] = partial(
        _of_the_first, counts=True
    )
    lost["no state is saved"] = partial(_fresh, ["t", *names])
    if names:
        lost["the state arrays are not saved, the step count is"] = partial(_fresh, list(names))
    for first, second in combinations(names, 2):
        words = (
            f"{said(named(names[first]))} and {said(named(names[second]))} are exchanged by loading"
        )
        lost[words] = partial(_exchanged, first, second)
    for first, second in permutations(names, 2):
        words = f"{said(named(names[first]))} is loaded as {said(named(names[second]))} as well"
        lost[words] = partial(_loaded_as, first, second)
    return lost


def _fresh(keys: Sequence[str], state: State, fresh: State) -> State:
    return {name: own | {key: fresh[name][key] for key in keys} for name, own in state.items()}


def _of_the_first(state: State, fresh: State, *, counts: bool = False) -> State:
    first, *others = state
    kept = ["t"] if counts else []
    return {first: state[first]} | {
        name: fresh[name] | {key: state[name][key] for key in kept} for name in others
    }


def _shortened(format: str, keys: Iterable[str], state: State, _: State) -> State:
    return {
        name: own | {key: rounded(own[key], format) for key in keys} for name, own in state.items()
    }


def _counted(by: int, state: State, _: State) -> State:
    return {name: own | {"t": own["t"] + by} for name, own in state.items()}


def _exchanged(first: str, second: str, state: State, _: State) -> State:
    return {name: own | {first: own[second], second: own[first]} for name, own in state.items()}


def _loaded_as(first: str, second: str, state: State, _: State) -> State:
    return {name: own | {second: own[first]} for name, own in state.items()}
