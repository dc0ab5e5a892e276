"""One real Ray for all integration tests of a session, and processes for tests that need a Ray of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from cluster.lifecycle import Cluster
from cluster.ports import LOOPBACK, free_port
from cluster.settings import Settings

Script = Callable[..., subprocess.CompletedProcess[str]]


class RedisServer:
    """A redis-server of its own, on loopback, that keeps nothing on disk; may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.port, self._folder = free_port(), folder
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        options = ["--bind", LOOPBACK, "--port", str(self.port), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline_s, "redis-server did not answer within 20 s"
            time.sleep(0.02)

    def _answers(self) -> bool:
        from redis import Redis
        from redis.exceptions import RedisError

        with Redis.from_url(self.url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A local Ray with 4 logical CPUs and a dashboard, on free ports."""
    home = tmp_path_factory.mktemp("ray-home")
    settings = Settings.from_environment({"ML_HOME": str(home), "ML_DASHBOARD_PORT": "0"})
    with Cluster.open(settings, num_cpus=4) as cluster:
        yield cluster


@pytest.fixture
def run_script(tmp_path: Path) -> Script:
    """Run Python source, or a file, in a process of its own without RAY_* and ML_* variables."""

    def run(
        source: str | Path, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "script.py" if isinstance(source, str) else source
        if isinstance(source, str):
            path.write_text(source)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "ML_"))}
        return subprocess.run(
            [sys.executable, str(path), *arguments],
            env=clean | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run
