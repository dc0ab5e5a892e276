"""Detector, threshold and triage on public series: quiet where nothing is labelled, an alarm where something is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cluster.errors import DataError
from training.alarms.triage import Triage, ranked
from training.alarms.usual import Usual
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Floats
from training.detectors.moving_average import MovingAverage
from training.evaluation.adaptive_threshold import AdaptiveThreshold
from training.evaluation.alarm_budget import Budget

SCHEMA = Schema(name="nab", frequency="5min", targets=(Column(name="value"),), season_length=288)
BUDGET = Budget(step_s=300)
FITTED, CALIBRATED = 0.3, 0.5


def series(data_dir: Path, name: str) -> Panel:
    path = data_dir / "anomaly" / "nab" / "data" / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    frame = pd.read_csv(path, parse_dates=["timestamp"])
    frame.insert(0, "series_id", path.stem)
    return Panel(frame, SCHEMA)


def triaged(panel: Panel) -> tuple[Triage, Panel, Floats]:
    """Fit on the first 30 %, calibrate on the next 20 %; return the rest with its scores."""
    count = len(panel)
    first, late = int(FITTED * count), int(CALIBRATED * count)
    learned = Panel(panel.frame.iloc[:first], SCHEMA)
    scores = MovingAverage().fit(learned).score(panel).of(panel.series[0])
    known = scores[first:late]
    threshold = AdaptiveThreshold().fit(known[np.isfinite(known)], BUDGET)
    return (
        Triage(usual=Usual.fit(learned), threshold=threshold),
        Panel(panel.frame.iloc[late:], SCHEMA),
        scores[late:],
    )


def test_quiet_series_stay_within_the_budget(data_dir: Path) -> None:
    """Four weeks in all, at a budget of one alarm a month."""
    alarms, strange, rows = 0, 0, 0
    for name in ("art_daily_no_noise", "art_daily_small_noise", "art_daily_perfect_square_wave", "art_noisy"):
        triage, panel, scores = triaged(series(data_dir, f"artificialNoAnomaly/{name}"))
        events = triage.examine(panel, scores).events
        alarms += len(ranked(events))
        strange += sum(event.rows for event in events)
        rows += len(panel)
    assert alarms <= 1.5 * max(1.0, rows * BUDGET.rate)
    assert strange < 0.01 * rows


def test_a_flat_line_is_refused_by_name(data_dir: Path) -> None:
    with pytest.raises(DataError, match="series 'art_flatline' never changes: column 'value'"):
        triaged(series(data_dir, "artificialNoAnomaly/art_flatline"))


def test_the_labelled_jump_is_the_worst_alarm(data_dir: Path) -> None:
    name = "artificialWithAnomaly/art_daily_jumpsup"
    triage, panel, scores = triaged(series(data_dir, name))
    labels = json.loads((data_dir / "anomaly" / "nab" / "labels" / "combined_windows.json").read_text())
    ((start, end),) = labels[f"{name}.csv"]
    alarms = ranked(triage.examine(panel, scores).events)
    assert len(alarms) <= 2
    worst = alarms[0]
    assert pd.Timestamp(start) <= worst.peak <= pd.Timestamp(end)
    assert worst.factors[0].value > worst.factors[0].high
    assert worst.actions
