"""Keras 3: subclasses of ``keras.optimizers.Optimizer``, instances, functions that make them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self

import keras
import numpy as np

from refopt.adapters.adapter import (
    MANY_STEPS,
    Adapter,
    Arrays,
    Gradients,
    Part,
    TargetError,
    with_options,
)


class KerasAdapter(Adapter):
    """An optimizer class, an instance, or a function ``make(...)``, on the backend of Keras.

    An instance stands for its class with its configuration, of which hyperparameters that are
    given take precedence. With the option ``refopt_jit`` steps on JAX are compiled whole, as in
    training; it takes 0.3 s at each start. Without it their operations run one by one, which is
    quicker unless there are many steps, when they are compiled after all, or Keras compiles a
    condition anew in each step, as it does to gather gradients.
    """

    compiles = True

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Self:
        innermost, *outer = parts
        made = innermost.factory
        if isinstance(made, keras.optimizers.Optimizer):
            kind: Any = type(made)
            with _quiet():
                innermost = replace(innermost, factory=partial(kind, **made.get_config()))
        return super().of((innermost, *outer))

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> KerasSession:
        arguments = with_options(self.parts, hyperparameters)
        jit = arguments.pop("refopt_jit", False) and keras.backend.backend() == "jax"
        return KerasSession(partial(self.parts[0].factory, **arguments), params, jit=jit)


class KerasSession:
    """A started optimizer with its variables; on JAX its steps can be compiled."""

    def __init__(
        self, make: partial[keras.optimizers.Optimizer], params: Arrays, *, jit: bool
    ) -> None:
        self._double = any(p.dtype == np.float64 for p in params)
        with self._settings():
            self.optimizer = make()
            if not isinstance(self.optimizer, keras.optimizers.Optimizer):
                raise TargetError(
                    f"the target returned {type(self.optimizer).__name__}, "
                    "not a keras.optimizers.Optimizer"
                )
            self.variables = [keras.Variable(np.array(p), dtype=p.dtype.name) for p in params]
            self.optimizer.build(self.variables)
        self._apply = self._compiled() if jit else self.optimizer.apply
        self._count = 0

    def step(self, grads: Gradients) -> Arrays:
        self._count += 1
        if self._count == MANY_STEPS and keras.backend.backend() == "jax":
            self._apply = self._compiled()
        with self._settings():
            # Keras refuses a call without any gradient before it changes or counts anything.
            if any(g is not None for g in grads):
                given = [
                    None if g is None else keras.ops.convert_to_tensor(np.array(g)) for g in grads
                ]
                self._apply(given, self.variables)
            return _values(self.variables)

    def set_lr(self, lr: float) -> None:
        with self._settings():
            self.optimizer.learning_rate = lr

    # Copies, since a variable may share the memory of an array that it was read from or assigned.
    def state_dict(self) -> Any:
        with self._settings():
            return _values(self.optimizer.variables)

    def load_state_dict(self, state: Any) -> None:
        with self._settings():
            for variable, value in zip(self.optimizer.variables, state, strict=True):
                variable.assign(np.array(value))

    def _compiled(self) -> Callable[[Any, Any], None]:
        import jax

        stateless = jax.jit(self.optimizer.stateless_apply)

        def apply(grads: Any, variables: Any) -> None:
            state = self.optimizer.variables
            values = stateless([v.value for v in state], grads, [v.value for v in variables])
            for variable, value in zip([*variables, *state], [*values[0], *values[1]], strict=True):
                variable.assign(value)

        return apply

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        """Double precision where it is asked for, also for the learning rate of Keras."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(_quiet())
            if self._double:
                stack.callback(keras.config.set_floatx, keras.config.floatx())
                keras.config.set_floatx("float64")
                if keras.backend.backend() == "jax":
                    import jax

                    stack.enter_context(jax.enable_x64(True))
            yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # Missing gradients are given on purpose.
        warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
        # Keras reads its variables in a way that a future NumPy forbids; the values are right.
        warnings.filterwarnings("ignore", message="__array__ implementation doesn't accept")
        yield


def _values(variables: list[keras.Variable]) -> Arrays:
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]
