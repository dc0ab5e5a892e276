"""Local models against statsforecast and Prophet on the same windows; filters against their definitions."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from training.core.candidate import easy_panel
from training.core.windows import Floats
from training.models.auto_arima import AutoARIMA, Structure
from training.models.auto_ets import AutoETS, Form
from training.models.local import quiet
from training.models.prophet import Prophet, require, silent
from training.models.regressors import Regressors
from training.models.state_space import smoothing_filter
from training.models.theta import VARIANTS, Theta

HORIZON, SEASON = 8, 6


def wave(length: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0, 0.3, length))
    return 50 + 6 * np.sin(2 * np.pi * np.arange(length) / SEASON) + walk + rng.normal(0, 1, length)


@pytest.mark.parametrize(
    ("order", "seasonal"),
    [
        ((1, 0, 1), (0, 0, 0)),
        ((0, 1, 2), (0, 0, 1)),
        ((2, 1, 0), (1, 1, 0)),
        ((1, 0, 0), (0, 1, 1)),
        ((0, 2, 1), (0, 0, 0)),
    ],
)
def test_arima_forecasts_what_statsforecast_does(
    order: tuple[int, int, int], seasonal: tuple[int, int, int]
) -> None:
    from statsforecast.models import ARIMA

    theirs = ARIMA(order=order, season_length=SEASON, seasonal_order=seasonal, include_mean=False, method="ML")
    first, other = wave(60, 1), wave(60, 2)
    with quiet():
        theirs.fit(first.copy())
        expected = theirs.predict(HORIZON)["mean"], theirs.forward(y=other.copy(), h=HORIZON)["mean"]
    model = theirs.model_["model"]
    structure = Structure(label="", phi=model["phi"], theta=model["theta"], delta=model["delta"], degree=None)
    weights = structure.filter(60, HORIZON).weights
    for window, forecast in zip((first, other), expected, strict=True):
        assert weights @ window == pytest.approx(forecast, rel=1e-7)


@pytest.mark.parametrize("degree", [0, 1])
def test_level_and_drift_are_the_likeliest(degree: int) -> None:
    from statsforecast.models import ARIMA

    theirs = ARIMA(
        order=(1, degree, 1), season_length=1, include_mean=degree == 0, include_drift=degree == 1, method="ML"
    )
    window = wave(80, 3)
    with quiet():
        theirs.fit(window.copy())
        expected = theirs.predict(HORIZON)["mean"]
    model = theirs.model_["model"]
    structure = Structure(label="", phi=model["phi"], theta=model["theta"], delta=model["delta"], degree=degree)
    # Theirs stops where the likelihood is flat, ours is the exact optimum of level and drift.
    assert structure.filter(80, HORIZON).weights @ window == pytest.approx(expected, abs=0.01 * window.std())


@pytest.mark.parametrize(
    ("form", "damped"),
    [("ANN", False), ("AAN", False), ("ANA", False), ("AAA", False), ("AAN", True), ("AAA", True)],
)
def test_smoothing_is_the_recursion_with_the_best_first_state(form: str, damped: bool) -> None:
    from statsforecast.ets import pegelsfcast_C, pegelsresid_C
    from statsforecast.models import AutoETS as Search

    window = wave(60, 4)
    with quiet():
        model = Search(season_length=SEASON, model=form, damped=damped).fit(window.copy()).model_
    fitted = Form.of(model, logarithms=False)
    filtered = smoothing_filter(
        alpha=fitted.alpha,
        beta=fitted.beta,
        gamma=fitted.gamma,
        phi=fitted.phi,
        season=SEASON,
        length=60,
        horizon=HORIZON,
    )
    errors = filtered.whiten @ window
    theirs = np.square(model["residuals"]).sum()
    assert np.square(errors).sum() <= theirs * (1 + 1e-9)  # theirs searches the first state, ours solves for it
    assert filtered.weights @ window == pytest.approx(pegelsfcast_C(HORIZON, model), abs=0.2 * window.std())

    first, *_ = np.linalg.lstsq(_errors_of_states(model, window), _errors(model, window, 0.0), rcond=None)
    _, residuals, states, _ = pegelsresid_C(window, model["m"], first, *_split(model), nmse=3)
    assert residuals == pytest.approx(errors, abs=1e-6)
    expected = _ahead(model, states[-1])
    assert filtered.weights @ window == pytest.approx(expected, abs=1e-6)
    # From the second step on theirs counts a damped slope's first step twice, as R's does.
    steps = slice(0, 1 if damped else None)
    assert expected[steps] == pytest.approx(pegelsfcast_C(HORIZON, model | {"states": states})[steps], abs=1e-9)


def _ahead(model: dict[str, Any], state: Floats) -> Floats:
    """Return the textbook's forecast: level + (phi + phi^2 + ... + phi^h) slope + season."""
    _, trend, season, damped = model["components"]
    phi = model["par"][3] if damped == "D" else 1.0
    steps = np.arange(1, HORIZON + 1)
    forecast = np.full(HORIZON, state[0])
    if trend == "A":
        forecast += np.cumsum(phi**steps) * state[1]
    if season == "A":
        forecast += state[::-1][(steps - 1) % SEASON]
    return forecast


def _split(model: dict[str, Any]) -> tuple[Any, ...]:
    error, trend, season, damped = model["components"]
    alpha, beta, gamma, phi = model["par"][:4]
    return error, trend, season, damped == "D", alpha, beta, gamma, phi


def _errors(model: dict[str, Any], window: Floats, first: Floats | float) -> Floats:
    from statsforecast.ets import pegelsresid_C

    start = np.zeros(model["states"].shape[1]) + first
    errors: Floats = pegelsresid_C(window, model["m"], start, *_split(model), nmse=3)[1]
    return errors


def _errors_of_states(model: dict[str, Any], window: Floats) -> Floats:
    units = np.eye(model["states"].shape[1])
    return np.stack([-_errors(model, np.zeros_like(window), unit) for unit in units], axis=1)


@pytest.mark.parametrize(("variant", "multiplicative"), list(product(VARIANTS, (False, True))))
def test_theta_is_statsforecasts(variant: str, multiplicative: bool) -> None:
    from statsforecast import models

    model = Theta(season=12, window=60, variant=variant, multiplicative=multiplicative)
    windows = easy_panel().windows(66, stride=40)
    model.fit(windows, horizon=6, targets=("used",))
    got = model.predict(windows.head(60))[..., 0]
    kind = "multiplicative" if multiplicative else "additive"
    theirs = getattr(models, VARIANTS[variant])(season_length=12, decomposition_type=kind)
    for forecast, window in zip(got, windows.head(60).select(("used",))[..., 0], strict=True):
        assert np.array_equal(forecast, theirs.forecast(y=window.copy(), h=6)["mean"])


def test_pooled_regressors_are_generalised_least_squares() -> None:
    rng = np.random.default_rng(5)
    columns, values = rng.normal(size=(7, 30, 2)), rng.normal(size=(7, 30))
    whiten = np.tril(rng.normal(size=(30, 30)) / 5) + np.eye(30)
    fitted = Regressors.fit(whiten, values, columns)
    alone = Regressors(whiten=whiten, scales=fitted.scales, pooled=fitted.pooled, leaning=1e-12)
    weights, ahead = rng.normal(size=(4, 30)), rng.normal(size=(7, 4, 2))
    got = alone.effect(weights, values, columns, ahead)
    for n in range(7):
        slopes, *_ = np.linalg.lstsq(whiten @ columns[n], whiten @ values[n], rcond=None)
        assert got[n] == pytest.approx((ahead[n] - weights @ columns[n]) @ slopes)


def test_the_best_of_a_window_is_close_to_statsforecasts_own() -> None:
    from statsforecast import models

    panel = easy_panel().for_target("used")
    windows = panel.windows(66)
    train, late = windows[slice(0, 150)], windows[slice(290, 350, 6)]
    context, future = late.split(6)
    actual = future.select(("used",))[..., 0]
    for kind, search in (
        (AutoARIMA, models.AutoARIMA(season_length=12, max_p=1, max_q=1, max_P=1, max_Q=1, approximation=True)),
        (AutoETS, models.AutoETS(season_length=12, model="ANA")),
    ):
        model = kind(season=12, window=60).fit(train, horizon=6, targets=("used",))
        ours = np.abs(model.predict(context)[..., 0] - actual).mean()
        with quiet():
            each = [search.forecast(y=one.copy(), h=6)["mean"] for one in context.select(("used",))[..., 0]]
        assert ours <= 1.1 * np.abs(np.array(each) - actual).mean()


def test_prophets_curve_is_prophets() -> None:
    pytest.importorskip("prophet", reason="the extra 'prophet' is not installed")
    panel = easy_panel().for_target("used")
    rows = panel.frame[panel.frame["series_id"] == "plant-0"].reset_index(drop=True)
    windows = panel.windows(30)
    mine = windows[np.flatnonzero(np.array(windows.ids) == "plant-0")]
    model = Prophet(window=24, rows=300, season=12, country="IE")
    model.fit(mine, horizon=6, targets=("used",), known=("load",))
    curve = model._curves[0][0]

    import holidays

    known = holidays.country_holidays("IE", years=2024)
    late = rows.tail(300)
    library = require()
    with silent(), quiet():
        theirs = library.Prophet(yearly_seasonality=False, uncertainty_samples=0)
        theirs.add_seasonality("season", period=0.5, fourier_order=4)
        theirs.add_regressor("load", standardize=True)
        theirs.add_regressor("holiday", standardize=True)
        frame = pd.DataFrame({"ds": rows["timestamp"], "y": rows["used"], "load": rows["load"]})
        frame["holiday"] = [float(time.date() in known) for time in rows["timestamp"]]
        theirs.fit(frame.loc[late.index], seed=0)
        expected = theirs.predict(frame)["yhat"].to_numpy()
    extra = frame[["load", "holiday"]].to_numpy()
    got = curve.at(rows["timestamp"].to_numpy(), extra)
    assert curve.weights.all()
    assert got == pytest.approx(expected, rel=1e-6)
