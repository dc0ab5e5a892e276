"""Backtests on a real Ray: the same as here, faults apart, and a killed driver's work is not done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import DataError, PermanentError, TransientError
from cluster.lifecycle import Cluster
from training.core.component import State
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.distributed.fanout import RayFanout, Results, Shared, Task
from training.evaluation.rolling import Family, RollingPlan, rolling_backtest

pytestmark = pytest.mark.ray

FAMILIES = (
    Family.of("seasonal_naive", season=6),
    Family.of("ridge", window=12),
    Family.of("xgboost", window=12, rounds=60, depth=3),
    Family.of("ridge", label="too long", window=900),
)
PLAN = RollingPlan(horizon=4, cutoffs=6, block=2)
SCHEMA = Schema(name="many", frequency="h", targets=(Column(name="y"),), season_length=6)


def many() -> Panel:
    rng = np.random.default_rng(3)
    frames = []
    for number in range(8):
        hours = np.arange(10 * (number % 3), 150)
        times = pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h")
        y = 20 + 5 * np.sin(hours / 6 * 2 * np.pi) + rng.normal(0, 1, len(hours))
        frames.append(pd.DataFrame({"series_id": f"s{number}", "timestamp": times, "y": y}))
    frame = pd.concat(frames, ignore_index=True)
    frame.loc[400, "y"] = np.nan
    return Panel(frame, SCHEMA)


def act(data: Any, work: Any) -> State:
    if work == "bad":
        raise DataError("a bad series", column="y")
    if work == "bug":
        raise ValueError("a bug")
    if work == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if work == "late":
        time.sleep(60)
    return {"sum": float(np.sum(data)), "shared": not data.flags.writeable}


def test_faults_deaths_and_delays_stay_with_their_tasks(ray_cluster: Cluster) -> None:
    made = []

    def make() -> np.ndarray[Any, Any]:
        made.append(1)
        return np.ones(200_000)

    names = ("one", "bad", "bug", "late", "two", "die", "three")
    shared = Shared(make)
    tasks = [Task(key=name, shared=shared, work=name) for name in names]
    got = {done.task.key: done.result for done in RayFanout(task_s=15.0, in_flight=3).run(act, tasks)}
    assert set(got) == set(names)
    for name in ("one", "two", "three"):
        assert got[name] == {"sum": 200_000.0, "shared": True}
    assert isinstance(got["bad"], DataError)
    assert got["bad"].context["column"] == "y"
    assert isinstance(got["bug"], PermanentError)
    assert str(got["bug"]) == "ValueError: a bug"
    assert isinstance(got["die"], TransientError)
    assert isinstance(got["late"], TransientError)
    assert "given up after 15 s" in str(got["late"])
    assert made == [1]


_DRIVER = """
import sys
from pathlib import Path
from cluster.lifecycle import Cluster
from cluster.settings import Settings
from training.distributed.fanout import RayFanout, Results
sys.path.insert(0, sys.argv[2])
from test_fanout_on_ray import FAMILIES, PLAN, many, rolling_backtest

if __name__ == "__main__":
    settings = Settings.from_environment({"ML_HOME": sys.argv[1], "ML_RAY_ADDRESS": sys.argv[3]})
    with Cluster.open(settings):
        fanout = RayFanout(Results(Path(sys.argv[1]) / "results"), in_flight=1)
        rolling_backtest(many(), FAMILIES, PLAN, fanout=fanout)
"""


def test_a_killed_driver_goes_on_without_repeating(ray_cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    words = [str(tmp_path), str(Path(__file__).parent), ray_cluster.address]
    with (tmp_path / "driver.log").open("wb") as log:
        driver = subprocess.Popen([sys.executable, "-c", _DRIVER, *words], stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.npz"))) < 5:
        assert driver.poll() is None, (tmp_path / "driver.log").read_text()
        assert time.monotonic() < deadline, "the driver finished no 5 tasks in time"
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait(30) == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    good = 3 * 4 * PLAN.cutoffs
    assert 5 <= len(kept) < good

    heard: list[tuple[int, int, int]] = []
    fanout = RayFanout(Results(folder))
    got = rolling_backtest(many(), FAMILIES, PLAN, fanout=fanout, on_task=lambda *told: heard.append(told))
    assert heard[-1] == (4 * 4 * PLAN.cutoffs, 4 * 4 * PLAN.cutoffs, len(kept))
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    assert len(after) == good
    assert kept.items() <= after.items()

    here = rolling_backtest(many(), FAMILIES, PLAN)
    assert np.allclose(got.points, here.points, rtol=1e-5, equal_nan=True)
    assert sorted(map(str, (f.family + str(f.series) for f in got.faults))) == sorted(
        map(str, (f.family + str(f.series) for f in here.faults))
    )
