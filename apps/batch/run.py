"""A batch over all parts: in this process, or on Ray Data with as many workers as asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from apps.batch.kinds import BatchKind
from apps.batch.parts import DataSet, Part
from apps.batch.work import BatchJob, BatchWorker, PartReport
from apps.pipelines.progress import Progress
from cluster.storage.files import Storage

if TYPE_CHECKING:
    import numpy as np

REPORT = "report.json"


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """What a run did.

    Parameters
    ----------
    model, version, kind
        Who answered.
    parts, parts_skipped
        Of the data set, and those that were finished before.
    rows, rows_bad, rows_out
        Rows of the parts that this run did, those that could not be used, rows of the answers.
    busy_s
        Seconds that workers took together.
    """

    model: str
    version: str
    kind: str
    parts: int
    parts_skipped: int
    rows: int
    rows_bad: int
    rows_out: int
    busy_s: float


def run_here(job: BatchJob, progress: Progress | None = None) -> BatchReport:
    """Do all parts in this process, one after another."""
    kind = job.kind()
    parts, worker = parts_of(job, kind), BatchWorker(job, kind)
    return _report(job, kind, _told((worker.do(part) for part in parts), len(parts), progress))


def run_on_ray(job: BatchJob, *, workers: int, progress: Progress | None = None) -> BatchReport:
    """Do all parts on the running Ray, each worker with a model of its own.

    Parameters
    ----------
    job
        What is done.
    workers
        Actors; each holds one part at a time.
    progress
        Is told of each part.
    """
    import ray

    kind = job.kind()
    parts = parts_of(job, kind)
    items = [{"part": json.dumps(part.to_json())} for part in parts]
    done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        RayBatchWorker,
        fn_constructor_args=(job.to_json(),),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    reports = (PartReport(**json.loads(row["report"])) for row in done.iter_rows())
    return _report(job, kind, _told(reports, len(parts), progress))


class RayBatchWorker:
    """`BatchWorker` as Ray Data wants it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._worker = BatchWorker(BatchJob.from_json(job))

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[str]]:
        """Do the parts of a batch."""
        parts = [Part.from_json(json.loads(str(text))) for text in batch["part"]]
        return {"report": [json.dumps(asdict(self._worker.do(part))) for part in parts]}


def parts_of(job: BatchJob, kind: BatchKind) -> list[Part]:
    """Return the parts; raise where a file lacks a column, before anything is done."""
    return DataSet(job.source).parts(job.names.columns(kind.schema.names), job.most_rows)


def _report(job: BatchJob, kind: BatchKind, reports: Iterable[PartReport]) -> BatchReport:
    done = list(reports)
    report = BatchReport(
        model=job.model,
        version=job.version,
        kind=kind.name,
        parts=len(done),
        parts_skipped=sum(each.skipped for each in done),
        rows=sum(each.rows for each in done),
        rows_bad=sum(each.rows_bad for each in done),
        rows_out=sum(each.rows_out for each in done),
        busy_s=sum(each.seconds for each in done),
    )
    Storage(job.target).write_bytes(REPORT, json.dumps(asdict(report), indent=2).encode())
    return report


def _told(reports: Iterable[PartReport], count: int, progress: Progress | None) -> Iterator[PartReport]:
    for place, report in enumerate(reports, start=1):
        if progress:
            progress.update("parts", place, count, report.name[:8])
        yield report
