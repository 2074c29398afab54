"""Identities between expressions: decided by SymPy, and evaluated exactly beside it.

Two expressions are equal here if SymPy simplifies their difference to zero *and* the difference is
zero, in exact arithmetic, at random rational points that meet the assumptions of the symbols. The
second guards against a slip in the first; alone it proves nothing, and is called what it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import sympy as sp

POINTS: Final = 3
"""How many points an identity is evaluated at."""


def equal(left: Any, right: Any) -> bool:
    """Whether SymPy finds two expressions equal, and they are so at random rational points.

    Finite sums may run to a symbol: ``Sum(g[i], (i, 1, t))``.

    >>> x = sp.Symbol("x", positive=True)
    >>> equal(sp.sqrt(x**2), x), equal(x**2, x)
    (True, False)
    """
    difference = _gathered(_difference(left, right))
    return _is_zero(difference) and equal_at_points(left, right)


def equal_at_points(left: Any, right: Any, points: int = POINTS) -> bool:
    """Whether two expressions are equal at random rational points: evidence, not a proof.

    The points are the same in every run.
    """
    difference = _difference(left, right)
    return all(_vanishes(_at(difference, seed)) for seed in range(points))


def differ(left: Any, right: Any, points: int = 1) -> bool:
    """Whether two expressions certainly differ: at one of some random rational points they do."""
    difference = _difference(left, right)
    return any(_is_apart(_at(difference, seed)) for seed in range(points))


def holds_by_induction(
    closed: Callable[[Any], Any], first: Any, step: Callable[[Any, Any], Any], n: sp.Symbol
) -> bool:
    """Whether a closed form is what a recursion computes, for every n.

    Args:
        closed: the closed form at a step.
        first: the value that the recursion starts from, at step 0.
        step: the value at step t from t and the value before it.
        n: a symbol for any step, a nonnegative integer.
    """
    return equal(closed(sp.Integer(0)), first) and equal(step(n + 1, closed(n)), closed(n + 1))


def at(expression: Any, values: Mapping[Any, Any]) -> Any:
    """The exact value of an expression at a point, its sums added up."""
    return sp.sympify(expression).subs(values).doit()


def _difference(left: Any, right: Any) -> Any:
    """The difference; a literal of the source, such as 0.96, is the number that it shows."""
    difference = sp.sympify(left) - sp.sympify(right)
    return sp.nsimplify(difference, rational=True) if difference.has(sp.Float) else difference


def _is_zero(difference: Any) -> bool:
    if difference == 0:
        return True
    if difference.has(sp.Max, sp.Min):
        difference = difference.rewrite(sp.Piecewise)
    return bool(sp.simplify(sp.piecewise_fold(difference)) == 0)


def _vanishes(value: Any) -> bool:
    return value == 0 or (not _is_apart(value) and bool(value.equals(0)))


def _is_apart(value: Any) -> bool:
    """Whether an exact number is not zero, by its first digits; False leaves it open."""
    if value.is_Rational:
        return bool(value != 0)
    digits = sp.N(value, 30)
    return bool(digits.is_number and abs(digits) > 1e-20)


def _at(expression: Any, seed: int) -> Any:
    """The expression at a random rational point: whole numbers first, that sums may be added up."""
    draw = random.Random(seed)
    ordered = sorted(expression.free_symbols, key=str)
    whole = [s for s in ordered if isinstance(s, sp.Symbol) and s.is_integer]
    value = at(expression, {s: draw.randint(1, 6) for s in whole})
    # Elements of a sequence, g[1], g[2], ..., are independent numbers.
    atoms = sorted(value.atoms(sp.Indexed), key=str)
    value = value.subs({a: _rational(draw, a) for a in atoms}, simultaneous=True)
    others = sorted((s for s in value.free_symbols if isinstance(s, sp.Symbol)), key=str)
    return at(value, {s: _rational(draw, s) for s in others})


def _rational(draw: random.Random, symbol: Any) -> Any:
    """A number strictly between 0 and 1, or -1 and 1 where the symbol may be negative."""
    value = sp.Rational(draw.randint(1, 96), 97)
    return value if symbol.is_nonnegative or draw.random() < 0.5 else -value


def _gathered(expression: Any) -> Any:
    """Every sum split into its terms, what does not depend on the index in front of it.

    The last term of a sum to n + 1 stands for itself, so that sums of neighbouring steps cancel.
    """
    return sp.expand(expression).replace(lambda e: isinstance(e, sp.Sum), _split)


def _split(total: Any) -> Any:
    if len(total.limits) != 1:
        return total
    i, first, last = total.limits[0]
    if (last - first).is_Integer:
        return total.doit()
    index = sp.Dummy("i", integer=True) if i.name != "i" else i
    rest: Any = sp.Integer(0)
    body = total.function
    offset, whole = last.as_coeff_Add()
    if whole != 0 and offset.is_positive:
        rest = sum(body.subs(i, whole + j) for j in range(1, int(offset) + 1))
        last = whole
    elif whole != 0 and offset.is_negative:
        rest = -sum(body.subs(i, whole - j) for j in range(int(-offset)))
        last = whole
    for term in sp.Add.make_args(sp.expand(body)):
        front, inside = term.as_independent(i, as_Add=False)
        count = last - first + 1
        rest += front * (count if inside == 1 else sp.Sum(inside, (i, first, last)))
    return sp.expand(rest.subs(i, index) if index is not i else rest)
