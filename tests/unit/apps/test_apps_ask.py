"""`heliotrope whatif` and `heliotrope explain` on an artifact's folder and on a registered version."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from cluster.errors import ConfigError, DataError, UnknownNameError, UserError
from cluster.registry.mlflow_registry import open_registry
from cluster.registry.version import Lineage
from cluster.settings import Settings
from training.alarms.alarm_model import AlarmModel
from training.core.artifact import save_artifact
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.data.generator import generate_emissions
from training.models.ridge import Ridge

HORIZON = 7
KNOWN = ("energy_kwh", "renewable_kwh", "production_units", "temperature_c", "day_of_week", "economic_index")
UP = "up: production_units*=1.05; energy_kwh*=1.05"


@pytest.fixture(scope="module")
def panel() -> Panel:
    made, _ = generate_emissions(sites=2, days=500, seed=1)
    return made.with_roles(known=KNOWN)


@pytest.fixture(scope="module")
def artifact(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = Ridge(window=7, alpha=1e-4, covariates=True)
    model.fit_panel(panel, horizon=HORIZON, split=chronological_split(panel))
    folder = tmp_path_factory.mktemp("ask") / "ridge"
    save_artifact(model, panel.schema, folder)
    return folder


@pytest.fixture(scope="module")
def source(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "sites.csv"
    panel.frame.to_csv(path, index=False)
    return path


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("ML_HOME", str(home))
    return CliRunner()


def test_whatif_prints_differences_and_writes_steps(
    shell: CliRunner, artifact: Path, source: Path, tmp_path: Path
) -> None:
    rest = ["--series", "series_id", "--draws", "10", "--output", str(tmp_path / "steps.csv")]
    asked = ["--scenario", UP, "--scenario", "green: renewable_kwh=0.5*energy_kwh"]
    result = shell.invoke(app, ["whatif", str(artifact), str(source), *asked, *rest])
    assert result.exit_code == 0, result.output
    assert "fit ridge again            done  10 of 10 draws" in result.stderr
    assert "Differences from the baseline over 7 days, by" in result.stdout
    assert "green: scope2 in tCO2e, all steps together" in result.stdout
    assert re.search(r"site-001 +\u2502 \d+\.?\d* +\u2502 -\d+\.?\d* +\u2502 -\d+\.\d%", result.stdout)
    result = shell.invoke(app, ["whatif", str(artifact), str(source), *asked, *rest, "--json"])
    totals = pd.DataFrame(json.loads(result.stdout)["totals"])
    assert len(totals) == 2 * 2 * 3
    assert set(totals["unit"]) == {"tCO2e"}
    green = totals[(totals["scenario"] == "green") & (totals["target"] == "scope2")]
    assert (green["q0.95"] < 0).all()  # more renewable energy, less of scope 2
    steps = pd.read_csv(tmp_path / "steps.csv")
    assert steps.groupby(["scenario", "series_id", "target"])["difference"].sum().loc[
        ("green", "site-001", "scope2")
    ] == pytest.approx(green["difference"].iloc[0])


def test_a_future_of_its_own_follows_the_whole_file(
    shell: CliRunner, artifact: Path, source: Path, panel: Panel, tmp_path: Path
) -> None:
    last = panel.frame.groupby("series_id").tail(HORIZON)
    ahead = last.assign(timestamp=last["timestamp"] + pd.Timedelta(days=HORIZON))
    ahead[["series_id", "timestamp", *KNOWN]].to_csv(tmp_path / "ahead.csv", index=False)
    rest = ["--series", "series_id", "--future", str(tmp_path / "ahead.csv"), "--json"]
    result = shell.invoke(app, ["explain", str(artifact), str(source), *rest])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["exact"] is True
    ahead.head(3)[["series_id", "timestamp", *KNOWN]].to_csv(tmp_path / "ahead.csv", index=False)
    result = shell.invoke(app, ["explain", str(artifact), str(source), *rest])
    assert isinstance(result.exception, DataError)
    assert "too short" in result.exception.message


def test_explain_ranks_drivers_and_samples_where_asked(shell: CliRunner, artifact: Path, source: Path) -> None:
    base = ["explain", str(artifact), str(source), "--series", "series_id"]
    result = shell.invoke(app, [*base, "--top", "2"])
    assert result.exit_code == 0, result.output
    assert "What made the next 7 days, by" in result.output
    assert "(exact)" in result.output
    assert re.search(r"site-002: scope3 is usually [\d.]+ tCO2e; here [\d.]+ on average", result.output)
    assert "standard error" not in result.output
    assert "standard error" in shell.invoke(app, [*base, "--sampled", "--pairs", "4"]).output
    more = ["--group", "power=energy_kwh,renewable_kwh", "--sampled", "--pairs", "4", "--json"]
    found = json.loads(shell.invoke(app, [*base, *more]).output)
    assert found["exact"] is False
    drivers = {row["driver"] for row in found["factors"]}
    assert "power" in drivers
    assert "energy_kwh" not in drivers


def test_a_registered_version_is_asked_by_name(
    shell: CliRunner, artifact: Path, source: Path, settings: Settings
) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    lineage = Lineage(
        data_digest="d",
        schema_digest=manifest["schema_digest"],
        parameters={},
        seed=0,
        code_revision="r",
        libraries={},
    )
    open_registry(settings).register("sites", artifact, lineage=lineage, metrics={"wape": 0.1}, owner="me")
    rest = ["--series", "series_id", "--version", "1.0.0"]
    result = shell.invoke(app, ["explain", "sites", str(source), *rest])
    assert result.exit_code == 0, result.output
    assert "sites 1.0.0" in result.output
    result = shell.invoke(app, ["explain", "nothing", str(source), *rest])
    assert isinstance(result.exception, UnknownNameError)


@pytest.mark.parametrize(
    ("scenario", "error", "message"),
    [
        ("boom: economic_index=900", UserError, "range seen"),
        ("x: month=3", UserError, "'month', which 'ridge' ignores"),
        ("nonsense", ConfigError, "a scenario cannot be read"),
    ],
)
def test_faults_are_one_line(
    shell: CliRunner, artifact: Path, source: Path, scenario: str, error: type[Exception], message: str
) -> None:
    result = shell.invoke(
        app, ["whatif", str(artifact), str(source), "--series", "series_id", "--scenario", scenario]
    )
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_a_group_that_cannot_be_read_shows_one_that_can(shell: CliRunner, artifact: Path, source: Path) -> None:
    result = shell.invoke(app, ["explain", str(artifact), str(source), "--group", "power"])
    assert isinstance(result.exception, ConfigError)
    assert "expected 'driver=column,column'" in str(result.exception)


@pytest.mark.parametrize("command", [["whatif", "--scenario", UP], ["explain"]])
def test_a_model_that_forecasts_nothing_is_refused_by_what_it_is(
    shell: CliRunner, hourly: Panel, source: Path, tmp_path: Path, command: list[str]
) -> None:
    alarms = AlarmModel(detector="moving_average", detector_params={"window": 24})
    panel = hourly.for_target("NOX")
    save_artifact(alarms.fit(panel), panel.schema, tmp_path / "alarms")
    name, *options = command
    result = shell.invoke(app, [name, str(tmp_path / "alarms"), str(source), *options])
    assert isinstance(result.exception, UserError)
    assert "forecasts nothing: got 'alarm_model'" in str(result.exception)
