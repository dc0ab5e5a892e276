"""Tables from outside: CSV, Parquet, Arrow and DataFrames become panels, or the fault is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import DataError, PayloadTooLargeError, SchemaError, UnknownNameError
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.data.coercion import to_ids, to_numbers, to_times
from training.data.delimited import Delimited
from training.data.formats import Format, format_of

Source: TypeAlias = "Path | str | pd.DataFrame | pa.Table"
MAXIMUM_BYTES = 1 << 30
"""A gigabyte: about ten million rows of ten columns as CSV."""


def read_panel(
    source: Source,
    schema: Schema,
    *,
    series_id: str | None = None,
    timestamp: str = TIME,
    columns: Mapping[str, str] | None = None,
    minimum_rows: int = 1,
    maximum_bytes: int = MAXIMUM_BYTES,
) -> Panel:
    """Return a validated panel.

    What a file is, its content decides. Columns that the schema does not name are ignored. Times with a zone
    become UTC; times without one are taken as UTC. Rows of several series may be interleaved; they are put
    together, in order of first appearance.

    Parameters
    ----------
    source
        CSV (`,` `;` tab or `|`, decimal point, UTF-8), Parquet or Arrow file; DataFrame; Arrow table.
    schema
        What it must hold.
    series_id
        Column of the series' ids. None takes `series_id` where there is one; else the table is one series,
        called as the schema.
    timestamp
        Column of the times.
    columns
        The source's name -> the schema's name, for columns that are called otherwise.
    minimum_rows
        The shortest series allowed.
    maximum_bytes
        The largest file read; for Parquet also the size of its numbers unpacked.

    Raises
    ------
    DataError, SchemaError, InsufficientHistoryError
        A fault, with column, row, got, expected. Rows are lines of a CSV file (the header is line 1), labels of a
        DataFrame's index, positions from 0 in Parquet and Arrow.
    PayloadTooLargeError
        The file is larger than `maximum_bytes`.
    """
    wanted = _Wanted(schema, series_id, timestamp, columns or {}, minimum_rows)
    if isinstance(source, pd.DataFrame):
        found = wanted.find([str(name) for name in source.columns])
        return wanted.panel(pd.DataFrame({name: source.iloc[:, at] for name, at in found.items()}))
    if isinstance(source, pa.Table):
        return wanted.panel(_unpack(source, wanted))
    path = Path(source)
    kind = format_of(path, maximum_bytes=maximum_bytes)
    if kind == "csv":
        return _read_csv(Delimited.open(path), wanted)
    return wanted.panel(_unpack(_read_columnar(path, kind, maximum_bytes), wanted))


def read_frame(path: Path | str, *, maximum_bytes: int = MAXIMUM_BYTES) -> pd.DataFrame:
    """Return a file's whole table with the types its content shows, unchecked: to look before there is a schema.

    Raises
    ------
    DataError
        The file is not a table.
    PayloadTooLargeError
        The file is larger than `maximum_bytes`.
    """
    path = Path(path)
    kind = format_of(path, maximum_bytes=maximum_bytes)
    if kind != "csv":
        frame: pd.DataFrame = _read_columnar(path, kind, maximum_bytes).to_pandas()
        return frame
    file = Delimited.open(path)
    return file.read(dict.fromkeys(range(len(file.names)))).set_axis(list(file.names), axis=1)


class _Wanted:
    """What is looked for in a table, and the way from its columns to a panel."""

    def __init__(
        self, schema: Schema, series_id: str | None, timestamp: str, columns: Mapping[str, str], minimum_rows: int
    ) -> None:
        for name in columns.values():
            if name not in schema.names:
                raise UnknownNameError.of(f"column of schema '{schema.name}'", name, schema.names)
        self.schema = schema
        self.minimum_rows = minimum_rows
        self.series_id = series_id
        renamed = {theirs: ours for ours, theirs in columns.items()}
        self.sources = {TIME: timestamp} | {name: renamed.get(name, name) for name in schema.names}

    def find(self, names: list[str]) -> dict[str, int]:
        """Return our name -> position; raise SchemaError where a column is missing or there twice."""
        if self.series_id is not None or ID in names:
            self.sources[ID] = self.series_id or ID
        for name in self.sources.values():
            if names.count(name) != 1:
                raise SchemaError.at(
                    "a column appears more than once" if name in names else "a column is missing",
                    column=name,
                    got=f"columns {', '.join(names)}"[:500],
                    expected=f"'{name}' once, as schema '{self.schema.name}' says; map other names with `columns`",
                )
        return {ours: names.index(theirs) for ours, theirs in self.sources.items()}

    def panel(self, raw: pd.DataFrame) -> Panel:
        """Convert and validate; the index of `raw` labels the rows in messages."""
        frame = pd.DataFrame({TIME: to_times(raw[TIME], self.sources[TIME])})
        frame.insert(0, ID, to_ids(raw[ID], self.sources[ID]) if ID in raw else self.schema.name)
        for column in self.schema.columns:
            frame[column.name] = to_numbers(raw[column.name], self.sources[column.name], column)
        codes = pd.Series(pd.factorize(frame[ID])[0], index=range(len(frame)))
        if not codes.is_monotonic_increasing:
            frame = frame.iloc[codes.sort_values(kind="stable").index]
        try:
            Panel(frame, self.schema).validate(minimum_rows=self.minimum_rows)
        except DataError as error:
            raise self._in_their_words(error) from error
        whole = {column.name: "int64" for column in self.schema.columns if column.kind == "int"}
        return Panel(frame.astype(whole).reset_index(drop=True), self.schema)

    def _in_their_words(self, error: DataError) -> DataError:
        """Return the error with the column called as in the source."""
        ours = error.context["column"]
        theirs = self.sources.get(ours, ours)
        message = error.message.replace(f"column '{ours}'", f"column '{theirs}'", 1)
        return type(error)(message, **error.context | {"column": theirs})


def _read_csv(file: Delimited, wanted: _Wanted) -> Panel:
    found = wanted.find(list(file.names))
    types = {at: pa.string() if name in (ID, TIME) else pa.float64() for name, at in found.items()}
    raw = file.read(types)
    raw = pd.DataFrame({name: raw[at] for name, at in found.items()})
    try:
        return wanted.panel(raw)
    except DataError:
        lines = file.lines()
        if len(lines) != len(raw) or lines == raw.index.tolist():
            raise
        return wanted.panel(raw.set_axis(pd.Index(lines)))


def _unpack(table: pa.Table, wanted: _Wanted) -> pd.DataFrame:
    found = wanted.find(list(table.column_names))
    return pd.DataFrame({name: table.column(at).to_pandas() for name, at in found.items()})


def _read_columnar(path: Path, kind: Format, maximum_bytes: int) -> pa.Table:
    try:
        table = _READERS[kind](path, maximum_bytes)
        table.validate(full=True)  # Arrow trusts offsets inside a file: unchecked, a damaged one ends the process
        _ = table.column_names  # names that are not UTF-8 fail here
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError.at(
            f"'{path.name}' is damaged", got=error, expected=f"{kind} as its first bytes say"
        ) from error
    return table


def _read_parquet(path: Path, maximum_bytes: int) -> pa.Table:
    file = pq.ParquetFile(path)
    unpacked = file.metadata.num_rows * file.metadata.num_columns * 8
    if unpacked > maximum_bytes:
        raise PayloadTooLargeError(
            f"'{path.name}' is too large: got {unpacked} bytes unpacked, expected at most {maximum_bytes}; "
            "send fewer rows or raise maximum_bytes",
            got=unpacked,
            expected=maximum_bytes,
        )
    return file.read()


def _read_arrow_file(path: Path, _maximum_bytes: int) -> pa.Table:
    return pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()


def _read_arrow_stream(path: Path, _maximum_bytes: int) -> pa.Table:
    return pa.ipc.open_stream(pa.BufferReader(path.read_bytes())).read_all()


_READERS: dict[str, Callable[[Path, int], pa.Table]] = {
    "parquet": _read_parquet,
    "arrow_file": _read_arrow_file,
    "arrow_stream": _read_arrow_stream,
}
