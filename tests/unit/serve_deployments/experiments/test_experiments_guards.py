"""An arm that does harm is taken out by the guardrails of rollouts; equal arms stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serve_deployments.experiments.analysis import MetricSpec, compare
from serve_deployments.experiments.estimates import Estimate
from serve_deployments.experiments.experiment import PHASE_UNITS, Experiment, ExperimentSpec, Reading
from serve_deployments.experiments.guards import ArmGuards
from serve_deployments.experiments.machine import Begin, Experiments, Look
from serve_deployments.rollout.board import SplitBoard
from serve_deployments.rollout.judge import JudgeSpec
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.traffic import Traffic

SOLD = MetricSpec(name="sold", kind="proportion", effect=0.03)
THREE = {"1": 0.5, "2": 0.25, "3": 0.25}
Answer = Callable[[np.random.Generator, str], dict[str, Any]]


def spec(**more: Any) -> ExperimentSpec:
    fields: dict[str, Any] = {"id": "e", "model": "nox", "arms": THREE, "control": "1", "metrics": (SOLD,)}
    return ExperimentSpec(**(fields | more))


def fine(rng: np.random.Generator, arm: str) -> dict[str, Any]:
    return {"duration_s": float(rng.lognormal(-3.0, 0.3)), "failed": bool(rng.random() < 0.01)}


class Place:
    """Replicas, a board and the durable experiments; users come, the controller looks."""

    def __init__(self, **more: Any) -> None:
        self.machine, self.board, self.traffic = Experiments(), SplitBoard(), Traffic()
        self.rng, self.now_s = np.random.default_rng(1), 0.0
        self.machine.apply(Begin(spec=spec(**more), traffic=1.0), 0.0)

    @property
    def experiment(self) -> Experiment:
        return Experiment.from_json(json.loads(json.dumps(self.machine.to_json()["e"])))

    def look(self, answer: Answer, requests: int = 100) -> Experiment:
        split = self.experiment.split()
        assert split is not None
        self.now_s += 1.0
        for place in range(requests):
            arm = split.pick(f"{self.now_s}-{place}")
            for key, side in split.tallies(arm) if arm not in split.dropped else []:
                self.traffic.tally(split, key).answered(side, **answer(self.rng, arm))
        batch = self.traffic.batch()
        self.traffic.answered(self.board.exchange("replica", batch.number, batch.tallies))
        epoch, counts = self.board.counts()
        self.machine.apply(Look(experiment="e", epoch=epoch, tallies=counts.get("e", {})), self.now_s)
        return self.experiment


def test_an_arm_that_fails_is_taken_out_and_the_others_go_on() -> None:
    place = Place()
    for _ in range(40):
        seen = place.look(
            lambda rng, arm: fine(rng, arm) | {"failed": bool(rng.random() < (0.2 if arm == "3" else 0.01))}
        )
    assert seen.ending is None and list(seen.dropped) == ["3"]
    assert seen.dropped["3"].startswith("error_rate: new 0.")
    assert seen.arms == pytest.approx({"1": 2 / 3, "2": 1 / 3})
    split = seen.split()
    assert split is not None and split.dropped == ("3",) and dict(split.arms) == THREE
    seen.read(Reading(units={"1": 2000, "2": 1000, "3": 100}), 99.0)
    assert seen.ending is None, "units of an arm that was taken out are no mismatch"


def test_the_last_arm_that_is_slow_ends_the_experiment() -> None:
    place = Place(arms={"1": 0.5, "2": 0.5})
    for _ in range(60):
        seen = place.look(lambda rng, arm: {"duration_s": 0.5 if arm == "2" else 0.02, "failed": False})
        if seen.ending:
            break
    assert seen.ending == "stopped" and seen.split() is None
    assert "2 does harm: latency_p95" in seen.detail and seen.findings["2"]
    assert place.machine.to_json()["e"]["guards"] is None


def test_a_bandit_ends_where_an_arm_does_harm() -> None:
    place = Place(bandit=True, unit="request")
    for _ in range(40):
        seen = place.look(lambda rng, arm: fine(rng, arm) | {"failed": arm == "3"})
        if seen.ending:
            break
    assert seen.ending == "stopped" and "3 does harm: error_rate" in seen.detail


def test_equal_arms_are_left_alone() -> None:
    place = Place()
    for _ in range(40):
        seen = place.look(fine)
    assert seen.ending is None and seen.dropped == {}
    assert set(seen.findings) == {"2", "3"}


def test_arms_share_the_chance_of_a_false_alarm() -> None:
    guards = ArmGuards(JudgeSpec(alpha=0.06), list(THREE), "1")
    assert {judge.spec.alpha for judge in guards._judges.values()} == {0.03}


def test_counts_that_began_anew_are_not_subtracted() -> None:
    place = Place(arms={"1": 0.5, "2": 0.5})
    place.look(fine)
    place.board = SplitBoard()
    seen = place.look(fine)
    error = next(each for each in seen.findings["2"] if each["guardrail"] == "error_rate")
    assert error["new"] >= 0.0 and seen.guards.to_json()["epoch"] == place.board.epoch


def test_comparisons_that_were_planned_still_count_when_an_arm_is_gone() -> None:
    arms = {
        "1": Estimate(value=np.array(0.10), variance=np.array(1e-4)),
        "2": Estimate(value=np.array(0.13), variance=np.array(1e-4)),
    }
    alone, of_two = (
        compare(SOLD, arms, {"1": 9, "2": 9}, control="1", alpha=0.05, method="fixed", planned=planned)[0]
        for planned in (1, 2)
    )
    assert of_two.p_value == pytest.approx(2 * alone.p_value)
    assert of_two.low < alone.low < alone.high < of_two.high


def test_a_bandit_keeps_few_phases_however_often_one_looks() -> None:
    experiment = Experiment(spec(bandit=True, unit="request", max_units=10**9), 0.0)
    for units in range(0, 30_000, 10):
        experiment.read(Reading(units=dict.fromkeys(THREE, units), shares=THREE), float(units))
    assert 20 < experiment.phase < 100
    assert experiment.phase_units > PHASE_UNITS


def test_an_answer_counts_against_the_control_or_for_it_against_each_arm() -> None:
    split = Split(model="nox", owner="e", revision=4, salt="e", arms=THREE, exposed=True, control="1")
    assert split.tallies("2") == [("4/2", "new")]
    assert split.tallies("1") == [("4/2", "old"), ("4/3", "old")]
    assert Split.from_json(json.loads(json.dumps(split.to_json()))).tallies("1") == split.tallies("1")
