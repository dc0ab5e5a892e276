"""A search driven event by event, without Ray: order, budgets, stops, time-outs, losses, failures."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path

import pytest

from cluster.clock import ManualClock
from cluster.storage.files import Storage
from training.core.space import Choice, Real, Space
from tuning.budget import Budget
from tuning.conductor import EXHAUSTED, Conductor, TrialLimits
from tuning.crew import Assignment, Crew, Ended, Event, Lost, Reported, Started, Usage
from tuning.energy import EnergyModel
from tuning.journal import Journal
from tuning.ledger import Ledger
from tuning.population import FACTORS, Population
from tuning.proposer import Family, Proposer
from tuning.records import TrialStatus
from tuning.stopping import NeverStop, StopPolicy, SuccessiveHalving

Script = Mapping[int, list[Event]]
FINISHED = Ended(metrics={"wape": 0.5}, usage=Usage(cpu_s=2.0))


class ScriptedCrew(Crew):
    """Plays what is written for each trial; an event lets one second pass, silence the whole time-out."""

    def __init__(self, script: Script, clock: ManualClock) -> None:
        self.script, self.clock = {number: deque(events) for number, events in script.items()}, clock
        self.ready: deque[int] = deque()
        self.begun: list[int] = []
        self.assigned: list[Assignment] = []
        self.ended: list[int] = []
        self.stopped: list[int] = []
        self.most = 0

    def begin(self, assignment: Assignment) -> None:
        self.begun.append(assignment.number)
        self.assigned.append(assignment)
        self.ready.append(assignment.number)
        self.most = max(self.most, len(self.ready))

    def proceed(self, number: int, *, stop: bool) -> None:
        if stop:
            self.stopped.append(number)
            self.script[number] = deque([Ended()])

    def wait(self, timeout_s: float | None) -> tuple[int, Event] | None:
        for _ in range(len(self.ready)):
            number = self.ready.popleft()
            events = self.script.setdefault(number, deque([Started(), FINISHED]))
            self.ready.append(number)
            if events:
                self.clock.advance(1.0)
                event = events.popleft()
                if isinstance(event, Ended | Lost):
                    self.ready.remove(number)
                return number, event
        assert timeout_s is not None, "everybody is silent, and nobody has a time-out"
        self.clock.advance(timeout_s)
        return None

    def end(self, number: int) -> None:
        self.ended.append(number)
        self.ready.remove(number)

    def close(self) -> None:
        self.ready.clear()


class Hall:
    """A conductor with all it needs."""

    def __init__(
        self,
        folder: Path,
        script: Script,
        budget: Budget,
        *,
        space: Space | None = None,
        stopping: StopPolicy | None = None,
        limits: TrialLimits | None = None,
        max_concurrent: int = 2,
        population: Population | None = None,
    ) -> None:
        clock = ManualClock(1000.0)
        self.crew = ScriptedCrew(script, clock)
        families = {"m": Family(space=space or {"x": Real(0, 1)}, fixed={}, defaults={})}
        journal = Journal(Storage(str(folder)), "s")
        ended = journal.open({}).values()
        proposer = Proposer(families, search="random", seed=0, ended=ended)
        self.ledger = Ledger(ended=ended, proposer=proposer, journal=journal, energy=EnergyModel(), clock=clock)
        self.conductor = Conductor(
            proposer=proposer,
            ledger=self.ledger,
            crew=self.crew,
            stopping=stopping or NeverStop(),
            budget=budget,
            max_concurrent=max_concurrent,
            limits=limits,
            population=population,
            clock=clock,
        )

    def run(self) -> str:
        return self.conductor.run()

    def statuses(self) -> list[str]:
        return [self.ledger.ended[number].status.value for number in sorted(self.ledger.ended)]


def steps(*values: float) -> list[Event]:
    reports = [Reported(step=step, value=value) for step, value in enumerate(values, start=1)]
    return [Started(), *reports, FINISHED]


def test_as_many_trials_as_the_budget_has_two_at_a_time(tmp_path: Path) -> None:
    hall = Hall(tmp_path, {}, Budget(trials=5))
    assert hall.run() == "trials 5 of 5"
    assert hall.crew.begun == [0, 1, 2, 3, 4]
    assert hall.crew.most == 2
    assert hall.statuses() == ["finished"] * 5


def test_a_search_ends_where_every_point_was_tried(tmp_path: Path) -> None:
    hall = Hall(tmp_path, {}, Budget(trials=50), space={"c": Choice(("a", "b", "c"))})
    assert hall.run() == EXHAUSTED
    assert len(hall.ledger.ended) == 3


def test_a_bad_trial_is_stopped_at_its_report_and_its_cost_counts(tmp_path: Path) -> None:
    script: Script = {0: steps(0.1, 0.1), 1: [Started(), Reported(step=1, value=0.9), FINISHED]}
    hall = Hall(tmp_path, script, Budget(trials=2), stopping=SuccessiveHalving(1), max_concurrent=1)
    hall.crew.script[1] = deque([Started(), Reported(step=1, value=0.9)])
    hall.run()
    assert hall.statuses() == ["finished", "stopped"]
    assert hall.crew.stopped == [1]
    assert hall.ledger.spent().trials == 2


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(cpu_s=6.0), "cpu_s 6 of 6"),
        (Budget(energy_kwh=6.0 * 15 / 3.6e6), "energy_kwh 2.5e-05 of 2.5e-05"),
        (Budget(trials=9, co2e_kg=1e-6), "co2e_kg 3.94167e-06 of 1e-06"),
        (Budget(wall_s=4.0), "wall_s 4 of 4"),
    ],
    ids=["cpu", "energy", "carbon", "wall"],
)
def test_a_search_ends_at_the_bound_that_is_reached(tmp_path: Path, budget: Budget, reason: str) -> None:
    hall = Hall(tmp_path, {}, budget, max_concurrent=1)
    assert hall.run() == reason
    assert all(each.status is TrialStatus.FINISHED for each in hall.ledger.ended.values())


def test_a_trial_that_runs_when_the_clock_ends_is_ended_without_a_score(tmp_path: Path) -> None:
    hall = Hall(tmp_path, {1: [Started()]}, Budget(wall_s=10.0))
    assert hall.run().startswith("wall_s 1")
    assert 1 in hall.crew.ended
    assert hall.ledger.ended[1].status is TrialStatus.STOPPED
    assert 10.0 <= hall.ledger.ended[1].duration_s <= 11.0  # an event of another trial takes a second here


def test_a_trial_that_reports_when_another_bound_is_reached_is_stopped(tmp_path: Path) -> None:
    hall = Hall(tmp_path, {1: [Started(), Reported(step=1, value=0.5)]}, Budget(cpu_s=1.0))
    hall.crew.script[1] = deque([Started(), Reported(step=1, value=0.5), Reported(step=2, value=0.4)])
    hall.crew.script[0] = deque([FINISHED])
    hall.run()
    assert hall.crew.stopped == [1]


def test_a_trial_that_hangs_is_ended_and_the_search_goes_on(tmp_path: Path) -> None:
    hall = Hall(tmp_path, {1: [Started()]}, Budget(trials=4), limits=TrialLimits(timeout_s=30.0))
    hall.run()
    assert hall.statuses() == ["finished", "failed", "finished", "finished"]
    assert hall.ledger.ended[1].error == "the trial took longer than 30.0 s; its worker was ended"
    assert hall.crew.ended == [1]


def test_time_runs_from_when_a_worker_has_the_trial(tmp_path: Path) -> None:
    hall = Hall(tmp_path, {0: [Started()]}, Budget(trials=1), limits=TrialLimits(timeout_s=30.0))
    hall.run()
    assert hall.ledger.ended[0].duration_s == 31.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_report_that_is_no_number_fails_its_trial_alone(tmp_path: Path, value: float) -> None:
    hall = Hall(tmp_path, {0: [Started(), Reported(step=3, value=value)]}, Budget(trials=2))
    hall.run()
    assert hall.statuses() == ["failed", "finished"]
    assert hall.ledger.ended[0].error == f"the trial reported {value} at step 3"


def test_what_a_trial_raises_fails_it_alone(tmp_path: Path) -> None:
    hall = Hall(tmp_path, {0: [Started(), Ended(error="ValueError: no")]}, Budget(trials=3))
    hall.run()
    assert hall.statuses() == ["failed", "finished", "finished"]


def test_a_lost_trial_is_begun_again_and_given_up_at_the_second_loss(tmp_path: Path) -> None:
    class Twice(ScriptedCrew):
        def begin(self, assignment: Assignment) -> None:
            super().begin(assignment)
            if assignment.number == 0:
                self.script[0] = deque([Started(), Lost(reason="the node died")])
            if assignment.number == 1 and self.begun.count(1) == 1:
                self.script[1] = deque([Started(), Lost(reason="the node died")])
            elif assignment.number == 1:
                self.script[1] = deque([Started(), FINISHED])

    hall = Hall(tmp_path, {}, Budget(trials=3))
    hall.crew.__class__ = Twice
    hall.run()
    assert hall.statuses() == ["failed", "finished", "finished"]
    assert hall.ledger.ended[0].error == "the trial's worker was lost 2 times; the last time: the node died"
    assert (hall.ledger.ended[0].attempts, hall.ledger.ended[1].attempts) == (2, 2)


def test_a_search_goes_on_with_more_and_repeats_nothing(tmp_path: Path) -> None:
    Hall(tmp_path, {}, Budget(trials=3)).run()
    again = Hall(tmp_path, {}, Budget(trials=5))
    again.run()
    assert again.crew.begun == [3, 4]
    draws = [str(record.draw) for record in again.ledger.ended.values()]
    assert len(set(draws)) == 5


def test_a_trial_that_falls_behind_goes_on_from_a_better_ones_state(tmp_path: Path) -> None:
    def reports(value: float, state: str) -> list[Event]:
        return [Started(), Reported(step=1, value=value, state=state), FINISHED]

    script: Script = {number: reports(value, f"of {number}") for number, value in enumerate((0.2, 0.1, 0.3, 0.9))}
    population = Population({"m": {"x": Real(0, 1)}}, ("x",), interval=1)
    hall = Hall(tmp_path, script, Budget(trials=4), max_concurrent=4, population=population)
    begin = hall.crew.begin

    def scripted_begin(assignment: Assignment) -> None:
        begin(assignment)
        if assignment.state is not None:
            hall.crew.script[3] = deque([Started(), Reported(step=2, value=0.05), FINISHED])

    hall.crew.begin = scripted_begin  # type: ignore[method-assign]  # the crew's second act
    hall.run()
    moved = hall.ledger.ended[3]
    donor = hall.ledger.ended[1]
    assert hall.crew.assigned[-1].state == "of 1"
    assert moved.moves == ((1, 1),)
    assert moved.draw["x"] in [pytest.approx(min(donor.draw["x"] * factor, 1.0)) for factor in FACTORS]
    assert moved.params == {"x": moved.draw["x"]}
    assert moved.curve == ((1, 0.9), (2, 0.05))
    assert hall.statuses() == ["finished"] * 4


def test_a_trial_that_no_worker_took_in_time_leaves_no_record(tmp_path: Path) -> None:
    hall = Hall(tmp_path, {1: []}, Budget(wall_s=10.0))
    hall.run()
    assert 1 in hall.crew.ended
    assert 1 not in hall.ledger.ended
    assert Hall(tmp_path, {}, Budget(trials=len(hall.ledger.ended) + 1)).run().startswith("trials")
