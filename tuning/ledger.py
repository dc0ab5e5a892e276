"""Follows the trials of a running study: keeps records, feeds the proposer, shows each trial in the tracker."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from cluster.clock import Clock, SystemClock
from cluster.registry.experiments import Point
from tuning.crew import Ended, Reported, Usage
from tuning.energy import EnergyModel
from tuning.goal import Goal
from tuning.journal import Journal
from tuning.proposer import Proposal, Proposer
from tuning.records import TrialRecord, TrialStatus, best_of
from tuning.spent import Spent
from tuning.tracking import TrialTracking


@dataclass(frozen=True, kw_only=True)
class Open:
    """A trial that runs.

    Parameters
    ----------
    proposal
        What is tried.
    started_at_s
        Seconds since the epoch.
    attempts
        How often it was begun.
    curve
        What it has reported.
    moves
        Steps after which it went on from another trial's state, and that trial's number.
    cpu_s, energy_kwh
        Before its last move.
    """

    proposal: Proposal
    started_at_s: float
    attempts: int = 1
    curve: list[tuple[int, float]] = field(default_factory=list)
    moves: tuple[tuple[int, int], ...] = ()
    cpu_s: float = 0.0
    energy_kwh: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a study stands: what there is to show while it runs.

    Parameters
    ----------
    ended, running
        Trials.
    best
        So far; None where none has finished and keeps the bounds.
    spent
        So far.
    """

    ended: tuple[TrialRecord, ...]
    running: tuple[Open, ...]
    best: TrialRecord | None
    spent: Spent


OnChange = Callable[[Standing], None]
"""Called at each start, report and end."""


class Ledger:
    """Everything that happens when a trial starts, reports and ends; knows nothing of Ray.

    Parameters
    ----------
    ended
        Trials of earlier sittings.
    proposer, journal
        Told of each trial that ends.
    goal
        Judges what was measured.
    energy
        Turns seconds into energy and carbon.
    gpus
        A trial's share.
    tracking
        Shows each trial as a run; none is shown where None.
    on_change
        Told of progress.
    clock
        For durations.
    """

    def __init__(
        self,
        *,
        ended: Iterable[TrialRecord],
        proposer: Proposer,
        journal: Journal,
        goal: Goal | None = None,
        energy: EnergyModel | None = None,
        gpus: float = 0.0,
        tracking: TrialTracking | None = None,
        on_change: OnChange | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.ended = {record.number: record for record in ended}
        self._proposer = proposer
        self._journal = journal
        self._goal = goal or Goal()
        self._energy = energy or EnergyModel()
        self._gpus = gpus
        self._tracking = tracking
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._open: dict[int, Open] = {}
        self._spent = Spent.of(self.ended.values(), self._energy)
        before_s = max((record.wall_s for record in self.ended.values()), default=0.0)
        self._began_s = self._clock.now_s() - before_s

    def spent(self) -> Spent:
        """Return what the study has taken, the trials of earlier sittings included."""
        return replace(self._spent, wall_s=self._clock.now_s() - self._began_s)

    def tell_progress(self) -> None:
        """Call `on_change` with what is known."""
        if self._on_change:
            ended = tuple(self.ended[number] for number in sorted(self.ended))
            running = tuple(self._open.values())
            self._on_change(Standing(ended=ended, running=running, best=best_of(self.ended), spent=self.spent()))

    def start(self, proposal: Proposal, attempts: int = 1) -> None:
        """Note that a trial is begun, or begun again."""
        if self._tracking is not None and attempts == 1:
            self._tracking.start(proposal)
        self._open[proposal.number] = Open(proposal=proposal, started_at_s=self._clock.now_s(), attempts=attempts)
        self.tell_progress()

    def step(self, number: int, reported: Reported) -> None:
        """Note what a trial has reported."""
        self._open[number].curve.append((reported.step, reported.value))
        if self._tracking is not None:
            self._tracking.step(number, Point(step=reported.step, value=reported.value))
        self.tell_progress()

    def move(self, number: int, proposal: Proposal, donor: int, usage: Usage) -> None:
        """Note that a trial goes on from another's state, with other parameters."""
        trial = self._open[number]
        moves, taken = (*trial.moves, (trial.curve[-1][0], donor)), self._taken(trial, usage)
        self._open[number] = replace(
            trial, proposal=proposal, moves=moves, cpu_s=taken["cpu_s"], energy_kwh=taken["energy_kwh"]
        )
        self.tell_progress()

    def end(self, number: int, ended: Ended) -> TrialRecord:
        """Keep a trial that has ended: failed with an error, finished with metrics, otherwise stopped early."""
        record = self._record(self._open.pop(number), ended)
        # The record first: whatever fails after it, the trial is not run again.
        self._journal.write(record)
        self.ended[number] = record
        self._spent = self._spent.plus(record, self._energy)
        self._proposer.tell(record)
        if self._tracking is not None:
            self._tracking.end(record)
        self.tell_progress()
        return record

    def abandon(self) -> None:
        """Close what is still open: the study was interrupted."""
        for number in list(self._open):
            self.withdraw(number)

    def withdraw(self, number: int) -> None:
        """Forget a trial that was never run to an end: it is proposed again."""
        del self._open[number]
        self._proposer.withdraw(number)
        if self._tracking is not None:
            self._tracking.abandon(number)

    def _record(self, trial: Open, ended: Ended) -> TrialRecord:
        now_s = self._clock.now_s()
        duration_s = now_s - trial.started_at_s
        gpu_s = self._gpus * duration_s
        taken = self._taken(trial, ended.usage, gpu_s)
        metrics = self._measured(ended, {"duration_s": duration_s, **taken})
        error = ended.error or (self._goal.fault(metrics) if ended.metrics is not None else "")
        finished = ended.metrics is not None and not error
        return TrialRecord(
            number=trial.proposal.number,
            model=trial.proposal.model,
            params=json.loads(json.dumps(trial.proposal.params)),
            draw=trial.proposal.draw,
            status=_status(error, finished),
            score=self._goal.values(metrics)[0] if finished else None,
            metrics=metrics if finished else {},
            feasible=finished and max(self._goal.excess(metrics), default=0.0) <= 0,
            curve=tuple(trial.curve),
            duration_s=duration_s,
            gpu_s=gpu_s,
            **taken,
            peak_memory_bytes=ended.usage.peak_memory_bytes,
            attempts=trial.attempts,
            moves=trial.moves,
            ended_at_s=now_s,
            wall_s=now_s - self._began_s,
            error=error,
        )

    def _taken(self, trial: Open, usage: Usage, gpu_s: float = 0.0) -> dict[str, float]:
        """Return processor seconds and energy up to now: measured, or estimated where nothing measures."""
        energy_kwh = usage.energy_kwh
        if energy_kwh is None:
            energy_kwh = self._energy.energy_kwh(cpu_s=usage.cpu_s, gpu_s=gpu_s)
        return {"cpu_s": trial.cpu_s + usage.cpu_s, "energy_kwh": trial.energy_kwh + energy_kwh}

    def _measured(self, ended: Ended, cost: Mapping[str, float]) -> dict[str, float]:
        """Return the work's metrics, and the trial's cost beside them."""
        co2e_kg = self._energy.co2e_kg(cost["energy_kwh"])
        return _finite_numbers({**cost, "co2e_kg": co2e_kg, **(ended.metrics or {})}, asked=self._goal.metrics)


def _finite_numbers(metrics: Mapping[str, float], asked: tuple[str, ...]) -> dict[str, float]:
    """Return the metrics as floats, without those that are no numbers and that nobody asked for."""
    found = {name: float(value) for name, value in metrics.items()}
    return {name: value for name, value in found.items() if name in asked or math.isfinite(value)}


def _status(error: str, finished: bool) -> TrialStatus:
    if error:
        return TrialStatus.FAILED
    return TrialStatus.FINISHED if finished else TrialStatus.STOPPED
