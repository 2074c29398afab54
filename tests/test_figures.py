"""Figures: the numbers they show, the paths of optimizers, and ``refopt plot``."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import targets
from typer.testing import CliRunner

import refopt
from refopt import catalog, cli
from refopt.adapters.adapter import TargetError
from refopt.report import figures
from refopt.report.figures import data
from refopt.report.figures import trajectories as paths
from refopt.report.figures.trajectories import LANDSCAPES, Landscape
from refopt.variants import schedule

HERE = Path(__file__).parent
TARGETS = f"{HERE}/targets.py"
RAVINE, SADDLE, ROSENBROCK = LANDSCAPES


@pytest.fixture
def plot(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs ``refopt plot`` in this process."""
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def plot(*arguments: str | Path) -> Any:
        return CliRunner().invoke(cli.app, ["plot", *map(str, arguments)], catch_exceptions=False)

    return plot


def mistake(result: Any) -> str:
    """The one line that answers a mistake."""
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    return str(line)


# The data


def test_the_correction_ratio_by_hand() -> None:
    # beta1 = 1/2, beta2 = 3/4: sqrt(1/4)/(1/2), sqrt(7/16)/(3/4), sqrt(37/64)/(7/8)
    expected = [1.0, math.sqrt(7) / 3, math.sqrt(37) / 7]
    assert data.correction_ratio(0.5, 0.75, 3) == pytest.approx(expected, rel=1e-15)


def test_the_correction_ratio_of_the_defaults_falls_until_step_12_then_rises_to_1() -> None:
    ratio = data.correction_ratio(0.9, 0.999, 10_000)
    assert ratio[0] == pytest.approx(math.sqrt(0.001) / 0.1, rel=1e-12)
    assert np.argmin(ratio) == 11
    assert (np.diff(ratio[:12]) < 0).all()
    assert (np.diff(ratio[11:]) > 0).all()
    assert 1 - ratio[-1] == pytest.approx(0.999**10_000 / 2, rel=1e-4)  # the next term of the root


@pytest.mark.parametrize(
    ("name", "first"), [("radam", 5), ("radam_from_5", 6), ("radam_epsilon_hat", 6)]
)
def test_the_rectifier_by_fractions(name: str, first: int) -> None:
    beta2 = Fraction(999, 1000)
    rho_inf = 2 / (1 - beta2) - 1
    r = data.rectifier(0.999, 20, name)
    assert np.isnan(r[: first - 1]).all()
    for t in range(first, 21):
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        squared = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
        # rho is a difference of numbers near 2000, off by their rounding
        assert r[t - 1] == pytest.approx(math.sqrt(squared), rel=1e-9)


def test_short_averages_are_never_rectified() -> None:
    assert np.isnan(data.rectifier(0.5, 50)).all()  # rho_inf is 3


def test_the_steps_of_adagrad_die() -> None:
    sizes = data.step_sizes(refopt.adagrad(lr=1.0, eps=0.0), [1.0, 1.0, 1.0, 100.0, 1.0])
    squares = [1, 2, 3, 10_003, 10_004]
    expected = [g / math.sqrt(s) for g, s in zip([1, 1, 1, 100, 1], squares, strict=True)]
    assert sizes == pytest.approx(expected, rel=1e-12)


def test_the_steps_of_rmsprop_and_adam_do_not() -> None:
    sizes = data.step_sizes(refopt.rmsprop(lr=1.0, rho=0.5, eps=0.0), [3.0] * 3)
    assert sizes == pytest.approx([2**0.5, (4 / 3) ** 0.5, (8 / 7) ** 0.5], rel=1e-12)
    assert data.step_sizes(refopt.adam(lr=1.0, eps=0.0), [3.0] * 3) == pytest.approx([1, 1, 1])


def test_weights_under_alternating_gradients() -> None:
    scales = np.array([1.0, 2.0])
    path = data.weights(refopt.sgd(lr=0.25), scales, 2)
    assert path.tolist() == [[1.0, 1.0], [0.75, 0.5], [1.0, 1.0]]
    decayed = data.weights(refopt.l2(refopt.sgd(lr=0.25), 0.5), scales, 2)
    assert decayed.tolist() == [[1.0, 1.0], [0.625, 0.375], [0.796875, 0.828125]]


def test_effective_decay() -> None:
    plain, nothing = refopt.sgd(lr=0.25), np.array([0.0])
    for decayed in (refopt.l2(plain, 0.5), refopt.weight_decay(plain, 0.5)):
        # twice by 1/8: (1 - 49/64) of 2/8
        assert data.effective_decay(decayed, plain, nothing, 2, 0.125) == [0.9375]


def test_decoupled_decay_shrinks_all_alike_and_l2_in_inverse_proportion() -> None:
    adam, scales = refopt.adam(lr=1e-4, eps=0.0), np.array([1.0, 2.0, 4.0, 8.0])
    alike = data.effective_decay(refopt.weight_decay(adam, 1e-4), adam, scales, 100, 1e-8)
    assert alike == pytest.approx(alike[:1].repeat(4), rel=1e-6)  # differences of 1e-6 of weights
    coupled = data.effective_decay(refopt.l2(adam, 1e-4), adam, scales, 100, 1e-8)
    # the L2 term is at most 1e-4 of a gradient, and the second moment moves by twice as much
    assert coupled * scales == pytest.approx(coupled[:1].repeat(4), rel=3e-4)


def test_the_errors_of_beta_tilde_by_hand() -> None:
    errors = data.beta_tilde_errors(0.5, [2, 4])
    assert errors.decay.tolist() == [1 / 16, 2401 / 4096 - 1 / 2]
    assert errors.decay_bound.tolist() == [1 / 16, 3 / 32]
    assert errors.weight.tolist() == [1 / 4, 169 / 512]
    assert errors.weight_bound.tolist() == [1 / 4, 3 / 8]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
def test_the_errors_of_beta_tilde_keep_their_bounds(beta: float) -> None:
    errors = data.beta_tilde_errors(beta, range(2, 65))
    slack = 1e-14  # of 64 factors near 1, each off by a rounding of 1.1e-16
    assert (errors.decay <= errors.decay_bound + slack).all()
    assert (errors.weight <= errors.weight_bound + slack).all()


def test_every_schedule_that_counts_from_one_is_drawn() -> None:
    known = {name for name in vars(schedule) if name in catalog.VARIANTS}
    drawn = {re.split(r"\W", name)[0] for name in data.SCHEDULES}
    assert drawn == {name for name in known if not name.endswith("zero_based")}


@pytest.mark.parametrize(
    ("name", "step", "factor"),
    [
        ("constant", 100, 1.0),
        ("warmup", 5, 0.2),
        ("step_decay", 51, 0.25),
        ("exponential", 26, 0.5),
        ("cosine", 51, 0.5),
        ("cosine_periodic", 26, 0.0),
        ("cosine_restarts", 26, 1.0),
        ("cosine_growing_restarts", 29, 0.5),
        ("polynomial", 51, 0.25),
        ("inverse_time", 11, 0.5),
        ("inverse_sqrt, 5 times", 100, 0.5),
        ("piecewise_linear", 50, 0.6),
        ("one_cycle", 30, 1.0),
        ("one_cycle_linear", 1, 0.04),
        ("one_cycle_three_phase", 45, 1.0),
        ("warmup(cosine)", 1, 0.04),
    ],
)
def test_a_factor_of_each_schedule(name: str, step: int, factor: float) -> None:
    sizes = data.step_sizes(refopt.build(data.SCHEDULES[name]), [1.0] * 100)
    # differences of parameters up to 100
    assert sizes[step - 1] == pytest.approx(factor, abs=1e-13)


# The paths


@pytest.mark.parametrize("landscape", LANDSCAPES, ids=lambda each: each.title)
def test_landscapes(landscape: Landscape) -> None:
    x, y = sp.symbols("x y", real=True)
    value, gradient = landscape.value(x, y), landscape.gradient(x, y)
    for stated, variable in zip(gradient, (x, y), strict=True):
        assert sp.expand(stated - sp.diff(value, variable)) == 0
    for minimum in landscape.minima:
        assert landscape.gradient(*minimum) == (0, 0)
    left, right, bottom, top = landscape.window
    assert left < landscape.start[0] < right
    assert bottom < landscape.start[1] < top


def test_the_saddle_is_one() -> None:
    assert SADDLE.gradient(0.0, 0.0) == (0.0, 0.0)
    assert SADDLE.value(0.1, 0.0) > SADDLE.value(0.0, 0.0) > SADDLE.value(0.0, 0.1)


def test_descent_into_the_ravine() -> None:
    traveller = paths.of_reference(refopt.sgd())
    path = paths.travelled(traveller, RAVINE, 0.05, steps=10)
    n = np.arange(11)
    expected = np.stack([-2 * 0.95**n, 0.6 * (-0.5) ** n], axis=1)
    assert path.points == pytest.approx(expected, rel=1e-12)
    assert path.losses[:2] == pytest.approx([7.4, (1.9**2 + 30 * 0.3**2) / 2])
    assert path.lr == 0.05


def test_the_best_learning_rate_is_chosen() -> None:
    # the steep direction bounds it by 2/30, and of those below 0.05 is fastest on the flat one
    assert paths.best(paths.of_reference(refopt.sgd()), RAVINE).lr == 0.05


def test_a_given_learning_rate_stays() -> None:
    traveller = paths.of_reference(refopt.build("lookahead(adam(lr=0.25), k=3)"))
    assert traveller.rates == (0.25,)
    assert paths.best(traveller, SADDLE, steps=2).lr == 0.25


def test_a_path_ends_where_the_loss_is_no_longer_finite() -> None:
    path = paths.best(paths.of_reference(refopt.sgd(lr=1e200)), RAVINE)
    assert path.losses.tolist() == [RAVINE.value(*RAVINE.start), math.inf]
    assert len(path.points) == 2


def test_a_target_goes_where_the_reference_goes() -> None:
    reference = paths.travelled(paths.of_reference(refopt.adam()), ROSENBROCK, 0.1, steps=5)
    with paths.of_target(targets.Adam, {}) as traveller:
        assert traveller.rates == paths.RATES
        path = paths.travelled(traveller, ROSENBROCK, 0.1, steps=5)
    # five steps in float32, where each is off by a few units of 6e-8
    assert path.points == pytest.approx(reference.points, abs=5e-6)


def test_options_reach_the_target() -> None:
    with paths.of_target(targets.Adam, {"lr": 0.5, "eps": 0.0}) as traveller:
        assert traveller.rates == (None,)
        path = paths.best(traveller, RAVINE, steps=1)
    assert path.lr is None
    assert path.points[1] == pytest.approx([-1.5, 0.1], abs=1e-6)  # the first step of Adam is lr


def test_a_target_of_a_framework() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    with paths.of_target("torch.optim:SGD", {}) as traveller:
        path = paths.travelled(traveller, RAVINE, 0.0625, steps=1)
    assert path.points[1] == pytest.approx([-1.875, -0.525], abs=1e-6)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (f"{TARGETS}:Nobody", "has no attribute 'Nobody'"),
        (f"{TARGETS}:number", "int cannot be called"),
        (f"{TARGETS}:refusing", "with no hyperparameters raised RuntimeError: no room for 1"),
        (f"{TARGETS}:Exits", "a step raised SystemExit"),
        (targets.answering(lambda params: None), "a step returned NoneType"),
        (targets.answering(lambda params: [p[:1] for p in params]), "with shape (1,)"),
    ],
)
def test_targets_that_cannot_be_sent(target: Any, reason: str) -> None:
    with pytest.raises(TargetError, match=r".*") as raised, paths.of_target(target, {}) as sent:
        paths.best(sent, RAVINE)
    assert reason in str(raised.value)


# The drawings


@pytest.mark.parametrize("name", figures.FIGURES)
def test_every_figure_is_drawn(name: str) -> None:
    figure = figures.drawn(name)
    assert figures.rendered(figure, "svg").startswith(b"<?xml")
    assert figure.get_size_inches()[0] == 6.5


@pytest.mark.parametrize("kind", figures.FORMATS)
def test_files_are_the_same_on_every_run(kind: str) -> None:
    first, second = (figures.rendered(figures.drawn("rectifier"), kind) for _ in range(2))
    assert first == second


def test_notebooks_show_figures_as_vectors() -> None:
    assert figures.drawn("rectifier")._repr_svg_().rstrip().endswith("</svg>")


def test_the_minimum_of_the_correction_is_marked() -> None:
    (axes,) = figures.drawn("correction").axes
    (label,) = [text.get_text() for text in axes.texts if "t = 12" in text.get_text()]
    assert label == "least at t = 12: 0.152"


def test_own_optimizers_have_a_row_each() -> None:
    travellers = {"mine": paths.of_reference(refopt.adam(lr=0.1))}
    figure = figures.drawn("trajectories", travellers=travellers)
    titles = [axes.get_title().partition("\n")[0] for axes in figure.axes]
    assert titles == [each.title for each in LANDSCAPES]
    assert figure.axes[0].get_ylabel() == "mine"


# The command


def test_plot_without_a_name_lists_the_figures(plot: Any) -> None:
    result = plot()
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(figures.FIGURES)


@pytest.mark.parametrize(("kind", "magic"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?")])
def test_plot_writes_a_file(plot: Any, tmp_path: Path, kind: str, magic: bytes) -> None:
    result = plot("rectifier", "--output", tmp_path / f"figure.{kind}")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / f"figure.{kind}").read_bytes().startswith(magic)
    assert len(list(tmp_path.iterdir())) == 1


def test_plot_own_target_beside_the_reference(plot: Any, tmp_path: Path) -> None:
    file = tmp_path / "own.svg"
    own = ("--target", f"{TARGETS}:Prints", "--option", "lr=0.2", "--spec", "adam(lr=0.2)")
    result = plot("trajectories", *own, "--output", file)
    assert (result.exit_code, result.stdout) == (0, "")  # what the target prints is not in it
    assert "stepping" in result.stderr
    assert file.is_file()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["corection", "--output", "a.svg"], "no figure is named 'corection'; did you mean corr"),
        (["x", "--output", "a.svg"], "no figure is named 'x'; there are: adagrad, beta_tilde, "),
        (["decay", "--output", "a.txt"], "cannot write a.txt: give a file that ends in .pdf, .png"),
        (["decay", "--output", "nowhere/a.svg"], "cannot write nowhere/a.svg: give a file in a f"),
        (["decay", "--target", "a.b:C"], "decay is of the reference alone; --target and --spec a"),
        (["decay", "--spec", "adam"], "decay is of the reference alone; --target and --spec are"),
        (["trajectories", "--option", "lr=1"], "--option needs a target: refopt plot trajectori"),
        (["trajectories", "--target", "a.b:C", "--output", "a.svg"], "cannot import a.b: No modu"),
        (["trajectories", "--target", "adam", "--output", "a.svg"], "'adam' is not of the form "),
        (["trajectories", "--spec", "adan", "--output", "a.svg"], "no optimizer is named 'adan'"),
        (
            ["trajectories", "--target", f"{TARGETS}:Adam", "--option", "lr=0,1+"],
            "--option lr=0,1+: give NAME=VALUE",
        ),
    ],
)
def test_mistakes(
    plot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert mistake(plot(*arguments)).startswith(f"refopt: {reason}")
    assert list(tmp_path.iterdir()) == []


def test_without_a_display(plot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    import matplotlib as mpl

    with mpl.rc_context({"backend": "agg"}):
        answer = mistake(plot("correction"))
    assert answer == "refopt: there is no display for a window: give --output correction.svg"


def test_without_matplotlib(plot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "refopt.report.figures.drawing", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = mistake(plot("correction", "--output", tmp_path / "a.svg"))
    assert answer == "refopt: figures need Matplotlib: pip install matplotlib"
