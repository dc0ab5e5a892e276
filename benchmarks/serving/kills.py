"""Processes killed under load: how many requests fail, whether any answer is wrong, and how long it takes.

Two replicas on two nodes of one machine, behind HAProxy. An open loop sends to them from a process of its own, and
beside it our client sends what it repeats where that is safe. In each window one victim dies by SIGKILL: a replica,
HAProxy, the actor that looks after it, Serve's controller, the second node with all that runs on it. The same
requests are sent before in a window in which nothing dies: an answer is wrong where it differs from that one's.

Baseline is the bar, one request in a thousand; ours are the shares of requests that fail: that get no answer, or
another than 200, or are due while nobody takes connections. It has recovered when the last one has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from apps.client.async_client import AsyncClient
from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, ROOT, Contender, ours_running
from benchmarks.serving.load import SAID, SLOT, Answered
from benchmarks.serving.model import make
from cluster.errors import HeliotropeError, TransientError

BAR = 1e-3
RATE_RPS, PATIENT_RPS, CONNECTIONS = 150.0, 20.0, 32
WINDOW_S, KILL_AT_S = 20.0, 4.0
PATIENT_SERIAL = 4_000_000
REPLICAS, WORKER_CPUS = 2, 8
RESTORED_TIMEOUT_S, NODE_TIMEOUT_S = 90.0, 60.0
REPLICA, CONTROLLER, LOOKER = "ray::ServeReplica", "ray::ServeController", "ray::HAProxyManager"


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a window of load showed.

    Parameters
    ----------
    sent, failed
        Requests of the open loop.
    asked, lost
        Requests of our client, and those that it had to give up.
    wrong
        Answers of either that differ from those of the quiet window.
    recovered_s
        From the kill to the last failure; 0 without one.
    failures
        Status -> how many of the open loop's requests; 0 are those without an answer.
    """

    sent: int
    failed: int
    asked: int
    lost: int
    wrong: int
    recovered_s: float
    failures: Mapping[int, int]


def named(*names: str) -> list[psutil.Process]:
    """Return the processes below this one whose command line begins with one of the names."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline()[:1])
            if process.status() != psutil.STATUS_ZOMBIE and (words.startswith(names) or process.name() in names):
                found.append(process)
    return found


class Node:
    """A second node on this machine; killing it kills its raylet, its agents and every worker on it."""

    def __init__(self, address: str, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.serving.node", address, str(WORKER_CPUS)]
        with (folder / "node.log").open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    def processes(self) -> list[psutil.Process]:
        """Return the node's processes that live."""
        try:
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """End all of it at once."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()


@contextlib.contextmanager
def second_node(made: list[Node]) -> Iterator[None]:
    """Add a node to the Ray this process is connected to; put it into `made`; end it with the block."""
    import ray

    with tempfile.TemporaryDirectory() as folder:
        made.append(Node(ray.get_runtime_context().gcs_address, Path(folder)))
        try:
            _until(lambda: sum(each["Alive"] for each in ray.nodes()) == 2, NODE_TIMEOUT_S, "a second node")
            yield
        finally:
            made[0].kill()


def _until(condition: Callable[[], Any], timeout_s: float, what: str) -> float:
    """Return the seconds until the condition held; raise TransientError where it does not."""
    begun_s = time.monotonic()
    while not condition():
        if time.monotonic() - begun_s > timeout_s:
            raise TransientError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.05)
    return time.monotonic() - begun_s


async def patient(server: Contender, until_s: float) -> list[Answered]:
    """Ask at a steady rate with our client, which repeats what is safe to repeat."""
    body, answers = Path(server.body).read_bytes(), list[Answered]()

    async def ask(client: AsyncClient, serial: int) -> None:
        due_s, status, digest = time.perf_counter(), 200, 0
        question = json.loads(body.replace(SLOT, b"%07d" % serial, 1))
        try:
            answer = (await client.post(server.path, question, repeatable=True)).content
            digest = zlib.crc32(answer[answer.find(SAID) :])
        except HeliotropeError:
            status = 0
        answers.append(Answered(serial, due_s, time.perf_counter(), status, digest))

    key = server.headers.get("authorization", "").removeprefix("Bearer ") or None
    url = f"http://127.0.0.1:{server.port}"
    async with AsyncClient(url, api_key=key) as client, asyncio.TaskGroup() as group:
        begun_s, count = time.perf_counter(), 0
        while time.perf_counter() < until_s:
            count += 1
            group.create_task(ask(client, PATIENT_SERIAL + count))
            await asyncio.sleep(max(0.0, begun_s + count / PATIENT_RPS - time.perf_counter()))
    return answers


async def window(server: Contender, kill: Callable[[], None]) -> tuple[list[Answered], list[Answered], int, float]:
    """Put load on, kill in the middle; return the loop's answers, the client's, how many were sent, and when."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record"
        load = partial(server.load, rate=RATE_RPS, seconds=WINDOW_S, connections=CONNECTIONS, record=str(file))
        loading = asyncio.create_task(asyncio.to_thread(load))
        asking = asyncio.create_task(patient(server, time.perf_counter() + WINDOW_S))
        await asyncio.sleep(KILL_AT_S)
        killed_s = time.perf_counter()
        await asyncio.to_thread(kill)
        report, answers = await loading, await asking
        told = [Answered(*json.loads(line)) for line in file.read_text().splitlines()]
    return told, answers, int(report["sent"]), killed_s


def judged(
    told: Sequence[Answered], asked: Sequence[Answered], sent: int, killed_s: float, right: dict[int, int]
) -> Window:
    """Return what a window showed, against the answers of the quiet one."""
    good, _got = ([each for each in some if each.status == 200] for some in (told, asked))
    # Whoever has no answer at the end was not answered, whenever that was noticed.
    failed_s = [each.ended_s for each in told if each.status != 200 and each.ended_s > killed_s]
    return Window(
        sent=sent,
        failed=sent - len(good),
        asked=len(asked),
        lost=sum(each.status != 200 for each in asked),
        wrong=sum(
            right.get(each.serial, each.digest) != each.digest for each in [*good, *asked] if each.status == 200
        ),
        recovered_s=round(max(failed_s, default=killed_s) - killed_s, 2),
        failures=dict(Counter(each.status for each in told if each.status != 200)),
    )


def victims(node: Node) -> dict[str, Callable[[], list[psutil.Process]]]:
    """Return name -> the processes that die; the node first, as long as a replica is on it."""
    return {
        "node": node.processes,
        "replica": lambda: named(REPLICA)[:1],
        "haproxy": lambda: named("haproxy"),
        "proxy_actor": lambda: named(LOOKER),
        "controller": lambda: named(CONTROLLER),
    }


def _killer(die: Callable[[], list[psutil.Process]]) -> Callable[[], None]:
    def kill() -> None:
        for process in die():
            with contextlib.suppress(psutil.NoSuchProcess):
                os.kill(process.pid, signal.SIGKILL)

    return kill


def whole(server: Contender) -> bool:
    """Return whether each part is there, and the service says that it is ready."""
    from serve_deployments.deploy import ready_fault

    parts = (len(named(REPLICA)) == REPLICAS, named(CONTROLLER), named(LOOKER), named("haproxy"))
    return all(parts) and not ready_fault(f"http://127.0.0.1:{server.port}")


def examine(server: Contender, node: Node) -> dict[str, dict[str, Any]]:
    """Kill one victim after the other; return what each window showed, the quiet one's first."""
    server.load(rate=0, seconds=2, connections=CONNECTIONS, serial=9_000_000)
    there = {each.pid for each in node.processes()}
    if not any(each.pid in there for each in named(REPLICA)):
        raise TransientError("no replica is on the second node: its death would show nothing")
    told, asked, sent, killed_s = asyncio.run(window(server, lambda: None))
    right = {each.serial: each.digest for each in [*told, *asked] if each.status == 200}
    found = {"nobody": vars(judged(told, asked, sent, killed_s, right))}
    for name, die in victims(node).items():
        window_of = asyncio.run(window(server, _killer(die)))
        restored_s = _until(lambda: whole(server), RESTORED_TIMEOUT_S, f"all parts after the death of the {name}")
        found[name] = {**vars(judged(*window_of, right)), "restored_after_window_s": round(restored_s, 1)}
        print(f"    {name}: {found[name]}", flush=True)
    return found


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - the windows have their order
    """Examine once."""
    from serve_deployments.graph import Scaling
    from serve_deployments.resilience.safety_spec import SafetySpec
    from serve_deployments.resilience.spec import FallbackSpec

    nodes: list[Node] = []
    changes = {
        "scaling": Scaling(min_replicas=REPLICAS, max_replicas=REPLICAS),
        # The same requests come in each window, and must be computed.
        "safety": SafetySpec(fallback=FallbackSpec(enabled=True)),
    }
    with ours_running(make(CACHE / "model"), beside=lambda: second_node(nodes), **changes) as server:
        found = examine(server, nodes[0])
    if wrong := sum(each["wrong"] for each in found.values()):
        raise RuntimeError(f"{wrong} answers differ from those of the quiet window: {found}")
    shares = {name: each["failed"] / each["sent"] for name, each in found.items()}
    patient_share = sum(each["lost"] for each in found.values()) / sum(each["asked"] for each in found.values())
    ours = {"worst": max(shares.values()), **shares, "our client, all windows": patient_share}
    return Pair(seed=seed, baseline=BAR, ours=ours, notes=found)


BENCHMARK = Benchmark(
    name="serving_kills",
    question=f"share of requests that fail in {WINDOW_S:g} s of {RATE_RPS:g}/s in which a process dies, over 0.1 %",
    goal=1.0,
    pair=pair,
)
