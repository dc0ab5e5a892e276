"""Pictures of a forecaster's test: fans against the truth, errors over time, coverage by step, factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from apps.reports.drawing import BLUE, GREEN, GREY, INK, ORANGE, figure_of, legend_above, png, with_times
from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.windows import Floats
from training.evaluation.backtest import Backtest
from training.evaluation.coverage import StepCoverage, interval, rolling_coverage

HISTORY_HORIZONS = 3
"""Horizons of history that are drawn before a fan."""
RANKS = {"a good one, 10 % are better": 0.1, "the median": 0.5, "a bad one, 10 % are worse": 0.9}
MOST_BARS = 20
_BAND = 0.02
"""Coverage is called right within two points of what was promised."""


def forecast_fans(test: Backtest, panel: Panel, target: str) -> bytes:
    """Draw a good, a median and a bad forecast (ranks 10, 50, 90 % of the mean absolute error) against the truth.

    Parameters
    ----------
    test
        Has the ends of the 90 % and the 95 % interval.
    panel
        The data of the test: its history is drawn too.
    target
        One of the test's.
    """
    t = test.targets.index(target)
    errors = np.abs(test.point - test.actual)[..., t].mean(axis=1)
    order = np.argsort(errors, kind="stable")
    title = f"{test.model}: forecasts of {target}, and what happened"
    figure, rows = figure_of(len(RANKS), row_height_in=2.7, title=title)
    for axes, (caption, rank) in zip(rows, RANKS.items(), strict=True):
        n = int(order[round(rank * (len(order) - 1))])
        _fan(axes, test, panel, n, t)
        axes.set_ylabel(f"{target} ({panel.schema.column(target).unit})")
        asked = np.datetime_as_string(test.origins[n], unit="m").replace("T", " ")
        where = f", {test.ids[n]}" if len(set(test.ids)) > 1 else ""
        text = f"{caption}: mean error {errors[n]:.3g}, asked {asked}{where}"
        axes.set_title(text, loc="left", fontsize=10, pad=24 if axes is rows[0] else 6)
    legend_above(rows[0])
    return png(figure)


def _fan(axes: Axes, test: Backtest, panel: Panel, n: int, t: int) -> None:
    table = panel.table
    place = table.series.index(test.ids[n])
    rows = slice(table.segments[place], table.segments[place + 1])
    times, values = table.times[rows], table.rows[rows, table.positions(test.targets)[t]]
    past = (times <= test.origins[n]) & (times > test.origins[n] - HISTORY_HORIZONS * _span(test, n))
    axes.plot(times[past], values[past], color=GREY, linewidth=1, label="history")
    for share, alpha in ((0.95, 0.18), (0.90, 0.28)):
        low, high = (end[n, :, t] for end in interval(test, share))
        axes.fill_between(
            test.timestamps[n], low, high, color=BLUE, alpha=alpha, linewidth=0, label=f"{share:.0%} interval"
        )
    axes.plot(test.timestamps[n], test.point[n, :, t], color=BLUE, linewidth=1.8, label="forecast")
    axes.plot(test.timestamps[n], test.actual[n, :, t], color=INK, linewidth=1.3, linestyle="--", label="truth")
    axes.margins(x=0.01)
    with_times(axes)


def _span(test: Backtest, n: int) -> np.timedelta64:
    span: np.timedelta64 = test.timestamps[n, -1] - test.origins[n]
    return span


def errors_by_origin(test: Backtest, target: str, *, unit: str, naive_mae: float | None = None) -> bytes:
    """Draw each origin's mean absolute error and the coverage of the 95 % interval, both over time.

    Parameters
    ----------
    test
        Has the ends of the 95 % interval.
    target
        One of the test's.
    unit
        The target's.
    naive_mae
        Mean absolute error of the seasonal naive forecast on the same origins, drawn for comparison.
    """
    t = test.targets.index(target)
    times, place = np.unique(test.origins, return_inverse=True)
    errors = np.abs(test.point - test.actual)[..., t].mean(axis=1)
    by_time = np.bincount(place, weights=errors) / np.bincount(place)
    rolled = max(1, len(times) // 20)
    figure, (above, below) = figure_of(2, row_height_in=2.6, title=f"{test.model}: backtest of {target} by cut-off")
    above.plot(times, by_time, color=BLUE, linewidth=0.6, alpha=0.45, label="each cut-off")
    middle = times[rolled // 2 : rolled // 2 + len(times) - rolled + 1]
    above.plot(middle, _rolled(by_time, rolled), color=BLUE, linewidth=2, label=f"mean of {rolled} cut-offs")
    if naive_mae is not None:
        above.axhline(naive_mae, color=ORANGE, linewidth=1.3, linestyle="--", label="seasonal naive, mean")
    above.set_ylabel(f"mean absolute error ({unit})")
    above.set_ylim(bottom=0)
    starts, covered = rolling_coverage(test, 0.95, origins=rolled)
    below.axhspan(0.95 - _BAND, 0.95 + _BAND, color=GREEN, alpha=0.15, linewidth=0, label="95 % within two points")
    below.plot(middle[: len(starts)], covered, color=GREEN, linewidth=1.6, label=f"covered, {rolled} cut-offs")
    below.set_ylabel("truth inside the 95 % interval")
    below.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    below.set_ylim(min(0.7, float(covered.min()) - 0.02), 1.01)
    below.set_xlabel("cut-off: the last time that was known")
    for axes in (above, below):
        axes.set_xlim(times[0], times[-1])
        with_times(axes)
        legend_above(axes)
    return png(figure)


def _rolled(values: Floats, count: int) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(values)])
    means: Floats = (total[count:] - total[:-count]) / count
    return means


def coverage_by_step(test: Backtest, target: str, *, unit: str) -> bytes:
    """Draw how much of the truth the 90 % and the 95 % interval cover at each step, and how wide they are."""
    t = test.targets.index(target)
    title = f"{test.model}: intervals of {target} by step"
    figure, (above, below) = figure_of(2, row_height_in=2.5, title=title)
    lowest = 1.0
    for share, color, marker in ((0.95, BLUE, "o"), (0.90, ORANGE, "s")):
        found = StepCoverage.of(test, share)
        steps = np.arange(1, len(found.coverage) + 1)
        style: dict[str, Any] = {
            "color": color,
            "marker": marker,
            "markersize": 4,
            "linewidth": 1.5,
            "label": f"{share:.0%} interval",
        }
        above.axhspan(share - _BAND, share + _BAND, color=color, alpha=0.12, linewidth=0)
        above.axhline(share, color=color, linewidth=0.9, linestyle="--")
        above.plot(steps, found.coverage[:, t], **style)
        below.plot(steps, found.width[:, t], **style)
        lowest = min(lowest, share - 2 * _BAND, float(found.coverage[:, t].min()) - 0.01)
    above.set_ylabel("truth inside")
    above.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    above.set_ylim(lowest, 1.003)
    above.set_title("dashed: promised; shaded: within two points", loc="left", fontsize=9, color=GREY)
    below.set_ylabel(f"mean width ({unit})")
    below.set_ylim(bottom=0)
    below.set_xlabel("steps ahead")
    for axes in (above, below):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_above(axes)
    return png(figure)


def factor_bars(shares: Mapping[str, float], *, title: str) -> bytes:
    """Draw what moved a forecast, the largest on top: to the right up, to the left down.

    Parameters
    ----------
    shares
        Driver -> signed share; beyond MOST_BARS the smallest are drawn as one.
    title
        Says which forecast.

    Raises
    ------
    ConfigError
        There is no driver, or a share is not finite.
    """
    if not shares or not all(np.isfinite(value) for value in shares.values()):
        raise ConfigError(f"factor bars: got {dict(shares)}, expected one or more drivers with finite shares")
    ordered = sorted(shares.items(), key=lambda item: -abs(item[1]))
    shown, rest = ordered[: MOST_BARS - 1], ordered[MOST_BARS - 1 :]
    if len(rest) > 1:
        rest = [(f"{len(rest)} others, net", sum(value for _, value in rest))]
    names, values = zip(*reversed(shown + rest), strict=True)
    figure, (axes,) = figure_of(1, row_height_in=0.9 + 0.34 * len(names), title=title)
    colors = [BLUE if value >= 0 else ORANGE for value in values]
    bars = axes.barh(names, values, color=colors, height=0.65)
    axes.bar_label(bars, labels=[f"{value:+.1%}" for value in values], padding=3, fontsize=9)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("share of all that moved the forecast: left lowers it, right raises it")
    axes.margins(x=0.12)
    return png(figure)


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
    axes.barh(names, [information[name] for name in names], color=BLUE, height=0.65)
    ends = [f"{information[name]:.2f} nats, correlation {correlation[name]:+.2f}" for name in names]
    axes.bar_label(axes.containers[0], labels=ends, padding=4, fontsize=9)  # type: ignore[arg-type]
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.set_xlim(0, 1.35 * max(*information.values(), 0.01))
    axes.set_xlabel("mutual information with the target (nats)")
    return png(figure)
