"""Seconds a trivial trial costs in a study with everything switched on, over what it costs in bare Ray Tune.

A hundred trials that return a number at once, two at a time, on a local Ray of two CPUs. Bare Tune reuses its
actors, draws at random, and writes no files. Ours searches, keeps each trial on disk, shows it with parameters,
curve, cost and a file in MLflow on SQLite, judges its report, and counts what was spent. All from the call to its
return, the start of workers included; the start of Ray and of MLflow is left out on both sides.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import Benchmark, Pair
from cluster.lifecycle import Cluster
from cluster.registry.mlflow_tracker import open_tracker
from cluster.settings import Settings
from training.core.space import Real, Space, Whole
from tuning.budget import Budget
from tuning.crew import Assignment, Report
from tuning.goal import Goal
from tuning.ledger import Standing
from tuning.proposer import Family
from tuning.study import Study
from tuning.study_spec import StudySpec

TRIALS, CONCURRENT = 100, 2
REACH_S, AIM_S = 0.1, 0.02
SPACE: Space = {"x": Real(-1.0, 1.0), "rate": Real(1e-4, 1.0, log=True), "depth": Whole(1, 12)}
SEARCHES = ("tpe", "random", "gaussian_process")


def work(assignment: Assignment, report: Report) -> Mapping[str, float]:
    """Report once and return."""
    value = float(assignment.params["x"]) ** 2
    report(1, value)
    return {"value": value}


def ours_s(home: Path, settings: Settings, search: str, seed: int) -> float:
    """Return the seconds a trial of our study takes."""
    spec = StudySpec(
        name=f"overhead-{search}-{seed}",
        models=({"name": "ridge"},),
        horizon=1,
        goal=Goal(objectives=("value",), known=("value",)),
        budget=Budget(trials=TRIALS, wall_s=3600),
        search=search,
        max_concurrent=CONCURRENT,
        seed=seed,
    )
    tracker = open_tracker(settings)
    tracker.experiments()
    heard: list[Standing] = []
    study = Study(spec, storage_url=str(home / "storage"), tracker=tracker, on_change=heard.append)
    families = {"trivial": Family(space=SPACE, fixed={}, defaults={})}
    began_s = time.perf_counter()
    result = study.search(families, lambda: work, facts={})
    took_s = time.perf_counter() - began_s
    if len(result.trials) != TRIALS or len(tracker.runs(spec.name)) != TRIALS:
        raise RuntimeError(f"{len(result.trials)} trials, {len(tracker.runs(spec.name))} runs; expected {TRIALS}")
    return took_s / TRIALS


def bare_s(home: Path, seed: int) -> float:
    """Return the seconds a trial of bare Ray Tune takes, with actors that are used again."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    from ray import tune

    def trivial(config: dict[str, Any]) -> None:
        tune.report({"value": config["x"] ** 2})

    space = {"x": tune.uniform(-1, 1), "rate": tune.loguniform(1e-4, 1), "depth": tune.randint(1, 13)}
    tuner = tune.Tuner(
        trivial,
        param_space=space,
        tune_config=tune.TuneConfig(
            num_samples=TRIALS, max_concurrent_trials=CONCURRENT, reuse_actors=True, metric="value", mode="min"
        ),
        run_config=tune.RunConfig(name=f"bare-{seed}", storage_path=str(home / "tune"), verbose=0),
    )
    began_s = time.perf_counter()
    if len(tuner.fit()) != TRIALS:
        raise RuntimeError("Tune lost trials")
    return (time.perf_counter() - began_s) / TRIALS


def pair(seed: int, baseline_first: bool) -> Pair:
    """Run bare Tune and ours with each searcher, in this order or the other."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings = Settings.from_environment({"ML_HOME": folder, "ML_DASHBOARD_PORT": "0"})
        open_tracker(settings).experiments()
        with Cluster.open(settings, num_cpus=CONCURRENT, dashboard=False):
            if baseline_first:
                found["bare"] = bare_s(home, seed)
            for search in SEARCHES:
                found[search] = ours_s(home, settings, search, seed)
            if not baseline_first:
                found["bare"] = bare_s(home, seed)
    return Pair(
        seed=seed,
        baseline=found["bare"],
        ours={name: found[name] for name in SEARCHES},
        notes={
            "trial_s": {name: round(seconds, 4) for name, seconds in found.items()},
            "reached": found["tpe"] <= REACH_S,
            "aim_reached": found["tpe"] <= AIM_S,
            "load_1min": os.getloadavg()[0],
        },
    )


BENCHMARK = Benchmark(
    name="tune_overhead",
    question=f"seconds a trivial trial of a study over bare Ray Tune's; {REACH_S} s to reach, {AIM_S} s the aim",
    goal=1.0,
    pair=pair,
)
