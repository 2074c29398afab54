"""What a target is: dialects, changed lines, pairs of them, and an honest answer otherwise."""

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import refopt
from refopt import catalog
from refopt.arithmetic.bounds import Bounded
from refopt.optimizer import Optimizer
from refopt.oracle.identify import confirmed
from refopt.oracle.observation import Hypothesis, Variation, observe, weigh
from refopt.oracle.subject import finder

Array = Any
Rule = Callable[..., tuple[Array, Array, Array]]


def target(rule: Rule) -> type:
    """A plain target with two moments that steps by a rule."""

    class Target:
        def __init__(
            self,
            params: Sequence[Array],
            lr: float = 1e-3,
            beta1: float = 0.9,
            beta2: float = 0.999,
            eps: float = 1e-8,
        ) -> None:
            self.params = list(params)
            self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
            self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
            self.steps = [0] * len(params)

        def set_lr(self, lr: float) -> None:
            self.lr = lr

        def step(self, grads: Sequence[Array | None]) -> list[Array]:
            for i, g in enumerate(grads):
                if g is not None:
                    self.steps[i] += 1
                    h, *moments = rule(
                        self.steps[i], g, *self.moments[i], self.beta1, self.beta2, self.eps
                    )
                    self.moments[i] = (moments[0], moments[1])
                    self.params[i] = np.asarray(self.params[i] - self.lr * h)
            return self.params

    return Target


def right(t: int, g: Array, m: Array, v: Array, b1: float, b2: float, eps: float) -> Any:
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps), m, v


def late(t: int, g: Array, m: Array, v: Array, b1: float, b2: float, eps: float) -> Any:
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    return m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2**t)) + eps), m, v


def hat(t: int, g: Array, m: Array, v: Array, b1: float, b2: float, eps: float) -> Any:
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
    return (1 - b2**t) ** 0.5 / (1 - b1**t) * m / (np.sqrt(v) + eps), m, v


def twice(t: int, g: Array, m: Array, v: Array, b1: float, b2: float, eps: float) -> Any:
    m, v = b1 * m + (1 - b1) * g, b2 * v + g * g
    return m / (np.sqrt(v / (1 - b2**t)) + eps), m, v


def strange(_: int, g: Array, m: Array, v: Array, b1: float, b2: float, eps: float) -> Any:
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * np.abs(g) ** 3
    return np.tanh(m) / np.cbrt(v + eps), m, v


def test_the_reference_is_itself() -> None:
    found = refopt.identify(target(right), "adam")
    assert found.outcome == "identified"
    assert found.dialect is None
    assert found.differences == ()
    assert found.is_a_form


def test_a_dialect_is_named_with_its_lines() -> None:
    found = refopt.identify(target(hat), "adam")
    assert found.is_a_form
    (difference,) = found.differences
    assert "epsilon-hat" in difference.description
    assert difference.file == "refopt/rules/adam.py"
    assert "h = m_hat / (xp.sqrt(v_hat) + eps)" in difference.before.splitlines()
    assert "h = correction * m / (xp.sqrt(v) + eps)" in difference.after.splitlines()


def test_a_changed_line_is_the_answer() -> None:
    found = refopt.identify(target(late), "adam")
    assert not found.is_a_form
    (difference,) = found.differences
    assert difference.before == "m_hat = m / (1 - beta1**t)"
    assert difference.after == "m_hat = m / (1 - beta1**(t + 1))"
    lines = str(found).splitlines()
    place = lines.index(f"- {difference.before}")
    assert lines[place + 1] == f"+ {difference.after}"
    assert lines[place + 2] == f"known as: {', '.join(difference.known_as)}"
    assert lines[place + 3] == f"see {difference.links[0]}"


def test_two_changed_lines_are_found_together() -> None:
    found = refopt.identify(target(twice), "adam")
    assert [d.after for d in found.differences] == ["v = beta2 * v + g**2", "m_hat = m"]


def test_what_nothing_explains_is_said_to_be_unknown() -> None:
    found = refopt.identify(target(strange), "adam")
    assert found.outcome == "unknown"
    assert found.explanation is None
    assert found.tried > 200
    assert "none of" in str(found)


def test_without_a_spec_the_family_is_found() -> None:
    found = refopt.identify(target(late))
    assert found.explanation is not None
    assert found.explanation.spec == "adam"
    assert [d.after for d in found.differences] == ["m_hat = m / (1 - beta1**(t + 1))"]


def test_where_no_form_is_near_the_hyperparameters_tell_the_family() -> None:
    class Decaying:
        """Adam with decay of both kinds, which is far from every form in every probe."""

        def __init__(
            self,
            params: Sequence[Array],
            lr: float = 1e-3,
            beta1: float = 0.9,
            beta2: float = 0.999,
            eps: float = 1e-8,
            weight_decay: float = 0.01,
        ) -> None:
            self.adam = target(right)(params, lr, beta1, beta2, eps)
            self.decay = weight_decay
            self.set_lr = self.adam.set_lr

        def step(self, grads: Sequence[Array | None]) -> list[Array]:
            old, number = list(self.adam.params), self.adam.params[0].dtype.type
            decayed = [
                g if g is None else g + number(self.decay) * p
                for p, g in zip(old, grads, strict=True)
            ]
            self.adam.params = [
                p if g is None else np.asarray(p - number(self.adam.lr * self.decay) * q)
                for p, q, g in zip(self.adam.step(decayed), old, grads, strict=True)
            ]
            return list(self.adam.params)

    found = refopt.identify(Decaying)
    assert found.explanation is not None
    assert found.explanation.spec == "adamw"
    assert "l2 added" in str(found)


def test_a_target_with_a_learning_rate_of_its_own_says_which() -> None:
    class Fixed:
        def __init__(self, params: Sequence[Array]) -> None:
            self.step = target(right)(params, lr=0.25).step

    verdict = refopt.check(Fixed, "adam")
    assert not verdict.conforms
    first = verdict.explanations[0]
    assert [d.file for d in first.differences] == ["learning rate"]
    assert "it is 0.25; pin it in the spec: lr=0.25" in str(first)
    assert refopt.check(Fixed, "adam(lr=0.25)").conforms


def test_a_target_that_fails_is_an_error() -> None:
    found = refopt.identify("no.such.module:Adam", "adam")
    assert found.outcome == "error"
    assert "no.such.module" in str(found)


def test_the_answer_is_json() -> None:
    found = refopt.identify(target(late), "adam")
    answer = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert answer["explanation"]["differences"][0]["line"] == found.differences[0].line


def test_a_deviation_carries_its_explanation() -> None:
    verdict = refopt.check(target(late), "adam")
    assert verdict.explanations[0].differences[0].after == "m_hat = m / (1 - beta1**(t + 1))"
    assert "+ m_hat = m / (1 - beta1**(t + 1))" in str(verdict)


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("keras.optimizers:Adam", "adam", "epsilon-hat"),
        ("mlx.optimizers:Adam", "adam", "no bias correction"),
        ("torch.optim:RAdam", "radam", "rho > 5"),
    ],
)
def test_frameworks_say_what_they_are(name: str, spec: str, words: str) -> None:
    framework = name.partition(".")[0]
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    found = refopt.identify(name, spec)
    assert found.is_a_form
    assert found.dialect == framework
    assert words in found.differences[0].description


def test_what_nothing_bounds_explains_nothing() -> None:
    """A change whose bounds are infinite, where those of the reference are not."""
    subject = finder(target(right), "adam", None, None)()
    optimizer = catalog.build("adam")
    seen = observe(subject, Variation.of(subject, optimizer), dtype="float32", seed=0, timeout=20.0)

    def unbounded(adam: Optimizer) -> Optimizer:
        rule = adam.layers[0]

        def of_anything(*arguments: Array, **hyperparameters: Array) -> Any:
            h, m, v = rule.function(*arguments, **hyperparameters)
            if isinstance(h, Bounded):
                h = Bounded(h.value, np.full(h.shape, np.inf), h.format)
            return h, m, v

        of_anything.__signature__ = inspect.signature(rule.function)  # type: ignore[attr-defined]
        return replace(adam, layers=(replace(rule, function=of_anything),))

    assert confirmed(Hypothesis(optimizer), seen) is not None
    assert weigh(Hypothesis(optimizer, unbounded), seen)[0] == "working"
    assert confirmed(Hypothesis(optimizer, unbounded), seen) is None
    assert confirmed(Hypothesis(unbounded(optimizer)), seen) is not None
