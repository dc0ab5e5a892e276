"""The LSTM as a Forecaster: learns, keeps its promises about scaling, seeds and state."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cluster.errors import ConfigError, TrainingDiverged, UnknownNameError
from training.core.artifact import from_bytes, to_bytes
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Floats, Windows
from training.models.lstm import LSTM

SMALL: dict[str, Any] = {
    "window": 12,
    "hidden": (8, 6),
    "dense": 8,
    "max_epochs": 4,
    "learning_rate": 5e-3,
    "batch_size": 32,
    "stride": 1,
    "precision": "float32",
}
HORIZON = 3


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def waves(rows: int = 500) -> Panel:
    """Two plants with two targets and a covariate."""
    random = np.random.default_rng(0)
    frames = []
    for name, phase in (("north", 0.0), ("south", 1.0)):
        step = np.arange(rows) / 4 + phase
        frames.append(
            pd.DataFrame(
                {
                    "series_id": name,
                    "timestamp": pd.date_range("2024-01-01", periods=rows, freq="h"),
                    "co2": 50 + 5 * np.sin(step) + random.normal(scale=0.3, size=rows),
                    "nox": 8 + np.cos(step) + random.normal(scale=0.1, size=rows),
                    "load": random.normal(size=rows),
                }
            )
        )
    schema = Schema(
        name="waves",
        frequency="h",
        targets=(Column(name="co2"), Column(name="nox")),
        covariates=(Column(name="load"),),
        season_length=25,
    )
    return Panel(pd.concat(frames, ignore_index=True), schema)


def parts(panel: Panel) -> tuple[Windows, Windows, Windows]:
    """Train, validation, test windows of one panel, by time."""
    windows = panel.windows(12 + HORIZON)
    times = panel.table.times
    first, second = times[350], times[420]
    return (
        windows.ahead_within(HORIZON, until=first),
        windows.ahead_within(HORIZON, since=first, until=second),
        windows.ahead_within(HORIZON, since=second),
    )


def fitted(panel: Panel | None = None, **changed: Any) -> LSTM:
    train, validation, _ = parts(panel or waves())
    model = LSTM(**{**SMALL, **changed})
    return model.fit(train, horizon=HORIZON, targets=("co2", "nox"), validation=validation)


def forecasts(model: LSTM) -> Floats:
    return model.predict(parts(waves())[2].split(HORIZON)[0])


def test_learns_waves_better_than_the_last_value() -> None:
    context, future = parts(waves())[2].split(HORIZON)
    actual = future.select(("co2", "nox"))
    predicted = fitted(max_epochs=12).predict(context)
    assert predicted.shape == actual.shape == (len(context), HORIZON, 2)
    naive = np.abs(context.tail(1).select(("co2", "nox")) - actual).mean(axis=(0, 1))
    assert (np.abs(predicted - actual).mean(axis=(0, 1)) < 0.6 * naive).all()


@pytest.mark.parametrize("anchor", ["none", "last", "mean"])
def test_state_survives_bytes(anchor: str) -> None:
    model = fitted(anchor=anchor, max_epochs=1)
    twin = LSTM(**model.params())
    twin.restore(from_bytes(to_bytes(model.state())))
    np.testing.assert_array_equal(forecasts(twin), forecasts(model))


def test_kept_weights_have_the_validation_loss_that_was_told() -> None:
    model = fitted(max_epochs=6)
    context, future = parts(waves())[1].split(HORIZON)
    scale = model.learned()["scale"][:2]
    error = (model.predict(context) - future.select(("co2", "nox"))) / scale
    assert np.square(error).mean() == pytest.approx(model.learned()["validation_loss"], rel=1e-4)


def test_same_seed_same_result_in_another_process() -> None:
    source = (
        "import importlib.util, sys, torch\n"
        "spec = importlib.util.spec_from_file_location('here', sys.argv[1])\n"
        "here = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(here)\n"
        "torch.set_num_threads(1)\n"
        "sys.stdout.write(here.forecasts(here.fitted()).tobytes().hex())\n"
    )
    told = subprocess.run([sys.executable, "-c", source, __file__], capture_output=True, text=True, check=True)
    here = forecasts(fitted())
    np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(told.stdout)).reshape(here.shape), here)
    assert not np.array_equal(forecasts(fitted(seed=1)), here)


def test_scaling_knows_the_training_rows_only() -> None:
    panel = waves()
    frame = panel.frame.copy()
    later = frame["timestamp"] >= frame["timestamp"].iloc[350]
    frame.loc[later, ["co2", "nox", "load"]] *= 7
    changed = Panel(frame, panel.schema)
    for key in ("mean", "scale"):
        np.testing.assert_array_equal(fitted(changed).learned()[key], fitted(panel).learned()[key])


@pytest.mark.parametrize("anchor", ["last", "mean"])
def test_anchored_forecast_moves_with_the_level(anchor: str) -> None:
    model = fitted(anchor=anchor)
    context = parts(waves())[2].split(HORIZON)[0]
    lifted = replace(context, rows=context.rows + np.array([100.0, -3.0, 0.0]))
    expected = model.predict(context) + np.array([100.0, -3.0])
    np.testing.assert_allclose(model.predict(lifted), expected, rtol=1e-4)


def test_targets_that_are_not_read_are_forecast() -> None:
    model = fitted(channels=("load",), anchor="last", max_epochs=1)
    assert forecasts(model).shape[1:] == (HORIZON, 2)


def test_chunks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(max_epochs=1)
    context = parts(waves())[2].split(HORIZON)[0]
    whole = model.predict(context)
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: model.predict(context), range(8)):
            np.testing.assert_array_equal(answer, whole)
    monkeypatch.setattr("training.models.lstm.CHUNK_WINDOWS", 7)
    np.testing.assert_allclose(model.predict(context), whole, rtol=1e-6)


def test_constant_column_does_no_harm() -> None:
    panel = waves()
    still = Panel(panel.frame.assign(load=4.0), panel.schema)
    assert np.isfinite(fitted(still, max_epochs=1).learned()["weights"]["out.bias"]).all()


def test_divergence_names_the_knob() -> None:
    with pytest.raises(TrainingDiverged, match="lower learning_rate"):
        fitted(learning_rate=1e30)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"anchor": "median"}, "expected one of none, last, mean"),
        ({"precision": "int8"}, "expected one of auto, float32, bfloat16"),
        ({"hidden": ()}, "'hidden'"),
        ({"channels": ()}, "'channels'"),
        ({"dropout": 0.95}, "at most 0.9"),
        ({"learning_rate": 0.0}, "above 0"),
    ],
)
def test_parameters_out_of_range_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LSTM(**changed)


def test_unknown_channel_is_named() -> None:
    with pytest.raises(UnknownNameError, match="so2"):
        fitted(channels=("so2",))


def test_parameters_alone_load_no_torch() -> None:
    source = "import sys; import training.models.lstm as m; m.LSTM.search_space(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
