"""What makes jobs durable: schedules and retries that survive the death of who looks after them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from cluster.errors import UnknownNameError
from cluster.jobs import JobInfo
from cluster.state.machine import Json
from cluster.state.runs import ClaimRun, FailRun, FinishRun, Heartbeat
from cluster.state.schedules import ClaimDue

LEASE_S = 60.0
"""Without a look for so long, another keeper takes a run over."""
MOST_AT_ONCE = 4
"""Runs looked after at the same time; the rest waits in the ledger."""


class JobsPort(Protocol):
    """The part of `cluster.jobs.Jobs` that is needed here."""

    def submit(self, entrypoint: str, *, submission_id: str | None = None) -> str:
        """Start a command; with the id of an equal job already there, return that one."""
        ...

    def status(self, job_id: str) -> JobInfo:
        """Return what is known of a job."""
        ...


class StatePort(Protocol):
    """A durable state machine, as `SharedState` and `Durable` are."""

    def do(self, command: Any, command_id: str) -> Json:
        """Run a command once for its id and return the answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Held:
    """A run that this keeper has claimed.

    Parameters
    ----------
    run, attempt
        As claimed.
    job_id
        The Ray job that works on it.
    """

    run: str
    attempt: int
    job_id: str


class Keeper:
    """Turns due schedules and waiting runs into Ray jobs, and tells the ledger how they ended.

    Every step may be cut short: a job's id follows from its run and attempt (or schedule and occurrence), so that
    doing it again submits nothing twice; what a dead keeper held is claimed by the next after `LEASE_S`.

    Parameters
    ----------
    owner
        Name of this keeper.
    jobs
        Where jobs are submitted.
    ledger, schedules
        A RunLedger and a Schedules.
    """

    def __init__(self, *, owner: str, jobs: JobsPort, ledger: StatePort, schedules: StatePort) -> None:
        self.held: dict[str, Held] = {}
        self._owner = owner
        self._jobs = jobs
        self._ledger = ledger
        self._schedules = schedules
        self._looks = 0

    def tick(self) -> None:
        """Do what is due: submit schedules, look after the runs at hand, claim one more."""
        self._looks += 1
        self._submit_schedules()
        for held in list(self.held.values()):
            self._look_after(held)
        if len(self.held) < MOST_AT_ONCE:
            self._claim()

    def _submit_schedules(self) -> None:
        """Submit each schedule that is due, once for all occurrences that were missed."""
        due = self._schedules.do(ClaimDue(), self._command_id("due"))["due"]
        for name, newest in {each["name"]: each for each in due}.items():
            self._jobs.submit(newest["payload"]["entrypoint"], submission_id=f"{name}-{newest['occurrence']}")

    def _claim(self) -> None:
        claim = ClaimRun(owner=self._owner, lease_s=LEASE_S)
        claimed = self._ledger.do(claim, self._command_id("claim"))["claimed"]
        if claimed:
            run, attempt = claimed["run"], claimed["attempt"]
            job = self._jobs.submit(claimed["payload"]["entrypoint"], submission_id=f"{run}-{attempt}")
            self.held[run] = Held(run=run, attempt=attempt, job_id=job)

    def _look_after(self, held: Held) -> None:
        info = self._info(held)
        if info is not None and not info.finished:
            command: Any = Heartbeat(run=held.run, attempt=held.attempt)
        elif info is not None and info.exit_code == 0:
            command = FinishRun(run=held.run, attempt=held.attempt, result={"job": held.job_id})
        else:
            reason = "the job is gone" if info is None else f"{info.status}, exit code {info.exit_code}"
            stopped = info is not None and info.status == "STOPPED"
            command = FailRun(run=held.run, attempt=held.attempt, reason=reason, retry=not stopped)
        accepted = self._ledger.do(command, self._command_id(f"look-{held.run}"))["accepted"]
        if not accepted or not isinstance(command, Heartbeat):
            del self.held[held.run]

    def _info(self, held: Held) -> JobInfo | None:
        try:
            return self._jobs.status(held.job_id)
        except UnknownNameError:
            return None

    def _command_id(self, what: str) -> str:
        return f"{self._owner}-{self._looks}-{what}"
