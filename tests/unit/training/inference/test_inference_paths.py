"""Sample paths: whole rows of past errors around a forecast."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, InsufficientHistoryError, UnknownNameError, UserError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.inference.paths import ErrorPaths
from training.models.ridge import Ridge
from training.models.seasonal_naive import SeasonalNaive

HORIZON = 4


def panel_of(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], *, season: int = 1, name: str = "s"
) -> Panel:
    times = pd.date_range("2024-01-01", periods=len(values), freq="h")
    schema = Schema(
        name="x", frequency="h", season_length=season, targets=(Column(name="x", low=0), Column(name="y"))
    )
    frame = pd.DataFrame({"series_id": name, "timestamp": times, "x": values, "y": -values})
    return Panel(frame, schema).validate()


def naive_on(panel: Panel) -> SeasonalNaive:
    model = SeasonalNaive(season=1)
    return model.fit(panel.windows(1 + HORIZON), horizon=HORIZON, targets=("x", "y"))


@pytest.fixture
def panel() -> Panel:
    return panel_of(np.random.default_rng(0).uniform(0, 10, 60))


def test_a_path_is_the_forecast_plus_one_row_of_errors_within_the_range(panel: Panel) -> None:
    made = ErrorPaths.fit(naive_on(panel), panel, since=panel.frame["timestamp"].iloc[1])
    paths = made.after(panel)[0]
    x = panel.frame["x"].to_numpy()
    rows = np.array([x[n + 1 : n + 1 + HORIZON] - x[n] for n in range(len(x) - HORIZON)])
    np.testing.assert_allclose(paths.values[..., 0], np.maximum(x[-1] + rows, 0))
    np.testing.assert_allclose(paths.values[..., 1], -x[-1] - rows)  # both columns of one origin together
    assert paths.recent.tolist() == [[x[-1], -x[-1]]]
    assert paths.times[0] == panel.frame["timestamp"].iloc[-1] + pd.Timedelta(hours=1)
    assert paths.independent == pytest.approx((len(rows) - 1) / HORIZON + 1)
    assert made.after(panel, horizon=2)[0].values.shape == (len(rows), 2, 2)


def test_errors_come_from_the_half_of_the_season_around_the_moment() -> None:
    hours = np.arange(24 * 12)
    noise = np.random.default_rng(1).normal(0, 1, len(hours))
    day = (hours % 24 >= 6) & (hours % 24 < 18)
    panel = panel_of(100 + np.where(day, 20, 1) * noise, season=24)
    made = ErrorPaths.fit(naive_on(panel), panel, since=panel.frame["timestamp"].iloc[1])
    night, noon = panel.before("2024-01-12 00:00"), panel.before("2024-01-12 12:00")
    spread = [made.after(each)[0].values[:, 0, 0].std() for each in (night, noon)]
    assert 2 * spread[0] < spread[1]
    assert len(made.after(night)[0].values) < 0.6 * len(made.errors["s"].rows)


def test_what_is_known_ahead_is_asked_for() -> None:
    times = pd.date_range("2024-01-01", periods=120, freq="h")
    drive = np.random.default_rng(2).normal(size=120)
    frame = pd.DataFrame({"series_id": "s", "timestamp": times, "y": 3 * drive, "drive": drive})
    columns = (Column(name="drive", role="known"),)
    panel = Panel(frame, Schema(name="d", frequency="h", targets=(Column(name="y"),), covariates=columns))
    model = Ridge(window=2, alpha=1e-6, covariates=True)
    model.fit(panel.windows(2 + HORIZON), horizon=HORIZON, targets=("y",), known=("drive",))
    history, future = panel.before(times[-HORIZON]), panel.since(times[-HORIZON]).frame
    made = ErrorPaths.fit(model, panel, since=times[50])
    with pytest.raises(UserError, match="future"):
        made.after(history)
    np.testing.assert_allclose(made.after(history, future=future)[0].point[:, 0], 3 * drive[-HORIZON:], atol=1e-3)


def test_faults(panel: Panel) -> None:
    model, times = naive_on(panel), panel.frame["timestamp"]
    with pytest.raises(InsufficientHistoryError, match="series 's': got 2 origins"):
        ErrorPaths.fit(model, panel, since=times.iloc[-HORIZON - 1])
    made = ErrorPaths.fit(model, panel, since=times.iloc[1])
    with pytest.raises(UserError, match="horizon: got 9"):
        made.after(panel, horizon=9)
    with pytest.raises(UnknownNameError, match="unknown series 'other'"):
        made.after(panel_of(np.ones(9), name="other"))
    paths = made.after(panel)[0]
    with pytest.raises(ConfigError, match="quantile levels"):
        paths.quantiles((0.9, 0.1))
    with pytest.raises(UnknownNameError, match="unknown column 'z'"):
        paths.at("z")
