"""A plant's months under a budget: few alarms, the right ones, explained; what people say of them counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.clock import ManualClock
from cluster.errors import DataError, SchemaError, UserError
from cluster.storage.files import Storage
from training.alarms.feedback import Feedback
from training.alarms.quiet import Maintenance
from training.alarms.triage import Triage, ranked
from training.alarms.usual import Usual
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.evaluation.adaptive_threshold import AdaptiveThreshold
from training.evaluation.alarm_budget import Budget

SCHEMA = Schema(
    name="plant",
    frequency="h",
    targets=(Column(name="energy", unit="kWh", low=0), Column(name="co2", unit="kgCO2e", low=0)),
    season_length=24,
)
MONTHS = 4
HOURS = 730 * MONTHS
LEARNED = 730 * 2
BUDGET = Budget(step_s=3_600, alarms_per_series_per_month=2, gap_s=3 * 3_600)
FAULTS = {"surge": slice(1_700, 1_706), "night": slice(2_112, 2_116), "leak": slice(2_500, 2_512)}


@pytest.fixture(scope="module")
def plant() -> Panel:
    """Four months; after two: a surge, a night run, and carbon dioxide without energy."""
    rng = np.random.default_rng(3)
    hours = np.arange(HOURS)
    slow = np.convolve(rng.normal(size=HOURS + 9), np.ones(10) / np.sqrt(10), mode="valid")
    energy = 200 + 60 * np.sin(hours / 24 * 2 * np.pi) + 6 * slow
    energy[FAULTS["surge"]] += 180
    energy[FAULTS["night"]] = 253, 257, 256, 254
    co2 = energy * 0.4 + rng.normal(0, 1, HOURS)
    co2[FAULTS["leak"]] += 25
    frame = pd.DataFrame(
        {
            "series_id": "plant-1",
            "timestamp": pd.date_range("2024-01-01", periods=HOURS, freq="h"),
            "energy": energy,
            "co2": co2,
        }
    )
    return Panel(frame, SCHEMA)


@pytest.fixture(scope="module")
def usual(plant: Panel) -> Usual:
    return Usual.fit(Panel(plant.frame.iloc[:LEARNED], SCHEMA))


def scored(usual: Usual, panel: Panel) -> Any:
    """Score by the largest deviation of a row from what time and other columns let expect."""
    apart = usual.deviations(panel.table.rows, panel.table.times)
    return np.maximum(np.abs(apart.conditional), np.abs(apart.seasonal)).max(axis=1)


@pytest.fixture
def triage(usual: Usual, plant: Panel, tmp_path: Path) -> Triage:
    threshold = AdaptiveThreshold().fit(scored(usual, plant)[:LEARNED], BUDGET)
    return Triage(usual=usual, threshold=threshold, feedback=Feedback(Storage(str(tmp_path)), ManualClock(0.0)))


def late(plant: Panel, start: int = LEARNED) -> Panel:
    return Panel(plant.frame.iloc[start:], SCHEMA)


def test_few_alarms_the_right_ones_explained(triage: Triage, usual: Usual, plant: Panel) -> None:
    events = triage.examine(late(plant), scored(usual, late(plant))).events
    alarms = ranked(events)
    times = plant.frame["timestamp"].to_numpy()
    found = {
        name: next((each for each in alarms if each.start <= times[rows][-1] and each.end >= times[rows][0]), None)
        for name, rows in FAULTS.items()
    }
    assert all(found.values()), found
    false = len(alarms) - len(FAULTS)
    assert false <= 1.5 * BUDGET.alarms_per_series_per_month * (MONTHS - 2)
    surge, night, leak = (found[name] for name in FAULTS)
    assert surge and night and leak
    assert (surge.type, night.type, leak.type) == ("statistical", "temporal", "structural")
    assert leak.factors[0].column == "co2"
    assert leak.factors[0].high < leak.factors[0].value
    assert surge.severity in ("high", "critical")
    assert "times rarer than an alarm has to be" in surge.rating.reason
    amount = next(each for each in surge.impacts if each.unit == "kWh")
    assert amount.amount == pytest.approx(6 * 180, rel=0.25)
    assert next(each for each in leak.impacts if each.unit == "tCO2e").amount == pytest.approx(12 * 0.025, rel=0.5)
    assert surge.actions[0].rule in ("energy surplus", "emissions surplus")
    assert [each.rating.points for each in alarms] == sorted((e.rating.points for e in alarms), reverse=True)
    json.dumps([each.to_json() for each in events], allow_nan=False)


def test_what_people_say_counts_later(triage: Triage, usual: Usual, plant: Panel) -> None:
    assert isinstance(triage.feedback, Feedback)
    middle = 2_300
    first = Panel(plant.frame.iloc[LEARNED:middle], SCHEMA)
    events = triage.examine(first, scored(usual, first)).events
    level = triage.threshold.level
    surge = max(events, key=lambda each: each.score)
    triage.feedback.judge(surge.id, "confirmed", by="ana", note="valve stuck", threshold=triage.threshold)
    for event in events:
        if event.id != surge.id:
            triage.feedback.judge(event.id, "dismissed", by="ana", threshold=triage.threshold)
    moves = triage.feedback.changes("plant-1")
    assert len(moves) == len(events)
    assert all(move.levels is not None and move.by == "ana" for move in moves)
    assert triage.threshold.level > level
    again = plant.frame.iloc[middle:].copy()
    again.loc[again.index[100:106], "energy"] += 180
    again.loc[again.index[100:106], "co2"] += 72
    panel = Panel(again, SCHEMA)
    new = max(triage.examine(panel, scored(usual, panel)).events, key=lambda each: each.score)
    like = {each.event: each for each in new.similar}[surge.id]
    assert (like.outcome, like.note) == ("confirmed", "valve stuck")
    assert like.similarity > 0.7
    assert {each.outcome for each in new.similar} <= {"confirmed", "dismissed"}


def test_an_event_cut_by_a_batch_is_told_once(triage: Triage, usual: Usual, plant: Panel) -> None:
    cut = FAULTS["leak"].start + 3
    first, second = Panel(plant.frame.iloc[LEARNED:cut], SCHEMA), Panel(plant.frame.iloc[cut:], SCHEMA)
    told = triage.examine(first, scored(usual, first)).events
    more = triage.examine(second, scored(usual, second), told=told).events
    assert told[-1].end == first.frame["timestamp"].iloc[-1]
    assert told[-1].status == "alarm"
    worse = more[0].rating.severity != told[-1].rating.severity
    assert worse or (more[0].status, more[0].status_reason) == ("repeat", "goes on from before these rows")


def test_maintenance_and_missing_scores(usual: Usual, plant: Panel, triage: Triage) -> None:
    times = plant.frame["timestamp"]
    window = Maintenance(series="plant-*", start=times[1_690], end=times[1_720], reason="turbine wash")
    scores = scored(usual, late(plant))
    scores[5:9] = np.nan
    quiet = Triage(usual=usual, threshold=triage.threshold, maintenance=[window])
    events = quiet.examine(late(plant), scores).events
    assert {each.status_reason for each in events if each.status == "maintenance"} == {"turbine wash"}
    assert all(each.status != "alarm" or not window.covers(each) for each in events)


def test_each_fault_has_its_message_and_the_stream_goes_on(triage: Triage, usual: Usual, plant: Panel) -> None:
    panel = late(plant)
    scores = scored(usual, panel)

    def changed(**columns: Any) -> Panel:
        return Panel(panel.frame.assign(**columns), SCHEMA)

    other = Schema(name="x", frequency="h", targets=(*SCHEMA.targets, Column(name="steam")))
    clock = panel.frame["timestamp"].to_numpy()[::-1].copy()
    cases: list[tuple[Panel, Any, type[UserError], str]] = [
        (changed(energy="high"), scores, SchemaError, "a column is not of numbers: column 'energy'"),
        (changed(energy=np.nan), scores, DataError, "a column is empty: column 'energy'"),
        (
            changed(energy=1e300),
            scores,
            DataError,
            r"a value cannot be measured: column 'energy', row 0: got 1e\+300",
        ),
        (changed(timestamp=clock), scores, DataError, "the clock runs backwards: row 1"),
        (changed(series_id="mill"), scores, DataError, "the series is another one: got 'mill', expected 'plant-1'"),
        (
            Panel(panel.frame.assign(steam=1.0), other),
            scores,
            SchemaError,
            "a column was never seen: column 'steam'",
        ),
        (panel.for_target("co2"), scores[:-1], DataError, "scores do not match the rows: got shape"),
        (panel, np.full(len(scores), np.inf), DataError, "a score cannot be judged: row 0: got inf"),
    ]
    level = triage.threshold.level
    for bad, given, error, message in cases:
        with pytest.raises(error, match=message):
            triage.examine(bad, given)
    assert triage.threshold.level == level
    assert triage.examine(panel, scores).events
