"""Intervals of a forecaster: scaled, possible, and following what is observed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import NotFittedError
from training.core.adaptive import AdaptiveIntervals, SeriesIntervals, unknown_ahead
from training.core.artifact import load_artifact, save_artifact
from training.core.candidate import HORIZON, SCHEMA, Candidate
from training.core.estimator import Forecaster
from training.core.intervals import LEAST_SCALE, ConformalIntervals, bounds_of, restlessness
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import TIME
from training.models import MODELS

CANDIDATE = Candidate(MODELS, "seasonal_naive")
PANEL, SPLIT = CANDIDATE.panel, CANDIDATE.split
LEVELS = (0.025, 0.5, 0.975)


def observed(model: Forecaster, panel: Panel) -> Forecaster:
    return model.observe(panel.windows(model.context + HORIZON).ahead_within(HORIZON, since=SPLIT.test_start))


def width(model: Forecaster) -> float:
    values = model.forecast(PANEL, levels=LEVELS).values
    return float((values[..., -1] - values[..., 0]).mean())


def test_a_restless_window_gets_a_wider_interval() -> None:
    errors, restless = np.linspace(-1, 1, 99)[:, None, None], np.ones((99, 1))
    intervals = ConformalIntervals.fit(errors, np.zeros_like(errors), restless)
    low, high = intervals.quantiles(np.zeros((3, 1, 1)), np.array([0.05, 0.95]), np.array([[0.0], [1.0], [3.0]])).T
    assert (high - low).reshape(-1) / (high - low).reshape(-1)[1] == pytest.approx([LEAST_SCALE, 1, 2])


def test_where_nothing_ever_moved_nothing_is_scaled() -> None:
    intervals = ConformalIntervals.fit(np.ones((9, 1, 1)), np.zeros((9, 1, 1)), np.zeros((9, 1)))
    assert intervals.scale(np.array([[0.0], [5.0], [np.inf]])).reshape(-1).tolist() == [1, 1, 1]


def test_restlessness_is_the_spread_of_the_known_values() -> None:
    windows = PANEL.windows(24)
    expected = windows.select(("used",)).std(axis=1)
    assert restlessness(windows, ("used",)) == pytest.approx(expected)
    holed = PANEL.frame.assign(used=PANEL.frame["used"].where(PANEL.frame.index % 3 > 0))
    assert np.isfinite(restlessness(Panel(holed, SCHEMA).windows(24), ("used",))).all()


def test_quantiles_stay_possible() -> None:
    schema = Schema(name="s", frequency="h", targets=(Column(name="a", low=0), Column(name="b", low=-2, high=2)))
    low, high = bounds_of(schema, ("b", "a"))
    errors = np.linspace(-9, 9, 99)[:, None, None] * np.ones((1, 1, 2))
    intervals = ConformalIntervals.fit(errors, np.zeros_like(errors), low=low, high=high)
    values = intervals.quantiles(np.zeros((1, 1, 2)), np.array([0.01, 0.5, 0.99]))[0, 0]
    assert values[0].tolist() == [-2, 0, 2]
    assert values[1, 0] == 0
    assert values[1, 2] > 8


def test_a_model_fitted_on_a_panel_keeps_to_its_schema() -> None:
    columns = [
        Column(name=c.name, unit=c.unit, low=0, high=55 if c.name == "emitted" else None) for c in SCHEMA.targets
    ]
    frame = PANEL.frame.assign(emitted=PANEL.frame["emitted"].clip(upper=55))
    panel = Panel(frame, Schema(name="s", frequency="h", targets=tuple(columns), covariates=SCHEMA.covariates))
    values = CANDIDATE.make().fit_panel(panel, horizon=HORIZON, split=SPLIT).forecast(panel, levels=LEVELS).values
    assert values[:, :, 0].max() <= 55


def test_observed_errors_widen_and_narrow_the_intervals() -> None:
    noisy = PANEL.frame.copy()
    late = noisy[TIME] >= SPLIT.test_start
    rng = np.random.default_rng(0)
    for name in ("emitted", "used"):
        noisy.loc[late, name] += rng.normal(0, 40, int(late.sum()))
    before = width(CANDIDATE.model)
    assert width(observed(CANDIDATE.fit(PANEL), Panel(noisy, SCHEMA))) > 1.3 * before


def test_observing_twice_learns_once_and_in_two_goes_the_same() -> None:
    once = observed(CANDIDATE.fit(PANEL), PANEL)
    parts = CANDIDATE.fit(PANEL)
    windows = PANEL.windows(parts.context + HORIZON).ahead_within(HORIZON, since=SPLIT.test_start)
    early = PANEL.before(SPLIT.test_start + np.timedelta64(30, "h"))
    observed(parts, early)
    parts.observe(windows).observe(windows)
    expected, got = once.forecast(PANEL, levels=LEVELS), parts.forecast(PANEL, levels=LEVELS)
    assert got.values == pytest.approx(expected.values)
    assert got.confidence == pytest.approx(expected.confidence)


def test_unknown_truth_is_not_learned_from_and_the_newest_row_is() -> None:
    model, complete = CANDIDATE.fit(PANEL), observed(CANDIDATE.fit(PANEL), PANEL)
    continued = unknown_ahead(PANEL, HORIZON)
    assert len(continued) == len(PANEL) + 3 * HORIZON
    observed(model, continued)
    now, later = model.forecast(PANEL, levels=LEVELS).values, complete.forecast(PANEL, levels=LEVELS).values
    assert np.isfinite(now).all()
    assert not np.allclose(now, later)  # it has learned from the last rows' short steps too


def test_what_is_known_ahead_is_kept() -> None:
    panel = PANEL.with_roles(known=("load",))
    times = panel.last(1).future_times(2)
    future = pd.DataFrame(
        {"series_id": np.repeat(panel.series, 2), TIME: times.reshape(-1), "load": np.arange(6.0)}
    )
    added = unknown_ahead(panel, 2, future).frame.groupby("series_id", sort=False).tail(2)
    assert added["load"].tolist() == list(np.arange(6.0))
    assert added["used"].isna().all()
    assert added[TIME].tolist() == future[TIME].tolist()


def test_an_artifact_remembers_what_was_observed(tmp_path: object) -> None:
    from pathlib import Path

    model = observed(CANDIDATE.fit(PANEL), PANEL)
    folder = Path(str(tmp_path)) / "artifact"
    save_artifact(model, SCHEMA, folder)
    loaded, _ = load_artifact(folder, MODELS)
    before, after = model.forecast(PANEL, levels=LEVELS), loaded.forecast(PANEL, levels=LEVELS)
    assert np.array_equal(before.values, after.values)
    assert np.array_equal(before.confidence, after.confidence)


def test_series_never_observed_keep_the_calibrated_intervals() -> None:
    base = CANDIDATE.model.intervals
    point, restless = np.full((1, HORIZON, 2), 50.0), np.ones((1, 2))
    values, _ = SeriesIntervals(base).quantiles(("new",), point, np.array(LEVELS), restless)
    assert np.array_equal(values, base.quantiles(point, np.array(LEVELS), restless))


def test_a_series_that_stood_still_while_calibrating_still_learns() -> None:
    base = ConformalIntervals.fit(np.zeros((50, 1, 1)), np.zeros((50, 1, 1)))
    adaptive = AdaptiveIntervals(base)
    for error in np.tile([-1.0, 1.0], 300):
        adaptive.learn(np.array([[error]]))
    low, high = adaptive.offsets(np.array([0.025, 0.975]))[0, 0]
    assert low <= -0.9
    assert high >= 0.9


def test_observing_needs_calibrated_intervals() -> None:
    model = CANDIDATE.make()
    windows = PANEL.windows(model.context + HORIZON)
    model.fit(windows, horizon=HORIZON, targets=SCHEMA.target_names)
    with pytest.raises(NotFittedError, match="calibrate"):
        model.observe(windows)
