"""A batch on Ray Data that is killed in the middle, and run again: every row is there once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.batch.rows import FILE, ROW
from apps.batch.run import run_on_ray
from apps.batch.work import BatchJob
from cluster.lifecycle import Cluster
from training.alarms.alarm_model import AlarmModel
from training.core.artifact import save_artifact
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME

PARTS, PART_ROWS = 24, 20_000
DRIVER = """
import json, sys
from apps.batch.run import run_on_ray
from apps.batch.work import BatchJob
import ray
ray.init(address=sys.argv[1], namespace="killed", log_to_driver=False)
run_on_ray(BatchJob.from_json(json.loads(sys.argv[2])), workers=1)
"""


def long_series(folder: Path) -> Panel:
    """A meter's seconds in one file a part."""
    rows = PARTS * PART_ROWS
    kwh = np.random.default_rng(0).normal(10, 1, rows)
    kwh[300_000:300_030] += 40
    frame = pd.DataFrame({ID: "m", TIME: pd.date_range("2024-01-01", periods=rows, freq="s"), "kwh": kwh})
    folder.mkdir()
    for part in range(PARTS):
        rows_of_it = frame.iloc[part * PART_ROWS : (part + 1) * PART_ROWS]
        rows_of_it.to_parquet(folder / f"{part:02}.parquet", index=False)
    return Panel(frame.head(3_000), Schema(name="meter", frequency="s", targets=(Column(name="kwh"),)))


@pytest.mark.ray
def test_a_killed_batch_goes_on(ray_cluster: Cluster, tmp_path: Path) -> None:
    learned = long_series(tmp_path / "in")
    save_artifact(
        AlarmModel(detector="z_score", alarms_per_month=5_000.0).fit(learned), learned.schema, tmp_path / "model"
    )
    job = BatchJob(
        model="meter",
        version="1.0.0",
        uri=str(tmp_path / "model"),
        source=str(tmp_path / "in"),
        target=str(tmp_path / "out"),
        most_rows=PART_ROWS,
        cache_dir=str(tmp_path / "cache"),
    )
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, ray_cluster.address, json.dumps(job.to_json())])
    parts = tmp_path / "out" / "parts"
    deadline = time.monotonic() + 90
    while len(list(parts.glob("*.parquet"))) < 2:
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert not (tmp_path / "out" / "report.json").exists()
    report = run_on_ray(job, workers=2)
    assert report.parts == PARTS
    assert report.parts_skipped >= 2
    assert report.rows < PARTS * PART_ROWS
    found = pd.concat([pd.read_parquet(path) for path in parts.glob("*.parquet")])
    assert len(found) == PARTS * PART_ROWS
    assert not found.duplicated([FILE, ROW]).any()
    surge = found[(found[FILE] == "15.parquet") & (found[ROW] < 30)]
    assert surge["strange"].mean() > 0.5
