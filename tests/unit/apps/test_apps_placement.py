"""`heliotrope placement` measures what is in production, and says why it would run together or spread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from cluster.errors import ConfigError
from cluster.registry.mlflow_registry import open_registry
from cluster.registry.version import Lineage, Stage
from cluster.settings import Settings
from serve_deployments.graph import GraphSpec, ServedModel, place


def _in_production(settings: Settings, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    lineage = Lineage(
        data_digest="d",
        schema_digest=manifest["schema_digest"],
        parameters={},
        seed=0,
        code_revision="r",
        libraries={},
    )
    registry = open_registry(settings)
    made = registry.register("nox", folder, lineage=lineage, metrics={"wape": 0.1}, owner="me")
    for stage in (Stage.STAGING, Stage.PRODUCTION):
        registry.promote("nox", made.version, stage, evidence={"evaluation": "e", "approval": "me"})


def test_the_command_tells_what_each_part_costs_and_why(
    settings: Settings, home: Path, ensemble_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_HOME", str(home))
    monkeypatch.setenv("ML_PLACEMENT", "auto")
    nothing = CliRunner().invoke(app, ["placement"])
    assert isinstance(nothing.exception, ConfigError)
    _in_production(settings, ensemble_folder)
    told = json.loads(CliRunner().invoke(app, ["placement", "--json"]).output)
    assert told["set"] == "auto"
    parts = {row["part"]: row["ms"] for row in told["parts"]}
    members = [name for name in parts if name.startswith("member ")]
    assert {row["model"] for row in told["parts"]} == {"nox@1.0.0"}
    assert list(parts) == ["features", *members, "combination", "intervals"]
    assert min(parts[name] for name in members) > 0
    assert f"the {len(members)} members of nox@1.0.0 take" in told["why"]
    said = CliRunner().invoke(app, ["placement"]).output
    assert f"auto runs them {told['auto']}" in said
    assert "ML_PLACEMENT is auto" in said


def test_the_setting_reaches_the_graph(settings: Settings, home: Path, ensemble_folder: Path) -> None:
    model = ServedModel(name="nox", version="1.0.0", uri=str(ensemble_folder))
    assert GraphSpec.from_settings(settings, [model]).placement == "fused"
    chosen = Settings.from_environment({"ML_HOME": str(home), "ML_PLACEMENT": "auto"})
    asked = GraphSpec.from_settings(chosen, [model])
    assert asked.placement == "auto"
    assert place(asked).placement in ("fused", "spread")
