"""Experiments: who takes part, what the log says, and how they end; and a bandit that stays honest."""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.errors import ConfigError, GateRefused, UnknownNameError
from serve_deployments.experiments.analysis import MetricSpec, holm
from serve_deployments.experiments.assignment import Slot, free_slot, point
from serve_deployments.experiments.bandit import WeightedArms, thompson_shares
from serve_deployments.experiments.design import fixed_power, fixed_size, sequential_size
from serve_deployments.experiments.estimates import Estimate
from serve_deployments.experiments.experiment import Experiment, ExperimentSpec, Reading
from serve_deployments.experiments.exposure_log import Exposure, ExposureLog
from serve_deployments.experiments.machine import Begin, Experiments, Read, Stop, splits
from serve_deployments.experiments.normal_mixture import interval
from serve_deployments.experiments.reading import read
from serve_deployments.experiments.sample_ratio import log_evidence, mismatched

SOLD = MetricSpec(name="sold", kind="proportion", effect=0.03)


def spec(**more: Any) -> ExperimentSpec:
    fields: dict[str, Any] = {
        "id": "e", "model": "nox", "arms": {"1": 0.5, "2": 0.5}, "control": "1", "metrics": (SOLD,), "by": "ann"
    }  # fmt: skip
    return ExperimentSpec(**(fields | more))


class Visitors:
    """Users who come to an experiment and buy with a rate that depends on the arm."""

    def __init__(self, log_: ExposureLog, experiment: Experiment, rates: dict[str, float]) -> None:
        self.log, self.experiment, self.rates = log_, experiment, rates
        self.rng, self.seen = np.random.default_rng(1), 0

    def come(self, users: int) -> None:
        exposures, sold = [], {}
        for place in range(self.seen, self.seen + users):
            split = self.experiment.split()
            assert split is not None
            request, unit = f"r{place}", f"u{place}"
            arm = split.pick(request if split.unit == "request" else unit)
            exposures.append(
                Exposure(
                    request_id=request, experiment="e", arm=arm, unit=unit, phase=split.revision, at_s=float(place)
                )
            )
            if self.rng.random() < self.rates[arm]:
                sold[request] = {"sold": 1.0}
        self.log.expose(exposures)
        self.log.record_outcomes(sold)
        self.seen += users
        self.experiment.read(read(self.log, self.experiment), float(self.seen))


def ended(tmp_path: Path, rates: dict[str, float], looks: int = 12, users: int = 250, **more: Any) -> Experiment:
    experiment = Experiment(spec(**more), 0.0)
    visitors = Visitors(ExposureLog(tmp_path / "log.sqlite"), experiment, rates)
    for _ in range(looks):
        if experiment.ending is None:
            visitors.come(users)
            visitors.experiment = experiment = Experiment.from_json(json.loads(json.dumps(experiment.to_json())))
    return experiment


def test_a_better_arm_wins_and_the_end_says_by_how_much(tmp_path: Path) -> None:
    end = ended(tmp_path, {"1": 0.10, "2": 0.25})
    assert (end.ending, end.winner) == ("winner", "2")
    assert "sold of 2: 0.2" in end.detail and end.units["2"] >= 200
    assert end.split() is None


def test_if_all_others_are_worse_the_control_wins(tmp_path: Path) -> None:
    end = ended(tmp_path, {"1": 0.30, "2": 0.10})
    assert (end.ending, end.winner) == ("winner", "1")


def test_equal_arms_end_with_no_difference(tmp_path: Path) -> None:
    end = ended(tmp_path, {"1": 0.2, "2": 0.2}, max_units=800)
    assert (end.ending, end.winner) == ("no difference", None)


def test_a_fixed_horizon_is_judged_once(tmp_path: Path) -> None:
    end = ended(tmp_path, {"1": 0.10, "2": 0.30}, method="fixed", max_units=600, min_units=10)
    assert end.ending == "winner" and min(end.units.values()) >= 600


def test_a_broken_assignment_stops_it(tmp_path: Path) -> None:
    experiment = Experiment(spec(), 0.0)
    experiment.read(Reading(units={"1": 1200, "2": 900}), 1.0)
    assert experiment.ending == "stopped" and "sample ratio mismatch" in experiment.detail
    with pytest.raises(GateRefused, match="ended already"):
        experiment.stop("ann", "", 2.0)


def test_a_bandit_gives_the_better_arm_more_and_finds_it(tmp_path: Path) -> None:
    end = ended(
        tmp_path, {"1": 0.10, "2": 0.30, "3": 0.10}, arms={"1": 0.4, "2": 0.3, "3": 0.3}, bandit=True,
        unit="request", min_units=60,
    )  # fmt: skip
    assert (end.ending, end.winner) == ("winner", "2")
    assert end.units["2"] > end.units["1"]
    assert sum(end.shares.values()) == pytest.approx(1.0) and min(end.shares.values()) >= 0.1 - 1e-9


def test_weighted_scores_are_unbiased_where_plain_means_are_not() -> None:
    rng = np.random.default_rng(2)
    plain, scored, missed = [], [], 0
    for seed in range(300):
        arms, shares = WeightedArms(("a", "b")), {"a": 0.5, "b": 0.5}
        sums = np.zeros((2, 2))
        for _ in range(10):
            given = (rng.random(40) < shares["b"]).astype(np.int64)
            outcomes = rng.normal(0.0, 1.0, 40)
            arms.update(given, outcomes, shares)
            for place in (0, 1):
                sums[place] += (given == place).sum(), outcomes[given == place].sum()
            shares = thompson_shares({arm: arms.estimate(arm) for arm in arms.arms}, seed=seed, floor=0.1)
        plain.append(sums[:, 1] / sums[:, 0])
        scored.append([float(arms.estimate(arm).value) for arm in arms.arms])
        low, high = interval(arms.estimate("a"), alpha=0.05, scale=0.2)
        missed += not float(low) <= 0.0 <= float(high)
    assert abs(np.mean(scored)) < 0.5 * abs(np.mean(plain))
    assert missed <= 300 * 0.05


def test_thompson_shares_need_room_for_their_floor() -> None:
    known = Estimate(value=np.array(0.0), variance=np.array(1.0))
    with pytest.raises(ConfigError, match="floor"):
        thompson_shares({"a": known, "b": known}, seed=0, floor=0.6)
    with pytest.raises(ConfigError, match="above 0"):
        WeightedArms(("a",)).update(np.zeros(1, dtype=np.int64), np.zeros(1), {"a": 0.0})


def test_units_are_summed_before_they_count(tmp_path: Path) -> None:
    log_ = ExposureLog(tmp_path / "log.sqlite")
    shown = [("r1", "1", "ann"), ("r2", "1", "ann"), ("r3", "2", "bob"), ("r4", "2", "cy")]
    exposures = [
        Exposure(request_id=r, experiment="e", arm=a, unit=u, phase=1, at_s=float(place))
        for place, (r, a, u) in enumerate(shown)
    ]
    assert (log_.expose(exposures), log_.expose(exposures)) == (4, 0)
    log_.record_outcomes({"r1": {"spent": 3.0, "visits": 1.0}, "r2": {"spent": 4.0}})
    assert log_.record_outcomes({"r2": {"spent": 9.0}}) == 0
    log_.describe_units("e", {"ann": 2.5})
    found = log_.units("e", "spent", denominator="visits", only_known=False)
    assert log_.unit_counts("e") == {"1": 1, "2": 2}
    assert found["1"].values.tolist() == [7.0] and found["1"].denominators.tolist() == [1.0]
    assert found["1"].covariates.tolist() == [2.5] and np.isnan(found["2"].covariates).all()
    assert set(log_.units("e", "spent", only_known=True)) == {"1"}


@pytest.mark.parametrize(
    "metric",
    [
        MetricSpec(name="spent", kind="mean", effect=0.1, cuped=True),
        MetricSpec(name="spent", kind="ratio", effect=0.1),
        MetricSpec(name="spent", kind="latency", effect=0.1, higher_is_better=False),
    ],
)
def test_each_kind_of_metric_finds_its_effect(tmp_path: Path, metric: MetricSpec) -> None:
    experiment, log_ = Experiment(spec(metrics=(metric,)), 0.0), ExposureLog(tmp_path / "log.sqlite")
    rng, split = np.random.default_rng(3), experiment.split()
    assert split is not None
    exposures, spent, known = [], {}, {}
    better = 0.7 if metric.kind == "latency" else 1.5
    for place in range(600):
        unit = f"u{place}"
        arm, before = split.pick(unit), float(rng.gamma(4.0, 0.25))
        exposures.append(Exposure(request_id=unit, experiment="e", arm=arm, unit=unit, phase=1, at_s=float(place)))
        spent[unit] = {"spent": before * (better if arm == "2" else 1.0) * float(rng.gamma(20, 0.05))}
        known[unit] = before
    log_.expose(exposures)
    log_.record_outcomes(spent)
    log_.describe_units("e", known)
    experiment.read(read(log_, experiment), 1.0)
    assert (experiment.ending, experiment.winner) == ("winner", "2")


def test_experiments_of_a_model_do_not_overlap_and_the_same_twice_is_one() -> None:
    machine = Experiments()
    for name, share in (("a", 0.5), ("b", 0.3)):
        machine.apply(Begin(spec=spec(id=name), traffic=share), 0.0)
    machine.apply(Begin(spec=spec(id="a"), traffic=0.5), 1.0)
    machine.apply(Begin(spec=spec(id="other", model="co"), traffic=1.0), 1.0)
    with pytest.raises(GateRefused, match="ask for less"):
        machine.apply(Begin(spec=spec(id="c"), traffic=0.4), 1.0)
    with pytest.raises(ConfigError, match="other data"):
        machine.apply(Begin(spec=spec(id="a", alpha=0.01), traffic=0.5), 1.0)
    found = [split for split in splits(machine.to_json()) if split.model == "nox"]
    for unit in map(str, range(2000)):
        assert sum(split.covers(unit) for split in found) <= 1
    machine.apply(Stop(experiment="a", by="ann"), 2.0)
    machine.apply(Begin(spec=spec(id="c"), traffic=0.4), 3.0)
    machine.apply(Read(experiment="c", reading=Reading(units={"1": 1, "2": 1})), 4.0)
    with pytest.raises(UnknownNameError):
        machine.apply(Stop(experiment="d", by="ann"), 5.0)
    again = Experiments.from_json(json.loads(json.dumps(machine.to_json())))
    assert [split.owner for split in splits(again.to_json())] == ["b", "other", "c"]


def test_slots_fill_the_first_gap() -> None:
    assert free_slot([Slot(low=0.0, high=0.2), Slot(low=0.5, high=1.0)], 0.3) == Slot(low=0.2, high=0.5)
    with pytest.raises(ConfigError):
        free_slot([], 0.0)
    with pytest.raises(ConfigError):
        Slot(low=0.5, high=0.5)


def test_sample_ratios_are_watched_at_all_looks() -> None:
    rng, ever = np.random.default_rng(4), 0
    for _ in range(300):
        first = np.cumsum(rng.binomial(50, 0.3, 40))
        looks = [log_evidence([int(n), 50 * (k + 1) - int(n)], [0.3, 0.7]) for k, n in enumerate(first)]
        ever += max(looks) >= log(20)
    assert ever <= 300 * 0.05
    assert mismatched([5300, 4700], [0.5, 0.5]) and not mismatched([5050, 4950], [0.5, 0.5])


def test_sizes_and_power_fit_together() -> None:
    size = fixed_size(variance=0.1, effect=0.02)
    assert fixed_power(variance=0.1, effect=0.02, size=size) == pytest.approx(0.8, abs=0.001)
    assert fixed_power(variance=0.1, effect=1e-9, size=size) == pytest.approx(0.05, abs=0.001)
    assert 1.2 * size < sequential_size(variance=0.1, effect=0.02) < 3.0 * size
    with pytest.raises(ConfigError, match="design"):
        fixed_size(variance=0.1, effect=0.0)


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_sizes_are_those_of_the_textbook() -> None:
    # Two arms, two-sided 5 %, power 80 %, a standardised effect of 0.1: 1,570 an arm (Cohen 1988, table 2.4.1).
    assert fixed_size(variance=1.0, effect=0.1) == pytest.approx(1570, abs=1)


@pytest.mark.parametrize(
    "fields",
    [{"control": "9"}, {"metrics": ()}, {"min_units": 0}, {"bandit": True}, {"alpha": 1.0},
     {"arms": {"1": 0.4, "2": 0.4}}],
)  # fmt: skip
def test_experiments_that_are_none_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Experiment(spec(**fields), 0.0)


def test_a_metric_without_effect_is_refused() -> None:
    with pytest.raises(ConfigError, match="effect"):
        MetricSpec(name="m", kind="mean", effect=0.0)
    assert point("a", "u") != point("b", "u")
