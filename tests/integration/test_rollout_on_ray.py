"""Two real versions behind real HTTP: the worse one rises, breaches, is rolled back and verified; nobody waits.

Printed with `pytest -s`: the story as a transcript.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from apps.platform import Platform
from apps.reports.rollout_story import story
from apps.running import Running
from cluster.lifecycle import Cluster
from cluster.registry.registry import APPROVAL, EVALUATION
from cluster.registry.version import Lineage, Stage
from cluster.settings import Settings
from serve_deployments.question_routes import FORECAST_PATH
from training.core.artifact import save_artifact
from training.core.panel import Panel
from training.models.ensemble import Ensemble

pytestmark = pytest.mark.ray
DEADLINE_S = 90.0
CANARY = {"weights": [0.2, 0.5, 1.0], "min_stage_s": 3, "min_requests": 40}


def wrong_unit(ensemble: Ensemble) -> Ensemble:
    """A version whose forecasts are four times too high, as another unit would make them."""
    made = deepcopy(ensemble)
    made._weights = 4 * ensemble.step_weights
    return made


@pytest.fixture
def platform(ray_cluster: Cluster, ensemble: Ensemble, hourly: Panel, tmp_path: Path) -> Iterator[Platform]:
    """A platform whose registry has 1.0.0 in production, an equal 1.1.0, and 1.2.0 with the wrong unit."""
    settings = Settings.from_environment(
        {"ML_HOME": str(tmp_path / "home"), "ML_HTTP_PORT": "0", "ML_TRACKING_PORT": "0", "ML_DASHBOARD_PORT": "0"}
    )
    running = Running(pid=os.getpid(), ray_address=ray_cluster.address, dashboard_url="", tracking_url="")
    made = Platform(settings, ray_cluster, running)
    running.save(settings)
    for seed, version in enumerate((ensemble, ensemble, wrong_unit(ensemble))):
        folder = tmp_path / f"artifact-{seed}"
        save_artifact(version, hourly.schema, folder)
        lineage = Lineage(
            data_digest="d",
            schema_digest="s",
            parameters={"seed": seed},
            seed=seed,
            code_revision="r",
            libraries={},
        )
        evidence = {EVALUATION: {"passed": True}, APPROVAL: {"by": "test"}}
        registered = made.registry.register(
            "nox", folder, lineage=lineage, metrics={"accuracy": 0.9}, owner="test", evidence=evidence
        )
        made.registry.promote("nox", registered.version, Stage.STAGING if seed else Stage.PRODUCTION)
    made.serve()
    try:
        yield made
    finally:
        made.close()
        Running.forget(settings)


class Load:
    """Users who go on asking, each answer's version and status counted."""

    def __init__(self, url: str, request: dict[str, Any], workers: int = 2) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self._url, self._request, self._end = url, request, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(workers)]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as http:
            while not self._end.is_set():
                answer = http.post(FORECAST_PATH, json=self._request)
                version = answer.json().get("model", {}).get("version", "none")
                self.answers[version, answer.status_code] += 1

    @contextmanager
    def going(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in self._threads:
                thread.join()


def until(condition: Callable[[], Any], platform: Platform, what: str) -> Any:
    """Tick the platform, as `heliotrope up` does, until the condition is true."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        platform.reconcile()
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {DEADLINE_S:g} s: {what}")


def test_a_worse_version_is_rolled_back_and_an_equal_one_is_promoted(
    platform: Platform, good_request: dict[str, Any]
) -> None:
    http = httpx.Client(base_url=platform.running.endpoint, timeout=30)

    def told(name: str) -> dict[str, Any]:
        seen: dict[str, Any] = http.get(f"/api/deployments/{name}").json()
        return seen

    def kill_office_when(name: str, state: str) -> None:
        """Kill the process that looks after rollouts, once; Ray brings it back."""
        if told(name)["state"] == state and not killed:
            pid = ray.get(platform._office.pid.remote())
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killed: list[int] = []

    def roll_out(name: str, version: str) -> dict[str, Any]:
        wish = {"id": name, "model": "nox", "version": version, "parameters": CANARY, "why": "test"}
        answer = http.post("/api/deployments", json=wish)
        assert answer.status_code == 200, answer.text

        def over() -> bool:
            if name == "equal":
                kill_office_when(name, "running")
            seen = told(name)
            return seen["state"] in ("promoted", "rolled_back") and not seen["effects"]

        until(over, platform, f"end of {name}")
        return told(name)

    with http, (load := Load(platform.running.endpoint, good_request)).going():
        worse = roll_out("worse", "1.2.0")
        transcript(worse, load)
        assert [step["what"] for step in worse["history"]] == ["created", "started", "rolling back", "rolled back"]
        assert worse["verification"]["verified"] and worse["weights"] == {"1.2.0": 0.0, "1.0.0": 1.0}
        equal = roll_out("equal", "1.1.0")
        transcript(equal, load)
        assert equal["state"] == "promoted" and equal["worst_pairs"]
        assert killed and ray.get(platform._office.pid.remote()) not in killed
        until(lambda: http.get("/api/models").json()["models"][0]["version"] == "1.1.0", platform, "1.1.0 served")
    assert {status for _, status in load.answers} == {200}
    # Where a forecast of 1.2.0 is beyond reason, 1.0.0 answers in its place, and that counts against 1.2.0.
    assert {version for version, _ in load.answers} >= {"1.0.0", "1.1.0"}
    versions = {str(each.version): each for each in platform.registry.versions("nox")}
    assert versions["1.2.0"].evidence["unstable"]["rollout"] == "worse"
    assert [versions[each].stage for each in ("1.0.0", "1.1.0", "1.2.0")] == [
        Stage.ARCHIVED, Stage.PRODUCTION, Stage.ARCHIVED
    ]  # fmt: skip


def transcript(rollout: dict[str, Any], load: Load) -> None:
    """Print the story of a rollout, as `heliotrope deployments story` does."""
    answers = ", ".join(f"{count} from {version} ({status})" for (version, status), count in load.answers.items())
    sys.stdout.write("\n".join(["", *story(rollout), f"  answers so far: {answers}", ""]))
