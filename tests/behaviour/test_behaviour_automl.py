"""`heliotrope automl` keeps its time on a real clock, says why, and leaves a registered version."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from cluster.registry.mlflow_registry import open_registry
from cluster.registry.version import Stage
from cluster.settings import Settings
from tuning.automl.automl import AutoML, AutoMLSpec
from tuning.automl.recognise import recognise

BUDGET_S = 4.0


def table(count: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"heat": rng.normal(size=count), "plant": rng.choice(["a", "b", "c"], count)})
    return frame.assign(output=5 * np.sin(frame["heat"]) + (frame["plant"] == "a") + rng.normal(0, 0.2, count))


def test_a_real_run_keeps_its_time_to_a_tenth() -> None:
    import lightgbm  # noqa: F401 - loading libraries is not searching
    import sklearn.ensemble  # noqa: F401
    import xgboost  # noqa: F401

    frame = table()
    schema = recognise(frame, name="plant", target="output").schema
    assert schema is not None
    started_s = time.monotonic()
    found = AutoML(AutoMLSpec(budget_s=BUDGET_S)).fit(schema.read(frame), schema.read_target(frame), schema)
    assert time.monotonic() - started_s <= BUDGET_S * 1.1
    assert found.leaderboard[0].score < 0.4
    assert found.tried > 5


def test_the_command_registers_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plant.csv"
    table().to_csv(path, index=False)
    monkeypatch.setenv("ML_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["automl", str(path), "--target", "output", "--budget", "5s", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["task"] == "regression"
    assert "'output' is a number" in told["reasons"][0]
    version = open_registry(Settings.from_environment({"ML_HOME": str(tmp_path / "home")})).get("plant-output")
    assert (version.stage, str(version.version)) == (Stage.PRODUCTION, told["version"])
    assert version.evidence["kind"] == "predict"
    assert version.metrics["r2"] > 0.9
