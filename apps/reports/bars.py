"""Pictures of bars: what moved a forecast, what features tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from apps.reports.drawing import BLUE, INK, ORANGE, figure_of, percents, png, short
from cluster.errors import ConfigError

MOST_BARS = 20
SMALL = 0.005
"""A driver below this share is drawn together with the others that are."""


def factor_bars(shares: Mapping[str, float], *, title: str) -> bytes:
    """Draw what moved a forecast, the largest on top: to the right up, to the left down.

    Parameters
    ----------
    shares
        Driver -> signed share; the small ones, and those beyond MOST_BARS, are drawn as one.
    title
        Says which forecast.

    Raises
    ------
    ConfigError
        There is no driver, or a share is not finite.
    """
    if not shares or not all(np.isfinite(value) for value in shares.values()):
        raise ConfigError(f"factor bars: got {dict(shares)}, expected one or more drivers with finite shares")
    names, values = zip(*reversed(_shown(shares)), strict=True)
    figure, (axes,) = figure_of(1, row_height_in=0.9 + 0.34 * len(names), title=title)
    places = range(len(names))
    colors = [BLUE if value >= 0 else ORANGE for value in values]
    bars = axes.barh(places, values, color=colors, height=0.65)
    axes.set_yticks(places, [short(name) for name in names])
    axes.bar_label(bars, labels=[f"{100 * value:+.1f} %" for value in values], padding=3, fontsize=9)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.xaxis.set_major_formatter(percents())
    axes.set_xlabel("share of all that moved the forecast from the usual: left lowers it, right raises it")
    widest = max(0.01, *map(abs, values))
    low, high = min(0.0, *values), max(0.0, *values)
    axes.set_xlim(low - 0.16 * widest, high + 0.16 * widest)
    return png(figure)


def _shown(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the drivers that are drawn, the largest first; two or more that are not stand last as one."""
    ordered = sorted(shares.items(), key=lambda item: -abs(item[1]))
    large = sum(abs(value) >= SMALL for _, value in ordered[: MOST_BARS - 1])
    shown, rest = ordered[:large], ordered[large:]
    if len(rest) > 1:
        rest = [(f"{len(rest)} others, net", sum(value for _, value in rest))]
    return shown + rest


def information_bars(information: Mapping[str, float], correlation: Mapping[str, float], *, title: str) -> bytes:
    """Draw what features tell about a target, the most on top, and beside it how far that is a straight line.

    Parameters
    ----------
    information
        Feature -> mutual information in nats.
    correlation
        The same features -> correlation, -1 to 1.
    title
        Says which tells most about what.
    """
    names = list(information)[::-1]
    figure, (axes,) = figure_of(1, row_height_in=1.2 + 0.27 * len(names), title=title)
    places = range(len(names))
    bars = axes.barh(places, [information[name] for name in names], color=BLUE, height=0.65)
    axes.set_yticks(places, [short(name) for name in names])
    ends = [f"{information[name]:.2f} nats, correlation {correlation[name]:+.2f}" for name in names]
    axes.bar_label(bars, labels=ends, padding=4, fontsize=9)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.margins(y=0.02)
    axes.set_xlim(0, 1.35 * max(0.01, *information.values()))
    axes.set_xlabel("mutual information with the target (nats)")
    return png(figure)
