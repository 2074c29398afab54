"""The properties by name: when each applies, and the cases that can refute it.

What they say stands in ``spec/properties.toml``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
from hypothesis import strategies as st

from refopt import specification
from refopt.optimizer import Optimizer
from refopt.oracle.probes import Layout, Probe
from refopt.oracle.properties.bench import Bench, Run
from refopt.oracle.properties.cases import ROUND, Draw, drawn, mapped, numbers, spread
from refopt.oracle.properties.relation import (
    Demand,
    Image,
    Known,
    Limited,
    Monotone,
    Pair,
    Untouched,
    Value,
)
from refopt.oracle.properties.stated import bound_of_step, stated, whole
from refopt.specification import Property
from refopt.strategies import SHAPES


@dataclass(frozen=True)
class Law:
    """A property, and how it can be refuted.

    Attributes:
        name: as specifications state it.
        draw: draws a case, and what is demanded there.
        given: the hyperparameters that it sets.
        unmet: why it cannot be examined on a target, if it cannot.
    """

    name: str
    draw: Callable[[Draw, Bench], Demand]
    given: Mapping[str, Any] = field(default_factory=dict)
    unmet: Callable[[Bench], str | None] = lambda bench: None

    @property
    def stated(self) -> Property:
        """What it says, in the words of the specification."""
        return specification.properties()[self.name]

    def why_not(self, bench: Bench) -> str | None:
        """Why it cannot be examined on a target, if it cannot."""
        return bench.why_not(self.given) or self.unmet(bench)


LAWS: Final[dict[str, Law]] = {}
"""All properties by name."""


def _law(
    *,
    given: Mapping[str, Any] | None = None,
    unmet: Callable[[Bench], str | None] = lambda bench: None,
) -> Callable[[Callable[[Draw, Bench], Demand]], Callable[[Draw, Bench], Demand]]:
    """Declares a function to draw the cases of the property of its name."""

    def declare(draw: Callable[[Draw, Bench], Demand]) -> Callable[[Draw, Bench], Demand]:
        name = draw.__name__
        LAWS[name] = Law(name, draw, given or {}, unmet)
        return draw

    return declare


def _everywhere(case: Probe, **image: Any) -> list[Image]:
    """The same image of every parameter after every step."""
    return [
        Image((step, i), (step, i), **image)
        for step in range(1, len(case.gradients) + 1)
        for i in range(len(case.params))
    ]


def _cannot_resume(bench: Bench) -> str | None:
    return None if bench.can_resume else "the target lacks state_dict or load_state_dict"


def _takes_no_missing(bench: Bench) -> str | None:
    return None if bench.takes_missing else "the target takes no missing gradients"


# Of every implementation


@_law()
def deterministic(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "deterministic", missing=True)
    return Pair(case, case, _everywhere(case), is_exact=True)


@_law(unmet=_cannot_resume)
def resumable(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "resumable", steps=6, missing=True, resumes=True)
    return Pair(case, replace(case, resumes_after=None), _everywhere(case), is_exact=True)


_OTHER_LAYOUTS: Final[tuple[Layout, ...]] = ("columns", "gaps", "backwards", "offset")


@_law()
def layout_invariant(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "layout_invariant")
    layout = draw(st.sampled_from(_OTHER_LAYOUTS))
    return Pair(case, replace(case, layout=layout), _everywhere(case))


@_law()
def parameter_order_invariant(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "parameter_order_invariant", params=7, missing=True)
    order = draw(st.permutations(range(len(case.params))))
    other = replace(
        case,
        params=tuple(case.params[i] for i in order),
        gradients=tuple(tuple(gs[i] for i in order) for gs in case.gradients),
    )
    images = [
        Image((step, i), (step, j))
        for step in range(1, len(case.gradients) + 1)
        for j, i in enumerate(order)
    ]
    return Pair(case, other, images)


@_law()
def gradients_untouched(draw: Draw, bench: Bench) -> Demand:
    return Untouched(drawn(draw, bench, "gradients_untouched", missing=True))


# Of rules that treat elements, or rows, alike, and of variants that let them


def _moved(case: Probe, move: Callable[[np.ndarray], np.ndarray]) -> Demand:
    """Moving the elements of parameters and gradients moves those of the results."""
    params, gradients = mapped(case, lambda _, p: move(p), lambda _, g: move(g))
    other = replace(case, params=params, gradients=gradients)
    return Pair(case, other, _everywhere(case, move=move))


@_law()
def permutation_equivariant(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "permutation_equivariant")
    shift = draw(st.integers(0, 9))
    # np.flip and np.roll without an axis go through all elements.
    return _moved(case, lambda x: np.roll(x, shift) if shift else np.flip(x))


@_law()
def row_permutation_equivariant(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "row_permutation_equivariant")
    shift = draw(st.integers(0, 9))
    return _moved(
        case,
        lambda x: x if not x.ndim else np.roll(x, shift, axis=0) if shift else np.flip(x, axis=0),
    )


@_law()
def reshape_equivariant(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "reshape_equivariant")
    kind = draw(st.sampled_from(("flat", "column", "wrapped")))

    def move(x: np.ndarray) -> np.ndarray:
        flat = np.reshape(x, -1)
        if kind == "flat":
            return flat
        return flat[:, None] if kind == "column" else x[None, ..., None]

    return _moved(case, move)


@_law()
def split_invariant(draw: Draw, bench: Bench) -> Demand:
    shapes = [shape for shape in SHAPES if shape]
    case = drawn(draw, bench, "split_invariant", params=2, shapes=shapes)
    share = draw(st.integers(0, 8))
    cuts = [p.shape[0] * share // 8 for p in case.params]

    def halves(arrays: Any) -> tuple[Any, ...]:
        return tuple(
            part
            for x, at in zip(arrays, cuts, strict=True)
            for part in ((None, None) if x is None else (x[:at], x[at:]))
        )

    other = replace(
        case,
        params=halves(case.params),
        gradients=tuple(halves(gs) for gs in case.gradients),
    )
    images = [
        Image((step, i), (step, 2 * i + part), move=_half(at, part))
        for step in range(1, len(case.gradients) + 1)
        for i, at in enumerate(cuts)
        for part in (0, 1)
    ]
    return Pair(case, other, images)


def _half(at: int, part: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: x[at:] if part else x[:at]


@_law()
def independent_parameters(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "independent_parameters", params=7, missing=True)
    i = draw(st.integers(0, len(case.params) - 1))
    other = replace(
        case, params=(case.params[i],), gradients=tuple((gs[i],) for gs in case.gradients)
    )
    images = [Image((step, i), (step, 0)) for step in range(1, len(case.gradients) + 1)]
    return Pair(case, other, images)


@_law(unmet=_takes_no_missing)
def missing_gradient_skipped(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "missing_gradient_skipped", steps=6, missing=True)
    i = draw(st.integers(0, len(case.params) - 1))
    here = [step for step, gs in enumerate(case.gradients, 1) if gs[i] is not None]
    other = replace(
        case,
        params=(case.params[i],),
        gradients=tuple((case.gradients[step - 1][i],) for step in here),
        rates=tuple(case.rates[step - 1] for step in here),
    )
    images = [
        Image((step, i), (sum(s <= step for s in here), 0))
        for step in range(1, len(case.gradients) + 1)
    ]
    return Pair(case, other, images)


# Symmetries


@_law()
def sign_symmetric(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "sign_symmetric", missing=True)
    params, gradients = mapped(case, lambda _, p: 0 - p, lambda _, g: 0 - g)
    other = replace(case, params=params, gradients=gradients)
    return Pair(case, other, _everywhere(case, factor=-1.0))


NO_DECAY: Final = {"weight_decay": 0.0}


@_law(given=NO_DECAY)
def translation_invariant(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "translation_invariant", given=NO_DECAY, start=ROUND)
    offset = draw(st.sampled_from((1.0, -2.0, 0.5, 8.0, -64.0)))
    params, gradients = mapped(case, lambda _, p: p + p.dtype.type(offset))
    other = replace(case, params=params, gradients=gradients)
    return Pair(case, other, _everywhere(case, offset=offset))


_FACTORS: Final = tuple(2.0**n for n in (1, -1, 2, -2, 6, -6))


def _scaled(case: Probe, factor: float, powers: Mapping[str, int]) -> Probe:
    """A case with gradients times a factor, and hyperparameters times powers of it."""
    params, gradients = mapped(case, gradients=lambda _, g: g * g.dtype.type(factor))
    values = dict(case.hyperparameters)
    for name, power in powers.items():
        if name in values:
            values[name] = values[name] * factor**power
    return replace(case, params=params, gradients=gradients, hyperparameters=values)


def _unscalable(bench: Bench) -> str | None:
    return next(filter(None, (bench.why_not({name: 0.0}) for name in _SCALED)), None)


_SCALED: Final = ("eps", "initial_accumulator")


@_law(unmet=_unscalable)
def gradient_scale_invariant(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "gradient_scale_invariant")
    factor = draw(st.sampled_from(_FACTORS))
    other = _scaled(case, factor, {"eps": 1, "initial_accumulator": 2})
    return Pair(case, other, _everywhere(case))


@_law(unmet=_unscalable)
def gradient_scale_invariant_inside(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "gradient_scale_invariant_inside")
    factor = draw(st.sampled_from(_FACTORS))
    other = _scaled(case, factor, {"eps": 2, "initial_accumulator": 2})
    return Pair(case, other, _everywhere(case))


@_law(given=NO_DECAY)
def gradient_homogeneous(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "gradient_homogeneous", given=NO_DECAY)
    factor = draw(st.sampled_from((*_FACTORS, -1.0, 3.0)))
    other = _scaled(case, factor, {})
    images = [
        replace(
            image,
            factor=factor,
            offset=(1 - factor) * case.params[image.first[1]].astype(np.float64),
        )
        for image in _everywhere(case)
    ]
    return Pair(case, other, images)


@_law(given=NO_DECAY)
def zero_gradient_fixed_point(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "zero_gradient_fixed_point", given=NO_DECAY)
    params, gradients = mapped(case, gradients=lambda _, g: np.zeros_like(g))
    case = replace(case, params=params, gradients=gradients)

    def known(_: Run) -> Iterator[Value]:
        for image in _everywhere(case):
            theta = case.params[image.first[1]].astype(np.float64)
            yield image.first, theta, np.zeros(theta.shape)

    return Known(case, known, is_exact=True)


# Of whole optimizers


@_law()
def zero_gradient_decays(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "zero_gradient_decays", steps=8)
    params, gradients = mapped(case, gradients=lambda _, g: np.zeros_like(g))
    case = replace(case, params=params, gradients=gradients)

    def known(run: Run) -> Iterator[Value]:
        given = case.hyperparameters
        decay = Fraction(bench.value("weight_decay", given))
        lr, factor = bench.lr(given), Fraction(1)
        for step, rate in enumerate(run.trace.rates, 1):
            factor *= 1 - Fraction(lr * rate) * decay
            for i, theta in enumerate(case.params):
                value = theta.astype(np.float64) * float(factor)
                yield (step, i), value, 2.0**-51 * abs(value)

    return Known(case, known)


def _unbounded(bench: Bench) -> str | None:
    examination = bench.examination
    name = whole(examination.spec, examination.dialect)
    bound = specification.load(name).step_bound if name else None
    return bench.why_not(bound.given) if bound else "no bound is stated of it"


@_law(unmet=_unbounded)
def step_bounded(draw: Draw, bench: Bench) -> Demand:
    scales = (0, 1, 2, -1, -2, 6, -6)
    case = drawn(draw, bench, "step_bounded", steps=6, scales=scales, rates=True)
    ratio = draw(st.sampled_from((1.0, 2.0, 4.0, 0.5)))
    gs = numbers(draw, ROUND, zeros=False)
    if ratio != 1:  # gradients that grow are those which make the longest steps
        gradients = tuple(
            tuple(
                spread([g * ratio**step for g in gs], i, p.shape, bench.dtype)
                for i, p in enumerate(case.params)
            )
            for step in range(len(case.gradients))
        )
        case = replace(case, gradients=gradients)

    def limits(run: Run) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        values = {**bench.optimizer.hyperparameters(), **case.hyperparameters}
        lr = bench.lr(case.hyperparameters)
        for step, rate in enumerate(run.trace.rates, 1):
            for i in range(len(case.params)):
                theta = run.got(step - 1, i).astype(np.float64)
                bound = bound_of_step(bench.examination.spec)
                yield (step, i), bound({**values, "lr": lr * rate, "t": step, "theta": theta})

    return Limited(case, limits)


@_law()
def diminishing_steps(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "diminishing_steps", rates=False, zeros=False)
    count = draw(st.integers(2, 5))
    case = replace(case, gradients=(case.gradients[0],) * count, rates=(1.0,) * count)

    def limits(run: Run) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
        for step in range(2, count + 1):
            for i in range(len(case.params)):
                old, new = (run.got(s, i).astype(np.float64) for s in (step - 2, step - 1))
                errors = [run.reference(s, i).error for s in (step - 2, step - 1)]
                yield (step, i), abs(new - old) + 2 * (errors[0] + errors[1])

    return Limited(case, limits)


def _hides_its_state(bench: Bench) -> str | None:
    return None if bench.shows_state else "the target has no state()"


@_law(unmet=_hides_its_state)
def monotone_accumulator(draw: Draw, bench: Bench) -> Demand:
    return Monotone(drawn(draw, bench, "monotone_accumulator", steps=6, missing=True))


# Identities of variants


def _of_inner(case: Probe, bench: Bench, layers: tuple[str, ...]) -> Demand:
    """A target does what the reference without some layers does."""
    inner = bench.without(layers)

    def known(run: Run) -> Iterator[Value]:
        for step, params in enumerate(run.expected_of(inner), 1):
            for i, expected in enumerate(params):
                yield (step, i), np.asarray(expected.value), np.asarray(expected.error)

    return Known(case, known)


@_law(given={"k": 1})
def identity_at_k_1(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "identity_at_k_1", given={"k": 1})
    names = ("gradient_accumulation", "apply_every", "update_every", "beta_tilde")
    return _of_inner(case, bench, names)


@_law(given={"alpha": 1.0})
def identity_at_alpha_1(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "identity_at_alpha_1", given={"alpha": 1.0}, steps=7, params=2)
    names = tuple(layer.name for layer in bench.optimizer.layers if "lookahead" in layer.name)
    return _of_inner(case, bench, names)


@_law(given={"scale": 1.0})
def identity_at_scale_1(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "identity_at_scale_1", given={"scale": 1.0})
    return _of_inner(case, bench, ("rescale",))


@_law()
def identity_without_missing_gradients(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "identity_without_missing_gradients", steps=6)
    return _of_inner(case, bench, ("count_missing",))


@_law()
def identity_on_dense_gradients(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "identity_on_dense_gradients", zeros=False)
    return _of_inner(case, bench, ("lazy", "lazy_parameter"))


_CLIPS: Final = (
    "clip_by_value",
    "clip_by_norm",
    "clip_by_global_norm",
    "clip_by_global_norm_offset",
)
_LOOSE: Final = {"max_norm": 2.0**20, "max_value": 2.0**20}
_TIGHT: Final = {"max_norm": 2.0**-10, "max_value": 2.0**-10}


@_law(given=_LOOSE)
def identity_below_bound(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "identity_below_bound", given=_LOOSE)
    return _of_inner(case, bench, _CLIPS)


@_law(given=_TIGHT)
def saturates_above_bound(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "saturates_above_bound", given=_TIGHT, zeros=False)
    other = _scaled(case, draw(st.sampled_from((2.0, 64.0))), {})
    return Pair(case, other, _everywhere(case))


@_law()
def equals_mean_gradient(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "equals_mean_gradient", scales=ROUND, rates=False, steps=3)
    k = int(bench.value("k", case.hyperparameters))
    unit = 2.0**-4
    gradients: list[Any] = []
    means: list[Any] = []
    for gs in case.gradients:  # each of a window's means, in whole units
        wholes = [
            draw(st.lists(st.integers(-63, 63), min_size=1, max_size=3)) for _ in range(k - 1)
        ]
        others = [
            [spread([n * unit for n in w], i, g.shape, bench.dtype) for i, g in _present(gs)]
            for w in wholes
        ]
        # The last one makes the mean that which was drawn; all are exact.
        last = [k * g - sum(o[i] for o in others) for i, g in _present(gs)]
        gradients += [tuple(o) for o in others]
        gradients += [tuple(np.asarray(g, bench.dtype) for g in last)]
        means += [gs] * k
    first = replace(case, gradients=tuple(gradients), rates=(1.0,) * len(gradients))
    second = replace(first, gradients=tuple(means))
    images = [
        Image((step, i), (step, i))
        for step in range(k, len(gradients) + 1, k)
        for i in range(len(case.params))
    ]
    return Pair(first, second, images)


def _present(gs: Any) -> Iterator[tuple[int, np.ndarray]]:
    return ((i, g) for i, g in enumerate(gs))


@_law(unmet=_takes_no_missing)
def missing_gradient_is_zero(draw: Draw, bench: Bench) -> Demand:
    case = drawn(draw, bench, "missing_gradient_is_zero", steps=7, missing=True)
    filled = tuple(
        tuple(np.zeros_like(p) if g is None else g for p, g in zip(case.params, gs, strict=True))
        for gs in case.gradients
    )
    return Pair(case, replace(case, gradients=filled), _everywhere(case))


@_law()
def row_shift_invariant(draw: Draw, bench: Bench) -> Demand:
    shapes = ((1, 1), (2, 2), (3, 2), (4, 8), (2, 2, 4), (1, 5), (9, 15))
    case = drawn(draw, bench, "row_shift_invariant", shapes=shapes, scales=ROUND)
    shifts = numbers(draw, ROUND)

    def shifted(i: int, g: np.ndarray) -> np.ndarray:
        rows = spread(shifts, i, g.shape[:1], bench.dtype)
        return np.asarray(g + rows.reshape(-1, *(1,) * (g.ndim - 1)))

    params, gradients = mapped(case, gradients=shifted)
    other = replace(case, params=params, gradients=gradients)
    return Pair(case, other, _everywhere(case))


def laws_of(optimizer: Optimizer, expression: str, dialect: str | None) -> list[Law]:
    """The properties that targets of an expression should have."""
    having = stated(optimizer, expression, dialect)
    laws = [(law, law.stated.of) for law in LAWS.values()]
    return [law for law, of in laws if of == "every target" or law.name in having[of]]
