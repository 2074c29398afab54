"""The command line.

Exit status 0: what was checked conforms. 1: something deviates. 2: it could not be checked.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import ExitStack, redirect_stdout
from enum import StrEnum
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TextIO

import typer

import refopt

app = typer.Typer(
    help="Which optimizer is this, exactly, and is it right?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

vectors = typer.Typer(
    help="Golden vectors: runs with exact results, for any language.", no_args_is_help=True
)
app.add_typer(vectors, name="vectors")

_EXIT: Final = {"conforms": 0, "deviates": 1, "error": 2}


class Dtype(StrEnum):
    """The dtypes that targets are checked in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


# Options that several commands have.
_Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Of the target, passed through as it is."),
]
_Dtype = Annotated[Dtype, typer.Option(help="Of parameters and gradients.")]
_Seed = Annotated[int, typer.Option(min=0, help="Of the probes' values.")]
_Timeout = Annotated[
    float | None, typer.Option(help="Seconds for one call of the target; default: 20.")
]
_Json = Annotated[str | None, typer.Option("--json", metavar="PATH|-", help="Write JSON there.")]

_TIMEOUT: Final = 20.0


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"refopt {refopt.__version__}")
        raise typer.Exit


@app.callback()
def _refopt(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Which optimizer is this, exactly, and is it right?"""


@app.command("list")
def list_() -> None:
    """List every optimizer, variant and schedule."""
    from refopt.report.listing import listing

    typer.echo(listing())


@app.command()
def show(name: str) -> None:
    """Show what an optimizer is: equations, hyperparameters, sources and dialects."""
    from rich.console import Console

    from refopt import specification
    from refopt.report.pages import page

    try:
        specification.load(name)
    except specification.SpecificationError as error:
        _fail(str(error))
    Console().print(page(name))


@app.command()
def check(
    target: Annotated[
        str | None,
        typer.Argument(help="package.module:attribute, path/to/file.py:attribute or exec:COMMAND"),
    ] = None,
    spec: Annotated[str | None, typer.Option(help="A name or a composition.")] = None,
    dialect: Annotated[str | None, typer.Option(help="Whose form; default: canonical.")] = None,
    option: _Options = None,
    dtype: _Dtype = Dtype.FLOAT32,
    seed: _Seed = 0,
    timeout: _Timeout = None,
    json_: _Json = None,
) -> None:
    """Check a target, or every framework found on this machine."""
    if json_ not in (None, "-"):
        _check_writable(Path(json_))
    # Only refopt's own answer goes to stdout; what targets print, however late, to stderr.
    out, sys.stdout = sys.stdout, sys.stderr
    if target is not None:
        sys.path.insert(0, "")  # as python -m has it: a target is often not installed
        _check_one(target, spec, dialect, option or [], dtype, seed, timeout, json_, out)
    of_target = {"spec": spec, "dialect": dialect, "option": option, "timeout": timeout}
    for name, value in of_target.items():
        if value is not None:
            _fail(f"--{name} needs a target: refopt check TARGET --{name} ...")
    _check_all(dtype, seed, json_, out)


@app.command()
def identify(
    target: Annotated[str, typer.Argument(help="As for check.")],
    spec: Annotated[
        str | None, typer.Option(help="What it should be; default: any optimizer.")
    ] = None,
    option: _Options = None,
    dtype: _Dtype = Dtype.FLOAT32,
    seed: _Seed = 0,
    timeout: _Timeout = None,
    json_: _Json = None,
) -> None:
    """Say which optimizer a target is, or which line of the reference it has otherwise.

    Exit status 0: it is the reference or a dialect. 1: it is a change of one, or unknown. 2: it
    could not be run.
    """
    from refopt.oracle.identify import identify as identified

    if json_ not in (None, "-"):
        _check_writable(Path(json_))
    out, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, "")
    options = dict(map(_named_value, option or []))
    try:
        answer = identified(
            target,
            spec,
            dtype=dtype.value,
            seed=seed,
            options=options,
            timeout=_TIMEOUT if timeout is None else timeout,
        )
    except (ValueError, TypeError) as error:
        _fail(str(error))
    if json_ is not None:
        _write(json_, answer.to_json(), out)
    if json_ != "-":
        typer.echo(answer, file=sys.stderr if answer.outcome == "error" else out)
    if answer.outcome == "error":
        raise typer.Exit(2)
    raise typer.Exit(0 if answer.is_a_form else 1)


@app.command()
def prove(name: str) -> None:
    """Prove that the code of an optimizer equals its specification."""
    from refopt import specification
    from refopt.oracle.proof import equalities

    try:
        specification.load(name)
    except specification.SpecificationError as error:
        _fail(str(error))
    held = []
    for equality in equalities(name):
        held.append(equality.holds)
        typer.echo(f"{'✓' if held[-1] else '✗'} {equality}")
    typer.echo(f"{sum(held)} of {len(held)} equalities hold")
    raise typer.Exit(0 if all(held) else 1)


@app.command("score")
def score_(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    matrix_: Annotated[
        bool, typer.Option("--matrix", help="Show how many changes each probe detects, too.")
    ] = False,
    json_: Annotated[
        str | None,
        typer.Option("--json", metavar="PATH|-", help="Write which probe detects which there."),
    ] = None,
) -> None:
    """Show how many changes of the reference the probes detect."""
    from refopt import specification
    from refopt.oracle.score import score

    known = specification.names()
    for name in names or []:
        if name not in known:
            _fail(f"no specification is named {name!r}; `refopt list` shows all names")
    if importlib.util.find_spec("flint") is None:
        _fail("what survives is compared exactly by python-flint: pip install 'refopt[vectors]'")
    if json_ not in (None, "-"):
        _check_writable(Path(json_))
    results = []
    for name in names or known:
        result = score(name)
        results.append(result)
        if json_ != "-":
            typer.echo(result)
            if matrix_:
                typer.echo(result.table())
    if json_ is not None:
        _write(json_, {"scores": [result.to_json() for result in results]}, sys.stdout)
    raise typer.Exit(1 if any(result.survivors for result in results) else 0)


@app.command()
def plot(
    name: Annotated[str | None, typer.Argument(help="Of a figure; default: list them.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="A .pdf, .png or .svg file; default: a window.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="As for check: what to draw instead, in trajectories.")
    ] = None,
    option: _Options = None,
    spec: Annotated[
        str | None, typer.Option(help="An expression of the catalog to draw, in trajectories.")
    ] = None,
) -> None:
    """Draw a figure, in a window or to a file."""
    from refopt.report import figures

    if name is None:
        width = max(map(len, figures.FIGURES))
        typer.echo("\n".join(f"{each:<{width}}  {what}" for each, what in figures.FIGURES.items()))
        raise typer.Exit
    if option and target is None:
        _fail("--option needs a target: refopt plot trajectories --target TARGET --option ...")
    if name != "trajectories" and (target or spec):
        _fail(f"{name} is of the reference alone; --target and --spec are for trajectories")
    kind = "" if output is None else output.suffix.removeprefix(".")
    if output is not None:
        if kind not in figures.FORMATS:
            _fail(f"cannot write {output}: give a file that ends in .{', .'.join(figures.FORMATS)}")
        _check_writable(output)
    # What targets print goes to stderr, as in a check.
    with redirect_stdout(sys.stderr):
        _draw(name, output, kind, target, dict(map(_named_value, option or [])), spec)


def _draw(
    name: str,
    output: Path | None,
    kind: str,
    target: str | None,
    options: dict[str, Any],
    spec: str | None,
) -> None:
    from rich.console import Console

    from refopt.adapters.adapter import TargetError
    from refopt.report import figures
    from refopt.report.figures.trajectories import of_reference, of_target

    sys.path.insert(0, "")
    try:
        with ExitStack() as started:
            travellers = {}
            if target is not None:
                travellers[target] = started.enter_context(of_target(target, options))
            if spec is not None:
                travellers[spec] = of_reference(refopt.build(spec))
            arguments = {"travellers": travellers} if travellers else {}
            if output is None:
                figures.show(name, **arguments)
            else:
                with Console(stderr=True).status(f"drawing {name}"):
                    content = figures.rendered(figures.drawn(name, **arguments), kind)
                _write_bytes(str(output), content)
    except (ValueError, TypeError, TargetError) as error:
        _fail(str(error))


@app.command()
def bench(
    optimizers: Annotated[
        list[str] | None, typer.Argument(help="adamw, sgd; default: both.")
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(help="Of one tensor, separated by commas; default: 1e4,1e6,1e7."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="The sizes from 1e4 to 1e8, which takes minutes.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="In which all take turns.")] = 9,
    json_: _Json = None,
) -> None:
    """Measure the engines beside torch, optax and a plain copy."""
    from rich.console import Console

    from refopt import bench
    from refopt.report.bench import scaling, table

    chosen = optimizers or list(bench.OPTIMIZERS)
    if unknown := set(chosen) - set(bench.OPTIMIZERS):
        _fail(f"{', '.join(sorted(unknown))} is not measured; give {' or '.join(bench.OPTIMIZERS)}")
    if full and sizes is not None:
        _fail("give --sizes or --full, not both")
    counts = list(bench.FULL if full else bench.QUICK)
    try:
        if sizes is not None:
            counts = [int(float(size)) for size in sizes.split(",")]
    except (ValueError, OverflowError):
        counts = [0]
    if min(counts) < 1:
        _fail(f"--sizes {sizes}: give numbers of parameters such as 1e4,1e6")
    if json_ not in (None, "-"):
        _check_writable(Path(json_))
    about = bench.surroundings()
    quiet = json_ == "-"
    console = Console(quiet=quiet, width=None if sys.stdout.isatty() else 120)
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    load = "unknown" if about["load"] is None else f"{about['load']:.1f}"
    console.print(f"{about['date']}, {about['processor']}, {about['cores']} cores, load {load}")
    console.print(f"refopt {about['refopt']}, python {about['python']}, {versions}")
    found: list[bench.Comparison] = []
    left_out = [f"{name} cannot be imported: it was not measured" for name in bench.absent()]
    for one in bench.comparisons(chosen, counts, rounds):
        if isinstance(one, str):
            left_out.append(one)
            continue
        found.append(one)
        console.print(table(one))
    for optimizer in dict.fromkeys(one.optimizer for one in found):
        alone = [one for one in found if one.optimizer == optimizer and one.tensors == 1]
        if len(alone) > 1:
            console.print(scaling(alone))
    for line in left_out:
        console.print(line)
    if json_ is not None:
        comparisons = [one.to_json() for one in found]
        _write(
            json_,
            {**about, "rounds": rounds, "left_out": left_out, "comparisons": comparisons},
            sys.stdout,
        )


_Names = Annotated[list[str] | None, typer.Argument(help="Of specifications; default: all.")]
_Folder = Annotated[Path | None, typer.Option(help="Of the files; default: refopt's own.")]


@vectors.command("write")
def vectors_write(names: _Names = None, folder: _Folder = None) -> None:
    """Draw the vectors that are missing, and compute results anew; none may change."""
    from refopt import specification
    from refopt.vectors import VectorError, write
    from refopt.vectors import folder as own

    for name in names or specification.names():
        try:
            changed = write(name, folder or own())
        except (VectorError, specification.SpecificationError, OSError) as error:
            _fail(str(error))
        typer.echo(f"{name}: {'written' if changed else 'unchanged'}")


@vectors.command("verify")
def vectors_verify(names: _Names = None, folder: _Folder = None) -> None:
    """Compare every result with exact arithmetic, and the reference with its bounds."""
    from refopt.vectors import verify

    _vectors("verified", names, folder, lambda name, file, text: verify(file))


@vectors.command("lint")
def vectors_lint(names: _Names = None, folder: _Folder = None) -> None:
    """Check the form of the files: schema, ids, flags, shapes, layout."""
    from refopt.vectors import lint

    _vectors("linted", names, folder, lint)


def _vectors(
    what: str,
    names: list[str] | None,
    folder: Path | None,
    problems: Callable[[str, Any, str], Iterable[str]],
) -> NoReturn:
    from refopt import specification
    from refopt.vectors import VectorError, load
    from refopt.vectors import folder as own

    inside = folder or own()
    count = 0
    wrong = []
    for name in names or sorted({*specification.names(), *(p.stem for p in inside.glob("*.json"))}):
        try:
            file, text = load(name, inside)
        except VectorError as error:
            wrong.append(str(error))
            continue
        count += len(file.vectors)
        try:
            wrong += [f"{inside / name}.json: {problem}" for problem in problems(name, file, text)]
        except VectorError as error:
            _fail(str(error))
    for problem in wrong:
        typer.echo(problem)
    typer.echo(f"{count} vectors {what}, {len(wrong)} wrong")
    raise typer.Exit(1 if wrong else 0)


def _check_one(
    target: str,
    spec: str | None,
    dialect: str | None,
    option: list[str],
    dtype: Dtype,
    seed: int,
    timeout: float | None,
    json_: str | None,
    out: TextIO,
) -> NoReturn:
    from refopt import specification
    from refopt.oracle.check import check
    from refopt.oracle.subject import asked

    if spec is None:
        home = specification.home(target)
        if home is None:
            _fail(f"say what {target} should be, e.g. --spec adam; `refopt list` shows all names")
        spec = home[0]
    seconds = _TIMEOUT if timeout is None else timeout
    try:
        asked(spec, dialect, dtype.value, seed, seconds)
    except (ValueError, TypeError) as error:
        _fail(str(error))
    verdict = check(
        target,
        spec,
        dialect=dialect,
        dtype=dtype.value,
        seed=seed,
        options=dict(map(_named_value, option)),
        timeout=seconds,
    )
    if json_ is not None:
        _write(json_, verdict.to_json(), out)
    if json_ != "-":
        typer.echo(verdict, file=sys.stderr if verdict.outcome == "error" else out)
    raise typer.Exit(_EXIT[verdict.outcome])


def _check_all(dtype: Dtype, seed: int, json_: str | None, out: TextIO) -> NoReturn:
    from rich.console import Console
    from rich.progress import track

    from refopt.oracle import matrix
    from refopt.report.matrix import header, summary, surroundings, table

    began = time.perf_counter()
    plans = matrix.plans()
    found = sorted({p.framework for p in plans if matrix.installed(p.framework)})
    absent = sorted({p.framework for p in plans} - set(found))
    to_run: list[Callable[[], matrix.Cell]] = [
        partial(matrix.run_plan, plan, dtype=dtype.value, seed=seed)
        for plan in plans
        if plan.framework in found
    ]
    to_run = to_run or matrix.reference_cells(seed=seed)
    console = Console(stderr=True)
    progress = track(
        to_run, "checking", console=console, transient=True, disable=not console.is_terminal
    )
    cells = [run() for run in progress]
    if json_ is not None:
        _write(
            json_,
            {
                **surroundings(found),
                "seed": seed,
                "absent": absent,
                "cells": [
                    {"framework": c.framework, **c.verdict.to_json(), "known": c.reason}
                    for c in cells
                ],
            },
            out,
        )
    if json_ != "-":
        typer.echo(header(found, seed), file=out)
        # Lines of a file or a pipe are as long as they need to be.
        Console(file=out, width=None if out.isatty() else 1000).print(table(cells))
        for cell in cells:
            if not cell.is_as_specified or cell.reason:
                typer.echo(cell.verdict, file=out)
                if cell.reason:
                    typer.echo(f"  known: {cell.reason}", file=out)
        typer.echo(summary(cells, time.perf_counter() - began), file=out)
        for framework in absent:
            count = sum(plan.framework == framework for plan in plans)
            typer.echo(f"{framework} is not installed: {count} cells were not checked", file=out)
    wrong = [cell.verdict.outcome for cell in cells if not cell.is_as_specified]
    raise typer.Exit(max((_EXIT[outcome] or 1 for outcome in wrong), default=0))


def _named_value(option: str) -> tuple[str, Any]:
    name, _, value = option.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        _fail(f"--option {option}: give NAME=VALUE with a Python value, such as foreach=True")


def _check_writable(path: Path) -> None:
    """Fails before the checks run rather than after them."""
    place = path if _is_device(path) else path.parent
    if path.is_dir() or not os.access(place, os.W_OK):
        _fail(f"cannot write {path}: give a file in a folder that exists and can be written to")


def _is_device(path: Path) -> bool:
    """Whether there is something other than a file, such as a pipe: that cannot be replaced."""
    return path.exists() and not path.is_file()


def _write(path: str, content: Any, out: TextIO) -> None:
    """Writes JSON to stdout, or to a file that is never there in part."""
    rendered = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if path == "-":
        typer.echo(rendered, file=out, nl=False)
    else:
        _write_bytes(path, rendered.encode())


def _write_bytes(path: str, content: bytes) -> None:
    part = Path(f"{path}.{os.getpid()}.part")
    try:
        if _is_device(Path(path)):
            Path(path).write_bytes(content)
        else:
            part.write_bytes(content)
            part.replace(path)
    except OSError as error:
        _fail(f"cannot write {path}: {error.strerror}")
    finally:
        part.unlink(missing_ok=True)


def _fail(reason: str) -> NoReturn:
    typer.echo(f"refopt: {reason}", err=True)
    raise typer.Exit(2)


def main() -> None:
    """Runs the command line; a defect of refopt itself does not end as a deviation would."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal has a check mark
    try:
        app()
    except Exception:  # noqa: BLE001  it is shown, and only the exit status is changed
        traceback.print_exc()
        sys.exit(2)
