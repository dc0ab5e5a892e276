"""A pure module loads neither ray nor torch nor the other heavy libraries: proven in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("cluster", "training", "tuning", "serve_deployments", "apps")
HEAVY = (
    "ray",
    "torch",
    "mlflow",
    "xgboost",
    "lightgbm",
    "matplotlib",
    "sklearn",
    "statsforecast",
    "prophet",
    "hierarchicalforecast",
    "scipy",
)

SHELLS = {
    "cluster.monitoring.metrics_actor": "the actor itself",
    "training.models.lstm_network": "a torch module",
    "training.models.lstm_start": "a torch module; the network imports it",
    "training.detectors.autoencoder_network": "a torch module; the autoencoder imports it when it trains",
    "serve_deployments.deployments": "the deployments themselves; imported when a graph is built",
    "cluster.actors.state": "the actor itself",
    "serve_deployments.rollout.board_actor": "the actor itself",
    "serve_deployments.rollout.replica": "a replica's link to the board; imported where traffic is on",
    "apps.rollouts.office": "the actor itself",
    "apps.reports.rollout_plots": "draws with matplotlib; imported by the command that draws",
    "cluster.actors.rate_office": "the actor itself",
    "cluster.actors.detached": "finds and makes actors",
    "training.distributed.loop": "the torch loop itself; the LSTM imports it when it trains",
    "apps.reports.drawing": "makes matplotlib's figures; imported by the plots",
    "apps.reports.anomaly_plots": "draws with matplotlib; imported when a report is written",
    "apps.reports.study_plots": "draws with matplotlib; imported when a study is drawn",
    "apps.reports.bars": "draws with matplotlib; imported when a report is written",
    "apps.reports.plots": "draws with matplotlib; imported when a report is written",
    "apps.emissions.plot": "draws with matplotlib; imported by the commands that draw",
    "tuning.search.surrogate": "a BoTorch model; the Gaussian process imports it when it proposes",
    "tuning.tune_shells": "its classes are hooks of Ray Tune, for a Tuner of one's own",
}
"""Modules whose very content is a heavy library, each with the reason; others import them where they use them."""

PROBE = """
import importlib, json, sys
found = {}
for name in json.loads(sys.argv[1]):
    before = set(sys.modules)
    importlib.import_module(name)
    loaded = [heavy for heavy in json.loads(sys.argv[2]) if heavy in sys.modules and heavy not in before]
    if loaded:
        found[name] = loaded
print(json.dumps(found))
"""


def module_names() -> list[str]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    names = (path.relative_to(ROOT).with_suffix("") for path in files)
    return sorted(".".join(part for part in name.parts if part != "__init__") for name in names)


def probe(names: list[str]) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, json.dumps(names), json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        cwd=ROOT,
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_pure_modules_load_no_heavy_library() -> None:
    pure = [name for name in module_names() if name not in SHELLS]
    assert len(pure) > 30
    assert probe(pure) == {}


@pytest.mark.parametrize("name", sorted(SHELLS))
def test_each_shell_is_one(name: str) -> None:
    assert name in module_names(), "a listed shell is gone: take it off the list"
    assert probe([name]), f"{name} loads nothing heavy any more: take it off the list"
