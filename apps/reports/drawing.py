"""What all pictures share: a figure without a screen, its colours, its axes of time, its text, its bytes."""

from __future__ import annotations

import io
import textwrap
from functools import cache

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator, PercentFormatter

from apps.reports.words import NAME_LETTERS, cut

INK, GREY, BLUE, ORANGE, GREEN, PURPLE = "#1a1a1a", "#6b6b6b", "#0072b2", "#d55e00", "#009e73", "#aa4499"
"""Apart for colour-blind readers too (Okabe and Ito's palette, purple by Tol); no meaning hangs on colour alone."""
WIDTH_IN, DPI = 10.5, 110
COLORS = 256
TITLE_LETTERS = 92
"""Letters of a title that fit on one line."""


def figure_of(rows: int, *, row_height_in: float, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure of `rows` axes below each other; nothing of it can be clipped."""
    lines = textwrap.wrap(plain(title), TITLE_LETTERS)
    figure = Figure(figsize=(WIDTH_IN, row_height_in * rows + 0.3 + 0.2 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=13, fontweight="bold")
    axes = [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(axis="y", color="0.9", linewidth=0.8)
        each.set_axisbelow(True)
        each.tick_params(labelsize=9)
    return figure, axes


def plain(text: str) -> str:
    """Return a text that is drawn as it is: no mathematics between dollars, no letter that the font has not."""
    known = _letters()
    told = "".join(letter if ord(letter) in known else "?" for letter in " ".join(text.split()))
    return told.replace("$", r"\$")


def short(name: str, letters: int = NAME_LETTERS) -> str:
    """Return a name that fits beside an axis."""
    return plain(cut(name, letters))


def upright(name: str, unit: str) -> str:
    """Return a name and its unit for a vertical axis, which is short."""
    return f"{short(name, 20)} ({short(unit, 12)})"


def with_shares(axes: Axes, *, low: float) -> None:
    """Label the vertical axis in whole percents, from `low` to all."""
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(percents())
    axes.set_ylim(low, 1.005)


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def with_times(axes: Axes) -> None:
    """Label the horizontal axis with times, each part of a date once."""
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def percents() -> PercentFormatter:
    """Return a formatter of shares, written as in the text around."""
    return PercentFormatter(1.0, decimals=0, symbol=" %")


def legend_above(axes: Axes, *, columns: int = 5) -> None:
    """Put the legend above the axes, where it hides nothing."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, fontsize=9, frameon=False, borderaxespad=0.2
    )


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file's bytes, the same for the same figure: 256 colours, a third of the size."""
    from PIL import Image

    figure.align_ylabels()
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()
