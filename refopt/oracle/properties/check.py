"""Examines the properties of a target."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

from refopt import specification
from refopt.adapters.adapter import TargetError
from refopt.oracle.examination import Examination
from refopt.oracle.properties.bench import Bench
from refopt.oracle.properties.laws import laws_of
from refopt.oracle.properties.machine import NAME
from refopt.oracle.properties.report import PropertyReport, PropertyVerdict
from refopt.oracle.properties.search import search
from refopt.oracle.run import Worker
from refopt.oracle.subject import described, finder, named


def check_properties(
    target: Any,
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    timeout: float = 20.0,
    max_examples: int | None = None,
) -> PropertyReport:
    """Seeks to refute the properties that a specification states, on a target.

    Each is tried in as many cases as the current profile of Hypothesis says, 100 unless changed.
    What is refuted comes with the smallest case found, as a script.

    Args:
        target: as in :func:`refopt.check`, and so are the others.
        spec: what it should be.
        dialect: whose form of it.
        dtype: of parameters and gradients.
        seed: of the cases: the same are drawn again.
        options: further arguments of the target.
        timeout: how many seconds a single call of the target may take.
        max_examples: how many cases to try for each property.

    Raises:
        ValueError: something that was asked makes no sense.
        TypeError: the spec is not an expression, or a hyperparameter in it does not exist.
    """
    examination = Examination(
        named(target),
        finder(target, spec, dialect, options),
        spec,
        dialect=dialect,
        dtype=dtype,
        seed=seed,
        timeout=timeout,
    )
    properties = Properties(examination, target, options or {}, max_examples)
    return PropertyReport(tuple(properties.verdict(name) for name in properties.names))


class Properties:
    """The properties of a target, each examined when asked for.

    Args:
        examination: of the target on the fixed probes.
        target: the target, for scripts.
        options: further arguments of the target.
        max_examples: how many cases to try for each.
    """

    def __init__(
        self,
        examination: Examination,
        target: Any,
        options: Mapping[str, Any],
        max_examples: int | None = None,
    ) -> None:
        self.examination, self.target, self.options = examination, target, options
        self.max_examples = max_examples
        asked = (examination.reference, examination.spec, examination.dialect)
        self.laws = {law.name: law for law in laws_of(*asked)}

    @cached_property
    def bench(self) -> Bench:
        """Where they are examined.

        Raises:
            TargetError: the target could not be started.
        """
        with Worker(self.examination.timeout) as worker:
            return Bench(self.examination, worker, _text(self.target), self.options)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the properties."""
        return (*self.laws, NAME)

    def verdict(self, name: str) -> PropertyVerdict:
        """Whether the target has a property."""
        began = time.perf_counter()
        law = self.laws.get(name)
        asked = self.examination
        stated = specification.properties()[name]

        def verdict(**fields: Any) -> PropertyVerdict:
            return PropertyVerdict(
                target=asked.name,
                spec=asked.spec,
                dialect=asked.dialect,
                dtype=asked.dtype,
                seed=asked.seed,
                name=name,
                statement=stated.statement,
                holds=stated.holds,
                seconds=time.perf_counter() - began,
                **fields,
            )

        try:
            with Worker(asked.timeout) as worker:
                self.bench.worker = worker
                if law is not None and (reason := law.why_not(self.bench)):
                    return verdict(outcome="conforms", notes=(reason,))
                found = search(self.bench, law, asked.seed, self.max_examples)
        except TargetError as error:
            return verdict(outcome="error", error=str(error))
        if found.error is not None:
            outcome = "error"
        else:
            outcome = "conforms" if found.failure is None else "deviates"
        return verdict(outcome=outcome, failure=found.failure, error=found.error, cases=found.cases)


def _text(target: Any) -> str:
    """What stands for a target in a script: a name that can be imported, or a variable."""
    if isinstance(target, str):
        return repr(target)
    name = described(target)
    module, _, attributes = name.partition(":")
    try:
        found: Any = import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError):
        return "factory"
    return repr(name) if found is target and module != "__main__" else "factory"
