"""The main job: does a target conform to the specification?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from refopt.oracle.examination import Examination
from refopt.oracle.subject import Subject, finder, named
from refopt.oracle.verdict import Verdict


def check(
    target: Any,
    spec: str,
    *,
    dialect: str | None = None,
    dtype: str = "float32",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    timeout: float = 20.0,
    name: str | None = None,
    explain: bool = True,
) -> Verdict:
    """Checks a target against the specification.

    Args:
        target: a factory, a framework's optimizer class, function or instance, or the name of one:
            ``"torch.optim:AdamW"``, ``"path/to/file.py:MyAdam"``, ``"exec:./program --fast"``.
        spec: a name or a composition, ``"gradient_accumulation(sgd, k=4)"``; what it pins stays,
            all other hyperparameters are varied.
        dialect: whose form of it; without one the canonical form.
        dtype: of parameters and gradients: ``"float32"``, ``"float64"``, ``"bfloat16"`` or
            ``"float16"``.
        seed: of the probes' values.
        options: further arguments of the target, passed through as they are.
        timeout: how many seconds a single call of the target may take.
        name: how the verdict calls the target.
        explain: whether to look for the change of the reference that explains a deviation.

    Raises:
        ValueError: the spec, dialect or dtype does not exist, or a number makes no sense.
        TypeError: the spec is not an expression, or a hyperparameter in it does not exist.
    """
    return judged(
        name or named(target),
        finder(target, spec, dialect, options),
        spec,
        dialect=dialect,
        dtype=dtype,
        seed=seed,
        timeout=timeout,
        explain=explain,
    )


def judged(name: str, subject: Callable[[], Subject], spec: str, **asked: Any) -> Verdict:
    """The verdict on a subject, or on why there is none: as :func:`check` has it."""
    return Examination(name, subject, spec, **asked).verdict()
