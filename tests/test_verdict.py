"""Verdicts: as text for people, as JSON for programs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from textwrap import dedent
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from refopt.oracle.explanation import Difference, Explanation
from refopt.oracle.verdict import Deviation, Verdict
from refopt.specification import folder

SCHEMA = json.loads(folder().joinpath("schema", "verdict.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

CONFORMS = Verdict(
    target="torch.optim:Adam",
    spec="adam",
    dialect=None,
    dtype="float32",
    seed=0,
    outcome="conforms",
    precision="working",
    worst=0.4321,
    probes=("far", "dyadic"),
    seconds=0.0512,
)
DEVIATION = Deviation(
    probe="far",
    step=3,
    parameter=2,
    index=(1, 0),
    expected=-0.169313,
    got=-0.129795,
    bound=1.12e-6,
    ulps=2652003.27,
    hyperparameters={"lr": 0.25, "beta1": 0.75},
)
DEVIATES = replace(
    CONFORMS, outcome="deviates", precision=None, worst=46038.97, deviation=DEVIATION
)
ERROR = replace(
    CONFORMS,
    outcome="error",
    precision=None,
    worst=None,
    probes=(),
    error="step 3 of probe 'far' raised ValueError: no",
)
EXPLANATION = Explanation(
    "adam",
    None,
    (Difference("refopt/rules/adam.py", 9, "a = b", "a = c", "another name", ("typo",), ("url",)),),
    0.5,
)
ODD = replace(
    DEVIATES,
    worst=math.inf,
    deviation=replace(
        DEVIATION,
        got=math.nan,
        expected=-math.inf,
        bound=0.0,
        ulps=math.nan,
        hyperparameters={"schedule": {2: 0.5, 5: math.inf}},
    ),
    explanations=(EXPLANATION, EXPLANATION),
    notes=("a note",),
)
ALL = {"conforms": CONFORMS, "deviates": DEVIATES, "error": ERROR, "odd": ODD}


# Text


def lines(text: str) -> list[str]:
    """The lines of an indented literal."""
    return dedent(text).strip("\n").splitlines()


def test_a_conforming_target() -> None:
    assert str(CONFORMS).splitlines() == lines("""
        ✓ torch.optim:Adam conforms to adam (float32, seed 0, 0.05 s)
          largest error: 0.43 of its bound
          probes: far, dyadic
    """)


def test_a_target_that_conforms_with_rounded_hyperparameters_to_a_dialect() -> None:
    verdict = replace(
        CONFORMS, precision="float32-hyperparameters", dialect="optax", notes=("one", "two")
    )
    assert str(verdict).splitlines() == lines("""
        ✓ torch.optim:Adam conforms to adam as optax has it once its hyperparameters are rounded \
to float32 (float32, seed 0, 0.05 s)
          largest error: 0.43 of its bound
          probes: far, dyadic
          note: one
          note: two
    """)


def test_a_deviating_target_says_where_first_and_by_how_much() -> None:
    assert str(DEVIATES).splitlines()[:9] == lines("""
        ✗ torch.optim:Adam deviates from adam (float32, seed 0, 0.05 s)
          first in probe far, step 3, parameter 2[1, 0]
            expected  -0.169313
            got       -0.129795
            off by    0.0395 (2.65e+06 ulps)
            allowed   1.12e-06
            at lr=0.25, beta1=0.75
          largest error: 4.6e+04 times its bound
          no change of the reference explains it
    """)


def test_an_explanation_is_shown_as_a_difference_of_the_reference() -> None:
    text = str(replace(DEVIATES, explanations=(EXPLANATION,)))
    assert "refopt/rules/adam.py:9: another name\n" in text
    assert [line.strip() for line in text.splitlines() if line.strip()[:2] in ("- ", "+ ")] == [
        "- a = b",
        "+ a = c",
    ]


def test_a_target_that_could_not_be_checked_is_one_line() -> None:
    assert str(ERROR) == (
        "! torch.optim:Adam could not be checked against adam: "
        "step 3 of probe 'far' raised ValueError: no"
    )


@pytest.mark.parametrize(
    ("expected", "got", "shown"),
    [
        (1.0, 1.0 + 2**-20, ("1", "1.000000954")),
        (1.0, 1.0 + 2**-52, ("1", "1.0000000000000002")),
        (123456.0, 7.5, ("123456", "7.5")),
        (0.0, 1e-30, ("0", "1e-30")),
        (1.0, math.nan, ("1", "nan")),
        (math.inf, 1.0, ("inf", "1")),
    ],
)
def test_numbers_have_as_many_digits_as_show_the_difference(
    expected: float, got: float, shown: tuple[str, str]
) -> None:
    text = str(replace(DEVIATION, expected=expected, got=got))
    numbers = [line.split()[1] for line in text.splitlines()[1:3]]
    assert numbers == list(shown)


def test_a_distance_is_shown_where_there_is_one() -> None:
    assert "off by" in str(DEVIATION)
    assert "off by" not in str(replace(DEVIATION, got=math.nan))


# JSON


@pytest.mark.parametrize("name", ALL)
def test_json_goes_there_and_back_and_follows_the_schema(name: str) -> None:
    made = ALL[name].to_json()
    text = json.dumps(made, allow_nan=False)
    assert json.loads(text) == made
    VALIDATOR.validate(made)


def test_numbers_that_json_lacks_are_strings() -> None:
    made = ODD.to_json()
    assert made["worst"] == "inf"
    assert (made["deviation"]["expected"], made["deviation"]["got"]) == ("-inf", "nan")
    assert made["deviation"]["hyperparameters"] == {"schedule": {"2": 0.5, "5": "inf"}}
    assert float(made["deviation"]["expected"]) == -math.inf


def test_the_json_of_a_verdict() -> None:
    assert DEVIATES.to_json() == {
        "target": "torch.optim:Adam",
        "spec": "adam",
        "dialect": None,
        "dtype": "float32",
        "seed": 0,
        "outcome": "deviates",
        "precision": None,
        "worst": 46038.97,
        "deviation": {
            "probe": "far",
            "step": 3,
            "parameter": 2,
            "index": [1, 0],
            "expected": -0.169313,
            "got": -0.129795,
            "bound": 1.12e-6,
            "ulps": 2652003.27,
            "hyperparameters": {"lr": 0.25, "beta1": 0.75},
        },
        "error": None,
        "probes": ["far", "dyadic"],
        "notes": [],
        "explanations": [],
        "script": None,
        "seconds": 0.0512,
    }


@pytest.mark.parametrize(
    "spoilt",
    [
        {"outcome": "acceptable"},
        {"worst": "large"},
        {"precision": None},
        {"deviation": DEVIATES.to_json()["deviation"]},
        {"error": "why"},
        {"seed": -1},
        {"surprise": 1},
        {"probes": "far"},
    ],
    ids=str,
)
def test_the_schema_is_strict(spoilt: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(CONFORMS.to_json() | spoilt)


@pytest.mark.parametrize("name", ["deviation", "worst", "error"])
def test_an_outcome_comes_with_what_belongs_to_it(name: str) -> None:
    verdict = ERROR if name == "error" else DEVIATES
    assert VALIDATOR.is_valid(verdict.to_json())
    assert not VALIDATOR.is_valid(verdict.to_json() | {name: None})


@pytest.mark.parametrize("name", CONFORMS.to_json())
def test_every_field_is_required(name: str) -> None:
    made = CONFORMS.to_json()
    del made[name]
    assert not VALIDATOR.is_valid(made)


@pytest.mark.parametrize("file", ["verdict.json", "matrix.json"])
def test_schemas_are_schemas(file: str) -> None:
    schema = json.loads(folder().joinpath("schema", file).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)


def test_conforms() -> None:
    assert [verdict.conforms for verdict in (CONFORMS, DEVIATES, ERROR)] == [True, False, False]
