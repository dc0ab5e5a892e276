"""What all pictures share: a figure without a screen, its colours, its axes of time, its bytes."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

INK, GREY, BLUE, ORANGE, GREEN, PURPLE = "#1a1a1a", "#6b6b6b", "#0072b2", "#d55e00", "#009e73", "#aa4499"
"""Apart for colour-blind readers too (Okabe and Ito's palette, purple by Tol); no meaning hangs on colour alone."""
WIDTH_IN, DPI = 10.5, 110


def figure_of(rows: int, *, row_height_in: float, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure of `rows` axes below each other; nothing of it can be clipped."""
    figure = Figure(figsize=(WIDTH_IN, row_height_in * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes = [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(axis="y", color="0.9", linewidth=0.8)
        each.set_axisbelow(True)
        each.tick_params(labelsize=9)
    return figure, axes


def with_times(axes: Axes) -> None:
    """Label the horizontal axis with times, each part of a date once."""
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def legend_above(axes: Axes, *, columns: int = 5) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, fontsize=9, frameon=False, borderaxespad=0.2
    )


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file's bytes, the same for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
