"""A target with what the specification knows about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import TIMEOUT_MAX
from typing import Any

import numpy as np

from refopt import specification
from refopt.adapters.adapt import adapt, framework, imported
from refopt.adapters.adapter import Adapter, Part, Session
from refopt.arithmetic.bounds import FORMATS
from refopt.optimizer import Optimizer


@dataclass(frozen=True)
class Subject:
    """A target with what is known about it.

    Attributes:
        adapter: starts it.
        defaults: the canonical hyperparameters that it is known to have when it is given none.
    """

    adapter: Adapter
    defaults: Mapping[str, Any] = field(default_factory=dict)


def subject_of(
    target: Any, specs: Sequence[str], dialect: str | None, options: Mapping[str, Any]
) -> Subject:
    """A target that should be one of some optimizers, adapted."""
    kind = framework(target)
    arguments: dict[str, str | tuple[str, ...]] = {}
    defaults: dict[str, Any] = {}
    for spec in specs:
        if kind is None:
            arguments |= {n: n for n in specification.resolve(spec, dialect).hyperparameters()}
            continue
        forms = specification.dialects(spec, kind, dialect).values()
        if not forms:
            names = specification.resolve(spec, dialect).hyperparameters()
            arguments |= specification.usual_arguments(kind, names)
        arguments |= {k: v for form in forms for k, v in form.arguments.items()}
        if dialect is not None:
            defaults |= specification.canonical_defaults(forms)
    return Subject(adapt((Part(target, arguments, options=options),), kind), defaults)


def finder(
    target: Any, spec: str, dialect: str | None, options: Mapping[str, Any] | None
) -> Callable[[], Subject]:
    """What finds a target, given as it is or by name, when it is first asked for.

    Raises TargetError there, so that a check can say why it could not be run.
    """

    def find() -> Subject:
        found = imported(target) if isinstance(target, str) else target
        return subject_of(found, [spec], dialect, options or {})

    return find


def start(
    target: Any,
    params: Sequence[np.ndarray],
    *,
    spec: str,
    dialect: str | None = None,
    options: Mapping[str, Any] | None = None,
    **hyperparameters: Any,
) -> Session:
    """Starts a target, whatever it is made of: for scripts that drive one by hand.

    ::

        target = refopt.start("torch.optim:AdamW", params, spec="adamw", lr=0.1, beta1=0.8)
        params = target.step(grads)

    Args:
        target: as in :func:`refopt.check`, and so are spec, dialect and options.
        params: its parameters, as NumPy arrays.
        spec: what it should be, which decides what its arguments are called.
        dialect: whose form of it.
        options: further arguments of the target.
        hyperparameters: by canonical name; those that it does not take are left out.

    Returns:
        Something with ``step(grads)``, which returns the parameters, and where the target has them
        ``set_lr(lr)``, ``state_dict()``, ``load_state_dict(state)`` and ``state()``.

    Raises:
        TargetError: it cannot be found or started.
    """
    subject = finder(target, spec, dialect, options)()
    return subject.adapter.start([np.array(p) for p in params], hyperparameters)


def named(target: Any) -> str:
    """How verdicts call a target: by the name it is given by, or its module and name."""
    return target if isinstance(target, str) else described(target)


def described(target: Any) -> str:
    """A target by its module and name."""
    if isinstance(target, partial):
        return described(target.func)
    kind = target if hasattr(target, "__qualname__") else type(target)
    return f"{kind.__module__}:{kind.__qualname__}"


def asked(
    spec: str, dialect: str | None, dtype: str, seed: int = 0, timeout: float = 1.0
) -> Optimizer:
    """The optimizer to check against, once all that was asked makes sense.

    Raises:
        ValueError: it does not, or a value in the expression lies outside its domain.
        TypeError: the spec is not an expression, or a hyperparameter in it does not exist.
    """
    if not isinstance(spec, str):
        raise TypeError(
            f"spec must be an expression such as 'adamw(weight_decay=0.1)', "
            f"got {type(spec).__name__}"
        )
    if dtype not in FORMATS:
        raise ValueError(f"dtype must be one of {', '.join(FORMATS)}, got {dtype!r}")
    if seed < 0:
        raise ValueError(f"seed must be an integer from 0 on, got {seed!r}")
    if not 0 < timeout <= TIMEOUT_MAX:
        raise ValueError(f"timeout must be a positive number of seconds, got {timeout!r}")
    return specification.resolve(spec, dialect)
