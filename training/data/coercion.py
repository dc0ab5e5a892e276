"""From whatever a source holds to text ids, UTC times and float64; what does not convert is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cluster.errors import DataError, SchemaError
from training.core.schema import Column
from training.core.validation import TIME

OFFSET = r":\d\d.*(?:[zZ]|[+-]\d\d:?(?:\d\d)?)\s*$"
"""An offset stands after a time of day; in `2024-03-31` the last dash does not begin one."""
TIME_TEXT = "an ISO 8601 time such as 2024-03-31 13:00"


def to_ids(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Return ids as text; raise DataError where one is missing."""
    text = _text(values)
    missing = text.isna() | (text.str.strip() == "")
    if missing.any():
        raise DataError.at(
            "a series id is missing", column=name, row=_first(missing), got="nothing", expected="an id"
        )
    return text


def to_times(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Return times as datetime64[ns] in UTC without a zone; times without a zone are taken as UTC.

    Raises
    ------
    SchemaError
        The column holds numbers.
    DataError
        A text is not an ISO 8601 time: `03/04/2024` is two days, so it is refused.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    elif not pd.api.types.is_datetime64_dtype(values.dtype):
        if values.dtype.kind not in "OTU" and not values.isna().all():
            raise SchemaError.at("timestamps are not times", column=name, got=values.dtype, expected=TIME_TEXT)
        text = _text(values)
        values = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
        wrong = values.isna() & text.notna() & (text != "")
        if wrong.any():
            row = _first(wrong)
            raise DataError.at(
                "a timestamp is not a time", column=name, row=row, got=f"'{_at(text, wrong)}'", expected=TIME_TEXT
            )
    try:
        return values.astype("datetime64[ns]").rename(TIME)
    except (ValueError, OverflowError) as error:
        raise DataError.at("a timestamp is impossible", column=name, got=error, expected=TIME_TEXT) from error


def without_zone(values: pd.Series[Any]) -> bool:
    """Return whether times name no zone: those of some local clock, or of UTC unsaid.

    Raises
    ------
    DataError
        Some name one and some do not, so that nobody knows what the others mean.
    """
    if isinstance(values.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(values.dtype):
        return not isinstance(values.dtype, pd.DatetimeTZDtype)
    text = _text(values.dropna())
    zoned = text.str.contains(OFFSET)
    if zoned.any() and not zoned.all():
        raise DataError.at(
            "some times name a zone and some do not",
            column=TIME,
            row=_first(~zoned),
            got=f"'{_at(text, ~zoned)}' and '{_at(text, zoned)}'",
            expected="an offset such as +01:00 in all or in none",
        )
    return not bool(zoned.any())


def to_numbers(values: pd.Series[Any], name: str, column: Column) -> pd.Series[Any]:
    """Return float64, missing values as NaN; raise where a value is not a number.

    Raises
    ------
    SchemaError
        The whole column is of a type that no number is made of, such as times.
    DataError
        A value is not a number.
    """
    expected = f"a number in {column.unit}"
    if values.dtype.kind in "biuf":
        return values.astype("Float64").astype("float64") if values.hasnans else values.astype("float64")
    if values.dtype.kind not in "OTU":
        raise SchemaError.at("values are not numbers", column=name, got=values.dtype, expected=expected)
    text = _text(values)
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    wrong = numbers.isna() & text.notna() & ~text.str.lower().isin(["nan", ""])
    if wrong.any():
        got = f"'{_at(text, wrong)}'"
        raise DataError.at("a value is not a number", column=name, row=_first(wrong), got=got, expected=expected)
    return numbers


def _text(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return each value as Python writes it, missing ones left missing."""
    values = values.astype("object")
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        return values
    return values.map(str, na_action="ignore").astype("object")


def _first(wrong: pd.Series[bool]) -> int | str:
    label = wrong.index[int(np.argmax(wrong.to_numpy()))]
    return int(label) if isinstance(label, int | np.integer) else str(label)


def _at(values: pd.Series[Any], wrong: pd.Series[bool]) -> str:
    return str(values.iloc[int(np.argmax(wrong.to_numpy()))])[:80]
