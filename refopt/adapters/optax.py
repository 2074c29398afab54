"""Optax: functions that return a ``GradientTransformation``, and such transformations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from refopt.adapters.adapter import (
    MANY_STEPS,
    Adapter,
    Arrays,
    Gradients,
    TargetError,
    with_options,
)


class OptaxAdapter(Adapter):
    """A function or a transformation, with what is chained before it or goes around it.

    With the option ``refopt_jit`` steps are compiled whole, as in training; it takes 0.2 s at each
    start. Without it their operations run one by one, which is quicker unless there are many steps,
    when they are compiled after all, or something inside compiles a condition anew in each step,
    as ``optax.MultiSteps`` does.
    """

    takes_missing = False
    compiles = True

    def start(self, params: Arrays, hyperparameters: Mapping[str, Any]) -> OptaxSession:
        jit = bool(self.parts[0].options.get("refopt_jit", False))
        if "lr" not in self.accepted():
            transformation = self._transformation(hyperparameters)
            return OptaxSession(lambda _: transformation, params, None, jit=jit)

        def with_lr(lr: Any) -> optax.GradientTransformation:
            given = {} if lr is None else {"lr": lr}
            return self._transformation({**hyperparameters, **given})

        return AdjustableOptaxSession(with_lr, params, hyperparameters.get("lr"), jit=jit)

    def _transformation(self, hyperparameters: Mapping[str, Any]) -> optax.GradientTransformation:
        innermost, *outer = self.parts
        arguments = with_options(
            [innermost, *(part for part in outer if part.wraps == "option")], hyperparameters
        )
        arguments.pop("refopt_jit", None)
        made = innermost.factory
        if not isinstance(made, optax.GradientTransformation):
            made = made(**arguments)
        for part in outer:
            arguments = part.translated(hyperparameters)
            if part.wraps == "argument":
                made = part.factory(made, **arguments)
            elif part.wraps == "chain":
                made = optax.chain(part.factory(**arguments), made)
        if not (hasattr(made, "init") and hasattr(made, "update")):
            raise TargetError(
                f"the target returned {type(made).__name__}, not an optax.GradientTransformation"
            )
        return made


class OptaxSession:
    """A transformation with its state and the parameters.

    Args:
        transformation: the transformation at a learning rate.
        params: the parameters before the first step.
        lr: the learning rate, or None for that of the transformation.
        jit: whether to compile the steps.
    """

    def __init__(
        self,
        transformation: Callable[[Any], optax.GradientTransformation],
        params: Arrays,
        lr: float | None,
        *,
        jit: bool,
    ) -> None:
        self._x64 = any(p.dtype == np.float64 for p in params) or jax.config.jax_enable_x64
        step = partial(_step, transformation)
        self._compiled = jax.jit(step)
        self._step = self._compiled if jit else step
        self._count = 0
        self.lr = lr
        with jax.enable_x64(self._x64):
            # Copies: jnp.asarray may share the memory of a NumPy array, which is the caller's.
            self.params, self.state = _started(transformation(lr), [jnp.array(p) for p in params])

    def step(self, grads: Gradients) -> Arrays:
        self._count += 1
        if self._count == MANY_STEPS:
            self._step = self._compiled
        with jax.enable_x64(self._x64):
            given = [jnp.array(g) for g in grads]
            self.params, self.state = self._step(self.lr, given, self.state, self.params)
            fast = getattr(self.params, "fast", self.params)
            return [np.array(p) for p in fast]

    # JAX arrays never change, so that nothing needs to be copied. The parameters belong to the
    # state, since optax keeps the slow ones of lookahead among them.
    def state_dict(self) -> Any:
        return {"lr": self.lr, "params": self.params, "state": self.state}

    def load_state_dict(self, state: Any) -> None:
        self.lr, self.params, self.state = state["lr"], state["params"], state["state"]


class AdjustableOptaxSession(OptaxSession):
    """A transformation that is made anew, with the same state, when the learning rate changes."""

    def set_lr(self, lr: float) -> None:
        self.lr = lr


def _step(
    transformation: Callable[[Any], optax.GradientTransformation],
    lr: Any,
    grads: Any,
    state: Any,
    params: Any,
) -> tuple[Any, Any]:
    updates, state = transformation(lr).update(grads, state, params)
    return optax.apply_updates(params, updates), state


def _started(transformation: optax.GradientTransformation, params: Any) -> tuple[Any, Any]:
    """Parameters and state; what holds a lookahead anywhere steps fast and slow parameters."""
    log = logging.getLogger("absl")
    was, log.disabled = log.disabled, True  # lookahead warns about a list of parameters
    try:
        state = transformation.init(params)
    finally:
        log.disabled = was
    inside = jax.tree.leaves(state, is_leaf=_is_lookahead)
    if not any(_is_lookahead(node) for node in inside):
        return params, state
    params = optax.LookaheadParams.init_synced(params)
    return params, transformation.init(params)


def _is_lookahead(node: Any) -> bool:
    return isinstance(node, optax.LookaheadState)
