"""Where a panel comes from: a bundled sample by name, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.errors import UnknownNameError
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.data.bundled import load_sample, sample_names
from training.data.infer import UNKNOWN, infer_schema
from training.data.readers import read_frame, read_panel
from training.data.schemas import SCHEMAS


def is_file(source: str) -> bool:
    """Return whether `source` names a file, else a bundled sample; raise UnknownNameError where it is neither."""
    path = Path(source)
    if path.exists() or path.suffix:
        return True
    if source not in sample_names():
        raise UnknownNameError.of("sample or file", source, sample_names())
    return False


def load_source(
    source: str,
    *,
    target: str,
    schema: str | None = None,
    timestamp: str = TIME,
    series: str | None = None,
    unit: str = UNKNOWN,
    known: Sequence[str] = (),
) -> Panel:
    """Return the validated panel that `source` names.

    Parameters
    ----------
    source
        A bundled sample's name, or a CSV, Parquet or Arrow file.
    target
        The column to forecast.
    schema
        Name of a shipped schema the file follows; inferred from the file when None.
    timestamp, series
        The file's columns that hold times and series ids; one series when `series` is None.
    unit
        Of the target, where the schema is inferred.
    known
        Columns that are known over the horizon; as the schema says when empty.

    Raises
    ------
    UnknownNameError
        There is neither such a sample nor such a file, or no such column.
    DataError
        The data has a fault; the message names row, column, got, expected.
    """
    panel = _load(source, target=target, schema=schema, timestamp=timestamp, series=series, unit=unit)
    if not known:
        return panel
    return panel.for_target(target).with_roles(known=known, static=panel.schema.static_names)


def _load(source: str, *, target: str, schema: str | None, timestamp: str, series: str | None, unit: str) -> Panel:
    if not is_file(source):
        return load_sample(source)
    path = Path(source)
    if schema:
        return read_panel(path, SCHEMAS[schema], series_id=series, timestamp=timestamp)
    names = {timestamp: TIME} | ({series: ID} if series else {})
    frame = read_frame(path).rename(columns=names)
    inferred = infer_schema(frame, name=path.stem, target=target, unit=unit)
    return read_panel(path, inferred, series_id=series, timestamp=timestamp)


def load_rows(
    source: str, schema: Schema, *, minimum_rows: int = 1, timestamp: str = TIME, series: str | None = None
) -> Panel:
    """Return all rows of `source` under a fitted model's schema."""
    path = Path(source)
    if path.exists() or path.suffix:
        return read_panel(path, schema, series_id=series, timestamp=timestamp, minimum_rows=minimum_rows)
    return Panel(load_sample(source).frame, schema).validate(minimum_rows=minimum_rows)
