"""The probes tell every change of the reference from it."""

from __future__ import annotations

import json

import pytest

from refopt.oracle.score import Score, score

NAMES = [
    *("adagrad", "lion", "sgd"),
    *("clip_by_global_norm", "gradient_accumulation", "layer_adaptation", "lazy", "lookahead"),
    *("one_cycle", "piecewise_linear", "lamb", "radam"),
]
"""A sample; `refopt score` takes all, in CI."""


@pytest.fixture(scope="module")
def scores() -> dict[str, Score]:
    return {name: score(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_no_change_survives(name: str, scores: dict[str, Score]) -> None:
    result = scores[name]
    assert result.survivors == ()
    assert result.killed > 0
    assert result.share == 1
    assert result.killed + len(result.equivalent) == len(result.kills)
    assert str(result).endswith("0 survive: 100%")


def test_radam_s_threshold_is_never_met(scores: dict[str, Score]) -> None:
    after = {edit.after for edit in scores["radam"].equivalent}
    assert "rectified = rho >= 4" in after
    assert "denominator = (rho_inf - 4) * (rho_inf - 2) * rho" in after


def test_what_shows_only_in_pinned_expressions_says_so(scores: dict[str, Score]) -> None:
    pinned = {kill.edit.after: kill.pins for kill in scores["one_cycle"].kills if kill.pins}
    assert pinned["up = n / peak"] == {"total_steps": 4, "pct_start": 0.25}
    assert all(kill.probes for kill in scores["one_cycle"].kills if kill.pins)


def test_every_probe_of_formulas_kills_what_no_other_does(scores: dict[str, Score]) -> None:
    alone = {
        probe
        for result in scores.values()
        for probe, (_, count) in result.by_probe().items()
        if count
    }
    every = {probe for result in scores.values() for probe in result.probes}
    # far is that which the others vary; missing is for what no formula says; zero kills lars's
    # alone, which takes longer than this sample
    assert every - alone == {"far", "missing", "zero"}


def test_a_variant_is_scored_by_its_own_lines(scores: dict[str, Score]) -> None:
    files = {kill.edit.file for kill in scores["lookahead"].kills}
    assert "refopt/rules/sgd.py" not in files
    assert "refopt/variants/lookahead.py" in files


def test_the_matrix_as_json_says_which_probe_kills_what(scores: dict[str, Score]) -> None:
    result = scores["lazy"]
    content = json.loads(json.dumps(result.to_json()))
    assert (content["killed"], content["survivors"]) == (result.killed, 0)
    assert {probe for edit in content["edits"] for probe in edit["probes"]} <= {*result.probes}
    assert sum(not edit["probes"] for edit in content["edits"]) == content["equivalent"]
    assert len(result.table().splitlines()) == len(result.probes)
