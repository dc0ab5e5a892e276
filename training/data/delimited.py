"""CSV files: read at Arrow's speed; the line of a fault is looked for only when there is one."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from cluster.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
FIRST_LINE = 2
"""Line of the first row for people: the header is line 1."""
HEADER_BYTES = 1 << 20
"""A longer header is none: Arrow reads blocks of this size."""


@dataclass(frozen=True, kw_only=True)
class Delimited:
    """A CSV file whose header is known.

    Parameters
    ----------
    path
        The file.
    names
        Its columns, in order.
    delimiter
        Of `DELIMITERS`, the one that the header uses most.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str

    @classmethod
    def open(cls, path: Path) -> Delimited:
        """Read the header; raise DataError where line 1 is not one."""
        with path.open("rb") as file:
            line = file.readline(HEADER_BYTES)
        try:
            text = line.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise _not_utf8(path, line, 1) from error
        delimiter = max(DELIMITERS, key=text.count)
        try:
            names = next(csv.reader([text.split("\r")[0]], delimiter=delimiter), [])
        except csv.Error as error:
            raise _unreadable(path, 1, str(error)) from error
        if not any(name.strip() for name in names):
            raise DataError.at(f"'{path.name}' has no header", row=1, got="a blank line", expected="column names")
        return cls(path=path, names=tuple(name.strip() for name in names), delimiter=delimiter)

    def read(self, types: Mapping[int, pa.DataType | None]) -> pd.DataFrame:
        """Return the columns at the given positions, labelled by line as long as no line is blank.

        Parameters
        ----------
        types
            Position -> Arrow type; None infers it. Where a value does not fit its type, all come as text, and the
            caller finds out which.

        Raises
        ------
        DataError
            A row is ragged or not UTF-8.
        """
        try:
            table = self._parse(types)
        except pa.ArrowInvalid:
            try:
                table = self._parse(dict.fromkeys(types, pa.string()))
            except pa.ArrowInvalid as error:
                raise self._fault(str(error)) from error
        return pd.DataFrame({position: table.column(str(position)).to_pandas() for position in types}).set_axis(
            pd.RangeIndex(FIRST_LINE, FIRST_LINE + table.num_rows)
        )

    def _parse(self, types: Mapping[int, pa.DataType | None]) -> pa.Table:
        with pa.OSFile(str(self.path)) as file:
            return pacsv.read_csv(
                file,
                read_options=pacsv.ReadOptions(column_names=[str(i) for i in range(len(self.names))], skip_rows=1),
                parse_options=pacsv.ParseOptions(delimiter=self.delimiter),
                convert_options=pacsv.ConvertOptions(
                    include_columns=[str(position) for position in types],
                    column_types={str(position): kind for position, kind in types.items() if kind is not None},
                    strings_can_be_null=True,
                ),
            )

    def lines(self) -> list[int]:
        """Return the line in the file that each row ends on; slow, for messages."""
        return [line for line, _ in self._rows()]

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            try:
                next(reader, None)
                yield from ((reader.line_num, fields) for fields in reader if fields)
            except csv.Error as error:
                raise _unreadable(self.path, reader.line_num, str(error)) from error

    def _fault(self, reason: str) -> DataError:
        """Return the fault that made Arrow give up."""
        rows = 0
        for line, fields in self._rows():
            rows += 1
            if len(fields) != len(self.names):
                return DataError.at(
                    "a row is ragged", row=line, got=f"{len(fields)} fields", expected=f"{len(self.names)} fields"
                )
        if not rows:
            return DataError.at("the table is empty", got="0 rows", expected="at least 1 row")
        with self.path.open("rb") as file:
            for line, text in enumerate(file, start=1):
                try:
                    text.decode()
                except UnicodeDecodeError:
                    return _not_utf8(self.path, text, line)
        return _unreadable(self.path, None, reason)


def _not_utf8(path: Path, text: bytes, line: int) -> DataError:
    return DataError.at(
        f"'{path.name}' is in another encoding",
        row=line,
        got=f"bytes {text[:40]!a}",
        expected="UTF-8; save the file as UTF-8",
    )


def _unreadable(path: Path, line: int | None, reason: str) -> DataError:
    return DataError.at(
        f"'{path.name}' cannot be read as CSV", row=line, got=reason, expected="rows like its header"
    )
