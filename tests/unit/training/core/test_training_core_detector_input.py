"""Each fault of what a detector reads is one error with one message."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cluster.errors import DataError, HeliotropeError, InsufficientHistoryError, SchemaError, UnknownNameError
from training.core.detector_input import carried
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.detectors.moving_average import MovingAverage
from training.detectors.z_score import ZScore

SCHEMA = Schema(name="plant", frequency="h", targets=(Column(name="flow", unit="kg"), Column(name="power")))

Change = Callable[[pd.DataFrame], pd.DataFrame]


def frame(rows: int = 40) -> pd.DataFrame:
    steps = np.arange(rows)
    return pd.DataFrame(
        {
            "series_id": "a",
            "timestamp": pd.Timestamp("2024-01-01") + pd.to_timedelta(steps, unit="h"),
            "flow": np.sin(steps) + 5.0,
            "power": np.cos(steps),
        }
    )


def put(column: str, row: int, value: object) -> Change:
    def change(good: pd.DataFrame) -> pd.DataFrame:
        return good.assign(**{column: good[column].where(good.index != row, value)})

    return change


FAULTS: dict[str, tuple[Change, type[HeliotropeError], str]] = {
    "nothing changes": (
        lambda good: good.assign(flow=3.0, power=1.0),
        DataError,
        "series 'a' never changes: column 'flow': got 3 in all 40 rows, expected at least one watched column with "
        "two different values; fit on a longer part of the series",
    ),
    "all missing": (
        lambda good: good.assign(power=np.nan),
        DataError,
        "series 'a': a column has no value: column 'power': got 40 missing values, expected at least 1 number",
    ),
    "text": (
        lambda good: good.assign(power="high"),
        SchemaError,
        "values are not numbers: column 'power': got object, expected float in 1",
    ),
    "a column is missing": (
        lambda good: good.drop(columns="power"),
        SchemaError,
        "a column is missing: column 'power': got columns series_id, timestamp, flow, expected 'power' once, as "
        "schema 'plant' says",
    ),
    "1e300": (
        put("flow", 7, 1e300),
        DataError,
        "series 'a': a value is too large to be measured: column 'flow', row 7: got 1e+300, expected a number from "
        "-1e+100 to 1e+100, or a missing one",
    ),
    "infinite": (
        put("flow", 7, -np.inf),
        DataError,
        "series 'a': a value is too large to be measured: column 'flow', row 7: got -inf, expected a number from "
        "-1e+100 to 1e+100, or a missing one",
    ),
    "the clock runs backwards": (
        put("timestamp", 9, pd.Timestamp("2024-01-01 02:00")),
        DataError,
        "series 'a': the clock runs backwards or stands still: column 'timestamp', row 9: got 2024-01-01 02:00:00 "
        "after 2024-01-01 08:00:00, expected a time after 2024-01-01 08:00:00",
    ),
    "no time": (
        put("timestamp", 9, pd.NaT),
        DataError,
        "series 'a': a timestamp is missing: column 'timestamp', row 9: got nothing, expected a time",
    ),
    "no id": (
        put("series_id", 9, None),
        DataError,
        "a series id is missing: column 'series_id': got nothing, expected an id",
    ),
    "scattered": (
        put("series_id", 9, "b"),
        DataError,
        "the rows of a series are not together: column 'series_id': got 'a' in several places, expected each "
        "series' rows one after another",
    ),
    "no rows": (
        lambda good: good.iloc[:0],
        DataError,
        "the table is empty: got 0 rows, expected at least 1 row",
    ),
    "fewer rows than a window": (
        lambda good: good.iloc[:6],
        InsufficientHistoryError,
        "'moving_average' has too little to learn from: got 6 rows, expected at least 13 for a window of 12; give "
        "more rows or a smaller window",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_exact_error_and_a_good_panel_follows(fault: str) -> None:
    change, error, message = FAULTS[fault]
    detector = MovingAverage(window=12)
    with pytest.raises(error) as caught:
        detector.fit(Panel(change(frame()), SCHEMA))
    assert str(caught.value) == message
    assert not detector.fitted
    assert len(detector.fit(Panel(frame(), SCHEMA)).score(Panel(frame(), SCHEMA))) == 40


def test_scores_refuse_few_rows_and_unknown_series() -> None:
    detector = MovingAverage(window=12).fit(Panel(frame(), SCHEMA))
    with pytest.raises(InsufficientHistoryError, match=r"series 'a' is shorter than the window .*got 6 rows"):
        detector.score(Panel(frame(6), SCHEMA))
    with pytest.raises(UnknownNameError, match=r"unknown series 'b'.* Known: a"):
        detector.score(Panel(frame().assign(series_id="b"), SCHEMA))


def test_gaps_in_time_and_other_columns_are_no_fault() -> None:
    later = frame().drop(index=[3, 4, 20]).assign(comment="text")
    assert len(ZScore().fit(Panel(frame(), SCHEMA)).score(Panel(later, SCHEMA))) == 37


def test_a_missing_value_is_the_last_known_one_never_a_later() -> None:
    nan = np.nan
    rows = np.array([[nan, 1.0], [2.0, nan], [nan, nan], [3.0, 4.0]])
    got = carried(rows)
    assert np.array_equal(got, [[nan, 1.0], [2.0, 1.0], [2.0, 1.0], [3.0, 4.0]], equal_nan=True)
    after = carried(rows[:1], np.array([9.0, 8.0]))
    assert np.array_equal(after, [[9.0, 1.0]])
