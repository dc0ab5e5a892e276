"""Regression on drivers: whose coefficients it finds, what it does with errors that last, and why it says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Floats
from training.models.driver_ridge import DriverRidge

SCHEMA = Schema(
    name="sites",
    frequency="D",
    targets=(Column(name="emitted"), Column(name="used")),
    covariates=(Column(name="made", role="known"), Column(name="cold", role="known"), Column(name="noise")),
)
HORIZON = 5


def sites(levels: tuple[float, ...] = (0.0,), days: int = 400, noise: float = 0.0) -> Panel:
    """Return sites whose targets follow from `made` and `cold`, each on its own level."""
    rng, frames = np.random.default_rng(0), []
    for number, level in enumerate(levels):
        made, cold = rng.normal(100, 10, days), rng.normal(5, 3, days).clip(0)
        frame = {
            "series_id": f"site-{number}",
            "timestamp": pd.date_range("2024-01-01", periods=days, freq="D"),
            "emitted": 10 + level + 0.5 * made + 2 * cold + noise * rng.normal(size=days),
            "used": 3 * made - cold,
            "made": made,
            "cold": cold,
            "noise": rng.normal(size=days),
        }
        frames.append(pd.DataFrame(frame))
    return Panel(pd.concat(frames, ignore_index=True), SCHEMA)


def fitted(panel: Panel, **params: float) -> tuple[DriverRidge, Floats, Floats]:
    """Return a model fitted on the first windows, its forecasts of the last ones, and the truth."""
    model = DriverRidge(window=8, **params)  # type: ignore[arg-type]
    windows = panel.windows(8 + HORIZON)
    early, late = windows[slice(0, 300)], windows[slice(-40, None)]
    model.fit(early, horizon=HORIZON, targets=("emitted", "used"), known=("made", "cold"))
    context, actual = model.split(late)
    return model, model.predict(context), actual


def test_it_finds_what_the_drivers_do() -> None:
    model, point, actual = fitted(sites())
    np.testing.assert_allclose(model.learned()["slopes"], [[0.5, 3.0], [2.0, -1.0]], atol=1e-3)
    np.testing.assert_allclose(point, actual, rtol=1e-4)


def test_noise_is_not_carried_on_but_a_level_is() -> None:
    (_, point, actual), (_, deaf, _) = fitted(sites(noise=1.0)), fitted(sites(noise=1.0), error_alpha=1e6)
    assert np.abs(point - actual)[..., 0].mean() < 1.1 * np.abs(deaf - actual)[..., 0].mean()
    panel = sites(levels=(-30.0, 0.0, 30.0), noise=0.1)
    model = DriverRidge(window=8, error_alpha=1e-6)
    model.fit(panel.windows(8 + HORIZON), horizon=HORIZON, targets=("emitted",), known=("made", "cold"))
    context, actual = model.split(panel.windows(8 + HORIZON))
    assert np.abs(model.predict(context) - actual).mean() < 0.2


def test_only_the_columns_asked_for_are_drivers() -> None:
    panel = sites()
    model = DriverRidge(window=8, ahead=("cold",))
    model.fit(panel.windows(8 + HORIZON), horizon=HORIZON, targets=("emitted",), known=("made", "cold"))
    assert model.known == ("cold",)


def test_without_drivers_it_is_a_regression_on_the_past() -> None:
    panel = sites()
    model = DriverRidge(window=8).fit(panel.windows(8 + HORIZON), horizon=HORIZON, targets=("emitted",))
    assert np.isfinite(model.predict(panel.windows(8))).all()


def test_contributions_add_up_and_name_the_drivers() -> None:
    panel = sites(levels=(-30.0, 0.0, 30.0), noise=1.0)
    model = DriverRidge(window=8)
    model.fit(panel.windows(8 + HORIZON), horizon=HORIZON, targets=("emitted", "used"), known=("made", "cold"))
    context, _ = model.split(panel.windows(8 + HORIZON)[slice(0, 50)])
    told = model.contributions(context)
    assert told.columns == ("emitted", "used", "made", "cold")
    np.testing.assert_allclose(told.point, model.predict(context), rtol=1e-9)
    assert not told.values[:, :, 0, 1].any()  # one target's past says nothing of the other
    made = context.looking_ahead(HORIZON, ("made",)).ahead
    assert made is not None
    moved = made.select(("made",))[..., 0]
    assert np.corrcoef(moved.ravel(), told.values[:, :, 0, 2].ravel())[0, 1] > 0.8


@pytest.mark.parametrize("params", [{"window": 1}, {"alpha": -1}, {"error_alpha": -0.1}])
def test_what_makes_no_sense_is_refused(params: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"'{next(iter(params))}'"):
        DriverRidge(**params)  # type: ignore[arg-type]


def test_it_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole, _ = fitted(sites(levels=(0.0, 5.0)))
    monkeypatch.setattr("training.models.driver_ridge.CHUNK_ROWS", 37)
    monkeypatch.setattr("training.models.driver_ridge.CHUNK_WINDOWS", 11)
    _, chunked, _ = fitted(sites(levels=(0.0, 5.0)))
    assert chunked == pytest.approx(whole, rel=1e-9)
