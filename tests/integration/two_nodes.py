"""A program for test_cluster_actors: real deaths of state actors on a cluster of two nodes that is not ours.

Prints one JSON object: what each check found.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster as Foreign
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.actors.state import SharedState, StateActor
from cluster.clock import SystemClock
from cluster.errors import UnknownNameError
from cluster.lifecycle import Cluster
from cluster.settings import Settings
from cluster.state.desired import DesiredState, Drop, Want
from cluster.state.machine import Machine
from cluster.state.runs import ClaimRun, CreateRun, FinishRun, Heartbeat, RunLedger
from cluster.state.schedules import ClaimDue, Plan, Schedules

SCRIPTS: dict[type[Machine[Any]], list[Any]] = {
    DesiredState: [Want(name="a", spec={"n": 1}), Want(name="b", spec={}), Drop(name="a")],
    Schedules: [Plan(name="a", every_s=1e6, first_due_s=1.0), ClaimDue(limit=2), ClaimDue(limit=2)],
    RunLedger: [
        CreateRun(run="r", payload={"epochs": 2}),
        ClaimRun(owner="x", lease_s=3600),
        Heartbeat(run="r", attempt=1),
        FinishRun(run="r", attempt=1, result=1),
    ],
}


def ways_to_die() -> Iterator[str]:
    """Yield Ray's own kill and a SIGKILL in turn."""
    while True:
        yield "ray.kill"
        yield "SIGKILL"


def kill(shared: SharedState[Any], way: str) -> None:
    """End the actor's process for real."""
    if way == "ray.kill":
        ray.kill(shared.actor(), no_restart=False)
    else:
        os.kill(shared.pid(), signal.SIGKILL)


def wait_for_death(pid: int) -> None:
    """Return once the process is gone."""
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} lives on")
        time.sleep(0.02)


def after_each_command(storage: str) -> dict[str, bool]:
    """Run each machine's commands, killing after each, against a twin in memory; each id is asked twice."""
    way = ways_to_die()
    found = {}
    for kind, script in SCRIPTS.items():
        shared: SharedState[Any] = SharedState(kind, storage, detached=True)
        twin = kind()
        same = True
        for index, command in enumerate(script):
            expected = twin.apply(command, SystemClock().now_s())
            first = shared.do(command, f"c{index}")
            pid = shared.pid()
            kill(shared, next(way))
            wait_for_death(pid)
            again = shared.do(command, f"c{index}")
            same = same and first == again == json.loads(json.dumps(expected))
        state, wanted = shared.state(), json.loads(json.dumps(twin.to_json()))
        for run in (*state.values(), *wanted.values()) if kind is RunLedger else ():
            run.pop("lease_until_s")  # the one thing that hangs on the real clock
        found[kind.kind] = same and state == wanted
    return found


def in_the_middle(storage: str, commands: int, deaths: int) -> dict[str, Any]:
    """Kill at random moments while commands run; every command must count exactly once."""
    shared: SharedState[Any] = SharedState(DesiredState, storage, name="battered")
    versions: list[int] = []
    chance = random.Random(0)

    def work() -> None:
        client: SharedState[Any] = SharedState(DesiredState, storage, name="battered")
        versions.extend(client.do(Want(name="app", spec={"n": n}))["version"] for n in range(commands))

    worker = threading.Thread(target=work)
    pid = shared.pid()
    worker.start()
    done, way = 0, ways_to_die()
    for _, how in zip(range(deaths), way, strict=False):
        time.sleep(chance.uniform(0.05, 0.3))
        kill(shared, how)
        done += worker.is_alive()
    worker.join(120)
    return {
        "versions": versions == list(range(1, commands + 1)),
        "state": shared.state(),
        "deaths_during_work": done,
        "another_process": shared.pid() != pid,
    }


def node_dies(foreign: Foreign, storage: str) -> dict[str, Any]:
    """Put an actor on the second node, kill that node, and find the state on the first."""
    second = next(iter(foreign.worker_nodes))
    place = NodeAffinitySchedulingStrategy(second.node_id, soft=True)
    shared: SharedState[Any] = SharedState(DesiredState, storage, name="moved")
    kind: Any = StateActor
    options = {"name": "moved", "scheduling_strategy": place, "get_if_exists": True}
    actor = kind.options(**options).remote(DesiredState, storage, "state/moved.json")
    ray.get(actor.pid.remote())
    shared.do(Want(name="a", spec={"n": 1}), "c1")
    foreign.remove_node(second, allow_graceful=False)
    answer = shared.do(Want(name="a", spec={"n": 2}), "c2")
    return {"answer": answer, "again": shared.do(Want(name="a", spec={"n": 2}), "c2"), "state": shared.state()}


def refused(storage: str) -> str:
    """Return how an error of the machine arrives here."""
    shared: SharedState[Any] = SharedState(RunLedger, storage)
    try:
        shared.do(Heartbeat(run="nobody", attempt=1))
    except UnknownNameError as error:
        return f"{error} {error.context['kind']}"
    return "nothing"


def main(home: str) -> None:
    """Run all checks and print what they found."""
    head = {"num_cpus": 2, "dashboard_agent_listen_port": 0, "include_dashboard": False}
    foreign = Foreign(initialize_head=True, head_node_args=head)
    storage = f"{home}/storage"
    found: dict[str, Any] = {}
    try:
        foreign.add_node(num_cpus=3)
        settings = Settings.from_environment({"ML_HOME": home, "ML_RAY_ADDRESS": foreign.address})
        with Cluster.open(settings, namespace="two-nodes") as cluster:
            found["nodes"] = sorted(node.resources["CPU"] for node in cluster.nodes() if node.alive)
            found["owned"] = cluster.owned
            found["after each command"] = after_each_command(storage)
            found["in the middle"] = in_the_middle(storage, commands=150, deaths=6)
            found["refused"] = refused(storage)
        with Cluster.open(settings, namespace="two-nodes") as cluster:
            detached: SharedState[Any] = SharedState(RunLedger, storage, detached=True)
            found["detached"] = sorted(detached.state())
            detached.close()
            found["after close"] = sorted(detached.state())
            found["node dies"] = node_dies(foreign, storage)
        found["left alive"] = foreign.head_node.remaining_processes_alive()
    finally:
        foreign.shutdown()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
