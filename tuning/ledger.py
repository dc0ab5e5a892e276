"""Follows the trials of a running study: keeps records, feeds the proposer, shows each trial in the tracker."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cluster.clock import Clock, SystemClock
from cluster.registry.experiments import RunStatus, Tracker
from tuning.proposer import Proposal, Proposer
from tuning.records import Journal, TrialRecord, TrialStatus, best_of

OnTrial = Callable[[int, int, TrialRecord | None], None]
"""Called with how many trials have ended, how many there will be, and the best so far."""

STUDY_TAG = "study"
SCORE_METRIC = "validation_wape"
STEP_METRIC = "validation_loss"
_RUN_STATUS = {
    TrialStatus.FINISHED: RunStatus.FINISHED,
    TrialStatus.STOPPED: RunStatus.KILLED,
    TrialStatus.FAILED: RunStatus.FAILED,
}


@dataclass
class _Open:
    proposal: Proposal
    started_at_s: float
    run: str | None
    curve: list[tuple[int, float]] = field(default_factory=list)
    score: float | None = None


class Ledger:
    """Everything that happens when a trial starts, reports and ends; knows nothing of Ray.

    Parameters
    ----------
    name
        The study; its experiment in the tracker has the same name.
    total
        Trials there will be.
    ended
        Trials of earlier runs.
    proposer, journal
        Told of each trial that ends.
    tracker
        Shows each trial as a run; none is shown where None.
    on_trial
        Told of progress.
    clock
        For durations.
    """

    def __init__(
        self,
        name: str,
        *,
        total: int,
        ended: Iterable[TrialRecord],
        proposer: Proposer,
        journal: Journal,
        tracker: Tracker | None = None,
        on_trial: OnTrial | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.ended = {record.number: record for record in ended}
        self._name = name
        self._total = total
        self._proposer = proposer
        self._journal = journal
        self._tracker = tracker
        self._on_trial = on_trial
        self._clock = clock or SystemClock()
        self._open: dict[int, _Open] = {}

    def close_lost_runs(self) -> None:
        """Mark the runs that an earlier, killed driver has left open."""
        if self._tracker is None or self._name not in {each.name for each in self._tracker.experiments()}:
            return
        for run in self._tracker.runs(self._name):
            if run.status is RunStatus.RUNNING and run.tags.get(STUDY_TAG) == self._name:
                self._tracker.finish(run.id, RunStatus.KILLED)

    def tell_progress(self) -> None:
        """Call `on_trial` with what is known."""
        if self._on_trial:
            self._on_trial(len(self.ended), self._total, best_of(self.ended))

    def start(self, proposal: Proposal) -> None:
        """Note that a trial has started."""
        run = None
        if self._tracker is not None:
            shown = {"model": proposal.model, **proposal.params}
            tags = {STUDY_TAG: self._name, "trial": str(proposal.number)}
            title = f"{self._name}-{proposal.number:03d} {proposal.model}"
            run = self._tracker.start_run(self._name, title, shown, tags)
        self._open[proposal.number] = _Open(proposal, self._clock.now_s(), run)

    def step(self, number: int, step: int, loss: float) -> None:
        """Note what a trial has reported."""
        trial = self._open[number]
        trial.curve.append((step, loss))
        if self._tracker is not None and trial.run is not None:
            self._tracker.log(trial.run, {STEP_METRIC: loss}, step)

    def score(self, number: int, score: float) -> None:
        """Note what a trial measured; its end follows."""
        self._open[number].score = score

    def end(self, number: int, error: str = "") -> TrialRecord:
        """Keep a trial that has ended: failed with an error, finished with a score, otherwise stopped early."""
        trial = self._open.pop(number)
        score = None if error else trial.score
        status = TrialStatus.STOPPED if score is None else TrialStatus.FINISHED
        record = TrialRecord(
            number=number,
            model=trial.proposal.model,
            params=json.loads(json.dumps(trial.proposal.params)),
            draw=trial.proposal.draw,
            status=TrialStatus.FAILED if error else status,
            score=score,
            curve=tuple(trial.curve),
            duration_s=self._clock.now_s() - trial.started_at_s,
            error=error,
        )
        # The record first: whatever fails after it, the trial is not run again.
        self._journal.write(record)
        self.ended[number] = record
        self._proposer.tell(record)
        self._show_end(trial.run, record)
        self.tell_progress()
        return record

    def abandon(self) -> None:
        """Close what is still open: the study was interrupted."""
        for trial in self._open.values():
            if self._tracker is not None and trial.run is not None:
                self._tracker.finish(trial.run, RunStatus.KILLED)
        self._open.clear()

    def _show_end(self, run: str | None, record: TrialRecord) -> None:
        if self._tracker is None or run is None:
            return
        if record.score is not None:
            self._tracker.log(run, {SCORE_METRIC: record.score}, record.curve[-1][0] if record.curve else 0)
        self._tracker.log(run, {"duration_s": record.duration_s})
        if record.error:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "error.txt"
                path.write_text(record.error)
                self._tracker.log_file(run, path)
        self._tracker.finish(run, _RUN_STATUS[record.status])
