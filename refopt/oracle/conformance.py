"""Checks as tests: one call, or a pytest test for each probe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
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

    from refopt.oracle.properties import PropertyVerdict


def run_conformance_test(
    target: Any,
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    timeout: float = 20.0,
    properties: bool = False,
) -> Verdict:
    """Asserts that a target conforms, in any test framework; arguments as :func:`parametrize` has.

    Raises:
        AssertionError: it does not, lacks a property, or could not be run; says why.
    """
    __tracebackhide__ = True
    asked: dict[str, Any] = {"dialect": dialect, "dtype": dtype, "seed": seed, "options": options}
    asked["timeout"] = timeout
    verdict = check(target, spec, **asked)
    if not verdict.conforms:
        raise AssertionError(str(verdict))
    if properties:
        from refopt.oracle.properties import check_properties

        report = check_properties(target, spec, **asked)
        if not report.conforms:
            raise AssertionError(str(report))
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
    properties: bool = False,
    deviations: str | os.PathLike[str] | None = None,
) -> pytest.MarkDecorator:
    """A pytest decorator: a test for each probe and property, which calls its argument ``check``.

    ::

        @refopt.parametrize(MyAdamW, "adamw", deviations="tests/deviations.toml")
        def test_adamw(check):
            check()

    The tests are ``test_adamw[adamw-far]``, ``test_adamw[adamw-missing]`` and so on. The target
    runs once, when the first of them does. A probe that the target conforms to as far as it could
    be exercised, but not in full, is a skip that says why.

    With ``properties=True`` there is a further test for each property that the specification
    states, ``test_adamw[adamw-permutation_equivariant]``, and one that makes calls in any order,
    ``test_adamw[adamw-conforms_in_any_order]``, as :func:`refopt.check_properties` has them: some
    15 seconds in all, by the current profile of Hypothesis.

    Args:
        target: as in :func:`refopt.check`, and so are the others.
        spec: what it should be.
        dialect: whose form of it.
        dtype: of parameters and gradients.
        seed: of the probes' values.
        options: further arguments of the target.
        timeout: how many seconds a single call of the target may take.
        properties: whether to look for cases that refute the properties as well.
        deviations: a TOML file of known deviations; their tests are expected to fail.

    Raises:
        ValueError: something that was asked makes no sense, or the file is missing or malformed.
        TypeError: the spec is not an expression, or a hyperparameter in it does not exist.
        ModuleNotFoundError: properties are asked for, and Hypothesis is not installed.
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
    ids = [probe.id for probe in probes({}, dtype=dtype)]
    asks: dict[str, Ask] = {id: partial(examination.verdict_on, id) for id in ids}
    if properties:
        from refopt.oracle.properties import Properties

        examined = Properties(examination, target, options or {})
        asks |= {name: partial(examined.verdict, name) for name in examined.names}
    checks = [Check(examination, name, ask, entries) for name, ask in asks.items()]
    return pytest.mark.parametrize("check", checks, ids=str)


Ask = Callable[[], "Verdict | PropertyVerdict | None"]
"""Asks for the verdict of one check; None where the target does not take it."""


class Check:
    """One probe or property as a test.

    Args:
        examination: of the target.
        name: of the probe or property.
        ask: asks for the verdict.
        entries: the known deviations.

    Attributes:
        entries: the known deviations, of which the plugin says which one is about this test.
        known: that one.
        was_called: whether the test called it.
        remarks: what no probe of this target exercises.
    """

    def __init__(
        self, examination: Examination, name: str, ask: Ask, entries: tuple[Entry, ...]
    ) -> None:
        self.examination = examination
        self.name = name
        self.entries = entries
        self._ask = ask
        self.known: Entry | None = None
        self.was_called = False
        self.remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.examination.spec}-{self.name}"

    def __call__(self) -> None:
        """Passes, fails, or skips with a reason."""
        import pytest

        self.was_called = True
        verdict = self._ask()
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
            is_probe = isinstance(verdict, Verdict)
            how_far = "conforms as far as it was exercised" if is_probe else "not examined"
            pytest.skip(f"{how_far}: {'; '.join(verdict.notes)}")

    def _expect(self, entry: Entry, verdict: Verdict | PropertyVerdict) -> None:
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
