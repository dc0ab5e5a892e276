"""The model that all serve, and a request: LSTM 128/64 over 30 rows of 10 columns, XGBoost, intervals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.serving.load import SLOT
from training.core.artifact import save_artifact
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import chronological_split
from training.models.ensemble import Ensemble

ROWS, COLUMNS, HORIZON = 30, 10, 1
NAMES = ("Y", *(f"C{i}" for i in range(COLUMNS - 1)))
NAME, VERSION = "plant", "1.0.0"


def schema() -> Schema:
    """Return ten columns without much to say: a server's speed does not depend on what is forecast."""
    target, *others = (Column(name=name, low=-1e6, high=1e6) for name in NAMES)
    return Schema(name=NAME, frequency="h", targets=(target,), covariates=tuple(others), season_length=24)


def history(hours: int = 1500) -> pd.DataFrame:
    """Return a made-up plant; seeded."""
    rng = np.random.default_rng(0)
    day = np.sin(np.arange(hours) / 24 * 2 * np.pi)
    values = {name: 10 * day + rng.normal(size=hours) for name in NAMES}
    return pd.DataFrame(
        {"series_id": "plant-1", "timestamp": pd.date_range("2015-01-01", periods=hours, freq="h"), **values}
    )


def make(folder: Path) -> Path:
    """Fit the model and save it as an artifact in `folder`, unless it is there."""
    if not (folder / "manifest.json").exists():
        panel = Panel(history(), schema()).validate()
        members = [
            {"name": "lstm", "params": {"window": ROWS, "hidden": (128, 64), "max_epochs": 2}},
            {"name": "xgboost", "params": {"window": ROWS}},
        ]
        made = Ensemble(members=members).fit_panel(panel, horizon=HORIZON, split=chronological_split(panel))
        save_artifact(made, panel.schema, folder)
    return folder


def request() -> bytes:
    """Return the body of one request, with a slot for digits that make each one different."""
    rows = history().tail(ROWS)
    values = {name: rows[name].round(6).tolist() for name in NAMES}
    values["Y"][0] = 12.3456
    series = {
        "series_id": "plant-1",
        "timestamps": [time.isoformat() for time in rows["timestamp"]],
        "values": values,
    }
    return (
        json.dumps({"model": NAME, "series": [series]}, separators=(",", ":"))
        .encode()
        .replace(b"12.3456", b"12." + SLOT, 1)
    )
