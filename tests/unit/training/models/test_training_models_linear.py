"""Seasonal naive and ridge."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.models.ridge import CHUNK_ROWS, Ridge
from training.models.seasonal_naive import SeasonalNaive

SCHEMA = Schema(
    name="line", frequency="h", targets=(Column(name="y"),), covariates=(Column(name="x"),), season_length=3
)


def panel(y: np.ndarray, x: np.ndarray | None = None) -> Panel:
    frame = pd.DataFrame(
        {
            "series_id": "s",
            "timestamp": pd.date_range("2024-01-01", periods=len(y), freq="h"),
            "y": y,
            "x": np.zeros(len(y)) if x is None else x,
        }
    )
    return Panel(frame, SCHEMA)


def test_naive_repeats_the_last_season() -> None:
    data = panel(np.arange(10.0))
    model = SeasonalNaive(season=3).fit(data.windows(10), horizon=7, targets=("y",))
    assert model.predict(data.last(3))[0, :, 0].tolist() == [7, 8, 9, 7, 8, 9, 7]


def test_naive_without_a_season_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="needs its parameter 'season': got none"):
        SeasonalNaive()
    with pytest.raises(ConfigError, match="'season': got 0"):
        SeasonalNaive(season=0)


def test_ridge_continues_a_line() -> None:
    data = panel(5 + 2 * np.arange(60.0))
    model = Ridge(window=4, alpha=1e-9).fit(data.windows(12), horizon=8, targets=("y",))
    assert model.predict(data.last(4))[0, :, 0] == pytest.approx(5 + 2 * np.arange(60.0, 68.0))


def test_ridge_does_not_care_for_level_or_unit() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=300).cumsum()
    forecasts = []
    for scale, level in ((1.0, 0.0), (1e6, 0.0), (1.0, 1e5)):
        data = panel(level + scale * y)
        model = Ridge(window=6).fit(data.windows(10), horizon=4, targets=("y",))
        forecasts.append((model.predict(data.last(6)) - level) / scale)
    assert forecasts[1] == pytest.approx(forecasts[0], rel=1e-8)
    assert forecasts[2] == pytest.approx(forecasts[0], rel=1e-5)


def test_ridge_uses_covariates_when_asked() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=400)
    y = np.r_[0.0, x[:-1]]  # tomorrow's y is today's x
    data = panel(y, x)
    train, last = data.windows(5)[slice(0, 300)], data.windows(5)[slice(300, None)]
    context, future = last.split(1)
    errors = [
        np.abs(
            Ridge(window=4, covariates=use).fit(train, horizon=1, targets=("y",)).predict(context)
            - future.select(("y",))
        ).mean()
        for use in (False, True)
    ]
    assert errors[1] < 0.05 < errors[0]


def test_ridge_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    data = panel(1000 + rng.normal(size=500).cumsum())
    assert CHUNK_ROWS > 500
    whole = Ridge(window=24).fit(data.windows(30), horizon=6, targets=("y",)).predict(data.windows(24))
    monkeypatch.setattr("training.models.ridge.CHUNK_ROWS", 37)
    chunked = Ridge(window=24).fit(data.windows(30), horizon=6, targets=("y",)).predict(data.windows(24))
    assert chunked == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("params", [{"window": 1}, {"alpha": -1}, {"window": 2.5}])
def test_ridge_refuses_what_makes_no_sense(params: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"'{next(iter(params))}'"):
        Ridge(**params)  # type: ignore[arg-type]
