"""The mean of the last few seasons: seasonal naive with less of its noise."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from training.core.component import State
from training.core.estimator import Forecaster
from training.core.parameters import whole
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.windows import Floats, Windows


class SeasonalMean(Forecaster):
    """Repeats the mean of each target's last `seasons` seasons.

    Averaging k seasons divides the variance of their noise by k; a trend or a shift of the level shows only slowly.

    Parameters
    ----------
    season
        Steps in a season, 1 or more.
    seasons
        Seasons averaged, 1 or more; 1 is the seasonal naive forecast.

    References
    ----------
    Makridakis, Wheelwright and Hyndman (1998), Forecasting: Methods and Applications, 3rd edition, chapter 4.
    """

    name: ClassVar[str] = "seasonal_mean"

    def __init__(self, *, season: int = 24, seasons: int = 4) -> None:
        self.season = whole("season", season, low=1)
        self.seasons = whole("seasons", seasons, low=1)

    @classmethod
    def example_params(cls) -> dict[str, int]:
        """Return two seasons of 12."""
        return {"season": 12, "seasons": 2}

    @classmethod
    def search_space(cls) -> Space:
        """Return how many seasons are worth averaging; the season itself is known."""
        return {"seasons": Whole(1, 14)}

    @property
    def context(self) -> int:
        """All the seasons."""
        return self.season * self.seasons

    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        """Nothing is learned."""

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): the mean season, repeated."""
        shape = (len(context), self.seasons, self.season, len(self.targets))
        mean: Floats = context.select(self.targets).reshape(shape).mean(axis=1)
        return mean[:, np.arange(self.horizon) % self.season]

    def learned(self) -> State:
        """Nothing."""
        return {}

    def relearn(self, state: State) -> None:
        """Nothing to take back."""
