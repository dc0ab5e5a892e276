"""Events: evidence, types, severity, what is usual, impact, quiet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError, InsufficientHistoryError, SchemaError, UserError
from training.alarms.event import Event
from training.alarms.event_types import TYPES, EventType, types_of
from training.alarms.evidence import Evidence, Factor, gather
from training.alarms.impact import Conversion, impacts
from training.alarms.quiet import Maintenance, quieted
from training.alarms.severity import rate
from training.alarms.usual import Usual
from training.core.panel import Panel
from training.core.schema import Column, Schema

SCHEMA = Schema(
    name="plant",
    frequency="h",
    targets=(Column(name="energy", unit="kWh", low=0), Column(name="gas", unit="m3", low=0)),
    covariates=(Column(name="mode", kind="int"),),
    season_length=24,
)


def plant(rows: int = 24 * 28, seed: int = 1) -> Panel:
    """Energy has a day's course, gas follows energy, the mode is 0 or 1."""
    rng = np.random.default_rng(seed)
    hours = np.arange(rows)
    energy = 100 + 30 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 2, rows)
    frame = pd.DataFrame(
        {
            "series_id": "plant-1",
            "timestamp": pd.date_range("2024-01-01", periods=rows, freq="h"),
            "energy": energy,
            "gas": energy / 10 + rng.normal(0, 0.1, rows),
            "mode": hours // 12 % 2,
        }
    )
    return Panel(frame, SCHEMA)


@pytest.fixture(scope="module")
def usual() -> Usual:
    return Usual.fit(plant())


def evidence(usual: Usual, start: int, rows: int, **columns: Any) -> Evidence:
    """Change some columns of rows from the same plant and look at them."""
    panel = plant()
    frame = panel.frame.iloc[start : start + rows].copy()
    for name, change in columns.items():
        frame[name] = change(frame[name]) if callable(change) else change
    return gather(usual, frame[list(SCHEMA.names)].to_numpy(float), frame["timestamp"].to_numpy(), gap=1)


def test_what_is_usual_knows_the_hour_and_the_other_columns(usual: Usual) -> None:
    panel = plant(seed=2)
    apart = usual.deviations(panel.table.rows, panel.table.times)
    assert usual.season == 24
    assert 0.5 < np.std(apart.seasonal[:, 0]) < 1.6
    rows = panel.table.rows
    inside = ((rows[:, :2] >= apart.low[:, :2]) & (rows[:, :2] <= apart.high[:, :2])).mean()
    assert 0.88 < inside < 0.98


def test_a_short_history_knows_no_season() -> None:
    assert Usual.fit(plant(rows=48)).season == 1


CASES: list[tuple[EventType, dict[str, Any]]] = [
    ("content", {"start": 100, "rows": 3, "mode": 7}),
    ("structural", {"start": 100, "rows": 4, "gas": np.nan}),
    ("structural", {"start": 100, "rows": 6, "energy": 110.0, "gas": 11.0}),
    ("structural", {"start": 102, "rows": 1, "gas": lambda gas: gas - 3.0}),
    ("temporal", {"start": 112, "rows": 2, "energy": lambda e: e + 40, "gas": lambda g: g + 4.0}),
    ("behavioural", {"start": 102, "rows": 12, "energy": lambda e: e + 8, "gas": lambda g: g + 0.8}),
    ("statistical", {"start": 100, "rows": 1, "energy": lambda e: e + 300, "gas": lambda g: g + 30.0}),
]


@pytest.mark.parametrize(("expected", "change"), CASES)
def test_types_by_rule(usual: Usual, expected: EventType, change: dict[str, Any]) -> None:
    found = types_of(evidence(usual, **change))
    assert next(iter(found)) == expected, found


@pytest.mark.parametrize(
    ("column", "unit", "expected"),
    [
        ("failed_logins", "1", "security"),
        ("authFailures", "1", "security"),
        ("cpu_utilization", "%", "performance"),
        ("p99", "ms", "performance"),
        ("author_count", "1", "statistical"),
    ],
)
def test_types_by_the_main_column(usual: Usual, column: str, unit: str, expected: EventType) -> None:
    plain = evidence(usual, 100, 1, energy=lambda e: e + 300, gas=lambda g: g + 30.0)
    factor = Factor(column=column, unit=unit, share=1, deviation=9, value=1, low=0, high=0)
    assert next(iter(types_of(replace(plain, factors=(factor, *plain.factors))))) == expected


def test_the_order_of_the_types_is_the_documented_one() -> None:
    assert TYPES[0] == "security"
    assert TYPES[-1] == "statistical"


def test_factors_are_computed_and_say_what_would_have_been_normal(usual: Usual) -> None:
    found = evidence(usual, 102, 1, gas=lambda gas: gas + 5.0)
    main = found.main
    assert (main.column, main.unit) == ("gas", "m3")
    assert main.share > 0.5
    assert sum(factor.share for factor in found.factors) == pytest.approx(1)
    assert main.deviation > 6
    assert main.low < main.value - 5.0 < main.high < main.value
    assert main.sentence().startswith("gas ")


def test_a_detectors_own_contributions_are_taken(usual: Usual) -> None:
    panel = plant()
    rows = slice(100, 104)
    values, times = panel.table.rows[rows], panel.table.times[rows]
    plain = {each.column: each for each in gather(usual, values, times, gap=1).factors}
    assert {each.contribution for each in plain.values()} == {None}
    told = gather(usual, values, times, gap=1, contributions=np.array([1.0, -2.0, 3.0])).factors
    assert [(each.column, each.share) for each in told] == [("mode", 0.75), ("energy", 0.25), ("gas", 0.0)]
    assert [each.contribution for each in told] == [3.0, 1.0, -2.0]
    # a column that the detector does not see keeps the share that its deviations give it
    told = gather(usual, values, times, gap=1, contributions=np.array([1.0, 3.0, np.nan])).factors
    shares = {each.column: each.share for each in told}
    assert shares["mode"] == pytest.approx(plain["mode"].share)
    assert shares["gas"] == pytest.approx(3 * shares["energy"])


def broken(**changes: Any) -> Panel:
    panel = plant()
    frame = panel.frame.copy()
    for name, (row, value) in changes.items():
        if row is None:
            frame[name] = value
        else:
            frame.loc[row, name] = value
    return Panel(frame, SCHEMA)


@pytest.mark.parametrize(
    ("panel", "error", "message"),
    [
        (plant(rows=29), InsufficientHistoryError, "got 29 rows, expected at least 30"),
        (broken(gas=(None, "high")), SchemaError, "a column is not of numbers: column 'gas': got object"),
        (broken(gas=(None, np.nan)), DataError, "a column is empty: column 'gas': got all NaN, expected numbers"),
        (broken(energy=(7, 1e300)), DataError, r"a value cannot be measured: column 'energy', row 7: got 1e\+300"),
        (broken(energy=(7, np.inf)), DataError, "a value cannot be measured: column 'energy', row 7: got inf"),
        (
            broken(timestamp=(5, pd.Timestamp("2023-01-01"))),
            DataError,
            "the clock runs backwards: row 5: got 2023-01-01",
        ),
        (
            Panel(plant().frame.drop(columns="gas"), SCHEMA),
            SchemaError,
            "a column is missing: column 'gas': got none",
        ),
    ],
)
def test_bad_history(panel: Panel, error: type[UserError], message: str) -> None:
    with pytest.raises(error, match=message):
        Usual.fit(panel)


def test_severity_grows_with_each_part_and_says_why() -> None:
    def rated(**more: float) -> Any:
        plain = {
            "event_chance": 1e-4,
            "allowed_chance": 1e-4,
            "duration_s": 300.0,
            "gap_s": 3600.0,
            "impact_days": 0.0,
        }
        return rate(**(plain | more))

    assert rated().severity == "low"
    assert rated(event_chance=1e-5).severity == "medium"
    assert rated(event_chance=1e-6).severity == "high"
    assert rated(event_chance=1e-9, duration_s=86_400.0).severity == "critical"
    assert rated(event_chance=1e-5, impact_days=-2.0).points == pytest.approx(rated(event_chance=1e-5).points + 2)
    assert rated(event_chance=1e-6, duration_s=7_200.0, impact_days=0.5).reason == (
        "100 times rarer than an alarm has to be, lasts 2 h, it amounts to 0.5 usual days: 3.3 points"
    )


def test_impact_is_the_surplus_over_what_is_usual(usual: Usual) -> None:
    panel = plant()
    rows = panel.table.rows[100:110].copy()
    rows[:, 0] += 50
    factor = Conversion(source="kWh", target="tCO2e", factor=0.0004, origin="a certificate")
    energy, carbon, gas = sorted(
        impacts(usual, rows, panel.table.times[100:110], [factor]),
        key=lambda each: ("kWh", "tCO2e", "m3").index(each.unit),
    )
    assert energy.amount == pytest.approx(500, rel=0.1)
    assert energy.days == pytest.approx(500 / 2_400, rel=0.1)
    assert carbon.amount == pytest.approx(energy.amount * 0.0004)
    assert carbon.basis.endswith("at 0.0004 tCO2e a kWh (a certificate)")
    assert abs(gas.amount) < 2


def test_a_flow_is_summed_over_its_step() -> None:
    schema = replace(
        SCHEMA, frequency="15min", targets=(Column(name="load", unit="kW"),), covariates=(), season_length=1
    )
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "series_id": "a",
            "timestamp": pd.date_range("2024-01-01", periods=200, freq="15min"),
            "load": 80 + rng.normal(0, 1, 200),
        }
    )
    usual = Usual.fit(Panel(frame, schema))
    (found,) = impacts(usual, np.full((4, 1), 180.0), frame["timestamp"].to_numpy()[:4])
    assert found.unit == "kWh"
    assert found.amount == pytest.approx(100, rel=0.02)


def event(
    start: str, hours: float = 1.0, *, series: str = "plant-1", points: float = 1.5, column: str = "energy"
) -> Event:
    begin = pd.Timestamp(start)
    rating = rate(event_chance=10**-points, allowed_chance=1.0, duration_s=1e-9, gap_s=1.0, impact_days=0)
    factor = Factor(column=column, unit="kWh", share=1, deviation=5, value=9, low=0, high=1)
    return Event(
        id=f"{series}-{start}",
        series=series,
        start=begin,
        end=begin + pd.Timedelta(hours=1),
        peak=begin,
        rows=2,
        score=9.0,
        level=5.0,
        p_value=1e-5,
        events_per_month=0.1,
        types={"statistical": "far"},
        rating=rating,
        factors=(factor,),
        impacts=(),
        actions=(),
        similar=(),
        vector=(1.0,),
    )


def test_repeats_are_quiet_for_a_day_unless_they_are_worse() -> None:
    events = [
        event("2024-01-01 00:00"),
        event("2024-01-01 20:00"),
        event("2024-01-01 21:00", column="gas"),
        event("2024-01-01 22:00", points=2.5),
        event("2024-01-01 23:00", series="plant-2"),
        event("2024-01-02 22:30"),
        event("2024-01-04 00:00"),
    ]
    found = quieted(reversed(events))
    assert [each.status for each in found] == ["alarm", "repeat", "alarm", "alarm", "alarm", "repeat", "alarm"]
    assert found[1].status_reason == (
        "repeats plant-1-2024-01-01 00:00, which ended 2024-01-01 01:00:00 and was medium"
    )
    assert [each.status for each in quieted(events[1:2], told=events[:1])] == ["repeat"]
    assert {each.status for each in quieted(events, repeat_s=0)} == {"alarm"}


def test_maintenance_silences_what_lies_within() -> None:
    window = Maintenance(
        series="plant-*", start=pd.Timestamp("2024-01-01"), end=pd.Timestamp("2024-01-02"), reason="filters changed"
    )
    inside, over, other = event("2024-01-01 03:00"), event("2024-01-01 23:30"), event("2024-01-01", series="mill")
    found = {each.id: each for each in quieted([inside, over, other], [window])}
    assert (found[inside.id].status, found[inside.id].status_reason) == ("maintenance", "filters changed")
    assert found[over.id].status == found[other.id].status == "alarm"


@pytest.mark.parametrize(
    ("end", "series", "reason", "message"),
    [
        (
            "2023-12-31",
            "*",
            "x",
            r"maintenance of '\*': got 2024-01-01 00:00:00 .. 2023-12-31 .*, expected end after",
        ),
        ("2024-01-02", "", "x", "got series '' and reason 'x', expected both"),
        ("2024-01-02", "*", "", r"got series '\*' and reason '', expected both"),
    ],
)
def test_a_window_that_is_none(end: str, series: str, reason: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Maintenance(series=series, start=pd.Timestamp("2024-01-01"), end=pd.Timestamp(end), reason=reason)
