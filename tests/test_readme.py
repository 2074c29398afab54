"""The README shows what a user gets: its examples are run."""

import doctest
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from refopt.cli import app

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def shown(start: str) -> str:
    return next(block for block in blocks("text") if block.startswith(start))


def without_seconds(text: str) -> str:
    return re.sub(r"\d+\.\d\d s", "_ s", text)


def test_the_session_gives_the_output_that_is_shown() -> None:
    assert doctest.testfile(str(README), module_relative=False).failed == 0


def test_the_diagnosis_is_what_the_check_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = next(block for block in blocks("python") if "class MyAdam" in block)
    (tmp_path / "my_adam.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["check", "my_adam.py:MyAdam", "--spec", "adam"])
    assert result.exit_code == 1
    expected = shown("✗ my_adam.py:MyAdam")
    assert without_seconds(result.stdout) == without_seconds(expected)


def test_the_proof_is_what_prove_prints() -> None:
    result = CliRunner().invoke(app, ["prove", "l2"])
    assert result.exit_code == 0
    assert result.stdout == shown("✓ l2")


def test_the_rule_that_is_shown_is_the_rule() -> None:
    rule = next(block for block in blocks("python") if block.startswith("def adam("))
    source = (README.parent / "refopt" / "rules" / "adam.py").read_text("utf-8")
    assert rule in source
