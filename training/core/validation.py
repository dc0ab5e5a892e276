"""Faults of a table, each named: what, column, row, got, expected."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cluster.errors import DataError, InsufficientHistoryError, SchemaError
from training.core.schema import Column, Schema

ID, TIME = "series_id", "timestamp"
EARLIEST, LATEST = pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01")
"""Times outside are slips of a clock or a format, not measurements; arithmetic on them would overflow."""


def check(frame: pd.DataFrame, schema: Schema, *, minimum_rows: int = 1) -> None:
    """Raise at the first fault of `frame`, from the table's shape down to single values.

    Parameters
    ----------
    frame
        Long table with `series_id`, `timestamp` and the schema's columns. Row labels appear in messages.
    schema
        What it must look like.
    minimum_rows
        The shortest series allowed.

    Raises
    ------
    SchemaError
        A column is missing, doubled or not numeric.
    DataError
        The table is empty; a series' rows are scattered; a row is unsorted, doubled or missing in time; a value is
        NaN, infinite, impossible or not whole; a static column changes.
    InsufficientHistoryError
        A series has fewer than `minimum_rows` rows.
    """
    check_columns(frame, schema)
    if frame.empty:
        raise DataError.at("the table is empty", got="0 rows", expected="at least 1 row")
    _check_series(frame)
    _check_times(frame, schema)
    for column in schema.columns:
        check_values(frame, column)
    for name in schema.static_names:
        _check_static(frame, name)
    _check_length(frame, minimum_rows)


def check_columns(frame: pd.DataFrame, schema: Schema) -> None:
    """Raise SchemaError unless ids, times and the schema's columns are there once, of the right type."""
    present = list(frame.columns)
    for name in (ID, TIME, *schema.names):
        if present.count(name) != 1:
            raise SchemaError.at(
                "a column is missing" if name not in present else "a column appears more than once",
                column=name,
                got=f"columns {', '.join(map(str, present)) or 'none'}",
                expected=f"'{name}' once, as schema '{schema.name}' says",
            )
    if not pd.api.types.is_datetime64_dtype(frame[TIME]):
        raise SchemaError.at(
            "timestamps are not times", column=TIME, got=frame[TIME].dtype, expected="datetime64 without zone"
        )
    for column in schema.columns:
        dtype = frame[column.name].dtype
        if not pd.api.types.is_numeric_dtype(dtype) or dtype.kind == "c":
            raise SchemaError.at(
                "values are not numbers",
                column=column.name,
                got=dtype,
                expected=f"{column.kind} in {column.unit}",
            )


def _label(frame: pd.DataFrame, at: int) -> int | str:
    """Return the label of row `at` in a form that fits into JSON."""
    label = frame.index[at]
    return int(label) if isinstance(label, int | np.integer) else str(label)


def _check_series(frame: pd.DataFrame) -> None:
    codes, names = pd.factorize(frame[ID])
    if (codes < 0).any():
        at = int(np.argmax(codes < 0))
        raise DataError.at(
            "a series id is missing", column=ID, row=_label(frame, at), got="nothing", expected="an id"
        )
    back = np.flatnonzero(np.diff(codes) < 0)
    if len(back):
        at = int(back[0]) + 1
        raise DataError.at(
            "the rows of a series are not together",
            column=ID,
            row=_label(frame, at),
            got=f"'{names[codes[at]]}' again after '{names[codes[at - 1]]}'",
            expected="each series' rows one after another",
        )


def _check_times(frame: pd.DataFrame, schema: Schema) -> None:
    times = frame[TIME]
    fine = ((times >= EARLIEST) & (times < LATEST)).to_numpy()
    if not fine.all():
        at = int(np.argmin(fine))
        missing = times.isna().iloc[at]
        raise DataError.at(
            "a timestamp is missing" if missing else "a timestamp is impossible",
            column=TIME,
            row=_label(frame, at),
            got=times.iloc[at],
            expected="a time" if missing else f"a time from {EARLIEST.year} to {LATEST.year - 1}",
        )
    ids = frame[ID].to_numpy()
    expected = times.array[:-1] + pd.tseries.frequencies.to_offset(schema.frequency)
    wrong = np.flatnonzero(np.asarray(times.array[1:] != expected) & (ids[1:] == ids[:-1]))
    if len(wrong):
        at = int(wrong[0])
        before, after = times.iloc[at], times.iloc[at + 1]
        later = bool((times[ids == ids[at]] == expected[at]).any())
        early = "not sorted" if after < before else "off the step"
        late = "not sorted" if later else "missing (a gap)"
        fault = "doubled" if after == before else early if after < expected[at] else late
        raise DataError.at(
            f"series '{ids[at]}': a timestamp is {fault}",
            column=TIME,
            row=_label(frame, at + 1),
            got=f"{after} after {before}",
            expected=f"{expected[at]} (step {schema.frequency})",
            series=str(ids[at]),
        )


def check_values(frame: pd.DataFrame, column: Column, *, where: str = "") -> None:
    """Raise DataError at the column's first value that is not finite, not possible or not whole.

    Parameters
    ----------
    frame
        Table with `timestamp` and the column.
    column
        Says what is possible.
    where
        Begins the message.
    """
    values = frame[column.name].to_numpy(dtype=np.float64, na_value=np.nan)
    finite = np.isfinite(values)
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    whole = values == np.floor(values) if column.kind == "int" else np.ones(len(values), dtype=bool)
    faults = (
        ("a value is not finite", finite, "a finite number"),
        ("a value is impossible", (values >= low) & (values <= high), column.range_text()),
        ("a value is not whole", whole, "a whole number"),
    )
    for what, fine, expected in faults:
        if not fine.all():
            at = int(np.argmin(fine))
            raise DataError.at(
                where + what,
                column=column.name,
                row=_label(frame, at),
                got=float(values[at]),
                expected=expected,
                timestamp=str(frame[TIME].iloc[at]),
                count=int((~fine).sum()),
            )


def _check_static(frame: pd.DataFrame, name: str) -> None:
    values, ids = frame[name].to_numpy(), frame[ID].to_numpy()
    changed = np.flatnonzero((values[1:] != values[:-1]) & (ids[1:] == ids[:-1]))
    if len(changed):
        at = int(changed[0]) + 1
        raise DataError.at(
            f"series '{ids[at]}': a static column changes",
            column=name,
            row=_label(frame, at),
            got=f"{values[at]:g} after {values[at - 1]:g}",
            expected="one value in all rows of a series; give the column another role",
            series=str(ids[at]),
        )


def _check_length(frame: pd.DataFrame, minimum_rows: int) -> None:
    sizes = frame.groupby(ID, sort=False).size()
    if sizes.min() < minimum_rows:
        raise InsufficientHistoryError(
            f"series '{sizes.idxmin()}' is too short: got {sizes.min()} rows, expected at least {minimum_rows}",
            series=str(sizes.idxmin()),
            got=int(sizes.min()),
            expected=minimum_rows,
        )
