"""Known names and reports of mistakes and conventions: ``reports.toml`` beside this file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Annotated

import msgspec
from msgspec import Meta

from refopt.specification import Record, Text

Issue = Annotated[
    str, Meta(pattern=r"^[\w.-]+/[\w.-]+#\d+$", description="owner/repository#number on GitHub")
]


class Report(Record, frozen=True):
    """What is known of a change.

    Attributes:
        match: what its description looks like; ``*`` stands for any characters.
        known_as: what people call it.
        file: where it is, likewise.
        reports: issues and pull requests about it.
    """

    match: tuple[Text, ...]
    known_as: tuple[Text, ...]
    file: Text = "*"
    reports: tuple[Issue, ...] = ()

    def is_of(self, file: str, description: str) -> bool:
        """Whether it is about a change."""
        return fnmatchcase(file, self.file) and any(
            fnmatchcase(description, pattern.replace("[", "[[]")) for pattern in self.match
        )

    @property
    def links(self) -> Iterator[str]:
        """The addresses of the reports."""
        for report in self.reports:
            name, number = report.split("#")
            yield f"https://github.com/{name}/issues/{number}"


@cache
def reports() -> tuple[Report, ...]:
    """All that is known."""
    text = files(__package__).joinpath("reports.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text)["report"], tuple[Report, ...])


def known(file: str, description: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a change, and the addresses of reports of it."""
    found = [report for report in reports() if report.is_of(file, description)]
    names = dict.fromkeys(name for report in found for name in report.known_as)
    links = dict.fromkeys(link for report in found for link in report.links)
    return tuple(names), tuple(links)
