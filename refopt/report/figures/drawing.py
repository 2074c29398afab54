"""The drawings: one function a figure, each returns a Matplotlib figure sized for a page.

Lines differ in colour and in style, and carry their names where they end. The colours are those of
Okabe & Ito, which colour-blind readers tell apart; all are dark enough for text on white.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import wraps
from textwrap import fill
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.registry import BackendFilter, backend_registry
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

import refopt
from refopt.report.figures import data
from refopt.report.figures.trajectories import (
    LANDSCAPES,
    STEPS,
    Landscape,
    Path,
    Traveller,
    best,
    references,
)

_STYLE: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "svg.hashsalt": "refopt",
    "svg.fonttype": "path",
    "savefig.dpi": 200,
}
_WIDTH: Final = 6.5
"""Of a figure in inches: the text of a page."""

_LINES: Final[tuple[dict[str, Any], ...]] = (
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#D55E00", "linestyle": "--"},
    {"color": "#008060", "linestyle": "-."},
)
"""Blue, vermilion and a bluish green that is darkened for text."""

_GREY: Final = "#666666"


class _Drawing(Figure):
    """A figure that notebooks show as vectors, without a backend."""

    def _repr_svg_(self) -> str:
        whole = rendered(self, "svg").decode()
        return whole[whole.index("<svg") :]  # without the prologue, which pages do not take


def _drawn(draw: Callable[..., None]) -> Callable[..., Figure]:
    """Has a function draw in the common style, into a new figure unless it is given one."""

    @wraps(draw)
    def drawn(figure: Figure | None = None, **arguments: Any) -> Figure:
        with mpl.rc_context(_STYLE):
            figure = _Drawing() if figure is None else figure
            figure.set_layout_engine("constrained")
            figure.set_size_inches(_WIDTH, 2.9)
            figure.set_label((draw.__doc__ or "").partition("\n")[0])
            draw(figure, **arguments)
            return figure

    return drawn


@_drawn
def correction(figure: Figure) -> None:
    """The correction ratio ``sqrt(1 - beta2**t) / (1 - beta1**t)`` with its minimum marked."""
    steps = 10_000
    t = np.arange(1, steps + 1)
    axes = figure.subplots()
    axes.axhline(1, color=_GREY, linewidth=0.6)
    for line, beta2 in zip(_LINES, (0.999, 0.99, 0.95), strict=False):
        ratio = data.correction_ratio(0.9, beta2, steps)
        lowest = int(np.argmin(ratio))
        place = (t[lowest], ratio[lowest])
        axes.plot(t, ratio, **line)
        axes.plot(*place, "o", color=line["color"])
        _say(axes, f"least at t = {t[lowest]}: {place[1]:.3f}", place, line, (0, -10), ha="center")
        _say(axes, rf"$\beta_2 = {beta2}$", (1, ratio[0]), line, (6, 4))
    axes.set(xscale="log", yscale="log", xlim=(1, steps), ylim=(0.1, 3), xlabel="step t")
    axes.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(r"$\sqrt{1-\beta_2^t}\,/\,(1-\beta_1^t)$ at $\beta_1 = 0.9$")


@_drawn
def adagrad(figure: Figure) -> None:
    """The size of Adagrad's steps, for a constant gradient and after a single large one."""
    steps = 1000
    t = np.arange(1, steps + 1)
    constant = [1.0] * steps
    burst = [100.0 if step == 100 else 1.0 for step in t]
    titles = ("gradient 1 at every step", "gradient 100 at step 100, else 1")
    left, right = figure.subplots(1, 2, sharey=True)
    names = {"Adagrad": "adagrad", "RMSprop": "rmsprop", "Adam": "adam"}
    for axes, gradients, title in zip((left, right), (constant, burst), titles, strict=True):
        for line, (label, name) in zip(_LINES, names.items(), strict=False):
            sizes = data.step_sizes(refopt.build(f"{name}(lr=1.0)"), gradients)
            axes.plot(t, sizes, **line, label=label)
        axes.set(xscale="log", yscale="log", xlim=(1, steps), xlabel="step t", title=title)
    left.set_ylabel("step size, in learning rates")
    left.legend(frameon=False, loc="lower left")
    _say(left, r"$1/\sqrt{t}$", (100, 0.1), _LINES[0], (4, 6))


@_drawn
def decay(figure: Figure) -> None:
    """How much L2 and decoupled decay shrink weights whose gradients differ in scale."""
    left, right = figure.subplots(1, 2, width_ratios=(0.9, 1))
    solid, dashed, dots = _LINES[0], _LINES[1], {"color": _LINES[2]["color"], "marker": "."}

    scales, steps = np.array([0.3, 3.0, 10.0]), 1000
    decoupled = refopt.build("adamw(lr=0.01, weight_decay=0.1)")
    regularised = refopt.build("l2(adam(lr=0.01), weight_decay=0.1)")
    left.plot(data.weights(regularised, scales, steps), **dashed)
    left.plot(data.weights(decoupled, scales, steps), **solid)
    for scale, end in zip(scales, data.weights(regularised, scales, steps)[-1], strict=True):
        _say(left, f"Adam with L2, |g| = {scale:g}", (steps, end), dashed, (3, 0))
    end = data.weights(decoupled, scales, steps)[-1, 0]
    _say(left, "AdamW, all |g|", (steps, end), solid, (3, 0))
    left.set(xlim=(0, steps), ylim=(0, 1.02), xlabel="step t", ylabel="weight, from 1")
    left.set_title(r"learning rate $\gamma = 0.01$, decay $\lambda = 0.1$")

    scales = np.geomspace(0.01, 100, 25)

    def shrinkage(decayed: str, plain: str) -> data.Reals:
        lr, rate = 1e-3, 1e-2
        around, inside = (refopt.build(text.format(lr, rate)) for text in (decayed, plain))
        return data.effective_decay(around, inside, scales, 200, lr * rate)

    adam = "adam(lr={0})"
    times = shrinkage("l2(adam(lr={0}), weight_decay={1})", adam)
    right.plot(scales, times, **dashed)
    _say(right, r"Adam with L2: $1/\sqrt{\hat v}$", (scales[6], times[6]), dashed, (5, 4))
    right.plot(scales, shrinkage("adamw(lr={0}, weight_decay={1})", adam), **solid)
    sgd = shrinkage("l2(sgd(lr={0}), weight_decay={1})", "sgd(lr={0})")
    right.plot(scales, sgd, linestyle="none", **dots)
    _say(right, "AdamW (line)", (scales[0], 1), solid, (0, -8))
    _say(right, "SGD with L2 (dots)", (scales[0], 1), dots, (0, -18))
    right.set(xscale="log", yscale="log", xlabel="size of the gradients |g|")
    right.set_title(r"learning rate $\gamma = 0.001$, decay $\lambda = 0.01$")
    right.set_ylabel(r"shrinkage a step, in $\gamma\lambda$")


@_drawn
def beta_tilde(figure: Figure) -> None:
    """The errors of both approximations behind beta-tilde, and their bounds."""
    ks = range(2, 65)
    left, right = figure.subplots(1, 2)
    for line, beta in zip(_LINES, (0.5, 0.9, 0.99), strict=False):
        errors = data.beta_tilde_errors(beta, ks)
        for axes, error, order in ((left, errors.decay, 2), (right, errors.weight, 1)):
            text = rf"$\beta = {beta}$: {error[-1]:.2g} at k = 64"
            axes.plot(ks, error / (1 - beta) ** order, **line, label=text)
    for axes, values, text in (
        (left, errors.decay_bound / (1 - beta) ** 2, "(k - 1) / 2k"),
        (right, errors.weight_bound / (1 - beta), "(k - 1) / k"),
    ):
        axes.plot(ks, values, color="black", linewidth=0.6, label=f"bound {text}")
    for axes in (left, right):
        axes.set(xlim=(2, 64), ylim=(0, None), xlabel="gradients a window, k")
        axes.set_xticks([2, 8, 16, 32, 48, 64])
        axes.legend(frameon=False, loc="lower right")
    left.set_title("weight of the windows before")
    left.set_ylabel(r"$(\tilde\beta^k - \beta) \,/\, (1 - \beta)^2$")
    right.set_title("weight of the first gradient of a window")
    right.set_ylabel(r"$(1 - \tilde\beta^{k-1}) \,/\, (1 - \beta)$")


@_drawn
def rectifier(figure: Figure) -> None:
    """RAdam's rectifier for three beta2, from the step on at which it acts."""
    steps = 10_000
    t = np.arange(1, steps + 1)
    axes = figure.subplots()
    for line, beta2 in zip(_LINES, (0.9, 0.99, 0.999), strict=False):
        r = data.rectifier(beta2, steps)
        first = int(np.argmin(np.isnan(r)))
        axes.plot(t, r, **line)
        axes.plot(t[first], r[first], "o", color=line["color"])
        middle = int(np.argmax(r > 0.5))
        _say(axes, rf"$\beta_2 = {beta2}$", (t[middle], r[middle]), line, (5, -3))
    _say(axes, f"first at t = {t[first]}", (t[first], 0.08), {"color": _GREY}, (-6, 0), ha="right")
    axes.set(xscale="log", xlim=(1, steps), ylim=(0, 1.05), xlabel="step t", ylabel="rectifier r")


@_drawn
def schedules(figure: Figure) -> None:
    """Every schedule, as the factor of the learning rate over 100 steps."""
    steps, columns = 100, 4
    t = np.arange(1, steps + 1)
    rows = len(data.SCHEDULES) // columns
    figure.set_size_inches(_WIDTH, 1.3 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True)
    for axes, (name, expression) in zip(grid.flat, data.SCHEDULES.items(), strict=True):
        sizes = data.step_sizes(refopt.build(expression), [1.0] * steps)
        axes.step(t, sizes, where="mid", **_LINES[0])
        axes.set(title=name, xlim=(0, steps), ylim=(0, 1.05))
    figure.supxlabel("step t", fontsize=8)
    figure.supylabel("factor of the learning rate", fontsize=8)


@_drawn
def trajectories(figure: Figure, travellers: Mapping[str, Traveller] | None = None) -> None:
    """Optimizers, a row each, on every landscape, a column each."""
    rows = references() if travellers is None else travellers
    figure.set_size_inches(_WIDTH, 0.3 + 1.15 * len(rows))
    grid = figure.subplots(len(rows), len(LANDSCAPES), sharex="col", sharey="col", squeeze=False)
    for row, (label, traveller) in zip(grid, rows.items(), strict=True):
        row[0].set_ylabel(fill(label, 18), fontweight="bold")
        for axes, landscape in zip(row, LANDSCAPES, strict=True):
            _draw_path(axes, landscape, best(traveller, landscape))
    for axes, landscape in zip(grid[0], LANDSCAPES, strict=True):
        axes.set_title(f"{landscape.title}\n{landscape.formula}")
    for axes in grid[-1]:
        axes.set_xlabel("x", labelpad=1)
    figure.supxlabel(
        f"{STEPS} steps from the dot; crosses: minima; grey: lines of equal loss; y is vertical",
        fontsize=7,
    )


def _draw_path(axes: Axes, landscape: Landscape, path: Path) -> None:
    left, right, bottom, top = landscape.window
    x, y = np.meshgrid(np.linspace(left, right, 121), np.linspace(bottom, top, 121))
    loss = landscape.value(x, y)
    lowest = landscape.value(*landscape.minima[0])
    levels = lowest + np.geomspace(0.01, float(np.max(loss)) - lowest, 9)
    axes.contour(x, y, loss, levels, colors="#BBBBBB", linewidths=0.5, linestyles="-")
    axes.plot(*np.transpose(landscape.minima), "x", color="black", linestyle="none")
    axes.plot(*path.points.T, marker=".", markersize=2, linewidth=0.7, color=_LINES[0]["color"])
    axes.plot(*landscape.start, "o", color=_LINES[1]["color"], markersize=4)
    axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1, 2])
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.tick_params(direction="in", labelsize=6, pad=2)
    rate = "" if path.lr is None else f"lr {path.lr:g}"
    axes.text(0.98, 0.03, rate, transform=axes.transAxes, ha="right", va="bottom", fontsize=7)
    axes.spines[:].set_visible(True)


def rendered(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a file, without the date."""
    undated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    file = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format=kind, metadata={"Title": figure.get_label(), **undated[kind]})
    return file.getvalue()


def has_display() -> bool:
    """Whether Matplotlib finds a backend that has windows."""
    import matplotlib.pyplot as plt

    try:
        plt.switch_backend(mpl.get_backend())
    except ImportError:
        return False
    return mpl.get_backend().lower() in backend_registry.list_builtin(BackendFilter.INTERACTIVE)


def show(name: str, **arguments: Any) -> None:
    """Draws into a window and returns when that is closed."""
    import matplotlib.pyplot as plt

    globals()[name](plt.figure(), **arguments)
    plt.show()


def _say(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    line: Mapping[str, Any],
    offset: tuple[float, float],
    ha: str = "left",
    va: str = "center",
) -> None:
    """A label in the colour of its line, some points away from a place."""
    axes.annotate(
        text, place, offset, textcoords="offset points", color=line["color"], ha=ha, va=va,
        annotation_clip=False,
    )  # fmt: skip
