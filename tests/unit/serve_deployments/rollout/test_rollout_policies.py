"""Rollout policies: ladders that are climbed one step at a time, and splits that keep units where they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ConfigError, GateRefused, UnknownNameError
from serve_deployments.experiments.assignment import point
from serve_deployments.rollout.decision import Advance, Hold, Promote, Rollback
from serve_deployments.rollout.policies import POLICIES, build_policy, check_allowed
from serve_deployments.rollout.policy import Observation
from serve_deployments.rollout.split import Split

ENOUGH: dict[str, Any] = {"stage_s": 1e9, "new_requests": 10**9, "pairs": 10**9}

observations = st.builds(
    Observation,
    stage=st.just(0),
    stage_s=st.floats(0, 5000),
    new_requests=st.integers(0, 5000),
    pairs=st.integers(0, 5000),
    breaches=st.lists(st.text(min_size=1), max_size=2).map(tuple),
    faults=st.lists(st.text(min_size=1), max_size=1).map(tuple),
)


@pytest.mark.parametrize("name", POLICIES)
@given(seen=st.lists(observations, min_size=1, max_size=40))
def test_no_stage_is_skipped_and_decisions_depend_on_the_observation_alone(
    name: str, seen: list[Observation]
) -> None:
    policy, again, stage = build_policy(name), build_policy(name), 0
    for each in seen:
        here = Observation(**{**each.__dict__, "stage": stage})
        decision = policy.decide(here)
        assert decision == again.decide(here)
        if isinstance(decision, Rollback):
            assert here.breaches or here.faults
            return
        assert not (here.breaches or here.faults)
        if isinstance(decision, Advance):
            stage += 1
            assert decision.weight == policy.stages[stage].weight
        if isinstance(decision, Promote):
            assert stage == len(policy.stages) - 1
            return


@pytest.mark.parametrize("name", POLICIES)
def test_with_all_evidence_each_policy_climbs_to_promotion(name: str) -> None:
    policy = build_policy(name)
    decisions = [policy.decide(Observation(stage=stage, **ENOUGH)) for stage in range(len(policy.stages))]
    assert [type(each) for each in decisions] == [Advance] * (len(policy.stages) - 1) + [Promote]
    assert [stage.weight for stage in policy.stages][-1] == 1.0
    assert build_policy(**policy.to_json()) == policy


def test_a_canary_waits_for_time_and_for_evidence_and_says_so() -> None:
    policy = build_policy("canary")
    assert [stage.weight for stage in policy.stages] == [0.05, 0.10, 0.25, 0.50, 1.0]
    few = policy.decide(Observation(stage=0, stage_s=700.0, new_requests=10))
    early = policy.decide(Observation(stage=0, stage_s=10.0, new_requests=5000))
    assert few == Hold(waiting_for="10 of 1000 requests")
    assert early == Hold(waiting_for="10 of 600 s")


def test_blue_green_looks_before_it_switches_at_once() -> None:
    policy = build_policy("blue_green")
    assert [stage.weight for stage in policy.stages] == [0.0, 1.0]
    assert isinstance(policy.decide(Observation(stage=0, stage_s=1e6, pairs=999)), Hold)


def test_immediate_is_refused_outside_development_unless_somebody_answers_for_it() -> None:
    policy = build_policy("immediate")
    check_allowed(policy, profile="development", forced_because="")
    check_allowed(policy, profile="production", forced_because="the old version leaks")
    check_allowed(build_policy("canary"), profile="production", forced_because="")
    with pytest.raises(GateRefused, match="production"):
        check_allowed(policy, profile="production", forced_because=" ")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("canary", {"weights": [0.5, 0.1, 1.0]}), ("canary", {"weights": [0.5]}), ("canary", {"wait": 1}),
     ("rolling", {"steps": 1}), ("blue_green", {"shadow": 2.0})],
)  # fmt: skip
def test_ladders_that_are_none_are_refused(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        assert build_policy(name, parameters).stages


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(UnknownNameError, match="canary"):
        build_policy("canari")


def split(weight: float, **more: object) -> Split:
    fields = {"model": "nox", "owner": "r", "revision": 1, "salt": "s", "arms": {"2": weight, "1": 1 - weight}}
    return Split(**{**fields, **more})  # type: ignore[arg-type]  # a test's shorthand


@given(low=st.floats(0, 1), high=st.floats(0, 1), unit=st.text(max_size=30), salt=st.text(min_size=1, max_size=80))
def test_a_unit_that_has_the_new_version_keeps_it_as_the_weight_grows(
    low: float, high: float, unit: str, salt: str
) -> None:
    low, high = sorted((low, high))
    assert split(low, salt=salt).pick(unit) == split(low, salt=salt).pick(unit)
    if split(low, salt=salt).pick(unit) == "2":
        assert split(high, salt=salt).pick(unit) == "2"


def test_weights_are_kept_and_salts_divide_independently() -> None:
    units = [f"plant-{place}" for place in range(20_000)]
    first, second = ([split(0.25, salt=salt).pick(unit) == "2" for unit in units] for salt in ("a", "b"))
    both = sum(x and y for x, y in zip(first, second, strict=True)) / len(units)
    assert sum(first) / len(units) == pytest.approx(0.25, abs=0.01)
    assert both == pytest.approx(0.25**2, abs=0.006)


def test_nobody_gets_a_version_of_weight_zero() -> None:
    assert {split(0.0).pick(str(unit)) for unit in range(1000)} == {"1"}
    assert {split(1.0).pick(str(unit)) for unit in range(1000)} == {"2"}


def test_the_live_share_counts_requests_that_only_one_version_answers() -> None:
    assert split(0.2).live_share == pytest.approx(0.2)
    shadowed = split(0.2, shadow="2", shadow_ratio=0.5)
    units = [str(place) for place in range(20_000)]
    alone = [shadowed.pick(u) for u in units if not shadowed.copied(u, shadowed.pick(u))]
    assert alone.count("2") / len(alone) == pytest.approx(shadowed.live_share, abs=0.01)
    assert [split(weight).live_share for weight in (0.0, 1.0)] == [None, None]
    assert split(0.2, shadow="2", shadow_ratio=1.0).live_share is None


@pytest.mark.parametrize("more", [{"arms": {"1": 0.5}}, {"unit": "ip"}, {"salt": ""}, {"shadow_ratio": 2.0}])
def test_splits_that_are_none_are_refused(more: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="split of 'nox'"):
        split(0.5, **more)


def test_points_are_the_same_in_every_process() -> None:
    assert point("salt", "plant-1") == pytest.approx(0.003252610775769488, rel=1e-12)
