"""What a search for a refuting case has found so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from refopt.adapters.adapter import TargetError
from refopt.oracle.properties.relation import Broken, Failure

SHRINKING: Final = 10.0
"""Seconds after which the smallest case so far is small enough."""


class Enough(BaseException):
    """Ends a search from inside; Hypothesis lets pass what is no Exception."""


@dataclass
class Found:
    """What a search found.

    Attributes:
        cases: how many were tried before one failed, or in all.
        failure: the smallest case that breaks the property, or that could not be run.
        error: why it could not be run.
    """

    cases: int = 0
    failure: Failure | None = None
    error: str | None = None
    _until: float = field(default=math.inf, repr=False)

    def begin(self) -> None:
        """Counts a case."""
        self.cases += self.failure is None

    def attempt(self, act: Callable[[], None], written: Callable[[], str]) -> None:
        """Runs a case, or a part of one, and keeps what went wrong.

        Args:
            act: runs it.
            written: the script of what could not be run.

        Raises:
            Broken: it breaks the property.
            TargetError: it could not be run.
        """
        if time.monotonic() > self._until:
            raise Enough
        try:
            act()
        except (Broken, TargetError) as error:
            if self._until == math.inf:
                self._until = time.monotonic() + SHRINKING
            if isinstance(error, Broken):
                self.error, self.failure = None, error.failure
            else:
                self.error, self.failure = str(error), Failure(str(error), written())
            raise
