"""Sample paths: whole futures of several columns at once, as likely as the errors that the model made before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from cluster.errors import InsufficientHistoryError, UnknownNameError
from training.core.estimator import Forecaster
from training.core.intervals import bounds_of
from training.core.panel import Panel
from training.core.prediction import check_horizon, check_levels
from training.core.windows import Floats, Ints, Times, Windows
from training.models.mean_season import places_of

KEPT_ROWS = 2000
"""Error rows kept a series, evenly over time; neighbours overlap in all but one step."""
LEAST_ROWS = 10
"""Fewer rows make no distribution."""
NEAR = 0.25
"""Seasons before and after that an error row may stem from: nights err otherwise than mornings. Before the test
parts the Brier skill of crossings rose by it from .20 to .28 (Google) and from .39 to .44 (Alibaba); half as much
gave .29 and .44 from half the rows."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """S equally likely futures of T columns over H steps of one series.

    A path is one future: what happens at a step follows from what happened at the steps before, and columns move
    together as they do in the data. So the share of paths with a property is the property's probability, whatever
    it looks at: a first crossing, a peak, which of two columns comes first.

    Parameters
    ----------
    series
        Its id.
    times
        (H,) what is forecast.
    columns
        (T,) names.
    point
        (H, T) the point forecast.
    values
        (S, H, T) in the columns' units.
    recent
        (R, T) the known rows before, the last one now.
    independent
        About how many of the paths stem from futures that do not overlap: shares are no finer than this.
    """

    series: str
    times: Times
    columns: tuple[str, ...]
    point: Floats
    values: Floats
    recent: Floats
    independent: float

    def at(self, column: str) -> int:
        """Return where a column stands."""
        if column not in self.columns:
            raise UnknownNameError.of("column", column, self.columns)
        return self.columns.index(column)

    def quantiles(self, levels: Sequence[float]) -> Floats:
        """Return (H, T, Q) quantiles of each step and column by themselves; infinite values are fine."""
        wanted = check_levels(tuple(levels))
        return np.moveaxis(np.quantile(self.values, wanted, axis=0, method="inverted_cdf"), 0, -1)

    def with_column(self, name: str, *, point: Floats, values: Floats, recent: Floats) -> Paths:
        """Return the paths with one more column, or with another content of one: something computed from them.

        Parameters
        ----------
        name
            Of the column.
        point
            (H,)
        values
            (S, H), path by path.
        recent
            (R,)
        """
        kept = [t for t, column in enumerate(self.columns) if column != name]
        return replace(
            self,
            columns=(*(self.columns[t] for t in kept), name),
            point=np.concatenate([self.point[:, kept], point[:, None]], axis=1),
            values=np.concatenate([self.values[..., kept], values[..., None]], axis=2),
            recent=np.concatenate([self.recent[:, kept], recent[:, None]], axis=1),
        )


@dataclass(frozen=True, kw_only=True)
class ErrorRows:
    """One series' errors out of sample.

    Parameters
    ----------
    rows
        (K, H, T) actual minus predicted, in the columns' units.
    places
        (K,) where in the season each origin stands, 0 .. season - 1.
    independent
        About how many of the rows do not overlap.
    """

    rows: Floats
    places: Ints
    independent: float

    def near(self, place: int, season: int) -> ErrorRows:
        """Return the rows whose origin stands in the half of the season around a place; all where these are few."""
        apart = np.abs(self.places - place)
        close = np.minimum(apart, season - apart) <= season * NEAR
        if season == 1 or close.sum() < LEAST_ROWS:
            return self
        return ErrorRows(
            rows=self.rows[close], places=self.places[close], independent=self.independent * float(close.mean())
        )


@dataclass(frozen=True, kw_only=True)
class ErrorPaths:
    """Makes sample paths of a fitted forecaster by adding whole rows of its past errors to its forecast.

    A row holds the errors of all steps and columns after one origin, so that a path keeps what ties steps to steps
    and columns to columns. Quantiles taken step by step do not: under them a limit would be crossed far too often,
    since each step would be a new throw. Paths keep to the physical range of each column.

    Rows are not scaled by how restless the window before was, as the forecaster's intervals are: on the validation
    parts of both clusters that made the Brier score of crossings worse, and for a steady process it is wrong.

    Each series draws on its own errors, those made in the half of the season around the moment of asking.

    Parameters
    ----------
    forecaster
        Fitted.
    errors
        Series -> its rows.
    season
        Steps in the season, the schema's; 1 for none.
    low, high
        (T,) the physical range.

    References
    ----------
    Pan and Politis (2016), Bootstrap prediction intervals for linear, nonlinear and nonparametric autoregressions,
    for predictive roots; Clark et al. (2004), The Schaake shuffle, for dependence from historical rows. Ours adds
    out-of-sample errors of direct multi-step forecasts in whole rows, all of them: nothing is drawn, so that there
    is no seed.
    """

    forecaster: Forecaster
    errors: Mapping[str, ErrorRows]
    season: int
    low: Floats
    high: Floats

    @classmethod
    def fit(cls, forecaster: Forecaster, panel: Panel, *, since: Any, until: Any = None) -> Self:
        """Collect the errors of every origin whose horizon lies in [since, until).

        Parameters
        ----------
        forecaster
            Fitted on rows before `since`.
        panel
            Its columns, with the rows before `since` that the first forecasts look back on.
        since, until
            First time that is forecast, and the first that is not; to the end when None.

        Raises
        ------
        InsufficientHistoryError
            A series has fewer than 10 such origins.
        """
        horizon = forecaster.horizon
        windows = panel.windows(forecaster.context + horizon).ahead_within(horizon, since, until)
        return cls.of(forecaster, [(forecaster, windows)], panel)

    @classmethod
    def of(cls, forecaster: Forecaster, trials: Sequence[tuple[Forecaster, Windows]], panel: Panel) -> Self:
        """Collect errors of several fits, each on windows later than what it was fitted on.

        Parameters
        ----------
        forecaster
            That makes the forecasts to come.
        trials
            Forecasters of the same kind, horizon and columns, each with windows of `context + horizon` rows that
            are cut from the panel.
        panel
            Names the series, the season and the physical ranges.

        Raises
        ------
        InsufficientHistoryError
            A series has fewer than 10 windows.
        """
        season = panel.schema.season_length
        owners = [np.searchsorted(cut.segments, cut.starts, side="right") - 1 for _, cut in trials]
        found = {
            name: _rows(
                [
                    (model, cut[np.flatnonzero(owner == n)])
                    for (model, cut), owner in zip(trials, owners, strict=True)
                ],
                name,
                season,
            )
            for n, name in enumerate(panel.series)
        }
        low, high = bounds_of(panel.schema, forecaster.targets)
        return cls(forecaster=forecaster, errors=found, season=season, low=low, high=high)

    def after(
        self, history: Panel, *, future: pd.DataFrame | None = None, horizon: int | None = None
    ) -> tuple[Paths, ...]:
        """Return the paths that follow each series.

        Parameters
        ----------
        history
            The rows up to now.
        future
            What is known ahead, see `Forecaster.forecast`.
        horizon
            Steps, at most the fitted horizon, which is the default.

        Raises
        ------
        UnknownNameError
            A series has no errors to draw on.
        UserError
            The horizon is longer than the fitted one; `future` has a fault.
        """
        context = self.forecaster.look_ahead(history.last(self.forecaster.context), future, history.schema)
        return tuple(self.along(context, horizon=horizon))

    def along(self, context: Windows, *, horizon: int | None = None) -> Iterator[Paths]:
        """Yield the paths after each window, one at a time."""
        steps = check_horizon(horizon, self.forecaster.horizon)
        points = np.clip(self.forecaster.predict(context)[:, :steps], self.low, self.high)
        times, recent = context.future_times(steps), context.tail(self.forecaster.context)
        places = places_of(context.last_times, self.season, context.frequency)
        for n, name in enumerate(context.ids):
            if name not in self.errors:
                raise UnknownNameError.of("series", name, self.errors)
            mine = self.errors[name].near(int(places[n]), self.season)
            yield Paths(
                series=name,
                times=times[n],
                columns=self.forecaster.targets,
                point=points[n],
                values=np.clip(points[n] + mine.rows[:, :steps], self.low, self.high),
                recent=recent[n : n + 1].select(self.forecaster.targets)[0],
                independent=mine.independent,
            )


def _rows(trials: Sequence[tuple[Forecaster, Windows]], series: str, season: int) -> ErrorRows:
    """Return the errors over all trials on one series' windows."""
    errors, places, starts = [], [], []
    for forecaster, mine in trials:
        if len(mine):
            context, actual = forecaster.split(mine)
            errors.append(actual - forecaster.predict(context))
            places.append(places_of(context.last_times, season, context.frequency))
            starts.append(mine.starts)
    count, horizon = sum(map(len, errors)), trials[0][0].horizon
    if count < LEAST_ROWS:
        raise InsufficientHistoryError(
            f"series '{series}': got {count} origins to learn errors from, expected at least {LEAST_ROWS}; "
            "give more rows or a shorter horizon",
            series=series,
            got=count,
            expected=LEAST_ROWS,
        )
    kept = np.unique(np.linspace(0, count - 1, min(count, KEPT_ROWS)).round().astype(np.int64))
    rows, where = np.concatenate(errors)[kept], np.concatenate(places)[kept]
    return ErrorRows(rows=rows, places=where, independent=float(np.ptp(np.concatenate(starts)) / horizon + 1))
