"""Trials that go wrong on a real Ray, nodes that die under them, and our searchers inside Ray Tune itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps.pipelines.sweep import submit_sweep
from cluster.errors import ConfigError
from cluster.jobs import Jobs
from cluster.lifecycle import Cluster
from cluster.settings import Settings
from cluster.storage.files import Storage
from training.core.space import Real, Space
from tuning.budget import Budget
from tuning.crew import Assignment, Report
from tuning.goal import Goal
from tuning.history import History
from tuning.proposer import Family
from tuning.ray_crew import WorkerSpec
from tuning.stopping import MedianStopping
from tuning.study import Study
from tuning.study_spec import StudySpec

pytestmark = pytest.mark.ray

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("hard")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "ML_"))}
    done = subprocess.run(
        [sys.executable, str(HERE / "hard_trials.py"), str(home)],
        env=clean | {"PYTHONPATH": str(HERE.parents[1]), "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.parametrize(
    ("kind", "status", "error", "attempts"),
    [
        ("fine", "finished", "", 1),
        ("raises", "failed", "ValueError: as asked", 1),
        ("nan", "failed", "the trial's 'value' is nan, expected a finite number", 1),
        ("report_nan", "failed", "the trial reported nan at step 1", 1),
        ("hangs", "failed", "the trial took longer than 3.0 s; its worker was ended", 1),
        ("greedy", "failed", "MemoryError: Unable to allocate 8.00 GiB", 1),
        ("dies", "failed", "the trial's worker was lost 2 times; the last time:", 2),
        ("exits", "failed", "SystemExit: 3", 1),
    ],
)
def test_a_trial_that_goes_wrong_fails_alone_and_says_why(
    found: dict[str, Any], kind: str, status: str, error: str, attempts: int
) -> None:
    told = found["hard"]["trials"][kind]
    assert told[0] == status
    assert told[1].startswith(error)
    assert told[2] == attempts
    assert found["hard"]["ended_by"] == "every point of the space was tried"


def test_a_dead_node_loses_no_trial_and_repeats_no_finished_one(found: dict[str, Any]) -> None:
    nodes = found["nodes"]
    assert nodes["killed"] == 1
    assert nodes["statuses"] == ["finished"]
    assert nodes["numbers"] == list(range(12))
    assert nodes["nodes"] == 2
    assert nodes["attempts"] == [1] * 11 + [2]
    assert nodes["begun"] == 13


def test_a_sweep_is_a_job_and_keeps_its_study_where_the_platform_keeps_all(
    ray_cluster: Cluster, tmp_path: Path
) -> None:
    assert ray_cluster.dashboard_url is not None
    jobs = Jobs(ray_cluster.dashboard_url)
    settings = Settings.from_environment({"ML_HOME": str(tmp_path / "home")})
    hours = np.arange(400)
    y = 10 + np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(0).normal(0, 0.1, len(hours))
    times = pd.date_range("2024-01-01", periods=len(y), freq="h")
    pd.DataFrame({"timestamp": times, "y": y}).to_csv(tmp_path / "y.csv", index=False)
    words = f"{tmp_path / 'y.csv'} --target y --horizon 2 --epochs 1 --trials 1 --name swept".split()
    words += ["--search", "random", "--stopping", "none", "--train-workers", "1"]
    job = submit_sweep(jobs, settings, words)
    assert jobs.wait(job, timeout_s=180) == 0, (jobs.status(job), jobs.logs(job))
    history = History.read(Storage(settings.storage_url), "swept")
    assert [record.status.value for record in history.records.values()] == ["finished"]
    assert "Study swept" in jobs.logs(job)


def test_our_searchers_and_policies_serve_ray_tune(
    ray_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "0")
    from ray import tune

    from tuning.tune_shells import TuneSearcher, TuneStopping

    def trial(config: dict[str, float]) -> None:
        for _ in range(4):
            tune.report({"loss": (config["x"] - 0.25) ** 2})

    space: Space = {"x": Real(-1.0, 1.0)}
    searcher = TuneSearcher(space, metric="loss", search="random", seed=1)
    tuner = tune.Tuner(
        trial,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=TuneStopping(MedianStopping(grace_reports=2), metric="loss"),
            num_samples=8,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="shells", storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    assert len(results) == 8
    assert not results.errors
    reports = [result.metrics["training_iteration"] for result in results if result.metrics]
    assert min(reports) == 2
    assert max(reports) == 4
    searcher.save(str(tmp_path / "saved"))
    again = TuneSearcher(space, metric="loss", search="random", seed=1)
    again.restore(str(tmp_path / "saved"))
    assert again.suggest("next") == searcher.suggest("next")


def quick(assignment: Assignment, report: Report) -> Mapping[str, float]:
    """Measure at once."""
    return {"value": float(assignment.params["x"]) ** 2}


def study_of(folder: Path, **change: Any) -> Study:
    """Return a study of quick work."""
    goal = Goal(objectives=("value",), known=("value",))
    same: dict[str, Any] = {"name": "s", "models": ({"name": "ridge"},), "horizon": 1, "goal": goal}
    spec = StudySpec(**same | {"search": "random", "budget": Budget(trials=4)} | change)
    return Study(spec, storage_url=str(folder))


FAMILIES = {"m": Family(space={"x": Real(-1.0, 1.0)}, fixed={}, defaults={})}


def test_a_cluster_with_room_for_one_worker_runs_all_trials_on_it(ray_cluster: Cluster, tmp_path: Path) -> None:
    study = study_of(tmp_path, worker=WorkerSpec(cpus=3.0), max_concurrent=2)
    result = study.search(FAMILIES, lambda: quick, facts={})
    assert [trial.status.value for trial in result.trials] == ["finished"] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"worker": WorkerSpec(cpus=1000.0)}, r"fits on no node: got {'CPU': 1000.0.*expected at most {'CPU': 4.0"),
        ({"worker": WorkerSpec(gpus=0.5)}, r"fits on no node: got .*'GPU': 0.5.*expected at most .*'GPU': 0.0"),
        ({"train_workers": 8}, r"a trial with 8 training workers: got 4 CPUs in the cluster, expected 9"),
    ],
    ids=["cpus", "gpus", "training workers"],
)
def test_what_the_cluster_can_never_run_is_refused(
    ray_cluster: Cluster, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        study_of(tmp_path, **change).search(FAMILIES, lambda: quick, facts={})
    assert not list((tmp_path / "studies" / "s").glob("trial-*"))
