"""Public data that may not ship with the project: read from ML_DATA_DIR, or `shared/data` beside the project."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.data.readers import read_panel

ETTH1 = Schema(
    name="etth1",
    frequency="h",
    targets=tuple(Column(name=name) for name in ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")),
    season_length=24,
)
ETTH1_MONTHS, ETTH1_MONTH_ROWS = (12, 4, 4), 30 * 24
"""Months of 30 days in the training, validation and test part, as all published figures cut it."""

ACTIVITIES = ("Approve by approver", "Create order", "Return by approver", "Submit for approval", "Submit to SAP")
BIZITOBS = Schema(
    name="bizitobs_l2c",
    frequency="5min",
    targets=(
        Column(name="Weekly average order cycle time", unit="h", low=0),
        *(Column(name=f"activity_{name}", low=0) for name in (*ACTIVITIES, "Update order")),
    ),
    covariates=(
        Column(name="Unable to connect to SAP", low=0, high=1),
        Column(name="Approval system not available", low=0, high=1),
    ),
    season_length=288,
)


def public_file(name: str) -> Path:
    """Return where a data set is; raise ConfigError that says where it was looked for."""
    folder = Path(os.environ.get("ML_DATA_DIR") or Path(__file__).parents[2] / "shared" / "data")
    path = folder / name
    if not path.is_file():
        raise ConfigError(
            f"'{name}' is not in {folder}: get it from its public source, and name its folder by ML_DATA_DIR",
            file=name,
            folder=str(folder),
        )
    return path


def etth1() -> tuple[Panel, pd.Timestamp, pd.Timestamp]:
    """Return ETTh1 standardised by its training part, and the first times of the validation and the test part."""
    train, validation, test = (months * ETTH1_MONTH_ROWS for months in ETTH1_MONTHS)
    panel = read_panel(public_file("energy/ETTh1.csv"), ETTH1, timestamp="date")
    frame = panel.frame.iloc[: train + validation + test].copy()
    names = list(ETTH1.names)
    early = frame[names].iloc[:train]
    frame[names] = (frame[names] - early.mean()) / early.std(ddof=0)
    return Panel(frame, ETTH1), frame[TIME].iloc[train], frame[TIME].iloc[train + validation]


def bizitobs(frequency: Literal["5min", "h"]) -> Panel:
    """Return the business process at its five minutes (`5min`), or as means of hours (`h`)."""
    panel = read_panel(public_file("workload/bizitobs_l2c.csv"), BIZITOBS, timestamp="date")
    if frequency == "5min":
        return panel
    means = panel.frame.set_index(TIME)[list(BIZITOBS.names)].resample("h").mean().reset_index()
    means.insert(0, ID, BIZITOBS.name)
    return Panel(means, replace(BIZITOBS, frequency="h", season_length=24)).validate()
