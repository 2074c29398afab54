"""The pages of the specification: what ``refopt show`` prints."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from refopt import catalog, specification
from refopt.specification import Dialect, Specification


def page(name: str) -> Group:
    """All that is specified under a name: equations, code, hyperparameters, sources, dialects."""
    return Group(*_sections(specification.load(name)))


def _sections(spec: Specification) -> Iterator[RenderableType]:
    from refopt.report.latex import latex

    yield Text.assemble((spec.title, "bold"), f"  ({spec.name}, {spec.kind})")
    yield _block(spec.summary)
    for source in spec.sources:
        yield _block(f"{source.citation}, {source.where}. {source.url}")
    yield from _section("equations", *spec.equations)
    yield from _section("LaTeX", *(latex(equation, spec) for equation in spec.equations))
    yield from _section("code", *_code(spec.name))
    if spec.hyperparameters:
        yield Text("\nhyperparameters", style="bold")
        yield _table(
            ("name", "default", "domain", "meaning"),
            [
                (h.name, "" if h.default is None else str(h.default), h.domain, h.meaning)
                for h in spec.hyperparameters
            ],
        )
    if spec.state:
        yield Text("\nstate", style="bold")
        yield _table(
            ("name", "at first", "meaning"), [(s.name, s.initial, s.meaning) for s in spec.state]
        )
    stated = specification.properties()
    if spec.properties:
        lines = [f"{n}: {stated[n].statement} ({stated[n].holds})" for n in spec.properties]
        yield from _section("properties", *lines)
    if (bound := spec.step_bound) is not None:
        given = [f"{name}={value}" for name, value in bound.given.items()]
        what = " with ".join([f"|theta[t] - theta[t-1]| <= {bound.bound}", *given])
        yield from _section("bound of a step", what, bound.why, bound.source)
        if bound.claim:
            yield _block(f"claim {bound.claim}")
    if spec.claims:
        yield from _section("claims, checked in derivations/", *spec.claims)
    for form_name, form in spec.forms.items():
        yield from _section(f"form {form_name}", form.summary, *form.equations)
    if spec.dialects:
        yield Text("\ndialects", style="bold")
        yield _table(
            ("dialect", "version", "form", "differs in", "defaults"),
            [
                (key, d.version, d.form, "; ".join(d.differences) or "nothing", _defaults(d))
                for key, d in spec.dialects.items()
            ],
        )


def _section(title: str, *lines: str) -> Iterator[RenderableType]:
    yield Text(f"\n{title}", style="bold")
    for line in lines:
        yield _block(line)


def _block(text: str) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, 2))


def _code(name: str) -> list[str]:
    """The definition that everything runs: a function's source, or a composition's expression."""
    if name in catalog.COMPOSITIONS:
        return [catalog.COMPOSITIONS[name]]
    return inspect.getsource(catalog.layer(name).function).rstrip().splitlines()


def _defaults(dialect: Dialect) -> str:
    return ", ".join(f"{name}={value}" for name, value in dialect.defaults.items())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
