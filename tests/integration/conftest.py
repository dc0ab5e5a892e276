"""One real Ray for all integration tests of a session, and processes for tests that need a Ray of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
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
