"""A file as it comes: read, given a schema, prepared, written."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from apps.pipelines.source import is_file
from cluster.errors import ConfigError, SchemaError, UnknownNameError
from cluster.storage.files import write_whole
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.data.bundled import load_sample
from training.data.coercion import to_numbers, to_times
from training.data.infer import UNKNOWN, infer_schema
from training.data.preparation import Preparation, Prepared
from training.data.public_holidays import check_country, is_holiday
from training.data.readers import read_frame
from training.data.schemas import SCHEMAS
from training.data.time_grid import local_dates

HOLIDAY = "holiday"
FILLED, OUTLYING = "_filled", "_outlying"
"""Ends of names of columns of true and false in a prepared file: no numbers, so nothing learns from them."""
WRITERS = {".parquet": "to_parquet", ".pq": "to_parquet", ".csv": "to_csv"}


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """A table as it came.

    Parameters
    ----------
    frame
        `timestamp`, perhaps `series_id`, and the schema's columns.
    schema
        What shall come out.
    left_out
        Columns that are no numbers, or that nobody wants.
    """

    frame: pd.DataFrame
    schema: Schema
    left_out: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        source: str,
        *,
        target: str | None = None,
        schema: str | None = None,
        timestamp: str = TIME,
        series: str | None = None,
        unit: str = UNKNOWN,
        step: str | None = None,
        drop: Sequence[str] = (),
    ) -> RawTable:
        """Read a bundled sample, or a file with whatever faults its rows have.

        Parameters
        ----------
        source
            A bundled sample's name, or a CSV, Parquet or Arrow file.
        target
            The column to forecast; None takes every column as one.
        schema
            Name of a shipped schema that the file follows; inferred when None.
        timestamp, series
            The file's columns of times and series ids.
        unit
            Of the target, where the schema is inferred.
        step
            pandas offset between rows; read off the times when None.
        drop
            Columns that nobody wants.

        Raises
        ------
        UnknownNameError
            There is no such sample, schema or column.
        DataError
            The file is no table, a column is missing, or a time or the target cannot be read.
        """
        if not is_file(source):
            panel = load_sample(source)
            return cls._of(panel.frame, panel.schema, target, tuple(drop))
        path = Path(source)
        frame = _renamed(read_frame(path), timestamp, series)
        if schema:
            return cls._of(frame, SCHEMAS[schema], target, tuple(drop))
        frame = _without(frame, drop)
        if target is not None and target in frame.columns:
            frame[target] = to_numbers(frame[target], target, Column(name=target, unit=unit))
        found = infer_schema(_in_order(frame), name=path.stem, target=target, unit=unit, frequency=step)
        return cls(frame=frame, schema=found, left_out=(*drop, *_unused(frame, found)))

    @classmethod
    def _of(cls, frame: pd.DataFrame, schema: Schema, target: str | None, drop: tuple[str, ...]) -> RawTable:
        for name in drop:
            schema.column(name)
        if target is not None:
            schema = schema.for_target(target)
        targets = tuple(column for column in schema.targets if column.name not in drop)
        if not targets:
            raise ConfigError(f"drop: got {', '.join(drop)}, expected a target to be left", parameter="drop")
        covariates = tuple(column for column in schema.covariates if column.name not in drop)
        schema = replace(schema, targets=targets, covariates=covariates)
        return cls(frame=frame, schema=schema, left_out=_unused(frame, schema))


def _renamed(frame: pd.DataFrame, timestamp: str, series: str | None) -> pd.DataFrame:
    """Return the frame with our names for times and ids, in order of the options that name them."""
    wanted = {timestamp: TIME} | ({series: ID} if series else {})
    for theirs, ours in wanted.items():
        option = "--timestamp" if ours == TIME else "--series"
        if list(frame.columns).count(theirs) != 1:
            raise SchemaError.at(
                "a column is missing" if theirs not in frame.columns else "a column appears more than once",
                column=theirs,
                got=f"columns {', '.join(map(str, frame.columns))}"[:500],
                expected=f"the column that {option} names, once",
            )
    return frame.rename(columns=wanted)


def _without(frame: pd.DataFrame, drop: Sequence[str]) -> pd.DataFrame:
    for name in drop:
        if name not in frame.columns:
            raise UnknownNameError.of("column", name, map(str, frame.columns))
    return frame.drop(columns=list(drop))


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its times read and sorted: the step shows in order of time alone."""
    return frame.assign(**{TIME: to_times(frame[TIME], TIME)}).sort_values(TIME, kind="stable")


def _unused(frame: pd.DataFrame, schema: Schema) -> tuple[str, ...]:
    return tuple(str(name) for name in frame.columns if name not in (ID, TIME, *schema.names))


def check_target(path: Path) -> None:
    """Raise ConfigError unless a prepared table can be written under that name."""
    if path.suffix.lower() not in WRITERS:
        raise ConfigError(f"out: got '{path}', expected a name that ends in {', '.join(WRITERS)}", parameter="out")


def with_holidays(prepared: Prepared, country: str, preparation: Preparation) -> Prepared:
    """Return the table with a column `holiday`, known ahead: 1 on the country's public holidays by the local date.

    Raises
    ------
    UnknownNameError
        No holidays of the country are known.
    SchemaError
        There is a column of that name.
    """
    check_country(country)
    schema = prepared.panel.schema
    if HOLIDAY in schema.names:
        raise SchemaError.at(
            "the table has a column of holidays",
            column=HOLIDAY,
            got=f"columns {', '.join(schema.names)}"[:500],
            expected="none of that name; leave it out with --drop, or do without --country",
        )
    times = prepared.panel.frame[TIME].to_numpy()
    days = local_dates(times, preparation.zone, preparation.clock, schema.frequency)
    column = Column(name=HOLIDAY, kind="int", low=0, high=1, unit="0 or 1", role="known")
    frame = prepared.panel.frame.assign(**{HOLIDAY: is_holiday(days, country).astype(np.int64)})
    panel = Panel(frame, replace(schema, covariates=(*schema.covariates, column)))
    return replace(
        prepared,
        panel=panel,
        filled=prepared.filled.assign(**{HOLIDAY: False}),
        outlying=prepared.outlying.assign(**{HOLIDAY: False}),
    )


def write_prepared(prepared: Prepared, path: Path) -> None:
    """Write the table and, where a column has any, its marks of filled and outlying cells; whole or not at all."""
    check_target(path)
    frame = prepared.panel.frame.copy()
    for end, mask in ((FILLED, prepared.filled), (OUTLYING, prepared.outlying)):
        for name in mask.columns[mask.any()]:
            frame[f"{name}{end}"] = mask[name].to_numpy()
    buffer = io.BytesIO()
    getattr(frame, WRITERS[path.suffix.lower()])(buffer, index=False)
    write_whole(path, buffer.getvalue())
