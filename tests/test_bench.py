"""The benchmark: that it measures what it says, not how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import refopt
from refopt import bench
from refopt.cli import app

ENGINES = ["copy", "plain", "blocked", "numba"]


@pytest.fixture(autouse=True)
def _engines_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frameworks' thread pools would outlive the test."""
    monkeypatch.setattr(bench, "_installed", lambda package: package in ("numpy", "numba"))
    monkeypatch.setattr(bench, "SECONDS", 1e-6)
    monkeypatch.setattr(bench, "PAUSE", 0.0)


@pytest.mark.parametrize("optimizer", bench.OPTIMIZERS)
def test_contenders_take_turns_and_are_compared(optimizer: str) -> None:
    found = bench.compare(optimizer, "two", [(7,), (3, 2)], rounds=3)
    assert (found.parameters, found.tensors) == (13, 2)
    assert [one.name for one in found.measured] == ENGINES
    assert all(one.seconds > 0 and one.first > 0 for one in found.measured)
    assert found.ratios.keys() == {"blocked / plain"}


def test_what_linux_says_is_read(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text("model name\t: Some: Processor\nVmRSS:\t  12 kB\n")
    assert bench._line(str(path), "model name") == "Some: Processor"
    assert bench._bytes(str(path), "VmRSS") == 12 * 1024
    assert bench._bytes(str(path), "VmHWM") is None
    assert bench._bytes(str(tmp_path / "missing"), "VmRSS") is None


def test_a_transformer_has_200_tensors() -> None:
    assert len(bench.transformer()) == 200
    assert sum(int(np.prod(shape)) for shape in bench.transformer()) == 3_462_632


@pytest.mark.parametrize(
    ("arguments", "sizes"), [([], bench.QUICK), (["--full"], bench.FULL), (["--sizes", "7"], (7,))]
)
def test_sizes_are_few_unless_more_are_wanted(
    arguments: list[str], sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def comparisons(*given: Any) -> list[Any]:
        asked.extend(given)
        return []

    monkeypatch.setattr(bench, "comparisons", comparisons)
    result = CliRunner().invoke(app, ["bench", "adamw", *arguments])
    assert result.exit_code == 0, result.output
    assert asked == [["adamw"], list(sizes), 9]


def test_a_package_that_breaks_when_imported_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    (tmp_path / "broken_package.py").write_text("raise OSError('libgomp.so.1 is not there')")
    monkeypatch.syspath_prepend(tmp_path)
    assert not bench._installed("broken_package")
    assert not bench._installed("no_such_package")
    assert bench._installed("json")


def test_what_does_not_fit_into_memory_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_free_memory", lambda: 10_000_000)
    assert not bench.too_large("adamw", [(1_000,)])
    assert bench.too_large("adamw", [(1_000_000,)])
    monkeypatch.setattr(bench, "_free_memory", lambda: None)  # unknown
    assert not bench.too_large("adamw", [(1_000_000,)])


def test_the_command_prints_tables_and_writes_json(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    arguments = ["bench", "sgd", "--sizes", "1e1,20", "--rounds", "2", "--json", str(path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "10 parameters, one tensor" in result.output
    assert "torch cannot be imported: it was not measured" in result.output
    written = json.loads(path.read_text())
    assert written["date"] in result.output
    assert f"refopt {refopt.__version__}, python {written['python']}, numpy" in result.output
    assert [c["workload"] for c in written["comparisons"]] == [
        "one of 10",
        "one of 20",
        "transformer",
    ]
    assert [m["name"] for m in written["comparisons"][0]["measured"]] == ENGINES
    assert written["left_out"] == [
        "torch cannot be imported: it was not measured",
        "optax cannot be imported: it was not measured",
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["lion"], "lion is not measured; give adamw or sgd"),
        (["--sizes", "many"], "--sizes many: give numbers of parameters such as 1e4,1e6"),
        (["--sizes", "1e4", "--full"], "give --sizes or --full, not both"),
        (["--sizes", "0"], "--sizes 0: give numbers of parameters"),
    ],
)
def test_bad_options_are_one_line(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 2
    assert reason in result.output
