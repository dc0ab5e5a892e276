"""What a trial sees and measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, TrainingDiverged
from training.core.metrics import wape
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import Split, chronological_split
from tuning.crew import Assignment
from tuning.folds import FoldsSpec
from tuning.objective import ForecastWork, Material

HORIZON = 4


def _panel(values: np.ndarray | None = None) -> Panel:
    hours = np.arange(600)
    y = 10 + np.sin(hours / 24 * 2 * np.pi) if values is None else values
    times = pd.date_range("2024-01-01", periods=len(y), freq="h")
    frame = pd.DataFrame({"series_id": "a", "timestamp": times, "y": y})
    return Panel(frame, Schema(name="s", frequency="h", targets=(Column(name="y"),), season_length=24))


def _material(panel: Panel, split: Split) -> Material:
    features = ({"name": "lags", "params": {"steps": [1, 7], "columns": ["y"]}},)
    (fold,) = FoldsSpec().of(panel, split)
    return Material.prepare(panel, fold, features=features, horizon=HORIZON)


def _nobody(step: int, value: float, *, fold: bool = False, state: object = None) -> None:
    """Hear nothing."""


def _metrics(name: str, params: dict[str, object], material: Material, *metrics: str) -> Mapping[str, float]:
    work = ForecastWork(materials=(material,), metrics=metrics)
    return work(Assignment(number=0, model=name, params=params), _nobody)


def _score(name: str, params: dict[str, object], material: Material) -> float:
    return _metrics(name, params, material)["wape"]


def test_training_ends_before_the_validation_part_and_the_judges_part_is_never_seen() -> None:
    panel = _panel()
    split = chronological_split(panel)
    material = _material(panel, split)
    train, validation = material.parts(context=24)
    assert train.length == validation.length == 24 + HORIZON
    assert np.isfinite(train.values).all()
    assert train.timestamps.max() < split.validation_start.to_datetime64()
    future = validation.tail(HORIZON).timestamps
    assert future.min() == split.validation_start.to_datetime64()
    assert future.max() < split.calibration_start.to_datetime64()


def test_all_models_are_scored_on_the_same_forecasts() -> None:
    panel = _panel()
    material = _material(panel, chronological_split(panel))
    short, long = (material.parts(context)[1] for context in (2, 100))
    assert np.array_equal(short.last_times, long.last_times)


def test_the_score_is_the_wape_on_the_validation_part() -> None:
    panel = _panel(np.random.default_rng(0).normal(10, 1, 600))
    material = _material(panel, chronological_split(panel))
    found = _score("seasonal_naive", {"season": 24}, material)
    validation = material.parts(context=24)[1].select(("y",))
    assert found == pytest.approx(wape(validation[:, 24:], validation[:, :HORIZON]))


class Heard:
    """Keeps reports."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, float, bool]] = []
        self.states: list[object] = []

    def __call__(self, step: int, value: float, *, fold: bool = False, state: object = None) -> None:
        self.reports.append((step, value, fold))
        self.states.append(state)


def test_a_boosting_loop_reports_its_steps() -> None:
    panel, heard = _panel(), Heard()
    work = ForecastWork(materials=(_material(panel, chronological_split(panel)),))
    work(Assignment(number=0, model="xgboost", params={"rounds": 20, "window": 12}), heard)
    assert [(step, fold) for step, _, fold in heard.reports] == [(10, False), (20, False)]
    assert heard.states == [None, None]


def test_a_training_goes_on_from_another_ones_state() -> None:
    panel, heard, more = _panel(), Heard(), Heard()
    material = _material(panel, chronological_split(panel))
    params = {"window": 12, "hidden": [4], "dense": 4, "max_epochs": 3, "stride": 8, "precision": "float32"}
    work = ForecastWork(materials=(material,), keep_state=True)
    work(Assignment(number=0, model="lstm", params=params), heard)
    other = {**params, "learning_rate": 5e-4}
    work(Assignment(number=1, model="lstm", params=other, state=heard.states[1]), more)
    assert [step for step, _, _ in heard.reports] == [1, 2, 3]
    assert [step for step, _, _ in more.reports] == [3]


@pytest.mark.parametrize("window", ["expanding", "sliding"])
def test_folds_go_forward_in_time_and_are_reported(window: str) -> None:
    panel = _panel(np.random.default_rng(0).normal(10, 1, 600))
    split = chronological_split(panel)
    folds = FoldsSpec(count=3, window=window).of(panel, split)
    assert [fold.validation_end for fold in folds[:-1]] == [fold.validation_start for fold in folds[1:]]
    assert (folds[-1].validation_start, folds[-1].validation_end) == (
        split.validation_start,
        split.calibration_start,
    )
    materials = tuple(Material.prepare(panel, fold, features=(), horizon=HORIZON) for fold in folds)
    trained = [material.parts(24)[0] for material in materials]
    for fold, train in zip(folds, trained, strict=True):
        assert train.timestamps.max() < fold.validation_start.to_datetime64()
    sizes = {len(train) for train in trained}
    assert len(sizes) == (3 if window == "expanding" else 2)  # the first rows of a series are history alone
    heard = Heard()
    found = ForecastWork(materials=materials)(
        Assignment(number=0, model="seasonal_naive", params={"season": 24}), heard
    )
    assert [(step, fold) for step, _, fold in heard.reports] == [(1, True), (2, True), (3, True)]
    assert heard.reports[-1][1] == found["wape"]


def test_too_many_folds_are_refused_with_how_many_fit() -> None:
    panel = _panel()
    with pytest.raises(ConfigError, match="folds: got 40 of 44 rows, expected at most 9"):
        FoldsSpec(count=40).of(panel, chronological_split(panel))
    FoldsSpec(count=9).of(panel, chronological_split(panel))
    with pytest.raises(ConfigError, match="'fold_window': got 'rolling', expected one of expanding, sliding"):
        FoldsSpec(window="rolling")


def test_latency_and_size_are_measured_where_they_are_asked_for() -> None:
    panel = _panel(np.random.default_rng(0).normal(10, 1, 600))
    material = _material(panel, chronological_split(panel))
    assert set(_metrics("ridge", {"window": 12}, material)) == {"wape"}
    small, large = (
        _metrics("ridge", {"window": window}, material, "latency_p99_ms", "size_bytes") for window in (4, 48)
    )
    assert 0 < small["latency_p99_ms"] < 1000
    assert small["size_bytes"] < large["size_bytes"]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ridge", {"window": 12}),
        ("lightgbm", {"window": 12, "seasons": (), "rounds": 100}),
        ("xgboost", {"window": 12, "rounds": 200, "learning_rate": 0.1, "depth": 2}),
        ("lstm", {"window": 12, "hidden": [8], "dense": 8, "max_epochs": 10, "learning_rate": 1e-2, "stride": 1}),
    ],
    ids=["ridge", "lightgbm", "xgboost", "lstm"],
)
def test_a_trial_reads_what_is_known_ahead(name: str, params: dict[str, object]) -> None:
    """y follows an unpredictable driver: a trial that is told it ahead errs far less than one that is not."""
    rng = np.random.default_rng(0)
    driver = rng.normal(0, 1, 600)
    panel = _panel(10 + driver + rng.normal(0, 0.05, 600))
    schema = replace(panel.schema, covariates=(Column(name="driver"),))
    panel = Panel(panel.frame.assign(driver=driver), schema)
    errors = []
    for known in ((), ("driver",)):
        told = panel.with_roles(known=known)
        errors.append(_score(name, params, _material(told, chronological_split(told))))
    blind, told_error = errors
    assert told_error < 0.25 * blind


def test_a_score_that_is_no_number_is_an_error() -> None:
    panel = _panel(np.zeros(600))
    with pytest.raises(TrainingDiverged, match="got a WAPE of"), np.errstate(invalid="ignore"):
        _score("ridge", {"window": 12}, _material(panel, chronological_split(panel)))
