"""Rows as they lie in a file, and what of them can be used: each bad row with its error, none lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.core.detector_input import LARGEST
from training.core.validation import EARLIEST, ID, LATEST, TIME

FILE, ROW, ERROR = "source_file", "source_row", "error"
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the columns of ids and times are called.

    Parameters
    ----------
    time
        Of times.
    series
        Of series ids; None where the data set is one series.
    only
        Id of that one series.
    """

    time: str = TIME
    series: str | None = ID
    only: str = "series"

    def columns(self, values: Sequence[str]) -> list[str]:
        """Return the columns that a file must have."""
        return [*([] if self.series is None else [self.series]), self.time, *values]


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Rows of a part.

    Parameters
    ----------
    good
        `series_id`, `timestamp`, the values, `source_file`, `source_row`; each series' rows together, in the
        order of the file.
    bad
        `source_file`, `source_row`, `series_id`, `timestamp`, `error`.
    """

    good: pd.DataFrame
    bad: pd.DataFrame


def sort_rows(table: Any, names: Names, values: Sequence[str], *, file: str, first_row: int) -> Sorted:
    """Read an Arrow table of a part.

    Parameters
    ----------
    table
        With the columns of `names` and `values`.
    names
        Of ids and times.
    values
        Columns of numbers; a missing one stays missing.
    file, first_row
        Where the rows lie.
    """
    raw = table.to_pandas()
    ids = pd.Series(names.only, index=raw.index) if names.series is None else raw[names.series]
    frame = pd.DataFrame({FILE: file, ROW: np.arange(first_row, first_row + len(raw)), ID: ids})
    frame[TIME], errors = _times(raw[names.time], names.time)
    errors = errors.mask(errors.eq("") & frame[ID].isna(), f"column '{names.series}': got nothing, expected an id")
    for name in values:
        frame[name], fault = _numbers(raw[name], name)
        errors = errors.mask(errors.eq(""), fault)
    errors = errors.mask(errors.eq(""), _backwards(frame, errors.eq("")))
    fine = errors.eq("")
    good = frame[fine].sort_values(ID, kind="stable", ignore_index=True)
    good[ID] = good[ID].astype(str)
    return Sorted(good=good, bad=bad_rows(frame[~fine], errors[~fine]))


def bad_rows(rows: pd.DataFrame, errors: Any) -> pd.DataFrame:
    """Return rows of the side file."""
    told = rows[[FILE, ROW]].copy()
    told[ID] = rows[ID].astype(str).where(rows[ID].notna(), None)
    told[TIME] = rows[TIME]
    told[ERROR] = errors
    return told.reset_index(drop=True)


def _times(raw: pd.Series[Any], name: str) -> tuple[pd.Series[Any], pd.Series[str]]:
    numeric = pd.api.types.is_numeric_dtype(raw.dtype)
    times = pd.to_datetime(pd.Series(pd.NaT, index=raw.index) if numeric else raw, errors="coerce", format="mixed")
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    outside = ~((times >= EARLIEST) & (times < LATEST))
    errors = _told(outside, raw, f"column '{name}': got %s, expected a time from 1900 to 2199")
    return times.mask(outside).astype("datetime64[ns]"), errors


def _numbers(raw: pd.Series[Any], name: str) -> tuple[pd.Series[float], pd.Series[str]]:
    numbers = pd.to_numeric(raw, errors="coerce").astype(np.float64)
    text = numbers.isna() & raw.notna() & ~_is_nan(raw)
    errors = _told(text, raw, f"column '{name}': got %s, expected a number or nothing")
    huge = numbers.abs() > LARGEST
    expected = f"column '{name}': got %s, expected a number from {-LARGEST:g} to {LARGEST:g}"
    return numbers, errors.mask(huge, _told(huge, raw, expected))


def _is_nan(raw: pd.Series[Any]) -> pd.Series[bool]:
    return raw.map(lambda value: isinstance(value, float) and np.isnan(value)).astype(bool)


def _backwards(frame: pd.DataFrame, fine: pd.Series[bool]) -> pd.Series[str]:
    """Return the fault of rows that are not later than an earlier row of their series."""
    times = frame[TIME].where(fine)
    latest = times.groupby(frame[ID], sort=False).cummax()
    before = latest.groupby(frame[ID], sort=False).shift()
    before = before.groupby(frame[ID], sort=False).ffill()
    back = fine & (times <= before)
    text = "column 'timestamp': got " + times.astype(str) + ", expected a time after " + before.astype(str)
    return text.where(back, "")


def _told(wrong: Any, raw: pd.Series[Any], text: str) -> pd.Series[str]:
    flags = np.asarray(wrong, dtype=bool)
    told = np.full(len(raw), "", dtype=object)
    told[flags] = [text % ("nothing" if pd.isna(value) else repr(value)[:60]) for value in raw[flags]]
    return pd.Series(told, index=raw.index)
