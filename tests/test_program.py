"""Programs: the protocol, correct and wrong ones in C, and whatever else they may do."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import refopt
from refopt import cli, specification
from refopt.adapters import program
from refopt.adapters.adapt import adapt, framework, imported
from refopt.adapters.adapter import Part, TargetError
from refopt.adapters.program import (
    Done,
    Init,
    Load,
    Program,
    ProgramAdapter,
    Save,
    Saved,
    Start,
    Started,
    Step,
    Stepped,
    schema,
    understood,
)
from refopt.oracle.verdict import Verdict

PROGRAMS = Path(__file__).parent / "programs"
SCHEMA = json.loads(specification.folder().joinpath("schema", "protocol.json").read_text("utf-8"))
SGD_SPEC = "sgd(lr=0.25, momentum=0.0, dampening=0.0, nesterov=False)"


def descent(behaviour: str, *files: Path) -> str:
    """Gradient descent that behaves so."""
    words = [sys.executable, str(PROGRAMS / "descent.py"), behaviour, *map(str, files)]
    return f"exec:{shlex.join(words)}"


def check(target: str, spec: str = SGD_SPEC, **settings: Any) -> Verdict:
    """A check without the search for an explanation."""
    verdict: Verdict = refopt.check(target, spec, **{"explain": False, **settings})
    return verdict


def error(behaviour: str, *files: Path, **settings: Any) -> str:
    """Why a program could not be checked, in one line."""
    verdict = check(descent(behaviour, *files), **settings)
    assert verdict.outcome == "error", str(verdict)
    assert verdict.error is not None
    assert verdict.error.isprintable()
    assert len(verdict.error) < 1000
    return verdict.error


def adapter(command: str, **options: Any) -> ProgramAdapter:
    """The adapter of a program."""
    target = imported(command)
    adapted = adapt((Part(target, {}, options=options),), framework(target))
    assert isinstance(adapted, ProgramAdapter)
    return adapted


# In C


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where AdamW in C lies, compiled for both dtypes, and with a mistake."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc")
    folder = tmp_path_factory.mktemp("built")
    kinds = {"float32": "float", "float64": "double", "mistake": "float"}
    for name, real in kinds.items():
        dtype = "float64" if real == "double" else "float32"
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", f"-DREAL={real}", f'-DDTYPE="{dtype}"']
        flags += ["-DMISTAKE"] if name == "mistake" else []
        source = PROGRAMS / "adamw.c"
        subprocess.run([compiler, *flags, source, "-lm", "-o", folder / name], check=True)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_program_in_c_conforms(built: Path, dtype: str, seed: int) -> None:
    verdict = refopt.check(f"exec:{built / dtype}", "adamw", dtype=dtype, seed=seed)
    assert verdict.conforms, str(verdict)
    assert verdict.precision == "working"
    assert verdict.notes == ()
    assert {"missing", "dyadic"} <= set(verdict.probes)


def test_a_mistake_in_c_is_found_and_explained(built: Path) -> None:
    verdict = refopt.check(f"exec:{built / 'mistake'}", "adamw")
    assert verdict.outcome == "deviates"
    assert "h = m_hat / xp.sqrt(v_hat + eps)" in str(verdict)


def test_a_program_in_c_is_identified(built: Path) -> None:
    answer = refopt.identify(f"exec:{built / 'mistake'}", "adamw")
    assert "h = m_hat / xp.sqrt(v_hat + eps)" in str(answer)
    assert refopt.identify(f"exec:{built / 'float32'}", "adamw").is_a_form


def test_a_dtype_that_a_program_does_not_have_is_skipped(built: Path) -> None:
    verdict = check(f"exec:{built / 'float32'}", "adamw", dtype="float64")
    assert verdict.error == "adamw.c skips this: this build computes in float32"


def test_a_program_is_checked_from_the_command_line(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(built)
    done = CliRunner().invoke(cli.app, ["check", "exec:./float32", "--spec", "adamw"])
    assert done.exit_code == 0, done.output
    assert "exec:./float32 conforms to adamw" in done.output


# In JavaScript


def tfjs(optimizer: str) -> str:
    """An optimizer of tfjs, where it is installed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    packages = ("@tensorflow/tfjs-core", "@tensorflow/tfjs-backend-cpu")
    script = "".join(f"require.resolve({package!r});" for package in packages)
    found = subprocess.run([node, "-e", script], check=False, capture_output=True, cwd=PROGRAMS)
    if found.returncode:
        pytest.skip(f"Node does not find {' and '.join(packages)}; NODE_PATH says where they are")
    return f"exec:{shlex.join([node, str(PROGRAMS / 'tfjs.cjs'), optimizer])}"


@pytest.mark.parametrize(
    ("optimizer", "spec", "dialect"),
    [
        ("sgd", "sgd(momentum=0.0, dampening=0.0)", None),
        ("momentum", "sgd(dampening=0.0)", None),
        ("momentum", "sgd(dampening=0.0, nesterov=True)", None),
        ("adagrad", "adagrad(initial_accumulator=0.1)", "keras"),
        ("rmsprop", "rmsprop", "optax"),
        ("adam", "count_missing(adam)", None),
        ("adamax", "adamax", "keras"),
    ],
)
def test_tfjs_has_a_form_of_the_specification(
    optimizer: str, spec: str, dialect: str | None
) -> None:
    verdict = check(tfjs(optimizer), spec, dialect=dialect)
    assert verdict.conforms, str(verdict)


def test_rmsprop_of_tfjs_subtracts_epsilon_where_it_is_centered() -> None:
    """In the root stands v - (m**2 + eps), which differs from v - m**2 + eps where eps does."""
    target = tfjs("rmsprop")
    verdict = check(target, "rmsprop(centered=True)", dialect="optax")
    assert verdict.outcome == "deviates", str(verdict)
    assert check(target, "rmsprop(centered=True, eps=0.0)", dialect="optax").conforms


def test_adadelta_of_tfjs_is_gradient_descent() -> None:
    """It divides by the accumulators from before their updates, which stay equal to each other."""
    target = tfjs("adadelta")
    assert check(target, "adadelta").outcome == "deviates"
    answer = refopt.identify(target, "sgd(momentum=0.0, dampening=0.0)")
    assert answer.is_a_form, str(answer)


# The protocol


def test_the_schema_file_is_that_of_the_records() -> None:
    assert schema() == SCHEMA, (
        "write it anew: python -c 'import json; from refopt.adapters.program import schema; "
        "print(json.dumps(schema(), indent=2))' > spec/schema/protocol.json"
    )
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def documented() -> list[dict[str, Any]]:
    """The messages in the documentation, in order."""
    assert program.__doc__ is not None
    text = program.__doc__.replace('\n       "', ' "')
    return [
        json.loads(line[6:])
        for line in text.splitlines()
        if line.startswith(("    > {", "    < {"))
    ]


def test_the_documented_messages_are_all_and_follow_the_schema() -> None:
    for message in documented():
        jsonschema.Draft202012Validator(SCHEMA).validate(message)
    methods = {message.get("method") for message in documented()} - {None}
    assert methods == {"start", "init", "step", "set_lr", "save", "load", "stop"}


def test_what_is_said_follows_the_schema(tmp_path: Path) -> None:
    spec = "piecewise_linear(gradient_accumulation(l2(sgd, weight_decay=1)), {2: 0.5, 5: 1})"
    notes = tmp_path / "notes"
    check(descent("takes rates", notes), spec)
    messages = [json.loads(line) for line in notes.read_text().splitlines()]
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for message in messages:
        validator.validate(message)
    assert {m["method"] for m in messages if "method" in m} == {
        *("start", "init", "step", "set_lr", "save", "load", "stop")
    }
    first = next(m for m in messages if m.get("method") == "init")
    assert first["shapes"] == [[], [5], [4, 3], [11], [0]]
    assert [len(array) for array in first["params"]] == [1, 5, 12, 11, 0]
    assert first["hyperparameters"] == {
        "lr": (0.3).hex(),
        "k": 3,
        "nesterov": False,
        "weight_decay": (1.0).hex(),
        "schedule": {"2": (0.5).hex(), "5": (1.0).hex()},
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_bit_is_lost(dtype: str) -> None:
    format = np.finfo(dtype)
    numbers = [0.0, -0.0, math.inf, -math.inf, math.nan, 0.1, -1 / 3]
    numbers += map(float, (format.max, format.tiny, format.smallest_subnormal, 1 + format.eps))
    theta = np.array(numbers, dtype)
    adapted = adapter(descent("well"))
    try:
        session = adapted.start([theta, theta.reshape(1, -1).T], {})
        first, second = session.step([None, None])
    finally:
        adapted.end_sessions()
    assert (first.dtype, first.shape) == (theta.dtype, theta.shape)
    assert (second.dtype, second.shape) == (theta.dtype, (len(numbers), 1))
    for array in (first, second.ravel()):
        assert np.array_equal(array, theta, equal_nan=True)
        assert np.array_equal(np.signbit(array), np.signbit(theta))


def test_options_are_passed_through(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert check(descent("well", notes), options={"threads": 4, "mode": "fast"}).conforms
    inits = [line for line in notes.read_text().splitlines() if '"method":"init"' in line]
    assert {json.dumps(json.loads(line)["options"]) for line in inits} == {
        '{"threads": 4, "mode": "fast"}'
    }


def test_each_session_is_a_process_of_its_own() -> None:
    adapted = adapter(descent("well"))
    try:
        old, new = (adapted.start([np.zeros(2)], {}) for _ in range(2))
        (moved,) = old.step([np.ones(2)])
        (still,) = new.step([None])
        old.set_lr(1.0)
        new.load_state_dict(old.state_dict())
        (resumed,) = new.step([np.ones(2)])
    finally:
        adapted.end_sessions()
    assert (moved[0], still[0], resumed[0]) == (-0.25, 0.0, -1.0)


def test_what_a_program_cannot_do_is_not_asked() -> None:
    verdict = check(descent("cannot anything"))
    assert verdict.conforms, str(verdict)
    assert "missing" not in verdict.probes
    assert verdict.notes == (
        "the target has no set_lr: changes of the learning rate were not exercised",
        "the target lacks state_dict or load_state_dict: saving and loading was not exercised",
    )


def test_complaints_on_standard_error_do_no_harm() -> None:
    assert check(descent("scolds")).conforms


# Misbehaviour

NOT_ALLOWED = "descent.py replied to step with what the protocol does not allow: "
NOT_ALLOWED_AT_START = "the program replied to start with what the protocol does not allow: "
ELSEWHERE = "only replies belong on its standard output, everything else on standard error"


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("exits at start", "the program ended with status 3 instead of replying to start"),
        (
            "from the future",
            "descent.py speaks version 2 of the protocol, refopt speaks version 1",
        ),
        (
            "unknown hyperparameter",
            "descent.py accepts 'learning_rate', which is no canonical name of a hyperparameter",
        ),
        (
            "unknown ability",
            f"{NOT_ALLOWED_AT_START}Invalid enum value 'fly' - at `$.supports[0]`",
        ),
        (
            "nameless",
            f"{NOT_ALLOWED_AT_START}Object missing required field `name`",
        ),
        ("skips", "descent.py skips this: no GPU [31mhere"),
        ("refuses", "descent.py replied to init with an error: lr must be positive"),
        (
            "skips a step",
            f"{NOT_ALLOWED}Object contains unknown field `skip`",
        ),
        ("lost", "descent.py replied to step with an error: what was that?"),
        (
            "error of no text",
            f"{NOT_ALLOWED}Object contains unknown field `params`",
        ),
        (
            "raises",
            "descent.py ended with status 1 (RuntimeError: no such kernel) instead of",
        ),
        ("crashes", "descent.py ended by SIGSEGV instead of replying to step"),
        ("exits", "descent.py ended with status 0 instead of replying to step"),
        ("closes", "descent.py closed its standard output instead of replying to step"),
        (
            "chats",
            f"descent.py replied to step with what is no JSON: 'step done'; {ELSEWHERE}",
        ),
        ("not UTF-8", "descent.py replied to step with what"),
        ("nests", "descent.py replied to step with what"),
        (
            "is a list",
            f"{NOT_ALLOWED}Expected `object`, got `array`",
        ),
        ("empty line", "descent.py replied to step with what is no JSON: ''"),
        ("huge", "descent.py replied to step with more than 64 MiB in a line"),
        ("floods", "descent.py replied to step with more than 64 MiB in a line"),
        ("replies twice", "descent.py replied to "),
        ("wrong id", "descent.py replied to step with the id 1 instead of 4"),
        (
            "unknown key",
            f"{NOT_ALLOWED}Object contains unknown field `colour`",
        ),
        ("too few arrays", "descent.py replied to step with 4 arrays for 5 parameters"),
        (
            "too few elements",
            "descent.py replied to step with parameter 1 of 4 elements instead of 5",
        ),
        (
            "decimal text",
            f"{NOT_ALLOWED}Expected a number in hexadecimal, such as '0x1.8p+1' - at `$.params",
        ),
        (
            "decimal",
            f"{NOT_ALLOWED}Expected `str`, got `float` - at `$.params[1][2]`",
        ),
        (
            "too fine",
            "descent.py replied to step with parameter 1 holding 0x1.0000001p+0, which is no",
        ),
        (
            "too large",
            "descent.py replied to step with parameter 1 holding 0x1p+128, which is no float32",
        ),
        (
            "far too large",
            "descent.py replied to step with parameter 1 holding a number that no float64 can be",
        ),
        ("not a number", "step 1 of probe 'far' returned no finite number in any parameter"),
        (
            "no params",
            f"{NOT_ALLOWED}Object missing required field `params`",
        ),
        ("forgets", "descent.py replied to load with an error: cannot load"),
    ],
)
def test_misbehaviour_is_an_error_of_one_line(behaviour: str, expected: str) -> None:
    assert error(behaviour).startswith(expected)


def test_a_program_that_changes_is_an_error() -> None:
    assert error("changes").endswith("says in each process that it is something else")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("exec:", "exec: names no program; give exec:COMMAND, such as exec:./adamw"),
        ("exec:  ", "exec: names no program; give exec:COMMAND, such as exec:./adamw"),
        ("exec:'", "cannot split exec:': No closing quotation"),
        ("exec:./nowhere", "cannot run ./nowhere: No such file or directory"),
        ("exec:/", "cannot run /: Permission denied"),
        ("exec:a\0b", "cannot run a\0b: embedded null byte"),
    ],
)
def test_a_command_that_cannot_be_run_is_an_error(command: str, expected: str) -> None:
    assert check(command).error == expected


def test_a_program_of_this_folder_needs_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("descent.sh").touch()
    monkeypatch.chdir(tmp_path)
    error = check("exec:descent.sh").error or ""
    assert error.endswith("; for the file in this folder write ./descent.sh")


def test_nothing_goes_around_a_program() -> None:
    program: Any = Program(("true",))
    inside = Part(program, {})
    with pytest.raises(TargetError, match="nothing can go around a program here"):
        ProgramAdapter.of((inside, Part(dict, {}, wraps="argument")))


# The end of processes


def is_alive(pid: int) -> bool:
    """Whether a process runs, or is waiting for nobody."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child of a program that was killed belongs to process 1, which may not collect it.
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def ended(pids: Path) -> bool:
    """Whether every process that was noted ends soon."""
    noted = [int(line) for line in pids.read_text().split()]
    assert noted
    end = time.monotonic() + 5
    while any(map(is_alive, noted)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(is_alive, noted))


def test_a_program_that_is_late_at_start_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_FIRST_REPLY", 0.3)
    reason = error("hangs at start")
    assert reason == "the program did nothing for 0.3 s instead of replying to start"


@pytest.mark.parametrize("behaviour", ["hangs at init", "hangs"])
def test_a_program_that_is_late_is_killed(behaviour: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    assert "did not return within 0.5 s" in error(behaviour, pids, timeout=0.5)
    assert ended(pids)


def test_a_program_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_GRACE", 0.1)
    pids = tmp_path / "pids"
    assert check(descent("stays", pids)).conforms
    assert ended(pids)


def test_what_a_program_started_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    assert check(descent("spawns", pids)).conforms
    assert ended(pids)


def test_programs_end_with_the_interpreter(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import sys, numpy; from refopt.adapters.adapt import adapt, framework, imported; "
        "from refopt.adapters.adapter import Part; found = imported(sys.argv[1]); "
        "adapt((Part(found, {}),), framework(found)).start([numpy.zeros(2)], {})"
    )
    subprocess.run([sys.executable, "-c", code, descent("stays", pids)], check=True)
    assert ended(pids)


# Any line at all

REPLIES = [(Start, Started), (Init, Done), (Step, Stepped), (Save, Saved), (Load, Done)]
REQUESTS = {
    Start: Start(id=1, protocol=1),
    Init: Init(id=1, dtype="float32", shapes=(), params=(), hyperparameters={}, options={}),
    Step: Step(id=1, gradients=()),
    Save: Save(id=1),
    Load: Load(id=1, state=msgspec.Raw(b"1")),
}
KEYS = st.sampled_from(["id", "params", "state", "error", "skip", "protocol", "name", "accepts"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.floats() | st.text() | st.just("0x1p+0"),
    lambda inside: st.lists(inside) | st.dictionaries(KEYS, inside),
)
LINES = st.binary() | JSON.map(lambda value: json.dumps(value).encode())


@given(LINES, st.sampled_from(REPLIES))
def test_any_line_is_a_reply_or_a_clear_error(line: bytes, exchange: tuple[Any, Any]) -> None:
    request, kind = exchange
    try:
        reply = understood("it", line, kind, REQUESTS[request])
    except TargetError as error:
        reason = str(error)
    else:
        definition = {"$ref": f"#/$defs/{kind.__name__}", "$defs": SCHEMA["$defs"]}
        jsonschema.Draft202012Validator(definition).validate(json.loads(line))
        assert reply.id == 1
        return
    assert reason.isprintable()
    assert reason.startswith("it ")
    assert len(reason) < 1000
