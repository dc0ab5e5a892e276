"""Pictures of a search for anomalies: events on their series, close up, what detectors say, when what came."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import date2num

from apps.anomaly.detection import Detection
from apps.reports.drawing import (
    BLUE,
    GREY,
    INK,
    figure_of,
    legend_above,
    png,
    short,
    upright,
    with_times,
)
from training.alarms.event import Event
from training.alarms.judged import JudgedSeries
from training.alarms.severity import SEVERITIES
from training.core.windows import Floats, Ints

SHADES = {"low": "#e6cf00", "medium": "#e69f00", "high": "#d55e00", "critical": "#8b0057"}
"""From light to dark; each shade has its word or number beside it."""
MOST_COLUMNS, MOST_CLOSE, MOST_SERIES, MOST_NUMBERED = 3, 4, 20, 12
BINS = 240
"""Cells of a row of the agreement picture; each shows its strangest row."""
LABEL_WIDTH = 0.07
"""Share of the axis that a place and a severity take."""
NARROWEST = 0.004
"""Share of the axis that an event is wide at least, so that one row is seen."""


def events_on_series(series: JudgedSeries) -> bytes:
    """Draw the watched columns with their events shaded by severity, and the score below.

    Parameters
    ----------
    series
        Judged; up to three columns are drawn, those that the alarms are about first.
    """
    columns = _columns(series)
    figure, rows = figure_of(len(columns) + 1, row_height_in=2.3, title=_finding(series))
    for axes, c in zip(rows, columns, strict=False):
        axes.plot(series.times, series.values[:, c], color=INK, linewidth=0.7)
        axes.set_ylabel(_label(series, c))
    score = rows[-1]
    score.plot(series.times, series.scores, color=BLUE, linewidth=0.7)
    score.set_ylabel("score")
    peaks = np.array([event.peak.to_datetime64() for event in series.alarms])
    if len(peaks):
        levels = [event.level for event in series.alarms]
        score.plot(peaks, levels, "_", color=INK, markersize=12, label="level at the event")
        legend_above(score)
    for axes in rows:
        _shade(axes, series)
        with_times(axes)
    _number(rows[0], series.alarms)
    return png(figure)


def close_ups(series: JudgedSeries) -> bytes:
    """Draw the most severe alarms with what would have been normal, each by the column that is most about it.

    Parameters
    ----------
    series
        Has one alarm at least.
    """
    alarms = series.alarms[:MOST_CLOSE]
    figure, rows = figure_of(len(alarms), row_height_in=2.4, title=f"The most severe alarms of {series.series}")
    for place, (axes, event) in enumerate(zip(rows, alarms, strict=True), start=1):
        _close(axes, series, event)
        axes.set_title(
            f"{place}. {event.peak:%Y-%m-%d %H:%M}, {_told(event)}",
            loc="left",
            fontsize=10,
            pad=22 if place == 1 else 6,
        )
    legend_above(rows[0])
    return png(figure)


def agreement(series: JudgedSeries) -> bytes:
    """Draw each detector's surprise over time as a strip, the ensemble's on top, alarms marked above.

    Parameters
    ----------
    series
        Judged by an ensemble.
    """
    weights = {str(say["member"]): float(say["weight"]) for say in series.says}
    names = sorted(series.members, key=lambda name: -weights[name])
    edges = np.linspace(0, len(series.times), min(BINS, len(series.times)) + 1).astype(np.int64)
    strips = np.stack([_strongest(each, edges) for each in (series.scores, *(series.members[n] for n in names))])
    title = f"How strange each detector finds {series.series}: an alarm needs several, or one that is very sure"
    figure, (axes,) = figure_of(1, row_height_in=1.3 + 0.42 * len(strips), title=title)
    first, last = date2num(series.times[0]), date2num(series.times[-1])
    shades = LinearSegmentedColormap.from_list("surprise", ["#ffffff", "#fddbb0", "#d55e00", "#4d0030"])
    drawn = axes.imshow(
        strips, aspect="auto", cmap=shades, vmin=0, vmax=max(10.0, float(np.nanmax(strips))),
        extent=(first, last, len(strips) - 0.5, -0.5), interpolation="nearest",
    )  # fmt: skip
    axes.xaxis_date()
    labels = ["together", *(f"{short(name, 24)} ({weights[name]:.0%})" for name in names)]
    axes.set_yticks(range(len(labels)), labels)
    axes.grid(visible=False)
    axes.axhline(0.5, color=INK, linewidth=1)
    for place, event in enumerate(series.alarms[:MOST_NUMBERED], start=1):
        axes.annotate(
            str(place), (float(date2num(event.peak)), -0.5), xytext=(0, 3), textcoords="offset points", ha="center",
            fontsize=9, annotation_clip=False,
        )  # fmt: skip
    with_times(axes)
    bar = figure.colorbar(drawn, ax=axes, pad=0.01, fraction=0.03)
    bar.set_label("surprise (nats)", fontsize=9)
    return png(figure)


def timeline(found: Detection) -> bytes:
    """Draw when which series had which alarms, and how many of each severity came in each stretch of time.

    Parameters
    ----------
    found
        Has one alarm at least; the twenty series with the most severe alarms are drawn.
    """
    alarms = found.alarms
    names = list(dict.fromkeys(event.series for event in alarms))[:MOST_SERIES]
    title = f"{len(alarms)} alarm{'s' * (len(alarms) != 1)} of {len(names)} series: when, and how severe"
    figure, _ = figure_of(0, row_height_in=0, title=title)
    figure.set_figheight(3.4 + 0.34 * len(names))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.0 + 0.34 * len(names), 1.9])
    _lines(upper, alarms, names)
    _cells(lower, found)
    return png(figure)


def _finding(series: JudgedSeries) -> str:
    alarms = series.alarms
    start = f"{short(series.series)}: {len(alarms)} alarm{'s' * (len(alarms) != 1)} in {series.months:.2g} months"
    if not alarms:
        return start
    worst = alarms[0]
    return f"{start}; the worst is {worst.severity}, on {worst.peak:%Y-%m-%d}"


def _told(event: Event) -> str:
    return f"{event.severity}, {event.type}: {short(event.factors[0].sentence(), 80)}"


def _label(series: JudgedSeries, c: int) -> str:
    column = series.columns[c]
    return short(column.name, 24) if column.unit == "1" else upright(column.name, column.unit)


def _columns(series: JudgedSeries) -> list[int]:
    """Return the places of the columns that are drawn: what alarms are most about, then as watched."""
    names = [column.name for column in series.columns]
    about = [event.factors[0].column for event in series.alarms]
    wanted = dict.fromkeys([*about, *series.targets])
    return [names.index(name) for name in list(wanted)[:MOST_COLUMNS]]


def _shade(axes: Axes, series: JudgedSeries) -> None:
    least = (series.times[-1] - series.times[0]) * NARROWEST
    for event in series.alarms:
        middle = event.start + (event.end - event.start) / 2
        half = max(event.end - event.start, least) / 2
        axes.axvspan(middle - half, middle + half, color=SHADES[event.severity], alpha=0.4, linewidth=0)
    axes.margins(x=0.01)


def _number(axes: Axes, alarms: Sequence[Event]) -> None:
    """Write each alarm's place and severity above it, those that would cover each other on lines of their own."""
    told = alarms[:MOST_NUMBERED]
    wordy = len(alarms) <= MOST_NUMBERED // 2
    places = [float(date2num(event.peak)) for event in told]
    low, high = axes.get_xlim()
    lines = lines_apart(places, (high - low) * (LABEL_WIDTH if wordy else LABEL_WIDTH / 3))
    for rank, (event, place, line) in enumerate(zip(told, places, lines, strict=True), start=1):
        axes.annotate(
            f"{rank} {event.severity}" if wordy else str(rank),
            (place, 1.0), xycoords=("data", "axes fraction"),
            xytext=(0, 3 + 10 * line), textcoords="offset points", ha="center", fontsize=8,
            annotation_clip=False,
        )  # fmt: skip


def lines_apart(places: Sequence[float], width: float) -> list[int]:
    """Return for each label the lowest line, from 0, on which it is `width` or more from all labels to its left."""
    ends: list[float] = []
    lines = [0] * len(places)
    for at in sorted(range(len(places)), key=places.__getitem__):
        line = next((n for n, end in enumerate(ends) if places[at] >= end), len(ends))
        ends[line : line + 1] = [places[at] + width]
        lines[at] = line
    return lines


def _close(axes: Axes, series: JudgedSeries, event: Event) -> None:
    names = [column.name for column in series.columns]
    c = names.index(event.factors[0].column)
    first, last = np.searchsorted(series.times, [event.start.to_datetime64(), event.end.to_datetime64()])
    around = max(24, 2 * int(last - first))
    rows = slice(max(int(first) - around, 0), int(last) + around + 1)
    times = series.times[rows]
    normal: dict[str, Any] = {"color": BLUE, "alpha": 0.2, "linewidth": 0, "label": "would have been normal, 95 %"}
    axes.fill_between(times, series.low[rows, c], series.high[rows, c], **normal)
    axes.plot(times, series.values[rows, c], color=INK, linewidth=1.2, label="measured")
    least = (times[-1] - times[0]) * NARROWEST
    start, end = event.start - least / 2, event.end + least / 2
    axes.axvspan(start, end, color=SHADES[event.severity], alpha=0.3, linewidth=0, label="event")
    axes.set_ylabel(_label(series, c))
    axes.margins(x=0.01)
    with_times(axes)


def _strongest(scores: Floats, edges: Ints) -> Floats:
    """Return the highest score between each two edges; NaN where there is none."""
    filled = np.where(np.isnan(scores), -np.inf, scores)
    highest = np.maximum.reduceat(filled, edges[:-1])
    out: Floats = np.where(np.isinf(highest), np.nan, highest)
    return out


def _lines(axes: Axes, alarms: Sequence[Event], names: Sequence[str]) -> None:
    for event in alarms:
        if event.series in names:
            row = names.index(event.series)
            span = np.array([event.start.to_datetime64(), event.end.to_datetime64()])
            axes.plot(span, [row, row], color=SHADES[event.severity], linewidth=9, alpha=0.6)
            axes.plot(
                np.array([event.peak.to_datetime64()]),
                [row],
                "o",
                color=SHADES[event.severity],
                markersize=7,
                markeredgecolor=INK,
            )
    for severity in reversed(SEVERITIES):
        axes.plot([], [], "o", color=SHADES[severity], markeredgecolor=INK, label=severity)
    axes.set_yticks(range(len(names)), [short(name, 24) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.tick_params(labelsize=9)
    legend_above(axes)


def _cells(axes: Axes, found: Detection) -> None:
    first = min(date2num(each.times[0]) for each in found.series)
    last = max(date2num(each.times[-1]) for each in found.series)
    days = next((size for size in (1, 7, 30.4375, 91.3125, 365.25) if (last - first) / size <= 32), 365.25)
    count = max(1, ceil((last - first) / days))
    cells = np.zeros((len(SEVERITIES), count), dtype=np.int64)
    for event in found.alarms:
        cells[
            SEVERITIES[::-1].index(event.severity), min(int((date2num(event.peak) - first) / days), count - 1)
        ] += 1
    shades = LinearSegmentedColormap.from_list("count", ["#ffffff", "#fdd0a2", "#d55e00"])
    extent = (first, first + count * days, len(cells) - 0.5, -0.5)
    axes.imshow(cells, aspect="auto", cmap=shades, vmin=0, vmax=max(3, cells.max()), extent=extent)
    for row, column in np.argwhere(cells):
        axes.text(first + (column + 0.5) * days, row, str(cells[row, column]), ha="center", va="center", fontsize=9)
    axes.set_yticks(range(len(cells)), SEVERITIES[::-1])
    axes.xaxis_date()
    axes.tick_params(labelsize=9)
    axes.set_xlim(first, first + count * days)
    axes.set_xticks(np.linspace(first, first + count * days, count + 1), minor=True)
    axes.grid(which="minor", axis="x", color=GREY, alpha=0.2)
    names = {1: "day", 7: "week", 30.4375: "month", 91.3125: "quarter", 365.25: "year"}
    axes.set_xlabel(f"alarms a {names[days]} by severity", fontsize=9)
    with_times(axes)
