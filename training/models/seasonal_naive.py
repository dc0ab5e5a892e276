"""The forecast that every other must beat: what happened at the same place of the last season."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cluster.errors import ConfigError
from training.core.component import State
from training.core.estimator import Forecaster
from training.core.parameters import whole
from training.core.runner import Runner
from training.core.windows import Floats, Windows


class SeasonalNaive(Forecaster):
    """Repeats each target's last season.

    Parameters
    ----------
    season
        Steps in a season, 1 or more; 1 repeats the last value. The schema's `season_length` is the usual choice.
        There is no default: a wrong season makes a weak baseline, which flatters every other model.

    References
    ----------
    Hyndman and Athanasopoulos (2021), Forecasting: Principles and Practice, 3rd edition, section 5.2.
    """

    name: ClassVar[str] = "seasonal_naive"

    def __init__(self, *, season: int | None = None) -> None:
        if season is None:
            raise ConfigError(
                "'seasonal_naive' needs its parameter 'season': got none, expected the steps in a season, "
                "usually the schema's season_length",
                parameter="season",
            )
        self.season = whole("season", season, low=1)

    @classmethod
    def example_params(cls) -> dict[str, int]:
        """Return a season of 12."""
        return {"season": 12}

    @property
    def context(self) -> int:
        """One season."""
        return self.season

    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        """Nothing is learned."""

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): the last season, repeated."""
        return context.select(self.targets)[:, np.arange(self.horizon) % self.season]

    def learned(self) -> State:
        """Nothing."""
        return {}

    def relearn(self, state: State) -> None:
        """Nothing to take back."""
