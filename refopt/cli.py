"""The command line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    help="Which optimizer is this, exactly, and is it right?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_EXIT = {"conforms": 0, "deviates": 1, "error": 2}

Json = Annotated[str | None, typer.Option("--json", metavar="PATH|-", help="Write JSON there.")]


@app.command("list")
def list_() -> None:
    """List every optimizer, variant and schedule."""
    from refopt.report.pages import listing

    typer.echo(listing())


@app.command()
def show(name: str) -> None:
    """Show what an optimizer is: equations, hyperparameters, sources and dialects."""
    from rich.console import Console

    from refopt.report.pages import page

    Console().print(page(name))


@app.command()
def check(
    target: Annotated[
        str | None,
        typer.Argument(help="package.module:attribute or path/to/file.py:attribute"),
    ] = None,
    spec: Annotated[str | None, typer.Option(help="A name or a composition.")] = None,
    dialect: Annotated[str | None, typer.Option(help="Whose form; default: canonical.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    seed: Annotated[int, typer.Option(help="Of the probes' values.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds for one call of the target.")] = 20.0,
    json_: Json = None,
) -> None:
    """Check a target, or every framework found on this machine."""
    if target is None:
        _check_all(dtype, seed, json_)
    else:
        _check_one(target, spec, dialect, dtype, seed, timeout, json_)


def _check_one(
    target: str,
    spec: str | None,
    dialect: str | None,
    dtype: str,
    seed: int,
    timeout: float,
    json_: str | None,
) -> NoReturn:
    from refopt import specification
    from refopt.oracle.check import check
    from refopt.report.verdict import text

    home = specification.home(target)
    if spec is None:
        if home is None:
            _fail(f"say what {target} should be, e.g. --spec adam; `refopt list` shows all names")
        spec = home[0]
    verdict = check(target, spec, dialect=dialect, dtype=dtype, seed=seed, timeout=timeout)
    _write(json_, verdict.to_json())
    if json_ != "-":
        typer.echo(text(verdict), err=verdict.outcome == "error")
        if verdict.outcome == "deviates" and dialect is None and home is not None:
            own = check(target, spec, dialect=home[1], dtype=dtype, seed=seed, timeout=timeout)
            if own.conforms:
                typer.echo(f"  It conforms to its own dialect: --dialect {home[1]}")
    raise typer.Exit(_EXIT[verdict.outcome])


def _check_all(dtype: str, seed: int, json_: str | None) -> NoReturn:
    from rich.console import Console
    from rich.progress import track

    from refopt.oracle import matrix
    from refopt.report.matrix import header, summary, table

    began = time.perf_counter()
    plans = matrix.plans()
    found = sorted({p.framework for p in plans if matrix.installed(p.framework)})
    absent = sorted({p.framework for p in plans} - set(found))
    console = Console(stderr=True)
    cells: list[matrix.Cell] = []
    if found:
        mine = [plan for plan in plans if plan.framework in found]
        steps: Iterable[matrix.Plan] = track(
            mine, "checking", console=console, transient=True, disable=not console.is_terminal
        )
        cells = [matrix.run_plan(plan, dtype=dtype, seed=seed) for plan in steps]
    else:
        cells = list(matrix.reference_cells(seed=seed))
    _write(
        json_,
        {
            "cells": [
                {"framework": c.framework, **c.verdict.to_json(), "known": c.reason} for c in cells
            ]
        },
    )
    if json_ != "-":
        out = Console()
        typer.echo(header(found, seed))
        out.print(table(cells))
        for cell in cells:
            if not cell.is_as_specified or cell.reason:
                _explain(cell)
        typer.echo(summary(cells, time.perf_counter() - began))
        for framework in absent:
            count = sum(plan.framework == framework for plan in plans)
            typer.echo(f"{framework} is not installed: {count} cells were not checked")
    wrong = [c.verdict.outcome for c in cells if not c.is_as_specified]
    raise typer.Exit(max((_EXIT[outcome] or 1 for outcome in wrong), default=0))


def _explain(cell: Any) -> None:
    from refopt.report.verdict import text

    typer.echo(text(cell.verdict))
    if cell.reason:
        typer.echo(f"  known: {cell.reason}")


def _write(path: str | None, content: Any) -> None:
    if path is None:
        return
    rendered = json.dumps(content, indent=2, allow_nan=False)
    if path == "-":
        typer.echo(rendered)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(rendered + "\n")


def _fail(reason: str) -> NoReturn:
    typer.echo(f"refopt: {reason}", err=True)
    raise typer.Exit(2)


def main() -> None:
    """Runs the command line; a user's mistake is one line on stderr, exit status 2."""
    try:
        app()
    except (ValueError, TypeError) as error:
        typer.echo(f"refopt: {error}", err=True)
        sys.exit(2)
