"""The probes tell every change of the reference from it."""

import pytest

from refopt import specification
from refopt.oracle.score import score

RULES = [
    name
    for name in specification.names()
    if specification.load(name).kind == "rule" and name != "radam"
]


@pytest.mark.parametrize("name", RULES)
def test_no_change_survives(name: str) -> None:
    result = score(name)
    assert result.survivors == ()
    assert result.killed > 0
    assert result.share == 1


def test_radam_s_threshold_itself_is_never_met() -> None:
    # They differ where rho is exactly 4, and where a quotient that is not used is 0/0.
    assert [edit.after for edit in score("radam").survivors] == [
        "rectified = rho >= 4",
        "denominator = (rho_inf - 4) * (rho_inf - 2) * rho",
    ]


def test_no_probe_is_idle() -> None:
    killed = {
        probe: count
        for name in ("adam", "lookahead", "lazy")
        for probe, (count, _) in score(name).kills.items()
    }
    assert all(killed.values())
