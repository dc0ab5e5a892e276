"""What the runner of a cluster refuses, and how it names failures; the rest is in tests/integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
from ray.train import TrainingFailedError, WorkerGroupError

from cluster.errors import ConfigError, DataError, PermanentError, TransientError
from training.core.component import State
from training.core.runner import Run
from training.distributed.ray_runner import RayRunner, translated


def loop(run: Run, job: dict[str, Any]) -> State:
    return job


@pytest.mark.parametrize("num_workers", [0, -1, (0, 2), (3, 2)])
def test_impossible_numbers_of_workers_are_refused(num_workers: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_workers"):
        RayRunner(num_workers=num_workers, storage=tmp_path, name="run")


def test_needs_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match="LocalRunner"):
        RayRunner(num_workers=1, storage=tmp_path, name="run").run(loop, {}, backend="torch")


def test_error_of_ours_inside_a_failure_comes_out() -> None:
    ours = DataError("row 3 is bad", row=3)
    assert translated(WorkerGroupError("told", {0: RuntimeError("gloo"), 1: ours}), "run") is ours


def test_dead_workers_may_be_tried_again_and_the_knob_is_named() -> None:
    error = translated(WorkerGroupError("told", {1: RuntimeError("connection closed")}), "run")
    assert isinstance(error, TransientError)
    assert "max_failures" in str(error)
    assert "connection closed" in str(error)
    assert isinstance(translated(TrainingFailedError("no controller"), "run"), TransientError)


def test_anything_else_is_permanent_and_keeps_its_text() -> None:
    error = translated(ValueError("odd"), "run")
    assert isinstance(error, PermanentError)
    assert "ValueError: odd" in str(error)
