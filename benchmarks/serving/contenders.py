"""Servers under test, each started as its documentation advises, in an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.load import Job, spec
from benchmarks.serving.model import request
from cluster.errors import TransientError
from cluster.ports import answers, free_port

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "heliotrope-benchmarks"
VERSIONS = {"litserve": "litserve", "bentoml": "bentoml"}
START_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A running server.

    Parameters
    ----------
    port, path
        Where it takes requests.
    body
        File with a request as it wants it.
    headers
        That it wants.
    """

    port: int
    path: str
    body: str
    headers: Mapping[str, str]

    def load(
        self, *, rate: float, seconds: float, connections: int, serial: int = 0, record: str = ""
    ) -> dict[str, Any]:
        """Put load on it from a process of its own; return what came of it."""
        job = Job(
            host="127.0.0.1",
            port=self.port,
            path=self.path,
            body=self.body,
            rate=rate,
            seconds=seconds,
            connections=connections,
            headers=self.headers,
            serial=serial,
            record=record,
        )
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.serving.load", spec(job)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=True,
        )
        report: dict[str, Any] = json.loads(done.stdout)
        return report


def interpreter(peer: str) -> str:
    """Return the Python of a peer's environment, made and filled at first use.

    The peer brings its own web stack; numpy, torch and xgboost are those of this environment, so that the model
    computes the same.
    """
    if peer not in VERSIONS:
        return sys.executable
    folder = CACHE / peer
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        ours = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "ours.pth"
        ours.write_text(sysconfig.get_path("purelib") + "\n")
        subprocess.run([python, "-m", "pip", "install", "-q", VERSIONS[peer]], check=True, timeout=600)
        (folder / "complete").touch()
    return str(python)


def commands(peer: str, workers: int, port: int) -> tuple[Sequence[str], str]:
    """Return how a peer is started, and where it takes requests."""
    python = interpreter(peer)
    app = "benchmarks.serving.peers"
    if peer == "fastapi":
        web = ["-m", "uvicorn", f"{app}.fastapi_app:app", "--log-level", "error", "--workers", str(workers)]
        return [python, *web, "--port", str(port)], "/predict"
    if peer == "litserve":
        return [python, "-m", f"{app}.litserve_app", str(port), str(workers)], "/predict"
    return [python, "-m", "bentoml", "serve", f"{app}.bento_app:Peer", "--port", str(port), "-q"], "/predict"


@contextlib.contextmanager
def peer_running(peer: str, workers: int, model: Path) -> Iterator[Contender]:
    """Run a peer while the block runs."""
    port = free_port()
    command, path = commands(peer, workers, port)
    environment = os.environ | {
        "BENCHMARK_MODEL": str(model),
        "BENCHMARK_WORKERS": str(workers),
        "OMP_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "true",
        "PYTHONPATH": str(ROOT),
    }
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        body = Path(folder) / "body"
        body.write_bytes(b'{"requests":[' + request() + b"]}" if peer == "bentoml" else request())
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            made = Contender(port=port, path=path, body=str(body), headers={})
            _await(made, process, Path(folder) / "log")
            yield made
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and all of its group, workers that outlive it among them."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(made: Contender, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        if answers("127.0.0.1", made.port) and _asked(made):
            return
        time.sleep(0.3)
    raise TransientError(f"{made.path} on {made.port} did not come up: {log.read_text()[-2000:]}")


def _asked(made: Contender) -> bool:
    """Return whether one request is answered well."""
    body = Path(made.body).read_bytes().replace(b"@@@@@@@", b"0000000")
    asked = urllib.request.Request(
        f"http://127.0.0.1:{made.port}{made.path}", data=body, headers={"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status == 200 and b"prediction" in answer.read()
    except OSError:
        return False


@contextlib.contextmanager
def ours_running(
    model: Path, *, beside: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext, **changes: Any
) -> Iterator[Contender]:
    """Run the served path on a Ray of its own while the block runs, as the production profile has it.

    Keys and roles, rate limit, audit log and log lines are on. The one caller stands for many: its limit is higher.

    Parameters
    ----------
    model
        The artifact.
    beside
        Made when the Ray is there, before anything is served on it, and held while the block runs.
    **changes
        To the GraphSpec: `placement`, `scaling`, `max_batch_size`.
    """
    from dataclasses import replace

    from benchmarks.serving.model import NAME, VERSION
    from cluster.clock import SystemClock
    from cluster.lifecycle import Cluster
    from cluster.security.key_file import KeyFile
    from cluster.security.roles import Role
    from cluster.settings import Settings
    from serve_deployments.deploy import serve_graph, stop
    from serve_deployments.graph import GraphSpec, ServedModel
    from serve_deployments.question_routes import FORECAST_PATH

    with tempfile.TemporaryDirectory() as home:
        keys = KeyFile(Path(home) / "keys.json")
        key = keys.change(lambda book: book.create("load", Role.PREDICTOR, now_s=SystemClock().now_s()))
        settings = Settings.from_environment(
            {
                "ML_PROFILE": "production",
                "ML_API_KEYS_FILE": str(keys.path),
                "ML_RATE_LIMIT_PER_MINUTE": "10000000",
                "ML_RATE_LIMIT_BURST": "1000000",
                "ML_HOME": home,
                "ML_HTTP_PORT": "0",
                "ML_DASHBOARD_PORT": "0",
                "ML_HTTP_INGRESS": "haproxy",
                "ML_MAX_CONCURRENT_REQUESTS": "200",
            }
        )
        body = Path(home) / "body"
        body.write_bytes(request())
        with Cluster.open(settings, num_cpus=8, dashboard=False), beside():
            wanted = GraphSpec.from_settings(settings, [ServedModel(name=NAME, version=VERSION, uri=str(model))])
            served = serve_graph(replace(wanted, **changes), settings)
            try:
                port = int(served.url.rpartition(":")[2])
                headers = {"authorization": f"Bearer {key.text}"}
                yield Contender(port=port, path=FORECAST_PATH, body=str(body), headers=headers)
            finally:
                stop(served)
