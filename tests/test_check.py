"""Checks: correct targets conform, others deviate where they do, and the rest is an error."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import targets

import refopt
from refopt.oracle.probes import probes
from refopt.oracle.subject import described
from refopt.oracle.verdict import Verdict

HERE = Path(__file__).parent
IDS = tuple(probe.id for probe in probes({}))


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """Lets threads that hang end with their test."""
    targets.Hangs.release.clear()
    yield
    targets.Hangs.release.set()


def check(target: Any, spec: str = "adam", **settings: Any) -> Verdict:
    """A check without the search for an explanation, which has tests of its own."""
    verdict: Verdict = refopt.check(target, spec, **{"explain": False, **settings})
    return verdict


def changing(change: Callable[[int, targets.Arrays], None]) -> type[targets.Descent]:
    """Gradient descent whose results are changed: ``change(step, params)``."""

    class Changing(targets.Descent):
        count = 0

        def step(self, grads: targets.Gradients) -> Any:
            self.count += 1
            params = [p.copy() for p in super().step(grads)]
            change(self.count, params)
            return params

    return Changing


# Correct targets


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_textbook_conforms(dtype: str, seed: int) -> None:
    verdict = refopt.check(targets.Adam, "adam", dtype=dtype, seed=seed)
    assert verdict.conforms, str(verdict)
    assert (verdict.dtype, verdict.seed, verdict.probes) == (dtype, seed, IDS)
    assert verdict.precision == "working"
    assert verdict.notes == ()
    assert verdict.worst is not None
    assert verdict.worst <= 1
    if dtype == "float32":
        assert verdict.worst > 0.2


def test_what_a_target_does_not_take_stays_as_the_expression_has_it() -> None:
    verdict = check(targets.Descent, targets.SGD_SPEC)
    assert verdict.conforms, str(verdict)
    assert not check(targets.Descent, targets.SGD_SPEC.replace("0.25", "0.125")).conforms


def test_decay_rates_that_are_rounded_to_float32_are_said_so() -> None:
    spec = "adam(beta2=0.9999)"
    verdict = check(targets.RoundsRates, spec)
    assert verdict.conforms, str(verdict)
    assert verdict.precision == "float32-hyperparameters"
    assert check(targets.Adam, spec).precision == "working"


def test_a_dialect_is_another_form() -> None:
    assert check(targets.EpsilonHat, "adam_epsilon_hat").conforms
    verdict = check(targets.Adam, "adamw(weight_decay=0.0)", dialect="torch")
    assert verdict.conforms, str(verdict)
    assert verdict.dialect == "torch"


def test_nan_and_infinity_conform_where_the_reference_has_them() -> None:
    verdict = check(targets.without_epsilon, "adam(eps=0.0)")
    assert verdict.conforms, str(verdict)  # a gradient of zero gives 0/0


# Notes


def test_notes_say_what_was_not_exercised() -> None:
    assert check(targets.OnlySteps).notes == (
        "the target has no set_lr: changes of the learning rate were not exercised",
        "the target lacks state_dict or load_state_dict: saving and loading was not exercised",
    )


def test_a_hyperparameter_that_the_target_does_not_take_is_noted() -> None:
    assert check(targets.TakesNoEpsilon).notes == (
        "the target takes no eps: it was expected to be 1e-08",
        "the target's argument epsilon stayed 1e-08: refopt calls it eps",
    )
    assert check(targets.TakesNoEpsilon, "adam(eps=1e-8)").notes == ()


def test_an_argument_under_another_name_is_noted() -> None:
    def named_otherwise(
        params: targets.Arrays,
        learning_rate: float = 0.1,
        betas: Any = (0.9, 0.99),
        wd: float = 0.0,
    ) -> targets.Descent:
        assert (learning_rate, betas, wd) == (0.1, (0.9, 0.99), 0.0)
        return targets.Descent(params)

    notes = check(named_otherwise, targets.SGD_SPEC).notes
    assert "the target's argument learning_rate stayed 0.1: refopt calls it lr" in notes
    assert (
        "the target's argument betas stayed (0.9, 0.99): refopt calls it beta1 and beta2" in notes
    )
    assert not any("wd" in note for note in notes)  # of 0 it does nothing


def test_a_hyperparameter_that_the_spec_has_not_is_noted() -> None:
    def decaying(params: targets.Arrays, weight_decay: float = 0.1) -> targets.Descent:
        assert weight_decay == 0.1
        return targets.Descent(params)

    notes = check(decaying, targets.SGD_SPEC).notes
    assert "the target's argument weight_decay stayed 0.1" in notes


def test_an_argument_that_nothing_sets_needs_a_default() -> None:
    def stepping(params: targets.Arrays, grads: targets.Arrays) -> targets.Arrays:
        return [p - g for p, g in zip(params, grads, strict=True)]

    reason = why(stepping)
    assert "this one needs 'grads', which the spec has not: give it a default" in reason


def test_a_flag_that_stays_is_noted() -> None:
    def flagged(params: targets.Arrays, nesterov: bool) -> targets.Descent:
        assert nesterov is False
        return targets.Descent(params)

    notes = check(flagged, targets.SGD_SPEC).notes
    assert "nesterov stayed False; check with nesterov=True in the spec as well" in notes


# Deviations


def test_a_deviation_is_found_at_its_element() -> None:
    def late(step: int, params: targets.Arrays) -> None:
        if step == 3 and len(params) > 2:
            params[2][1, 2] += np.float32(2**-10)

    verdict = check(changing(late), targets.SGD_SPEC)
    first = verdict.deviation
    assert verdict.outcome == "deviates"
    assert first is not None
    assert (first.probe, first.step, first.parameter, first.index) == ("far", 3, 2, (1, 2))
    assert first.got - first.expected == pytest.approx(2**-10, abs=4 * first.bound)
    assert 0 < first.bound < 1e-5
    assert verdict.worst is not None
    assert verdict.worst >= abs(first.got - first.expected) / first.bound
    spacing = float(np.spacing(np.float32(abs(first.expected))))
    assert first.ulps == abs(first.got - first.expected) / spacing
    assert first.hyperparameters["lr"] == 0.25


def test_the_hyperparameters_of_a_deviation_are_those_of_its_step() -> None:
    deviation = check(targets.EpsilonHat).deviation
    assert deviation is not None
    assert deviation.hyperparameters == {"lr": 0.3, "beta1": 0.8, "beta2": 0.7, "eps": 0.01}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_deviates(value: float) -> None:
    def spoilt(step: int, params: targets.Arrays) -> None:
        if step == 2 and len(params) > 1:
            params[3][4] = value

    verdict = check(changing(spoilt), targets.SGD_SPEC)
    assert verdict.outcome == "deviates"
    assert verdict.deviation is not None
    assert (verdict.deviation.step, verdict.deviation.index) == (2, (4,))
    assert verdict.deviation.got == pytest.approx(value, nan_ok=True)
    assert math.isfinite(verdict.deviation.expected)
    assert verdict.worst == math.inf


def test_a_number_deviates_where_the_reference_has_none() -> None:
    def careful(params: targets.Arrays, **hyperparameters: float) -> targets.Adam:
        return targets.Adam(params, **hyperparameters | {"eps": 1e-30})

    verdict = check(careful, "adam(eps=0.0)")
    assert verdict.deviation is not None
    assert math.isnan(verdict.deviation.expected)
    assert math.isnan(verdict.deviation.ulps)


def test_what_keeps_gradients_deviates() -> None:
    assert check(targets.KeepsGradients, targets.SGD_SPEC).outcome == "deviates"


# Explanations


def test_a_deviation_is_explained_by_the_line_that_differs() -> None:
    verdict = refopt.check(targets.EpsilonHat, "adam")
    assert verdict.outcome == "deviates"
    assert "adam_epsilon_hat" in str(verdict) or "epsilon-hat" in str(verdict)


def test_a_dialect_that_lacks_what_the_expression_pins_is_no_form_of_it() -> None:
    verdict = refopt.check(targets.Descent, "sgd(momentum=0.8, dampening=0.3)")
    assert verdict.outcome == "deviates"
    assert "has no hyperparameter 'dampening'" not in str(verdict)


def test_a_target_that_fails_in_its_confirmation_still_deviates() -> None:
    starts = len(IDS) + 1  # one probe starts a second one, which it loads into
    count = 0

    def tiring(params: targets.Arrays, **hyperparameters: float) -> targets.Adam:
        nonlocal count
        count += 1
        if count > starts:
            raise MemoryError("no more")
        return targets.EpsilonHat(params, **hyperparameters)

    verdict = refopt.check(tiring, "adam")
    assert verdict.outcome == "deviates"
    assert verdict.explanations == ()
    assert verdict.notes[-1].startswith("nothing confirmed an explanation: starting the target")


# Errors of the target


def why(target: Any, spec: str = targets.SGD_SPEC, **settings: Any) -> str:
    """Why there is no outcome."""
    verdict = check(target, spec, **settings)
    assert verdict.outcome == "error", str(verdict)
    assert verdict.error is not None
    assert "\n" not in verdict.error
    assert (verdict.worst, verdict.precision, verdict.deviation) == (None, None, None)
    return verdict.error


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (targets.refusing, "raised RuntimeError: no room for 5 parameters and a second line"),
        (targets.failing(ValueError("no")), "step 3 of probe 'far' raised ValueError: no"),
        (targets.Exits, "step 1 of probe 'far' raised SystemExit: 0"),
        (targets.answering(lambda params: params[1:]), "returned 4 arrays for 5 parameters"),
        (targets.MutatesGradients, "changed gradient 0, which belongs to the caller"),
        (targets.number, "int cannot be called; a target is a class or function"),
        (None, "NoneType cannot be called; a target is a class or function"),
        (object(), "object cannot be called; a target is a class or function"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_target_that_does_not_do(target: Any, reason: str) -> None:
    assert reason in why(target)


def test_a_target_that_never_returns_takes_no_longer_than_allowed() -> None:
    assert "did not return within 0.3 s" in why(targets.Hangs, timeout=0.3)
    hanging = [t for t in threading.enumerate() if t.name == "refopt target"]
    assert all(thread.daemon for thread in hanging)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_target_that_returns_no_number_at_all(value: float) -> None:
    nothing = targets.answering(lambda params: [np.full_like(p, value) for p in params])
    assert why(nothing) == "step 1 of probe 'far' returned no finite number in any parameter"


def test_no_number_at_all_may_have_an_explanation() -> None:
    verdict = refopt.check(targets.CountsFromZero, "adam")
    assert verdict.outcome == "error"
    assert verdict.error == "step 1 of probe 'far' returned no finite number in any parameter"
    differences = [d for found in verdict.explanations for d in found.differences]
    assert any("step count" in difference.description for difference in differences)


FILES = {
    "raises.py": "1 / 0",
    "wrong.py": "def f(:",
    "exits.py": "import sys\nsys.exit(0)",
    "lacks.py": "import a_module_that_is_nowhere",
    "empty.py": "",
}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises.py:f", "cannot import {}/raises.py: ZeroDivisionError: division by zero (raises"),
        ("wrong.py:f", "cannot import {}/wrong.py: SyntaxError: invalid syntax (wrong.py, line 1)"),
        ("exits.py:f", "cannot import {}/exits.py: SystemExit: 0 (exits.py, line 2)"),
        ("lacks.py:f", "No module named 'a_module_that_is_nowhere'; is it installed?"),
        ("empty.py:f", "{}/empty.py has no attribute 'f'"),
        ("absent.py:f", "there is no file {}/absent.py"),
        ("empty.py:", "is not of the form package.module:attribute"),
        ("empty.py", "package.module:attribute; name what is in it: {}/empty.py:MyOptimizer"),
    ],
)
def test_a_file_that_cannot_be_imported(name: str, reason: str, tmp_path: Path) -> None:
    for file, text in FILES.items():
        tmp_path.joinpath(file).write_text(text)
    assert reason.format(tmp_path) in why(f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a_module_that_is_nowhere:f", "cannot import a_module_that_is_nowhere: No module named"),
        ("math.nowhere:f", "cannot import math.nowhere: No module named"),
        ("math:nowhere", "math has no attribute 'nowhere'"),
        ("math:pi.nowhere", "math has no attribute 'pi.nowhere'"),
        (".relative:f", "cannot import .relative: TypeError: "),
        ("math.pi", "'math.pi' is not of the form package.module:attribute; did you mean math:pi?"),
        (":f", "':f' is not of the form package.module:attribute"),
        ("", "'' is not of the form package.module:attribute"),
    ],
)
def test_a_name_that_names_nothing(name: str, reason: str) -> None:
    assert why(name).startswith(reason)


def test_a_target_in_a_file_may_be_called_like_any_module(tmp_path: Path) -> None:
    file = tmp_path / "random.py"
    file.write_text((HERE / "targets.py").read_text())
    assert check(f"{file}:Adam").conforms
    import random

    assert random.random.__module__ is None  # still that of the standard library


# Errors of what was asked


@pytest.mark.parametrize(
    ("asked", "error", "reason"),
    [
        ({"spec": "adan"}, ValueError, "'adan'; did you mean adam"),
        ({"spec": "no such thing"}, ValueError, "is not an expression such as"),
        ({"spec": "lookahead(adam"}, ValueError, "is not an expression such as"),
        ({"spec": ""}, ValueError, "is not an expression such as"),
        ({"spec": f"adam(lr={'-' * 5000}1)"}, ValueError, "is not an expression such as"),
        ({"spec": "adam + sgd"}, ValueError, "is not an optimizer"),
        ({"spec": "lookahead"}, ValueError, "needs an optimizer inside"),
        ({"spec": "adam(beta3=0.5)"}, TypeError, "no hyperparameter 'beta3'; did you mean"),
        ({"spec": "adam(beta1=1.0)"}, ValueError, r"beta1 must be in \[0, 1\), got 1.0"),
        ({"spec": "adam(beta1='x')"}, ValueError, r"beta1 must be in \[0, 1\), got 'x'"),
        ({"spec": "adam(beta1=x)"}, ValueError, "'x' in 'adam.beta1=x.' is not a number"),
        ({"spec": "lookahead(adam, k=2.5)"}, ValueError, "k must be integers in"),
        ({"spec": refopt.adam()}, TypeError, "spec must be an expression such as"),
        ({"dialect": "pytorch"}, ValueError, "no.* dialect 'pytorch'; it has: torch, .*keras"),
        (
            {"dtype": "float8"},
            ValueError,
            "one of float32, float64, bfloat16, float16, got 'float8'",
        ),
        ({"dtype": "int32"}, ValueError, "one of float32, float64, bfloat16, float16, got 'int32'"),
        ({"seed": -1}, ValueError, "seed must be an integer from 0 on, got -1"),
        ({"timeout": 0}, ValueError, "timeout must be a positive number of seconds, got 0"),
        ({"timeout": math.nan}, ValueError, "timeout must be a positive number of seconds, got na"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_question_that_makes_no_sense(
    asked: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        check(targets.Adam, **{"spec": "adam", **asked})


# Options and names


def test_options_are_passed_as_they_are() -> None:
    seen: list[Any] = []

    def optional(params: targets.Arrays, mode: str = "slow") -> targets.Descent:
        seen.append(mode)
        return targets.Descent(params)

    assert check(optional, targets.SGD_SPEC, options={"mode": "fast"}).conforms
    assert set(seen) == {"fast"}
    assert "unexpected keyword argument 'speed'" in why(optional, options={"speed": 1})


def test_a_target_is_called_by_its_name_or_as_one_says() -> None:
    assert check(f"{HERE}/targets.py:Adam").target == f"{HERE}/targets.py:Adam"
    assert check(targets.Adam).target == "targets:Adam"
    assert check(targets.Adam, name="mine").target == "mine"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (targets.Adam, "targets:Adam"),
        (targets.without_epsilon, "targets:without_epsilon"),
        (functools.partial(targets.Adam, eps=0.5), "targets:Adam"),
        (targets.Adam([]), "targets:Adam"),
    ],
    ids=["a class", "a function", "a partial", "an instance"],
)
def test_targets_are_described(target: Any, name: str) -> None:
    assert described(target) == name
