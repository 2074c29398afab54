"""Figures: computed by stepping the reference itself, drawn for the page.

The data (``data.py``, ``trajectories.py``) know nothing of drawing; ``drawing.py`` alone imports
Matplotlib. Each figure is one function there, by the name that ``refopt plot`` has for it::

    from refopt.report.figures.drawing import correction
    correction()
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

FIGURES: Final[Mapping[str, str]] = {
    "adagrad": "the dying step of Adagrad, beside RMSprop's and Adam's",
    "beta_tilde": "what beta-tilde leaves out of an accumulation over k = 2..64 gradients",
    "correction": "the bias correction of Adam's step over the first 10,000 steps",
    "decay": "L2 against decoupled decay: how much each weight shrinks",
    "rectifier": "the rectifier of RAdam, and from which step it acts",
    "schedules": "every schedule of the learning rate",
    "trajectories": "optimizers, or your own, on a ravine, a saddle and Rosenbrock's function",
}
"""What there is to draw."""

FORMATS: Final = ("pdf", "png", "svg")
"""The kinds of files, by suffix."""


class FigureError(ValueError):
    """A figure cannot be drawn, shown or written; says what to do about it."""


def drawn(name: str, **arguments: Any) -> Any:
    """The Matplotlib figure of a name.

    Raises:
        FigureError: there is none, or Matplotlib is not installed.
    """
    return getattr(_drawing_of(name), name)(**arguments)


def show(name: str, **arguments: Any) -> None:
    """Draws a figure in a window, and returns when that is closed.

    Raises:
        FigureError: as :func:`drawn`, or there is no display.
    """
    drawing = _drawing_of(name)
    if not drawing.has_display():
        raise FigureError(f"there is no display for a window: give --output {name}.svg")
    drawing.show(name, **arguments)


def rendered(figure: Any, kind: str) -> bytes:
    """A figure as the content of a file of one of the :data:`FORMATS`, the same on every run."""
    content: bytes = import_module("refopt.report.figures.drawing").rendered(figure, kind)
    return content


def _drawing_of(name: str) -> Any:
    """The module that draws, once it is known to have such a figure."""
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(FIGURES)}"
        raise FigureError(f"no figure is named {name!r}; {hint}")
    try:
        return import_module("refopt.report.figures.drawing")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("matplotlib"):
            raise
        raise FigureError("figures need Matplotlib: pip install matplotlib") from None
