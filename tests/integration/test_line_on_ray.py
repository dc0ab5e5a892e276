"""The main line on a real Ray: search, train, judge, register, serve, ask; and the command line around it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ray.serve import context as serve_context

from apps.client.client import Client
from apps.emissions.replay import Replay
from apps.pipelines.line import Line
from apps.pipelines.progress import Silent
from apps.pipelines.recipe import part
from apps.pipelines.search import Asked
from apps.pipelines.serving import graph_of_production
from cluster.errors import ArtifactCorrupt, GateRefused
from cluster.lifecycle import Cluster
from cluster.registry.version import SemanticVersion
from cluster.settings import Settings
from serve_deployments.deploy import serve_graph, stop
from training.core.artifact import load_artifact
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.data.bundled import load_sample
from training.models import MODELS
from tuning.budget import Budget

pytestmark = pytest.mark.ray

HELIOTROPE = str(Path(sys.executable).with_name("heliotrope"))
SMALL = (
    part("ridge", window=48),
    part("xgboost", rounds=20, window=24, depth=3, learning_rate=0.2),
    part("lstm", max_epochs=2, hidden=[8], dense=8, channels=["NOX"], stride=8),
)


TRAIN = ("--target", "kwh", "--unit", "kWh", "--timestamp", "date", "--workers", "0", "--epochs", "1")


@pytest.fixture(scope="module")
def panel() -> Panel:
    whole = load_sample("gas_turbine")
    return Panel(whole.frame.tail(5000).reset_index(drop=True), whole.schema)


def test_from_a_table_to_a_forecast_over_http(ray_cluster: Cluster, settings: Settings, panel: Panel) -> None:
    line = Line(settings, workers=2, progress=Silent())
    recipe = line.recipe(panel, "NOX", horizon=6, epochs=2).with_members(SMALL)
    found = line.search(panel, recipe, Asked(budget=Budget(trials=2)))
    judged = line.judge(panel, found.improved(recipe))
    version = line.register(judged, owner="tests")
    assert judged.card.metrics()["wape"] < judged.baseline.metrics()["wape"]
    assert (str(version.version), version.stage.value, version.owner) == ("1.0.0", "production", "tests")
    assert {run.name for run in line.tracker.runs(recipe.name)} == {"train"}

    served = serve_graph(graph_of_production(line.registry, settings), settings)
    try:
        with Client(served.url) as client:
            info = client.model(version.name)
            since = chronological_split(panel).test_start
            replay = Replay.of(panel, info, client, since=since, origins=3, asked=lambda done: None)
        for forecast in replay.forecasts:
            expected = judged.model.forecast(forecast.history.for_target("NOX")).point[0, :, 0]
            np.testing.assert_allclose(forecast.steps["prediction"], expected, rtol=1e-6)
        picture = replay.draw(settings.home / "picture.png")
        assert picture.read_bytes().startswith(b"\x89PNG")
    finally:
        stop(served)
    assert serve_context._global_client is None, "the next Ray of this process would be taken for this one"


def test_the_gate_refuses_and_registers_nothing(settings: Settings, panel: Panel) -> None:
    line = Line(settings, workers=0, progress=Silent())
    recipe = line.recipe(panel, "CO", horizon=24, epochs=1).with_members((part("ridge"),))
    with pytest.raises(GateRefused, match=r"0\.\d+ below the minimum 0\.85"):
        line.register(line.judge(panel, recipe), owner="tests")
    assert line.registry.names() == ()


def test_a_corrupted_file_of_a_version_is_refused_by_name(settings: Settings, panel: Panel, tmp_path: Path) -> None:
    line = Line(settings, workers=0, progress=Silent())
    recipe = line.recipe(panel, "NOX", horizon=6, epochs=1).with_members((part("ridge", window=48),))
    version = line.register(line.judge(panel, recipe), owner="tests")
    fetched = line.registry.fetch(version, tmp_path / "fetched")
    arrays = fetched / "arrays.npz"
    data = bytearray(arrays.read_bytes())
    data[len(data) // 2] ^= 1
    arrays.write_bytes(bytes(data))
    with pytest.raises(ArtifactCorrupt, match=r"arrays\.npz"):
        load_artifact(fetched, MODELS)


def test_a_second_training_is_a_new_version(settings: Settings, panel: Panel) -> None:
    line = Line(settings, workers=0, progress=Silent())
    recipe = line.recipe(panel, "NOX", horizon=6, epochs=1).with_members((part("ridge", window=48),))
    first = line.register(line.judge(panel, recipe), owner="tests")
    later = Panel(panel.frame.tail(4900), panel.schema)
    second = line.register(line.judge(later, recipe), owner="tests")
    other = recipe.with_members((part("ridge", window=24),))
    third = line.register(line.judge(later, other), owner="tests")
    versions = [first.version, second.version, third.version]
    assert versions == [SemanticVersion(1, 0, 0), SemanticVersion(1, 0, 1), SemanticVersion(1, 1, 0)]
    assert line.registry.get(recipe.name).version == third.version


# -- the command line ----


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("shell"))


class Shell:
    """Runs commands as a user would, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ML_", "RAY_"))}
        free = {"ML_HTTP_PORT": "0", "ML_DASHBOARD_PORT": "0", "ML_TRACKING_PORT": "0"}
        self.environment = clean | free | {"ML_HOME": str(folder / "home"), "COLUMNS": "160"}

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [HELIOTROPE, *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))


@pytest.fixture(scope="module")
def trained(shell: Shell) -> dict[str, Any]:
    hours = pd.date_range("2024-01-01", periods=1500, freq="h")
    noise = np.random.default_rng(0).normal(0, 1, len(hours))
    load = 50 + 10 * np.sin(2 * np.pi * hours.hour / 24) + noise
    pd.DataFrame({"date": hours, "kwh": load.round(3)}).to_csv(shell.folder / "mine.csv", index=False)
    model: dict[str, Any] = shell.json("train", "mine.csv", *TRAIN, "--horizon", "6")
    return model


@pytest.fixture(scope="module")
def platform(shell: Shell, trained: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [HELIOTROPE, "up"], cwd=shell.folder, env=shell.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        seen = [process.stdout.readline() for _ in range(5)]
        assert "Ctrl-C" in seen[-1], seen
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_train_prints_the_registered_version(trained: dict[str, Any]) -> None:
    assert (trained["model"], trained["version"], trained["stage"]) == ("mine-kwh", "1.0.0", "production")
    assert trained["metrics"]["accuracy"] > 0.9
    assert trained["gate"]["passed"] is True


def test_status_health_and_models(shell: Shell, platform: subprocess.Popen[str]) -> None:
    status = shell.json("status")
    assert status["running"]["pid"] == platform.pid
    assert [model["name"] for model in status["models"]] == ["mine-kwh"]
    assert set(shell.json("health")) == {"/healthz", "/readyz"}
    assert [row["name"] for row in shell.json("models", "list")] == ["mine-kwh"]
    assert shell.json("models", "show", "mine-kwh")["lineage"]["seed"] == 0
    assert "mine-kwh" in {row["experiment"] for row in shell.json("experiments", "list")}


def test_predict_goes_on_where_the_file_ends(shell: Shell, platform: subprocess.Popen[str]) -> None:
    options = ["--timestamp", "date", "--horizon", "3", "--output", "out.csv"]
    answer = shell.json("predict", "mine-kwh", "mine.csv", *options)
    steps = answer["forecasts"][0]["steps"]
    assert steps[0]["timestamp"] == "2024-03-03T12:00:00"
    assert all(step["lower"] <= step["prediction"] <= step["upper"] for step in steps)
    assert len(pd.read_csv(shell.folder / "out.csv")) == 3
    assert 'ml_predictions_total{model_name="mine-kwh",model_version="1.0.0"}' in shell.run("metrics")


def test_jobs_follow_fail_and_are_tried_again(shell: Shell, platform: subprocess.Popen[str]) -> None:
    assert "forty-two" in shell.run("jobs", "submit", "--wait", "--", "echo", "forty-two")
    shell.run("jobs", "submit", "--wait", "--", "sh", "-c", "exit 7", code=7)
    shell.run("jobs", "submit", "--attempts", "2", "--name", "tried", "--", "false")
    deadline = time.monotonic() + 90
    ended: dict[str, str] = {}
    while set(ended.values()) != {"FAILED"} or len(ended) < 2:
        assert time.monotonic() < deadline, ended
        jobs = shell.json("jobs", "list")
        ended = {job["job"]: job["status"] for job in jobs if job["job"].startswith("tried-")}
    assert sorted(ended) == ["tried-1", "tried-2"]


def test_serve_takes_the_newest_version_and_refuses_a_corrupted_one(
    shell: Shell, platform: subprocess.Popen[str]
) -> None:
    shell.json("train", "mine.csv", *TRAIN, "--horizon", "5")
    shell.run("serve")
    assert [model["version"] for model in shell.json("status")["models"]] == ["1.1.0"]
    shell.json("train", "mine.csv", *TRAIN, "--horizon", "4")
    newest = max((shell.folder / "home").rglob("arrays.npz"), key=lambda path: path.stat().st_mtime)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    assert "arrays.npz is corrupt" in shell.run("serve", code=5)
    assert [model["version"] for model in shell.json("status")["models"]] == ["1.1.0"]
    shell.run("health")


def test_mistakes_have_their_exit_codes(shell: Shell, platform: subprocess.Popen[str]) -> None:
    assert "Known: mine-kwh" in shell.run("predict", "nothing", "mine.csv", "--timestamp", "date", code=2)
    assert "UnknownNameError" in shell.run("jobs", "logs", "nothing", code=2)
    shell.environment |= {"ML_MIN_INSTANCE": "1"}
    try:
        assert "Did you mean ML_MIN_INSTANCES" in shell.run("status", code=2)
    finally:
        del shell.environment["ML_MIN_INSTANCE"]


def test_ctrl_c_ends_everything(shell: Shell, platform: subprocess.Popen[str]) -> None:
    running = shell.json("status")["running"]
    platform.send_signal(signal.SIGINT)
    assert platform.wait(60) == 0
    assert platform.stdout
    assert "shut down" in platform.stdout.read()
    assert "No platform" in shell.run("status")
    shell.run("health", "--endpoint", running["endpoint"], code=4)
