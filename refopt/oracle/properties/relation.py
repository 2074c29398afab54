"""What a property demands of a target in a case, and how far a target may be from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from refopt.oracle.probes import Probe
from refopt.oracle.properties import script
from refopt.oracle.properties.bench import Bench, Run
from refopt.oracle.run import InputChangedError

_ROUNDOFF: Final = 2.0**-52
"""Of what is computed here in float64: a product and a sum."""


@dataclass(frozen=True)
class Failure:
    """Where a target breaks a property.

    Attributes:
        text: which element, what it is, what it should be, and how far it may be from that.
        script: the case, to be run.
    """

    text: str
    script: str


class Broken(Exception):  # noqa: N818  it is what is sought
    """A target broke a property."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Demand(ABC):
    """A property in one case."""

    @abstractmethod
    def failure(self, bench: Bench, statement: str) -> Failure | None:
        """Where the target breaks it.

        Raises:
            TargetError: the target could not be run.
        """


@dataclass(frozen=True)
class Image:
    """An element of one run that is, but for rounding, ``factor * move(x) + offset`` of the other.

    Attributes:
        first: step and parameter in the one run.
        second: step and parameter in the other.
        move: takes the elements to their places in the other run.
        factor: what they are multiplied by.
        offset: what is added.
    """

    first: tuple[int, int]
    second: tuple[int, int]
    move: Callable[[np.ndarray], np.ndarray] = lambda x: x
    factor: float = 1.0
    offset: np.ndarray | float = 0.0

    def of(self, x: np.ndarray) -> np.ndarray:
        """The image of numbers."""
        moved = np.asarray(self.move(np.asarray(x, np.float64)))
        return moved if self._only_moves else np.asarray(self.factor * moved + self.offset)

    def error(self, error: np.ndarray, x: np.ndarray) -> np.ndarray:
        """How far the image may be off where x is off by an error."""
        moved = abs(self.factor) * np.asarray(self.move(np.asarray(error, np.float64)))
        if self._only_moves:
            return moved
        size = abs(self.factor * np.asarray(self.move(np.asarray(x, np.float64))))
        return np.asarray(moved + _ROUNDOFF * (size + np.abs(self.offset)))

    @property
    def _only_moves(self) -> bool:
        return self.factor == 1 and not np.any(self.offset)


@dataclass(frozen=True)
class Pair(Demand):
    """Two runs of the target, of which each says what the other must be.

    Where the numbers differ at all, they may by the sum of the bounds of both runs, and by what
    the reference's own values, in float64, differ.

    Attributes:
        first: the one case.
        second: the other.
        images: what is compared.
        is_exact: whether it must hold bit for bit.
    """

    first: Probe
    second: Probe
    images: Sequence[Image]
    is_exact: bool = False

    def failure(self, bench: Bench, statement: str) -> Failure | None:
        one, other = bench.run(self.first), bench.run(self.second)
        for image in self.images:
            x, y = one.got(*image.first), other.got(*image.second)
            if self.is_exact:
                is_same = np.array_equal(x, y, equal_nan=True)
                gap, allowed = np.where(_same(x, y), 0.0, math.inf), np.zeros(x.shape)
                if is_same:
                    continue
            else:
                with np.errstate(all="ignore"):
                    found = image.of(x)
                    if _same(found, y).all():
                        continue
                    gap, allowed = _difference(found, y), self._allowed(image, one, other)
            wrong = np.argwhere(gap > allowed)
            if len(wrong):
                return self._broken(bench, statement, image, one, other, wrong[0], allowed)
        return None

    def _allowed(self, image: Image, one: Run, other: Run) -> np.ndarray:
        a, b = one.reference(*image.first), other.reference(*image.second)
        own = np.asarray(image.error(a.error, a.value) + b.error)
        apart = _difference(image.of(a.value), np.asarray(b.value))
        if np.any(apart > own):
            raise AssertionError(f"{self.first.id} is stated of a reference that does not have it")
        return np.asarray(own + apart)

    def _broken(
        self,
        bench: Bench,
        statement: str,
        image: Image,
        one: Run,
        other: Run,
        index: np.ndarray,
        allowed: np.ndarray,
    ) -> Failure:
        place = tuple(map(int, index))
        (step, i), (other_step, j) = image.first, image.second
        x, y = one.got(step, i), other.got(other_step, j)
        numbers = np.arange(x.size).reshape(x.shape)
        source = int(np.asarray(image.move(numbers))[place])
        target = int(np.ravel_multi_index(place, y.shape)) if place else 0
        found = image.of(x)[place]
        limit = float(allowed[place])
        text = (
            f"step {other_step}, parameter {j}{script.element(place)}: {float(y[place])!r} where "
            f"the other run says {float(found)!r}, "
            + ("bit for bit" if self.is_exact else f"within {limit:.3g}")
        )
        expected = f"one[{i}].flat[{source}]"
        if image.factor != 1:
            expected = f"{image.factor!r} * {expected}"
        offset = np.broadcast_to(image.offset, y.shape)[place]
        if offset:
            expected = f"{float(offset)!r} + {expected}"
        exact = self.is_exact or not limit
        return Failure(
            text,
            script.of_runs(
                bench,
                statement,
                {"one": cut(self.first, step), "other": cut(self.second, other_step)},
                [
                    f"expected, got = {expected}, other[{j}].flat[{target}]",
                    "assert got == expected, (got, expected)"
                    if exact
                    else f"assert abs(got - expected) <= {limit!r}, (got, expected)",
                ],
            ),
        )


Value = tuple[tuple[int, int], np.ndarray, np.ndarray]
"""Step and parameter, what it must be, and how far the reference may be from that."""


@dataclass(frozen=True)
class Known(Demand):
    """A run whose results are known otherwise than from the reference.

    Attributes:
        case: the case.
        known: the results.
        is_exact: whether they must be met bit for bit.
    """

    case: Probe
    known: Callable[[Run], Iterator[Value]]
    is_exact: bool = False

    def failure(self, bench: Bench, statement: str) -> Failure | None:
        run = bench.run(self.case)
        with np.errstate(all="ignore"):
            for (step, i), value, error in self.known(run):
                got = run.got(step, i)
                if _same(got, value).all():
                    continue
                allowed = np.zeros(got.shape)
                if not self.is_exact:
                    reference = run.reference(step, i)
                    apart = _difference(np.asarray(reference.value), value)
                    if np.any(apart > reference.error + error):
                        name = self.case.id
                        raise AssertionError(f"{name} is stated of a reference that has it not")
                    allowed = np.asarray(reference.error) + apart
                wrong = np.argwhere(_difference(got, value) > allowed)
                if len(wrong):
                    return self._broken(bench, statement, step, i, wrong[0], got, value, allowed)
        return None

    def _broken(
        self,
        bench: Bench,
        statement: str,
        step: int,
        i: int,
        index: np.ndarray,
        got: np.ndarray,
        value: np.ndarray,
        allowed: np.ndarray,
    ) -> Failure:
        place = tuple(map(int, index))
        expected, limit = float(value[place]), float(allowed[place])
        flat = int(np.ravel_multi_index(place, got.shape)) if place else 0
        text = (
            f"step {step}, parameter {i}{script.element(place)}: {float(got[place])!r}, must be "
            f"{expected!r}" + (f" within {limit:.3g}" if limit else "")
        )
        check = f"abs(got - {expected!r}) <= {limit!r}" if limit else f"got == {expected!r}"
        return Failure(
            text,
            script.of_runs(
                bench,
                statement,
                {"one": cut(self.case, step)},
                [f"got = one[{i}].flat[{flat}]", f"assert {check}, got"],
            ),
        )


@dataclass(frozen=True)
class Limited(Demand):
    """A run whose steps must not be longer than something.

    Attributes:
        case: the case.
        limits: how long a step may be in exact arithmetic, by step and parameter.
    """

    case: Probe
    limits: Callable[[Run], Iterator[tuple[tuple[int, int], np.ndarray]]]

    def failure(self, bench: Bench, statement: str) -> Failure | None:
        run = bench.run(self.case)
        with np.errstate(all="ignore"):
            for (step, i), limit in self.limits(run):
                before, after = run.got(step - 1, i), run.got(step, i)
                moved = abs(after.astype(np.float64) - before.astype(np.float64))
                if np.all(moved <= limit):
                    continue
                # The target and exact arithmetic are both within the bound of the reference.
                old, new = run.reference(step - 1, i), run.reference(step, i)
                allowed = limit * (1 + 2.0**-40) + 2 * (old.error + new.error)
                finite = np.isfinite(old.value) & np.isfinite(new.value) & ~np.isnan(allowed)
                wrong = np.argwhere(~(moved <= allowed) & finite)
                if len(wrong):
                    return self._broken(bench, statement, step, i, wrong[0], moved, limit, allowed)
        return None

    def _broken(
        self,
        bench: Bench,
        statement: str,
        step: int,
        i: int,
        index: np.ndarray,
        moved: np.ndarray,
        limit: np.ndarray,
        allowed: np.ndarray,
    ) -> Failure:
        place = tuple(map(int, index))
        flat = int(np.ravel_multi_index(place, moved.shape)) if place else 0
        most = float(allowed[place])
        text = (
            f"step {step} moves parameter {i}{script.element(place)} by {moved[place]:.9g}, more "
            f"than {float(np.broadcast_to(limit, moved.shape)[place]):.9g}"
        )
        runs = {"after": cut(self.case, step)}
        before = literal_of(self.case, i, flat)
        if step > 1:
            runs = {"before": cut(self.case, step - 1), **runs}
            before = f"float(before[{i}].flat[{flat}])"
        return Failure(
            text,
            script.of_runs(
                bench,
                statement,
                runs,
                [
                    f"moved = abs(float(after[{i}].flat[{flat}]) - {before})",
                    f"assert moved <= {most!r}, moved",
                ],
            ),
        )


@dataclass(frozen=True)
class Untouched(Demand):
    """A run that must leave its gradients as they are.

    Attributes:
        case: the case.
    """

    case: Probe

    def failure(self, bench: Bench, statement: str) -> Failure | None:
        done = 0
        try:
            for step, _ in bench.steps(self.case):
                done = step
        except InputChangedError as error:
            case = cut(self.case, done + 1)
            lines = [
                *script.started(bench, case),
                *script.stepped(bench, cut(case, done)),
                f"grads = {script.gradients(case.gradients[-1], case.layout)}",
                "kept = [g if g is None else g.copy() for g in grads]",
                "target.step(grads)",
                "assert all(map(np.array_equal, grads, kept)), grads",
            ]
            return Failure(str(error), script.of_calls(bench, statement, lines))
        return None


ACCUMULATORS: Final = ("s", "v_max")
"""The state arrays, by their names in the specification, that never fall."""


@dataclass(frozen=True)
class Monotone(Demand):
    """A run in which accumulators of the target's own ``state()`` must not fall.

    Attributes:
        case: the case.
    """

    case: Probe

    def failure(self, bench: Bench, statement: str) -> Failure | None:
        before: dict[str, list[np.ndarray]] = {}
        for step, target in bench.steps(self.case):
            after = bench.state(target)
            for name in [n for n in ACCUMULATORS if n in after]:
                pairs = zip(before.get(name, ()), after[name], strict=False)
                for i, (old, new) in enumerate(pairs):
                    fell = np.argwhere(np.asarray(new) < np.asarray(old))
                    if len(fell):
                        return self._broken(bench, statement, step, name, i, tuple(fell[0]))
            before = after
        return None

    def _broken(
        self, bench: Bench, statement: str, step: int, name: str, i: int, place: tuple[int, ...]
    ) -> Failure:
        return Failure(
            f"step {step} lets {name} of parameter {i}{script.element(place)} fall",
            script.of_calls(
                bench,
                statement,
                [
                    *script.started(bench, self.case),
                    *script.stepped(bench, cut(self.case, step - 1)),
                    f"before = target.state()[{name!r}][{i}]",
                    *script.stepped(bench, cut(self.case, step))[-1:],
                    f"assert np.all(target.state()[{name!r}][{i}] >= before)",
                ],
            ),
        )


def literal_of(case: Probe, i: int, flat: int) -> str:
    """An element of a parameter before the first step."""
    return repr(float(case.params[i].flat[flat]))


def cut(case: Probe, steps: int) -> Probe:
    """A case that ends after some steps."""
    resumes = case.resumes_after
    return replace(
        case,
        gradients=case.gradients[:steps],
        rates=case.rates[:steps],
        resumes_after=resumes if resumes and resumes < steps else None,
    )


def _same(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x == y) | (np.isnan(x) & np.isnan(y)))


def _difference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far numbers are apart; infinity and NaN not at all, as orders differ in which it is."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    apart = abs(x - y)
    apart = np.where((x == y) | (~np.isfinite(x) & ~np.isfinite(y)), 0.0, apart)
    return np.where(np.isnan(apart), math.inf, apart)
