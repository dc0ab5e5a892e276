"""What is known ahead, as users bring it: a table of the rows that follow each series' history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cluster.errors import DataError, SchemaError
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME, check_values
from training.core.windows import Windows


def rows_ahead(
    future: pd.DataFrame, context: Windows, schema: Schema, names: Sequence[str], horizon: int
) -> Windows:
    """Return the known rows that follow each of N windows, one window of `horizon` rows each.

    Parameters
    ----------
    future
        `series_id`, `timestamp` and the columns `names`, at least the `horizon` rows that follow each series'
        history; other columns, other series and later rows are not looked at.
    context
        N windows of history, one a series.
    schema
        Gives units and ranges of the columns.
    names
        K columns that are known ahead.
    horizon
        H, rows to take.

    Raises
    ------
    SchemaError
        A column is missing or not numeric.
    DataError
        A series or a row is missing, doubled or out of order; a value is not finite or impossible.
    """
    check_future_columns(future, names)
    wanted = pd.DataFrame({ID: np.repeat(context.ids, horizon), TIME: context.future_times(horizon).reshape(-1)})
    given = future[[ID, TIME, *names]].assign(**{ID: future[ID].astype(str)})
    doubled = given.duplicated([ID, TIME])
    if doubled.any():
        row = given[doubled].iloc[0]
        raise DataError.at(
            f"future: series '{row[ID]}' has a doubled row", column=TIME, got=row[TIME], expected="each time once"
        )
    found = wanted.merge(given, on=[ID, TIME], how="left", indicator="found", validate="one_to_one")
    missing = (found["found"] != "both").to_numpy()
    if missing.any():
        raise _too_short(found, given, missing, horizon)
    for name in names:
        check_values(found, schema.column(name), where="future: ")
    return Windows(
        rows=found[list(names)].to_numpy(dtype=np.float64),
        times=found[TIME].to_numpy(dtype="datetime64[ns]"),
        segments=np.arange(len(context) + 1, dtype=np.int64) * horizon,
        starts=np.arange(len(context), dtype=np.int64) * horizon,
        length=horizon,
        columns=tuple(names),
        series=context.ids,
        frequency=context.frequency,
    )


def future_of(panel: Panel, names: Sequence[str]) -> pd.DataFrame:
    """Return a panel's rows as a future: ids, times and the columns `names` alone."""
    return panel.frame[[ID, TIME, *names]]


def check_future_columns(future: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise SchemaError unless ids, times and the columns `names` are there once, of the right type."""
    for name in (ID, TIME, *names):
        if list(future.columns).count(name) != 1:
            raise SchemaError.at(
                "future: a column is missing" if name not in future.columns else "future: a column appears twice",
                column=name,
                got=f"columns {', '.join(map(str, future.columns)) or 'none'}",
                expected=f"{ID}, {TIME} and what this model knows ahead: {', '.join(names)}",
            )
    if not pd.api.types.is_datetime64_dtype(future[TIME]):
        raise SchemaError.at(
            "future: timestamps are not times",
            column=TIME,
            got=future[TIME].dtype,
            expected="datetime64 without zone",
        )
    for name in names:
        if not pd.api.types.is_numeric_dtype(future[name]) or future[name].dtype.kind == "c":
            raise SchemaError.at(
                "future: values are not numbers", column=name, got=future[name].dtype, expected="numbers"
            )


def _too_short(
    found: pd.DataFrame, given: pd.DataFrame, missing: np.ndarray[tuple[int], np.dtype[np.bool_]], horizon: int
) -> DataError:
    """Return the error that names the first series and time which are not there."""
    series, time = found.loc[missing, [ID, TIME]].iloc[0]
    count = int((~missing & (found[ID] == series).to_numpy()).sum())
    known = (given[ID] == series).any()
    return DataError.at(
        f"future: series '{series}' is {'too short' if known else 'missing'}",
        column=TIME,
        got=f"{count} of {horizon} rows, none at {time}",
        expected=f"the {horizon} rows that follow its history",
        series=str(series),
    )
