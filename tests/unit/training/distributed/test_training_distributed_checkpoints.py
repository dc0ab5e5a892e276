"""Checkpoints survive torn writes and damaged storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.errors import ArtifactCorrupt, ConfigError
from training.core.component import State
from training.core.runner import Run
from training.distributed.checkpoints import CheckpointFolder


def state(step: int) -> dict[str, object]:
    return {"epoch": step, "loss": 0.5, "none": None, "weights": {"a.b": np.arange(step + 3.0)}}


def test_newest_is_what_was_saved_last(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "run")
    assert folder.newest() is None
    for step in (1, 2, 10):
        folder.save(step, state(step))
    found = folder.newest()
    assert found is not None
    assert found.step == 10
    np.testing.assert_array_equal(found.state["weights"]["a.b"], np.arange(13.0))
    assert found.state["none"] is None


def test_only_the_last_k_stay(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    for step in range(1, 8):
        folder.save(step, state(step))
    assert folder.steps() == [7, 6, 5]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("cut", [0, 5, 20, 60, -1])
def test_torn_file_is_passed_over(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(1, state(1))
    newest = folder.save(2, state(2))
    newest.write_bytes(newest.read_bytes()[:cut])
    found = folder.newest()
    assert found is not None
    assert found.step == 1
    assert "step-00000002.ckpt" in caplog.text


def test_flipped_bit_is_named(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    file = folder.save(4, state(4))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactCorrupt, match=r"step-00000004\.ckpt"):
        folder.load(4)
    assert folder.newest() is None


def test_leftovers_of_a_killed_writer_are_ignored(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(3, state(3))
    (tmp_path / "step-00000009.123.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    found = folder.newest()
    assert found is not None
    assert found.step == 3


def test_missing_step_is_corrupt_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorrupt, match="cannot be read"):
        CheckpointFolder(tmp_path).load(1)


def test_keep_needs_a_way_back(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected 2 or more"):
        CheckpointFolder(tmp_path, keep=1)


def loop_a(run: Run, job: dict[str, Any]) -> State:
    return job


def loop_b(run: Run, job: dict[str, Any]) -> State:
    return job


def test_each_loop_and_job_has_its_own_folder(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=5)
    job: dict[str, Any] = {"rows": np.arange(6.0).reshape(2, 3), "settings": {"seed": 1, "names": ["a", "b"]}}
    mine = folder.of_job(loop_a, job)
    assert mine.keep == 5
    assert mine.path == folder.of_job(loop_a, {key: job[key] for key in reversed(job)}).path
    others = [
        folder.of_job(loop_b, job),
        folder.of_job(loop_a, {**job, "rows": job["rows"].reshape(3, 2)}),
        folder.of_job(loop_a, {**job, "rows": job["rows"] + 1}),
        folder.of_job(loop_a, {**job, "settings": {"seed": 2, "names": ["a", "b"]}}),
        folder.of_job(loop_a, {**job, "settings": {"seed": 1, "names": ["ab"]}}),
    ]
    assert len({folder.path for folder in [mine, *others]}) == 6
