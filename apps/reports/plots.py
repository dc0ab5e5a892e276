"""Pictures of a forecaster's test: fans against the truth, errors over time, coverage by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from apps.reports.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    figure_of,
    legend_above,
    png,
    short,
    upright,
    with_shares,
    with_times,
)
from apps.reports.findings import BAND, coverage_finding, error_finding, errors_of, fan_finding, of_target
from training.core.panel import Panel
from training.core.windows import Floats
from training.evaluation.backtest import Backtest
from training.evaluation.coverage import StepCoverage, interval, rolling_coverage

HISTORY_HORIZONS = 3
"""Horizons of history that are drawn before a fan."""
LEAST_HISTORY = 24
"""Rows of history that are drawn before the fan of a short horizon."""
RANKS = {"a good one, 10 % are better": 0.1, "the median": 0.5, "a bad one, 10 % are worse": 0.9}
MARKED = 40
"""Points that are few enough to be marked each."""
SMOOTHED, LEAST_SMOOTHED = 20, 10
"""A curve over time is smoothed by this part of its length, and by so many points at least."""
_LOWEST = 0.84
"""Coverage is drawn down to this, or to the lowest there is: the same scale for most reports."""


def forecast_fans(test: Backtest, panel: Panel, target: str) -> bytes:
    """Draw a good, a median and a bad forecast (ranks 10, 50, 90 % of the mean absolute error) against the truth.

    Of several series each is ranked by its error over its own mean size, so that the large ones are not all bad.

    Parameters
    ----------
    test
        Has the ends of the 90 % and the 95 % interval.
    panel
        The data of the test: its history is drawn too.
    target
        One of the test's.
    """
    unit = panel.schema.column(target).unit
    title = fan_finding(test, target, unit=unit, frequency=panel.schema.frequency)
    test = of_target(test, target)
    errors, several = errors_of(test), len(set(test.ids)) > 1
    order = np.argsort(errors / _sizes(test) if several else errors, kind="stable")
    figure, rows = figure_of(len(RANKS), row_height_in=2.7, title=title)
    for axes, (caption, rank) in zip(rows, RANKS.items(), strict=True):
        n = int(order[round(rank * (len(order) - 1))])
        _fan(axes, test, panel, n)
        axes.set_ylabel(upright(target, unit))
        asked = np.datetime_as_string(test.origins[n], unit="m").replace("T", " ")
        where = f", {short(test.ids[n])}" if several else ""
        text = f"{caption}: mean error {errors[n]:.3g}, asked {asked}{where}"
        axes.set_title(text, loc="left", fontsize=10, pad=24 if axes is rows[0] else 6)
    legend_above(rows[0])
    return png(figure)


def _sizes(test: Backtest) -> Floats:
    """Return (N,) the mean absolute truth of each forecast's series; 1 where it is 0."""
    names, place = np.unique(test.ids, return_inverse=True)
    means = np.bincount(place, weights=np.abs(test.actual).mean(axis=(1, 2))) / np.bincount(place)
    sizes: Floats = np.where(means > 0, means, 1.0)[place] if len(names) else means
    return sizes


def _fan(axes: Axes, test: Backtest, panel: Panel, n: int) -> None:
    table, horizon = panel.table, test.point.shape[1]
    place = table.series.index(test.ids[n])
    rows = slice(table.segments[place], table.segments[place + 1])
    times, values = table.times[rows], table.rows[rows, table.positions(test.targets)[0]]
    known = int(np.searchsorted(times, test.origins[n], side="right"))
    shown = slice(max(known - max(HISTORY_HORIZONS * horizon, LEAST_HISTORY), 0), known)
    axes.plot(times[shown], values[shown], color=GREY, linewidth=1, label="history")
    ahead, one = test.timestamps[n], horizon == 1
    for share, alpha in ((0.95, 0.18), (0.90, 0.28)):
        low, high = (end[n, :, 0] for end in interval(test, share))
        style: dict[str, Any] = {"color": BLUE, "alpha": alpha, "label": f"{100 * share:.0f} % interval"}
        if one:
            axes.vlines(ahead, low, high, linewidth=9, **style)
        else:
            axes.fill_between(ahead, low, high, linewidth=0, **style)
    axes.plot(ahead, test.point[n, :, 0], color=BLUE, linewidth=1.8, label="forecast", marker="o" if one else "")
    truth = np.concatenate([[test.last[n, 0]], test.actual[n, :, 0]])
    when = np.concatenate([[test.origins[n]], ahead])
    style = {"color": INK, "linewidth": 1.3, "linestyle": "--", "label": "truth"}
    axes.plot(when, truth, marker="x" if one else "", markevery=[-1], **style)
    axes.margins(x=0.01)
    with_times(axes)


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
    title = error_finding(test, target, unit=unit, naive_mae=naive_mae)
    test = of_target(test, target)
    times, place = np.unique(test.origins, return_inverse=True)
    by_time = np.bincount(place, weights=errors_of(test)) / np.bincount(place)
    rolled = max(LEAST_SMOOTHED, len(times) // SMOOTHED) if len(times) > MARKED else 1
    middle = times[rolled // 2 : rolled // 2 + len(times) - rolled + 1]
    figure, (above, below) = figure_of(2, row_height_in=2.6, title=title)
    _errors(above, times, by_time, middle, rolled)
    if naive_mae is not None and np.isfinite(naive_mae):
        above.axhline(naive_mae, color=ORANGE, linewidth=1.3, linestyle="--", label="seasonal naive, mean")
    above.set_ylabel(f"mean absolute error ({short(unit, 12)})")
    above.set_ylim(bottom=0)
    covered = rolling_coverage(test, 0.95, origins=rolled)[1]
    below.axhspan(0.95 - BAND, 0.95 + BAND, color=GREEN, alpha=0.15, linewidth=0, label="95 % within two points")
    told = "covered" if rolled == 1 else f"covered, {rolled} cut-offs together"
    below.plot(middle, covered, color=GREEN, linewidth=1.6, label=told, **_marks(len(middle)))
    below.set_ylabel("truth inside the 95 % interval")
    with_shares(below, low=min(_LOWEST, float(covered.min()) - 0.02))
    below.set_xlabel("cut-off: the last time that was known")
    for axes in (above, below):
        if len(times) > 1:
            axes.set_xlim(times[0], times[-1])
        with_times(axes)
        legend_above(axes)
    return png(figure)


def _errors(axes: Axes, times: Any, by_time: Floats, middle: Any, rolled: int) -> None:
    """Draw each cut-off's error thinly and their mean over some boldly; one line where there is none to take."""
    if rolled == 1:
        axes.plot(times, by_time, color=BLUE, linewidth=1.6, label="each cut-off", **_marks(len(times)))
        return
    axes.plot(times, by_time, color=BLUE, linewidth=0.6, alpha=0.45, label="each cut-off")
    axes.plot(middle, _rolled(by_time, rolled), color=BLUE, linewidth=2, label=f"mean of {rolled} cut-offs")


def _marks(points: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 4} if points <= MARKED else {}


def _rolled(values: Floats, count: int) -> Floats:
    total = np.concatenate([[0.0], np.cumsum(values)])
    means: Floats = (total[count:] - total[:-count]) / count
    return means


def coverage_by_step(test: Backtest, target: str, *, unit: str, step: str = "") -> bytes:
    """Draw how much of the truth the 90 % and the 95 % interval cover at each step, and how wide they are.

    Parameters
    ----------
    test
        Has the ends of both intervals.
    target
        One of the test's.
    unit
        The target's.
    step
        A step in words, such as `hour`, for the axis.
    """
    title = coverage_finding(test, target)
    test = of_target(test, target)
    figure, (above, below) = figure_of(2, row_height_in=2.5, title=title)
    steps = np.arange(1, test.point.shape[1] + 1)
    lowest = _LOWEST
    for share, color, marker in ((0.95, BLUE, "o"), (0.90, ORANGE, "s")):
        found = StepCoverage.of(test, share)
        style: dict[str, Any] = {"color": color, "linewidth": 1.5, "label": f"{100 * share:.0f} % interval"}
        style |= {"marker": marker, "markersize": 4} if len(steps) <= MARKED else {}
        above.axhspan(share - BAND, share + BAND, color=color, alpha=0.12, linewidth=0)
        above.axhline(share, color=color, linewidth=0.9, linestyle="--")
        above.plot(steps, found.coverage[:, 0], **style)
        below.plot(steps, found.width[:, 0], **style)
        lowest = min(lowest, float(found.coverage[:, 0].min()) - 0.02)
    above.set_ylabel("truth inside")
    with_shares(above, low=lowest)
    above.set_title("dashed: promised; shaded: within two points", loc="left", fontsize=9, color=GREY)
    below.set_ylabel(f"mean width ({short(unit, 12)})")
    below.set_ylim(bottom=0)
    below.set_xlabel(f"steps ahead, each {step}" if step else "steps ahead")
    for axes in (above, below):
        axes.set_xlim(0.5, len(steps) + 0.5)
        axes.set_xticks(_ticks(len(steps)))
        legend_above(axes)
    return png(figure)


def _ticks(steps: int) -> list[int]:
    """Return the first step and round ones after it, a dozen at most."""
    every = next(each for each in (1, 2, 3, 4, 6, 8, 12, 24, 48, 96, steps) if steps <= 12 * each)
    return [1, *range(every, steps + 1, every)] if every > 1 else list(range(1, steps + 1))
