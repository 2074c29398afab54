"""What the tests of all adapters share: parameters, gradients, and targets with their own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from refopt.adapters.adapt import adapt, framework
from refopt.adapters.adapter import Adapter, Part

SHAPES = ((), (5,), (4, 3), (11,), (0,))

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Setting:
    """What the targets of a framework are given.

    Attributes:
        arguments: what it calls the hyperparameters.
        steps: how many there are.
        shapes: of the parameters.
    """

    arguments: Mapping[str, str | tuple[str, ...]]
    steps: int
    shapes: tuple[tuple[int, ...], ...] = SHAPES

    def params(self, dtype: str = "float32") -> Arrays:
        """The parameters before the first step."""
        return self._drawn(np.random.default_rng(1), dtype)

    def gradients(self, dtype: str = "float32") -> list[Arrays]:
        """Those of each step."""
        random = np.random.default_rng(2)
        return [self._drawn(random, dtype) for _ in range(self.steps)]

    def _drawn(self, random: np.random.Generator, dtype: str) -> Arrays:
        return [np.asarray(random.normal(size=shape), dtype) for shape in self.shapes]

    def adapted(self, target: Any, *outer: Part, **options: Any) -> Adapter:
        """The adapter of a target, with what goes around it."""
        parts = (Part(target, self.arguments, options=options), *outer)
        return adapt(parts, framework(target))

    def stepped(self, session: Any, dtype: str = "float32") -> Arrays:
        """The parameters after all steps."""
        for grads in self.gradients(dtype):
            arrays: Arrays = session.step(grads)
        return arrays


def assert_same(got: Arrays, expected: Arrays) -> None:
    """That arrays are the same, bit for bit."""
    for one, other in zip(got, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_array_equal(one, other)
