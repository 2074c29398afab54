"""A sample of what ``python -m tests.fuzz`` runs."""

from __future__ import annotations

import re

import fuzz
import pytest

pytest.importorskip("flint", reason="python-flint is not installed")


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_almost_right_inputs_give_results_or_clear_errors(kind: str) -> None:
    fuzz.KINDS[kind].test(300)()


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_the_documents_themselves_are_read(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(fuzz, "clear", lambda message, start="": said.append(message))
    for document in fuzz.KINDS[kind].documents():
        fuzz.KINDS[kind].read(document)
    known = {
        # what small_vectors leaves out changes the layout, and one name serves all files
        "vectors": r"not laid out as|name: .* is not that of its specification",
        "protocol": r"it skips this: no float64|it replied to step with an error: what went wrong",
        "expression": r"nothing in .* has a dialect 'torch'",
        "deviations": r"known.toml: entry \d",
    }
    odd = [message for message in said if not re.search(known.get(kind, "^$"), message)]
    assert odd == []


def test_a_defect_is_found_and_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def read(text: str) -> None:
        if "eps" not in text:
            raise KeyError(text)

    kind = fuzz.Kind(lambda: ["adam(eps=1e-8)"], read)
    monkeypatch.setattr(fuzz, "KINDS", {"expression": kind})
    monkeypatch.setattr("sys.argv", ["fuzz", "expression", "--cases", "50"])
    assert fuzz.main() == 1
    out, err = capfd.readouterr()
    assert "expression: " in out
    assert "a defect found" in out
    assert "KeyError" in err


@pytest.mark.parametrize("message", ["", "x: ", "two\nlines", "much " * 1000, "bell \a"])
def test_an_error_that_is_not_clear_is_a_defect(message: str) -> None:
    with pytest.raises(AssertionError):
        fuzz.clear(message, "x: " if message == "x: " else "")
