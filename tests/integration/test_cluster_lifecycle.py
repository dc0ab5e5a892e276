"""Starting, attaching, owning and closing a Ray, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.errors import ConfigError
from cluster.lifecycle import Cluster
from cluster.ports import LOOPBACK, free_port
from cluster.settings import Settings

pytestmark = pytest.mark.ray
Script = Callable[..., subprocess.CompletedProcess[str]]

OPEN = """
import json, os, signal, sys, time
from cluster.lifecycle import Cluster
from cluster.settings import Settings

# A shell that starts the tests in the background makes its children ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

def settings(home, **more):
    return Settings.from_environment({"ML_HOME": home, "ML_DASHBOARD_PORT": "0"} | more)
"""

HOLD = (
    OPEN
    + """
with Cluster.open(settings(sys.argv[1]), num_cpus=1, dashboard=False) as cluster:
    print(cluster.address, flush=True)
    time.sleep(300)
"""
)


def ours(session: int) -> list[psutil.Process]:
    """The living processes of a session."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session:
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found


def until(condition: Callable[[], Any], timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.1)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a process that opens a Ray of its own and holds it."""
    begun: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        # A long home: Ray's sockets must not live under it.
        home = tmp_path / ("long" * 25)
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def started(process: subprocess.Popen[str]) -> tuple[int, list[psutil.Process]]:
    """Wait for the Ray, and return the pid of its head process and all its processes."""
    assert process.stdout is not None
    assert process.stdout.readline().startswith(LOOPBACK)
    (head,) = [
        child for child in psutil.Process(process.pid).children() if "cluster.head" in " ".join(child.cmdline())
    ]
    everything = ours(head.pid)
    assert {"gcs_server", "raylet"} <= {each.name() for each in everything}
    return head.pid, everything


@pytest.mark.parametrize(
    ("ending", "returncode"),
    [
        (signal.SIGINT, (-signal.SIGINT, 1)),
        (signal.SIGTERM, (signal.SIGTERM,)),
        (signal.SIGKILL, (-signal.SIGKILL,)),
    ],
    ids=["ctrl-c", "sigterm", "sigkill"],
)
def test_a_signal_leaves_no_process_behind(
    holder: Callable[[], subprocess.Popen[str]], ending: signal.Signals, returncode: tuple[int, ...]
) -> None:
    process = holder()
    session, before = started(process)
    # Ctrl-C in a terminal goes to the foreground group: the program must stay in it, and Ray must not be.
    assert os.getpgid(process.pid) == os.getpgrp()
    assert all(os.getpgid(each.pid) != os.getpgrp() for each in before)
    process.send_signal(ending)
    process.wait(60)
    assert process.returncode in returncode
    until(lambda: not ours(session))


def test_ctrl_c_while_it_starts_leaves_no_process_behind(holder: Callable[[], subprocess.Popen[str]]) -> None:
    process = holder()
    until(lambda: any(each.name() == "gcs_server" for each in psutil.Process(process.pid).children(recursive=True)))
    (head,) = [
        each for each in psutil.Process(process.pid).children() if "cluster.head" in " ".join(each.cmdline())
    ]
    process.send_signal(signal.SIGINT)
    process.wait(60)
    until(lambda: not ours(head.pid))


def test_a_ray_of_ours_listens_on_the_loopback_device_alone(ray_cluster: Cluster) -> None:
    assert ray_cluster.owned
    (head,) = [each for each in psutil.Process().children() if "cluster.head" in " ".join(each.cmdline())]
    listening = [
        connection.laddr.ip
        for each in ours(head.pid)
        for connection in each.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {LOOPBACK}


def test_what_a_cluster_says_of_itself(ray_cluster: Cluster) -> None:
    assert ray_cluster.resources()["CPU"] == 4
    (node,) = ray_cluster.nodes()
    assert node.alive
    assert node.address == LOOPBACK
    assert node.resources["CPU"] == 4
    assert ray_cluster.address.startswith(f"{LOOPBACK}:")
    assert ray_cluster.dashboard_url is not None
    assert ray_cluster.dashboard_url.startswith(f"http://{LOOPBACK}:")


def test_a_second_open_in_a_process_is_refused(ray_cluster: Cluster, settings: Settings) -> None:
    with pytest.raises(ConfigError, match="connected to a Ray already"):
        Cluster.open(settings)


ATTACH = (
    OPEN
    + """
import ray

before = dict(os.environ)
home, address = sys.argv[1:]
with Cluster.open(settings(home, ML_RAY_ADDRESS=address), namespace="visit") as cluster:
    first = {"owned": cluster.owned, "address": cluster.address, "dashboard": cluster.dashboard_url,
             "namespace": ray.get_runtime_context().namespace, "cpus": cluster.resources()["CPU"]}
cluster.close()
left = {name for name in os.environ if os.environ[name] != before.get(name)} & {*before}
gone = not ray.is_initialized()
with Cluster.open(settings(home, RAY_ADDRESS=address)) as cluster:
    again = cluster.address
    auth = os.environ["RAY_AUTH_MODE"]
print(json.dumps([first, gone, again, auth, sorted(left)]))
"""
)


def test_attaching_owns_nothing_and_leaves_the_cluster_alive(
    ray_cluster: Cluster, run_script: Script, home: Path
) -> None:
    done = run_script(ATTACH, str(home), ray_cluster.address)
    assert done.returncode == 0, done.stderr
    first, gone, again, auth, left = json.loads(done.stdout.splitlines()[-1])
    assert first == {
        "owned": False,
        "address": ray_cluster.address,
        "dashboard": ray_cluster.dashboard_url,
        "namespace": "visit",
        "cpus": 4,
    }
    assert gone
    assert again == ray_cluster.address
    assert auth == "disabled"
    assert left == []
    assert ray_cluster.nodes()[0].alive


ALONE = (
    OPEN
    + """
import socket
import psutil, ray
from cluster.lifecycle import DEFAULTS, LOOPBACK_ONLY

before = dict(os.environ)
taken = socket.create_server(("127.0.0.1", 0))
port = str(taken.getsockname()[1])
try:
    with Cluster.open(settings(sys.argv[1], ML_DASHBOARD_PORT=port), num_cpus=1) as cluster:
        assert cluster.dashboard_url and not cluster.dashboard_url.endswith(":" + port), cluster.dashboard_url
        inside = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_TRAIN_COLLECTIVE_TIMEOUT_S")}
        seen = ray.get(ray.remote(lambda: os.environ["RAY_USAGE_STATS_ENABLED"]).remote())
        below = psutil.Process().children(recursive=True)
        raise ValueError("on purpose")
except ValueError:
    psutil.wait_procs(below, timeout=60)
    alive = [each.name() for each in below if each.is_running() and each.status() != "zombie"]
ours = {*DEFAULTS, *LOOPBACK_ONLY}
print(json.dumps([inside, seen, alive, sorted(n for n in ours if os.environ.get(n) != before.get(n))]))
"""
)


def test_an_exception_a_taken_port_and_the_environment(run_script: Script, home: Path) -> None:
    done = run_script(ALONE, str(home), env={"RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "7"})
    assert done.returncode == 0, done.stderr
    inside, seen, alive, changed = json.loads(done.stdout.splitlines()[-1])
    assert inside == {"RAY_AUTH_MODE": "disabled", "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "7"}
    assert seen == "0"
    assert alive == []
    assert changed == []


NOBODY = (
    OPEN
    + """
from cluster.errors import TransientError
started = time.monotonic()
try:
    Cluster.open(settings(sys.argv[1], ML_RAY_ADDRESS="127.0.0.1:" + sys.argv[2]))
except TransientError as error:
    print(json.dumps([str(error), time.monotonic() - started, "RAY_TRAIN_COLLECTIVE_TIMEOUT_S" in os.environ]))
"""
)


def test_an_address_where_nobody_answers_is_named_at_once(run_script: Script, home: Path) -> None:
    port = free_port()
    done = run_script(NOBODY, str(home), str(port))
    message, took_s, left = json.loads(done.stdout.splitlines()[-1])
    assert message.startswith(f"no Ray answers at 127.0.0.1:{port}; start one there, or unset ML_RAY_ADDRESS")
    assert took_s < 60  # Ray alone would try for minutes
    assert not left
