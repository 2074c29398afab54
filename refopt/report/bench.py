"""The comparisons of ``refopt bench`` as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from refopt.bench import Comparison


def table(comparison: Comparison) -> Table:
    """The contenders of one comparison, and below them the ratios."""
    tensors = f"{comparison.tensors} tensors" if comparison.tensors > 1 else "one tensor"
    rows = Table(
        title=f"{comparison.optimizer}, float32, {comparison.parameters:,} parameters, {tensors}",
        caption=", ".join(f"{pair} {ratio:.2f}" for pair, ratio in comparison.ratios.items()),
    )
    rows.add_column("")
    for heading in ("ms a step", "ns a parameter", "first step, s", "extra MiB"):
        rows.add_column(heading, justify="right")
    for one in comparison.measured:
        rows.add_row(
            one.name,
            f"{1e3 * one.seconds:.3f}",
            f"{1e9 * one.seconds / comparison.parameters:.2f}",
            f"{one.first:.2f}",
            "" if one.extra is None else f"{one.extra / 2**20:.1f}",
        )
    return rows


def scaling(comparisons: Sequence[Comparison]) -> Table:
    """Nanoseconds a parameter of every contender over the sizes of one tensor."""
    names = [one.name for one in comparisons[0].measured]
    rows = Table(title=f"{comparisons[0].optimizer}, float32, one tensor: ns a parameter")
    rows.add_column("parameters", justify="right")
    for name in names:
        rows.add_column(name, justify="right")
    for comparison in comparisons:
        rows.add_row(
            f"{comparison.parameters:,}",
            *(f"{1e9 * one.seconds / comparison.parameters:.2f}" for one in comparison.measured),
        )
    return rows
