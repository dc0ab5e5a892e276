"""A schema for a table nobody described: what its columns and its timestamps show."""

from __future__ import annotations

import pandas as pd

from cluster.errors import ConfigError, DataError, SchemaError
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME

UNKNOWN = "unit unknown"
PROBED_ROWS = 1000
"""Rows that the step between timestamps is read from."""

SEASONS = {"W": 52, "MS": 12, "ME": 12, "QS": 4, "QE": 4, "YS": 1, "YE": 1, "D": 7, "B": 5}
"""pandas offset alias -> steps in the usual season; parts of a day repeat daily."""


def infer_schema(
    frame: pd.DataFrame,
    *,
    name: str,
    target: str | None,
    unit: str = UNKNOWN,
    frequency: str | None = None,
) -> Schema:
    """Return a schema with `target` to forecast, every other numeric column beside it, and no ranges.

    Parameters
    ----------
    frame
        A table with `timestamp`, `target`, perhaps `series_id`, in order of time within a series.
    name
        Of the schema; becomes a part of the model's name.
    target
        Column to forecast; None makes every numeric column a target.
    unit
        Of the targets.
    frequency
        pandas offset alias of the step; read off the timestamps when None.

    Raises
    ------
    SchemaError
        The target or the timestamps are not there, or the target is not a number.
    DataError
        The timestamps have no regular step.
    """
    numeric = [str(column) for column in frame.select_dtypes("number").columns if column != ID]
    for column in (TIME, *([] if target is None else [target])):
        if column not in frame.columns:
            raise SchemaError.at(
                "a column is missing", column=column, got=f"columns {', '.join(map(str, frame))}", expected=column
            )
    if target is not None and target not in numeric:
        raise SchemaError.at("the target is not a number", column=target, got=frame[target].dtype, expected="float")
    if not numeric:
        raise SchemaError.at("no column is a number", got=f"columns {', '.join(map(str, frame))}", expected="one")
    targets = numeric if target is None else [target]
    step = _checked(frequency) if frequency else infer_frequency(frame)
    return Schema(
        name=name,
        frequency=step,
        targets=tuple(Column(name=column, unit=unit) for column in targets),
        covariates=tuple(Column(name=column, unit=UNKNOWN) for column in numeric if column not in targets),
        season_length=season_of(step),
    )


def _checked(frequency: str) -> str:
    """Return a step as pandas writes it, or raise ConfigError."""
    try:
        offset = pd.tseries.frequencies.to_offset(frequency)
        if offset is not None and offset.n > 0:
            return str(offset.freqstr)
    except ValueError as error:
        raise _no_step(frequency) from error
    raise _no_step(frequency)


def _no_step(frequency: str) -> ConfigError:
    return ConfigError(
        f"step: got '{frequency}', expected a pandas offset such as 15min, h, D or MS", parameter="step"
    )


def infer_frequency(frame: pd.DataFrame) -> str:
    """Return the pandas offset alias of the step between the first series' rows."""
    first = frame[frame[ID] == frame[ID].iloc[0]] if ID in frame.columns else frame
    times = pd.DatetimeIndex(pd.to_datetime(first[TIME].head(PROBED_ROWS)))
    frequency = pd.infer_freq(times) if len(times) >= 3 else None
    if frequency is None:
        steps = times.to_series().diff().dropna()
        usual = steps.mode()
        if usual.empty or (steps == usual.iloc[0]).mean() < 0.9 or usual.iloc[0] <= pd.Timedelta(0):
            raise DataError.at(
                "the timestamps have no regular step",
                column=TIME,
                got=f"steps such as {', '.join(map(str, steps.unique()[:3])) or 'none'}",
                expected="one step throughout, such as an hour or a day; resample the table first, or name the "
                "column of series ids where it holds several",
            )
        return str(pd.tseries.frequencies.to_offset(usual.iloc[0]).freqstr)
    return str(frequency)


def season_of(frequency: str) -> int:
    """Return the usual season in steps: a day for parts of a day, a week for days, a year for months."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    if isinstance(offset, pd.offsets.Tick) and pd.Timedelta(offset) < pd.Timedelta(days=1):
        return max(1, round(pd.Timedelta(days=1) / pd.Timedelta(offset)))
    return SEASONS.get(offset.name.split("-")[0], 1)
