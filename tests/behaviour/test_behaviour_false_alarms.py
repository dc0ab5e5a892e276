"""What the benchmark of false alarms counts, and that quiet public series stay quiet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.false_alarms import (
    QUIET,
    SETTINGS,
    Outcome,
    Reads,
    Recorded,
    judged,
    of_series,
    outcome,
    recorded,
    summary,
)
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.evaluation.alarm_budget import MONTH_S, Budget

SCHEMA = Schema(name="nab", frequency="h", targets=(Column(name="value"),))
HOUR_S = 3600.0


def file(*windows: tuple[int, int]) -> Recorded:
    times = pd.date_range("2024-01-01", periods=200, freq="h")
    frame = pd.DataFrame({"series_id": "a", "timestamp": times, "value": np.zeros(200)})
    return Recorded(folder="f", name="a", panel=Panel(frame, SCHEMA), step_s=HOUR_S, windows=windows)


def counted(*rows: int) -> Outcome:
    """Windows from row 90 to 109 and from 150 to 159; the first ten rows of the first are not judged."""
    found = np.zeros(100, dtype=bool)
    found[list(rows)] = True
    return outcome(file((10, 20), (90, 110), (150, 160)), found, Budget(step_s=HOUR_S))


def test_alarms_are_counted_outside_windows_and_windows_once() -> None:
    got = counted(5, 7, 8, 30, 31, 70)  # in the first window; two alarms beside; none in the second
    assert (got.events, got.points) == (2, 3)
    assert got.delays_s == (5 * HOUR_S,)
    assert got.allowed == pytest.approx(80 * HOUR_S / MONTH_S)
    assert of_series(got) == {
        "windows": 2,
        "found": 1,
        "median_delay_h": 5.0,
        "events_outside": 2,
        "points_outside": 3,
    }
    both = summary([got, counted(50)])
    assert (both["windows"], both["found"], both["median_delay_h"]) == (4, 2, 2.5)
    assert (both["events"], both["share_of_points"]) == (2, round(3 / 160, 5))


def test_an_alarm_that_runs_into_a_window_is_not_false_but_its_rows_outside_are() -> None:
    got = counted(8, 9, 10, 11)
    assert (got.events, got.points, got.delays_s) == (0, 2, (8 * HOUR_S,))


@pytest.fixture
def quiet_files(data_dir: Path) -> list[Recorded]:
    if not (data_dir / "anomaly" / "nab").is_dir():
        pytest.skip("anomaly/nab is not there")
    return [one for one in recorded() if one.folder == QUIET]


def test_quiet_series_raise_few_alarms_in_each_setting_that_keeps_a_budget(quiet_files: list[Recorded]) -> None:
    told = [judged(Reads(one), "moving_average") for one in quiet_files]
    assert [one.file.name for one in (each[SETTINGS[0]] for each in told) if one.silent] == ["art_flatline"]
    for setting in SETTINGS:
        if setting.method == "adaptive":
            figures = summary([each[setting] for each in told])
            assert figures["events"] <= 1.5 * figures["allowed"]
            assert figures["share_of_points"] < 0.01
            assert figures["windows"] == 0
