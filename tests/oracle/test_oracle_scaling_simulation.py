"""The simulation behind the autoscaling benchmark: Serve's own delays, and the queue of the textbook."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.autoscaling import cost, ratios
from benchmarks.autoscaling_loads import DAY, MEAN_RATE, SERVICE_S, STEP_S, KnownRate, Recording
from benchmarks.autoscaling_simulation import Delays, Site, simulate

WISHES = st.lists(st.integers(1, 6), min_size=1, max_size=60)


@settings(deadline=None)  # the first example imports Serve
@given(WISHES, st.sampled_from([0.0, 3.0]), st.sampled_from([0.0, 7.0]))
def test_wishes_are_followed_when_serve_follows_them(wanted: list[int], up_s: float, down_s: float) -> None:
    from ray.serve.autoscaling_policy import _apply_delay_logic
    from ray.serve.config import AutoscalingConfig

    config = AutoscalingConfig(min_replicas=1, max_replicas=6, upscale_delay_s=up_s, downscale_delay_s=down_s)
    delays, state, ours, theirs = Delays(up_s, down_s), dict[str, Any](), 3, 3
    for second, wish in enumerate(wanted):
        ours = delays.follow(wish, ours, float(second))
        theirs, state = _apply_delay_logic(wish, theirs, config, state, _now=float(second))
        assert ours == theirs


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_a_fixed_fleet_waits_as_erlang_says(load: float) -> None:
    replicas, service_s, count = 4, 1.0, 60_000
    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.exponential(service_s / (load * replicas), count))
    outcome = simulate(
        arrivals,
        rng.exponential(service_s, count),
        lambda _: float(replicas),
        Site(start_up_s=5.0, tick_s=100.0, look_back_s=100.0),
        replicas=replicas,
    )
    offered = load * replicas
    tail = offered**replicas / math.factorial(replicas) / (1 - load)
    waits = tail / (sum(offered**n / math.factorial(n) for n in range(replicas)) + tail)
    mean_s = service_s + waits * service_s / (replicas * (1 - load))
    assert outcome.waited_s.mean() == pytest.approx(mean_s, rel=0.04)
    assert outcome.replica_s == pytest.approx(replicas * (arrivals[-1] + 5), rel=0.01)


def test_a_replica_answers_first_when_it_has_started_and_costs_from_the_decision() -> None:
    arrivals = np.array([1.5, 1.6, 1.7])
    outcome = simulate(arrivals, np.full(3, 1.0), lambda _: 3.0, Site(start_up_s=0.5, look_back_s=1.0), replicas=1)
    # Two more are asked for at second 1 and answer from 1.5 on: nobody waits.
    np.testing.assert_allclose(outcome.waited_s, 1.0)
    assert outcome.replica_s == pytest.approx(1 * 1.0 + 3 * 1.7)


def test_curves_are_compared_at_equal_cost_and_only_where_something_is_late() -> None:
    baseline = [(100.0, 1e-1), (200.0, 1e-3), (150.0, 5e-1), (300.0, 0.0)]  # the third is no better than the first
    half = [(cost, late / 2) for cost, late in baseline]
    assert ratios(baseline[:2], half[:2], 1e-6) == pytest.approx(0.5)
    assert ratios(baseline, baseline, 1e-6) == pytest.approx(1.0)
    shifted = [(cost - 50, late) for cost, late in baseline]
    cheaper = ratios(baseline, shifted, 1e-6)
    assert cheaper.max() <= 1
    assert np.median(cheaper) < 0.5
    assert ratios(shifted, baseline, 1e-6) == pytest.approx(1 / cheaper)
    assert ratios([(100.0, 0.0), (200.0, 0.0)], [(100.0, 0.0), (200.0, 0.0)], 1e-6).tolist() == [1.0]
    assert (cost(baseline, 1e-2), cost(baseline[:1], 1e-2)) == (200.0, math.inf)


def test_who_knows_the_rate_sees_its_highest_within_the_lead() -> None:
    known = KnownRate(np.array([1.0, 5.0, 2.0, 9.0]), lead_s=2 * STEP_S)
    told = []
    for step in range(5):
        known.observe(step * STEP_S, 0.0)
        told.append(known.outlook().rate_per_s)
    assert told == [5.0, 9.0, 9.0, 9.0, 9.0]


def test_a_recording_is_drawn_with_its_rates_and_another_number_draws_another() -> None:
    rates = np.tile([0.5, 1.5], DAY)
    made = Recording(name="made", rates=lambda: rates, periods=((1, 1.5),), learned_days=1)
    times, work = made.stream(0, 0)
    assert times[-1] <= DAY / 2 * STEP_S
    assert len(times) == pytest.approx(DAY / 2 * STEP_S * MEAN_RATE, rel=0.02)
    assert (np.diff(times) >= 0).all()
    assert work.mean() == pytest.approx(SERVICE_S, rel=0.02)
    late = (times // STEP_S).astype(int) % 2 == 1
    assert late.mean() == pytest.approx(0.75, abs=0.01)
    assert len(made.stream(0, 1)[0]) != len(times)
    assert made.past(0).mean() == pytest.approx(MEAN_RATE * STEP_S, rel=0.02)
