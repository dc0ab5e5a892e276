"""What a trial sees and measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cluster.errors import TrainingDiverged
from training.core.metrics import wape
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import Split, chronological_split
from tuning.objective import Material, score

HORIZON = 4


def _panel(values: np.ndarray | None = None) -> Panel:
    hours = np.arange(600)
    y = 10 + np.sin(hours / 24 * 2 * np.pi) if values is None else values
    times = pd.date_range("2024-01-01", periods=len(y), freq="h")
    frame = pd.DataFrame({"series_id": "a", "timestamp": times, "y": y})
    return Panel(frame, Schema(name="s", frequency="h", targets=(Column(name="y"),), season_length=24))


def _material(panel: Panel, split: Split) -> Material:
    features = ({"name": "lags", "params": {"steps": [1, 7], "columns": ["y"]}},)
    return Material.prepare(panel, split, features=features, horizon=HORIZON)


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
    found = score("seasonal_naive", {"season": 24}, material, lambda step, loss: None)
    validation = material.parts(context=24)[1].select(("y",))
    assert found == pytest.approx(wape(validation[:, 24:], validation[:, :HORIZON]))


def test_a_boosting_loop_reports_its_steps() -> None:
    panel = _panel()
    steps: list[int] = []
    params = {"rounds": 20, "window": 12}
    score("xgboost", params, _material(panel, chronological_split(panel)), lambda step, loss: steps.append(step))
    assert steps == [10, 20]


@pytest.mark.parametrize(
    ("name", "params"),
    [("ridge", {"window": 12}), ("lightgbm", {"window": 12, "seasons": (), "rounds": 100})],
    ids=["ridge", "lightgbm"],
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
        errors.append(score(name, params, _material(told, chronological_split(told)), lambda step, loss: None))
    blind, told_error = errors
    assert told_error < 0.25 * blind


def test_a_score_that_is_no_number_is_an_error() -> None:
    panel = _panel(np.zeros(600))
    with pytest.raises(TrainingDiverged, match="got a WAPE of"), np.errstate(invalid="ignore"):
        score("ridge", {"window": 12}, _material(panel, chronological_split(panel)), lambda step, loss: None)
