"""Batches follow what they cost: larger where company is cheap, no wait where nobody comes."""

from __future__ import annotations

import pytest

from serve_deployments.batch_policy import BatchPolicy


def learned(
    fixed_s: float, row_s: float, *, target_s: float = 0.05, max_size: int = 64, rest: float = 0.0
) -> BatchPolicy:
    policy = BatchPolicy(target_s=target_s, max_size=max_size)
    for rows in (1, 7, 3, 12, 5) * 10:
        took_s = fixed_s + row_s * rows
        policy.learn(rows, took_s, rest * took_s)
    return policy


def test_it_finds_what_is_fixed_and_what_grows() -> None:
    fixed, slope = learned(0.002, 0.0001).cost
    assert fixed == pytest.approx(0.002)
    assert slope == pytest.approx(0.0001)


def test_two_batches_fit_the_target() -> None:
    assert learned(0.001, 0.001).size == 24  # 2 x (1 ms + 24 x 1 ms) = 50 ms
    assert learned(0.001, 0.00001).size == 64


def test_batches_never_get_so_small_that_the_fixed_cost_rules() -> None:
    assert learned(0.040, 0.010).size in {31, 32}  # the target cannot be kept: a ninth of 360 ms is fixed
    assert learned(0.001, 0.100).size == 1


def test_an_idle_batcher_never_waits() -> None:
    decision = learned(0.005, 0.001).decide(1, 0.0, busy=False)
    assert (decision.wait_s, decision.reason) == (0.0, "idle")


def test_a_busy_one_waits_no_longer_than_company_saves() -> None:
    decision = learned(0.005, 0.001).decide(3, 0.0, busy=True)
    assert decision.reason == "deadline"
    assert decision.wait_s == pytest.approx(0.005)


def test_a_node_with_time_to_spare_does_not_wait() -> None:
    decision = learned(0.005, 0.001, rest=1.0).decide(3, 0.0, busy=True)
    assert (decision.wait_s, decision.reason) == (0.0, "idle")
    assert learned(0.005, 0.001, rest=1 / 3).decide(3, 0.0, busy=True).wait_s == pytest.approx(0.0025)


def test_nobody_waits_beyond_the_target() -> None:
    policy = learned(0.005, 0.001)
    assert policy.decide(3, 0.040, busy=True).wait_s == pytest.approx(0.002)  # 50 - 40 - (5 + 3) ms
    assert policy.decide(3, 0.049, busy=True).wait_s == 0.0


def test_a_full_batch_goes() -> None:
    decision = learned(0.001, 0.001).decide(24, 0.0, busy=True)
    assert (decision.size, decision.wait_s, decision.reason) == (24, 0.0, "full")


def test_batches_of_one_size_tell_nothing_to_wait_for() -> None:
    policy = BatchPolicy(target_s=0.05, max_size=64)
    assert policy.size == 64
    for _ in range(20):
        policy.learn(1, 0.003)
    assert policy.decide(1, 0.0, busy=True).wait_s == 0.0
    assert policy.size == 64


def test_it_forgets_how_it_was() -> None:
    policy = learned(0.005, 0.001)
    for rows in (1, 7, 3, 12, 5) * 100:
        policy.learn(rows, 0.001 + 0.0001 * rows)
    fixed, slope = policy.cost
    assert fixed == pytest.approx(0.001, rel=0.05)
    assert slope == pytest.approx(0.0001, rel=0.05)
