"""Draws the cases on which properties are examined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from hypothesis import strategies as st

from refopt import strategies
from refopt.oracle.probes import Gradients, Layout, Probe
from refopt.oracle.properties.bench import Bench
from refopt.strategies import SHAPES, Shape, repeated


class Draw(Protocol):
    """Draws from a strategy: what composite strategies and state machines give."""

    def __call__(self, strategy: st.SearchStrategy[Any], /) -> Any:
        """A value."""


Numbers = Sequence[float]

ROUND: Final = (0,)
"""A scale of gradients at which sums of a few of them are exact."""
ORDINARY: Final = (0, 1, -1, 3, -3)
"""Scales at which nothing overflows or vanishes."""

_RATES: Final = (1.0, 0.5, 2.0, 0.25)


def numbers(draw: Draw, scales: Sequence[int] = ORDINARY, *, zeros: bool = True) -> list[float]:
    """A few numbers of up to eight bits, times a power of two."""
    whole = st.integers(-63, 63)
    found = draw(st.lists(whole if zeros else whole.map(_nonzero), min_size=1, max_size=5))
    scale = draw(st.sampled_from(scales)) if len(scales) > 1 else scales[0]
    return [n * 2.0 ** (scale - 4) for n in found]


def drawn(
    draw: Draw,
    bench: Bench,
    name: str,
    *,
    given: Mapping[str, Any] | None = None,
    params: int = 3,
    steps: int = 4,
    shapes: Sequence[Shape] = SHAPES,
    start: Sequence[int] = ORDINARY,
    scales: Sequence[int] = ORDINARY,
    zeros: bool = True,
    missing: bool = False,
    rates: bool = True,
    layout: Layout = "contiguous",
    resumes: bool = False,
) -> Probe:
    """A case for a property.

    Args:
        draw: of Hypothesis.
        bench: what cases are for.
        name: of the property, by which errors call the case.
        given: hyperparameters that are not to be drawn.
        params: how many parameters at most.
        steps: how many steps at most.
        shapes: those of parameters.
        start: scales of parameters.
        scales: those of gradients.
        zeros: whether a gradient may hold zeros.
        missing: whether gradients may be missing.
        rates: whether the learning rate may change, where the target allows it.
        layout: of the gradients in memory.
        resumes: whether to save and load somewhere.
    """
    values = hyperparameters(draw, bench, given or {})
    found = drawn_shapes(draw, bench, shapes, params)
    thetas = numbers(draw, start)
    count = draw(st.integers(1, steps))
    changes = rates and bench.takes_rates
    per_step = [
        (
            numbers(draw, scales, zeros=zeros),
            draw(st.sampled_from(_RATES)) if changes else 1.0,
            draw(st.integers(0, 2 ** len(found) - 1)) if missing and bench.takes_missing else 0,
        )
        for _ in range(count)
    ]
    return Probe(
        id=name,
        purpose="",
        hyperparameters=values,
        params=tuple(spread(thetas, i, shape, bench.dtype) for i, shape in enumerate(found)),
        gradients=tuple(
            tuple(
                None if absent >> i & 1 else spread(gs, i, shape, bench.dtype)
                for i, shape in enumerate(found)
            )
            for gs, _, absent in per_step
        ),
        rates=tuple(rate for _, rate, _ in per_step),
        resumes_after=draw(st.integers(1, max(1, count - 1))) if resumes else None,
        layout=layout,
    )


def drawn_shapes(draw: Draw, bench: Bench, shapes: Sequence[Shape], count: int) -> list[Shape]:
    """Those of up to so many parameters.

    Where new ones have to be compiled for, they come in a few fixed combinations, in which each of
    them occurs.
    """
    if not bench.compiles:
        return draw(st.lists(st.sampled_from(shapes), min_size=1, max_size=count))  # type: ignore[no-any-return]
    together = [list(shapes[i : i + count]) for i in range(0, len(shapes), count)]
    return draw(st.sampled_from([[shapes[0]], *together]))  # type: ignore[no-any-return]


def hyperparameters(draw: Draw, bench: Bench, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for what the target takes; some are given."""
    telling = {n: strategies.telling(n, default) for n, default in bench.varied.items()}
    return {
        name: given[name] if name in given else draw(st.sampled_from(choices))
        for name, choices in telling.items()
    }


def spread(numbers: Numbers, i: int, shape: Shape, dtype: str) -> np.ndarray:
    """Numbers repeated to the shape of the i-th parameter, each from another one on."""
    i %= len(numbers)
    return repeated([*numbers[i:], *numbers[:i]], shape, dtype)


def mapped(
    probe: Probe,
    params: Callable[[int, np.ndarray], np.ndarray] = lambda i, p: p,
    gradients: Callable[[int, np.ndarray], np.ndarray] = lambda i, g: g,
) -> tuple[tuple[np.ndarray, ...], tuple[Gradients, ...]]:
    """The parameters and gradients of a case, changed one by one."""
    return (
        tuple(np.asarray(params(i, p)) for i, p in enumerate(probe.params)),
        tuple(
            tuple(None if g is None else np.asarray(gradients(i, g)) for i, g in enumerate(gs))
            for gs in probe.gradients
        ),
    )


def _nonzero(n: int) -> int:
    return n or 1
