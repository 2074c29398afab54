"""Golden vectors: what their files say, and what becomes of files that say something else."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from refopt import cli, specification, vectors
from refopt.vectors import VectorError, results
from refopt.vectors.file import (
    Step,
    Vector,
    elements,
    flags,
    hexadecimal,
    load,
    mistake_id,
    number,
    rendered,
)
from refopt.vectors.runs import run_of

pytest.importorskip("flint", reason="python-flint is not installed")

NAMES = specification.names()
SPEC = vectors.folder().parent
README = SPEC.joinpath("README.md").read_text("utf-8")
ALL = {name: load(name, vectors.folder())[0].vectors for name in NAMES}


def stored(name: str) -> Any:
    """The content of a file, to be changed."""
    return json.loads(vectors.folder().joinpath(f"{name}.json").read_text("utf-8"))


def problems(content: Any, name: str = "rescale") -> list[str]:
    """What linting and verifying find wrong with a file of some content."""
    text = json.dumps(content)
    try:
        file = vectors.parse(f"{name}.json", text)
    except VectorError as error:
        return [str(error)]
    found = [*vectors.lint(name, file, rendered(file)), *vectors.verify(file)]
    assert all(isinstance(problem, str) and "\n" not in problem for problem in found)
    return found


# The files


@pytest.mark.parametrize("name", NAMES)
def test_every_specification_has_vectors_that_hold(name: str) -> None:
    file, text = load(name, vectors.folder())
    assert list(vectors.lint(name, file, text)) == []
    assert list(vectors.verify(file)) == []


def test_there_are_no_other_files_and_they_are_small() -> None:
    files = list(vectors.folder().iterdir())
    assert {file.name for file in files} == {f"{name}.json" for name in NAMES}
    assert sum(file.stat().st_size for file in files) < 3e6


def test_every_form_has_vectors() -> None:
    for name in NAMES:
        forms = {vector.form.partition("(")[0] for vector in ALL[name]}
        assert forms == {name, *specification.load(name).forms}


def test_ids_are_unique_over_all_files() -> None:
    ids = [vector.id for file in ALL.values() for vector in file]
    assert len(ids) == len(set(ids))


def test_flags_are_explained_and_used() -> None:
    used = {flag for file in ALL.values() for vector in file for flag in vector.flags}
    assert used == flags().keys() == results.FLAGS.keys()


def test_files_follow_the_schema_of_other_languages() -> None:
    schema = json.loads(SPEC.joinpath("schema", "vectors.json").read_text("utf-8"))
    assert schema == json.loads(json.dumps(vectors.schema())), (
        "write it anew: python -c 'import json; from refopt.vectors import schema; "
        "print(json.dumps(schema(), indent=2))' > spec/schema/vectors.json"
    )
    validator = jsonschema.Draft202012Validator(schema)
    for name in ("adam", "cosine", "lazy", "piecewise_linear", "sgd"):
        validator.validate(stored(name))


# The README


def example() -> str:
    """The Python example of spec/README.md."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return str(code)


def ran(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-W", "error", "-c", code]
    return subprocess.run(command, cwd=SPEC, capture_output=True, text=True, check=False)


def test_the_example_runs_without_refopt_and_holds() -> None:
    done = ran(example())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("m[t] = beta1*m[t-1] + (1 - beta1)*g[t]\n")
    adam = [vector.id for vector in ALL["adam"] if vector.form == "adam"]
    assert re.findall(r"(\S+) holds", done.stdout) == adam
    assert len([line for line in example().splitlines() if line]) <= 20


@pytest.mark.parametrize(
    ("right", "wrong", "mistake"),
    [
        ("beta1**t", "beta1", None),
        (
            "sqrt(v / (1 - beta2**t)) + eps",
            "sqrt(v / (1 - beta2**t) + eps)",
            "epsilon inside the root",
        ),
        ("m + (1 - beta1) * g", "m + g", "the gradient in place of (1 - beta1) * g"),
        ("lr * h", "0.3 * h", "the learning rate stays as it was at the start"),
    ],
)
def test_the_example_finds_a_mistake(right: str, wrong: str, mistake: str | None) -> None:
    assert example().count(right) == 1
    done = ran(example().replace(right, wrong))
    assert "AssertionError: adam-far-1" in done.stderr
    assert mistake is None or mistake_id(mistake) in ALL["adam"][0].kills


def javascript() -> str:
    """The JavaScript example of spec/README.md."""
    (code,) = re.findall(r"```javascript\n(.*?)```", README, re.DOTALL)
    return str(code)


def ran_by_node(code: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    command = ["node", "-e", code]
    return subprocess.run(command, cwd=SPEC, capture_output=True, text=True, check=False)


def test_the_example_in_javascript_holds() -> None:
    done = ran_by_node(javascript())
    assert done.returncode == 0, done.stderr
    adam = [vector.id for vector in ALL["adam"] if vector.form == "adam"]
    assert re.findall(r"(\S+) holds", done.stdout) == adam


def test_the_example_in_javascript_finds_a_mistake() -> None:
    assert javascript().count("beta1 ** t") == 1
    done = ran_by_node(javascript().replace("beta1 ** t", "beta1"))
    assert "Error: adam-far-1" in done.stderr


def test_javascript_reads_the_numbers() -> None:
    (parser,) = re.findall(r"const number = (.*?\n\});?\n", javascript(), re.DOTALL)
    texts = {x for v in ALL["adam"] for s in v.steps for p in s.params for x in p}
    texts |= {hexadecimal(x) for x in (0.0, -3.0, 5e-324, 2.2e-308, 1.7e308, 0.1)}
    done = ran_by_node(f"console.log(JSON.stringify({sorted(texts)}.map({parser})))")
    assert json.loads(done.stdout) == [float.fromhex(text) for text in sorted(texts)]


# Exactness: the same in exact arithmetic that shares nothing with refopt's


def test_results_of_sgd_are_those_of_fractions() -> None:
    for vector in canonical("sgd"):
        momentum, dampening = (Fraction(real(vector, k)) for k in ("momentum", "dampening"))
        thetas = [[Fraction(number(x)) for x in p] for p in vector.params]
        buffers: list[list[Any]] = [[None] * len(p) for p in vector.params]
        for step in vector.steps:
            for i, j, value in given_elements(step):
                g, b = Fraction(value), buffers[i][j]
                b = buffers[i][j] = g if b is None else momentum * b + (1 - dampening) * g
                h = g + momentum * b if vector.hyperparameters["nesterov"] else b
                thetas[i][j] -= Fraction(number(step.lr)) * (h if momentum else g)
            assert _hexadecimals(thetas) == step.params, vector.id


def test_results_of_adam_are_those_of_60_digits() -> None:
    with localcontext(Context(prec=60)):
        for vector in canonical("adam"):
            beta1, beta2, eps = (Decimal(real(vector, k)) for k in ("beta1", "beta2", "eps"))
            thetas = [[Decimal(number(x)) for x in p] for p in vector.params]
            ms, vs = ([[Decimal(0)] * len(p) for p in vector.params] for _ in range(2))
            for step in vector.steps:
                for i, j, value in given_elements(step):
                    g, t = Decimal(value), step.counts[i]
                    m = ms[i][j] = beta1 * ms[i][j] + (1 - beta1) * g
                    v = vs[i][j] = beta2 * vs[i][j] + (1 - beta2) * g**2
                    h = m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps)
                    thetas[i][j] -= Decimal(number(step.lr)) * h
                assert _hexadecimals(thetas) == step.params, vector.id
                assert _hexadecimals(ms) == step.state["adam.m"], vector.id
                assert _hexadecimals(vs) == step.state["adam.v"], vector.id


def test_a_parameter_without_a_gradient_is_not_counted() -> None:
    for vector in ALL["adam"]:
        counts = [0] * len(vector.shapes)
        for step in vector.steps:
            counts = [n + (g is not None) for n, g in zip(counts, step.gradients, strict=True)]
            assert tuple(counts) == step.counts


def canonical(name: str) -> list[Vector]:
    """The vectors of the canonical form."""
    found = [vector for vector in ALL[name] if vector.form == name]
    assert found
    return found


def real(vector: Vector, name: str) -> float:
    """A hyperparameter that is a real number."""
    return number(str(vector.hyperparameters[name]))


def given_elements(step: Step) -> Iterator[tuple[int, int, float]]:
    """Which parameter, which element, and its gradient, where there is one."""
    for i, gradient in enumerate(step.gradients):
        for j, text in enumerate(gradient or ()):
            yield i, j, number(text)


def _hexadecimals(arrays: list[list[Any]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(hexadecimal(float(x)) for x in array) for array in arrays)


# PyTorch


def _adam(kind: str, **more: Any) -> Callable[..., Any]:
    def make(torch: Any, params: Any, **h: Any) -> Any:
        betas = h.pop("beta1"), h.pop("beta2")
        return getattr(torch.optim, kind)(params, betas=betas, **h, **more)

    return make


def _rmsprop(torch: Any, params: Any, rho: float, **h: Any) -> Any:
    return torch.optim.RMSprop(params, alpha=rho, **h)


def _adagrad(torch: Any, params: Any, initial_accumulator: float, **h: Any) -> Any:
    return torch.optim.Adagrad(params, initial_accumulator_value=initial_accumulator, **h)


TORCH: dict[str, Callable[..., Any]] = {
    "adadelta": lambda torch, params, **h: torch.optim.Adadelta(params, **h),
    "adagrad": _adagrad,
    "adam": _adam("Adam"),
    "adamax": _adam("Adamax"),
    "adamw": _adam("AdamW"),
    "amsgrad": _adam("Adam", amsgrad=True),
    "nadam": _adam("NAdam"),
    "radam_epsilon_hat": _adam("RAdam"),
    "rmsprop": _rmsprop,
    "sgd": lambda torch, params, **h: torch.optim.SGD(params, **h),
}
"""PyTorch's optimizers, made by hand: they agree with these forms."""


@pytest.mark.parametrize(
    "vector",
    [v for file in ALL.values() for v in file if v.id.split("-")[0] in TORCH],
    ids=lambda vector: vector.id,
)
def test_torch_in_float64_is_within_the_bounds(vector: Vector) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    # which NAdam keeps its product of momenta in, whatever the parameters are
    with _default_dtype(torch, torch.float64):
        _assert_within_bounds(torch, vector)


@contextmanager
def _default_dtype(torch: Any, dtype: Any) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _assert_within_bounds(torch: Any, vector: Vector) -> None:
    params = [
        torch.tensor(elements(p).reshape(shape), requires_grad=True)
        for p, shape in zip(vector.params, vector.shapes, strict=True)
    ]
    given = {k: number(v) if isinstance(v, str) else v for k, v in vector.hyperparameters.items()}
    target = TORCH[vector.id.split("-")[0]](torch, params, **given)
    for step in vector.steps:
        target.param_groups[0]["lr"] = number(step.lr)
        for p, g, shape in zip(params, step.gradients, vector.shapes, strict=True):
            p.grad = None if g is None else torch.tensor(elements(g).reshape(shape))
        target.step()
        got = np.concatenate([p.detach().numpy().ravel() for p in params])
        error = np.abs(got - elements(*step.params))
        assert np.all(error <= elements(*step.bound_float64.params))


def test_torch_has_the_state_of_adam() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    vector = ALL["adam"][0]
    x = torch.tensor(elements(vector.params[1]), requires_grad=True)
    given = {k: number(str(v)) for k, v in vector.hyperparameters.items()}
    target = TORCH["adam"](torch, [x], **given)
    for step in vector.steps:
        target.param_groups[0]["lr"] = number(step.lr)
        x.grad = torch.tensor(elements(step.gradients[1] or ()))
        target.step()
        for ours, theirs in {"adam.m": "exp_avg", "adam.v": "exp_avg_sq"}.items():
            error = np.abs(target.state[x][theirs].numpy() - elements(step.state[ours][1]))
            assert np.all(error <= elements(step.bound_float64.state[ours][1]))
        assert target.state[x]["step"] == step.counts[1]


# Kills


@pytest.mark.parametrize("name", ["adadelta", "sgd", "lookahead"])
def test_kills_are_those_of_today(name: str) -> None:
    for vector in ALL[name]:
        assert tuple(sorted(results.kills(run_of(vector), vector))) == vector.kills, (
            f"refopt vectors write {name}: the edits have changed"
        )


def test_every_form_of_a_rule_is_told_from_every_other() -> None:
    mistakes = json.loads((vectors.folder() / "adam.json").read_text("utf-8"))["mistakes"]
    for vector in ALL["adam"]:
        if vector.id.endswith("-far-1"):
            own = vector.form
            others = {form for form in specification.load("adam").forms if form != own}
            killed = "\n".join(mistakes[kill] for kill in vector.kills)
            for other in others:
                assert f"{other} where {own} belongs: " in killed


# Verifying

PLACES = st.sampled_from(
    [
        ("params",),
        ("state", "adam.m"),
        ("state", "adam.v"),
        ("bound_float32", "params"),
        ("bound_float64", "params"),
        ("bound_float64", "state", "adam.v"),
    ]
)


@given(st.data())
def test_a_changed_digit_is_found(data: st.DataObject) -> None:
    content = stored("adam")
    content["vectors"] = content["vectors"][data.draw(st.integers(0, 3)) :][:1]
    (vector,) = content["vectors"]
    index = data.draw(st.integers(0, len(vector["steps"]) - 1))
    place = data.draw(PLACES)
    part: Any = vector["steps"][index]
    for key in place:
        part = part[key]
    i = data.draw(st.sampled_from([i for i, numbers in enumerate(part) if numbers]))
    j = data.draw(st.integers(0, len(part[i]) - 1))
    mantissa, exponent = part[i][j].split("p")
    digit = "1" if mantissa[-1] != "1" else "3"
    part[i][j] = f"{mantissa[:-1]}{digit}p{exponent}" if "." in mantissa else f"{mantissa}.8p+1"
    (problem, *_) = vectors.verify(vectors.parse("adam.json", json.dumps(content)))
    assert problem.startswith(f"{vector['id']}: steps[{index}].{'.'.join(place)}[{i}][{j}]: ")


# Linting


def changed(path: str, value: Any) -> Callable[[Any], None]:
    """Sets what lies at a path, such as ``vectors.0.id``; deletes it where the value is None."""

    def change(content: Any) -> None:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        for key in parents:
            content = content[key]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return change


def _twice(content: Any) -> None:
    content["vectors"].append(content["vectors"][0])


WRONG: dict[str, tuple[Callable[[Any], None], str]] = {
    "another name": (changed("name", "adam"), "name: 'adam', in the file of 'rescale'"),
    "no vectors": (changed("vectors", []), "vectors: Expected `array` of length >= 1"),
    "an unknown key": (changed("vectors/0/note", 1), "rescale-sgd-far-1: .*unknown field `note`"),
    "a missing key": (changed("vectors/0/kills", None), "-far-1: .*missing required field `kills`"),
    "an odd id": (changed("vectors/0/id", "Rescale 1"), "Rescale 1: id: Expected an id, such as"),
    "an id twice": (_twice, "rescale-sgd-far-1: 2 vectors have this id"),
    "a flag unknown": (changed("vectors/0/flags", ["odd"]), "far-1: flags: .* not explain odd"),
    "a flag too few": (changed("vectors/0/flags", []), "far-1: flags: should be changing_learning"),
    "an odd order": (
        changed("vectors/0/kills", ["bbbbbb", "aaaaaa"]),
        "far-1: kills: not in alphabetical order",
    ),
    "no id": (
        changed("vectors/0/kills", ["a"]),
        r"far-1: kills\[0\]: Expected the id of a mistake",
    ),
    "a mistake unknown": (
        changed("vectors/0/kills", ["aaaaaa"]),
        "mistakes: .*aaaaaa.* in kills al",
    ),
    "another mistake": (changed("mistakes/aaaaaa", "x"), "mistakes: aaaaaa should be 2d7116: x"),
    "unprintable": (
        changed("mistakes/aaaaaa", "x\x7f"),
        r"mistakes: aaaaaa should be 55a7c0: x\\x7f",
    ),
    "another optimizer": (changed("vectors/0/form", "adamn"), "no optimizer is named 'adamn'"),
    "no expression": (changed("vectors/0/form", "sgd(("), "Expected the expression of an optimi"),
    "no hyperparameter": (
        changed("vectors/0/hyperparameters/scale", None),
        "far-1: hyperparameters: scale is missing",
    ),
    "another hyperparameter": (
        changed("vectors/0/hyperparameters/k", 1),
        "far-1: hyperparameters: k is missing, or too many",
    ),
    "a hyperparameter outside its domain": (
        changed("vectors/0/hyperparameters/momentum", "0x1p+0"),
        r"far-1: .*momentum must be in \[0, 1\), got 1.0",
    ),
    "a negative rate": (changed("vectors/0/steps/1/lr", "-0x1p+0"), "far-1: steps: lr must be in"),
    "a decimal": (
        changed("vectors/0/params/0/0", "0.5"),
        r"far-1: params\[0\]\[0\]: Expected a number, hexadecimal as C99 prints it",
    ),
    "a number": (changed("vectors/0/params/0/0", 0.5), r"params\[0\]\[0\]: Expected `str`, got"),
    "another spelling": (
        changed("vectors/0/params/0/0", "0x1.80p+0"),
        r"far-1: 0x1.80p\+0 should be written 0x1.8p\+0",
    ),
    "a number too large": (changed("vectors/0/params/0/0", "0x1p+1024"), "far-1: .* too large"),
    "a float64": (
        changed("vectors/0/params/0/0", "0x1.00000001p+0"),
        r"params: 0x1.00000001p\+0 is not a number of float32",
    ),
    "an element too few": (
        changed("vectors/0/steps/0/gradients/1", ["0x1p+0"]),
        r"far-1: 1 numbers for an array of shape \[3\]",
    ),
    "a gradient too few": (
        changed("vectors/0/steps/2/gradients/0", None),
        r"far-1: steps\[2\].gradients: 3 arrays for 4 shapes",
    ),
    "a result too few": (
        changed("vectors/0/steps/2/params/0", None),
        r"far-1: steps\[2\].params: not of the shapes",
    ),
    "a count too few": (
        changed("vectors/0/steps/2/counts", [1]),
        r"far-1: steps\[2\].counts: not one for each",
    ),
    "another state": (
        changed("vectors/0/steps/2/bound_float32/state/sgd.x", []),
        r"far-1: steps\[2\].bound_float32.state: not sgd.b",
    ),
    "a state of another shape": (
        changed("vectors/0/steps/2/state/sgd.b/1", ["0x1p+0", "0x1p+0"]),
        r"far-1: steps\[2\].state.sgd.b: not of the shapes",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused_with_the_place_and_the_reason(what: str) -> None:
    change, expected = WRONG[what]
    content = stored("rescale")
    change(content)
    assert re.search(expected, "\n".join(problems(content)))


def test_a_file_that_is_no_json_is_refused() -> None:
    deep = "[" * 100_000
    for text in ("", "{", "nul", deep, '{"a": ' * 100_000, "\ud800"):
        with pytest.raises(VectorError, match=r"^x\.json: (not JSON|top level): "):
            vectors.parse("x.json", text)


def test_a_key_twice_or_another_layout_is_found() -> None:
    file, text = load("rescale", vectors.folder())
    for other in (
        text.replace('"name":', '"name": "x",\n "name":'),
        text + " ",
        json.dumps(stored("rescale")),
    ):
        same = vectors.parse("rescale.json", other)
        assert same == file
        (problem,) = vectors.lint("rescale", same, other)
        assert "not laid out" in problem


def test_a_file_must_stay_small() -> None:
    file, _ = load("rescale", vectors.folder())
    (problem, *_) = vectors.lint("rescale", file, " " * 300_000)
    assert "300000 bytes are too large" in problem


# Fuzzing

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["0x1p+1023", "-0x1p-1074", "0x1.fffffffffffffp+1023", "0x0p+0", "-0x1p+0"])
    | st.sampled_from(["sgd", "adam", "lookahead(sgd, k=2)", "nadam(momentum_decay=1e300)"])
    | st.sampled_from(
        ["polynomial(sgd, decay_steps=1, power=1e300)", "rescale(sgd, scale=1e-300)"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def _walk(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a structure with every key of it."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield content, key
        if isinstance(value, dict | list):
            yield from _walk(value)


SMALL: Any = {**stored("rescale"), "vectors": stored("rescale")["vectors"][:1]}
SMALL["vectors"][0]["steps"] = SMALL["vectors"][0]["steps"][:2]


@given(st.data())
def test_a_mutated_file_gives_only_clear_errors(data: st.DataObject) -> None:
    content = json.loads(json.dumps(SMALL))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(_walk(content))))
        if data.draw(st.booleans()):
            container[key] = data.draw(JSON)
        elif isinstance(container, dict):
            del container[key]
        else:
            container.insert(key, container[data.draw(st.integers(0, len(container) - 1))])
    problems(content)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.data())
def test_any_numbers_give_only_clear_errors(data: st.DataObject) -> None:
    content = stored(data.draw(st.sampled_from(["nadam", "radam", "polynomial", "one_cycle"])))
    content["vectors"] = [data.draw(st.sampled_from(content["vectors"]))]
    (vector,) = content["vectors"]
    vector["steps"] = vector["steps"][:3]
    reals = [key for key, value in vector["hyperparameters"].items() if isinstance(value, str)]
    for key in reals:
        if data.draw(st.booleans()):
            vector["hyperparameters"][key] = hexadecimal(abs(data.draw(NUMBERS)))
    for step in vector["steps"]:
        step["lr"] = hexadecimal(abs(data.draw(NUMBERS)))
        x = data.draw(st.floats(width=32, allow_nan=False, allow_infinity=False))
        step["gradients"][0] = [hexadecimal(x)]
    problems(content, "nadam")


@given(st.data())
def test_mutated_text_gives_only_clear_errors(data: st.DataObject) -> None:
    text = json.dumps(SMALL)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 40, len(text))))
    mutated = text[:start] + data.draw(st.text(max_size=20)) + text[end:]
    with suppress(VectorError):
        vectors.parse("rescale.json", mutated)


# Writing


@pytest.mark.parametrize("name", ["rescale", "inverse_time"])
def test_writing_is_deterministic_and_keeps_what_is_there(tmp_path: Path, name: str) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    file = f"{name}.json"
    assert vectors.write(name, one)
    assert vectors.write(name, other)
    assert one.joinpath(file).read_bytes() == other.joinpath(file).read_bytes()
    assert not vectors.write(name, one)
    shutil.copy(vectors.folder() / file, tmp_path)
    vectors.write(name, tmp_path)
    assert without_kills(load(name, tmp_path)[0]) == without_kills(load(name, vectors.folder())[0])


def without_kills(file: vectors.VectorFile) -> list[Vector]:
    """The vectors without what follows from the edits of today."""
    return [msgspec.structs.replace(vector, kills=("aaaaaa",)) for vector in file.vectors]


def test_writing_adds_what_is_missing_and_keeps_what_was_added_by_hand(tmp_path: Path) -> None:
    content = stored("rescale")
    by_hand = content["vectors"].pop()
    by_hand["id"], by_hand["comment"] = "rescale-sgd-report-1", "from a report"
    content["vectors"].append(by_hand)
    tmp_path.joinpath("rescale.json").write_text(json.dumps(content), "utf-8")
    assert vectors.write("rescale", tmp_path)
    ids = [vector.id for vector in load("rescale", tmp_path)[0].vectors]
    assert ids == ["rescale-sgd-far-1", "rescale-sgd-report-1", "rescale-sgd-missing-1"]


@pytest.mark.parametrize("path", ["steps/1/params/1/0", "steps/0/lr", "params/0/0"])
def test_writing_refuses_to_change_a_vector(tmp_path: Path, path: str) -> None:
    content = stored("rescale")
    changed(f"vectors/0/{path}", "0x1.8p+0")(content)
    file = tmp_path / "rescale.json"
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(VectorError, match=r"rescale-sgd-far-1: steps\[.*a vector never changes"):
        vectors.write("rescale", tmp_path)
    assert json.loads(file.read_text("utf-8")) == content


def test_writing_refreshes_bounds_flags_and_kills(tmp_path: Path) -> None:
    content = stored("rescale")
    vector = content["vectors"][0]
    vector["flags"], vector["kills"] = [], ["aaaaaa"]
    vector["steps"][0]["bound_float32"]["params"][0] = ["0x1p+0"]
    tmp_path.joinpath("rescale.json").write_text(json.dumps(content), "utf-8")
    assert vectors.write("rescale", tmp_path)
    file, _ = load("rescale", tmp_path)
    assert without_kills(file) == without_kills(load("rescale", vectors.folder())[0])
    assert len(file.vectors[0].kills) > 50


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    content = stored("rescale")
    content["vectors"][0]["kills"] = ["aaaaaa"]
    file = tmp_path / "rescale.json"
    file.write_text(json.dumps(content), "utf-8")
    before = file.read_bytes()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    if moment == "write":
        monkeypatch.setattr("refopt.vectors.maintenance.kills", interrupted)
    elif moment == "fsync":
        monkeypatch.setattr(os, "fsync", interrupted)
    else:
        monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vectors.write("rescale", tmp_path)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


KILLED = """
import os, pathlib, signal, sys
from refopt import vectors


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


if sys.argv[1] == "fsync":
    os.fsync = killed
else:
    pathlib.Path.replace = killed
vectors.write("rescale", pathlib.Path(sys.argv[2]))
"""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_that_is_killed_leaves_the_old_file_whole(tmp_path: Path, moment: str) -> None:
    content = stored("rescale")
    content["vectors"][0]["kills"] = ["aaaaaa"]
    file = tmp_path / "rescale.json"
    file.write_text(json.dumps(content), "utf-8")
    before = file.read_bytes()
    command = [sys.executable, "-c", KILLED, moment, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert file.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2  # what was written by then stays beside it
    assert vectors.write("rescale", tmp_path)


# The command line


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["vectors", *arguments])


def test_commands_write_verify_and_lint(tmp_path: Path) -> None:
    folder = ["--folder", str(tmp_path)]
    assert command("write", "rescale", *folder).output == "rescale: written\n"
    assert command("write", "rescale", *folder).output == "rescale: unchanged\n"
    for what in ("verify", "lint"):
        done = command(what, "rescale", *folder)
        assert (done.exit_code, done.output[:10]) == (0, "2 vectors ")


def test_commands_name_file_vector_and_reason(tmp_path: Path) -> None:
    content = stored("rescale")
    content["vectors"][0]["steps"][0]["counts"][0] = 2
    file = tmp_path / "rescale.json"
    file.write_text(json.dumps(content), "utf-8")
    done = command("verify", "rescale", "--folder", str(tmp_path))
    assert done.exit_code == 1
    assert f"{file}: rescale-sgd-far-1: steps[0].counts[0]: 2 should be 1\n" in done.output
    done = command("lint", "nothing", "--folder", str(tmp_path))
    assert (done.exit_code, "no such file" in done.output) == (1, True)
    done = command("write", "nothing")
    assert (done.exit_code, "no specification is named 'nothing'" in done.output) == (2, True)


def test_without_flint_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flint", None)
    monkeypatch.delitem(sys.modules, "refopt.arithmetic.balls", raising=False)
    done = command("verify", "rescale")
    assert done.exit_code == 2
    assert done.output == (
        "refopt: exact results need python-flint: pip install 'refopt[vectors]'\n"
    )
    assert command("lint", "rescale").exit_code == 0


# Numbers


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_as_c_does_and_read_back(x: float) -> None:
    text = hexadecimal(x)
    assert number(text) == x
    assert re.fullmatch(r"-?0x[01](\.[0-9a-f]*[1-9a-f])?p[+-]\d+", text)
    assert math.copysign(1, number(text)) == (1 if x == 0 else math.copysign(1, x))


def test_the_flags_file_has_nothing_else() -> None:
    table = tomllib.loads(SPEC.joinpath("flags.toml").read_text("utf-8"))
    assert {key for entry in table.values() for key in entry} <= {"meaning", "effect", "links"}
