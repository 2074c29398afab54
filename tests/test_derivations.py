"""The notebooks: each claim is checked, and the register and the specification know it.

What they claim is tested by ``pytest derivations``; here is what holds them together.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from derivations._notebook import COLUMNS, FOLDER, Claim, notebooks, read
from derivations._register import register, unlinked
from refopt import specification

pytest_plugins = ["pytester"]

NOTEBOOKS = {notebook.name: notebook for notebook in notebooks()}
CLAIMS = [f"{n.name}::{claim.id}" for n in NOTEBOOKS.values() for claim in n.claims]

TABLE = f"""\
# %% [markdown]
# # Sums
#
# {COLUMNS}
# | --- | --- | --- | --- |
# | [one](#one) | $1 + 1 = 2$ | none | arithmetic |
# | [other](#other) | $\\lvert -1 \\rvert = 1$ | none | arithmetic |
"""
ONE = """
# %% [markdown]
# ## one

# %%
two = 2
assert 1 + 1 == two
"""
OTHER = """
# %% [markdown]
# ## other

# %%
assert abs(-one) == one
"""
SHARED = """
# %% [markdown]
# ## Numbers

# %%
one = 1
"""


def test_there_are_claims() -> None:
    assert len(CLAIMS) == len(set(CLAIMS)) >= 25


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_declared_is_checked_and_what_is_checked_is_declared(name: str) -> None:
    assert list(NOTEBOOKS[name].problems()) == []


def test_the_register_is_current() -> None:
    stored = FOLDER.joinpath("REGISTER.md").read_text("utf-8")
    assert stored == register(), "write it anew: python -m derivations register"


NAMED = {name: specification.load(name).claims for name in specification.names()}


def test_every_claim_is_named_by_a_specification_and_every_specification_names_claims() -> None:
    assert list(unlinked(CLAIMS, NAMED)) == []


@pytest.mark.parametrize(
    ("claims", "named", "problem"),
    [
        ([*CLAIMS, "sums::one"], NAMED, "no specification names sums::one"),
        (CLAIMS, {**NAMED, "adan": ()}, "adan names no claim"),
        (CLAIMS, {**NAMED, "adan": ("sums::one",)}, "adan names sums::one, which no notebook has"),
    ],
    ids=["claim", "specification", "name"],
)
def test_a_planted_claim_or_specification_without_the_other_is_found(
    claims: list[str], named: dict[str, tuple[str, ...]], problem: str
) -> None:
    assert list(unlinked(claims, named)) == [problem]


@pytest.mark.parametrize("file", ["REGISTER.md", *(f"{n}.py" for n in NOTEBOOKS)])
def test_links_lead_somewhere(file: str) -> None:
    lines = FOLDER.joinpath(file).read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if file == "REGISTER.md" or line.startswith("# "))
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]
    assert links
    ids = {claim.id for n in NOTEBOOKS.values() if n.path.name == file for claim in n.claims}
    for link in links:
        place, _, anchor = link.partition("#")
        assert (FOLDER / place).exists() if place else anchor in ids, link


# How notebooks are read


def written(folder: Path, text: str) -> Path:
    path = folder / "sums.py"
    path.write_text(text, "utf-8")
    return path


def test_a_notebook_is_read(tmp_path: Path) -> None:
    notebook = read(written(tmp_path, TABLE + ONE + SHARED + OTHER))
    one, other = notebook.claims
    assert (notebook.title, notebook.name) == ("Sums", "sums")
    assert one == Claim("one", "$1 + 1 = 2$", "none", "arithmetic")
    assert [cell.source for cell in notebook.section(one)] == ["two = 2\nassert 1 + 1 == two"]
    assert notebook.section(one)[0].line == (TABLE + ONE).splitlines().index("two = 2") + 1
    assert [cell.source for cell in notebook.shared(other)] == ["one = 1"]
    assert notebook.shared(one) == []
    assert list(notebook.problems()) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TABLE + ONE, "claim other is in the table, but nothing is asserted under its heading"),
        (
            TABLE + ONE + OTHER.replace("assert ", ""),
            "claim other is in the table, but nothing is asserted under its heading",
        ),
        (TABLE + ONE + OTHER + OTHER, "claim other occurs twice"),
        (
            TABLE.replace("[other](#other)", "[one](#one)") + ONE,
            "claim one occurs twice",
        ),
        (
            TABLE + ONE + OTHER + ONE.replace("## one", "## two"),
            "asserts something under no claim of the table",
        ),
        (TABLE.replace("| none |", "| |", 1) + ONE + OTHER, "claim one lacks a statement"),
        (ONE, "no table of claims"),
    ],
    ids=["no section", "no assert", "two sections", "two rows", "undeclared", "column", "table"],
)
def test_what_is_declared_and_not_checked_is_found(tmp_path: Path, text: str, problem: str) -> None:
    assert any(problem in found for found in read(written(tmp_path, text)).problems())


@pytest.mark.parametrize(
    "row",
    [
        "| [one](#other) | a | b | c |",
        "| one | a | b | c |",
        "| [one](#one) | |a| | b | c |",
        "| [one](#one) | a |",
        "| [One](#One) | a | b | c |",
    ],
)
def test_a_row_that_is_no_claim_is_an_error(tmp_path: Path, row: str) -> None:
    text = TABLE.replace("| [one](#one) | $1 + 1 = 2$ | none | arithmetic |", row)
    with pytest.raises(ValueError, match=r"sums\.py: this row should be"):
        read(written(tmp_path, text))


# How they are run


@pytest.fixture
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the collection of derivations/, for notebooks of its own."""
    conftest = FOLDER.joinpath("conftest.py").read_text("utf-8")
    pytester.makeconftest(f"{conftest}\nFOLDER = Path(__file__).parent\n")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    return pytester.path


def test_each_claim_is_a_test(pytester: pytest.Pytester, folder: Path) -> None:
    written(folder, TABLE + ONE + SHARED + OTHER)
    result = pytester.runpytest_subprocess("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["sums.py::one PASSED*", "sums.py::other PASSED*"])
    pytester.runpytest_subprocess("sums.py::other").assert_outcomes(passed=1)


def test_a_claim_that_fails_is_shown_with_its_line(pytester: pytest.Pytester, folder: Path) -> None:
    path = written(folder, TABLE + SHARED + ONE.replace("1 + 1 ==", "1 + 2 ==") + OTHER)
    line = path.read_text("utf-8").splitlines().index("assert 1 + 2 == two") + 1
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["not shown: $1 + 1 = 2$", f'*sums.py", line {line}, in <module>', "*assert 1 + 2 == two"]
    )


def test_a_claim_does_not_see_what_another_defines(pytester: pytest.Pytester, folder: Path) -> None:
    written(folder, TABLE + SHARED + ONE + OTHER.replace("abs(-one)", "two - one"))
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["NameError: name 'two' is not defined"])


def test_a_claim_without_a_check_is_an_error(pytester: pytest.Pytester, folder: Path) -> None:
    written(folder, TABLE + ONE)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["claim other is in the table, but nothing is asserted*"])


def test_jupyter_opens_each_as_a_notebook() -> None:
    from jupytext import TextFileContentsManager  # of a server, which imports it alone

    contents = TextFileContentsManager(root_dir=str(FOLDER))
    for notebook in NOTEBOOKS.values():
        opened = contents.get(notebook.path.name)
        assert opened["type"] == "notebook"
        cells = opened["content"]["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        assert code == [cell.source for cell in notebook.cells]
