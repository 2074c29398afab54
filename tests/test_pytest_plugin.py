"""Conformance as tests: what a user of pytest sees."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import targets
from hypothesis import given
from hypothesis import strategies as st

import refopt
from refopt.oracle.deviations import DeviationsError, KnownDeviation, parse
from refopt.oracle.probes import probes

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
IDS = tuple(probe.id for probe in probes({}))
NAME = "refopt.pytest_plugin"
INSTALLED = NAME in {e.value for e in importlib.metadata.entry_points(group="pytest11")}

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Runs pytest on a test of a target, with a file of known deviations or without."""

    def run(target: str, *args: str, known: str | None = None, spec: str = "adam") -> Any:
        file = "" if known is None else ", deviations='deviations.toml'"
        pytester.makefile(".toml", deviations=known or "")
        pytester.makepyfile(
            test_it=f"""
            import numpy as np, refopt, targets

            @refopt.parametrize({target}, {spec!r}{file})
            def test_it(check):
                check()
            """
        )
        return started(pytester, *args)

    return run


def started(pytester: pytest.Pytester, *args: str) -> pytest.RunResult:
    return pytester.runpytest(*([] if INSTALLED else ["-p", NAME]), "-ra", *args)


def entry(match: str, **fields: str) -> str:
    fields = {"match": match, "kind": "deviates", "reason": "we like it so"} | fields
    return "\n".join(["[[deviation]]", *(f"{k} = '{v}'" for k, v in fields.items()), ""])


# Outcomes


def test_what_conforms_passes_a_test_for_each_probe(run: Run) -> None:
    result = run("targets.Adam", "-v")
    result.assert_outcomes(passed=len(IDS))
    result.stdout.fnmatch_lines(
        [f"refopt {refopt.__version__}: 9 checks of conformance"]
        + [f"test_it.py::test_it?adam-{id}? PASSED*" for id in IDS]
        + ["refopt: 9 of 9 checks ran in full"]
    )


def test_one_probe_can_be_chosen(run: Run) -> None:
    result = run("targets.Adam", "-k", "missing")
    result.assert_outcomes(passed=1, deselected=8)
    result.stdout.fnmatch_lines(
        ["refopt *: 1 check of conformance", "refopt: 1 of 9 checks ran in full"]
    )


def test_what_deviates_fails_with_the_element_and_the_line(run: Run) -> None:
    result = run("targets.EpsilonHat", "-k", "missing")
    result.assert_outcomes(failed=1, deselected=8)
    result.stdout.fnmatch_lines(
        [
            "✗ targets:EpsilonHat deviates from adam (*",
            "  first in probe missing, step 1, parameter 0",
            "    expected *",
            "  explained by adam *",
            "  refopt/rules/adam.py:*: *epsilon*",
            "  - *",
            "  + *",
            "  probes: missing",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_only_the_probes_that_show_it_fail(run: Run) -> None:
    result = run("targets.EpsilonHat")
    # The default epsilon is far below the gradients, and without any it does nothing.
    result.assert_outcomes(passed=2, failed=7)
    for id in ("defaults", "zero"):
        result.stdout.no_fnmatch_line(f"FAILED *adam-{id}*")
    result.stdout.fnmatch_lines(["refopt: 9 of 9 checks ran in full"])


def test_a_target_runs_once_for_all_its_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import refopt, targets

        count = 0

        def counted(params, **hyperparameters):
            global count
            count += 1
            return targets.Adam(params, **hyperparameters)

        @refopt.parametrize(counted, "adam")
        def test_it(check):
            check()
            assert count == 10  # one probe loads into a second one

        """
    )
    started(pytester).assert_outcomes(passed=9)


def test_what_could_not_be_exercised_is_a_skip_with_its_reason(run: Run) -> None:
    result = run("targets.OnlySteps")
    result.assert_outcomes(passed=5, skipped=4)
    result.stdout.fnmatch_lines(
        [
            "refopt: 5 of 9 checks ran in full, 4 skipped:",
            "  3: conforms as far as it was exercised: the target has no set_lr: *",
            "  1: conforms as far as it was exercised: *; the target lacks state_dict or *",
        ]
    )


def test_missing_gradients_that_are_not_taken_are_a_skip(pytester: pytest.Pytester) -> None:
    pytest.importorskip("optax")
    pytester.makepyfile(
        """
        import refopt

        @refopt.parametrize("optax:adam", "adam", dialect="optax")
        def test_it(check):
            check()
        """
    )
    result = started(pytester)
    result.assert_outcomes(passed=8, skipped=1)
    result.stdout.fnmatch_lines(["  1: the target takes no missing gradients"])


def test_what_no_probe_varies_is_a_note_of_the_summary(run: Run) -> None:
    result = run("targets.TakesNoEpsilon")
    result.assert_outcomes(passed=9)
    result.stdout.fnmatch_lines(
        [
            "refopt: 9 of 9 checks ran in full",
            "  note: targets:TakesNoEpsilon as adam: the target takes no eps: it was expected to *",
        ]
    )


def test_a_step_without_any_number_is_an_error_here_as_well(run: Run) -> None:
    result = run("targets.answering(lambda ps: [p + np.nan for p in ps])", "-k", "far", spec="sgd")
    result.assert_outcomes(failed=1, deselected=8)
    result.stdout.fnmatch_lines(
        ["! * could not be checked against sgd: step 1 of probe 'far' returned no finite number *"]
    )


def test_what_cannot_be_run_fails_everywhere_after_one_attempt(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import refopt, targets

        @refopt.parametrize(targets.Hangs, targets.SGD_SPEC, timeout=0.3)
        def test_it(check):
            check()
        """
    )
    targets.Hangs.release.clear()
    result = started(pytester)
    targets.Hangs.release.set()
    result.assert_outcomes(failed=9)
    assert result.duration < 2
    result.stdout.fnmatch_lines(["! targets:Hangs could not be checked *did not return within*"])


def test_a_question_that_makes_no_sense_is_an_error_of_the_module(run: Run) -> None:
    result = run("targets.Adam", spec="adan")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'adan'; did you mean adam*"])


def test_a_test_that_does_not_call_its_check_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import refopt, targets

        both = refopt.parametrize(targets.Adam, "adam")

        @both
        def test_good(check):
            check()

        @both
        def test_forgetful(check):
            check
        """
    )
    result = started(pytester)
    result.assert_outcomes(passed=9, failed=9)
    result.stdout.fnmatch_lines(["the test did not call its argument: check()"])


# Properties


@pytest.fixture
def few(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """Runs a test of properties in a process of its own, on few cases."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "tests"))))

    def run(target: str, *args: str, known: str = "") -> pytest.RunResult:
        pytester.makefile(".toml", deviations=known)
        pytester.makeconftest(
            """
            from hypothesis import settings

            settings.register_profile("few", max_examples=25)
            settings.load_profile("few")
            """
        )
        pytester.makepyfile(
            test_it=f"""
            import refopt, targets

            @refopt.parametrize({target}, "adam", properties=True, deviations="deviations.toml")
            def test_it(check):
                check()
            """
        )
        plugin = [] if INSTALLED else ["-p", NAME]
        return pytester.runpytest_subprocess(*plugin, "-ra", "-v", *args)

    return run


def test_properties_are_further_tests(few: Callable[..., pytest.RunResult]) -> None:
    result = few("targets.OnlySteps", "-k", "far or bounded or resumable or sign")
    result.assert_outcomes(passed=2, skipped=2, deselected=21)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_it?adam-resumable? SKIPPED*",
            "test_it.py::test_it?adam-sign_symmetric? PASSED*",
            "refopt: 2 of 25 checks ran in full, 2 skipped:",
            "  1: not examined: the target lacks state_dict or load_state_dict",
        ]
    )


def test_a_property_that_is_refuted_fails_with_a_script_and_may_be_known(
    few: Callable[..., pytest.RunResult],
) -> None:
    chosen = ("-k", "conforms_in or reshape or deterministic")
    known = entry("*reshape_equivariant]", expect="where the other run says")
    result = few("targets.KnowsTwoAxes", *chosen, known=known)
    result.assert_outcomes(passed=1, failed=1, xfailed=1, deselected=22)
    result.stdout.fnmatch_lines(
        [
            "✗ targets:KnowsTwoAxes lacks conforms_in_any_order, a property of adam (*",
            "  the smallest case found, to be run:",
            "    import refopt",
            "    target = refopt.start(*, params, spec=*",
            "    assert abs(got - *",
            "refopt: 3 of 25 checks ran in full, 1 with a known deviation",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_one_call_asserts_properties_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refopt.oracle.properties.found.SHRINKING", 0.1)
    with pytest.raises(AssertionError, match="lacks split_invariant"):
        refopt.run_conformance_test(targets.WritesNoTail, "adam", properties=True)


# Known deviations


def test_a_known_deviation_is_expected(run: Run) -> None:
    known = entry("*[adam-?a*]", expect="epsilon-hat", url="https://example.org/issues/1")
    result = run("targets.EpsilonHat", "-k", "far or vanishing", known=known)
    result.assert_outcomes(xfailed=2, deselected=7)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "refopt: 2 of 9 checks ran in full, 2 with a known deviation",
            "XFAIL *adam-far* we like it so https://example.org/issues/1",
        ]
    )


def test_a_known_deviation_that_passes_is_an_error(run: Run) -> None:
    result = run("targets.EpsilonHat", "-k", "far or zero", known=entry("*"))
    result.assert_outcomes(xfailed=1, failed=1, deselected=7)
    result.stdout.fnmatch_lines(
        ["deviations.toml: entry 1 ('*'): the test passes; remove the entry"]
    )


def test_a_known_deviation_that_passes_as_far_as_it_is_exercised_is_an_error(run: Run) -> None:
    result = run("targets.OnlySteps", known=entry("*-far]"))
    result.assert_outcomes(passed=5, skipped=3, failed=1)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "error"}, "expected 'error', but"),
        ({"expect": "no such words"}, "expected 'deviates' with the words 'no such words', but"),
    ],
    ids=["kind", "words"],
)
def test_another_deviation_than_the_known_one_fails(
    run: Run, fields: dict[str, str], expected: str
) -> None:
    result = run("targets.EpsilonHat", "-k", "far", known=entry("*", **fields))
    result.assert_outcomes(failed=1, deselected=8)
    result.stdout.fnmatch_lines(
        [f"deviations.toml: entry 1 ('[*]'): {expected}", "✗ targets:EpsilonHat deviates *"]
    )


def test_a_known_error_is_expected(run: Run) -> None:
    result = run("targets.refusing", known=entry("*", kind="error", expect="no room for"))
    result.assert_outcomes(xfailed=9)


def test_an_entry_about_one_test_is_not_about_another(pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", deviations=entry("*::test_a[adam-far]"))
    pytester.makepyfile(
        """
        import refopt, targets

        both = refopt.parametrize(targets.EpsilonHat, "adam", deviations="deviations.toml")

        @both
        def test_a(check):
            check()

        @both
        def test_b(check):
            check()
        """
    )
    started(pytester, "-k", "far").assert_outcomes(xfailed=1, failed=1, deselected=16)


def test_an_entry_that_matches_nothing_is_an_error(run: Run) -> None:
    result = run("targets.Adam", known=entry("*::test_of_last_year[*]"))
    result.assert_outcomes(passed=9, failed=1)
    result.stdout.fnmatch_lines(
        ["deviations.toml: entry 1 (*::test_of_last_year*): decides about no test; remove it"]
    )


def test_an_entry_behind_one_that_matches_as_much_is_an_error(run: Run) -> None:
    result = run("targets.refusing", known=2 * entry("*", kind="error"))
    result.assert_outcomes(xfailed=9, failed=1)
    result.stdout.fnmatch_lines(["deviations.toml: entry 2 *: decides about no test; remove it"])


@pytest.mark.parametrize("args", [["test_it.py"], ["test_it.py::test_it"], ["-k", "far"], ["--lf"]])
def test_entries_about_tests_that_do_not_run_are_left_alone(run: Run, args: list[str]) -> None:
    result = run("targets.Adam", *args, known=entry("*::test_elsewhere[*]"))
    assert result.ret == 0


@pytest.mark.parametrize(
    ("match", "test", "does"),
    [
        ("*::test_a[adam-far]", "tests/test_x.py::test_a[adam-far]", True),
        ("*::test_a[adam-?ar]", "tests/test_x.py::test_a[adam-far]", True),
        ("tests/*", "tests/test_x.py::test_a[adam-far]", True),
        ("test_a[adam-far]", "tests/test_x.py::test_a[adam-far]", False),
        ("*::test_a[adam-far]", "tests/test_x.py::test_aa", False),
        ("*[a-z]", "tests/test_x.py::test_a[b]", False),
        ("*::TEST_A", "tests/test_x.py::test_a", False),
        ("*" * 50 + "!", "a" * 5000, False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_stars_and_question_marks_match_and_nothing_else(match: str, test: str, does: bool) -> None:
    assert KnownDeviation(match=match, kind="error", reason="it is").matches(test) is does


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[deviation]", "not TOML: "),
        ("[deviation]", "entries are [[deviation]], with two brackets"),
        ("deviations = []", "unknown key 'deviations'; entries are [[deviation]]"),
        ("deviation = [1]", "entry 1: Expected `object`, got `int`"),
        (entry("*") + "[[deviation]]", "entry 2: Object missing required field `match`"),
        (entry("*", kind="deviant"), 'entry 1 (\'*\'): kind: Expected "deviates" or "error"'),
        (entry("*", reason=""), "entry 1 ('*'): reason: Expected one line of text"),
        (entry("*", url="issue 7"), "entry 1 ('*'): url: Expected an address, https://..."),
        (entry("*", expects="x"), "entry 1 ('*'): Object contains unknown field `expects`"),
    ],
    ids=lambda value: value[-20:],
)
def test_a_malformed_file_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DeviationsError) as error:
        parse("known.toml", text)
    assert str(error.value).startswith(f"known.toml: {reason}")


def test_a_malformed_file_is_an_error_of_the_module(run: Run) -> None:
    result = run("targets.Adam", known="[[deviation]]")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*deviations.toml: entry 1: Object missing *`match`*"])


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviationsError, match="No such file or directory; a relative path starts"):
        refopt.parametrize(targets.Adam, "adam", deviations=tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(DeviationsError, match=r"latin\.toml: not UTF-8"):
        refopt.parametrize(targets.Adam, "adam", deviations=tmp_path / "latin.toml")


TABLES = st.dictionaries(
    st.sampled_from(["match", "kind", "reason", "url", "expect", "x"]),
    st.sampled_from(["'*'", "'deviates'", "''", "1", "[]", "{}", "1979-05-27", "inf", '"\\u0000"']),
)


@given(st.text() | st.lists(TABLES).map(lambda tables: "\n".join(map(_toml, tables))))
def test_whatever_a_file_holds_is_read_or_refused(text: str) -> None:
    try:
        read = str(len(parse("known.toml", text)))
    except DeviationsError as error:
        read = str(error)
    assert read.startswith("known.toml: ") or int(read) <= text.count("[[deviation]]")


def _toml(table: dict[str, str]) -> str:
    return "\n".join(["[[deviation]]", *(f"{key} = {value}" for key, value in table.items())])


def test_the_example_of_the_readme_works(pytester: pytest.Pytester) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", readme, re.DOTALL)
    target, test, known = (
        next(block for block in blocks if words in block)
        for words in ("class MyAdam", "@refopt.parametrize", "[[deviation]]")
    )
    pytester.makepyfile(my_adam=target, test_my_adam=test)
    pytester.makefile(".toml", deviations=known)
    result = started(pytester)
    result.assert_outcomes(passed=2, failed=6, xfailed=1)
    result.stdout.fnmatch_lines(
        ["XFAIL *test_my_adam?adam-vanishing? - eps inside the root, as in the first release"]
    )


# The other door, and the plugin where nobody needs it


def test_one_call_asserts_conformance() -> None:
    assert refopt.run_conformance_test(targets.Adam, "adam", dtype="float64").conforms
    with pytest.raises(AssertionError, match="✗ targets:EpsilonHat deviates from adam"):
        refopt.run_conformance_test(targets.EpsilonHat, "adam")
    with pytest.raises(AssertionError, match="! targets:refusing could not be checked"):
        refopt.run_conformance_test(targets.refusing, targets.SGD_SPEC)


def test_other_tests_hear_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = started(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("refopt*")


def test_the_plugin_is_registered() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"refopt": NAME}


def test_pytest_starts_without_numpy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            names = {name for name in sys.modules if name.partition(".")[0] in ("refopt", "numpy")}
            assert names == {"refopt", "refopt.pytest_plugin"}
        """
    )
    command = [sys.executable, "-m", "pytest", *([] if INSTALLED else ["-p", NAME])]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=pytester.path,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stdout
