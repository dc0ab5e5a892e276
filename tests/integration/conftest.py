"""One real Ray for all integration tests of a session, and processes for tests that need a Ray of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.lifecycle import Cluster
from cluster.settings import Settings

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A local Ray with 4 logical CPUs and a dashboard, on free ports."""
    home = tmp_path_factory.mktemp("ray-home")
    settings = Settings.from_environment({"ML_HOME": str(home), "ML_DASHBOARD_PORT": "0"})
    with Cluster.open(settings, num_cpus=4) as cluster:
        yield cluster


@pytest.fixture
def run_script(tmp_path: Path) -> Script:
    """Run Python source in a process of its own, where Ray is not connected yet; its arguments are strings."""

    def run(source: str, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "script.py"
        path.write_text(source)
        return subprocess.run(
            [sys.executable, str(path), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run
