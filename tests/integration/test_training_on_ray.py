"""Training on real Ray Train workers: as good as in one process, and at most an epoch poorer for a death."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch

from cluster.errors import TrainingDiverged
from cluster.lifecycle import Cluster
from training.core.component import State
from training.core.runner import Run
from training.core.splits import chronological_split
from training.core.windows import Windows
from training.data.bundled import load_sample
from training.distributed.local import LocalRunner
from training.distributed.ray_runner import RayRunner
from training.models.lstm import LSTM, train_lstm

pytestmark = pytest.mark.ray

CURVE_TOLERANCE = 1e-4
"""Relative, between the losses of one and two workers: sums of float32 in another order, over some 100 steps."""
TINY: dict[str, Any] = {
    "window": 12,
    "hidden": (8, 6),
    "dense": 8,
    "dropout": 0.0,
    "channels": ("NOX", "AT"),
    "max_epochs": 5,
    "batch_size": 32,
    "learning_rate": 4e-3,
    "precision": "float32",
}


def parts() -> tuple[Windows, Windows, Windows]:
    """Training, validation and test windows of a short piece of real data."""
    panel = load_sample("gas_turbine").for_target("NOX")
    panel = panel.before(panel.table.times[1500])
    split = chronological_split(panel)
    windows = panel.windows(12 + 3)
    return (
        windows.ahead_within(3, until=split.validation_start),
        windows.ahead_within(3, since=split.validation_start, until=split.test_start),
        windows.ahead_within(3, since=split.test_start),
    )


def test_two_workers_learn_what_one_does(ray_cluster: Cluster, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    train, validation, test = parts()
    told: list[tuple[int, float]] = []
    threads: set[str] = set()

    def hear(step: int, metrics: Mapping[str, float]) -> None:
        told.append((step, metrics["validation_loss"]))
        threads.add(threading.current_thread().name)

    interrupt = signal.getsignal(signal.SIGINT)
    options: dict[str, Any] = {"horizon": 3, "targets": ("NOX",), "validation": validation}
    pair = LSTM(**TINY).fit(
        train, runner=RayRunner(num_workers=2, storage=tmp_path, name="pair", on_report=hear), **options
    )
    alone = LSTM(**TINY).fit(train, runner=LocalRunner(), **options)
    assert signal.getsignal(signal.SIGINT) is interrupt
    assert threads == {threading.current_thread().name}
    np.testing.assert_array_equal([loss for _, loss in told], pair.learned()["validation_losses"])
    for curve in ("training_losses", "validation_losses"):
        np.testing.assert_allclose(pair.learned()[curve], alone.learned()[curve], rtol=CURVE_TOLERANCE)
    context, future = test.split(3)
    np.testing.assert_allclose(pair.predict(context), alone.predict(context), rtol=CURVE_TOLERANCE)
    error = np.abs(pair.predict(context) - future.select(("NOX",))).mean()
    assert error < np.abs(context.select(("NOX",)).mean() - future.select(("NOX",))).mean()


def tiny_job(pids: Path, epochs: int) -> dict[str, Any]:
    wave = np.sin(np.arange(3000) / 6)[:, None].astype(np.float32)
    network = {"inputs": [0], "targets": [0], "known": 0, "window": 5, "horizon": 2, "hidden": [6, 4], "dense": 4}
    network |= {"dropout": 0.0, "anchor": "none", "rescale": False, "shared": False, "segment": 1}
    network["skip"] = True  # begins far from the best: near it Adam turns the rounding of sums into steps
    return {
        "table": wave,
        "train": np.arange(2400),
        "validation": np.arange(2500, 2900),
        "context": 5,
        "horizon": 2,
        "targets": [0],
        "known": [],
        "network": network,
        "loss": "squared",
        "precision": "float32",
        "patience": epochs,
        "batch_size": 32,
        "stride": 1,
        "max_epochs": epochs,
        "learning_rate": 1e-3,
        "seed": 1,
        "pids": str(pids),
    }


def test_killed_worker_costs_at_most_one_epoch(ray_cluster: Cluster, tmp_path: Path) -> None:
    def loop(run: Run, job: dict[str, Any]) -> State:  # in here, so that Ray sends its code
        import os
        from pathlib import Path

        from training.models.lstm import train_lstm

        with Path(job["pids"], str(run.rank)).open("a") as file:
            file.write(f"{os.getpid()}\n")
        return train_lstm(run, job)

    job = tiny_job(tmp_path, 12)
    told: list[int] = []

    def kill_once(step: int, metrics: Mapping[str, float]) -> None:
        told.append(step)
        if told == [1, 2]:
            os.kill(int((tmp_path / "1").read_text()), signal.SIGKILL)

    runner = RayRunner(num_workers=2, storage=tmp_path, name="killed", on_report=kill_once)
    state = runner.run(loop, job, backend="torch")
    assert len((tmp_path / "1").read_text().split()) == 2, "the worker was not killed while it worked"
    assert sorted(set(told)) == list(range(1, 13))
    assert sum(Counter(told).values()) - 12 <= 1
    whole = LocalRunner().run(train_lstm, job, backend="torch")
    np.testing.assert_allclose(state["validation_losses"], whole["validation_losses"], rtol=CURVE_TOLERANCE)


def test_error_of_ours_arrives_untouched_and_is_not_tried_again(ray_cluster: Cluster, tmp_path: Path) -> None:
    job = tiny_job(tmp_path, 3)
    job["table"][100] = np.nan
    with pytest.raises(TrainingDiverged, match="lower learning_rate") as raised:
        RayRunner(num_workers=1, storage=tmp_path, name="diverged").run(train_lstm, job, backend="torch")
    assert raised.value.context["epoch"] == 1


class EnoughError(Exception):
    """What a listener raises to end a training."""


def test_listener_ends_the_training(ray_cluster: Cluster, tmp_path: Path) -> None:
    told: list[int] = []

    def enough(step: int, metrics: Mapping[str, float]) -> None:
        told.append(step)
        raise EnoughError

    job = tiny_job(tmp_path, 10_000)
    runner = RayRunner(num_workers=1, storage=tmp_path, name="ended", on_report=enough)
    with pytest.raises(EnoughError):
        runner.run(train_lstm, job, backend="torch")
    assert told == [1]
    assert not [thread for thread in threading.enumerate() if thread.name == "ray-train-fit"]


def test_dead_node_costs_at_most_one_epoch(
    tmp_path: Path, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    program = Path(__file__).parent / "training_node_death.py"
    ended = run_script(program, str(tmp_path), timeout_s=270)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["nodes"] == 2, "the workers did not share the two machines"
    assert sorted(set(found["told"])) == list(range(1, 13))
    assert len(found["told"]) - 12 <= 1
    assert found["world_sizes"] == [2, 1]
    whole = LocalRunner().run(train_lstm, tiny_job(tmp_path, 12), backend="torch")
    np.testing.assert_allclose(found["losses"], whole["validation_losses"], rtol=CURVE_TOLERANCE)
