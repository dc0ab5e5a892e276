"""A forecast as a picture: history, truth, prediction and its interval."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from cluster.storage.files import write_atomically
from training.core.prediction import Prediction
from training.core.windows import Floats, Times


@dataclass(frozen=True, kw_only=True)
class ForecastPicture:
    """What one panel of the plot shows.

    Parameters
    ----------
    title
        Above the axes.
    unit
        Of the target.
    history_times, history
        (L,) what was known.
    prediction
        One series, one target (N = T = 1).
    actual
        (H,) what really happened, or None where it is not known yet.
    """

    title: str
    unit: str
    history_times: Times
    history: Floats
    prediction: Prediction
    actual: Floats | None = None


def draw_forecasts(pictures: list[ForecastPicture], path: Path) -> Path:
    """Draw the pictures below each other into a PNG file."""
    figure = Figure(figsize=(11, 3.4 * len(pictures)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, picture in enumerate(pictures, start=1):
        _draw(figure.add_subplot(len(pictures), 1, row), picture)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())
    return path


def _draw(axes: Axes, picture: ForecastPicture) -> None:
    prediction = picture.prediction
    times, point = prediction.timestamps[0], prediction.point[0, :, 0]
    low, high = prediction.values[0, :, 0, 0], prediction.values[0, :, 0, -1]
    share = prediction.levels[-1] - prediction.levels[0]
    axes.plot(picture.history_times, picture.history, color="0.35", linewidth=1, label="history")
    axes.fill_between(times, low, high, color="tab:green", alpha=0.2, linewidth=0, label=f"{share:.0%} interval")
    axes.plot(times, point, color="tab:green", linewidth=1.8, label="forecast")
    if picture.actual is not None:
        axes.plot(times, picture.actual, color="black", linewidth=1.2, linestyle="--", label="what happened")
    axes.set_title(picture.title, loc="left", fontsize=11)
    axes.set_ylabel(picture.unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.legend(loc="upper left", fontsize=8, frameon=False, ncols=4)
