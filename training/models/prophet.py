"""Prophet: trend, seasons, holidays and regressors learned once a series, put on the level of each window."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import ConfigError, UserError
from training.core.component import State
from training.core.estimator import Forecaster, Tags
from training.core.parameters import real, whole
from training.core.runner import Runner
from training.core.space import Choice, Real, Space
from training.core.windows import Floats, Times, Windows
from training.data.public_holidays import check_country, is_holiday
from training.models.local import quiet
from training.models.prophet_curve import Curve

TWO_YEARS_DAYS = 730.0
"""History from which a yearly season can be told from a trend; Prophet's own rule."""
MOST_WAVES = 4
"""Sines and cosines of the extra season; as many as Prophet gives a day."""
CHUNK = 1024
"""Windows whose curves are computed at a time."""
LOGGERS = ("cmdstanpy", "prophet", "prophet.plot", "prophet.models", "prophet.forecaster")


class Prophet(Forecaster):
    """Prophet's curve of each series, plus what the window's newest rows differ from it.

    Prophet fits a curve over time and keeps no state. Here the curve of each training series, trend, Fourier
    seasons, holidays and regressors, is fitted once; a forecast is the curve over the horizon, plus the mean
    difference of the window from it, plus the last difference as it fades at the rate seen in training. A series
    that was not trained on gets the known series' mean curve, in units of its window's standard deviation.

    Parameters
    ----------
    window
        Rows that the level is taken from, 2 or more.
    rows
        The most training rows fitted, the newest of each series; 50 or more. Time grows with them.
    changepoint_scale
        Flexibility of the trend, above 0.
    season_scale
        Size that seasons and regressors may have, above 0.
    country
        Whose public holidays have an effect, one for all of them, ISO code; empty is none.
    season
        Steps of a season beside day, week and year; 0 is none.
    ahead
        Which of the columns known ahead are regressors; all by default.

    References
    ----------
    Taylor and Letham (2018), Forecasting at Scale. Ours differs by the window's level and fading difference,
    without which a forecast ignores what happened last.
    """

    name: ClassVar[str] = "prophet"
    tags: ClassVar[Tags] = Tags(known_future=True)

    def __init__(
        self,
        *,
        window: int = 48,
        rows: int = 8760,
        changepoint_scale: float = 0.05,
        season_scale: float = 10.0,
        country: str = "",
        season: int = 0,
        ahead: tuple[str, ...] | None = None,
    ) -> None:
        self.window = whole("window", window, low=2)
        self.rows = whole("rows", rows, low=50)
        self.changepoint_scale = real("changepoint_scale", changepoint_scale, low=0, above=True)
        self.season_scale = real("season_scale", season_scale, low=0, above=True)
        if country:
            check_country(country)
        self.country = country
        self.season = whole("season", season, low=0)
        self.ahead = None if ahead is None else tuple(ahead)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a window of 24, few rows and a season of 12."""
        return {"window": 24, "rows": 120, "season": 12}

    @classmethod
    def search_space(cls) -> Space:
        """Return the flexibility of the trend, the size of seasons, and the rows of the level."""
        return {
            "changepoint_scale": Real(0.001, 0.5, log=True),
            "season_scale": Real(0.1, 20.0, log=True),
            "window": Choice((24, 48, 96, 168)),
        }

    @property
    def context(self) -> int:
        """The window."""
        return self.window

    def fit_windows(
        self,
        train: Windows,
        validation: Windows | None,  # noqa: ARG002 - nothing to stop early,
        runner: Runner | None,  # noqa: ARG002 - and no loop to run
    ) -> None:
        """Fit a curve to each series and target."""
        require()
        self._series: list[str] = []
        self._curves: list[list[Curve]] = []
        for place, name in enumerate(train.series):
            rows = _covered(train, place)[-self.rows :]
            if len(rows):
                self._series.append(name)
                self._curves.append([self._curve(train, rows, target) for target in self.targets])

    def _curve(self, train: Windows, rows: npt.NDArray[np.int64], target: str) -> Curve:
        times, values = train.times[rows], train.rows[rows, train.positions((target,))[0]]
        extra = self._extra(times, train.rows[np.ix_(rows, train.positions(self.known))])
        if not np.ptp(values):
            return Curve.flat(values, extra.shape[-1])
        model = self._model(times)
        frame = pd.DataFrame({"ds": times, "y": values})
        for place in np.flatnonzero(np.ptp(extra, axis=0) > 0):
            frame[str(place)] = extra[:, place]
            model.add_regressor(str(place), standardize=True)
        with quiet(), silent():
            model.fit(frame, seed=0)
        return Curve.of(model, times, values, extra)

    def _model(self, times: Times) -> Any:
        library = require()
        days = float((times[-1] - times[0]) / np.timedelta64(1, "D"))
        model = library.Prophet(
            changepoint_prior_scale=self.changepoint_scale,
            seasonality_prior_scale=self.season_scale,
            uncertainty_samples=0,
            yearly_seasonality=days >= TWO_YEARS_DAYS,
        )
        if self.season > 1:
            step_days = days / (len(times) - 1)
            order = max(1, min(MOST_WAVES, self.season // 2))
            model.add_seasonality("season", period=self.season * step_days, fourier_order=order)
        return model

    def _extra(self, times: Times, regressors: Floats) -> Floats:
        """Return (..., K) regressors, one more column that marks holidays where a country is given."""
        if not self.country:
            return regressors
        marked = is_holiday(times.astype("datetime64[D]"), self.country)
        return np.concatenate([regressors, marked[..., None]], axis=-1, dtype=np.float64)

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): each series' curve on each window's level."""
        out = np.empty((len(context), self.horizon, len(self.targets)))
        ids = np.array(context.ids)
        for name in dict.fromkeys(context.ids):
            mine = np.flatnonzero(ids == name)
            for start in range(0, len(mine), CHUNK):
                some = mine[start : start + CHUNK]
                out[some] = self._after(context[some], name)
        return out

    def _after(self, context: Windows, name: str) -> Floats:
        """Return (N, H, T) after windows of one series."""
        ahead = context.ahead
        if ahead is None:
            raise UserError(f"'{self.name}' needs the times ahead of each window: got none, call predict()")
        times = np.concatenate([context.timestamps, ahead.timestamps], axis=1)
        regressors = np.concatenate([context.select(self.known), ahead.select(self.known)], axis=1)
        extra, values = self._extra(times, regressors), context.select(self.targets)
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for place in range(len(self.targets)):
            past = values[..., place]
            curve, fades = self._along(name, place, times, extra, past.std(axis=1, keepdims=True))
            off = past - curve[:, : self.window]
            level = off.mean(axis=1, keepdims=True)
            fading = fades ** np.arange(1, self.horizon + 1) * (off[:, -1:] - level)
            out[..., place] = curve[:, self.window :] + level + fading
        return out

    def _along(self, name: str, place: int, times: Times, extra: Floats, sizes: Floats) -> tuple[Floats, float]:
        """Return the curve at `times` (N, L + H) and how a difference from it fades in a step."""
        if name in self._series:
            mine = self._curves[self._series.index(name)][place]
            return mine.at(times, extra), mine.fades
        known = [curves[place] for curves in self._curves]
        moving = [each for each in known if each.size > 0]
        if not moving:
            return np.zeros(times.shape), known[0].fades
        mean = np.mean([each.at(times, extra) / each.size for each in moving], axis=0)
        return mean * sizes, float(np.mean([each.fades for each in moving]))

    def learned(self) -> State:
        """Return the curves of each series."""
        return {"series": self._series, "curves": [[each.state() for each in row] for row in self._curves]}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._series = list(state["series"])
        self._curves = [[Curve(**each) for each in row] for row in state["curves"]]


def _covered(windows: Windows, series: int) -> npt.NDArray[np.int64]:
    """Return the rows of a series that lie in any of the windows: what training may look at."""
    low, high = windows.segments[series], windows.segments[series + 1]
    starts = windows.starts[(windows.starts >= low) & (windows.starts < high)]
    change = np.zeros(high - low + 1, dtype=np.int64)
    np.add.at(change, starts - low, 1)
    np.add.at(change, starts - low + windows.length, -1)
    rows: npt.NDArray[np.int64] = low + np.flatnonzero(np.cumsum(change[:-1]) > 0)
    return rows


def require() -> ModuleType:
    """Return the library; raise ConfigError that says what to install where it is absent."""
    try:
        with silent():
            return import_module("prophet")
    except ImportError as error:
        raise ConfigError(
            "the model 'prophet' needs the library prophet, which is not installed: "
            'pip install "heliotrope[prophet]", or choose another model',
            model="prophet",
        ) from error


@contextmanager
def silent() -> Iterator[None]:
    """Keep Prophet's and Stan's loggers quiet meanwhile."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
