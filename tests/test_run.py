"""Running a target: whatever it does, there is a trace or one clear error."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import targets

from refopt.adapters.adapter import Part, TargetError
from refopt.adapters.plain import PlainAdapter
from refopt.oracle.probes import Probe, probes
from refopt.oracle.run import Trace, Worker, run

Factory = Callable[..., Any]


def probe(id: str = "far", dtype: str = "float32") -> Probe:
    """A probe with nothing to vary."""
    return next(p for p in probes({}, dtype=dtype) if p.id == id)


def trace(factory: Factory, probe: Probe, *, seconds: float = 20.0, **given: float) -> Trace:
    """What a target does in a probe, given some hyperparameters."""
    adapter = PlainAdapter.of((Part(factory, {name: name for name in given}),))
    with Worker(seconds) as worker:
        return run(adapter, probe, given, given.get("lr", 1.0), worker)


def descended(probe: Probe) -> list[list[np.ndarray]]:
    """Gradient descent with a learning rate of 1/4, which is exact."""
    params, done = list(probe.params), []
    for grads in probe.gradients:
        params = [
            np.asarray(p if g is None else p - np.asarray(0.25, p.dtype) * g)
            for p, g in zip(params, grads, strict=True)
        ]
        done.append(params)
    return done


def same(trace: Trace, expected: list[list[np.ndarray]]) -> bool:
    """Whether all parameters are the same after every step."""
    return all(
        np.array_equal(x, y)
        for xs, ys in zip(trace.params, expected, strict=True)
        for x, y in zip(xs, ys, strict=True)
    )


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """Lets threads that hang end with their test."""
    targets.Hangs.release.clear()
    yield
    targets.Hangs.release.set()


# What a target may do


@pytest.mark.parametrize("id", [p.id for p in probes({})])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_trace_is_what_the_target_computes(id: str, dtype: str) -> None:
    seen = trace(targets.Descent, probe(id, dtype))
    assert same(seen, descended(probe(id, dtype)))
    assert {p.dtype.name for ps in seen.params for p in ps} == {dtype}


def test_a_target_owns_the_parameters_it_is_given_and_returns() -> None:
    class InPlace(targets.Descent):
        def step(self, grads: targets.Gradients) -> Any:
            for i, g in enumerate(grads):
                assert g is not None
                self.params[i] -= np.asarray(0.25, g.dtype) * g
            return self.params

    far = probe()
    before = [p.copy() for p in far.params]
    assert same(trace(InPlace, far), descended(far))
    assert all(map(np.array_equal, before, far.params))


def test_a_target_may_return_a_tuple_and_numpy_scalars() -> None:
    scalars = targets.answering(lambda params: tuple(p[()] if p.ndim == 0 else p for p in params))
    assert same(trace(scalars, probe()), descended(probe()))


def test_a_target_may_change_the_list_of_gradients() -> None:
    assert same(trace(targets.ReplacesGradients, probe()), descended(probe()))


def test_numpy_warnings_of_a_target_are_left_out() -> None:
    def divided(params: targets.Arrays) -> targets.Arrays:
        np.zeros(1) / np.zeros(1)
        return params

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trace(targets.answering(divided), probe())
    assert not caught


# What a target is given


def test_gradients_lie_in_the_same_memory_in_every_step() -> None:
    seen: list[Any] = []

    class Looks(targets.Descent):
        def step(self, grads: targets.Gradients) -> Any:
            seen.append([None if g is None else g.__array_interface__["data"] for g in grads])
            return super().step(grads)

    trace(Looks, probe("missing"))
    assert seen[0][1] is None
    assert seen[1] == seen[5] == seen[6]


def test_a_target_that_keeps_gradients_finds_others_in_them() -> None:
    assert not same(trace(targets.KeepsGradients, probe()), descended(probe()))


@pytest.mark.parametrize(("id", "contiguous"), [("far", True), ("strided", False)])
def test_gradients_of_one_probe_have_gaps_in_memory(id: str, contiguous: bool) -> None:
    class Looks(targets.Descent):
        def step(self, grads: targets.Gradients) -> Any:
            large = [g for g in grads if g is not None and g.size > 1]
            assert large
            assert all(g.flags.c_contiguous is contiguous for g in large)
            return super().step(grads)

    assert same(trace(Looks, probe(id)), descended(probe(id)))


def test_the_learning_rate_follows_the_rates() -> None:
    seen: list[float] = []

    class Follows(targets.Descent):
        def __init__(self, params: targets.Arrays, lr: float) -> None:
            super().__init__(params)
            self.set_lr(lr)

        def set_lr(self, lr: float) -> None:
            seen.append(lr)

    far = probe()
    done = trace(Follows, far, lr=0.5)
    assert seen == [0.5, *(0.5 * rate for rate in far.rates)]
    assert (done.rates, done.notes) == (far.rates, ())


def test_without_set_lr_the_learning_rate_stays_and_a_note_says_so() -> None:
    done = trace(targets.Descent, probe())
    assert set(done.rates) == {1.0}
    assert done.notes == (
        "the target has no set_lr: changes of the learning rate were not exercised",
    )


def test_a_target_is_saved_and_loaded_into_a_fresh_one() -> None:
    made: list[Resumes] = []

    class Resumes(targets.Descent):
        def __init__(self, params: targets.Arrays) -> None:
            super().__init__(params)
            self.count = 0
            made.append(self)

        def step(self, grads: targets.Gradients) -> Any:
            self.count += 1
            return super().step(grads)

        def state_dict(self) -> int:
            return self.count

        def load_state_dict(self, state: int) -> None:
            self.count = state

    done = trace(Resumes, probe("dyadic"))
    assert same(done, descended(probe("dyadic")))
    assert [target.count for target in made] == [12, 12]  # the first one goes on beside it
    assert done.resumed_after == 5


def test_without_saving_a_target_goes_on_and_a_note_says_so() -> None:
    class OnlyLoads(targets.Descent):
        def load_state_dict(self, state: Any) -> None:
            raise AssertionError

    for factory in (targets.Descent, OnlyLoads):
        done = trace(factory, probe("dyadic"))
        assert done.resumed_after is None
        assert done.notes[1:] == (
            "the target lacks state_dict or load_state_dict: saving and loading was not exercised",
        )


# What is an error


def refused(*arguments: Any, **keywords: Any) -> str:
    """Why there is no trace, which is one line."""
    with pytest.raises(TargetError) as caught:
        trace(*arguments, **keywords)
    reason = str(caught.value)
    assert "\n" not in reason
    return reason


@pytest.mark.parametrize("factory", [targets.Hangs, targets.HangsAtFirst])
def test_a_target_that_never_returns_is_left_behind(factory: Factory) -> None:
    began = time.perf_counter()
    reason = refused(factory, probe(), seconds=0.3)
    assert reason.endswith(
        "did not return within 0.3 s; if it needs longer, allow more with `timeout`"
    )
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt:"),
        (ValueError("one line\n  and  another"), "ValueError: one line and another"),
        (KeyError("momentum"), "KeyError: 'momentum'"),
    ],
)
def test_a_step_that_raises(error: BaseException, reason: str) -> None:
    said = refused(targets.failing(error), probe())
    assert said.startswith(f"step 3 of probe 'far' raised {reason}")
    assert "(targets.py, line " in said


def test_a_message_without_end_is_cut() -> None:
    assert len(refused(targets.failing(ValueError("word " * 1000)), probe())) < 600


def test_an_error_of_the_target_says_which() -> None:
    error = TargetError("the target says what to do")
    assert refused(targets.failing(error), probe()) == "the target says what to do"


def test_a_factory_that_raises() -> None:
    line = targets.refusing.__code__.co_firstlineno + 2
    assert refused(targets.refusing, probe()) == (
        "starting the target with no hyperparameters raised RuntimeError: no room for 5 parameters "
        f"and a second line (targets.py, line {line})"
    )


def test_a_factory_that_refuses_a_value_is_shown_with_what_it_was_given() -> None:
    class Strict(targets.Descent):
        def __init__(self, params: targets.Arrays, lr: float) -> None:
            raise ValueError(f"{lr} is too large for {len(params)} parameters")

    reason = refused(Strict, probe(), lr=0.5, eps=0.25)
    assert reason.startswith("starting the target with lr=0.5 raised ValueError: 0.5 is too large")


def test_what_a_factory_makes_must_step() -> None:
    assert refused(lambda params: object(), probe()).startswith(
        "the target returned object, which has no method step(grads)"
    )


@pytest.mark.parametrize("what", ["set_lr", "state_dict", "load_state_dict"])
def test_the_other_methods_may_raise_too(what: str) -> None:
    def raises(*_: Any) -> None:
        raise RuntimeError("not today")

    factory = type("Raises", (targets.Adam,), {what: raises})
    assert refused(factory, probe("dyadic")).startswith(f"{what} raised RuntimeError: not today")


WRONG_ANSWERS: dict[str, tuple[Callable[[targets.Arrays], Any], str]] = {
    "nothing": (lambda _: None, "returned NoneType; step(grads) must return the list of param"),
    "one array": (lambda ps: ps[1], "returned ndarray; step(grads) must return the list of param"),
    "a generator": (lambda ps: (p for p in ps), "returned generator; step(grads) must return the"),
    "a dict": (lambda ps: dict(enumerate(ps)), "returned dict; step(grads) must return the list"),
    "too few": (lambda ps: ps[:-1], "returned 4 arrays for 5 parameters"),
    "too many": (lambda ps: [*ps, ps[0]], "returned 6 arrays for 5 parameters"),
    "none": (lambda _: [], "returned 0 arrays for 5 parameters"),
    "lists": (lambda ps: [p.tolist() for p in ps], "returned float for parameter 0; return NumPy"),
    "a gap": (lambda ps: [None, *ps[1:]], "returned NoneType for parameter 0; return NumPy"),
    "transposed": (lambda ps: [p.T for p in ps], "parameter 2 with shape (3, 4) instead of (4, 3)"),
    "flat": (lambda ps: [p.reshape(-1) for p in ps], "parameter 0 with shape (1,) instead of ()"),
    "swapped bytes": (lambda ps: [p.astype(">f4") for p in ps], "dtype >f4 instead of float32"),
    "float64": (lambda ps: [p.astype("f8") for p in ps], "dtype float64 instead of float32"),
    "complex": (lambda ps: [p.astype("c8") for p in ps], "dtype complex64 instead of float32"),
    "integers": (lambda ps: [p.astype("i4") for p in ps], "dtype int32 instead of float32"),
    "objects": (lambda ps: [np.asarray(p, object) for p in ps], "dtype object instead of float32"),
}


@pytest.mark.parametrize("what", WRONG_ANSWERS)
def test_a_step_that_returns_something_else(what: str) -> None:
    answer, reason = WRONG_ANSWERS[what]
    said = refused(targets.answering(answer), probe("zero"))
    assert said.startswith("step 1 of probe 'zero' ")
    assert reason in said


def test_nan_in_a_part_is_no_error() -> None:
    def spoilt(params: targets.Arrays) -> targets.Arrays:
        return [params[0], params[1] * np.float32("nan"), *params[2:]]

    done = trace(targets.answering(spoilt), probe())
    assert np.isnan(done.params[0][1]).all()


def test_the_gradients_belong_to_the_caller() -> None:
    assert refused(targets.MutatesGradients, probe()) == (
        "step 1 of probe 'far' changed gradient 0, which belongs to the caller; "
        "let the target work on a copy"
    )


def test_a_state_that_is_aliased_on_load_shows_in_both_targets() -> None:
    class Momentum(targets.Descent):
        """Adds to its buffer in place, and loads that of another as it is, or a copy."""

        copies = False

        def __init__(self, params: targets.Arrays) -> None:
            super().__init__(params)
            self.buffers = [np.zeros_like(p) for p in params]

        def step(self, grads: targets.Gradients) -> Any:
            for b, g in zip(self.buffers, grads, strict=True):
                if g is not None:
                    np.add(b, g, out=b)
            return super().step([*self.buffers])

        def state_dict(self) -> Any:
            return self.buffers

        def load_state_dict(self, state: Any) -> None:
            self.buffers = [b.copy() for b in state] if self.copies else state

    class Copies(Momentum):
        copies = True

    aliased, right = (trace(kind, probe("dyadic")) for kind in (Momentum, Copies))
    assert len(right.beside) == len(right.params) - 5
    for beside, params in zip(right.beside, right.params[5:], strict=True):
        assert all(map(np.array_equal, beside, params))
    assert not all(map(np.array_equal, aliased.beside[-1], right.beside[-1]))
    assert not all(map(np.array_equal, aliased.params[-1], right.params[-1]))


def test_gradients_that_lie_otherwise_cannot_be_written() -> None:
    class Writes(targets.Descent):
        def step(self, grads: targets.Gradients) -> Any:
            for g in grads:
                if g is not None:
                    np.multiply(g, 1, out=g)
            return super().step(grads)

    assert same(trace(Writes, probe("far")), descended(probe("far")))
    with pytest.raises(TargetError, match="read-only"):
        trace(Writes, probe("strided"))
