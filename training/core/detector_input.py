"""What a detector refuses to read, each fault by name, and what it reads in place of a missing value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from cluster.errors import DataError
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME, check_columns
from training.core.windows import Floats, Times, Windows

LARGEST = 1e100
"""Squares of larger numbers, and sums of these, no longer fit into a float64."""


def read_table(panel: Panel, columns: tuple[str, ...]) -> Windows:
    """Return the watched columns as a table without windows, missing values still NaN.

    Unlike a forecaster's panel, a detector's may have gaps in time and missing values: they are what it is there
    for. Rows must still be in order of time.

    Raises
    ------
    SchemaError
        A column is missing, doubled or not numeric.
    DataError
        The table is empty; a series' rows are scattered; a clock runs backwards; a value is infinite or larger
        than `LARGEST`; a column of a series has no value at all.
    """
    check_columns(panel.frame, _only(panel.schema, columns))
    if panel.frame.empty:
        raise DataError.at("the table is empty", got="0 rows", expected="at least 1 row")
    frame = panel.frame[[ID, TIME, *columns]]
    if frame[ID].isna().any():
        raise DataError.at("a series id is missing", column=ID, got="nothing", expected="an id")
    whole = Panel(frame, _only(panel.schema, columns)).table
    doubled = sorted({name for name in whole.series if whole.series.count(name) > 1})
    if doubled:
        raise DataError.at(
            "the rows of a series are not together",
            column=ID,
            got=f"'{doubled[0]}' in several places",
            expected="each series' rows one after another",
            series=doubled[0],
        )
    for series, start, stop in zip(whole.series, whole.segments, whole.segments[1:], strict=False):
        check_times(whole.times[start:stop], None, series)
        check_numbers(whole.rows[start:stop], whole.times[start:stop], columns, series)
        _check_any(whole.rows[start:stop], columns, series)
    return replace(whole, columns=columns)


def check_times(times: Times, last: np.datetime64 | None, series: str) -> None:
    """Raise DataError unless times are there and increase, the first one from `last` on."""
    missing = np.isnat(times)
    if missing.any():
        raise DataError.at(
            f"series '{series}': a timestamp is missing",
            column=TIME,
            row=int(np.argmax(missing)),
            got="nothing",
            expected="a time",
            series=series,
        )
    before = times[:-1] if last is None else np.concatenate([[last], times[:-1]])
    after = times if last is not None else times[1:]
    back = np.flatnonzero(after <= before)
    if len(back):
        at = int(back[0])
        raise DataError.at(
            f"series '{series}': the clock runs backwards or stands still",
            column=TIME,
            row=at + (last is None),
            got=f"{pd.Timestamp(after[at])} after {pd.Timestamp(before[at])}",
            expected=f"a time after {pd.Timestamp(before[at])}",
            series=series,
        )


def check_numbers(rows: Floats, times: Times, columns: tuple[str, ...], series: str) -> None:
    """Raise DataError at the first value that is infinite or larger than `LARGEST`; NaN is missing, not wrong."""
    wrong = np.abs(rows) > LARGEST
    if wrong.any():
        row, column = (int(at[0]) for at in np.nonzero(wrong))
        raise DataError.at(
            f"series '{series}': a value is too large to be measured",
            column=columns[column],
            row=row,
            got=float(rows[row, column]),
            expected=f"a number from {-LARGEST:g} to {LARGEST:g}, or a missing one",
            timestamp=str(times[row]),
            series=series,
        )


def _check_any(rows: Floats, columns: tuple[str, ...], series: str) -> None:
    empty = np.isnan(rows).all(axis=0)
    if empty.any():
        raise DataError.at(
            f"series '{series}': a column has no value",
            column=columns[int(np.argmax(empty))],
            got=f"{len(rows)} missing values",
            expected="at least 1 number",
            series=series,
        )


def check_varies(rows: Floats, columns: tuple[str, ...], series: str) -> None:
    """Raise DataError where nothing in a series ever changes: it does not tell what is unusual."""
    if not (rows != rows[:1]).any():
        raise DataError.at(
            f"series '{series}' never changes",
            column=columns[0],
            got=f"{rows[0, 0]:g} in all {len(rows)} rows",
            expected="at least one watched column with two different values; fit on a longer part of the series",
            series=series,
        )


def carried(rows: Floats, before: Floats | None = None) -> Floats:
    """Return the rows with each missing value replaced by the column's last known one.

    Parameters
    ----------
    rows
        (R, C).
    before
        (C,) the last known values before the rows. Without them, or where they are NaN themselves, a column stays
        NaN until its first value: no value is carried back in time.
    """
    missing = np.isnan(rows)
    if not missing.any():
        return rows
    known = np.where(missing, -1, np.arange(len(rows))[:, None])
    last = np.maximum.accumulate(known, axis=0)
    start = np.full(rows.shape[1], np.nan) if before is None else before
    filled: Floats = np.where(last < 0, start, np.take_along_axis(rows, last.clip(0), axis=0))
    return filled


def _only(schema: Schema, columns: tuple[str, ...]) -> Schema:
    """Return the schema with the watched columns as its targets."""
    targets = tuple(replace(schema.column(name), role="past") for name in columns)
    return replace(schema, targets=targets, covariates=())
