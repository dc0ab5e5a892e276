"""The training loop in one process: resumed to the last bit, stopped in time, honest about NaN."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cluster.errors import ConfigError, TrainingDiverged
from training.core.component import State
from training.core.runner import Run
from training.distributed.checkpoints import CheckpointFolder
from training.distributed.local import LocalRunner
from training.distributed.loop import LOSSES, Masks, use_bfloat16
from training.models.lstm import train_lstm
from training.models.lstm_network import drop

Job = dict[str, Any]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def tiny_job(**changed: Any) -> Job:
    """A noisy sine wave, 5 steps back, 2 ahead."""
    random = np.random.default_rng(0)
    wave = np.sin(np.arange(400) / 6) + random.normal(scale=0.1, size=400)
    network = {"inputs": [0], "targets": [0], "known": 0, "window": 5, "horizon": 2, "hidden": [6, 4], "dense": 4}
    network |= {"dropout": 0.2, "anchor": "none", "rescale": False, "shared": False, "segment": 1, "skip": False}
    job: Job = {
        "table": wave[:, None].astype(np.float32),
        "train": np.arange(280),
        "validation": np.arange(300, 390),
        "context": 5,
        "horizon": 2,
        "targets": [0],
        "known": [],
        "network": network,
        "loss": "squared",
        "precision": "float32",
        "patience": 10,
        "batch_size": 32,
        "stride": 2,
        "max_epochs": 5,
        "learning_rate": 5e-3,
        "seed": 1,
    }
    return {**job, **changed}


def assert_same(got: State, expected: State) -> None:
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same(got[key], value)
        else:
            np.testing.assert_array_equal(got[key], value, err_msg=key)


class KilledError(Exception):
    pass


def test_resumed_run_equals_an_uninterrupted_one_to_the_last_bit(tmp_path: Path) -> None:
    whole = LocalRunner().run(train_lstm, tiny_job(), backend="torch")

    def die_after_two(step: int, metrics: Mapping[str, float]) -> None:
        if step == 2:
            raise KilledError

    told: list[int] = []
    with pytest.raises(KilledError):
        LocalRunner(die_after_two, CheckpointFolder(tmp_path)).run(train_lstm, tiny_job(), backend="torch")
    second = LocalRunner(lambda step, metrics: told.append(step), CheckpointFolder(tmp_path))
    resumed = second.run(train_lstm, tiny_job(), backend="torch")
    assert told == [3, 4, 5]
    assert_same(resumed, whole)


def test_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = LocalRunner(checkpoints=CheckpointFolder(tmp_path)).run(train_lstm, tiny_job(), backend="torch")
    told: list[int] = []
    runner = LocalRunner(lambda step, metrics: told.append(step), CheckpointFolder(tmp_path))
    again = runner.run(train_lstm, tiny_job(), backend="torch")
    assert told == []
    assert_same(again, first)
    runner.run(train_lstm, tiny_job(seed=2), backend="torch")
    assert told == [1, 2, 3, 4, 5]


def test_losses_are_told_and_fall() -> None:
    told: list[Mapping[str, float]] = []
    job = tiny_job(max_epochs=12, learning_rate=3e-2)
    state = LocalRunner(lambda step, metrics: told.append(metrics)).run(train_lstm, job, backend="torch")
    assert [metrics["validation_loss"] for metrics in told] == state["validation_losses"].tolist()
    assert state["validation_losses"][-1] < 0.5 * state["validation_losses"][0]
    assert state["validation_loss"] == state["validation_losses"].min()


def test_stops_after_patience_and_keeps_the_best_weights() -> None:
    """What is learned from a rising ramp makes forecasts of a falling one worse and worse."""
    ramp = np.concatenate([np.arange(200.0), 200 - np.arange(200.0)])[:, None].astype(np.float32) / 100
    job = tiny_job(table=ramp, train=np.arange(150), validation=np.arange(250, 350), max_epochs=30, patience=3)
    job["network"] = {**job["network"], "anchor": "last", "dropout": 0.0}
    state = LocalRunner().run(train_lstm, job, backend="torch")
    assert state["epochs"] == state["best_epoch"] + 3 < 30
    assert state["validation_loss"] == state["validation_losses"].min() < state["validation_losses"][-1]
    fewer = LocalRunner().run(train_lstm, {**job, "patience": 1}, backend="torch")
    assert_same(fewer["weights"], state["weights"])


def test_without_validation_all_epochs_are_run() -> None:
    job = tiny_job(validation=np.empty(0, dtype=np.int64), patience=1)
    state = LocalRunner().run(train_lstm, job, backend="torch")
    assert (state["epochs"], state["best_epoch"]) == (5, 5)
    assert state["validation_loss"] is None


@pytest.mark.parametrize("broken", ["training", "validation"])
def test_nan_names_the_part_and_the_knob(broken: str) -> None:
    job = tiny_job()
    job["table"] = job["table"].copy()
    job["table"][100 if broken == "training" else 395] = np.inf
    with pytest.raises(TrainingDiverged, match=rf"the {broken} loss became .* lower learning_rate .*0\.005"):
        LocalRunner().run(train_lstm, job, backend="torch")


def test_process_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    LocalRunner().run(train_lstm, tiny_job(max_epochs=1), backend="torch")
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_bfloat16_trains_as_well() -> None:
    full = LocalRunner().run(train_lstm, tiny_job(), backend="torch")
    half = LocalRunner().run(train_lstm, tiny_job(precision="bfloat16"), backend="torch")
    assert half["validation_losses"][-1] == pytest.approx(full["validation_losses"][-1], rel=0.15)
    assert use_bfloat16("auto", torch.device("cpu")) in (True, False)


class LonelyRun(Run):
    rank, world_size = 1, 2

    def resumed(self) -> State | None:
        return None

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: State | None = None) -> None:
        return None


def test_workers_need_torch_distributed() -> None:
    with pytest.raises(ConfigError, match="backend='torch'"):
        train_lstm(LonelyRun(), tiny_job())


def seeded(*, common: bool = False) -> Masks:
    return Masks(generator=torch.Generator().manual_seed(0), common=common)


@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(ratio: float) -> None:
    ones = torch.ones(50, 40, 31)
    dropped = drop(ones, ratio, seeded())
    assert float((dropped == 0).float().mean()) == pytest.approx(ratio, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(dropped, drop(ones, ratio, seeded()), rtol=0, atol=0)
    assert drop(ones, ratio, None) is ones


def test_common_mask_thins_all_windows_alike() -> None:
    dropped = drop(torch.ones(50, 40, 31), 0.3, seeded(common=True))
    assert float((dropped[0] == 0).float().mean()) == pytest.approx(0.3, abs=0.05)
    torch.testing.assert_close(dropped, dropped[:1].expand(50, -1, -1), rtol=0, atol=0)
    few = drop(torch.ones(3, 40, 31), 0.3, seeded(common=True))
    torch.testing.assert_close(few, dropped[:3], rtol=0, atol=0)


@pytest.mark.parametrize(("loss", "expected"), [("squared", 4.625), ("absolute", 1.75), ("huber", 1.3125)])
def test_losses_are_what_they_are_called(loss: str, expected: float) -> None:
    errors = torch.tensor([0.5, -3.0])
    assert float(LOSSES[loss](errors, torch.zeros(2))) == pytest.approx(expected)
