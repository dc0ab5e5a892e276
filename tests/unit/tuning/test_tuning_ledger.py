"""A study's book-keeping, driven step by step without Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.clock import ManualClock
from cluster.errors import TransientError, UnknownNameError
from cluster.registry.experiments import Experiment, Point, RunStatus, TrackedRun, Tracker, WholeRun
from cluster.storage.files import Storage
from training.core.space import Choice, Real
from tuning.crew import Ended, Reported, Usage
from tuning.energy import EnergyModel
from tuning.goal import Bound, Goal
from tuning.journal import Journal
from tuning.ledger import Ledger, Standing
from tuning.proposer import Family, Proposal, Proposer
from tuning.records import TrialRecord, TrialStatus, best_of
from tuning.tracking import TrialTracking

FACTS = {"horizon": 4, "models": ({"name": "m", "params": {"a": (1, 2)}},)}
FAMILIES = {"m": Family(space={"x": Real(0, 1), "sizes": Choice(((1, 2), (3,)))}, fixed={}, defaults={})}


class MemoryTracker(Tracker):
    """Keeps runs in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, TrackedRun] = {}
        self.curves: dict[tuple[str, str], list[Point]] = {}
        self.files: dict[str, str] = {}

    def start_run(
        self,
        experiment: str,
        name: str,
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        run = f"run{len(self.kept)}"
        self.kept[run] = TrackedRun(
            id=run,
            experiment=experiment,
            name=name,
            status=RunStatus.RUNNING,
            parameters={key: str(value) for key, value in (parameters or {}).items()},
            tags=tags or {},
            metrics={},
            started_at_s=0.0,
        )
        return run

    def log(self, run: str, metrics: Mapping[str, float], step: int = 0) -> None:
        for metric, value in metrics.items():
            self.curves.setdefault((run, metric), []).append(Point(step=step, value=value))
        self.kept[run] = replace(self.kept[run], metrics={**self.kept[run].metrics, **metrics})

    def log_points(self, run: str, curves: Mapping[str, Sequence[Point]]) -> None:
        for metric, curve in curves.items():
            for point in curve:
                self.log(run, {metric: point.value}, point.step)

    def record(self, run: WholeRun, files: Sequence[Path] = ()) -> str:
        key = self.start_run(run.experiment, run.name, run.parameters, run.tags)
        self.log_points(key, run.curves)
        for file in files:
            self.log_file(key, file)
        self.finish(key, run.status)
        return key

    def log_file(self, run: str, path: Path) -> None:
        self.files[run] = path.read_text()

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        self.kept[run] = replace(self.kept[run], tags={**self.kept[run].tags, **tags})

    def finish(self, run: str, status: RunStatus = RunStatus.FINISHED) -> None:
        self.kept[run] = replace(self.kept[run], status=status)

    def runs(self, experiment: str) -> tuple[TrackedRun, ...]:
        found = tuple(run for run in self.kept.values() if run.experiment == experiment)
        if not found:
            raise UnknownNameError.of("experiment", experiment, ())
        return found

    def curve(self, run: str, metric: str) -> tuple[Point, ...]:
        return tuple(self.curves.get((run, metric), ()))

    def experiments(self) -> tuple[Experiment, ...]:
        names = {run.experiment for run in self.kept.values()}
        return tuple(Experiment(name=name, runs=0, created_at_s=0.0) for name in sorted(names))


class Desk:
    """A ledger with all it needs."""

    def __init__(self, folder: Path, tracker: MemoryTracker | None = None, goal: Goal | None = None) -> None:
        self.tracker = tracker or MemoryTracker()
        self.clock = ManualClock(1000.0)
        self.heard: list[Standing] = []
        self.journal = Journal(Storage(str(folder)), "s")
        ended = self.journal.open(FACTS).values()
        self.proposer = Proposer(FAMILIES, goal=goal, search="random", seed=0, ended=ended)
        self.tracking = TrialTracking(self.tracker, "s")
        self.ledger = Ledger(
            ended=ended,
            proposer=self.proposer,
            journal=self.journal,
            goal=goal,
            energy=EnergyModel(cpu_power_w=3600.0, carbon_intensity_g_per_kwh=500.0),
            gpus=0.5,
            tracking=self.tracking,
            on_change=self.heard.append,
            clock=self.clock,
        )

    def start(self) -> Proposal:
        proposal = self.proposer.propose()
        assert proposal is not None
        self.ledger.start(proposal)
        return proposal

    def runs(self) -> tuple[TrackedRun, ...]:
        self.tracking.close()
        return self.tracker.runs("s")


def finished(wape: float, cpu_s: float = 0.0, **metrics: float) -> Ended:
    return Ended(metrics={"wape": wape, **metrics}, usage=Usage(cpu_s=cpu_s, peak_memory_bytes=7))


def test_a_trial_is_shown_and_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    proposal = desk.start()
    for step, loss in ((1, 0.5), (2, 0.4)):
        desk.ledger.step(proposal.number, Reported(step=step, value=loss))
    desk.clock.advance(3.0)
    record = desk.ledger.end(proposal.number, finished(0.07, cpu_s=2.0))
    assert (record.status, record.score, record.duration_s) == (TrialStatus.FINISHED, 0.07, 3.0)
    assert (record.cpu_s, record.gpu_s, record.peak_memory_bytes) == (2.0, 1.5, 7)
    assert (record.ended_at_s, record.wall_s) == (1003.0, 3.0)
    assert record.curve == ((1, 0.5), (2, 0.4))
    assert Journal(Storage(str(tmp_path)), "s").open(FACTS) == {0: record}
    (run,) = desk.runs()
    assert (run.status, run.name, run.parameters["model"]) == (RunStatus.FINISHED, "s-000 m", "m")
    assert run.metrics["validation_loss"] == 0.4
    assert (run.metrics["wape"], run.metrics["duration_s"], run.metrics["cpu_s"]) == (0.07, 3.0, 2.0)
    assert [point.step for point in desk.tracker.curve(run.id, "validation_loss")] == [1, 2]
    assert TrialRecord.from_json(desk.tracker.files[run.id].encode()) == record
    assert (len(desk.heard[-1].ended), desk.heard[-1].running, desk.heard[-1].best) == (1, (), record)


def test_what_was_spent_is_added_up_over_sittings_and_ends(tmp_path: Path) -> None:
    first = Desk(tmp_path)
    good, bad = first.start(), first.start()
    first.clock.advance(10.0)
    first.ledger.end(good.number, finished(0.1, cpu_s=4.0))
    first.ledger.end(bad.number, Ended(error="ValueError: no", usage=Usage(cpu_s=2.0)))
    second = Desk(tmp_path)
    second.clock.advance(5.0)
    spent = second.ledger.spent()
    assert (spent.trials, spent.wall_s, spent.cpu_s) == (2, 15.0, 6.0)
    assert spent.gpu_s == 10.0
    watt_seconds = 6.0 * 3600.0 + 10.0 * 300.0
    assert spent.energy_kwh == pytest.approx(watt_seconds / 3.6e6)
    assert spent.co2e_kg == pytest.approx(spent.energy_kwh / 2)


@pytest.mark.parametrize(
    ("ended", "error"),
    [
        (Ended(error="ValueError: no"), "ValueError: no"),
        (finished(float("nan")), "the trial's 'wape' is nan, expected a finite number"),
        (finished(float("inf")), "the trial's 'wape' is inf, expected a finite number"),
        (
            Ended(metrics={"rmse": 1.0}),
            "the trial measured no 'wape': got co2e_kg, cpu_s, duration_s, energy_kwh, rmse",
        ),
    ],
    ids=["raised", "nan", "infinite", "not measured"],
)
def test_a_failure_keeps_its_cause(tmp_path: Path, ended: Ended, error: str) -> None:
    desk = Desk(tmp_path)
    record = desk.ledger.end(desk.start().number, ended)
    assert (record.status, record.score, record.error) == (TrialStatus.FAILED, None, error)
    (run,) = desk.runs()
    assert run.status is RunStatus.FAILED
    assert error in json.loads(desk.tracker.files[run.id])["error"]
    assert desk.heard[-1].best is None


def test_an_end_without_metrics_is_an_early_stop(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    number = desk.start().number
    desk.ledger.step(number, Reported(step=1, value=9.0))
    assert desk.ledger.end(number, Ended()).status is TrialStatus.STOPPED
    assert desk.runs()[0].status is RunStatus.KILLED


def test_a_trial_that_breaks_a_bound_is_never_the_best(tmp_path: Path) -> None:
    goal = Goal(bounds=(Bound(metric="latency_p99_ms", at_most=5.0),))
    desk = Desk(tmp_path, goal=goal)
    slow, quick = desk.start(), desk.start()
    assert not desk.ledger.end(slow.number, finished(0.01, latency_p99_ms=6.0)).feasible
    kept = desk.ledger.end(quick.number, finished(0.5, latency_p99_ms=5.0))
    assert kept.feasible
    assert desk.heard[-1].best == kept


def test_a_killed_driver_leaves_no_open_runs_and_no_lost_trials(tmp_path: Path) -> None:
    first = Desk(tmp_path)
    done, _lost = first.start(), first.start()
    first.ledger.end(done.number, finished(0.1))
    first.tracking.close()
    second = Desk(tmp_path, first.tracker)
    second.tracking.close_lost_runs()
    assert second.start().number == 1
    statuses = [run.status for run in second.runs()]
    assert statuses[:2] == [RunStatus.FINISHED, RunStatus.KILLED]


def test_an_interruption_closes_the_open_runs(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.start()
    desk.ledger.abandon()
    assert desk.ledger.ended == {}
    assert desk.runs()[0].status is RunStatus.KILLED


def test_a_trial_that_is_begun_again_has_one_run_and_counts_its_attempts(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    proposal = desk.start()
    desk.ledger.step(proposal.number, Reported(step=1, value=9.0))
    desk.ledger.start(proposal, attempts=2)
    record = desk.ledger.end(proposal.number, finished(0.1))
    assert (record.attempts, record.curve) == (2, ())
    assert len(desk.runs()) == 1


def test_what_the_tracker_raises_comes_out(tmp_path: Path) -> None:
    class Full(MemoryTracker):
        def log_file(self, run: str, path: Path) -> None:
            raise TransientError("the disk is full")

    desk = Desk(tmp_path, Full())
    desk.ledger.end(desk.start().number, finished(0.1))
    with pytest.raises(TransientError, match="the disk is full"):
        desk.tracking.close()


def test_the_best_has_the_lowest_score_and_of_equals_the_first() -> None:
    def record(number: int, score: float | None) -> TrialRecord:
        return TrialRecord(number=number, model="m", params={}, draw={}, status=TrialStatus.FINISHED, score=score)

    records = {n: record(n, score) for n, score in enumerate((None, 0.3, 0.2, 0.2))}
    assert best_of(records) == records[2]
    assert best_of({0: records[0]}) is None
