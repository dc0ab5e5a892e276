"""An alarm model: fitted, kept as an artifact, asked again, on a stream, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ArtifactCorrupt, ConfigError, DataError, InsufficientHistoryError, UnknownNameError
from training.alarms.alarm_model import ALARM_MODELS, AlarmModel
from training.alarms.contribution import Mask, contributions
from training.alarms.series_alarms import panel_of
from training.core.artifact import load_artifact, save_artifact
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.detectors.online import online_params

COLUMNS = (Column(name="kwh", unit="kWh"), Column(name="steam", unit="t/h"), Column(name="flow", unit="m3/h"))
SCHEMA = Schema(name="mill", frequency="h", targets=COLUMNS, season_length=24)
ROWS, LEARNED, CAUSE = 1_200, 900, slice(1_000, 1_004)


def mill(series: str = "a", *, seed: int = 0, cause: str | None = "steam", size: float = 9.0) -> Panel:
    """Three columns with a day's course; one of them leaves it for four hours."""
    rng, hours = np.random.default_rng(seed), np.arange(ROWS)
    frame = pd.DataFrame({ID: series, TIME: pd.date_range("2024-01-01", periods=ROWS, freq="h")})
    for place, column in enumerate(COLUMNS):
        wave = np.sin((hours / 24 + place / 3) * 2 * np.pi)
        frame[column.name] = 50 + 5 * wave + rng.normal(0, 0.7, ROWS)
    if cause:
        frame.loc[CAUSE.start : CAUSE.stop - 1, cause] += size
    return Panel(frame, SCHEMA)


def learned(panel: Panel) -> Panel:
    return panel_of(panel, slice(0, LEARNED))


def fitted(detector: str = "z_score", params: Mapping[str, Any] | None = None, **more: Any) -> AlarmModel:
    return AlarmModel(detector=detector, detector_params=params, **more).fit(learned(mill()))


def test_an_artifact_gives_the_same_events(tmp_path: Path) -> None:
    model, panel = fitted("ensemble", online_params("ensemble")), mill()
    manifest = save_artifact(model, model.schema, tmp_path / "one")
    again, _ = load_artifact(tmp_path / "one", ALARM_MODELS)
    assert (manifest.model, set(manifest.files)) == ("alarm_model", {"state.json", "arrays.npz"})
    ours, theirs = (each.of("a").judge(panel, late=LEARNED) for each in (model, again))
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert [each.to_json() for each in ours.events] == [each.to_json() for each in theirs.events]
    assert again.params() == model.params()
    assert again.schema == SCHEMA
    (tmp_path / "one" / "arrays.npz").write_bytes(b"other")
    with pytest.raises(ArtifactCorrupt, match=r"arrays\.npz is corrupt"):
        load_artifact(tmp_path / "one", ALARM_MODELS)


def test_judging_changes_nothing() -> None:
    series, panel = fitted().of("a"), mill()
    before = json.dumps(series.threshold.state(), default=str)
    first = series.judge(panel, late=LEARNED)
    assert first.alarms
    assert json.dumps(series.threshold.state(), default=str) == before
    assert [each.to_json() for each in series.judge(panel, late=LEARNED).events] == [
        each.to_json() for each in first.events
    ]


@pytest.mark.parametrize("threshold", ["adaptive", "peaks", "sigma", "conformal"])
def test_each_threshold_can_be_asked_for(threshold: str) -> None:
    judged = fitted(threshold=threshold, alarms_per_month=3.0).of("a").judge(mill(), late=LEARNED)
    strange = {row for row, reading in judged.readings.items() if reading.strange}
    assert strange & set(range(CAUSE.start - LEARNED, CAUSE.stop - LEARNED))


def test_a_gap_joins_what_lies_apart() -> None:
    panel = mill()
    panel.frame.loc[1_010:1_013, "steam"] += 9.0
    apart, joined = (fitted(gap_s=gap_s).of("a").judge(panel, late=LEARNED) for gap_s in (3_600.0, 36_000.0))
    assert (len(apart.events), len(joined.events)) == (2, 1)


@pytest.mark.parametrize(
    ("detector", "params"),
    [
        ("z_score", {}),
        ("moving_average", {"window": 48}),
        ("isolation_forest", {}),
        ("sub_pca", {"window": 6}),
        ("kmeans", {"window": 6}),
        ("forecast_residual", {}),
        ("autoencoder", {"window": 6, "hidden": (8, 4), "max_epochs": 3}),
    ],
)
def test_the_planted_cause_is_the_first_factor(detector: str, params: dict[str, Any]) -> None:
    series = fitted(detector, params).of("a")
    for cause in ("kwh", "flow"):
        panel = mill(cause=cause, size=12.0)
        raised = series.contributions(panel, CAUSE)
        assert int(np.argmax(raised)) == SCHEMA.names.index(cause), (cause, raised)
        scores = series.scorer.score(panel).values[CAUSE]
        assert raised.sum() <= np.nanmax(scores) - np.nanmin(series.scorer.score(panel).values)


def test_factors_say_what_raised_the_score() -> None:
    (event,) = fitted().of("a").judge(mill(), late=LEARNED).alarms
    first, *rest = event.factors
    assert first.column == "steam"
    assert first.contribution is not None
    assert first.contribution > 1.0
    assert all(abs(each.contribution or 0.0) < first.contribution / 3 for each in rest)
    assert sum(each.share for each in event.factors) == pytest.approx(1.0)


def additive(mask: Mask) -> float:
    weights = np.arange(1, len(mask) + 1, dtype=float)
    return float(weights[mask].sum())


@pytest.mark.parametrize("columns", [1, 3, 9, 40])
def test_contributions_of_a_sum_are_its_parts(columns: int) -> None:
    np.testing.assert_allclose(contributions(additive, columns), np.arange(1, columns + 1))


def test_contributions_share_what_only_both_bring() -> None:
    found = contributions(lambda mask: float(mask[0] and mask[1]), 3)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.0])


def test_many_columns_sum_to_the_whole() -> None:
    def highest(mask: Mask) -> float:
        return float(np.max(np.where(mask, np.arange(12.0), 0.0)))

    assert contributions(highest, 12).sum() == pytest.approx(11.0)


@pytest.mark.parametrize("detector", ["ensemble", "sub_pca", "moving_average"])
def test_a_stream_says_what_a_table_says(detector: str) -> None:
    model = fitted(detector, online_params(detector))
    series, panel = model.of("a"), mill()
    late = panel_of(panel, slice(LEARNED, ROWS))
    together = series.scorer.score(late).values
    stream = series.scorer.watch()
    rows = late.frame[list(SCHEMA.names)].to_dict("records")
    one_by_one = np.array([stream.update(time, row) for time, row in zip(late.frame[TIME], rows, strict=True)])
    np.testing.assert_allclose(one_by_one, together, rtol=1e-9, atol=1e-9)
    assert stream.rows_kept == series.need - 1


def test_a_detector_that_waits_cannot_judge_a_stream() -> None:
    model = fitted("sub_pca")
    assert not model.online
    with pytest.raises(ConfigError, match="waits for later rows"):
        model.of("a").scorer.watch()
    with pytest.raises(ConfigError, match="'local_outlier_factor' waits for later rows: choose one of"):
        online_params("local_outlier_factor")


def test_series_that_cannot_be_learned_are_told() -> None:
    flat = mill("flat").frame.assign(kwh=1.0, steam=1.0, flow=1.0)
    both = Panel(pd.concat([mill().frame, flat], ignore_index=True), SCHEMA)
    model = AlarmModel(detector="z_score").fit(both)
    assert model.series == ("a",)
    assert "never changes" in model.errors["flat"]
    with pytest.raises(UnknownNameError, match=r"unknown series 'flat'\. Known: a"):
        model.of("flat")
    with pytest.raises(DataError, match="never changes"):
        AlarmModel(detector="z_score").fit(Panel(flat, SCHEMA))


def test_a_window_that_is_too_short_is_told() -> None:
    series = fitted("sub_pca", {"window": 24}).of("a")
    with pytest.raises(InsufficientHistoryError, match="got 5 rows, expected at least 24"):
        series.judge(panel_of(mill(), slice(0, 5)))
