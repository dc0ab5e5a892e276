"""Served forecasts as a picture: history, truth, forecast and its interval."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from cluster.storage.files import write_whole
from training.core.validation import TIME

if TYPE_CHECKING:
    from apps.emissions.replay import Replay, ServedForecast

HISTORY_STEPS = 72
"""Rows of history that are drawn: three days of hours."""


def draw_replay(replay: Replay, path: Path) -> Path:
    """Draw each forecast in a panel of its own, in order of time, into a PNG file."""
    count = len(replay.forecasts)
    figure = Figure(figsize=(11, 3.1 * count), layout="constrained")
    FigureCanvasAgg(figure)
    for row, forecast in enumerate(replay.forecasts, start=1):
        axes = figure.add_subplot(count, 1, row)
        _draw(axes, forecast, replay.target)
        axes.set_ylabel(f"{replay.target} ({replay.unit})")
        origin = forecast.history.frame[TIME].iloc[-1]
        axes.set_title(
            f"{replay.served.name} {replay.served.version}, asked at {origin:%Y-%m-%d %H:%M}", loc="left"
        )
    figure.axes[0].legend(loc="upper left", fontsize=8, frameon=False, ncols=4)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())
    return path


def _draw(axes: Axes, forecast: ServedForecast, target: str) -> None:
    history, steps = forecast.history.frame.tail(HISTORY_STEPS), forecast.steps
    times = steps["timestamp"].to_numpy()
    label = f"{forecast.interval_level:.0%} interval"
    axes.plot(history[TIME].to_numpy(), history[target].to_numpy(), color="0.35", linewidth=1, label="history")
    axes.fill_between(times, steps["lower"], steps["upper"], color="tab:green", alpha=0.2, linewidth=0, label=label)
    axes.plot(times, steps["prediction"], color="tab:green", linewidth=1.8, label="forecast")
    axes.plot(times, forecast.actual, color="black", linewidth=1.2, linestyle="--", label="what happened")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.margins(x=0.01)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
