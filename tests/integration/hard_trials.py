"""A program for test_trials_on_ray: hard trials on a cluster of two nodes that is not ours, one of which dies.

Prints one JSON object: what became of each trial.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster as Foreign

from cluster.lifecycle import Cluster
from cluster.settings import Settings
from training.core.space import Choice
from tuning.budget import Budget
from tuning.conductor import TrialLimits
from tuning.crew import Assignment, Report
from tuning.goal import Goal
from tuning.ledger import Standing
from tuning.proposer import Family
from tuning.ray_crew import WorkerSpec
from tuning.records import StudyResult
from tuning.study import Study
from tuning.study_spec import StudySpec

KINDS = ("fine", "raises", "nan", "report_nan", "hangs", "greedy", "dies", "exits")
GOAL = Goal(objectives=("value",), known=("value",))
TIMEOUT_S = 3.0


def hard(assignment: Assignment, report: Report) -> Mapping[str, float]:
    """Do what the trial's kind says."""
    kind = assignment.params["kind"]
    if kind == "raises":
        raise ValueError("as asked")
    if kind == "nan":
        return {"value": float("nan")}
    if kind == "report_nan":
        report(1, float("nan"))
    if kind == "hangs":
        time.sleep(3600)
    if kind == "greedy":
        return {"value": float(np.ones(2**30)[0])}
    if kind == "dies":
        os._exit(7)
    if kind == "exits":
        sys.exit(3)
    return {"value": 0.5}


class Marked:
    """Work that leaves a mark where it ran and waits, once a trial, until somebody has killed its node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, assignment: Assignment, report: Report) -> Mapping[str, float]:
        """Leave a mark; wait on the node that will die, and return on the other."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        mark = self.folder / f"{assignment.number}-{node}-{time.time_ns()}"
        mark.touch()
        deadline = time.monotonic() + 60
        while (self.folder / "doomed").exists() and node == (self.folder / "doomed").read_text():
            if time.monotonic() > deadline:
                raise TimeoutError("nobody killed this node")
            time.sleep(0.02)
        time.sleep(0.05)  # so that both nodes get some
        return {"value": float(assignment.number)}


def spec(name: str, **change: Any) -> StudySpec:
    """Return a study of any work."""
    same: dict[str, Any] = {"models": ({"name": "ridge"},), "horizon": 1, "goal": GOAL, "search": "random"}
    return StudySpec(**same | {"name": name, "stopping": "none"} | change)


def hard_study(storage: str) -> dict[str, Any]:
    """Try each kind once."""
    limits = TrialLimits(timeout_s=TIMEOUT_S, attempts=2)
    worker = WorkerSpec(cpus=0.5, memory_bytes=256 * 2**20)
    study = Study(
        spec("hard", budget=Budget(trials=20), worker=worker, limits=limits, max_concurrent=4), storage_url=storage
    )
    families = {"m": Family(space={"kind": Choice(KINDS)}, fixed={}, defaults={})}
    result = study.search(families, lambda: hard, facts={})
    return {
        "ended_by": result.ended_by,
        "trials": {
            each.params["kind"]: [each.status.value, each.error, each.attempts, each.duration_s]
            for each in result.trials
        },
    }


def node_study(storage: str, foreign: Foreign, folder: Path) -> dict[str, Any]:
    """Spread trials over two nodes and kill the second one while its trial runs."""
    second = next(iter(foreign.worker_nodes))
    (folder / "doomed").write_text(second.node_id)
    killed: list[float] = []

    def on_change(standing: Standing) -> None:
        waits = any(second.node_id in path.name for path in folder.iterdir())
        if waits and len(standing.ended) >= 2 and not killed:
            foreign.remove_node(second, allow_graceful=False)
            killed.append(time.time())

    families = {"m": Family(space={"kind": Choice(tuple(range(12)))}, fixed={}, defaults={})}
    study = Study(spec("nodes", budget=Budget(trials=12)), storage_url=storage, on_change=on_change)
    result: StudyResult = study.search(families, lambda: Marked(folder), facts={})
    marks = [path.name.split("-") for path in folder.iterdir() if path.name != "doomed"]
    return {
        "killed": len(killed),
        "statuses": sorted({each.status.value for each in result.trials}),
        "numbers": [each.number for each in result.trials],
        "attempts": sorted(each.attempts for each in result.trials),
        "nodes": len({node for _, node, _ in marks}),
        "begun": len(marks),
    }


def main(home: str) -> None:
    """Run both and print what they found."""
    head = {"num_cpus": 1, "dashboard_agent_listen_port": 0, "include_dashboard": False}
    foreign = Foreign(initialize_head=True, head_node_args=head)
    found: dict[str, Any] = {}
    folder = Path(home) / "marks"
    folder.mkdir(parents=True)
    try:
        foreign.add_node(num_cpus=1)
        settings = Settings.from_environment({"ML_HOME": home, "ML_RAY_ADDRESS": foreign.address})
        with Cluster.open(settings, namespace="hard-trials"):
            found["hard"] = hard_study(f"{home}/storage")
            found["nodes"] = node_study(f"{home}/storage", foreign, folder)
    finally:
        foreign.shutdown()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
