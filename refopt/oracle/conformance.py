"""Checks as tests: one call, or a pytest test for each probe."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from refopt.adapters.adapt import imported
from refopt.adapters.adapter import TargetError
from refopt.oracle import deviations as known_deviations
from refopt.oracle.check import check
from refopt.oracle.deviations import Entry
from refopt.oracle.explanation import Explanation
from refopt.oracle.identify import FRESH, Search
from refopt.oracle.observation import (
    Hypothesis,
    Observation,
    Variation,
    observe,
    weigh,
)
from refopt.oracle.probes import probes
from refopt.oracle.subject import asked, described, subject_of
from refopt.oracle.verdict import Verdict

if TYPE_CHECKING:
    import pytest


def run_conformance_test(
    target: Any,
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    timeout: float = 20.0,
) -> Verdict:
    """Asserts that a target conforms, in any test framework; arguments as :func:`refopt.check` has.

    Raises:
        AssertionError: it does not, or could not be run; with the text of the verdict.
    """
    __tracebackhide__ = True
    verdict = check(
        target, spec, dialect=dialect, dtype=dtype, seed=seed, options=options, timeout=timeout
    )
    if not verdict.conforms:
        raise AssertionError(str(verdict))
    return verdict


def parametrize(
    target: Any,
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    timeout: float = 20.0,
    deviations: str | os.PathLike[str] | None = None,
) -> pytest.MarkDecorator:
    """A pytest decorator: one test for each probe, which calls its argument ``check``.

    ::

        @refopt.parametrize(MyAdamW, "adamw", deviations="tests/deviations.toml")
        def test_adamw(check):
            check()

    The tests are ``test_adamw[adamw-far]``, ``test_adamw[adamw-missing]`` and so on. The target
    runs once, when the first of them does. A probe that the target conforms to as far as it could
    be exercised, but not in full, is a skip that says why.

    Args:
        target: as in :func:`refopt.check`, and so are the others.
        spec: what it should be.
        dialect: whose form of it.
        dtype: of parameters and gradients.
        seed: of the probes' values.
        options: further arguments of the target.
        timeout: how many seconds a single call of the target may take.
        deviations: a TOML file of known deviations; their tests are expected to fail.

    Raises:
        ValueError: something that was asked makes no sense, or the file is missing or malformed.
        TypeError: the spec is not an expression, or a hyperparameter in it does not exist.
    """
    import pytest

    examination = Examination(target, spec, dialect, dtype, seed, options or {}, timeout)
    entries = () if deviations is None else known_deviations.read(deviations)
    checks = [Check(examination, probe.id, entries) for probe in probes({})]
    return pytest.mark.parametrize("check", checks, ids=str)


class Check:
    """One probe as a test.

    Attributes:
        entries: the known deviations, of which the plugin says which one is about this test.
        known: that one.
        was_called: whether the test called it.
    """

    def __init__(self, examination: Examination, probe: str, entries: tuple[Entry, ...]) -> None:
        self.examination = examination
        self.probe = probe
        self.entries = entries
        self.known: Entry | None = None
        self.was_called = False

    def __str__(self) -> str:
        return f"{self.examination.spec}-{self.probe}"

    def __call__(self) -> None:
        """Passes, fails, or skips with a reason."""
        import pytest

        self.was_called = True
        verdict = self.examination.verdict(self.probe)
        if verdict is None:
            pytest.skip("the target takes no missing gradients")
        if self.known is not None:
            self._expect(self.known, verdict)
        if not verdict.conforms:
            pytest.fail(str(verdict), pytrace=False)
        if verdict.notes:
            pytest.skip(f"conforms as far as it was exercised: {'; '.join(verdict.notes)}")

    def _expect(self, entry: Entry, verdict: Verdict) -> None:
        import pytest

        known = entry.known
        if verdict.conforms:
            pytest.fail(f"{entry.place}: the test passes; remove the entry", pytrace=False)
        if known.describes(verdict):
            pytest.xfail(" ".join(filter(None, (known.reason, known.url))))
        phrase = f" with the words {known.expect!r}" if known.expect else ""
        pytest.fail(
            f"{entry.place}: expected {known.kind!r}{phrase}, but\n{verdict}", pytrace=False
        )


class Examination:
    """A target that runs through the probes once, and is judged on each.

    Raises:
        ValueError: something that was asked makes no sense.
        TypeError: the spec is not an expression, or a hyperparameter in it does not exist.
    """

    def __init__(
        self,
        target: Any,
        spec: str,
        dialect: str | None,
        dtype: str,
        seed: int,
        options: Mapping[str, Any],
        timeout: float,
    ) -> None:
        self.target, self.options, self.timeout = target, options, timeout
        self.spec, self.dialect, self.dtype, self.seed = spec, dialect, dtype, seed
        self.name = target if isinstance(target, str) else described(target)
        self.reference = asked(spec, dialect, dtype, seed, timeout)

    def verdict(self, probe: str) -> Verdict | None:
        """What one probe says, or None where the target does not take it."""
        began = time.perf_counter()
        fields = self._judged(probe)
        if fields is None:
            return None
        asked = (self.name, self.spec, self.dialect, self.dtype, self.seed)
        return Verdict(*asked, seconds=time.perf_counter() - began, **fields)

    def _judged(self, probe: str) -> dict[str, Any] | None:
        seen = self._seen
        if isinstance(seen, TargetError):
            return {"outcome": "error", "error": str(seen)}
        if probe not in seen.ids:
            return None
        i = seen.ids.index(probe)
        alone = Observation(seen.dtype, seen.probes[i : i + 1], seen.traces[i : i + 1])
        precision, (worst, deviation, _) = weigh(Hypothesis(self.reference), alone)
        ran: dict[str, Any] = {"probes": alone.ids, "notes": alone.notes, "worst": worst}
        if deviation is None:
            return ran | {"outcome": "conforms", "precision": precision}
        explanations, notes = self._explained
        ran |= {"notes": alone.notes + notes, "explanations": explanations}
        return ran | {"outcome": "deviates", "deviation": deviation}

    @cached_property
    def _seen(self) -> Observation | TargetError:
        try:
            return self._observed(self.seed)
        except TargetError as error:
            return error

    def _observed(self, seed: int) -> Observation:
        target = imported(self.target) if isinstance(self.target, str) else self.target
        subject = subject_of(target, [self.spec], self.dialect, self.options)
        variation = Variation.of(subject, self.reference)
        return observe(subject, variation, dtype=self.dtype, seed=seed, timeout=self.timeout)

    @cached_property
    def _explained(self) -> tuple[tuple[Explanation, ...], tuple[str, ...]]:
        """What explains the target, and why nothing could."""
        assert isinstance(self._seen, Observation)
        search = Search(self._seen, lambda: self._observed(self.seed + FRESH))
        try:
            return tuple(search.explanations([self.spec], self.dialect)), ()
        except TargetError as error:
            return (), (f"nothing confirmed an explanation: {error}",)
