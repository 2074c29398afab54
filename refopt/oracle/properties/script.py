"""Minimal cases as scripts that run on their own: NumPy, refopt and the target."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from refopt.oracle.probes import Layout, Probe
from refopt.oracle.properties.bench import Bench

_LAYOUTS: Final[Mapping[Layout, str]] = {
    "contiguous": "{g}",
    "gaps": "np.repeat({g}[..., None], 2, -1)[..., 0]",
    "columns": "np.asfortranarray({g})",
    "backwards": "np.flip(np.flip({g}).copy())",
    "offset": "np.append(np.zeros(1, {g}.dtype), {g})[1:].reshape({g}.shape)",
}
"""Gradients in the memory that a case has them in."""


def of_runs(bench: Bench, statement: str, runs: Mapping[str, Probe], check: Iterable[str]) -> str:
    """A script that runs cases, each under a name, and asserts something about the results."""
    changes = any(len(set(case.rates)) > 1 for case in runs.values())
    resumes = any(case.resumes_after for case in runs.values())
    loop = "for lr, grads in steps" if changes else "for grads in steps"
    lines = [
        *textwrap.wrap(f"# {statement}", 96, subsequent_indent="# "),
        "import numpy as np",
        "import refopt",
        "",
        *_preamble(bench),
        "",
        f"def run(params, steps{', resumes_after=0' * resumes}, **hyperparameters):",
        f"    target = {start(bench)}",
        f"    {'for step, grads in enumerate(steps, 1)' if resumes else loop}:",
        *["        target.set_lr(lr)"] * (changes and not resumes),
        "        params = target.step(grads)",
    ]
    if resumes:
        lines += [
            "        if step == resumes_after:",
            "            saved = target.state_dict()",
            f"            target = {start(bench)}",
            "            target.load_state_dict(saved)",
        ]
    lines += ["    return params", "", ""]
    for name, case in runs.items():
        lines.append(f"{name} = run({_case(bench, case, changes)})")
    return "\n".join([*lines, *check]) + "\n"


def of_calls(bench: Bench, statement: str, calls: Iterable[str]) -> str:
    """A script that calls one target in turn."""
    return (
        "\n".join(
            [
                *textwrap.wrap(f"# {statement}", 96, subsequent_indent="# "),
                "import numpy as np",
                "import refopt",
                "",
                *_preamble(bench),
                *calls,
            ]
        )
        + "\n"
    )


def of_case(bench: Bench, statement: str) -> str:
    """A script that runs the case that ran last, and asserts nothing."""
    return of_runs(bench, statement, {"one": bench.running} if bench.running else {}, [])


def start(bench: Bench, hyperparameters: str = "**hyperparameters") -> str:
    """The call that starts the target."""
    examination = bench.examination
    given = [bench.target_text, "params", f"spec={examination.spec!r}"]
    given += [f"dialect={examination.dialect!r}"] if examination.dialect else []
    given += [f"options={dict(bench.options)!r}"] if bench.options else []
    return f"refopt.start({', '.join([*given, hyperparameters])})"


def started(bench: Bench, case: Probe) -> list[str]:
    """The lines that start the target of a case."""
    values = settings(bench, case.hyperparameters)
    given = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return [f"params = [{', '.join(map(literal, case.params))}]", f"target = {start(bench, given)}"]


def stepped(bench: Bench, case: Probe) -> list[str]:
    """The lines that take the steps of a case."""
    lr = bench.lr(case.hyperparameters)
    lines, now = [], 1.0
    for gs, rate in zip(case.gradients, case.rates, strict=True):
        if bench.takes_rates and rate != now:
            lines.append(f"target.set_lr({lr * rate!r})")
            now = rate
        lines.append(f"params = target.step({gradients(gs)})")
    return lines


def gradients(gs: Sequence[np.ndarray | None], layout: Layout = "contiguous") -> str:
    """The gradients of a step."""
    return (
        "["
        + ", ".join("None" if g is None else _LAYOUTS[layout].format(g=literal(g)) for g in gs)
        + "]"
    )


def settings(bench: Bench, given: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that a target is given, but those that it has anyway."""
    known = bench.optimizer.hyperparameters()
    own = bench.settings(given)
    taken = bench.examination.subject.adapter.accepted()
    return {n: v for n, v in own.items() if n in taken and (n == "lr" or v != known[n])}


def literal(array: np.ndarray) -> str:
    """An array as NumPy code: numbers that repeat are said once."""
    kind = f"np.{array.dtype}" if array.dtype.name in ("float16", "float32", "float64") else ""
    flat = np.ravel(array)

    def text(numbers: np.ndarray) -> str:
        values = ", ".join(f"{float(x)!r}" for x in numbers)
        values = values.replace("nan", "np.nan").replace("inf", "np.inf")
        return f"{kind}([{values}])" if kind else f"np.array([{values}], {array.dtype.name!r})"

    if not array.ndim:
        return f"{text(flat)}[0]" if not kind else f"{kind}({float(array)!r})"
    if (period := _period(flat)) is not None:
        numbers = text(flat[:period])
        is_all = period == flat.size and array.ndim == 1
        return numbers if is_all else f"np.resize({numbers}, {array.shape})"
    if (period := _period(flat[::-1])) is not None:
        return f"np.flip(np.resize({text(flat[::-1][:period])}, {array.shape}))"
    for shift in range(1, flat.size):
        rolled = np.roll(flat, -shift)
        if (period := _period(rolled)) is not None:
            return f"np.roll(np.resize({text(rolled[:period])}, {array.shape}), {shift})"
    return f"{text(flat)}.reshape{array.shape}"


def element(index: Sequence[int]) -> str:
    """An index as it stands behind an array."""
    return f"[{', '.join(map(str, index))}]" if len(index) else ""


def _period(flat: np.ndarray) -> int | None:
    """After how many numbers they repeat, if that is soon."""
    for period in range(1, min(8, flat.size) + 1):
        if np.array_equal(np.resize(flat[:period], flat.shape), flat, equal_nan=True):
            return period
    return 0 if not flat.size else None


def _case(bench: Bench, case: Probe, changes: bool) -> str:
    lr = bench.lr(case.hyperparameters)
    steps = [
        f"{f'({lr * rate!r}, ' * changes}{gradients(gs, case.layout)}{')' * changes}"
        for gs, rate in zip(case.gradients, case.rates, strict=True)
    ]
    parts = [f"[{', '.join(map(literal, case.params))}]", f"[{', '.join(steps)}]"]
    parts += [f"resumes_after={case.resumes_after}"] if case.resumes_after else []
    parts += [f"{n}={value!r}" for n, value in settings(bench, case.hyperparameters).items()]
    one_line = ", ".join(parts)
    return one_line if len(one_line) < 80 else "\n" + "".join(f"    {part},\n" for part in parts)


def _preamble(bench: Bench) -> list[str]:
    """What the script needs besides: a format that is not NumPy's own, a target without a name."""
    lines = ["import ml_dtypes  # for bfloat16", ""] if bench.dtype == "bfloat16" else []
    if bench.target_text == "factory":
        lines += [f"factory = ...  # put the target here: {bench.examination.name}", ""]
    return lines
