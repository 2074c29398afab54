"""What ``refopt list`` prints; apart from the pages, which need Rich and NumPy."""

from __future__ import annotations

# Not `from refopt import specification`, for which refopt would look in the catalog first.
from refopt.specification import load, names


def listing() -> str:
    """Every specification by kind, with its title."""
    groups: dict[str, list[str]] = {"rule": [], "composition": [], "variant": [], "schedule": []}
    specs = [load(name) for name in names()]
    width = max(len(spec.name) for spec in specs)
    for spec in specs:
        groups[spec.kind].append(f"  {spec.name:<{width}}  {spec.title}")
    return "\n\n".join("\n".join([f"{kind}s", *lines]) for kind, lines in groups.items() if lines)
