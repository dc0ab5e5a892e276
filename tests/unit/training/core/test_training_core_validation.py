"""Each fault of a frame is named: what, column, row, got, expected; labels fit into JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import DataError, InsufficientHistoryError, SchemaError
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME, check

SCHEMA = Schema(
    name="plant",
    frequency="h",
    targets=(Column(name="NOX", unit="mg/m3", low=0, high=500),),
    covariates=(Column(name="flag", kind="int", low=0),),
)


def frame(sizes: tuple[int, ...] = (6, 4), frequency: str = "h", start: str = "2024-01-31") -> pd.DataFrame:
    """Return series a, b, … of the given sizes."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    ID: "abcdef"[i],
                    TIME: pd.date_range(start, periods=size, freq=frequency),
                    "NOX": np.arange(size, dtype=float),
                    "flag": np.arange(size),
                }
            )
            for i, size in enumerate(sizes)
        ],
        ignore_index=True,
    )


def test_a_good_frame_passes() -> None:
    check(frame(), SCHEMA, minimum_rows=4)


@pytest.mark.parametrize("frequency", ["15min", "D", "W-SUN", "MS", "ME", "QS-JAN", "YS-JAN", "B"])
def test_every_step_of_a_calendar_is_known(frequency: str) -> None:
    schema = Schema(name="s", frequency=frequency, targets=SCHEMA.targets, covariates=SCHEMA.covariates)
    good = frame((12, 9), frequency)
    check(good, schema)
    with pytest.raises(DataError, match=rf"series 'b': a timestamp is missing \(a gap\).*row 15.*step {frequency}"):
        check(good.drop(index=14), schema)


@pytest.mark.parametrize(
    ("column", "row", "value", "words"),
    [
        ("NOX", 7, np.nan, "a value is not finite: column 'NOX', row 7: got nan, expected a finite number"),
        ("NOX", 7, np.inf, "a value is not finite: column 'NOX', row 7: got inf"),
        ("NOX", 7, -0.1, "a value is impossible: column 'NOX', row 7: got -0.1, expected 0 .. 500 mg/m3"),
        ("NOX", 7, 500.1, "a value is impossible: column 'NOX', row 7: got 500.1"),
        ("flag", 7, -1, "a value is impossible: column 'flag', row 7: got -1.0, expected 0 .. inf 1"),
        ("flag", 2, 0.5, "a value is not whole: column 'flag', row 2: got 0.5, expected a whole number"),
        (ID, 3, None, "a series id is missing: column 'series_id', row 3: got nothing, expected an id"),
        (ID, 8, "a", "the rows of a series are not together: column 'series_id', row 8: got 'a' again after 'b'"),
        (TIME, 3, pd.NaT, "a timestamp is missing: column 'timestamp', row 3: got NaT, expected a time"),
        (TIME, 3, pd.Timestamp("1850-01-01"), "a timestamp is impossible: column 'timestamp', row 3"),
        (TIME, 3, pd.Timestamp("2262-04-11 23:00"), "a timestamp is impossible: column 'timestamp', row 3"),
        (
            TIME,
            3,
            pd.Timestamp("2024-01-31 02:00"),
            "series 'a': a timestamp is doubled: column 'timestamp', row 3: got 2024-01-31 02:00:00 after "
            "2024-01-31 02:00:00, expected 2024-01-31 03:00:00 (step h)",
        ),
        (TIME, 3, pd.Timestamp("2024-01-31 00:30"), "series 'a': a timestamp is not sorted"),
        (
            TIME,
            6,
            pd.Timestamp("2024-01-30 00:30"),
            "series 'b': a timestamp is missing (a gap): column 'timestamp', row 7",
        ),
        (TIME, 9, pd.Timestamp("2024-02-01 00:30"), "series 'b': a timestamp is missing (a gap)"),
    ],
)
def test_a_wrong_value_is_named(column: str, row: int, value: Any, words: str) -> None:
    wrong = frame()
    if column == "flag":
        wrong["flag"] = wrong["flag"].astype(float)
    wrong.loc[row, column] = value
    with pytest.raises(DataError) as caught:
        check(wrong, SCHEMA)
    assert words in str(caught.value)
    json.dumps(caught.value.context)


def test_the_first_fault_is_named_and_all_are_counted() -> None:
    wrong = frame()
    wrong.loc[[4, 6, 7], "NOX"] = np.nan
    with pytest.raises(DataError) as caught:
        check(wrong, SCHEMA)
    assert (caught.value.context["row"], caught.value.context["count"]) == (4, 3)
    assert caught.value.context["timestamp"] == "2024-01-31 04:00:00"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (frame().drop(columns="NOX"), "a column is missing: column 'NOX': got columns series_id, timestamp, flag"),
        (frame().drop(columns=TIME), "a column is missing: column 'timestamp'"),
        (pd.concat([frame(), frame()[["NOX"]]], axis=1), "a column appears more than once: column 'NOX'"),
        (frame().assign(NOX="1"), "values are not numbers: column 'NOX': got object, expected float in mg/m3"),
        (frame().assign(NOX=1j), "values are not numbers: column 'NOX': got complex128"),
        (frame().assign(timestamp=1), "timestamps are not times: column 'timestamp': got int64"),
        (
            frame().assign(timestamp=frame()[TIME].dt.tz_localize("UTC")),
            "timestamps are not times: column 'timestamp': got datetime64",
        ),
    ],
)
def test_a_wrong_shape_is_named(wrong: pd.DataFrame, words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check(wrong, SCHEMA)
    assert words in str(caught.value)


def test_an_empty_frame_and_a_short_series_are_named() -> None:
    with pytest.raises(DataError, match="the table is empty: got 0 rows, expected at least 1 row"):
        check(frame().iloc[:0], SCHEMA)
    with pytest.raises(InsufficientHistoryError, match="series 'b' is too short: got 4 rows, expected at least 5"):
        check(frame(), SCHEMA, minimum_rows=5)
