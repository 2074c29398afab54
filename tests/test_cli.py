"""The command line: answers on stdout, one line on stderr for a mistake, and the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from referencing import Registry, Resource
from typer.testing import CliRunner

import refopt
from refopt import cli, specification
from refopt.oracle import matrix
from refopt.oracle.matrix import Cell, Plan
from refopt.oracle.verdict import Deviation, Verdict

HERE = Path(__file__).parent
TARGETS = f"{HERE}/targets.py"
SGD_SPEC = "sgd(lr=0.25, momentum=0.0, dampening=0.0)"


def schema(name: str) -> Any:
    """A schema of spec/schema/."""
    return json.loads(specification.folder().joinpath("schema", name).read_text("utf-8"))


def valid(name: str, content: Any) -> bool:
    """Whether something follows a schema, which may refer to the one of verdicts."""
    verdict = Resource.from_contents(schema("verdict.json"))
    registry: Registry[Any] = Registry().with_resource("verdict.json", verdict)
    jsonschema.Draft202012Validator(schema(name), registry=registry).validate(content)
    return True


class Done:
    """What a command wrote, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def mistake(self) -> str:
        """The one line that answers a mistake."""
        assert self.status == 2, self.out + self.err
        assert self.out == ""
        assert self.err.endswith("\n")
        (line,) = self.err.splitlines()
        return line


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command in this process."""
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def run(*arguments: str) -> Done:
        result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
        return Done(result.exit_code, result.stdout, result.stderr)

    return run


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Starts the command as people do."""
    command = [sys.executable, "-c", "from refopt.cli import main; main()", *arguments]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
        env=os.environ | environment,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


# The specification


def test_version(run: Any) -> None:
    assert run("--version").out == f"refopt {refopt.__version__}\n"


def test_python_runs_it_as_a_module() -> None:
    command = [sys.executable, "-m", "refopt", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"refopt {refopt.__version__}\n"


def test_list_names_every_specification(run: Any) -> None:
    done = run("list")
    listed = [line.split()[0] for line in done.out.splitlines() if line.startswith("  ")]
    assert done.status == 0
    assert sorted(listed) == sorted(specification.names())


def test_show_an_optimizer(run: Any) -> None:
    done = run("show", "adam")
    assert done.status == 0
    assert "m[t] = beta1*m[t-1] + (1 - beta1)*g[t]" in done.out
    assert r"\sqrt{\hat{v}_{t}} + \epsilon" in done.out


def test_show_what_does_not_exist(run: Any) -> None:
    reason = run("show", "adan").mistake
    assert reason.startswith("refopt: no specification is named 'adan'; did you mean adam")


def test_usage_errors_have_status_2(run: Any) -> None:
    for arguments in (
        ["frobnicate"],
        ["show"],
        ["check", "--dtype", "float8"],
        ["check", "--seed", "-1"],
        ["check", "a", "b"],
        ["list", "--nothing"],
    ):
        done = run(*arguments)
        assert done.status == 2
        assert "Traceback" not in done.err


# Checks of a target


def test_a_target_that_conforms(run: Any) -> None:
    done = run("check", f"{TARGETS}:Adam", "--spec", "adam")
    assert done.status == 0
    assert done.out.startswith(f"✓ {TARGETS}:Adam conforms to adam (float32, seed 0, ")
    assert done.err == ""


def test_a_target_that_deviates(run: Any) -> None:
    done = run("check", f"{TARGETS}:EpsilonHat", "--spec", "adam", "--dtype", "float64")
    assert done.status == 1
    assert done.out.startswith(f"✗ {TARGETS}:EpsilonHat deviates from adam (float64, seed 0, ")
    assert "first in probe far, step 1, parameter 0\n" in done.out


def test_a_target_that_cannot_be_run(run: Any) -> None:
    reason = run("check", f"{TARGETS}:refusing", "--spec", "adam").mistake
    assert f"! {TARGETS}:refusing could not be checked against adam: " in reason


def test_a_target_in_the_working_directory(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("my_own_optimizers.py").write_text(Path(TARGETS).read_text())
    monkeypatch.chdir(tmp_path)
    assert run("check", "my_own_optimizers:Adam", "--spec", "adam").status == 0


def test_seed_dialect_and_timeout_are_used(run: Any) -> None:
    target = f"{TARGETS}:Adam"
    done = run("check", target, "--spec", "adam", "--seed", "3", "--dialect", "torch")
    assert "conforms to adam as torch has it (float32, seed 3, " in done.out
    reason = run("check", f"{TARGETS}:Hangs", "--spec", SGD_SPEC, "--timeout", "0.3").mistake
    assert "did not return within 0.3 s" in reason


def test_identify_waits_as_long_as_it_is_told(run: Any) -> None:
    hanging = ("identify", f"{TARGETS}:Hangs", "--spec", SGD_SPEC, "--timeout", "0.3")
    done = run(*hanging)
    assert done.status == 2
    assert "did not return within 0.3 s" in done.err
    assert "timeout must be" in run(*hanging[:-1], "0").mistake


def test_options_are_python_values(run: Any, tmp_path: Path) -> None:
    tmp_path.joinpath("optional.py").write_text(
        "from targets import Descent\n"
        "def make(params, flag=None, text=None):\n"
        "    assert (flag, text) == (True, 'a=b'), (flag, text)\n"
        "    return Descent(params)\n"
    )
    options = ["--option", "flag=True", "--option", "text='a=b'"]
    done = run("check", f"{tmp_path}/optional.py:make", "--spec", SGD_SPEC, *options)
    assert done.status == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "say what {} should be, e.g. --spec adam; `refopt list` shows all names"),
        (["--spec", "adan"], "no optimizer is named 'adan'; did you mean adam"),
        (["--spec", "adam("], "'adam(' is not an expression such as 'lookahead(adam, k=5)'"),
        (["--spec", "adam(beta1=2)"], "adam: beta1 must be in [0, 1), got 2"),
        (["--spec", "adam(beta3=0)"], "adam has no hyperparameter 'beta3'"),
        (
            ["--spec", "adam", "--dialect", "x"],
            "nothing in 'adam' has a dialect 'x'; it has: torch",
        ),
        (["--spec", "adam", "--timeout", "0"], "timeout must be a positive number of seconds"),
        (["--spec", "adam", "--timeout", "nan"], "timeout must be a positive number of seconds"),
        (["--spec", "adam", "--option", "foreach"], "--option foreach: give NAME=VALUE with"),
        (["--spec", "adam", "--option", "foreach=yes"], "--option foreach=yes: give NAME=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_answered_in_one_line(run: Any, arguments: list[str], reason: str) -> None:
    target = f"{TARGETS}:Adam"
    assert run("check", target, *arguments).mistake.startswith(f"refopt: {reason.format(target)}")


@pytest.mark.parametrize("option", ["spec", "dialect", "option", "timeout"])
def test_what_a_target_needs_is_no_use_without_one(run: Any, option: str) -> None:
    value = "1.0" if option == "timeout" else "x=1"
    assert run("check", f"--{option}", value).mistake == (
        f"refopt: --{option} needs a target: refopt check TARGET --{option} ..."
    )


# JSON


def test_json_on_stdout_is_nothing_but_json(run: Any) -> None:
    done = run("check", f"{TARGETS}:Prints", "--spec", "adam", "--json", "-")
    assert done.status == 0
    assert valid("verdict.json", json.loads(done.out))
    assert "stepping" in done.err
    assert "stepping" not in done.out


@pytest.mark.parametrize("target", ["EpsilonHat", "refusing", "Adam"])
def test_every_outcome_is_written(run: Any, target: str) -> None:
    done = run("check", f"{TARGETS}:{target}", "--spec", "adam", "--json", "-")
    content = json.loads(done.out)
    assert valid("verdict.json", content)
    assert done.status == {"conforms": 0, "deviates": 1, "error": 2}[content["outcome"]]


def test_json_in_a_file_besides_the_text(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    file.write_text("an older one")
    done = run("check", f"{TARGETS}:Adam", "--spec", "adam", "--json", str(file))
    assert "conforms" in done.out
    assert valid("verdict.json", json.loads(file.read_text("utf-8")))
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupted_write_leaves_the_old_file_whole(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: Any) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    file = tmp_path / "verdict.json"
    file.write_text("an older one")
    monkeypatch.setattr(Path, "write_bytes", full)
    reason = run("check", f"{TARGETS}:Adam", "--spec", "adam", "--json", str(file)).mistake
    assert reason == f"refopt: cannot write {file}: No space left on device"
    assert file.read_text() == "an older one"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("place", ["absent/verdict.json", "."])
def test_json_that_cannot_be_written_fails_before_anything_runs(
    run: Any, tmp_path: Path, place: str
) -> None:
    path = tmp_path / place
    assert run("check", f"{TARGETS}:Hangs", "--spec", SGD_SPEC, "--json", str(path)).mistake == (
        f"refopt: cannot write {path}: give a file in a folder that exists and can be written to"
    )


def test_json_may_go_to_a_device(run: Any) -> None:
    assert run("check", f"{TARGETS}:Adam", "--spec", "adam", "--json", os.devnull).status == 0
    assert not Path(os.devnull).is_file()


# The matrix


def made(outcome: str, reason: str = "") -> Cell:
    """A cell of a framework, as if it had been run."""
    deviation = Deviation("far", 1, 0, (), 1.0, 2.0, 1e-6, 1e7, {})
    by_outcome: dict[str, dict[str, Any]] = {
        "conforms": {"precision": "working", "worst": 0.5},
        "deviates": {"worst": 9.0, "deviation": deviation},
        "error": {"error": "it raised"},
    }
    fields = {"outcome": outcome, **by_outcome[outcome]}
    verdict = Verdict("torch.optim:SGD", "sgd", "torch", "float32", 0, **fields)
    return Cell("torch", verdict, reason)


@pytest.fixture
def frameworks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the matrix find torch alone, with given outcomes of its first cells."""

    def frameworks(*cells: Cell) -> None:
        left = iter(cells)
        monkeypatch.setattr(matrix, "installed", lambda name: name == "torch")
        plans = matrix.plans()
        own = [plan for plan in plans if plan.framework == "torch"][: len(cells)]
        others = [plan for plan in plans if plan.framework != "torch"]
        monkeypatch.setattr(matrix, "plans", lambda: own + others)
        monkeypatch.setattr(matrix, "run_plan", lambda plan, **_: next(left))

    return frameworks


@pytest.mark.parametrize(
    ("cells", "status"),
    [
        ([("conforms", "")], 0),
        ([("conforms", ""), ("deviates", "")], 1),
        ([("conforms", ""), ("deviates", ""), ("error", "")], 2),
        ([("conforms", ""), ("deviates", "known"), ("error", "known")], 0),
        ([("conforms", "known")], 1),
    ],
    ids=str,
)
def test_the_status_of_the_matrix(
    run: Any, frameworks: Any, cells: list[tuple[str, str]], status: int
) -> None:
    frameworks(*(made(outcome, reason) for outcome, reason in cells))
    assert run("check").status == status


def test_the_matrix_is_shown(run: Any, frameworks: Any) -> None:
    frameworks(made("conforms"), made("deviates"), made("error", "raises, line 5"))
    done = run("check", "--seed", "4")
    lines = done.out.splitlines()
    assert lines[0].startswith(f"refopt {refopt.__version__} · numpy ")
    assert " · torch " in lines[0]
    assert lines[1].endswith(" · seed 4")
    rows = [line.split() for line in lines if line.strip().startswith(("✓", "✗", "!"))]
    assert rows[0] == ["✓", "torch.optim:SGD", "sgd", "torch", "float32", "working", "0.5"]
    assert rows[2][:7] == ["!", "torch.optim:SGD", "sgd", "torch", "float32", "error", "(known)"]
    assert "  known: raises, line 5" in lines
    assert any(line.startswith("1 of 3 cells conform, 1 deviate, 1 could not") for line in lines)
    absent = len([plan for plan in matrix.plans() if plan.framework == "optax"])
    assert f"optax is not installed: {absent} cells were not checked" in lines
    assert done.err == ""


def test_the_matrix_as_json(run: Any, frameworks: Any) -> None:
    frameworks(made("conforms"), made("deviates", "known"), made("error"))
    content = json.loads(run("check", "--json", "-").out)
    assert valid("matrix.json", content)
    assert [cell["outcome"] for cell in content["cells"]] == ["conforms", "deviates", "error"]
    assert [cell["known"] for cell in content["cells"]] == ["", "known", ""]
    assert "optax" in content["absent"]
    assert content["versions"]["refopt"] == refopt.__version__


def test_without_a_framework_the_reference_is_checked(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "installed", lambda _: False)
    monkeypatch.setattr(specification, "names", lambda: ("adam", "sgd", "warmup"))
    done = run("check")
    assert done.status == 0
    rows = [line.split()[1:6] for line in done.out.splitlines() if line.startswith(" ✓")]
    assert rows[:2] == [
        ["refopt:adam", "adam", "canonical", "float32", "working"],
        ["refopt:adam", "adam", "canonical", "float64", "working"],
    ]
    assert "6 of 6 cells conform" in done.out
    assert "torch is not installed: " in done.out
    monkeypatch.setattr(matrix, "plans", list[Plan])
    content = json.loads(run("check", "--json", "-").out)
    assert valid("matrix.json", content)
    assert {cell["framework"] for cell in content["cells"]} == {"refopt"}


# As a process


def test_the_kill_matrix_as_json(run: Any) -> None:
    done = run("score", "sgd", "--json", "-")
    assert done.status == 0
    (one,) = json.loads(done.out)["scores"]
    assert one["name"] == "sgd"
    assert one["survivors"] == 0
    assert len(one["edits"]) == one["killed"] + one["equivalent"]
    assert all(edit["probes"] or edit["equivalent"] for edit in one["edits"])
    assert "no specification is named 'nothing'" in run("score", "nothing").mistake


def test_an_interrupt_ends_without_a_traceback() -> None:
    arguments = ["check", f"{TARGETS}:Announces", "--spec", SGD_SPEC, "--timeout", "60"]
    with process(*arguments) as started:
        assert started.stderr is not None
        assert started.stderr.readline() == "started\n"
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=30)
        assert started.returncode == 130
    assert "Traceback" not in out + err


def test_a_reader_that_leaves_is_no_error() -> None:
    with process("list") as started:
        assert started.stdout is not None
        assert started.stderr is not None
        started.stdout.close()
        assert "Traceback" not in started.stderr.read()


def test_a_terminal_without_a_check_mark() -> None:
    arguments = ["check", f"{TARGETS}:Adam", "--spec", "adam"]
    with process(*arguments, PYTHONIOENCODING="ascii") as started:
        out, err = started.communicate(timeout=30)
        assert (started.returncode, err) == (0, "")
    assert out.startswith(f"? {TARGETS}:Adam conforms")


def test_a_check_of_a_plain_target_imports_no_door_twice_and_nothing_heavy() -> None:
    code = (
        "import sys, refopt; sys.path.insert(0, 'tests'); import targets;"
        "print(refopt.check(targets.Adam, 'adam').outcome);"
        "print(sorted({m.partition('.')[0] for m in sys.modules}"
        " & {'sympy', 'scipy', 'torch', 'jax', 'keras', 'optax', 'rich', 'typer', 'hypothesis'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent, check=True
    )
    assert done.stdout.splitlines() == ["conforms", "[]"]


def test_a_defect_of_refopt_itself_has_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defect() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(cli, "app", defect)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "RuntimeError: a defect" in capsys.readouterr().err
