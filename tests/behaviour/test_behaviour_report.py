"""A trained version's report: written whole, kept with its run, told by its evidence."""

from __future__ import annotations

import base64
import json

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from apps.pipelines.line import Line
from apps.pipelines.progress import Silent
from apps.pipelines.recipe import part
from apps.reports.place import told_place
from cluster.settings import Settings
from training.core.panel import Panel
from training.data.bundled import load_sample


def test_training_writes_a_report_and_links_it_from_the_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_sample("gas_turbine")
    panel = Panel(whole.frame.tail(3000).reset_index(drop=True), whole.schema)
    line = Line(settings, workers=0, progress=Silent())
    recipe = line.recipe(panel, "NOX", horizon=6, epochs=1).with_members((part("ridge", window=48),))
    judged = line.judge(panel, recipe)
    assert judged.report is not None
    text = judged.report.read_text()
    assert f"Report of {recipe.name}" in text
    assert judged.panel.digest() in text
    assert "Key factors" in text
    (run,) = line.tracker.runs(recipe.name)
    assert run.id == judged.run
    assert run.tags["report"] == judged.report.name
    (kept,) = (path for path in settings.home.rglob("report.html") if path != judged.report)
    assert kept.read_text() == text
    picture = text.split("data:image/png;base64,")[1].split('"')[0]
    assert len(base64.b64decode(picture)) > 20_000
    version = line.register(judged, owner="tests")
    assert version.evidence["report"] == {"run": judged.run, "file": "report.html"}
    monkeypatch.setenv("ML_HOME", str(settings.home))
    for command in (["experiments", "show", recipe.name], ["models", "show", recipe.name]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert str(judged.report) in result.output
    (told,) = json.loads(CliRunner().invoke(app, ["experiments", "show", recipe.name, "--json"]).output)
    assert told["report"] == str(judged.report)
    assert told["metrics"]["wape"] == judged.card.metrics()["wape"]
    judged.report.unlink()
    assert f"report.html among the files of run {judged.run}" in told_place(settings.home, judged.run)
