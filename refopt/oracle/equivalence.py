"""Whether a changed optimizer is the same as the unchanged one: by exact arithmetic.

Both are stepped on numbers that are never rounded (:mod:`refopt.arithmetic.balls`), at random
points of this domain:

- hyperparameters are binary fractions, as all floating-point numbers are: multiples of 1/64 up to 4
  that lie in their own domain, with its ends; counts are the four smallest, schedules have three
  knots. The rise of one cycle is longer than a step, since sources divide by its length;
- parameters are of shapes (), (3,) and (2, 2), and multiples of 1/16 up to 2, or of 4 up to 128;
- gradients are multiples of 1/8 up to 2, or of 8 up to 128. A quarter of the arrays are zero, and
  a quarter of the elements of others;
- there are :data:`STEPS` steps, and :data:`POINTS` points.

Two results are the same if their difference is the rational zero, or, once a root, a power or a
cosine made balls of them, is enclosed within :data:`NARROW` of zero. For identities of algebraic
functions that is as good as a proof: those that are none fail almost everywhere. What is piecewise
is compared on the pieces that ends, zeros and counts lead to.

A random point seldom meets a threshold, such as ``rho > 4``. An edit that only moves equality to
the other side of one is the same if it agrees where a point does meet the threshold, or if no point
of the domain can: the difference of both sides is then a rational function of one hyperparameter,
and none of the rational roots of its numerator is a binary fraction of the domain, at any of the
first :data:`THRESHOLDS` steps. Thresholds between counts alone are met by the points.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np

from refopt.hyperparameters import DOMAINS, Interval, Knots
from refopt.optimizer import Optimizer
from refopt.oracle.edits import Edit

STEPS: Final = 7
"""As many as complete windows of 1, 2, 3 and 4 steps, and go on."""
POINTS: Final = 24
NARROW: Final = 2.0**-300
"""At a precision of :data:`_BITS` bits."""
THRESHOLDS: Final = 24
"""The steps at which thresholds are examined."""

_BITS: Final = 768
_SHAPES: Final = ((), (3,), (2, 2))


def is_equivalent(optimizer: Optimizer, edit: Edit) -> bool:
    """Whether an edit of an optimizer changes nothing on the domain.

    Raises:
        ModuleNotFoundError: python-flint is not installed.
    """
    points = [_Point.drawn(optimizer, random.Random(seed)) for seed in range(POINTS)]
    compared = []
    for point in points:
        found = _agrees(optimizer, edit, point)
        if found is False:
            return False
        if found is not None:
            compared.append(point)
    if len(compared) <= POINTS // 2:
        return False
    if _without_equality(edit.before) != _without_equality(edit.after):
        return True
    return _settles_threshold(optimizer, edit, compared)


@dataclass(frozen=True)
class _Point:
    """Hyperparameters, parameters and gradients."""

    values: Mapping[str, Any]
    thetas: list[np.ndarray]
    steps: list[list[np.ndarray]]

    @classmethod
    def drawn(cls, optimizer: Optimizer, draw: random.Random) -> _Point:
        known = optimizer.hyperparameters().items()
        return cls(
            {name: _hyperparameter(draw, name, value) for name, value in known},
            [_array(draw, shape, 16) for shape in _SHAPES],
            [[_array(draw, shape, 8) for shape in _SHAPES] for _ in range(STEPS)],
        )

    @property
    def is_inside(self) -> bool:
        """Whether the rise of one cycle is longer than a step."""
        values = self.values
        return "pct_start" not in values or values["pct_start"] * values["total_steps"] > 1


def _agrees(optimizer: Optimizer, edit: Edit, point: _Point) -> bool | None:
    """Whether both lead to the same parameters at a point; None where there is no reference."""
    import flint

    from refopt.arithmetic.balls import Balls, Undecided

    if not point.is_inside:
        return None
    base = _with(optimizer, point.values)
    thetas, steps = point.thetas, point.steps
    with flint.ctx.workprec(_BITS):
        exact = base.lifted(lambda _, value: Balls.exact(value))
        try:
            expected = list(_trajectory(exact, thetas, steps))
        except (Undecided, ZeroDivisionError):
            return None
        try:
            got = list(_trajectory(edit.apply(exact), thetas, steps))
        except (ArithmeticError, ValueError, TypeError, AttributeError, IndexError):
            return False
        if any(not _is_defined(x) for x in expected):
            return None
        return all(map(_are_same, got, expected))


def _trajectory(
    optimizer: Optimizer, thetas: Sequence[np.ndarray], steps: Sequence[Sequence[np.ndarray]]
) -> Iterator[Any]:
    """Every number of every parameter after every step."""
    from refopt.arithmetic.balls import Balls

    params = [Balls.exact(theta) for theta in thetas]
    state = {name: own | {"t": Balls.exact(0)} for name, own in optimizer.init(params).items()}
    for gradients in steps:
        grads = [Balls.exact(g) for g in gradients]
        params, state = optimizer.step(params, grads, state, lr=optimizer.lr)
        for theta in params:
            yield from theta.numbers.flat


def _is_defined(x: Any) -> bool:
    return not hasattr(x, "is_finite") or bool(x.is_finite())


def _are_same(got: Any, expected: Any) -> bool:
    difference = got - expected
    if not hasattr(difference, "rad"):
        return bool(difference == 0)
    return bool(abs(difference) < NARROW)


def _with(optimizer: Optimizer, values: Mapping[str, Any]) -> Optimizer:
    """An optimizer with other hyperparameters, also where they are symbols."""
    layers = tuple(
        replace(layer, hyperparameters={n: values[n] for n in layer.hyperparameters})
        for layer in optimizer.layers
    )
    return replace(optimizer, layers=layers, lr=values["lr"])


def _hyperparameter(draw: random.Random, name: str, value: Any) -> Any:
    domain = DOMAINS[name]
    if isinstance(domain, Knots):
        knots = draw.sample(range(1, 2 * STEPS), 3)
        return {step: draw.randint(0, 16) / 8 for step in sorted(knots)}
    if not isinstance(domain, Interval):
        return value
    if domain.integer:
        return int(domain.low) + draw.randrange(4)
    high = min(domain.high, 4.0)
    ends = [x for x in (domain.low, high) if x in domain]
    parts = draw.choice((8, 64))
    inner = domain.low + (high - domain.low) * draw.randint(1, parts - 1) / parts
    return float(draw.choice([inner] * 6 + ends))


def _array(draw: random.Random, shape: tuple[int, ...], parts: int) -> np.ndarray:
    x = np.empty(shape)
    is_zero = draw.random() < 0.25
    size = draw.choice((1, 1, 64))
    for index in np.ndindex(shape):
        zero = is_zero or draw.random() < 0.25
        x[index] = 0.0 if zero else size * draw.randint(-2 * parts, 2 * parts) / parts
    return x


# Thresholds


def _settles_threshold(optimizer: Optimizer, edit: Edit, compared: Sequence[_Point]) -> bool:
    """Whether points that were compared meet the threshold that an edit moves, or none can."""
    steps = [_moved(optimizer, edit, t) for t in range(1, THRESHOLDS + 1)]
    moved = [difference for found in steps for difference in found]
    if all(s.is_integer for difference in moved for s in difference.free_symbols):
        return True
    met = any(_is_met(x, point) for found in steps[:STEPS] for x in found for point in compared)
    return met or not any(map(_has_binary_root, moved))


def _is_met(difference: Any, point: _Point) -> bool:
    """Whether a difference is exactly zero at a point."""
    import sympy as sp

    if any(s.name not in point.values for s in difference.free_symbols):
        return False  # what a state is at the point is not known here
    values = {s: sp.Rational(point.values[s.name]) for s in difference.free_symbols}
    return bool(difference.subs(values) == 0)


def _without_equality(line: str) -> str:
    return line.replace(">=", ">").replace("<=", "<")


def _moved(optimizer: Optimizer, edit: Edit, t: int) -> set[Any]:
    """The differences of both sides of the thresholds that one of the two has and not the other."""
    import sympy as sp

    from refopt.oracle.proof import symbol

    values = {
        n: v if isinstance(v, bool) else symbol(n) for n, v in optimizer.hyperparameters().items()
    }
    base = _with(optimizer, values)
    found = []
    for changed in (base, edit.apply(base)):
        theta, g = sp.symbols("theta g", real=True)
        state = {
            name: {k: sp.Symbol(k, real=True) for k in own} | {"t": t - 1}
            for name, own in changed.init(theta).items()
        }
        params, _ = changed.step(theta, g, state, lr=base.lr)
        found.append(params.atoms(sp.core.relational.Relational))
    return {sp.together(r.lhs - r.rhs) for r in found[0] ^ found[1]}


def _has_binary_root(difference: Any) -> bool:
    """Whether a function of one hyperparameter is zero at a binary fraction of its domain."""
    import sympy as sp

    if not difference.free_symbols:
        return bool(difference == 0)
    if len(difference.free_symbols) != 1:
        return True  # nothing is known
    (free,) = difference.free_symbols
    if free.name not in DOMAINS:
        return True  # a state
    numerator, _ = sp.fraction(difference)
    if not numerator.is_polynomial(free):
        return True
    roots = sp.Poly(numerator, free).ground_roots()
    fractions = [Fraction(int(root.p), int(root.q)) for root in roots]
    return any(
        float(root) in DOMAINS[free.name] and root.denominator & (root.denominator - 1) == 0
        for root in fractions
    )
