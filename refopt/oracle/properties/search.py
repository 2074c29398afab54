"""Looks for the smallest case in which a target breaks a property."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from refopt.adapters.adapter import TargetError
from refopt.oracle.properties import script
from refopt.oracle.properties.bench import Bench
from refopt.oracle.properties.found import Enough, Found
from refopt.oracle.properties.laws import Law
from refopt.oracle.properties.machine import Machine
from refopt.oracle.properties.relation import Broken, Failure

CALLS: Final = 20
"""How many calls a machine makes at most: what goes wrong late goes wrong in longer probes too."""


def search(bench: Bench, law: Law | None, number: int, max_examples: int | None) -> Found:
    """Searches by the current profile of Hypothesis, but for its database and deadline.

    Args:
        bench: the target.
        law: the property; None for the machine.
        number: the seed.
        max_examples: how many cases to try, if not as many as the profile says.
    """
    found = Found()
    run = _machine(bench, found, number) if law is None else _cases(bench, law, found, number)
    profile = settings()
    current = settings(
        profile,
        max_examples=max_examples or profile.max_examples,
        deadline=None,
        database=None,  # what is found depends on what was asked alone
        derandomize=False,
        stateful_step_count=CALLS,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run(current)
    except (Broken, TargetError, Enough):
        pass  # it is in what was found
    except Flaky:
        failure = found.failure
        assert failure is not None
        text = f"once, and not again in the same case: {failure.text}"
        found.failure = Failure(text, failure.script)
    return found


def _cases(bench: Bench, law: Law, found: Found, number: int) -> Callable[[settings], None]:
    @st.composite
    def demands(draw: st.DrawFn) -> Any:
        return law.draw(draw, bench)

    def run(current: settings) -> None:
        @seed(number)
        @current
        @given(demands())
        def examine(demand: Any) -> None:
            def act() -> None:
                failure = demand.failure(bench, law.stated.statement)
                if failure is not None:
                    raise Broken(failure)

            found.begin()
            found.attempt(act, lambda: script.of_case(bench, law.stated.statement))

        examine()

    return run


def _machine(bench: Bench, found: Found, number: int) -> Callable[[settings], None]:
    class Driven(Machine):
        pass

    Driven.bench, Driven.found = bench, found

    def run(current: settings) -> None:
        run_state_machine_as_test(seed(number)(Driven), settings=current)

    return run
