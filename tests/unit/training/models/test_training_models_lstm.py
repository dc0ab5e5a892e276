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
from training.models.lstm import LOSSES, LSTM
from training.models.lstm_network import build_network

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


# -- options -----------------------------------------------------------------------------------------------------

MODERN: dict[str, Any] = {"anchor": "last", "rescale": True, "shared": True, "segment": 4, "skip": True}


def test_modern_options_learn_waves_better_than_the_last_value() -> None:
    context, future = parts(waves())[2].split(HORIZON)
    actual = future.select(("co2", "nox"))
    predicted = fitted(**MODERN, max_epochs=12).predict(context)
    naive = np.abs(context.tail(1).select(("co2", "nox")) - actual).mean(axis=(0, 1))
    assert (np.abs(predicted - actual).mean(axis=(0, 1)) < 0.6 * naive).all()


@pytest.mark.parametrize("shared", [True, False])
def test_rescaled_forecast_moves_with_level_and_spread(shared: bool) -> None:
    model = fitted(**{**MODERN, "shared": shared}, channels=("co2", "nox"))
    context = parts(waves())[2].split(HORIZON)[0]
    grown = replace(context, rows=context.rows * np.array([3.0, 3.0, 1.0]) + np.array([100.0, -3.0, 0.0]))
    expected = model.predict(context) * 3 + np.array([100.0, -3.0])
    np.testing.assert_allclose(model.predict(grown), expected, rtol=2e-3)


def test_window_that_stands_still_is_forecast_to_stand_still() -> None:
    model = fitted(**MODERN)
    context = parts(waves())[2].split(HORIZON)[0][slice(0, 3)]
    still = replace(context, rows=np.full_like(context.rows, 7.5))
    np.testing.assert_allclose(model.predict(still), 7.5, atol=0.05)


def test_shared_target_does_not_see_the_other_targets() -> None:
    context = parts(waves())[2].split(HORIZON)[0]
    other = replace(context, rows=context.rows * np.array([1.0, -2.0, 1.0]))
    apart, together = fitted(**MODERN, max_epochs=1), fitted(max_epochs=1)
    np.testing.assert_array_equal(apart.predict(other)[..., 0], apart.predict(context)[..., 0])
    assert np.abs(together.predict(other)[..., 0] - together.predict(context)[..., 0]).max() > 1e-3


def test_shared_network_reads_channels_that_are_no_targets() -> None:
    context = parts(waves())[2].split(HORIZON)[0]
    other = replace(context, rows=context.rows + np.array([0.0, 0.0, 5.0]))
    reads, leaves = fitted(**MODERN, max_epochs=1), fitted(**MODERN, max_epochs=1, channels=("co2", "nox"))
    assert not np.array_equal(reads.predict(other), reads.predict(context))
    np.testing.assert_array_equal(leaves.predict(other), leaves.predict(context))


def test_skip_starts_from_nothing_and_alone_is_linear() -> None:
    spec = fitted(**MODERN, max_epochs=1)._network_spec()
    network = build_network(spec, torch.Generator().manual_seed(0))
    assert network.skip is not None
    assert not network.skip.any()
    torch.nn.init.zeros_(network.out.weight)
    torch.nn.init.zeros_(network.out.bias)
    torch.nn.init.normal_(network.skip, generator=torch.Generator().manual_seed(1))
    rows = torch.randn(5, 12, 3, generator=torch.Generator().manual_seed(2))
    got = network(rows, torch.empty(5, HORIZON, 0))[..., 0]
    past = rows[..., 0] - rows[:, -1:, 0]
    torch.testing.assert_close(got, past @ network.skip.T + rows[:, -1:, 0], rtol=1e-2, atol=1e-2)


def test_absolute_loss_forecasts_the_median() -> None:
    """One value in five is far off: the mean of what follows is 2, the median 0."""
    random = np.random.default_rng(3)
    frame = waves(500).frame
    frame["co2"] = np.where(random.random(len(frame)) < 0.2, 10.0, 0.0)
    panel = Panel(frame, waves(500).schema)
    options: dict[str, Any] = {"anchor": "none", "channels": ("load",), "max_epochs": 8, "learning_rate": 2e-2}
    context = parts(panel)[2].split(HORIZON)[0]
    middle = {loss: fitted(panel, loss=loss, **options).predict(context)[..., 0].mean() for loss in LOSSES}
    assert abs(middle["absolute"]) < 0.7 < 1.3 < middle["squared"] < 2.7


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_known_ahead_is_used_step_by_step(shared: bool) -> None:
    """The target follows a switch that only the future shows."""
    random = np.random.default_rng(1)
    frame = waves().frame
    frame["load"] = random.integers(0, 2, len(frame)).astype(float)
    frame["co2"] = 10 * frame["load"] + random.normal(scale=0.3, size=len(frame))
    panel = Panel(frame, waves().schema)
    train, validation, test = parts(panel)
    model = LSTM(**SMALL | {"shared": shared, "max_epochs": 12, "learning_rate": 2e-2, "anchor": "none"})
    model.fit(train, horizon=HORIZON, targets=("co2",), known=("load",), validation=validation)
    context, actual = model.split(test)
    assert np.abs(model.predict(context) - actual).mean() < 1.0
    context, future = test.split(HORIZON, ("load",))
    flipped = replace(future.only(("load",)), rows=1 - future.only(("load",)).rows)
    swing = model.predict(replace(context, ahead=flipped)) - model.predict(context)
    assert (np.sign(swing[..., 0]) == np.sign(0.5 - future.select(("load",))[..., 0])).mean() > 0.99


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": 30, "segment": 7}, "divisor of the window, 30"),
        ({"segment": 31}, "at most 30"),
        ({"anchor": "none", "rescale": True}, "with it"),
        ({"shared": "no"}, "True or False"),
        ({"loss": "log"}, "expected one of squared, absolute, huber"),
    ],
)
def test_options_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LSTM(**changed)


# -- Monte-Carlo dropout -------------------------------------------------------------------------------------------


def contexts() -> Windows:
    return parts(waves())[2].split(HORIZON)[0][slice(0, 20)]


@pytest.fixture(scope="module")
def dropping() -> LSTM:
    torch.set_num_threads(1)
    return fitted(dropout=0.3, max_epochs=6)


def test_samples_are_reproducible_and_differ_by_seed_and_draw(dropping: LSTM) -> None:
    draws = dropping.samples(contexts(), count=8, seed=4)
    assert draws.shape == (8, 20, HORIZON, 2)
    np.testing.assert_array_equal(dropping.samples(contexts(), count=8, seed=4), draws)
    assert not np.isclose(dropping.samples(contexts(), count=8, seed=5), draws).all(axis=(1, 2, 3)).any()
    assert not np.isclose(draws[1:], draws[:-1]).all(axis=(1, 2, 3)).any()


def test_samples_of_a_window_do_not_depend_on_the_others(dropping: LSTM, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dropping.samples(contexts(), count=6)
    few = dropping.samples(contexts()[slice(5, 9)], count=3)
    np.testing.assert_allclose(few, whole[:3, 5:9], rtol=1e-5)
    monkeypatch.setattr("training.models.lstm.CHUNK_WINDOWS", 7)
    np.testing.assert_allclose(dropping.samples(contexts(), count=6), whole, rtol=1e-5)


def test_samples_surround_the_point_and_spread_is_their_deviation(dropping: LSTM) -> None:
    draws, point = dropping.samples(contexts(), count=200), dropping.predict(contexts())
    spread = dropping.spread(contexts(), count=200)
    np.testing.assert_allclose(spread, draws.std(axis=0, ddof=1), rtol=1e-3, atol=1e-6)
    assert (spread > 0).all()
    assert (np.abs(draws.mean(axis=0) - point) < spread).all()


def test_spread_grows_with_dropout() -> None:
    """The same weights, thinned more and more."""
    state = fitted(dropout=0.1, max_epochs=4).state()
    spreads = []
    for dropout in (0.05, 0.2, 0.5):
        model = LSTM(**SMALL | {"dropout": dropout, "max_epochs": 4})
        model.restore(state)
        spreads.append(model.spread(contexts(), count=60).mean())
    assert spreads[0] < spreads[1] < spreads[2]


def test_samples_leave_the_network_and_random_numbers_alone(dropping: LSTM) -> None:
    before = dropping.predict(contexts())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    dropping.samples(contexts(), count=2)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    np.testing.assert_array_equal(dropping.predict(contexts()), before)


def test_samples_need_dropout_and_draws(dropping: LSTM) -> None:
    with pytest.raises(ConfigError, match="fit with dropout"):
        fitted(dropout=0.0, max_epochs=1).samples(contexts())
    with pytest.raises(ConfigError, match="count"):
        dropping.samples(contexts(), count=0)
    with pytest.raises(ConfigError, match="count"):
        dropping.spread(contexts(), count=1)
