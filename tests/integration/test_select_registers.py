"""`heliotrope select --register`: what is chosen for each kind of series is fitted, judged and registered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from apps.cli.main import app


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("ML_HOME", str(home))
    return CliRunner()


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hourly meters, two with a daily season and two that wander."""
    rng = np.random.default_rng(1)
    hours = np.arange(700)
    frames = []
    for number in range(4):
        wave = 20 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 2, len(hours))
        y = 100 + (wave if number < 2 else rng.normal(0, 1, len(hours)).cumsum())
        times = pd.date_range("2024-01-01", periods=len(hours), freq="h")
        frames.append(pd.DataFrame({"meter": f"m{number}", "date": times, "kwh": y.round(3)}))
    path = tmp_path_factory.mktemp("data") / "meters.csv"
    pd.concat(frames).to_csv(path, index=False)
    return path


WORDS = [
    *("select", "--target", "kwh", "--timestamp", "date", "--series", "meter", "--horizon", "12"),
    *("--cutoffs", "4", "--families", "seasonal_naive,ridge", "--workers", "0", "--register", "--json"),
]


def test_what_passes_the_gate_is_registered_for_each_group(shell: CliRunner, csv: Path) -> None:
    result = shell.invoke(app, [*WORDS, str(csv)])
    assert result.exit_code == 0, result.output
    rows = {row["group"]: row for row in json.loads(result.stdout)["registered"]}
    assert rows["seasonal"]["model"] == "meters-kwh-seasonal"
    assert rows["seasonal"]["version"] == "1.0.0"
    assert rows["seasonal"]["gate"].startswith("passed")
    listed = shell.invoke(app, ["models", "list", "--json"])
    assert "meters-kwh-seasonal" in {row["name"] for row in json.loads(listed.stdout)}
    for row in rows.values():
        assert bool(row["version"]) == row["gate"].startswith("passed")
