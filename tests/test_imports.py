"""Importing refopt and starting its command are quick: nothing heavy is imported before its use."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import refopt
from refopt import catalog

FRAMEWORKS = {"jax", "keras", "mlx", "onnx", "optax", "paddle", "tinygrad", "torch"}
HEAVY = FRAMEWORKS | {"cupy", "flint", "hypothesis", "matplotlib", "numba", "scipy", "sympy"}
DOORS = {"rich", "typer"}


def imported_by(*lines: str) -> set[str]:
    """The top-level packages that a fresh interpreter imports when it runs some lines of code."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    timed = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in timed}


def test_import_refopt_imports_nothing_heavy_and_no_door() -> None:
    packages = imported_by("import refopt")
    assert "refopt" in packages
    assert not packages & (HEAVY | DOORS)


@pytest.mark.parametrize("command", ["list", "plot"])
def test_lists_import_nothing_heavy(command: str) -> None:
    packages = imported_by(
        "import sys", "import refopt.cli", f"sys.argv = ['', '{command}']", "refopt.cli.main()"
    )
    assert {"refopt", "typer"} <= packages
    assert not packages & HEAVY


def test_every_module_but_its_adapter_can_be_imported_without_a_framework() -> None:
    adapters = {f"refopt.adapters.{name}" for name in FRAMEWORKS}
    found = {module.name for module in pkgutil.walk_packages(refopt.__path__, "refopt.")}
    assert {"refopt.rules.adam", "refopt.adapters.torch"} <= found
    absent = [f"sys.modules[{name!r}] = None" for name in sorted(FRAMEWORKS)]
    imports = [f"import {module}" for module in sorted(found - adapters)]
    imported_by("import sys", *absent, *imports)


def test_every_public_name_exists_and_is_documented() -> None:
    names = {*refopt._HOMES, *catalog.names()}
    assert {"adam", "adamw", "check", "lookahead"} <= names <= set(dir(refopt))
    assert [name for name in names if not getattr(refopt, name).__doc__] == []
