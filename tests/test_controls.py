"""Right targets, however they are written, conform."""

from __future__ import annotations

from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from controls.control import Control, fma, rounded
from hypothesis import given
from hypothesis import strategies as st

import refopt

MODULES = ("adam", "algebra", "architectures", "decay", "descent", "wrapped")
CONTROLS = [c for name in MODULES for c in import_module(f"controls.{name}").CONTROLS]


def name(control: Control) -> str:
    return f"{control.name}-{control.spec}"


@pytest.mark.parametrize("control", CONTROLS, ids=name)
def test_it_conforms(control: Control) -> None:
    assert_conforms(control, "float32")


@pytest.mark.parametrize("control", CONTROLS[::5], ids=name)
def test_some_of_them_in_double_precision(control: Control) -> None:
    assert_conforms(control, "float64")


def assert_conforms(control: Control, dtype: str) -> None:
    verdict = refopt.check(
        control.target, control.spec, dialect=control.dialect, dtype=dtype, explain=False
    )
    assert verdict.conforms, str(verdict)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_is_that_of_numpy(x: float) -> None:
    with np.errstate(over="ignore"):
        expected = np.float32(x)
    assert not np.isfinite(expected) or rounded(Fraction(x), np.dtype("float32")) == expected
    assert rounded(Fraction(x), np.dtype("float64")) == x


@given(*[st.floats(-(2.0**20), 2.0**20, width=32) for _ in range(3)])
def test_fused_multiply_add_rounds_once(x: Any, y: Any, z: Any) -> None:
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    fused = Fraction(float(fma(np.float32(x), np.float32(y), np.float32(z))))
    spacing = Fraction(float(np.spacing(np.float32(abs(fused)))))
    assert abs(fused - exact) <= spacing / 2
