"""A study's book-keeping, driven step by step without Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.clock import ManualClock
from cluster.errors import ArtifactCorrupt, ConfigError, UnknownNameError
from cluster.registry.experiments import Experiment, Point, RunStatus, TrackedRun, Tracker
from cluster.storage.files import Storage
from training.core.space import Choice, Real
from tuning.ledger import Ledger
from tuning.proposer import Family, Proposal, Proposer
from tuning.records import Journal, TrialRecord, TrialStatus, best_of
from tuning.study import StudySpec

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

    def __init__(self, folder: Path, tracker: MemoryTracker | None = None) -> None:
        self.tracker = tracker or MemoryTracker()
        self.clock = ManualClock()
        self.heard: list[tuple[int, int, float | None]] = []
        self.journal = Journal(Storage(str(folder)), "s")
        ended = self.journal.open(FACTS)
        self.proposer = Proposer(FAMILIES, trials=4, seed=0, ended=ended.values())
        self.ledger = Ledger(
            "s",
            total=4,
            ended=ended.values(),
            proposer=self.proposer,
            journal=self.journal,
            tracker=self.tracker,
            on_trial=lambda done, total, best: self.heard.append((done, total, best.score if best else None)),
            clock=self.clock,
        )

    def start(self) -> Proposal:
        proposal = self.proposer.propose()
        assert proposal is not None
        self.ledger.start(proposal)
        return proposal


def test_a_trial_is_shown_and_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    proposal = desk.start()
    for step, loss in ((1, 0.5), (2, 0.4)):
        desk.ledger.step(proposal.number, step, loss)
    desk.clock.advance(3.0)
    desk.ledger.score(proposal.number, 0.07)
    record = desk.ledger.end(proposal.number)
    assert (record.status, record.score, record.duration_s) == (TrialStatus.FINISHED, 0.07, 3.0)
    assert record.curve == ((1, 0.5), (2, 0.4))
    assert Journal(Storage(str(tmp_path)), "s").open(FACTS) == {0: record}
    run = desk.tracker.kept["run0"]
    assert (run.status, run.name, run.experiment) == (RunStatus.FINISHED, "s-000 m", "s")
    assert run.metrics == {"validation_loss": 0.4, "validation_wape": 0.07, "duration_s": 3.0}
    assert run.parameters["model"] == "m"
    assert [point.step for point in desk.tracker.curve("run0", "validation_loss")] == [1, 2]
    assert desk.heard == [(1, 4, 0.07)]


def test_a_failure_keeps_its_cause(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    record = desk.ledger.end(desk.start().number, error="ValueError: no")
    assert (record.status, record.score, record.error) == (TrialStatus.FAILED, None, "ValueError: no")
    assert desk.tracker.kept["run0"].status is RunStatus.FAILED
    assert desk.tracker.files["run0"] == "ValueError: no"
    assert desk.heard == [(1, 4, None)]


def test_an_end_without_a_score_is_an_early_stop(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    number = desk.start().number
    desk.ledger.step(number, 1, 9.0)
    assert desk.ledger.end(number).status is TrialStatus.STOPPED
    assert desk.tracker.kept["run0"].status is RunStatus.KILLED


def test_a_killed_driver_leaves_no_open_runs_and_no_lost_trials(tmp_path: Path) -> None:
    first = Desk(tmp_path)
    done, _lost = first.start(), first.start()
    first.ledger.score(done.number, 0.1)
    first.ledger.end(done.number)
    second = Desk(tmp_path, first.tracker)
    second.ledger.close_lost_runs()
    assert [run.status for run in second.tracker.runs("s")] == [RunStatus.FINISHED, RunStatus.KILLED]
    second.ledger.tell_progress()
    assert second.heard == [(1, 4, 0.1)]
    assert second.start().number == 1


def test_an_interruption_closes_the_open_runs(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.start()
    desk.ledger.abandon()
    assert desk.ledger.ended == {}
    assert desk.tracker.kept["run0"].status is RunStatus.KILLED


def test_another_study_of_the_same_name_is_refused(tmp_path: Path) -> None:
    journal = Journal(Storage(str(tmp_path)), "s")
    journal.open(FACTS)
    assert journal.open(FACTS) == {}
    with pytest.raises(ConfigError, match="another horizon: got 5, expected 4"):
        journal.open({**FACTS, "horizon": 5})


def test_a_torn_record_is_named(tmp_path: Path) -> None:
    journal = Journal(Storage(str(tmp_path)), "s")
    journal.open(FACTS)
    (tmp_path / "studies" / "s" / "trial-00000.json").write_text('{"number": 0')
    with pytest.raises(ArtifactCorrupt, match=r"trial-00000\.json"):
        journal.open(FACTS)


def test_the_best_has_the_lowest_score_and_of_equals_the_first() -> None:
    def record(number: int, score: float | None) -> TrialRecord:
        return TrialRecord(number=number, model="m", params={}, draw={}, status=TrialStatus.FINISHED, score=score)

    records = {n: record(n, score) for n, score in enumerate((None, 0.3, 0.2, 0.2))}
    assert best_of(records) == records[2]
    assert best_of({0: records[0]}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ()}, "models of a study"),
        ({"models": ({"name": "ridge"}, {"name": "ridge"})}, "each once"),
        ({"trials": 0}, "'trials'"),
        ({"horizon": 0}, "'horizon'"),
        ({"max_concurrent": 0}, "'max_concurrent'"),
    ],
)
def test_a_specification_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StudySpec(**{"name": "s", "models": ({"name": "ridge"},), "horizon": 4, **change})


def test_what_is_fixed_is_not_searched() -> None:
    spec = StudySpec(
        name="s", models=({"name": "ridge", "params": {"window": 24}}, {"name": "xgboost"}), horizon=4, seed=3
    )
    families = spec.families()
    assert "window" not in families["ridge"].space
    assert families["ridge"].fixed == {"window": 24}
    assert families["xgboost"].fixed == {"seed": 3}
    with pytest.raises(ConfigError, match="no parameter 'alhpa'"):
        StudySpec(name="s", models=({"name": "ridge", "params": {"alhpa": 1}},), horizon=4).families()
    with pytest.raises(UnknownNameError, match="Did you mean 'ridge'"):
        StudySpec(name="s", models=({"name": "rigde"},), horizon=4).families()
