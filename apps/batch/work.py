"""One part after another: read, answer, write aside, rename; a finished part is not done again."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd

from apps.batch.kinds import BatchKind, Done, load_kind
from apps.batch.parts import DataSet, Part
from apps.batch.rows import Names, Sorted, sort_rows
from cluster.storage.cache import local_copy
from cluster.storage.files import Storage
from training.core.validation import ID

PARTS, BAD = "parts", "bad"


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """A model over a data set.

    Parameters
    ----------
    model, version
        As registered.
    uri
        Where its artifact is.
    source, target
        Parquet in; a folder, or `s3://bucket/prefix`, out.
    names
        Of the columns of ids and times.
    most_rows
        Of a part: what a worker has in memory at once.
    cache_dir
        Where an artifact that is not on this machine is copied to.
    """

    model: str
    version: str
    uri: str
    source: str
    target: str
    names: Names = field(default_factory=Names)
    most_rows: int = 200_000
    cache_dir: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        return cls(**(data | {"names": Names(**data["names"])}))

    def kind(self) -> BatchKind:
        """Return what answers, its artifact verified."""
        return load_kind(local_copy(self.uri, Path(self.cache_dir)))


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """What was done with a part.

    Parameters
    ----------
    name
        Of its output.
    rows, rows_bad, rows_out
        Rows of the part, those that could not be used, and rows of the answer; 0 where it was finished before.
    skipped
        It was finished before.
    seconds
        It took.
    """

    name: str
    rows: int = 0
    rows_bad: int = 0
    rows_out: int = 0
    skipped: bool = False
    seconds: float = 0.0


class BatchWorker:
    """Does parts of a job, with the model loaded once.

    An output is named by the digests of the part, of the rows that lead in and of the model's files; it is written
    aside and renamed, after the side file with the bad rows. So whatever is there is whole, and belongs to exactly
    these rows and this model: a run that was killed goes on where it was, and two runs at once write the same.

    Parameters
    ----------
    job
        What is done.
    kind
        Its model, where it is loaded already.
    """

    def __init__(self, job: BatchJob, kind: BatchKind | None = None) -> None:
        self.job, self._kind = job, kind or job.kind()
        self._data, self._storage = DataSet(job.source), Storage(job.target)
        self._model = hashlib.sha256(f"{job.model}@{job.version}|{job.uri}".encode()).hexdigest()

    def do(self, part: Part) -> PartReport:
        """Do a part, unless it is done."""
        begun_s, name = time.perf_counter(), self.name_of(part)
        if self._storage.exists(f"{PARTS}/{name}.parquet"):
            return PartReport(name=name, skipped=True)
        rows = self._read(part)
        done = self._kind.answer(rows.good, self._lead(part))
        bad = pd.concat([rows.bad, done.bad], ignore_index=True) if len(done.bad) else rows.bad
        self._write(name, replace(done, bad=bad))
        took_s = time.perf_counter() - begun_s
        return PartReport(name=name, rows=part.rows, rows_bad=len(bad), rows_out=len(done.out), seconds=took_s)

    def name_of(self, part: Part) -> str:
        """Return the name of the part's output."""
        lead = self._data.digest(part.lead) if part.lead and self._kind.lead_rows else ""
        place = f"{part.path}|{part.row}|{self._data.digest(part)}|{lead}|{self._model}"
        return hashlib.sha256(place.encode()).hexdigest()[:32]

    def _read(self, part: Part) -> Sorted:
        columns, values = self.job.names.columns(self._kind.schema.names), self._kind.schema.names
        table = self._data.read(part, columns)
        return sort_rows(table, self.job.names, values, file=part.path, first_row=part.row)

    def _lead(self, part: Part) -> pd.DataFrame:
        if part.lead is None or not self._kind.lead_rows:
            return self._read(part).good.head(0)
        rows = self._read(part.lead).good
        return rows.groupby(ID, sort=False).tail(self._kind.lead_rows)

    def _write(self, name: str, done: Done) -> None:
        if len(done.bad):
            self._storage.write_bytes(f"{BAD}/{name}.parquet", _parquet(done.bad))
        self._storage.write_bytes(f"{PARTS}/{name}.parquet", _parquet(done.out))


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
