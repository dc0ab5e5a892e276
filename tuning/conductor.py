"""Runs a search to its end: proposes, hands out, judges reports, ends what hangs, tries again what was lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from cluster.clock import Clock, SystemClock
from training.core.parameters import real, whole
from tuning.budget import Budget
from tuning.crew import Assignment, Crew, Ended, Event, Lost, Reported, Started
from tuning.ledger import Ledger
from tuning.population import Move, Population
from tuning.proposer import Proposal, Proposer
from tuning.stopping import StopPolicy

FOLDS = "folds"
"""The group in which reports of folds are compared: all models together."""
EXHAUSTED = "every point of the space was tried"


@dataclass(frozen=True, kw_only=True)
class TrialLimits:
    """What is made of trials that go wrong.

    Parameters
    ----------
    timeout_s
        A trial that takes longer has failed, and its worker is ended; None waits for ever.
    attempts
        How often a trial is begun whose worker is lost, by a dead machine or for want of memory.
    """

    timeout_s: float | None = None
    attempts: int = 2

    def __post_init__(self) -> None:
        if self.timeout_s is not None:
            real("timeout_s", self.timeout_s, low=0, above=True)
        whole("attempts", self.attempts, low=1)


@dataclass
class _Running:
    proposal: Proposal
    attempts: int = 1
    started: bool = False
    deadline_s: float | None = None
    move: Move | None = None
    donated: Any = None


class Conductor:
    """Keeps a crew busy until the budget is spent or nothing is left to propose; knows nothing of Ray.

    Parameters
    ----------
    proposer
        Says what comes next.
    ledger
        Keeps what came out.
    crew
        Runs the trials.
    stopping
        Judges reports.
    budget
        When it is reached, nothing new begins and trials that report are stopped.
    max_concurrent
        Trials at a time.
    limits
        Time-out and attempts of a trial.
    population
        Moves trials that fall behind to the state of better ones; nobody is moved where None.
    clock
        For time-outs.
    """

    def __init__(
        self,
        *,
        proposer: Proposer,
        ledger: Ledger,
        crew: Crew,
        stopping: StopPolicy,
        budget: Budget,
        max_concurrent: int,
        limits: TrialLimits | None = None,
        population: Population | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._proposer = proposer
        self._ledger = ledger
        self._crew = crew
        self._stopping = stopping
        self._budget = budget
        self._max_concurrent = max_concurrent
        self._limits = limits or TrialLimits()
        self._clock = clock or SystemClock()
        self._population = population
        self._running: dict[int, _Running] = {}
        self._states: dict[int, Any] = {}

    def run(self) -> str:
        """Run until the end, and return in words what ended it."""
        reason = self._fill()
        while self._running:
            heard = self._crew.wait(self._patience_s())
            if heard is None:
                self._end_what_is_late()
            else:
                self._hear(*heard)
            reason = self._fill() or reason
        return reason

    def _fill(self) -> str:
        """Begin trials on free workers; return why none is begun, empty where all workers are busy."""
        while len(self._running) < self._max_concurrent:
            reached = self._spent_by()
            if reached:
                return reached
            proposal = self._proposer.propose()
            if proposal is None:
                return EXHAUSTED
            self._begin(_Running(proposal))
        return ""

    def _spent_by(self) -> str:
        spent = self._ledger.spent()
        # Trials that run will have ended: a bound on their number counts them.
        return self._budget.reached(replace(spent, trials=spent.trials + len(self._running))) or ""

    def _begin(self, running: _Running) -> None:
        self._running[running.proposal.number] = running
        self._ledger.start(running.proposal, running.attempts)
        self._assign(running.proposal)

    def _assign(self, proposal: Proposal, state: Any = None) -> None:
        self._crew.begin(
            Assignment(number=proposal.number, model=proposal.model, params=proposal.params, state=state)
        )

    def _hear(self, number: int, event: Event) -> None:
        running = self._running[number]
        match event:
            case Started():
                running.started = True
                if self._limits.timeout_s is not None:
                    running.deadline_s = self._clock.now_s() + self._limits.timeout_s
            case Reported():
                self._judge(running, event)
            case Ended() if running.move is not None and not event.error and event.metrics is None:
                self._move(running, running.move, event)
            case Ended():
                self._close(number, event)
            case Lost():
                self._lose(running, event)

    def _judge(self, running: _Running, reported: Reported) -> None:
        number = running.proposal.number
        if not math.isfinite(reported.value):
            self._crew.end(number)
            self._close(number, Ended(error=f"the trial reported {reported.value} at step {reported.step}"))
            return
        self._ledger.step(number, reported)
        group = FOLDS if reported.fold else running.proposal.model
        stop = self._stopping.stops(number, group, reported.value) or self._out_of_time()
        if self._population is not None and not stop:
            self._states[number] = reported.state
            running.move = self._population.hear(running.proposal, reported.value)
            running.donated = running.move and self._states.get(running.move.donor)
        self._crew.proceed(number, stop=stop or running.move is not None)

    def _move(self, running: _Running, move: Move, ended: Ended) -> None:
        """Let a trial that was stopped for it go on from another's state."""
        number = running.proposal.number
        running.proposal, running.move = self._proposer.moved(running.proposal, move.draw), None
        self._ledger.move(number, running.proposal, move.donor, ended.usage)
        self._assign(running.proposal, running.donated)
        running.donated = None

    def _out_of_time(self) -> bool:
        """Say whether another bound than the number of trials is reached."""
        return bool(replace(self._budget, trials=None).reached(self._ledger.spent())) if self._timed else False

    @property
    def _timed(self) -> bool:
        return set(self._budget.bounds()) != {"trials"}

    def _lose(self, running: _Running, lost: Lost) -> None:
        number = running.proposal.number
        if running.attempts >= self._limits.attempts:
            error = f"the trial's worker was lost {running.attempts} times; the last time: {lost.reason}"
            self._close(number, Ended(error=error))
            return
        del self._running[number]
        self._begin(_Running(running.proposal, attempts=running.attempts + 1))

    def _close(self, number: int, ended: Ended) -> None:
        self._ledger.end(number, ended)
        del self._running[number]
        self._states.pop(number, None)
        if self._population is not None:
            self._population.leave(number)

    def _patience_s(self) -> float | None:
        """Return the seconds until somebody is late; None where nobody ever is."""
        now_s = self._clock.now_s()
        waits = [each.deadline_s - now_s for each in self._running.values() if each.deadline_s is not None]
        left_s = self._budget.left_s(self._ledger.spent())
        waits += [] if left_s is None else [left_s]
        return max(min(waits), 0.0) if waits else None

    def _end_what_is_late(self) -> None:
        now_s, spent_by = self._clock.now_s(), self._budget.left_s(self._ledger.spent()) == 0.0
        for number, running in list(self._running.items()):
            late = running.deadline_s is not None and now_s >= running.deadline_s
            if not running.started and spent_by:
                self._crew.end(number)
                self._ledger.withdraw(number)
                del self._running[number]
            elif late or spent_by:
                self._crew.end(number)
                took = f"the trial took longer than {self._limits.timeout_s} s; its worker was ended"
                self._close(number, Ended(error=took if late else ""))
