"""Scripts that reproduce a deviation: as small as they can be, and true when they are run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import refopt

STRANGE = '''
import numpy as np

class Strange:
    """Nothing that anybody would write."""

    def __init__(self, params, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        self.params, self.lr, self.eps = list(params), lr, eps
        self.beta1 = beta1

    def set_lr(self, lr):
        self.lr = lr

    def step(self, grads):
        for i, g in enumerate(grads):
            if g is not None:
                h = np.tanh(self.beta1 * g) / np.cbrt(abs(g) + self.eps)
                self.params[i] = np.asarray(self.params[i] - self.lr * h, g.dtype)
        return self.params

class LateStrange(Strange):
    """Right in the first two steps, as far as SGD goes, and only so for single numbers."""

    steps = 0

    def step(self, grads):
        self.steps += 1
        if self.steps > 2 and len(grads) > 1:
            return super().step(grads)
        for i, g in enumerate(grads):
            if g is not None:
                self.params[i] = np.asarray(self.params[i] - self.lr * g, g.dtype)
        return self.params
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("targets") / "strange.py"
    path.write_text(STRANGE)
    return path


@pytest.fixture(scope="module")
def verdict(file: Path) -> refopt.Verdict:
    return refopt.check(f"{file}:Strange", "adam")


def printed(script: str) -> tuple[float, float, float]:
    """What a script prints: what the target returned, what was expected, what was allowed."""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    numbers = re.fullmatch(r"got (\S+) expected (\S+) allowed (\S+)\n", ran.stdout)
    assert numbers is not None, ran.stdout
    got, expected, allowed = map(float, numbers.groups())
    return got, expected, allowed


def test_the_script_of_a_check_reproduces_the_deviation(verdict: refopt.Verdict) -> None:
    assert verdict.outcome == "deviates"
    assert verdict.explanations == ()
    assert verdict.script is not None
    got, expected, allowed = printed(verdict.script)
    assert abs(got - expected) > allowed
    assert verdict.to_json()["script"] == verdict.script
    assert "reproduced by:" in str(verdict)


def test_the_script_is_cut_to_one_step_of_one_number(verdict: refopt.Verdict) -> None:
    script = verdict.script
    assert script is not None
    (params,) = re.findall(r"^params = \[(.*)\]$", script, re.MULTILINE)
    steps = re.findall(r"^    \(.*\),$", script, re.MULTILINE)
    assert params.count("np.array") == 1
    assert len(steps) == 1
    assert len(script.splitlines()) <= 18


def test_what_it_needs_is_left_in_the_script(file: Path) -> None:
    verdict = refopt.check(f"{file}:LateStrange", "sgd")
    assert verdict.script is not None
    assert verdict.script.count("\n    (") == 3
    assert verdict.script.splitlines()[4].count("np.array") == 5
    got, expected, allowed = printed(verdict.script)
    assert abs(got - expected) > allowed


def test_the_script_of_an_identification_compares_with_the_closest(file: Path) -> None:
    found = refopt.identify(f"{file}:Strange", "adam")
    assert found.outcome == "unknown"
    assert found.script is not None
    got, expected, allowed = printed(found.script)
    assert abs(got - expected) > allowed
    assert found.script.splitlines()[0] in str(found)


def test_a_target_without_a_name_is_left_to_the_reader() -> None:
    class Local:
        def __init__(self, params: list[np.ndarray], *, lr: float = 0.1) -> None:
            self.params, self.lr = params, lr

        def step(self, grads: list[np.ndarray | None]) -> list[np.ndarray]:
            return [
                p if g is None else np.tanh(p * g) for p, g in zip(self.params, grads, strict=True)
            ]

    script = refopt.check(Local, "sgd").script
    assert script is not None
    assert "Target = ...  # the target that was checked" in script


def test_what_is_explained_needs_no_script() -> None:
    assert refopt.check("optax:adam", "adamw(weight_decay=0.1)").script is None
