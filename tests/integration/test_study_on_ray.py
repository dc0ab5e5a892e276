"""A search on a real Ray: it runs, shows its trials, names what failed, and goes on after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, PermanentError
from cluster.lifecycle import Cluster
from cluster.registry.experiments import RunStatus
from cluster.registry.mlflow_tracker import open_tracker
from cluster.settings import Settings
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import chronological_split
from tuning.budget import Budget
from tuning.ledger import Standing
from tuning.records import TrialRecord, TrialStatus
from tuning.study import INTERRUPTED, Study
from tuning.study_spec import StudySpec

pytestmark = pytest.mark.ray

MODELS = (
    {"name": "seasonal_naive", "params": {"season": 24}},
    {"name": "ridge", "params": {}},
    {"name": "xgboost", "params": {"rounds": 20, "window": 24}},
)


def hourly_panel() -> Panel:
    hours = np.arange(900)
    y = 10 + 3 * np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(0).normal(0, 0.3, len(hours))
    times = pd.date_range("2024-01-01", periods=len(y), freq="h")
    frame = pd.DataFrame({"series_id": "a", "timestamp": times, "y": y})
    return Panel(frame, Schema(name="s", frequency="h", targets=(Column(name="y"),), season_length=24))


def test_a_study_runs_shows_its_trials_and_is_not_run_twice(ray_cluster: Cluster, settings: Settings) -> None:
    panel, tracker = hourly_panel(), open_tracker(settings)
    heard: list[Standing] = []
    spec = StudySpec(name="small", models=MODELS, horizon=4, budget=Budget(trials=6), search="random")
    study = Study(spec, storage_url=settings.storage_url, tracker=tracker, on_change=heard.append)
    before = signal.getsignal(signal.SIGINT)
    result = study.run(panel, chronological_split(panel))
    assert signal.getsignal(signal.SIGINT) is before
    assert sorted({len(standing.ended) for standing in heard}) == list(range(7))
    assert max(len(standing.running) for standing in heard) == 2
    assert result.ended_by == "trials 6 of 6"
    assert [trial.number for trial in result.trials] == list(range(6))
    assert {trial.model for trial in result.trials} == {"seasonal_naive", "ridge", "xgboost"}
    naive = next(trial for trial in result.trials if trial.model == "seasonal_naive")
    assert result.best.score is not None
    assert naive.score is not None
    assert result.best.score < naive.score

    runs = tracker.runs("small")
    assert len(runs) == 6
    assert all(run.status is not RunStatus.RUNNING and run.parameters["model"] for run in runs)
    boosted = next(run for run in runs if run.parameters["model"] == "xgboost")
    assert [point.step for point in tracker.curve(boosted.id, "validation_loss")] == [10, 20]
    assert boosted.parameters["rounds"] == "20"

    again = study.run(panel, chronological_split(panel))
    assert (again.best, again.trials) == (result.best, result.trials)
    assert len(tracker.runs("small")) == 6
    assert list(result.to_frame()["number"]) == list(range(6))


def test_what_ends_a_trial_is_named(ray_cluster: Cluster, settings: Settings) -> None:
    panel, tracker = hourly_panel(), open_tracker(settings)
    broken = {"name": "ridge", "params": {"window": 5000}}
    spec = StudySpec(name="half", models=(broken, MODELS[0]), horizon=4, budget=Budget(trials=2))
    result = Study(spec, storage_url=settings.storage_url, tracker=tracker).run(panel, chronological_split(panel))
    assert result.best.model == "seasonal_naive"
    assert result.trials[0].status is TrialStatus.FAILED
    assert "InsufficientHistoryError: no series is long enough" in result.trials[0].error
    assert [run.status for run in tracker.runs("half")].count(RunStatus.FAILED) == 1

    nothing = StudySpec(name="none", models=(broken,), horizon=4, budget=Budget(trials=1))
    with pytest.raises(PermanentError, match=r"1 of 1 trials failed.*no series is long enough"):
        Study(nothing, storage_url=settings.storage_url).run(panel, chronological_split(panel))


def test_a_bad_trial_is_stopped_early(ray_cluster: Cluster, settings: Settings) -> None:
    panel = hourly_panel()
    models = ({"name": "xgboost", "params": {"rounds": 120, "window": 24, "depth": 3}},)
    spec = StudySpec(
        name="halving", models=models, horizon=4, budget=Budget(trials=6), max_concurrent=1, grace_reports=2
    )
    result = Study(spec, storage_url=settings.storage_url).run(panel, chronological_split(panel))
    stopped = [trial for trial in result.trials if trial.status is TrialStatus.STOPPED]
    assert stopped
    assert all(2 <= len(trial.curve) < 12 and trial.score is None for trial in stopped)


_DRIVER = """
import signal
import sys
from cluster.lifecycle import Cluster
from cluster.registry.mlflow_tracker import open_tracker
from cluster.settings import Settings
from training.core.splits import chronological_split
from tuning.budget import Budget
from tuning.study import Study
from tuning.study_spec import StudySpec
sys.path.insert(0, sys.argv[2])
from test_study_on_ray import MODELS, hourly_panel

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    settings = Settings.from_environment({"ML_HOME": sys.argv[1], "ML_RAY_ADDRESS": sys.argv[3]})
    with Cluster.open(settings):
        spec = StudySpec(name="killed", models=MODELS, horizon=4, budget=Budget(trials=200))
        panel = hourly_panel()
        study = Study(spec, storage_url=settings.storage_url, tracker=open_tracker(settings))
        result = study.run(panel, chronological_split(panel))
        print(result.ended_by, result.best.number)
"""


def _records(settings: Settings) -> dict[str, bytes]:
    folder = Path(settings.storage_url) / "studies" / "killed"
    return {path.name: path.read_bytes() for path in folder.glob("trial-*.json")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_driver_goes_on_without_repeating(
    ray_cluster: Cluster, settings: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    words = [str(settings.home), str(Path(__file__).parent), ray_cluster.address]
    with (tmp_path / "driver.log").open("wb") as log:
        driver = subprocess.Popen([sys.executable, "-c", _DRIVER, *words], stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while len(_records(settings)) < 4:
        assert driver.poll() is None, (tmp_path / "driver.log").read_text()
        assert time.monotonic() < deadline, "the driver finished no 4 trials in time"
        time.sleep(0.02)
    driver.send_signal(number)
    driver.wait(60)
    if number is signal.SIGKILL:
        assert driver.returncode == -signal.SIGKILL
    else:  # Ctrl-C ends the search, not the program: what was found by then is its result
        assert driver.returncode == 0
        assert INTERRUPTED in (tmp_path / "driver.log").read_text()
    kept = _records(settings)
    assert 4 <= len(kept) < 200

    panel, tracker = hourly_panel(), open_tracker(settings)
    spec = StudySpec(name="killed", models=MODELS, horizon=4, budget=Budget(trials=len(kept) + 3))
    result = Study(spec, storage_url=settings.storage_url, tracker=tracker).run(panel, chronological_split(panel))
    after = _records(settings)
    assert len(after) == len(result.trials) == len(kept) + 3
    assert kept.items() <= after.items()
    assert all(TrialRecord.from_json(data) in result.trials for data in kept.values())
    runs = tracker.runs("killed")
    assert all(run.status is not RunStatus.RUNNING for run in runs)
    finished = [run.tags["trial"] for run in runs if "wape" in run.metrics]
    assert len(finished) == len(set(finished)), "a finished trial was run again"


def test_a_study_without_a_ray_says_so(settings: Settings) -> None:
    source = """
import sys
sys.path.insert(0, sys.argv[1])
from cluster.errors import ConfigError
from test_study_on_ray import MODELS, Study, StudySpec, chronological_split, hourly_panel
panel = hourly_panel()
try:
    Study(StudySpec(name="x", models=MODELS, horizon=4), storage_url=sys.argv[2]).run(
        panel, chronological_split(panel))
except ConfigError as error:
    print(error)
"""
    words = [sys.executable, "-c", source, str(Path(__file__).parent), str(settings.home)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert "a study needs a Ray" in done.stdout
    assert ConfigError.__name__ not in done.stderr
