"""Each policy does what it says, and each fault that it refuses is one exact error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError, HeliotropeError, InsufficientHistoryError, SchemaError
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.data.bundled import load_sample, sample_names
from training.data.gaps import fill
from training.data.preparation import Preparation, prepare
from training.data.units import unit_changes

SCHEMA = Schema(
    name="site",
    frequency="h",
    season_length=24,
    targets=(Column(name="kwh", unit="kWh", low=0),),
    covariates=(Column(name="flag", kind="int", low=0, high=1, role="known"),),
)


def site(rows: int = 240, series: str = "a", start: str = "2023-05-01") -> pd.DataFrame:
    hours = np.arange(rows)
    noise = np.random.default_rng(4).normal(0, 1, rows)
    return pd.DataFrame(
        {
            ID: series,
            TIME: pd.date_range(start, periods=rows, freq="h"),
            "kwh": 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + noise,
            "flag": (hours // 24 % 7 >= 5).astype(int),
        }
    )


def with_value(row: int, value: float) -> pd.DataFrame:
    frame = site()
    frame.loc[row, "kwh"] = value
    return frame


def two(other: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([site(), other], ignore_index=True)


def every_other(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[::2].reset_index(drop=True)


def half_hour() -> pd.DataFrame:
    frame = site(series="b")
    frame.loc[7:, TIME] += pd.Timedelta(minutes=30)
    return frame


def doubled() -> pd.DataFrame:
    return pd.concat([site().iloc[:6], site().iloc[5:]], ignore_index=True)


def swapped() -> pd.DataFrame:
    return site().iloc[[0, 2, 1, *range(3, 240)]].reset_index(drop=True)


FAULTS: dict[str, tuple[Callable[[], pd.DataFrame], dict[str, Any], type[HeliotropeError], str]] = {
    "unsorted": (
        swapped,
        {},
        DataError,
        "series 'a': a timestamp is not sorted: column 'timestamp': got 2023-05-01 01:00:00 after 2023-05-01 "
        "02:00:00, expected later times; or unsorted='sort'",
    ),
    "duplicate times": (
        doubled,
        {},
        DataError,
        "series 'a': a timestamp is doubled: column 'timestamp': got 2023-05-01 05:00:00 after 2023-05-01 "
        "05:00:00, expected each time once; or duplicates='first' or 'mean'; or the zone, if this is the "
        "hour that a local clock shows twice in autumn",
    ),
    "another step": (
        lambda: two(every_other(site(series="b"))),
        {"gaps": "linear"},
        DataError,
        "series 'b' has another step: column 'timestamp': got 0 days 02:00:00 before 2023-05-01 02:00:00, "
        "expected h throughout; resample the series, or prepare each frequency under its own schema",
    ),
    "mixed steps": (
        lambda: two(half_hour()),
        {"gaps": "linear"},
        DataError,
        "series 'b' has another step: column 'timestamp': got 0 days 01:30:00 before 2023-05-01 07:30:00, "
        "expected h throughout; resample the series, or prepare each frequency under its own schema",
    ),
    "infinity": (
        lambda: with_value(5, np.inf),
        {"gaps": "zero"},
        DataError,
        "series 'a': a value is infinite: column 'kwh', row 5: got inf, expected a number, or nothing where it is "
        "missing",
    ),
    "all missing": (
        lambda: two(site(series="b").assign(kwh=np.nan)),
        {"gaps": "linear"},
        DataError,
        "series 'b' has no value: column 'kwh': got 240 rows, all missing, expected at least one value; leave out "
        "the series or the column",
    ),
    "one row": (
        lambda: two(site(1, series="b")),
        {"minimum_rows": 2},
        InsufficientHistoryError,
        "series 'b' is too short: got 1 rows, expected at least 2",
    ),
    "missing value": (
        lambda: with_value(5, np.nan),
        {},
        DataError,
        "series 'a': a value is missing: column 'kwh': got nothing at 2023-05-01 05:00:00, and 1 in all, expected "
        "a value in every step; or gaps='linear', 'seasonal', 'previous' or 'zero'",
    ),
    "long gap": (
        lambda: site().drop(index=range(50, 80)),
        {"gaps": "linear"},
        DataError,
        "series 'a': a gap is too long: column 'kwh': got 30 rows from 2023-05-03 02:00:00 to 2023-05-04 07:00:00, "
        "expected at most 24; raise longest_gap, or beyond='split'",
    ),
    "impossible value": (
        lambda: with_value(5, -1.0),
        {},
        DataError,
        "a value is impossible: column 'kwh', row 5: got -1.0, expected 0 .. inf kWh",
    ),
    "empty": (
        lambda: site(0),
        {},
        DataError,
        "the table is empty: got 0 rows, expected at least 1 row",
    ),
    "no such column": (
        lambda: site().drop(columns="kwh"),
        {},
        SchemaError,
        "a column is missing: column 'kwh': got columns series_id, timestamp, flag, expected 'kwh' once, as schema "
        "'site' says",
    ),
    "lost time": (
        lambda: site().assign(timestamp=site()[TIME].where(site().index != 3)),
        {},
        DataError,
        "a timestamp is missing: column 'timestamp', row 3: got nothing, expected a time",
    ),
    "slip of the clock": (
        lambda: two(site(2, "b").assign(timestamp=pd.to_datetime(["1901-01-01", "2199-01-01"]))),
        {"gaps": "zero"},
        DataError,
        "series 'b' has another step: column 'timestamp': got 108843 days 00:00:00 before 2199-01-01 00:00:00, "
        "expected at most 262800 steps of h between two rows; mend the times",
    ),
    "spring's missing hour": (
        lambda: site(start="2024-03-31 00:00"),
        {"zone": "Europe/Berlin"},
        DataError,
        "series 'a': a local time does not exist: column 'timestamp', row 2: got 2024-03-31 02:00:00, expected a "
        "time that Europe/Berlin's clocks show; or 'shift'",
    ),
    "autumn's hour, refused": (
        lambda: site(start="2024-10-27 00:00"),
        {"zone": "Europe/Berlin", "ambiguous": "refuse"},
        DataError,
        "series 'a': a local time is ambiguous: column 'timestamp', row 2: got 2024-10-27 02:00:00, expected a "
        "zone offset, or at most two rows and ambiguous='order'",
    ),
    "unit": (
        lambda: site().assign(kwh=site()["kwh"] * np.where(np.arange(240) < 150, 1, 1000)),
        {"units": "refuse"},
        DataError,
        "series 'a': the unit changes by a factor of 1000 (Wh, kWh, MWh, or kg and t): column 'kwh': got since "
        "2023-05-07 06:00:00, expected one unit throughout; convert it, or units='convert' or 'flag'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_exact_error(fault: str) -> None:
    frame, policy, kind, message = FAULTS[fault]
    with pytest.raises(HeliotropeError) as caught:
        prepare(frame(), SCHEMA, Preparation(**policy))
    assert type(caught.value) is kind
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("gaps", "guess", "refuse, linear, seasonal, previous, zero"),
        ("zone", "Mars/Olympus", "a name of the time zone database, such as Europe/Berlin"),
        ("clock", "standard", "utc, or a zone whose standard time is meant"),
        ("longest_gap", 0, "1 row or more"),
        ("outlier_deviations", float("nan"), "1 or more"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Preparation(**{name: value})
    assert caught.value.message == f"{name}: got '{value}', expected {expected}"


def test_a_good_table_comes_out_as_it_is_and_a_constant_one_is_fine() -> None:
    everything = Preparation(gaps="seasonal", outliers="winsorise", units="convert", unsorted="sort")
    constant = two(site(series="b").assign(kwh=5.0))
    for policy in (Preparation(), everything):
        prepared = prepare(constant, SCHEMA, policy)
        pd.testing.assert_frame_equal(prepared.panel.frame, constant)
        assert not prepared.report.findings
        assert not prepared.filled.to_numpy().any()


def test_rows_are_put_in_order_and_duplicates_merged() -> None:
    frame = doubled().iloc[::-1].reset_index(drop=True)
    frame.loc[frame[TIME] == site()[TIME][5], "kwh"] = [1.0, 3.0]
    for policy, expected in (("first", 1.0), ("mean", 2.0)):
        prepared = prepare(frame, SCHEMA, Preparation(unsorted="sort", duplicates=policy))  # type: ignore[arg-type]
        assert len(prepared.panel) == 240
        assert prepared.panel.frame["kwh"][5] == expected
        assert [finding.step for finding in prepared.report.findings] == ["order", "duplicates"]


def test_series_may_be_interleaved_and_ragged() -> None:
    frame = two(site(100, series="b", start="2023-05-03")).sort_values(TIME, ignore_index=True)
    panel = prepare(frame, SCHEMA).panel
    assert panel.series == ("a", "b")
    assert np.diff(panel.table.segments).tolist() == [240, 100]


def test_gaps_are_filled_marked_and_reported() -> None:
    frame = site().drop(index=[60, 61, 62, 100])
    prepared = prepare(frame, SCHEMA, Preparation(gaps="linear"))
    values, mask = prepared.panel.frame["kwh"], prepared.filled["kwh"]
    assert np.flatnonzero(mask).tolist() == [60, 61, 62, 100]
    assert values[61] == pytest.approx((values[59] + values[63]) / 2)
    (kwh, flag) = prepared.report.of("gaps")
    assert (kwh.count, kwh.longest, kwh.first) == (4, 3, pd.Timestamp("2023-05-03 12:00"))
    assert flag.action == "filled, previous"  # a flag has no half
    assert prepared.panel.frame["flag"].dtype == "int64"
    assert prepared.report.looks_ahead == ("gaps=linear",)
    text = prepared.report.summary()
    assert "236 rows in, 240 rows out" in text
    assert "gaps: 'a', column 'kwh': 4 cells from 2023-05-03 12:00:00 to 2023-05-05 04:00:00, longest run 3" in text
    table = prepared.report.to_frame()
    assert (table["step"][0], table["column"][0], table["count"][0]) == ("gaps", "kwh", 4)


def test_a_long_gap_splits_a_series_and_a_late_column_cuts_its_head() -> None:
    frame = site().drop(index=range(50, 80))
    frame.loc[:3, "kwh"] = np.nan
    prepared = prepare(frame, SCHEMA, Preparation(gaps="previous", beyond="split"))
    assert prepared.panel.series == ("a", "a/2")
    assert np.diff(prepared.panel.table.segments).tolist() == [46, 160]
    assert [finding.step for finding in prepared.report.findings] == ["split", "head"]
    assert not prepared.filled.to_numpy().any()


def test_fillings() -> None:
    nan = np.nan
    values = np.array([nan, 1.0, 2, 3, 4, 11, 12, nan, nan, nan])
    np.testing.assert_array_equal(fill(values, "previous", 4), [nan, 1, 2, 3, 4, 11, 12, 12, 12, 12])
    np.testing.assert_array_equal(fill(values, "zero", 4), [0, 1, 2, 3, 4, 11, 12, 0, 0, 0])
    np.testing.assert_array_equal(fill(values, "linear", 4), [nan, 1, 2, 3, 4, 11, 12, 12, 12, 12])
    # The last two known rows are 10 above those of a season ago, and so are the filled ones.
    np.testing.assert_array_equal(fill(values, "seasonal", 4), [nan, 1, 2, 3, 4, 11, 12, 13, 14, 21])


def test_seasonal_filling_is_near_the_truth_on_real_demand() -> None:
    panel = load_sample("vic_electricity")
    frame = panel.frame.iloc[:5000].copy()
    gone = np.random.default_rng(0).random(5000) < 0.04
    gone[0] = gone[-1] = False
    prepared = prepare(frame[~gone], panel.schema, Preparation(gaps="seasonal"))
    error = np.abs(prepared.panel.frame["demand_mwh"] - frame["demand_mwh"])[prepared.filled["demand_mwh"]]
    assert error.mean() < 0.03 * frame["demand_mwh"].mean()


def test_outliers_are_flagged_or_moved_to_the_fence_and_weekends_are_none() -> None:
    frame = site(24 * 60)
    frame["kwh"] -= 40.0 * frame["flag"]
    spikes = [500, 777, 1100]
    frame.loc[spikes, "kwh"] = [400.0, 0.0, 300.0]
    for causal in (False, True):
        flagged = prepare(frame, SCHEMA, Preparation(outliers="flag", causal=causal))
        pd.testing.assert_frame_equal(flagged.panel.frame, frame)
        assert set(spikes) <= set(np.flatnonzero(flagged.outlying["kwh"]))
        moved = prepare(frame, SCHEMA, Preparation(outliers="winsorise", causal=causal))
        assert np.abs(moved.panel.frame["kwh"] - frame["kwh"])[spikes].min() > 50
    two_sided = prepare(frame, SCHEMA, Preparation(outliers="flag"))
    inner = two_sided.outlying["kwh"].iloc[24 * 6 : -24 * 6]  # what is seen from both sides
    assert np.flatnonzero(inner).tolist() == [spike - 24 * 6 for spike in spikes]


@pytest.mark.parametrize("factor", [3.6, 24, 100, 1000, 0.001, 1e6])
def test_a_change_of_unit_is_found_to_the_row_and_converted(factor: float) -> None:
    frame = site(500)
    truth = frame["kwh"].copy()
    frame.loc[330:, "kwh"] *= factor
    prepared = prepare(frame, SCHEMA, Preparation(units="convert"))
    (found,) = prepared.report.of("units")
    assert found.first == frame[TIME][330]
    assert found.factor == pytest.approx(factor)
    np.testing.assert_allclose(prepared.panel.frame["kwh"], truth)
    flagged = prepare(frame, SCHEMA, Preparation(units="flag"))
    pd.testing.assert_frame_equal(flagged.panel.frame, frame)
    assert len(flagged.report.of("units")) == 1


def test_two_changes_of_unit_are_found() -> None:
    values = site(900)["kwh"].to_numpy() * np.repeat([1.0, 1e-3, 1e3], 300)
    assert [(change.row, change.factor) for change in unit_changes(values, season=24)] == [(300, 1e-3), (600, 1e6)]


@pytest.mark.parametrize("name", sample_names())
def test_no_bundled_sample_is_said_to_change_its_unit(name: str) -> None:
    panel = load_sample(name)
    for column in panel.schema.names:
        values = panel.frame[column].to_numpy(dtype=float)
        assert unit_changes(values, season=panel.schema.season_length) == (), column


def test_a_lone_hour_of_autumn_is_settled_by_its_neighbour() -> None:
    utc = pd.date_range("2024-10-26 20:00", periods=10, freq="h", tz="UTC")
    local = utc.tz_convert("Europe/Berlin").tz_localize(None)
    frame = pd.DataFrame({TIME: local, "kwh": np.arange(10.0), "flag": 0})
    berlin = Preparation(zone="Europe/Berlin", gaps="previous")
    for lost in (4, 5):  # 02:00 of summer and of winter
        times = prepare(frame.drop(index=lost), SCHEMA, berlin).panel.frame[TIME]
        assert times.tolist() == utc.tz_localize(None).tolist()
    with pytest.raises(DataError, match="a local time is ambiguous"):
        prepare(frame.iloc[[4]], SCHEMA, berlin)
    for which, hour in (("first", 0), ("second", 1)):
        policy = replace(berlin, ambiguous=which)  # type: ignore[arg-type]
        assert prepare(frame.iloc[[4]], SCHEMA, policy).panel.frame[TIME][0].hour == hour


def test_daily_rows_keep_their_local_dates_and_zoned_times_need_no_guess() -> None:
    daily = replace(SCHEMA, frequency="D", season_length=7)
    dates = pd.date_range("2024-03-25", periods=14)
    frame = pd.DataFrame({TIME: dates, "kwh": 1.0, "flag": 0})
    berlin = Preparation(zone="Europe/Berlin", ambiguous="refuse", clock="standard")
    assert prepare(frame, daily, berlin).panel.frame[TIME].tolist() == dates.tolist()
    hours = pd.date_range("2024-10-26", periods=72, freq="h", tz="Europe/Berlin")
    frame = pd.DataFrame({TIME: hours, "kwh": 1.0, "flag": 0})
    times = prepare(frame, SCHEMA, berlin).panel.frame[TIME]
    assert times[0] == pd.Timestamp("2024-10-25 23:00")  # standard time all year: 00:00 of summer time is 23:00
    assert len(times) == 72


def test_a_time_that_does_not_exist_may_be_shifted() -> None:
    policy = Preparation(zone="Europe/Berlin", nonexistent="shift", duplicates="mean")
    prepared = prepare(site(start="2024-03-31 00:00"), SCHEMA, policy)
    assert len(prepared.panel) == 239
    assert prepared.report.of("duplicates")[0].count == 1
