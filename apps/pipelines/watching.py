"""A table that is watched: gaps, missing and impossible values may stay, a detector is there for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from apps.pipelines.preparing import RawTable
from apps.pipelines.source import is_file
from cluster.errors import ConfigError, UnknownNameError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.data.coercion import to_ids, to_numbers, to_times
from training.data.readers import read_frame

NO_UNIT = "1"


def load_watched(
    source: str,
    *,
    targets: Sequence[str] = (),
    beside: Sequence[str] = (),
    schema: str | None = None,
    timestamp: str = TIME,
    series: str | None = None,
    unit: str = NO_UNIT,
) -> Panel:
    """Return the rows of `source`, as they are, with the watched columns as targets.

    Parameters
    ----------
    source
        A bundled sample's name, or a CSV, Parquet or Arrow file.
    targets
        Columns that are watched; where none is named a sample's or schema's targets, every number of another file.
    beside
        Columns that are not watched and help to explain.
    schema
        Name of a shipped schema that the file follows.
    timestamp, series
        The file's columns of times and series ids; one series when `series` is None.
    unit
        Of the targets, where no schema names it.

    Raises
    ------
    UnknownNameError
        There is no such sample, schema or column.
    ConfigError
        A column is both watched and beside, or named twice.
    DataError
        The file is no table, or a time or a value cannot be read.
    """
    targets = targets or _lone(source, schema, (timestamp, series, *beside))
    named = (*targets, *beside)
    first = targets[0] if targets else None
    raw = RawTable.load(source, target=first, schema=schema, timestamp=timestamp, series=series, unit=unit)
    for name in named:
        if named.count(name) > 1:
            raise ConfigError(
                f"column '{name}': got it {named.count(name)} times, expected once", parameter="target"
            )
        if name not in raw.frame.columns:
            raise UnknownNameError.of("column", name, [str(each) for each in raw.frame.columns])
    watched = tuple(_column(raw.schema, name, unit) for name in targets) or raw.schema.targets
    wanted = replace(
        raw.schema, targets=watched, covariates=tuple(_column(raw.schema, name, unit) for name in beside)
    )
    return _panel(raw.frame, wanted)


def _lone(source: str, schema: str | None, others: Sequence[str | None]) -> Sequence[str]:
    """Return a file's only column beside the others, so that what is wrong with it is told; else none."""
    if schema or not is_file(source):
        return ()
    names = [str(name) for name in read_frame(Path(source)).columns if name not in others and name != ID]
    return names if len(names) == 1 else ()


def _column(schema: Schema, name: str, unit: str) -> Column:
    if name in schema.names:
        return replace(schema.column(name), role="past")
    return Column(name=name, unit=unit)


def _panel(raw: pd.DataFrame, schema: Schema) -> Panel:
    frame = pd.DataFrame({TIME: to_times(raw[TIME], TIME)})
    frame.insert(0, ID, to_ids(raw[ID], ID) if ID in raw else schema.name)
    for column in schema.columns:
        frame[column.name] = to_numbers(raw[column.name], column.name, column)
    codes = pd.Series(pd.factorize(frame[ID])[0], index=frame.index)
    if not codes.is_monotonic_increasing:
        frame = frame.loc[codes.sort_values(kind="stable").index]
    return Panel(frame.reset_index(drop=True), schema)
