"""Ridge on each target's own past, the mean season, and what ridge's columns contribute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError
from training.core.candidate import SCHEMA, easy_panel
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Windows
from training.models.channel_ridge import SCALES, ChannelRidge
from training.models.mean_season import MeanSeason, places_of
from training.models.ridge import Ridge

TARGETS = SCHEMA.target_names
MONTHLY = Schema(name="bill", frequency="MS", targets=(Column(name="y"),), season_length=12)


def table(y: np.ndarray, frequency: str = "h", start: str = "2024-01-01") -> Panel:
    times = pd.date_range(start, periods=len(y), freq=frequency)
    frame = pd.DataFrame({"series_id": "s", "timestamp": times, "y": y})
    return Panel(frame, replace(MONTHLY, frequency=frequency))


def fitted(panel: Panel, horizon: int = 6, **params: Any) -> tuple[ChannelRidge, Windows]:
    model = ChannelRidge(**({"window": 24} | params))
    windows = panel.windows(model.context + horizon)
    return model.fit(windows, horizon=horizon, targets=panel.schema.target_names), windows


def test_other_targets_play_no_part() -> None:
    panel = easy_panel()
    other = Panel(panel.frame.assign(used=np.random.default_rng(1).normal(size=len(panel))), SCHEMA)
    (mine, windows), (theirs, changed) = fitted(panel, season=12), fitted(other, season=12)
    assert (mine.predict(windows.head(24))[..., 0] == theirs.predict(changed.head(24))[..., 0]).all()


def test_shared_map_does_not_care_for_units() -> None:
    panel = easy_panel()
    large = Panel(panel.frame.assign(used=1e6 * panel.frame["used"]), SCHEMA)
    (mine, windows), (theirs, changed) = fitted(panel, shared=True), fitted(large, shared=True)
    assert theirs.predict(changed.head(24)) == pytest.approx(mine.predict(windows.head(24)) * [1, 1e6], rel=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_a_season_is_repeated_whatever_the_scale(scale: str) -> None:
    y = 30 + 20 * np.sin(2 * np.pi * np.arange(240) / 24)
    model, _ = fitted(table(y), horizon=24, season=24, scale=scale, anchor="none")
    assert model.predict(table(y).last(24))[0, :, 0] == pytest.approx(y[:24], rel=1e-6)


def test_the_season_is_told_by_the_time_and_not_by_the_row() -> None:
    y = np.tile(np.arange(12.0), 10)
    model, _ = fitted(table(y, "MS"), horizon=3, season=12, window=2, anchor="none")
    late = table(y[5:29], "MS", "2030-06-01")
    assert model.predict(late.last(2))[0, :, 0] == pytest.approx([5.0, 6.0, 7.0], abs=1e-6)


@pytest.mark.parametrize(("frequency", "season"), [("h", 24), ("15min", 96), ("D", 7), ("MS", 12), ("W-MON", 52)])
def test_places_follow_each_other(frequency: str, season: int) -> None:
    for start in ("1961-05-01", "2024-02-28 03:00"):
        times = pd.date_range(start, periods=150, freq=frequency).to_numpy()
        places = places_of(times, season, frequency)
        assert (np.diff(places) % season == 1).all()
        assert (places_of(times[100:], season, frequency) == places[100:]).all()
    assert places_of(times[:0], season, frequency).shape == (0,)


def test_levels_of_ragged_series_do_not_leak_into_the_season() -> None:
    wave = np.tile([1.0, -1.0, 0.0], 20)
    frame = pd.concat(
        [table(level + wave[:size]).frame.assign(series_id=level) for level, size in ((0, 60), (1e3, 40))]
    )
    windows = Panel(frame, replace(MONTHLY, frequency="h")).windows(10)
    course = MeanSeason.fit(windows, 3).course[:, 0]
    assert course == pytest.approx(np.roll([1, -1, 0], places_of(windows.times[:1], 3, "h")[0]), abs=0.05)


def test_absolute_errors_move_less_with_outliers() -> None:
    rng = np.random.default_rng(3)
    y = 10 * np.sin(np.arange(400) / 3) + rng.normal(size=400)
    spoilt = y.copy()
    spoilt[150] += 500
    windows = table(y).windows(30)[slice(320, None)]
    truth = windows.tail(6).values
    off = {
        loss: np.abs(fitted(table(spoilt), loss=loss)[0].predict(windows.head(24)) - truth).mean()
        for loss in ("squared", "absolute")
    }
    assert off["absolute"] < 0.8 * off["squared"]


def test_nothing_lies_below_the_floor() -> None:
    y = np.linspace(50, 0.5, 200)
    model, _ = fitted(table(y), horizon=24, floor=0.0)
    assert model.predict(table(y).last(24)).min() == 0.0


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"anchor": "middle"}, "last, mean, none"),
        ({"season": 1}, "season"),
        ({"scale": "cube"}, "linear, sqrt, log"),
    ],
)
def test_parameters_out_of_range(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ChannelRidge(**params)


def test_contributions_of_own_past_are_the_whole_difference() -> None:
    model, windows = fitted(easy_panel(), season=12, scale="log")
    told = model.contributions(windows.head(24))
    assert told.columns == TARGETS
    assert told.point == pytest.approx(model.predict(windows.head(24)))
    assert not told.values[..., 0, 1].any()
    assert not told.values[..., 1, 0].any()
    assert told.base[0] == pytest.approx(windows.tail(6).values[..., :2].mean(axis=0))


@pytest.mark.parametrize("covariates", [False, True])
def test_contributions_of_ridge_add_up_and_vanish_on_average(covariates: bool) -> None:
    windows = easy_panel().windows(30)
    model = Ridge(window=24, covariates=covariates).fit(windows, horizon=6, targets=TARGETS, known=("load",))
    context, actual = model.split(windows)
    told = model.contributions(context)
    assert told.columns == (SCHEMA.names if covariates else ("emitted", "used", "load"))
    assert told.point == pytest.approx(model.predict(context), rel=1e-9)
    assert told.values.mean(axis=0) == pytest.approx(0, abs=1e-8)
    assert told.base[0] == pytest.approx(actual.mean(axis=0))


def test_contributions_of_ridge_are_those_of_a_known_line() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=400)
    y = 7 + np.cumsum(3 * x)
    frame = table(y).frame.assign(x=x)
    schema = Schema(
        name="line", frequency="h", targets=(Column(name="y"),), covariates=(Column(name="x", role="known"),)
    )
    windows = Panel(frame, schema).windows(5)
    model = Ridge(window=4, alpha=1e-9).fit(windows, horizon=1, targets=("y",), known=("x",))
    context, _ = model.split(windows)
    told = model.contributions(context)
    assert told.values[:, 0, 0, 1] == pytest.approx(3 * (x[4:] - x[4:].mean()), abs=1e-5)
    assert told.values[:, 0, 0, 0] == pytest.approx(y[3:-1] - y[3:-1].mean(), abs=1e-5)
