"""The whole search on public series: the labelled jump is found, series without an anomaly stay quiet."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from apps.anomaly.detect import Asked, detect
from apps.anomaly.detection import Detection
from apps.pipelines.watching import load_watched


def searched(data_dir: Path, name: str) -> Detection:
    path = data_dir / "anomaly" / "nab" / "data" / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    return detect(load_watched(str(path)), Asked())


def test_the_labelled_jump_is_the_worst_alarm(data_dir: Path) -> None:
    name = "artificialWithAnomaly/art_daily_jumpsup"
    found = searched(data_dir, name)
    labels = json.loads((data_dir / "anomaly" / "nab" / "labels" / "combined_windows.json").read_text())
    ((start, end),) = labels[f"{name}.csv"]
    worst = found.alarms[0]
    assert pd.Timestamp(start) <= worst.start <= worst.end <= pd.Timestamp(end)
    assert worst.factors[0].value > worst.factors[0].high


@pytest.mark.parametrize("name", ["art_daily_no_noise", "art_daily_small_noise"])
def test_nothing_is_told_where_nothing_is(data_dir: Path, name: str) -> None:
    assert searched(data_dir, f"artificialNoAnomaly/{name}").alarms == ()
