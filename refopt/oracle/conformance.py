"""Checks as tests: one call, or a pytest test for each probe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from refopt.oracle import deviations as known_deviations
from refopt.oracle.check import check
from refopt.oracle.deviations import Entry
from refopt.oracle.examination import Examination
from refopt.oracle.probes import probes
from refopt.oracle.subject import finder, named
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

    examination = Examination(
        named(target),
        finder(target, spec, dialect, options),
        spec,
        dialect=dialect,
        dtype=dtype,
        seed=seed,
        timeout=timeout,
    )
    entries = () if deviations is None else known_deviations.read(deviations)
    checks = [Check(examination, probe.id, entries) for probe in probes({}, dtype=dtype)]
    return pytest.mark.parametrize("check", checks, ids=str)


class Check:
    """One probe as a test.

    Attributes:
        entries: the known deviations, of which the plugin says which one is about this test.
        known: that one.
        was_called: whether the test called it.
        remarks: what no probe of this target exercises.
    """

    def __init__(self, examination: Examination, probe: str, entries: tuple[Entry, ...]) -> None:
        self.examination = examination
        self.probe = probe
        self.entries = entries
        self.known: Entry | None = None
        self.was_called = False
        self.remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.examination.spec}-{self.probe}"

    def __call__(self) -> None:
        """Passes, fails, or skips with a reason."""
        import pytest

        self.was_called = True
        verdict = self.examination.verdict_on(self.probe)
        if verdict is None:
            pytest.skip("the target takes no missing gradients")
        if verdict.outcome != "error":
            asked = f"{self.examination.name} as {self.examination.spec}"
            self.remarks = tuple(f"{asked}: {words}" for words in self.examination.unvaried)
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
