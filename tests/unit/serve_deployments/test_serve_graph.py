"""A graph as data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.errors import ArtifactCorrupt, ConfigError, UnknownNameError
from cluster.settings import Settings
from serve_deployments.graph import GraphSpec, ServedModel, build_graph

MODEL = ServedModel(name="nox", version="1.0.0", uri="/artifacts/1", metrics={"accuracy": 0.93})


def test_a_spec_survives_json(settings: Settings) -> None:
    spec = GraphSpec.from_settings(settings, [MODEL], application="forecasts", placement="spread")
    assert GraphSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_settings_become_bounds(home: Path) -> None:
    environment = {"ML_HOME": str(home), "ML_PROFILE": "staging", "ML_API_KEYS_FILE": str(home / "keys")}
    spec = GraphSpec.from_settings(Settings.from_environment(environment), [MODEL])
    assert (spec.scaling.automatic, spec.scaling.min_replicas, spec.scaling.max_replicas) == (True, 2, 8)
    assert spec.limits.max_concurrent_requests == 50
    assert (spec.key_required, spec.roles_checked, spec.keys_file) == (True, True, str(home / "keys"))


def test_development_stops_fast_and_needs_no_keys(settings: Settings) -> None:
    spec = GraphSpec.from_settings(settings, [MODEL])
    assert spec.shutdown_s < 5
    assert (spec.keys_file, spec.scaling.automatic) == (None, False)


def test_a_graph_twice_during_an_update_fits_two_cores(settings: Settings) -> None:
    spec = GraphSpec.from_settings(settings, [MODEL], placement="spread")
    members = 3
    assert 2 * (spec.ingress_cpus + members * spec.member_cpus) <= 2


def test_what_cannot_be_served_is_refused(settings: Settings) -> None:
    spec = GraphSpec.from_settings(settings, [MODEL])
    with pytest.raises(ConfigError, match="nothing to serve"):
        replace(spec, models=())
    with pytest.raises(ConfigError, match="each version once"):
        replace(spec, models=(MODEL, MODEL))
    with pytest.raises(ConfigError, match="ML_API_KEYS_FILE"):
        replace(spec, key_required=True)
    with pytest.raises(ConfigError, match="one of fused, spread, auto"):
        replace(spec, placement="both")  # type: ignore[arg-type]  # what a wrong JSON file holds


def test_a_damaged_or_missing_artifact_is_refused_by_name_before_anything_starts(
    settings: Settings, ensemble_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ensemble_folder, copy)
    spec = GraphSpec.from_settings(settings, [replace(MODEL, uri=str(copy))])
    (copy / "state.json").write_text("{}")
    with pytest.raises(ArtifactCorrupt, match=r"state\.json"):
        build_graph(spec)
    with pytest.raises(UnknownNameError):
        build_graph(replace(spec, models=(replace(MODEL, uri=str(tmp_path / "nothing")),)))


def test_the_api_and_the_spec_load_neither_ray_nor_torch() -> None:
    code = (
        "import sys, serve_deployments.ingress, serve_deployments.graph, serve_deployments.deploy\n"
        "import cluster.monitoring.aggregate, cluster.security.key_ring\n"
        "print(sorted({'ray', 'torch', 'xgboost', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
