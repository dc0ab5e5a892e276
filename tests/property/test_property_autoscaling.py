"""Whatever the load, the number of replicas keeps its bounds, and follows what it should follow."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ConfigError
from serve_deployments.scaling.forecast import Arrivals, RateForecast, RateSpec, Recent
from serve_deployments.scaling.policy import Load, ScalingPolicy, ScalingSpec

SPECS = st.builds(
    lambda low, more, target, slow: ScalingSpec(
        min_replicas=low, max_replicas=max(1, low + more), target_ongoing=target, slow_s=slow, idle_s=60
    ),
    st.integers(0, 5),
    st.integers(0, 20),
    st.floats(0.5, 50),
    st.sampled_from([math.inf, 0.5]),
)
LOADS = st.builds(
    Load,
    now_s=st.just(0.0),
    replicas=st.integers(0, 25),
    ongoing=st.floats(0, 1e4),
    arrived=st.just(0.0),
    service_s=st.floats(0.001, 1.0) | st.just(math.nan),
    latency_s=st.floats(0.0, 10.0) | st.just(math.nan),
)
QUICK = RateSpec(step_s=10, lead_s=20, params={"window": 12}, judged_steps=10, refit_steps=20)


@given(SPECS, LOADS)
def test_the_bounds_hold(spec: ScalingSpec, load: Load) -> None:
    decision = ScalingPolicy(spec).decide(load)
    assert spec.min_replicas <= decision.replicas <= spec.max_replicas
    assert decision.reason


@given(SPECS, LOADS, st.floats(0, 1e4))
def test_more_load_never_means_fewer_replicas(spec: ScalingSpec, load: Load, more: float) -> None:
    fewer = ScalingPolicy(spec).decide(load).replicas
    assert ScalingPolicy(spec).decide(replace(load, ongoing=load.ongoing + more)).replicas >= fewer


@given(LOADS)
def test_slowness_asks_for_more_than_there_are_at_most_twice(load: Load) -> None:
    spec = ScalingSpec(min_replicas=1, max_replicas=1000, target_ongoing=1e9, slow_s=0.5)
    replicas = ScalingPolicy(spec).decide(load).replicas
    here = max(1, load.replicas)
    if load.latency_s > 0.5:
        assert here < replicas <= 2 * here or replicas == pytest.approx(here)
    else:
        assert replicas == 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_it_sleeps_exactly_when_nothing_has_come_for_long_enough(arrivals: list[int]) -> None:
    spec = ScalingSpec(min_replicas=0, max_replicas=3, target_ongoing=2, idle_s=30)
    policy, arrived, idle_s = ScalingPolicy(spec), 0, 0.0
    for minute, count in enumerate([1, *arrivals]):
        arrived += count
        idle_s = 0.0 if count else idle_s + 10
        decision = policy.decide(Load(now_s=minute * 10.0, replicas=1, ongoing=0, arrived=arrived))
        assert (decision.replicas == 0) is (idle_s >= 30)
    assert policy.decide(Load(now_s=1e6, replicas=0, ongoing=1, arrived=arrived + 1)).replicas == 1


def wave(steps: int, seed: int = 0) -> list[float]:
    """Return requests in each step of 10 s: a season of 12 steps and its noise."""
    rng = np.random.default_rng(seed)
    return [float(rng.poisson(300 + 200 * math.sin(2 * math.pi * step / 12))) for step in range(steps)]


def fed(forecast: RateForecast, counts: list[float]) -> RateForecast:
    arrived = 0.0
    forecast.observe(0.0, 0.0)
    for step, count in enumerate(counts, start=1):
        arrived += count
        forecast.observe(10.0 * step, arrived)
    return forecast


def test_a_load_with_a_season_is_foreseen_and_adds_replicas_before_it_comes() -> None:
    counts = wave(12 * 20 + 10)  # just behind the trough, at the ninth step of twelve
    outlook = fed(RateForecast(QUICK), counts).outlook()
    assert outlook.used, outlook.reason
    assert outlook.rate_per_s == pytest.approx(30, rel=0.25)  # three steps later, at the mean again
    policy, load = foreseeing(counts)
    policy.decide(load)
    later = replace(load, now_s=load.now_s + 5, arrived=load.arrived + 5 * 12)  # 12 a second of late
    decision = policy.decide(later)
    assert decision.replicas == pytest.approx(2 + (outlook.rate_per_s - 12) * 0.2)
    assert decision.foreseen
    assert decision.reason.startswith("load: 2 inside, +")
    assert "; forecast used: recent error" in decision.reason


def foreseeing(counts: list[float]) -> tuple[ScalingPolicy, Load]:
    """Return a policy that has seen counts, and the load at their end."""
    spec = ScalingSpec(min_replicas=1, max_replicas=50, target_ongoing=1, headroom=0)
    load = Load(now_s=10.0 * len(counts), replicas=2, ongoing=2, arrived=sum(counts), service_s=0.2)
    return ScalingPolicy(spec, fed(RateForecast(QUICK), counts)), load


def test_a_fall_that_is_foreseen_takes_no_place_from_what_is_inside() -> None:
    counts = wave(12 * 20 + 4)  # just behind the peak
    policy, load = foreseeing(counts)
    policy.decide(load)
    decision = policy.decide(replace(load, now_s=load.now_s + 5, arrived=load.arrived + 5 * 100))
    assert decision.foreseen
    assert "inside, -" in decision.reason
    assert decision.replicas == 2


@given(st.floats(0, 1e4), st.floats(0, 5))
def test_headroom_is_the_root_of_what_is_inside(ongoing: float, headroom: float) -> None:
    spec = ScalingSpec(min_replicas=0, max_replicas=10**9, target_ongoing=1, headroom=headroom)
    replicas = ScalingPolicy(spec).decide(Load(now_s=0, replicas=0, ongoing=ongoing, arrived=0)).replicas
    assert replicas == pytest.approx(max(ongoing + headroom * math.sqrt(ongoing), 1.0 if ongoing else 0.0))


def test_without_headroom_and_forecast_it_is_the_rule_of_serve() -> None:
    from types import SimpleNamespace

    from ray.serve.autoscaling_policy import _core_replica_queue_length_policy as rule
    from ray.serve.config import AutoscalingConfig

    config = AutoscalingConfig(min_replicas=1, max_replicas=100, target_ongoing_requests=3)
    for ongoing in (3.0, 7.0, 100.0):
        context = SimpleNamespace(current_num_replicas=4, config=config, total_num_requests=ongoing)
        policy = ScalingPolicy(ScalingSpec(min_replicas=1, max_replicas=100, target_ongoing=3, headroom=0))
        ours = policy.decide(Load(now_s=0, replicas=4, ongoing=ongoing, arrived=0)).replicas
        assert ours == pytest.approx(rule(context)[0])


def test_a_clock_that_goes_back_delays_neither_sleep_nor_learning() -> None:
    spec = ScalingSpec(min_replicas=0, max_replicas=3, target_ongoing=2, idle_s=30)
    policy = ScalingPolicy(spec, RateForecast(QUICK))
    policy.decide(Load(now_s=1e6, replicas=1, ongoing=1, arrived=1))
    for now_s in range(0, 30, 10):
        assert policy.decide(Load(now_s=now_s, replicas=1, ongoing=0, arrived=1)).replicas == 1
    asleep = policy.decide(Load(now_s=30, replicas=1, ongoing=0, arrived=1))
    assert asleep.replicas == 0
    assert "not used: 3 steps of 10 s seen" in asleep.reason


def test_a_look_after_days_is_learned_at_once_and_judges_no_forecast() -> None:
    forecast = fed(RateForecast(replace(QUICK, kept_steps=1000)), wave(240))
    judged = list(forecast._judged)
    forecast.observe(2400.0 + 5 * 86_400, sum(wave(240)) + 1e6)
    assert len(forecast._rates) == 1000  # and not the 43,440 steps that passed
    assert forecast.outlook().rate_per_s == pytest.approx(1e6 / (5 * 86_400))
    assert list(forecast._judged) == judged


def test_what_was_a_season_before_is_known_ahead() -> None:
    rng, day = np.random.default_rng(3), 90
    shape = rng.uniform(5, 100, day)  # without a pattern inside the day
    spec = RateSpec(step_s=10, lead_s=20, seasons_s=(10.0 * day,), params={"window": 6, "covariates": True})
    spec = replace(spec, judged_steps=45, refit_steps=45)
    counts = [float(each) for each in rng.poisson(np.tile(shape, 5) * 10)]
    with_season, without = (fed(RateForecast(each), counts) for each in (spec, replace(spec, seasons_s=())))
    told = with_season.outlook()
    assert told.used, told.reason
    assert told.rate_per_s == pytest.approx(shape[:3].max(), rel=0.2)
    assert not without.outlook().used


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 7))
def test_the_recent_numbers_are_the_last_of_all(numbers: list[float], kept: int) -> None:
    recent = Recent(kept)
    for number in numbers:
        recent.append(number)
    assert len(recent) == min(kept, len(numbers))
    for before in range(len(recent)):
        expected = numbers[len(numbers) - len(recent) : len(numbers) - before]
        assert recent.last(len(recent) - before, before=before).tolist() == expected


def test_what_cannot_be_foreseen_is_not_used_and_it_says_so() -> None:
    rng = np.random.default_rng(1)
    noise = [float(each) for each in rng.lognormal(3, 1.5, 300)]
    outlook = fed(RateForecast(QUICK), noise).outlook()
    assert not outlook.used
    assert outlook.reason.startswith("not used: recent error")
    policy, load = foreseeing(noise)
    policy.decide(load)
    decision = policy.decide(replace(load, now_s=load.now_s + 5))
    assert (decision.replicas, decision.foreseen) == (2, False)
    assert "forecast not used: recent error" in decision.reason


def test_a_forecast_that_was_good_is_dropped_when_the_load_changes_its_ways() -> None:
    forecast = fed(RateForecast(QUICK), wave(240))
    assert forecast.outlook().used
    arrived, rng = sum(wave(240)), np.random.default_rng(2)
    for step in range(240, 260):
        arrived += float(rng.lognormal(5, 1.5))
        forecast.observe(10.0 * (step + 1), arrived)
    assert not forecast.outlook().used


def test_it_says_how_much_it_has_still_to_see() -> None:
    outlook = fed(RateForecast(QUICK), wave(5)).outlook()
    assert not outlook.used
    assert outlook.reason == "not used: 5 steps of 10 s seen, expected 30"


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 500)), min_size=1, max_size=60))
def test_no_arrival_is_lost_or_counted_twice_however_uneven_the_looks(looks: list[tuple[float, int]]) -> None:
    forecast = RateForecast(replace(QUICK, kept_steps=10_000))
    now_s = arrived = 0.0
    forecast.observe(now_s, arrived)
    for waited_s, count in looks:
        now_s, arrived = now_s + waited_s, arrived + count
        forecast.observe(now_s, arrived)
    closed = forecast._rates.last(len(forecast._rates)).sum() * QUICK.step_s
    assert closed <= arrived + 1e-6
    assert len(forecast._rates) * QUICK.step_s <= now_s < (len(forecast._rates) + 1) * QUICK.step_s + 1e-6


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)), max_size=30))
def test_the_sum_over_replicas_never_falls_and_loses_nothing(grown: list[dict[str, int]]) -> None:
    arrivals, counts, came = Arrivals(), dict[str, float](), 0.0
    for more in grown:
        for replica, count in more.items():
            counts[replica] = counts.get(replica, 0.0) + count
            came += count
        heard = {replica: counts[replica] for replica in more}  # the others are silent this time
        assert arrivals.update(heard) == came


def test_replicas_that_are_older_than_their_listener_bring_no_burst() -> None:
    arrivals = Arrivals()
    assert arrivals.update({"a": 1000.0}, settled=False) == 0
    assert arrivals.update({"a": 1010.0, "b": 500.0}, settled=False) == 10
    assert arrivals.update({"a": 1010.0, "b": 505.0, "new": 7.0}) == 22


@pytest.mark.parametrize(
    "wrong",
    [{"headroom": -1.0}, {"look_back_s": 0.0}, {"min_replicas": 3}, {"max_replicas": 0}, {"target_ongoing": 0}],
)
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    numbers = {"min_replicas": 0, "max_replicas": 2, "target_ongoing": 1.0}
    with pytest.raises(ConfigError, match="scaling"):
        ScalingSpec(**(numbers | wrong))  # type: ignore[arg-type]  # that is the test
