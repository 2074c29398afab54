"""Properties: each holds of what is right, and a script refutes it where something breaks it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import targets
from examples import around
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import refopt
from refopt import specification
from refopt.adapters.plain import PlainAdapter
from refopt.catalog import COMPOSITIONS, build, goes_around
from refopt.oracle.probes import probes
from refopt.oracle.properties import PropertyVerdict, check_properties, found
from refopt.oracle.properties.laws import LAWS, laws_of
from refopt.oracle.properties.machine import NAME as MACHINE
from refopt.oracle.properties.script import literal
from refopt.oracle.properties.stated import bound_of_step, properties_of, whole
from refopt.oracle.reference import ReferenceTarget, reference
from refopt.specification import load, names
from refopt.strategies import SHAPES, Shape

HERE = Path(__file__).parent
FORMS = [form for name in names() for form in load(name).forms]


@pytest.fixture(autouse=True)
def _soon_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a case is the smallest one is not asked here, but where it says so."""
    monkeypatch.setattr(found, "SHRINKING", 0.5)


# What specifications state


def test_what_is_explained_is_what_can_be_examined() -> None:
    assert specification.properties().keys() == {*LAWS, MACHINE}


@pytest.mark.parametrize("name", names())
def test_every_specification_states_properties_that_are_explained(name: str) -> None:
    spec = load(name)
    assert spec.properties, "state the properties of this optimizer, or what a variant lets be"
    for stated in (spec.properties, *(f.properties or () for f in spec.forms.values())):
        assert list(stated) == sorted(set(stated))
        assert all(specification.properties()[p].of != "every target" for p in stated)
    assert ("step_bounded" in spec.properties) == (spec.step_bound is not None)
    if spec.step_bound is not None and spec.step_bound.claim is not None:
        assert spec.step_bound.claim in spec.claims


@pytest.mark.parametrize("name", [n for n in COMPOSITIONS if not goes_around(n)])
def test_a_composition_has_what_each_of_its_layers_lets_be(name: str) -> None:
    optimizer = build(name)
    stack = str(optimizer)
    assert whole(name, None) == name
    assert whole(stack, None) is None
    inferred = {law.name for law in laws_of(optimizer, stack, None)}
    assert inferred <= {law.name for law in laws_of(optimizer, name, None)}


def test_a_stack_has_what_all_its_layers_have() -> None:
    def of(expression: str, dialect: str | None = None) -> set[str]:
        optimizer = specification.resolve(expression, dialect)
        return {law.name for law in laws_of(optimizer, expression, dialect)} - EVERY

    assert of("sgd") == set(load("sgd").properties)
    assert "independent_parameters" not in of("clip_by_global_norm(sgd)")
    assert "split_invariant" in of("clip_by_global_norm(sgd)")
    assert "gradient_scale_invariant" not in of("clip_by_norm(adam)")
    assert "row_permutation_equivariant" in of("lazy(adam)")
    assert "permutation_equivariant" not in of("lazy(adam)")
    assert "identity_at_k_1" in of("weight_decay(gradient_accumulation(sgd))")
    assert "equals_mean_gradient" not in of("weight_decay(gradient_accumulation(sgd))")
    assert "missing_gradient_skipped" not in of("adam", "keras")
    assert "step_bounded" not in of("lookahead(adam)")


EVERY = {n for n, p in specification.properties().items() if p.of == "every target"}


# They hold of the reference


@pytest.mark.parametrize("name", [*names(), *FORMS])
def test_the_reference_has_what_is_stated(name: str) -> None:
    expression = around(name, "adam") if goes_around(name) else name
    report = check_properties(reference(build(expression)), expression, max_examples=2)
    assert report.conforms, report
    assert all(verdict.is_examined for verdict in report.verdicts), report


@pytest.mark.parametrize("spec", ["adagrad", "gradient_accumulation(adamw)"])
def test_float64_has_bounds_of_its_own(spec: str) -> None:
    report = check_properties(reference(build(spec)), spec, dtype="float64", max_examples=8)
    assert report.conforms, report


class Stored(ReferenceTarget):
    """Adam whose parameters lie in memory in 16 bits, computed and with state in float32."""

    def __init__(self, params: Sequence[np.ndarray], **hyperparameters: Any) -> None:
        super().__init__(
            build("adam").with_hyperparameters(**hyperparameters),
            [p.astype(np.float32) for p in params],
        )
        self.dtype = params[0].dtype

    def step(self, grads: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        wide = super().step([None if g is None else g.astype(np.float32) for g in grads])
        stored = [np.asarray(p, self.dtype) for p in wide]
        self.params = [p.astype(np.float32) for p in stored]
        return stored


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_parameters_in_16_bits_are_compared_as_the_target_computes_them(dtype: str) -> None:
    def factory(params: Sequence[np.ndarray], **hyperparameters: float) -> Stored:
        return Stored(params, **hyperparameters)

    report = check_properties(factory, "adam(beta1=0.5)", dtype=dtype, max_examples=8)
    assert report.conforms, report


def test_other_code_has_them_as_well() -> None:
    report = check_properties(targets.Adam, "adam", max_examples=20)
    assert report.conforms, report
    assert check_properties(targets.EpsilonHat, "adam", max_examples=5)["sign_symmetric"].conforms


def test_hyperparameters_that_are_rounded_to_float32_are_admitted() -> None:
    report = check_properties(targets.RoundsRates, "adam", max_examples=20)
    assert report.conforms, report


# They do not hold of what breaks them


class Wrong(ReferenceTarget):
    """The reference, with gradients that it sees otherwise or results that it leaves otherwise."""

    def seen(self, i: int, g: np.ndarray) -> np.ndarray:
        return g

    def left(self, i: int, new: np.ndarray, old: np.ndarray, g: np.ndarray | None) -> np.ndarray:
        return new

    def step(self, grads: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        old = self.params
        seen = [None if g is None else self.like(g, self.seen(i, g)) for i, g in enumerate(grads)]
        new = super().step(seen)
        self.params = [
            self.like(p, self.left(i, p, old[i], g))
            for i, (p, g) in enumerate(zip(new, grads, strict=True))
        ]
        return self.params

    @staticmethod
    def like(p: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.asarray(x, p.dtype).reshape(p.shape)


def wrong(spec: str, **methods: Callable[..., Any]) -> Callable[..., Any]:
    """A target that is an optimizer but for some methods."""
    kind = type("Broken", (Wrong,), methods)

    def factory(params: Sequence[np.ndarray], **hyperparameters: Any) -> Any:
        return kind(build(spec).with_hyperparameters(**hyperparameters), params)

    return factory


def no_tail(self: Any, i: int, new: np.ndarray, old: np.ndarray, g: Any) -> np.ndarray:
    """What is left over from vectors of 8 elements is not written, in arrays of 64 and more."""
    if new.size < 64:
        return new
    done = new.size // 8 * 8
    return np.append(new.flat[:done], old.flat[done:])


def only_matrices(self: Any, i: int, new: np.ndarray, old: np.ndarray, g: Any) -> np.ndarray:
    """Parameters of more than two axes are not written."""
    return old if new.ndim > 2 else new


def leaking(self: Any, i: int, new: np.ndarray, old: np.ndarray, g: Any) -> np.ndarray:
    """A little of the gradient reaches the parameter on a way of its own."""
    return new if g is None else new - g / 32


def clipped(self: Any, i: int, g: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(g, -0.5, 0.5))


def halved(self: Any, i: int, g: np.ndarray) -> np.ndarray:
    return g / 2


def drifting(self: Any, i: int, new: np.ndarray, old: np.ndarray, g: Any) -> np.ndarray:
    return new + 2.0**-7


def shrinking(self: Any, i: int, new: np.ndarray, old: np.ndarray, g: Any) -> np.ndarray:
    return new * (1 - 2.0**-7)


def hastening(self: Any, i: int, new: np.ndarray, old: np.ndarray, g: Any) -> np.ndarray:
    """Every step is four times as long as it would be at the one before."""
    return np.asarray(old + 4.0 ** min(self.state_dict()[str(i)]["t"], 8) * (new - old))


def filled(value: float) -> Callable[..., Any]:
    """Takes a missing gradient for one of some value."""

    def step(self: Any, grads: Sequence[np.ndarray | None]) -> Any:
        given = [
            np.full_like(p, value) if g is None else g
            for p, g in zip(self.params, grads, strict=True)
        ]
        return Wrong.step(self, given)

    return step


def spoiling(self: Any, grads: Sequence[np.ndarray | None]) -> Any:
    new = Wrong.step(self, grads)
    for g in grads:
        if g is not None:
            np.multiply(g, 0.5, out=g)
    return new


def noisy(self: Any, i: int, new: np.ndarray, old: np.ndarray, g: Any) -> np.ndarray:
    return new + 1e-6 * np.random.default_rng().random(new.shape)


def frozen(self: Any, lr: float) -> None:
    """The learning rate changes once."""
    if not hasattr(self, "changed"):
        self.changed = self.lr = lr


BROKEN: Mapping[str, tuple[str, Mapping[str, Callable[..., Any]]]] = {
    "deterministic": ("sgd", {"left": noisy}),
    "resumable": ("sgd(momentum=0.5)", {"load_state_dict": lambda self, state: None}),
    "layout_invariant": ("sgd", {"seen": lambda self, i, g: g.ravel("K")}),
    "parameter_order_invariant": (
        "sgd",
        {"left": lambda self, i, new, old, g: old if i == 0 < len(self.params) - 1 else new},
    ),
    "gradients_untouched": ("adam", {"step": spoiling}),
    "permutation_equivariant": ("adam", {"left": no_tail}),
    "row_permutation_equivariant": ("lazy(sgd)", {"left": no_tail}),
    "reshape_equivariant": ("adam", {"left": only_matrices}),
    "split_invariant": ("adam", {"left": no_tail}),
    "independent_parameters": ("sgd", {"seen": lambda self, i, g: g / len(self.params)}),
    "missing_gradient_skipped": ("sgd(momentum=0.5)", {"step": filled(0.0)}),
    "sign_symmetric": ("sgd", {"left": drifting}),
    "translation_invariant": ("adam", {"left": shrinking}),
    "gradient_scale_invariant": ("adam", {"seen": clipped}),
    "gradient_scale_invariant_inside": ("adam_epsilon_inside", {"seen": clipped}),
    "gradient_homogeneous": ("sgd", {"seen": clipped}),
    "zero_gradient_fixed_point": ("adam", {"left": drifting}),
    "zero_gradient_decays": ("adamw", {"left": shrinking}),
    "step_bounded": ("adam", {"left": lambda self, i, new, old, g: new + (new - old)}),
    "diminishing_steps": ("adagrad", {"left": hastening}),
    "monotone_accumulator": (
        "adagrad",
        {"state": lambda self: {"s": [1 / (1 + s) for s in Wrong.state(self)["s"]]}},
    ),
    "identity_at_k_1": ("gradient_accumulation(sgd)", {"seen": halved}),
    "identity_at_alpha_1": ("lookahead(sgd)", {"seen": halved}),
    "identity_at_scale_1": ("rescale(sgd)", {"seen": halved}),
    "identity_without_missing_gradients": ("count_missing(sgd)", {"seen": halved}),
    "identity_on_dense_gradients": ("lazy(sgd)", {"left": no_tail}),
    "identity_below_bound": ("clip_by_norm(sgd)", {"seen": halved}),
    "saturates_above_bound": ("clip_by_norm(sgd)", {"left": leaking}),
    "equals_mean_gradient": ("gradient_accumulation(sgd)", {"seen": clipped}),
    "missing_gradient_is_zero": ("gradient_accumulation(sgd)", {"step": filled(1.0)}),
    "row_shift_invariant": ("gradient_centralization(sgd)", {"left": leaking}),
    MACHINE: ("sgd", {"set_lr": frozen}),
}
"""For each property an optimizer that breaks it, and how."""


def test_each_property_is_broken_by_something() -> None:
    assert BROKEN.keys() == specification.properties().keys()


def examined(target: Any, spec: str, name: str, **asked: Any) -> PropertyVerdict:
    """The verdict on one property."""
    from refopt.oracle.examination import Examination
    from refopt.oracle.properties import Properties
    from refopt.oracle.subject import finder, named

    examination = Examination(named(target), finder(target, spec, None, None), spec, explain=False)
    return Properties(examination, target, {}, **asked).verdict(name)


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_property_lacks_it(name: str) -> None:
    spec, methods = BROKEN[name]
    verdict = examined(wrong(spec, **methods), spec, name)
    assert verdict.outcome == "deviates", verdict
    assert verdict.failure is not None
    compile(verdict.failure.script, "script", "exec")
    assert "the smallest case found, to be run:" in str(verdict)


# What no probe sees


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=HERE, check=False
    )


@pytest.mark.parametrize(
    ("target", "caught"),
    [
        (targets.WritesNoTail, {"split_invariant", MACHINE}),
        (targets.KnowsTwoAxes, {"reshape_equivariant", MACHINE}),
        (targets.SharesFromTheSixth, {"parameter_order_invariant"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_passes_all_probes_is_refuted_by_a_script(
    target: Any, caught: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found, "SHRINKING", 1.0)
    assert refopt.check(target, "adam").conforms
    for name in sorted(caught):
        verdict = examined(target, "adam", name)
        assert verdict.failure is not None, verdict
        script = verdict.failure.script
        ran = run_script(script)
        assert ran.returncode == 1, ran.stderr
        assert "AssertionError" in ran.stderr
        right = run_script(script.replace(target.__name__, "Adam"))
        assert right.returncode == 0, right.stderr


def test_cases_shrink_to_the_first_size_that_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "SHRINKING", 30.0)
    verdict = examined(targets.WritesNoTail, "adam", MACHINE)
    assert verdict.failure is not None
    lines = verdict.failure.script.splitlines()
    code = [line for line in lines if line and not line.startswith(("#", "import"))]
    assert "(65,)" in code[0]
    assert len(code) <= 5
    assert sum("target.step" in line for line in code) == 1


# Errors, and what cannot be examined


def test_shapes_that_are_compiled_for_come_in_few_combinations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[tuple[Shape, ...]] = set()

    class Seen(targets.Adam):
        def __init__(self, params: targets.Arrays, **given: float) -> None:
            seen.add(tuple(p.shape for p in params))
            super().__init__(params, **given)

    monkeypatch.setattr(PlainAdapter, "compiles", True)
    assert examined(Seen, "adam", "permutation_equivariant", max_examples=300).conforms
    probed = {tuple(p.shape for p in probe.params) for probe in probes({})}
    drawn = seen - probed
    assert len(drawn) <= 10
    assert {shape for shapes in drawn for shape in shapes} == set(SHAPES)


def test_what_could_not_be_run_is_an_error_with_the_case() -> None:
    verdict = examined(targets.failing(ValueError("no")), targets.SGD_SPEC, MACHINE)
    assert verdict.outcome == "error"
    assert str(verdict.error).startswith("step 3 of probe 'far' raised ValueError: no")
    verdict = examined(targets.RefusesThreeAxes, "adam", "permutation_equivariant")
    assert verdict.outcome == "error"
    assert verdict.failure is not None
    ran = run_script(verdict.failure.script)
    assert "NotImplementedError" in ran.stderr


def test_what_a_target_lacks_is_not_examined_and_said_so() -> None:
    report = check_properties(targets.OnlySteps, "adam(eps=0.125)", max_examples=1)
    assert report.conforms
    assert report["resumable"].notes == ("the target lacks state_dict or load_state_dict",)
    (reason,) = report["gradient_scale_invariant"].notes
    assert reason == "it needs eps=0.0, and the spec pins it to 0.125"
    assert "- resumable: not examined: the target lacks" in str(report)
    assert check_properties(targets.TakesNoEpsilon, "adam", max_examples=1)[
        "gradient_scale_invariant"
    ].notes == ("it needs eps=0.0, and the target takes none and it stays 1e-08",)


def test_questions_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean adam"):
        check_properties(targets.Adam, "adan")
    with pytest.raises(ValueError, match="dtype must be one of"):
        check_properties(targets.Adam, "adam", dtype="int8")


def test_the_same_seed_finds_the_same_case() -> None:
    spec, methods = BROKEN["sign_symmetric"]
    once, again = (examined(wrong(spec, **methods), spec, "sign_symmetric") for _ in range(2))
    assert once.failure == again.failure
    assert once.cases == again.cases


def test_a_report_is_json_as_well() -> None:
    report = check_properties(reference(build("sgd")), "sgd", max_examples=1)
    table = report.to_json()
    assert table["outcome"] == "conforms"
    assert {p["name"] for p in table["properties"]} == {*EVERY, *load("sgd").properties}


# Bounds of steps


def test_growing_gradients_attain_the_bound_of_adam() -> None:
    """The bound is sharp: the case of equality of Cauchy-Schwarz is a step that long."""
    beta1, beta2, steps = 0.5, 0.75, 12
    opt = refopt.adam(lr=1.0, beta1=beta1, beta2=beta2, eps=0.0)
    theta = np.zeros(1)
    state = opt.init(theta)
    bound = bound_of_step("adam")
    for t in range(1, steps + 1):
        before = theta
        theta, state = opt.step(theta, np.array([(beta1 / beta2) ** -t]), state)
    limit = bound({"lr": 1.0, "beta1": beta1, "beta2": beta2, "t": steps})
    assert float(abs(theta - before)[0]) == pytest.approx(float(limit), rel=1e-14)


def test_the_bound_of_adam_at_its_defaults_is_above_that_of_the_paper() -> None:
    limit = bound_of_step("adam")({"lr": 1.0, "beta1": 0.9, "beta2": 0.999, "t": 100_000})
    exact = Fraction(1, 10) ** 2 / (
        Fraction(1, 1000) * (1 - Fraction(81, 100) * Fraction(1000, 999))
    )
    assert float(limit) == pytest.approx(float(exact) ** 0.5, rel=1e-9)
    assert limit > 0.1 / 0.001**0.5


def test_a_bound_is_that_of_the_canonical_form_alone() -> None:
    assert "step_bounded" not in properties_of("adam_uncorrected") or (whole("adam", "mlx") is None)


# Arrays as text


@given(
    st.sampled_from(["float32", "float64"]).flatmap(
        lambda dtype: arrays(
            dtype,
            array_shapes(min_dims=0, max_dims=3, max_side=5),
            elements=st.floats(-4, 4, width=16),
        )
    )
)
def test_an_array_is_the_code_that_stands_for_it(array: np.ndarray) -> None:
    read = eval(literal(array), {"np": np})
    assert read.dtype == array.dtype
    assert read.shape == array.shape
    assert np.array_equal(read, array)
