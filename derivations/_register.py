"""The list of all claims: generated from the notebooks, with links to the specification."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from derivations._notebook import Notebook, notebooks
from refopt import specification


def register() -> str:
    """The text of REGISTER.md."""
    return "\n".join(_lines(notebooks())) + "\n"


def specified(claim: str) -> list[str]:
    """The specifications that name a claim, ``notebook::id``."""
    return [name for name in specification.names() if claim in specification.load(name).claims]


def unlinked(claims: Collection[str], named: Mapping[str, Collection[str]]) -> Iterator[str]:
    """What links in one direction alone, or not at all.

    Args:
        claims: of the notebooks, ``notebook::id``.
        named: the claims that each specification names.
    """
    for claim in claims:
        if not any(claim in own for own in named.values()):
            yield f"no specification names {claim}"
    for name, own in named.items():
        if not own:
            yield f"{name} names no claim"
        for claim in own:
            if claim not in claims:
                yield f"{name} names {claim}, which no notebook has"


def _lines(found: list[Notebook]) -> Iterator[str]:
    count = sum(len(notebook.claims) for notebook in found)
    yield "# Register of claims"
    yield ""
    yield f"{count} claims in {len(found)} notebooks, each a test of `pytest derivations`. The last"
    yield "column says which specifications name a claim."
    yield ""
    yield "Written by `python -m derivations register`."
    for notebook in found:
        yield ""
        yield f"## [{notebook.title}]({notebook.path.name})"
        yield ""
        yield "| claim | statement | hypotheses | specification |"
        yield "| --- | --- | --- | --- |"
        for claim in notebook.claims:
            names = specified(f"{notebook.name}::{claim.id}")
            links = ", ".join(f"[{name}](../spec/{name}.toml)" for name in names)
            yield f"| `{claim.id}` | {claim.statement} | {claim.hypotheses} | {links} |"
