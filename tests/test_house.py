"""The house itself: what the wheel carries, and what is said in more than one place."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import refopt
from refopt import specification

ROOT = Path(refopt.__file__).parent.parent
PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def in_wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel that is built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    (wheel,) = folder.iterdir()
    return set(zipfile.ZipFile(wheel).namelist())


def files(folder: str, *patterns: str) -> set[str]:
    """The files of a folder of the checkout whose names match, relative to the checkout."""
    found = {p for pattern in patterns for p in ROOT.joinpath(folder).rglob(pattern) if p.is_file()}
    return {p.relative_to(ROOT).as_posix() for p in found}


def test_the_wheel_carries_the_code_and_the_specification_and_nothing_else(
    in_wheel: set[str],
) -> None:
    code = files("refopt", "*.py", "*.toml", "py.typed")
    specification = {f"refopt/{name}" for name in files("spec", "*")}
    assert "refopt/py.typed" in code
    assert "refopt/spec/adam.toml" in specification
    assert {name for name in in_wheel if ".dist-info/" not in name} == code | specification


def test_the_version_is_the_same_wherever_it_is_written() -> None:
    citation = ROOT.joinpath("CITATION.cff").read_text("utf-8")
    assert f"\nversion: {refopt.__version__}\n" in citation
    changelog = ROOT.joinpath("CHANGELOG.md").read_text("utf-8")
    assert f"\n## [{refopt.__version__}]" in changelog


def test_ci_checks_the_frameworks_that_the_dialects_were_read_from() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    pins = map(Requirement, extras["frameworks"])
    packages = {"paddlepaddle": "paddle"}  # what its distribution brings
    pinned = {
        packages.get(pin.name, pin.name): str(pin.specifier).removeprefix("==") for pin in pins
    }
    read = {
        (f"spec/{name}.toml", dialect.framework, dialect.version)
        for name in specification.names()
        for dialect in specification.load(name).dialects.values()
        if dialect.framework in pinned and dialect.cells
    }
    assert read
    assert not [odd for odd in read if odd[2] != pinned[odd[1]]]


@pytest.mark.parametrize("rule", sorted(ROOT.glob("refopt/rules/[!_]*.py")), ids=lambda p: p.stem)
def test_a_rule_has_one_stem_everywhere(rule: Path) -> None:
    assert ROOT.joinpath("spec", f"{rule.stem}.toml").is_file()
