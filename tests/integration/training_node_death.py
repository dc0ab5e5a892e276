"""A program for test_training_on_ray: one of two machines dies while both train.

Prints one JSON object: what was told, and how it ended.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from training.core.component import State
from training.core.runner import Run
from training.distributed.ray_runner import RayRunner


def loop(run: Run, job: dict[str, Any]) -> State:
    """Train, and leave a note of who works where."""
    import ray

    from training.models.lstm import train_lstm

    with Path(job["pids"], f"notes-{run.rank}").open("a") as file:
        file.write(f"{ray.get_runtime_context().get_node_id()} {run.world_size}\n")
    return train_lstm(run, job)


def tiny_job(pids: Path, epochs: int) -> dict[str, Any]:
    """Return the job of the other tests."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("tests_on_ray", Path(__file__).with_name("test_training_on_ray.py"))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    job: dict[str, Any] = module.tiny_job(pids, epochs)
    return job


def main(folder: Path) -> None:
    """Kill the second machine after the second epoch."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    # Ray Train counts on a machine that died a moment ago, and waits for it this long: 60 s by default.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "10"
    one_cpu = {"num_cpus": 1, "dashboard_agent_listen_port": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=one_cpu)
    told: list[int] = []

    def hear(step: int, metrics: Mapping[str, float]) -> None:
        told.append(step)
        if told == [1, 2]:
            cluster.remove_node(second, allow_graceful=False)

    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False)
        runner = RayRunner(num_workers=(1, 2), storage=folder, name="node", on_report=hear)
        state = runner.run(loop, tiny_job(folder, 12), backend="torch")
        notes = [line.split() for rank in (0, 1) for line in (folder / f"notes-{rank}").read_text().splitlines()]
        found = {
            "nodes": len({node for node, _ in notes}),
            "world_sizes": [int(size) for size in dict.fromkeys(size for _, size in notes)],
            "told": told,
            "losses": np.asarray(state["validation_losses"]).tolist(),
        }
    finally:
        ray.shutdown()
        cluster.shutdown()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
