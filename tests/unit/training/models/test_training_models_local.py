"""Local models: odd windows, unknown series, regressors, bad parameters, the absent extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, UnknownNameError
from training.core.candidate import easy_panel
from training.core.component import build
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Floats, Windows
from training.models import MODELS
from training.models.local import best, spread

LOCAL = ("auto_arima", "auto_ets", "theta", "prophet")
HORIZON = 6


def make(name: str, **params: Any) -> Forecaster:
    if name == "prophet":
        pytest.importorskip("prophet", reason="the extra 'prophet' is not installed")
    return build(MODELS, name, MODELS.load(name).example_params() | params)


def windows_of(series: dict[str, Floats], length: int, start: str = "2024-01-01", **columns: Floats) -> Windows:
    frames = [
        pd.DataFrame(
            {
                "series_id": name,
                "timestamp": pd.date_range(start, periods=len(values), freq="h"),
                "y": values,
                **columns,
            }
        )
        for name, values in series.items()
    ]
    covariates = tuple(Column(name=name, role="known") for name in columns)
    schema = Schema(name="odd", frequency="h", targets=(Column(name="y"),), covariates=covariates)
    return Panel(pd.concat(frames, ignore_index=True), schema).windows(length)


@pytest.fixture(scope="module")
def fitted() -> Callable[[str], Forecaster]:
    made: dict[str, Forecaster] = {}
    panel = easy_panel().for_target("used")

    def fit(name: str) -> Forecaster:
        if name not in made:
            model = make(name)
            renamed = panel.frame.rename(columns={"used": "y"})[["series_id", "timestamp", "y"]]
            schema = Schema(name="odd", frequency="h", targets=(Column(name="y"),))
            train = Panel(renamed, schema).windows(model.context + HORIZON)
            made[name] = model.fit(train, horizon=HORIZON, targets=("y",))
        return made[name]

    return fit


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("level", [0.0, 50.0, -3.0, 1e9, 1e-9])
def test_a_window_that_stands_still_goes_on(name: str, level: float, fitted: Callable[[str], Forecaster]) -> None:
    model = fitted(name)
    odd = windows_of({"stranger": np.full(model.context, level)}, model.context)
    assert model.predict(odd) == pytest.approx(np.full((1, HORIZON, 1), level), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-4])
def test_odd_windows_have_finite_forecasts_of_their_size(
    name: str, scale: float, fitted: Callable[[str], Forecaster]
) -> None:
    model = fitted(name)
    rng = np.random.default_rng(8)
    size = model.context
    odd = {
        "zeros then one": np.r_[np.zeros(size - 1), 1.0],
        "one then zeros": np.r_[1.0, np.zeros(size - 1)],
        "intermittent": np.where(np.arange(size) % 5, 0.0, 4.0),
        "step": np.r_[np.zeros(size // 2), np.ones(size - size // 2)],
        "negative": -rng.lognormal(size=size),
        "growing": np.exp(np.arange(size) / 6),
        "noise": rng.normal(size=size),
    }
    forecast = model.predict(windows_of({key: scale * value for key, value in odd.items()}, size))[..., 0]
    assert np.isfinite(forecast).all()
    for each, values in zip(forecast, odd.values(), strict=True):
        assert np.abs(each).max() <= 20 * scale * np.abs(values).max()


@pytest.mark.parametrize("name", ["auto_arima", "auto_ets", "prophet"])
def test_an_unknown_series_is_forecast_in_its_own_units(name: str, fitted: Callable[[str], Forecaster]) -> None:
    model = fitted(name)
    known = easy_panel().frame.query("series_id == 'plant-1'")
    values = known["used"].to_numpy()
    at, large = (
        windows_of({"stranger": unit * values}, model.context + HORIZON, start=str(known["timestamp"].iloc[0]))
        for unit in (1, 1000)
    )
    at, large = at[slice(None, None, 25)], large[slice(None, None, 25)]
    context, future = at.split(HORIZON)
    forecast = model.predict(context)
    assert np.allclose(model.predict(large.head(model.context)), 1000 * forecast, rtol=1e-6)
    actual = future.select(("y",))
    assert np.abs(forecast - actual).mean() < np.abs(values.mean() - actual).mean()


@pytest.mark.parametrize("name", ["auto_arima", "prophet"])
def test_a_regressors_effect_is_found(name: str) -> None:
    rng = np.random.default_rng(9)
    driver = np.where(rng.random(400) < 0.3, 1.0, 0.0) + rng.normal(0, 0.1, 400)
    values = 100 + 20 * driver + rng.normal(0, 0.5, 400)
    model = make(name, season=1 if name == "auto_arima" else 12)
    windows = windows_of({"a": values}, model.context + HORIZON, driver=driver)
    train, late = windows[slice(0, 250)], windows[slice(300, None)]
    model.fit(train, horizon=HORIZON, targets=("y",), known=("driver",))
    context, actual = model.split(late)
    assert np.abs(model.predict(context) - actual).mean() < 2.0  # the driver alone moves it by 9 on average
    left_out = make(name, ahead=(), season=1 if name == "auto_arima" else 12)
    left_out.fit(train, horizon=HORIZON, targets=("y",), known=("driver",))
    assert left_out.known == ()


def test_the_choice_is_told(fitted: Callable[[str], Forecaster]) -> None:
    for name, kind in (("auto_arima", "ARIMA("), ("auto_ets", "ETS(")):
        model = fitted(name)
        assert [label.startswith(kind) for label in model.labels] == [True]  # type: ignore[attr-defined]
    assert make("theta").params()["variant"] == "standard"


def test_theta_chooses_a_variant_by_errors() -> None:
    panel = easy_panel().for_target("used")
    model = make("theta", variant="auto")
    model.fit(panel.windows(54)[slice(0, 60)], horizon=HORIZON, targets=("used",))
    assert model.variants[0] in {"standard", "optimised", "dynamic", "dynamic_optimised"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["auto_arima", "auto_ets", "theta"])
def test_windows_hold_two_seasons(name: str) -> None:
    with pytest.raises(ConfigError, match="at least 2 times season=24, 48 rows"):
        build(MODELS, name, {"season": 24, "window": 40})


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="dynamic_optimised"):
        build(MODELS, "theta", {"variant": "thetta"})
    with pytest.raises(UnknownNameError, match="DE"):
        build(MODELS, "prophet", {"country": "XX"})


def test_prophet_on_months() -> None:
    model = make("prophet", season=12, rows=60, window=12)
    times = pd.date_range("2015-01-01", periods=90, freq="MS")
    values = 100 + 10 * np.sin(2 * np.pi * np.arange(90) / 12)
    frame = pd.DataFrame({"series_id": "a", "timestamp": times, "y": values})
    schema = Schema(name="months", frequency="MS", targets=(Column(name="y"),))
    windows = Panel(frame, schema).windows(18)
    model.fit(windows[slice(0, 60)], horizon=HORIZON, targets=("y",))
    context, actual = model.split(windows[slice(60, None)])
    assert np.abs(model.predict(context) - actual).mean() < 2.0


def test_spread_takes_the_last_and_never_one_twice() -> None:
    windows = windows_of({"a": np.arange(40.0)}, 5)
    for count in (1, 7, 35, 36, 100):
        picked = spread(windows, count).starts
        assert len(set(picked)) == min(count, len(windows))
        assert picked[-1] == windows.starts[-1]
        assert (np.diff(picked) > 0).all()


def test_windows_that_stand_still_do_not_choose() -> None:
    context, actual = np.array([[1.0, 1.0], [1.0, 3.0]]), np.array([[100.0], [3.0]])
    assert best((100.0, 3.0), lambda value: np.full((2, 1), value), context, actual) == 3.0
    assert best((100.0, 3.0), lambda value: np.full((1, 1), value), context[:1], actual[:1]) == 100.0


def test_prophet_says_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    model = make("prophet")
    panel = easy_panel().for_target("used")
    model.fit(panel.windows(model.context + HORIZON), horizon=HORIZON, targets=("used",))
    out, err = capfd.readouterr()
    assert (out, err, caplog.records) == ("", "", [])
