"""What refopt adds to pytest: known deviations, and lines that say what was checked.

pytest loads it at every start wherever refopt is installed, so it imports nothing of the oracle:
where no test is one of its checks, nobody has imported that either.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

# Not the package, which would import all of the catalog when pytest looks for fixtures in it.
from refopt import __version__

if TYPE_CHECKING:
    from refopt.oracle.conformance import Check
    from refopt.oracle.deviations import Entry

_DECLARED: Final = pytest.StashKey[int]()
_PROPERTY: Final = "refopt"
_REMARK: Final = "refopt remark"


def check_of(item: pytest.Item) -> Check | None:
    """The check that a test is about, if it is about one."""
    conformance = sys.modules.get("refopt.oracle.conformance")
    if conformance is None or not isinstance(item, pytest.Function):
        return None
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return next((p for p in params.values() if isinstance(p, conformance.Check)), None)


class UnusedEntry(pytest.Item):
    """Fails: a known deviation that is about no test."""

    def __init__(self, *, entry: Entry, **settings: Any) -> None:
        super().__init__(**settings)
        self.entry = entry

    def runtest(self) -> None:
        """Fails with the entry's place."""
        pytest.fail(f"{self.entry.place}: decides about no test; remove it", pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        """Where the entry stands."""
        return self.entry.place, None, self.name


@pytest.hookimpl(tryfirst=True)  # before others deselect
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Matches known deviations with tests."""
    checks = [(item, check) for item in items if (check := check_of(item)) is not None]
    config.stash[_DECLARED] = len(checks)
    unused: dict[Entry, None] = {}
    for item, check in checks:
        item.user_properties.append((_PROPERTY, str(check)))
        unused |= dict.fromkeys(check.entries)
    for item, check in checks:
        entry = _entry_about(item, check)
        if entry is not None:
            unused.pop(entry, None)
    if _is_whole_run(config):
        items += [
            UnusedEntry.from_parent(session, name=f"unused known deviation {i}", entry=entry)
            for i, entry in enumerate(unused, 1)
        ]


def _entry_about(item: pytest.Item, check: Check) -> Entry | None:
    return next((entry for entry in check.entries if entry.known.matches(item.nodeid)), None)


def _is_whole_run(config: pytest.Config) -> bool:
    """Whether no file or test was singled out, so that what matches no test is out of date."""
    paths = [config.invocation_params.dir / arg for arg in config.args]
    return all(path.is_dir() for path in paths) and not config.getoption("lf", default=False)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Tells a check what is known about its test, and fails a test that does not call it."""
    check = check_of(pyfuncitem)
    if check is None:
        return (yield)
    check.known = _entry_about(pyfuncitem, check)
    check.was_called = False
    try:
        result = yield
    finally:
        pyfuncitem.user_properties += [(_REMARK, remark) for remark in check.remarks]
    if not check.was_called:
        pytest.fail("the test did not call its argument: check()", pytrace=False)
    return result


def pytest_report_collectionfinish(items: Sequence[pytest.Item]) -> list[str]:
    """Says that the plugin is there, where it has something to do."""
    count = sum(check_of(item) is not None for item in items)
    return [f"refopt {__version__}: {_counted(count)} of conformance"] * bool(count)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Says how many checks ran, and why others did not."""

    def reports(outcome: str) -> list[pytest.TestReport]:
        found = terminalreporter.stats.get(outcome, [])
        return [r for r in found if _PROPERTY in dict(getattr(r, "user_properties", ()))]

    known, skipped = reports("xfailed"), reports("skipped")
    ran = [*known, *reports("passed"), *reports("failed")]
    count = len(ran) + len(skipped)
    declared = max(config.stash.get(_DECLARED, 0), count)  # 0 where workers collect
    if not declared:
        return
    line = f"refopt: {len(ran)} of {_counted(declared)} ran in full"
    line += f", {len(known)} with a known deviation" if known else ""
    line += f", {len(skipped)} skipped:" if skipped else ""
    terminalreporter.write_line(line)
    for reason, count in Counter(map(_reason, skipped)).items():
        terminalreporter.write_line(f"  {count}: {reason}")
    properties = [p for report in (*ran, *skipped) for p in report.user_properties]
    for remark in dict.fromkeys(value for name, value in properties if name == _REMARK):
        terminalreporter.write_line(f"  note: {remark}")


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    return str(text).removeprefix("Skipped: ")


def _counted(checks: int) -> str:
    return f"{checks} check{'s' * (checks != 1)}"
