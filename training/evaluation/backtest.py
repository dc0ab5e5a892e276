"""What a model would have forecast in the past, beside what happened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cluster.errors import InsufficientHistoryError
from training.core.adaptive import AdaptiveIntervals, by_series, follow, moved
from training.core.estimator import Forecaster
from training.core.intervals import ConformalIntervals
from training.core.panel import Panel
from training.core.prediction import check_levels
from training.core.windows import Floats, Ints, Times, Windows

LEVELS = (0.025, 0.05, 0.5, 0.95, 0.975)
"""The ends of the 95 % and the 90 % interval, and the median."""


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """Forecasts from N origins, H steps, T targets.

    Parameters
    ----------
    model
        Catalog name.
    targets
        (T,) names.
    ids
        (N,) series.
    origins
        (N,) last timestamp that each forecast was computed from.
    timestamps
        (N, H) what is forecast.
    actual, point
        (N, H, T) the truth and the forecast.
    levels
        (Q,) quantile levels.
    quantiles
        (N, H, T, Q).
    last
        (N, T) last known values.
    naive_mae
        (T,) mean absolute error of the seasonal naive forecast one season ahead, before the tested time: the unit
        of MASE. NaN where no series has a season of rows before it.
    """

    model: str
    targets: tuple[str, ...]
    ids: tuple[str, ...]
    origins: Times
    timestamps: Times
    actual: Floats
    point: Floats
    levels: tuple[float, ...]
    quantiles: Floats
    last: Floats
    naive_mae: Floats

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, places: Ints) -> Backtest:
        """Return some of the forecasts."""
        arrays = ("origins", "timestamps", "actual", "point", "quantiles", "last")
        some: dict[str, Any] = {name: getattr(self, name)[places] for name in arrays}
        return replace(self, ids=tuple(self.ids[n] for n in places), **some)


def backtest(
    forecaster: Forecaster,
    panel: Panel,
    *,
    since: Any,
    until: Any = None,
    stride: int = 1,
    levels: tuple[float, ...] = LEVELS,
    adaptive: bool = False,
) -> Backtest:
    """Forecast from every origin whose whole horizon lies in [since, until).

    Parameters
    ----------
    forecaster
        Fitted and calibrated.
    panel
        The data it is tested on, with the rows before `since` that the first forecasts look back on.
    since, until
        First time that is forecast, and the first that is not; to the end when None.
    stride
        Rows between two origins of a series.
    levels
        Quantile levels, increasing within (0, 1).
    adaptive
        Whether each series' intervals start from the calibrated ones and follow their errors, each error from the
        row on at which it is known; else they stay as calibrated.

    Raises
    ------
    InsufficientHistoryError
        There is no such origin.
    """
    horizon = forecaster.horizon
    windows = panel.windows(forecaster.context + horizon, stride=stride).ahead_within(horizon, since, until)
    if not len(windows):
        raise InsufficientHistoryError(
            f"nothing to test '{forecaster.name}' on: got 0 origins with {forecaster.context} rows before and "
            f"{horizon} rows from {since} up to {until or 'the end'}, expected 1 or more; test on a longer part",
            got=0,
            expected=1,
        )
    context, actual = forecaster.split(windows)
    point, wanted = forecaster.predict(context), check_levels(levels)
    restless = forecaster.restless(context)
    offsets = forecaster.intervals.offsets(wanted)
    if adaptive:
        errors = (actual - point) / forecaster.intervals.scale(restless)
        offsets = _followed(forecaster.intervals, context, errors, wanted)
    return Backtest(
        model=forecaster.name,
        targets=forecaster.targets,
        ids=context.ids,
        origins=context.last_times,
        timestamps=windows.tail(horizon).timestamps,
        actual=actual,
        point=point,
        levels=tuple(levels),
        quantiles=forecaster.intervals.around(point, offsets, restless),
        last=context.tail(1).select(forecaster.targets)[:, 0],
        naive_mae=seasonal_naive_mae(panel, forecaster.targets, before=since),
    )


def _followed(base: ConformalIntervals, context: Windows, errors: Floats, levels: Floats) -> Floats:
    """Return (N, H, T, Q): offsets in units of the scale, each series' own intervals following its errors."""
    out = np.empty((*errors.shape, len(levels)))
    for _, places, rows in by_series(context):
        out[places] = moved(base, follow(AdaptiveIntervals(base), rows, errors[places]), levels)
    return out


def seasonal_naive_mae(panel: Panel, targets: tuple[str, ...], *, before: Any) -> Floats:
    """Return (T,): the mean absolute difference of values one season apart, in all rows before a time."""
    table, season = panel.table, panel.schema.season_length
    values = table.rows[:, table.positions(targets)]
    owner = np.repeat(np.arange(len(table.series)), np.diff(table.segments))
    pairs = (owner[season:] == owner[:-season]) & (table.times[season:] < np.datetime64(before))
    changes = np.abs(values[season:] - values[:-season])[pairs]
    return changes.mean(axis=0) if len(changes) else np.full(len(targets), np.nan)
