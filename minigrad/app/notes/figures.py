"""The style of the pictures: for slides, safe for the color-blind, and the same file for the same numbers."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito 2008, "Color Universal Design", without yellow, which is invisible on white.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "black": "#000000",
    "gray": "#8A8A8A",
}


def style() -> AbstractContextManager[None]:
    """A context with the matplotlib settings in which pictures are drawn and saved."""
    from cycler import cycler
    from matplotlib import rc_context

    return rc_context({
        "font.size": 13,
        "axes.titlesize": 14,
        "axes.prop_cycle": cycler(color=list(COLORS.values())),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "lines.linewidth": 2,
        "savefig.dpi": 150,  # of rasterized parts
        "svg.hashsalt": "minigrad",  # ids that depend on the drawing alone
    })  # fmt: skip


def subplots(
    rows: int = 1, columns: int = 1, *, title: str, size: tuple[float, float] = (12.0, 6.0), **options: Any
) -> tuple[Figure, Any]:
    """A figure with a title, and its axes, as from pyplot.subplots but without global state.

    Args:
        rows, columns: the number of rows and columns of axes.
        title: what the figure shows.
        size: in inches; text has 13 points.
        **options: of matplotlib's Figure.subplots: sharex, squeeze, ...
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=17)
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Any, path: Path) -> None:
    """Save as SVG without a date, with paths in tenths of a point: half the size, and equal on other machines."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = re.sub(r' d="[^"]*"', lambda d: re.sub(r"(\.\d)\d+", r"\1", d[0]), text.getvalue())
    path.write_text(re.sub(r" +\n", "\n", svg), encoding="utf-8")
