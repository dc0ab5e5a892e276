"""Served forecasts as a picture: history, truth, forecast and its interval."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from cluster.storage.files import write_whole
from training.core.schema import Schema
from training.core.validation import TIME

if TYPE_CHECKING:
    from apps.emissions.replay import ServedForecast

HISTORY_STEPS = 72
"""Rows of history that are drawn: three days of hours."""


def draw_forecasts(forecasts: Mapping[str, ServedForecast], path: Path, *, name: str, schema: Schema) -> Path:
    """Draw each forecast below the other into a PNG file.

    Parameters
    ----------
    forecasts
        Caption -> forecast.
    path
        Where; missing folders are made.
    name
        Of the model.
    schema
        Says target and unit.
    """
    figure = Figure(figsize=(11, 3.1 * len(forecasts)), layout="constrained")
    FigureCanvasAgg(figure)
    target = schema.targets[0]
    for row, (caption, forecast) in enumerate(forecasts.items(), start=1):
        axes = figure.add_subplot(len(forecasts), 1, row)
        _draw(axes, forecast, target.name)
        origin = forecast.history.frame[TIME].iloc[-1]
        axes.set_ylabel(f"{target.name} ({target.unit})")
        axes.set_title(
            f"{caption}: WAPE {forecast.wape:.3f}, asked at {origin:%Y-%m-%d %H:%M}", loc="left", fontsize=10
        )
    figure.suptitle(f"{name}: forecasts over HTTP, and what happened", x=0.01, ha="left", fontsize=12)
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
