"""Schedules and retried runs become jobs exactly as often as they should, whoever dies when."""

from __future__ import annotations

from pathlib import Path

import pytest

from apps.keeper import LEASE_S, MOST_AT_ONCE, Keeper
from cluster.clock import ManualClock
from cluster.errors import TransientError, UnknownNameError
from cluster.jobs import JobInfo
from cluster.state.durable import Durable
from cluster.state.runs import CreateRun, RunLedger
from cluster.state.schedules import Plan, Schedules
from cluster.storage.files import Storage


class BenchJobs:
    """Keeps what was submitted; tests say how each job ends."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[str, int | None]] = {}
        self.answers = True

    def submit(self, entrypoint: str, *, submission_id: str | None = None) -> str:
        if not self.answers:
            raise TransientError("the dashboard does not answer")
        assert submission_id
        self.jobs.setdefault(submission_id, ("RUNNING", None))
        return submission_id

    def status(self, job_id: str) -> JobInfo:
        if job_id not in self.jobs:
            raise UnknownNameError.of("job", job_id, self.jobs)
        status, code = self.jobs[job_id]
        return JobInfo(
            job_id=job_id,
            status=status,
            entrypoint="",
            message="",
            exit_code=code,
            started_s=None,
            ended_s=None,
            metadata={},
        )

    def end(self, job_id: str, code: int, status: str | None = None) -> None:
        self.jobs[job_id] = (status or ("SUCCEEDED" if code == 0 else "FAILED"), code)


class Bench:
    """A keeper on durable states in a folder, with a clock moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.jobs = ManualClock(1000.0), BenchJobs()
        storage = Storage(str(folder))
        self.ledger = Durable(RunLedger, storage, "ledger.json", self.clock)
        self.schedules = Durable(Schedules, storage, "schedules.json", self.clock)
        self.keeper = self.hire("first")

    def hire(self, owner: str) -> Keeper:
        return Keeper(owner=owner, jobs=self.jobs, ledger=self.ledger, schedules=self.schedules)

    def create(self, run: str, attempts: int = 3) -> None:
        self.ledger.do(CreateRun(run=run, payload={"entrypoint": "work"}, max_attempts=attempts), f"create-{run}")

    def state(self, run: str) -> str:
        return str(self.ledger.state()[run]["state"])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_run_becomes_a_job_and_its_end_is_noted(bench: Bench) -> None:
    bench.create("sweep")
    bench.keeper.tick()
    assert list(bench.jobs.jobs) == ["sweep-1"]
    bench.jobs.end("sweep-1", 0)
    bench.keeper.tick()
    assert bench.state("sweep") == "finished"
    assert bench.keeper.held == {}


def test_a_failed_job_is_tried_again_until_its_attempts_are_used_up(bench: Bench) -> None:
    bench.create("sweep", attempts=2)
    for attempt in (1, 2):
        bench.keeper.tick()
        bench.jobs.end(f"sweep-{attempt}", 1)
        bench.keeper.tick()
    bench.keeper.tick()
    assert bench.state("sweep") == "failed"
    assert list(bench.jobs.jobs) == ["sweep-1", "sweep-2"]


def test_a_job_that_a_person_stopped_is_not_tried_again(bench: Bench) -> None:
    bench.create("sweep")
    bench.keeper.tick()
    bench.jobs.end("sweep-1", 143, "STOPPED")
    bench.keeper.tick()
    assert bench.state("sweep") == "failed"


def test_a_dead_keepers_run_is_taken_over_after_its_lease(bench: Bench) -> None:
    bench.create("sweep")
    bench.keeper.tick()
    second = bench.hire("second")
    second.tick()
    assert second.held == {}
    bench.clock.advance(LEASE_S + 1)
    second.tick()
    assert second.held["sweep"].attempt == 2
    bench.keeper.tick()  # the first one was only slow: it finds out, and lets go
    assert bench.keeper.held == {}


def test_heartbeats_hold_a_long_run(bench: Bench) -> None:
    bench.create("sweep")
    second = bench.hire("second")
    for _ in range(10):
        bench.keeper.tick()
        bench.clock.advance(LEASE_S / 2)
        second.tick()
    assert second.held == {}
    assert list(bench.jobs.jobs) == ["sweep-1"]


def test_no_more_at_once_than_agreed(bench: Bench) -> None:
    for number in range(MOST_AT_ONCE + 3):
        bench.create(f"run{number}")
    for _ in range(20):
        bench.keeper.tick()
    assert len(bench.jobs.jobs) == MOST_AT_ONCE


def test_missed_occurrences_of_a_schedule_are_one_job(bench: Bench) -> None:
    bench.schedules.do(Plan(name="nightly", every_s=10, payload={"entrypoint": "work"}), "plan")
    bench.keeper.tick()
    assert bench.jobs.jobs == {}
    bench.clock.advance(35)
    bench.keeper.tick()
    bench.keeper.tick()
    assert list(bench.jobs.jobs) == ["nightly-2"]


def test_a_silent_dashboard_loses_no_run(bench: Bench) -> None:
    bench.create("sweep")
    bench.jobs.answers = False
    with pytest.raises(TransientError):
        bench.keeper.tick()
    bench.jobs.answers = True
    bench.clock.advance(LEASE_S + 1)
    bench.keeper.tick()
    assert list(bench.jobs.jobs) == ["sweep-2"]
