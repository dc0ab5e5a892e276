"""Shows trials in the tracker from a thread of its own: a database's commit costs more than a small trial."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

from cluster.registry.experiments import Point, RunStatus, Tracker, WholeRun
from tuning.proposer import Proposal
from tuning.records import TrialRecord, TrialStatus

STUDY_TAG = "study"
STEP_METRIC = "validation_loss"
RECORD_FILE = "trial.json"
WAITING = 1000
"""Events that may wait for the database; the study waits for it beyond."""
_RUN_STATUS = {
    TrialStatus.FINISHED: RunStatus.FINISHED,
    TrialStatus.STOPPED: RunStatus.KILLED,
    TrialStatus.FAILED: RunStatus.FAILED,
}


class TrialTracking:
    """One run a trial, with parameters, curve, measurements, cost, and the record as a file.

    What the tracker raises comes out of the next call, or of `close`.

    Parameters
    ----------
    tracker
        Where.
    study
        Its name is the experiment's.
    """

    def __init__(self, tracker: Tracker, study: str) -> None:
        self._tracker = tracker
        self._study = study
        self._runs: dict[int, str] = {}
        self._points: dict[int, list[Point]] = {}
        self._records: dict[int, TrialRecord] = {}
        self._done: set[int] = set()
        self._lock = threading.Lock()
        self._queue: Queue[Callable[[], None] | None] = Queue(WAITING)
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="tracking")
        self._thread.start()

    def close_lost_runs(self) -> None:
        """Mark the runs that an earlier, killed driver has left open."""
        self._put(self._close_lost)

    def start(self, proposal: Proposal) -> None:
        """Show that a trial has started."""
        self._put(lambda: self._start(proposal))

    def step(self, number: int, point: Point) -> None:
        """Show a point of a trial's curve; points that come faster than they are written are written together."""
        with self._lock:
            waiting = self._points.setdefault(number, [])
            waiting.append(point)
        if len(waiting) == 1:
            self._put(lambda: self._flush(number))

    def end(self, record: TrialRecord) -> None:
        """Show a trial that has ended."""
        with self._lock:
            self._records[record.number] = record
        self._put(lambda: self._end(record))

    def abandon(self, number: int) -> None:
        """Show that a trial was cut off with its study."""
        self._put(lambda: self._tracker.finish(self._runs.pop(number), RunStatus.KILLED))

    def close(self) -> None:
        """Wait until all is shown; raise what went wrong."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._raise()

    def _put(self, task: Callable[[], None]) -> None:
        self._raise()
        self._queue.put(task)

    def _raise(self) -> None:
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                task()
            except Exception as error:  # noqa: BLE001 - raised again in the study's own thread
                self._fault = self._fault or error

    def _close_lost(self) -> None:
        if self._study not in {each.name for each in self._tracker.experiments()}:
            return
        for run in self._tracker.runs(self._study):
            if run.status is RunStatus.RUNNING and run.tags.get(STUDY_TAG) == self._study:
                self._tracker.finish(run.id, RunStatus.KILLED)

    def _start(self, proposal: Proposal) -> None:
        with self._lock:
            record = self._records.get(proposal.number)
        if record is not None:  # it ended while others were written: once is cheaper than in parts
            with _record_file(record) as file:
                self._tracker.record(self._whole(proposal, record), [file])
            self._done.add(record.number)
            return
        self._runs[proposal.number] = self._tracker.start_run(
            self._study, self._title(proposal), _shown(proposal), self._tags(proposal)
        )

    def _flush(self, number: int) -> None:
        with self._lock:
            points = self._points.pop(number, [])
        if points and number in self._runs:
            self._tracker.log_points(self._runs[number], {STEP_METRIC: points})

    def _end(self, record: TrialRecord) -> None:
        self._flush(record.number)
        with self._lock:
            self._records.pop(record.number)
        if record.number in self._done:
            return
        run = self._runs.pop(record.number)
        self._tracker.log_points(run, _measured(record))
        with _record_file(record) as file:
            self._tracker.log_file(run, file)
        self._tracker.finish(run, _RUN_STATUS[record.status])

    def _whole(self, proposal: Proposal, record: TrialRecord) -> WholeRun:
        curve = [Point(step=step, value=value) for step, value in record.curve]
        return WholeRun(
            experiment=self._study,
            name=self._title(proposal),
            parameters=_shown(proposal),
            tags=self._tags(proposal),
            curves=({STEP_METRIC: curve} if curve else {}) | _measured(record),
            status=_RUN_STATUS[record.status],
            started_at_s=record.ended_at_s - record.duration_s,
            ended_at_s=record.ended_at_s,
        )

    def _title(self, proposal: Proposal) -> str:
        return f"{self._study}-{proposal.number:03d} {proposal.model}"

    def _tags(self, proposal: Proposal) -> dict[str, str]:
        return {STUDY_TAG: self._study, "trial": str(proposal.number)}


def _shown(proposal: Proposal) -> dict[str, Any]:
    return {"model": proposal.model, **proposal.params}


def _measured(record: TrialRecord) -> dict[str, list[Point]]:
    last = record.curve[-1][0] if record.curve else 0
    costs = {"duration_s": record.duration_s, "cpu_s": record.cpu_s}
    return {name: [Point(step=last, value=value)] for name, value in {**record.metrics, **costs}.items()}


@contextmanager
def _record_file(record: TrialRecord) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RECORD_FILE
        path.write_text(json.dumps(json.loads(record.to_json()), indent=2))
        yield path
