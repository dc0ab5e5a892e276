"""A large Parquet data set as parts: some row groups of one file each, with a digest that names the outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from cluster.errors import ConfigError, DataError, SchemaError

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Part:
    """Row groups of a Parquet file that are read, computed and written together.

    Parameters
    ----------
    path
        Of the file, below the data set's root; the root itself where that is a file.
    first, groups
        First row group, and how many.
    row, rows
        Number of the first row within the file, and how many.
    lead
        The part before it, whose last rows lead in; None for the first.
    """

    path: str
    first: int
    groups: int
    row: int
    rows: int
    lead: Part | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        lead = data["lead"]
        return cls(**(data | {"lead": None if lead is None else cls.from_json(lead)}))


class DataSet:
    """Parquet files in a folder or S3, or one file.

    Parameters
    ----------
    url
        A folder, a file, or `s3://bucket/prefix`.
    """

    def __init__(self, url: str) -> None:
        from pyarrow.fs import FileSystem, FileType, LocalFileSystem

        self.url = url
        self._files, self._root = LocalFileSystem(), url
        if "://" in url:
            self._files, self._root = FileSystem.from_uri(url)
        kind = self._files.get_file_info(self._root).type
        if kind == FileType.NotFound:
            raise ConfigError(f"batch: got '{url}', where nothing is, expected a Parquet file or a folder of them")
        self._single = kind == FileType.File

    def paths(self) -> list[str]:
        """Return the Parquet files, sorted, below the root."""
        from pyarrow.fs import FileSelector

        if self._single:
            return [""]
        found = self._files.get_file_info(FileSelector(self._root, recursive=True))
        names = sorted(info.path for info in found if info.is_file and info.path.endswith(".parquet"))
        if not names:
            raise ConfigError(f"batch: got '{self.url}' without a .parquet file, expected one or more")
        return [name[len(self._root) :].lstrip("/") for name in names]

    def parts(self, columns: Sequence[str], most_rows: int) -> list[Part]:
        """Cut the data set, without reading a row of it.

        Parameters
        ----------
        columns
            That each file must have.
        most_rows
            Of a part; a row group that has more is a part of its own.

        Raises
        ------
        SchemaError
            A file lacks a column.
        """
        found: list[Part] = []
        for path in self.paths():
            for part in self._cut(path, columns, most_rows):
                lead = replace(found[-1], lead=None) if found else None
                found.append(replace(part, lead=lead))
        return found

    def _cut(self, path: str, columns: Sequence[str], most_rows: int) -> Iterator[Part]:
        meta = self._open(path).metadata
        names = meta.schema.to_arrow_schema().names
        for column in columns:
            if column not in names:
                got = f"columns {', '.join(names)}"
                raise SchemaError.at(
                    f"{path or self.url}: a column is missing", column=column, got=got, expected=f"'{column}'"
                )
        sizes = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
        first = row = 0
        while first < len(sizes):
            groups, rows = 1, sizes[first]
            while first + groups < len(sizes) and rows + sizes[first + groups] <= most_rows:
                rows += sizes[first + groups]
                groups += 1
            if rows:
                yield Part(path=path, first=first, groups=groups, row=row, rows=rows)
            first, row = first + groups, row + rows

    def read(self, part: Part, columns: Sequence[str]) -> Any:
        """Return the part's columns as an Arrow table."""
        groups = list(range(part.first, part.first + part.groups))
        return self._open(part.path).read_row_groups(groups, columns=list(columns))

    def digest(self, part: Part) -> str:
        """Return the sha256 of the part's bytes as they lie in the file, and of its columns' names and types."""
        meta = self._open(part.path).metadata
        found = hashlib.sha256(str(meta.schema.to_arrow_schema().remove_metadata()).encode())
        with self._files.open_input_file(self._at(part.path)) as file:
            for group in range(part.first, part.first + part.groups):
                start, size = _extent(meta.row_group(group))
                for at in range(start, start + size, CHUNK_BYTES):
                    found.update(file.read_at(min(CHUNK_BYTES, start + size - at), at))
        return found.hexdigest()

    def _open(self, path: str) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self._files.open_input_file(self._at(path)))
        except pa.ArrowInvalid as error:
            raise DataError.at(
                f"{path or self.url} cannot be read", got=str(error)[:200], expected="a Parquet file"
            ) from error

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def _extent(group: Any) -> tuple[int, int]:
    """Return where a row group starts in its file, and its bytes."""
    chunks = [group.column(index) for index in range(group.num_columns)]
    starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
    return min(starts), sum(chunk.total_compressed_size for chunk in chunks)
