"""The second wire: tables as Arrow IPC streams, for many series at once."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa

from cluster.errors import PayloadTooLargeError, UserError
from serve_deployments.schemas import MAX_COLUMNS, BulkOptions, read_options

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
MAX_ROWS = 2_000_000
"""Of a table; what the limit on bodies lets through is less by default."""
MAX_OPTIONS = 20
_IS_PLAIN = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_date,
    pa.types.is_integer,
    pa.types.is_floating,
    lambda kind: pa.types.is_timestamp(kind) and kind.tz is None,
)
"""Types whose size in memory the body's own size bounds, and which a caller has no reason to exceed."""
_COMPRESSION_FIELD, _HEADER_FIELD = 3, 2
"""Of RecordBatch and of Message in Arrow's flatbuffers (format/Message.fbs)."""


class MalformedTableError(UserError):
    """The body is no Arrow IPC stream as this service takes it."""


@dataclass(frozen=True)
class TableSeries:
    """One series of a table: its id, and its columns by name."""

    series_id: str
    values: Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class BulkQuestion:
    """A table of series, and what is asked of it.

    Parameters
    ----------
    options
        From the query: model, version, horizon, levels.
    table
        `series_id`, `timestamp` and the model's columns; the rows of a series together and in order.
    """

    options: BulkOptions
    table: pa.Table

    @property
    def model(self) -> str:
        """The registered name."""
        return self.options.model

    @property
    def series(self) -> list[TableSeries]:
        """Each series' columns, for steps that look at a validated question's histories.

        Rows after a history, which tell what is known ahead, lack other values and are left out.
        """
        ids = self.table.column("series_id").to_numpy(zero_copy_only=False)
        borders = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
        names = [name for name in self.table.column_names if name not in ("series_id", "timestamp")]
        columns = {name: self.table.column(name).cast(pa.float64()).to_numpy() for name in names}
        told = np.logical_and.reduce([~np.isnan(values) for values in columns.values()])
        return [
            TableSeries(
                str(ids[start]), {name: values[start:stop][told[start:stop]] for name, values in columns.items()}
            )
            for start, stop in pairwise(borders)
        ]

    @property
    def version(self) -> str | None:
        """The version, the default one where None."""
        return self.options.version


def read(body: bytes, query: str) -> BulkQuestion:
    """Return the question of a body and a query string.

    Raises
    ------
    MalformedTableError
        No Arrow stream, or one with compressed, dictionary-encoded, nested or other columns than text, times
        without zone, and numbers: of those, the size on arrival is bounded by the size of the body.
    PayloadTooLargeError
        Too many rows.
    UnreadableError
        The query asks for what there is not.
    """
    options = read_options(_options(query))
    try:
        table = pa.Table.from_batches(list(_batches(body)))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, struct.error) as error:
        raise _malformed(str(error)[:200]) from error
    return BulkQuestion(options=options, table=table)


def _options(query: str) -> dict[str, Any]:
    try:
        found = parse_qs(query, max_num_fields=MAX_OPTIONS)
    except ValueError as error:
        raise UserError(
            f"the query has too many parts: got more than {MAX_OPTIONS}, "
            f"expected some of {', '.join(BulkOptions.model_fields)}",
            field="query",
            got=f"more than {MAX_OPTIONS} parts",
            expected=f"at most {MAX_OPTIONS}",
        ) from error
    options: dict[str, Any] = {name: values[-1] for name, values in found.items()}
    if "levels" in options:
        options["levels"] = options["levels"].split(",")
    return options


def _batches(body: bytes) -> Iterator[pa.RecordBatch]:
    messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    schema: pa.Schema | None = None
    rows = 0
    for message in messages:
        if message.type == "schema" and schema is None:
            schema = _plain(pa.ipc.read_schema(message))
        elif message.type == "record batch" and schema is not None:
            if _compressed(message.metadata):
                raise _malformed("a compressed record batch")
            batch = pa.ipc.read_record_batch(message, schema)
            rows += batch.num_rows
            if rows > MAX_ROWS:
                raise PayloadTooLargeError(
                    f"the table is too long: got more than {MAX_ROWS} rows, expected as many at most; send parts",
                    field="body",
                    got=f"more than {MAX_ROWS} rows",
                    expected=f"at most {MAX_ROWS} rows",
                )
            yield batch
        else:
            raise _malformed(f"a message of type '{message.type}'")
    if schema is None or not rows:
        raise _malformed("no rows")


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return the schema; raise MalformedTableError where columns could be more in memory than in the body."""
    if len(schema) > MAX_COLUMNS + 2:
        raise _malformed(f"{len(schema)} columns, at most {MAX_COLUMNS + 2} are taken")
    if len(set(schema.names)) < len(schema):
        raise _malformed("a column name twice")
    for column in schema:
        if not any(fits(column.type) for fits in _IS_PLAIN):
            raise _malformed(f"column '{column.name[:100]}' of type {str(column.type)[:100]}")
    return schema


def _compressed(metadata: pa.Buffer) -> bool:
    """Return whether a record batch says that its buffers are compressed; read before anything is unpacked."""
    data = metadata.to_pybytes()
    (message,) = struct.unpack_from("<I", data)
    at = message + _offset(data, message, _HEADER_FIELD)
    batch = at + struct.unpack_from("<I", data, at)[0]
    return _offset(data, batch, _COMPRESSION_FIELD) != 0


def _offset(data: bytes, table: int, field: int) -> int:
    """Return where a field of a flatbuffers table lies in it; 0 where it is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (size,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * field
    return int(struct.unpack_from("<H", data, vtable + slot)[0]) if slot < size else 0


def _malformed(got: str) -> MalformedTableError:
    expected = (
        "an Arrow IPC stream of plain columns (text, times without zone, numbers), neither compressed nor "
        "dictionary-encoded, with one row or more"
    )
    return MalformedTableError(
        f"the body is no table that this service takes: got {got}, expected {expected}",
        field="body",
        got=got,
        expected=expected,
    )


def write(table: pa.Table, about: Mapping[str, str]) -> bytes:
    """Return a table as a stream, with facts about it in its schema's metadata."""
    sink = pa.BufferOutputStream()
    named = table.replace_schema_metadata(dict(about))
    with pa.ipc.new_stream(sink, named.schema) as writer:
        writer.write_table(named)
    return bytes(sink.getvalue())
