"""Known deviations: a file in the implementer's repository says which tests fail, and why.

One table for each; the first that matches a test decides about it::

    [[deviation]]
    match = "*::test_adamw[adamw-missing]"
    kind = "deviates"
    reason = "a missing gradient counts as a step"
    url = "https://example.org/issues/12"
    expect = "missing gradients count"

``url`` and ``expect`` are optional.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta

from refopt.oracle.verdict import Verdict
from refopt.specification import Record, Text, Url, one_line

if TYPE_CHECKING:
    from refopt.oracle.properties import PropertyVerdict


class DeviationsError(ValueError):
    """A file of known deviations is missing or malformed; says which file, which entry and why."""


Kind = Annotated[
    str, Meta(pattern="^(deviates|error)$", description='"deviates" or "error", as verdicts have')
]

_MEANINGS: Final[Mapping[str, str]] = {
    meta.pattern: meta.description for _, meta in map(get_args, (Text, Url, Kind))
}
"""What a text should be, by the pattern that it should match."""


class KnownDeviation(Record, frozen=True):
    """An entry of the file.

    Attributes:
        match: ids of tests as pytest prints them; ``*`` stands for any characters, ``?`` for one,
            and brackets for themselves.
        kind: how they fail.
        reason: why, in words.
        url: where that is reported.
        expect: what the text of the failure contains.
    """

    match: Text
    kind: Kind
    reason: Text
    url: Url | None = None
    expect: Text | None = None

    def matches(self, test: str) -> bool:
        """Whether it is about the test of this id."""
        return fnmatchcase(test, self.match.replace("[", "[[]"))

    def describes(self, verdict: Verdict | PropertyVerdict) -> bool:
        """Whether the verdict is the one that is known."""
        return verdict.outcome == self.kind and (self.expect or "") in str(verdict)


@dataclass(frozen=True)
class Entry:
    """A known deviation, and where it stands.

    Attributes:
        place: the file, the entry's position in it, and what it matches.
        known: the entry.
    """

    place: str
    known: KnownDeviation


def read(path: str | os.PathLike[str]) -> tuple[Entry, ...]:
    """The entries of a file.

    Raises:
        DeviationsError: it cannot be read, is not TOML, or breaks the schema.
    """
    try:
        return parse(str(path), Path(path).read_text("utf-8"))
    except OSError as error:
        raise DeviationsError(
            f"{path}: {error.strerror}; a relative path starts at {Path.cwd()}"
        ) from None
    except UnicodeDecodeError as error:
        raise DeviationsError(f"{path}: not UTF-8: {error}") from None


def parse(file: str, text: str) -> tuple[Entry, ...]:
    """The entries of a file's text.

    Raises:
        DeviationsError: it is not TOML, or breaks the schema.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number or a nesting that is too large
        raise DeviationsError(f"{file}: not TOML: {one_line(str(error))}") from None
    if unknown := content.keys() - {"deviation"}:
        raise DeviationsError(
            f"{file}: unknown key {one_line(min(unknown))!r}; entries are [[deviation]]"
        )
    tables = content.get("deviation", [])
    if not isinstance(tables, list):
        raise DeviationsError(f"{file}: entries are [[deviation]], with two brackets")
    return tuple(_entry(file, position, table) for position, table in enumerate(tables, 1))


def _entry(file: str, position: int, table: Any) -> Entry:
    match = table.get("match") if isinstance(table, dict) else None
    place = f"{file}: entry {position}" + (f" ({match!r})" if match else "")
    try:
        return Entry(place, msgspec.convert(table, KnownDeviation))
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        for pattern, meaning in _MEANINGS.items():
            reason = reason.replace(f"`str` matching regex {pattern!r}", meaning)
        key = path.strip("`").removeprefix("$.")
        raise DeviationsError(one_line(f"{place}: {key + ': ' * bool(key)}{reason}")) from None
