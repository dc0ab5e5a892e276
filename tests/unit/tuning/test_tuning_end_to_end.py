"""Whole searches in one process, trials in turn: what Ray's crew does beside each other, in a known order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cluster.storage.files import Storage
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.space import Choice, Real, Space, When, Whole
from training.core.splits import chronological_split
from tuning.budget import Budget
from tuning.conductor import Conductor
from tuning.crew import Assignment, Crew, Event, Report, Started, Work
from tuning.folds import FoldsSpec
from tuning.goal import Bound, Goal, front
from tuning.journal import Journal
from tuning.lane import Lane
from tuning.ledger import Ledger
from tuning.objective import ForecastWork, Material
from tuning.population import Population
from tuning.proposer import Family, Proposer
from tuning.records import TrialRecord, best_of
from tuning.stopping import NeverStop, StopPolicy, SuccessiveHalving

SPACE: Space = {
    "x": Real(-2.0, 2.0),
    "rate": Real(1e-3, 1.0, log=True),
    "kind": Choice(("a", "b")),
    "depth": Whole(1, 5, when=When("kind", ("b",))),
}


class InTurn(Crew):
    """Real lanes, one step of one of them at a time."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.lanes: dict[int, Lane] = {}
        self.told: deque[tuple[int, Event]] = deque()
        self.steps: deque[tuple[int, Callable[[], Event]]] = deque()

    def begin(self, assignment: Assignment) -> None:
        lane = self.lanes.setdefault(assignment.number, Lane(self.work))
        self.told.append((assignment.number, Started()))
        self.steps.append((assignment.number, lambda: lane.begin(assignment)))

    def proceed(self, number: int, *, stop: bool) -> None:
        self.steps.append((number, lambda: self.lanes[number].proceed(stop=stop)))

    def wait(self, timeout_s: float | None) -> tuple[int, Event] | None:
        if self.told:
            return self.told.popleft()
        number, step = self.steps.popleft()
        return number, step()

    def end(self, number: int) -> None:
        self.steps = deque(each for each in self.steps if each[0] != number)

    def close(self) -> None:
        self.steps.clear()


def search(
    folder: Path,
    work: Work,
    trials: int,
    *,
    families: Mapping[str, Family],
    goal: Goal | None = None,
    name: str = "random",
    stopping: StopPolicy | None = None,
    population: Population | None = None,
    at_a_time: int = 2,
) -> dict[int, TrialRecord]:
    journal = Journal(Storage(str(folder)), "s")
    ended = journal.open({}).values()
    proposer = Proposer(families, goal=goal, search=name, seed=0, ended=ended)
    ledger = Ledger(ended=ended, proposer=proposer, journal=journal, goal=goal)
    Conductor(
        proposer=proposer,
        ledger=ledger,
        crew=InTurn(work),
        stopping=stopping or NeverStop(),
        budget=Budget(trials=trials),
        max_concurrent=at_a_time,
        population=population,
    ).run()
    return journal.read()


def bowl(assignment: Assignment, report: Report) -> Mapping[str, float]:
    """Measure two things that cannot both be small."""
    params = assignment.params
    value = (params["x"] - 1.0) ** 2 + np.log10(params["rate"]) ** 2 / 4 + 0.1 * params.get("depth", 0)
    report(1, float(value))
    return {"wape": float(value), "latency_p99_ms": 2.0 - float(params["x"])}


FAMILIES = {"bowl": Family(space=SPACE, fixed={}, defaults={"x": -2.0})}


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_a_search_in_two_sittings_is_the_search_in_one(tmp_path: Path, name: str) -> None:
    whole = search(tmp_path / "one", bowl, 16, families=FAMILIES, name=name, at_a_time=1)
    search(tmp_path / "two", bowl, 13, families=FAMILIES, name=name, at_a_time=1)
    again = search(tmp_path / "two", bowl, 16, families=FAMILIES, name=name, at_a_time=1)
    assert [record.draw for record in again.values()] == [record.draw for record in whole.values()]


def test_a_bound_and_two_objectives_lead_the_search(tmp_path: Path) -> None:
    goal = Goal(objectives=("wape", "latency_p99_ms"), bounds=(Bound(metric="latency_p99_ms", at_most=1.5),))
    records = search(tmp_path, bowl, 30, families=FAMILIES, goal=goal, name="tpe")
    kept = {number: each for number, each in records.items() if each.feasible}
    assert all((each.metrics["latency_p99_ms"] <= 1.5) == each.feasible for each in records.values())
    assert len(kept) > 15
    assert best_of(records) in kept.values()
    points = {number: (each.metrics["wape"], each.metrics["latency_p99_ms"]) for number, each in kept.items()}
    assert 1 < len(front(points)) < len(kept)


def hourly(rows: int = 700) -> Panel:
    hours = np.arange(rows)
    y = 10 + 3 * np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(0).normal(0, 0.3, rows)
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    frame = pd.DataFrame({"series_id": "a", "timestamp": times, "y": y})
    return Panel(frame, Schema(name="s", frequency="h", targets=(Column(name="y"),), season_length=24))


def forecasting(folds: int = 1, *, keep_state: bool = False) -> ForecastWork:
    panel = hourly()
    parts = FoldsSpec(count=folds).of(panel, chronological_split(panel))
    materials = tuple(Material.prepare(panel, fold, features=(), horizon=4) for fold in parts)
    return ForecastWork(materials=materials, keep_state=keep_state)


def test_a_model_that_is_bad_on_the_first_fold_is_stopped_there(tmp_path: Path) -> None:
    families = {
        "ridge": Family(space={}, fixed={"window": 48}, defaults={}),
        "seasonal_naive": Family(space={}, fixed={"season": 17}, defaults={}),
    }
    records = search(tmp_path, forecasting(3), 2, families=families, stopping=SuccessiveHalving(1), at_a_time=1)
    good, bad = records[0], records[1]
    assert (good.model, good.status.value, len(good.curve)) == ("ridge", "finished", 3)
    assert (bad.model, bad.status.value, len(bad.curve)) == ("seasonal_naive", "stopped", 1)
    assert good.score == good.curve[-1][1]


def test_a_population_of_networks_is_moved_to_its_better_half(tmp_path: Path) -> None:
    space: Space = {"learning_rate": Real(1e-5, 3e-2, log=True)}
    size = {"window": 24, "hidden": [4], "dense": 4, "stride": 4, "batch_size": 32, "max_epochs": 4}
    families = {
        "lstm": Family(space=space, fixed=size | {"precision": "float32"}, defaults={"learning_rate": 1e-5})
    }
    work = forecasting(keep_state=True)
    population = Population({"lstm": space}, ("learning_rate",), interval=1)
    records = search(tmp_path / "moved", work, 4, families=families, population=population, at_a_time=4)
    plain = search(tmp_path / "plain", work, 4, families=families, at_a_time=4)
    assert all(len(each.curve) >= 4 for each in records.values())  # a donor may be a step behind
    moved = [each for each in records.values() if each.moves]
    assert moved
    assert all(each.status.value == "finished" for each in records.values())
    scores, before = (sorted(each.score or np.inf for each in found.values()) for found in (records, plain))
    assert np.mean(scores) < np.mean(before)
