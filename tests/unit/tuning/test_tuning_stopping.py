"""Which trials go on: the policies, report by report."""

from __future__ import annotations

import pytest

from cluster.errors import ConfigError
from tuning.stopping import MedianStopping, NeverStop, StopPolicy, SuccessiveHalving, stop_policy


def judged(policy: StopPolicy, number: int, values: list[float], group: str = "m") -> int:
    """Return how many reports the trial made before it was stopped."""
    for made, value in enumerate(values, start=1):
        if policy.stops(number, group, value):
            return made
    return len(values)


def test_halving_lets_the_best_third_through_each_rung() -> None:
    policy = SuccessiveHalving(grace_reports=2, reduction=3)
    assert judged(policy, 0, [0.5] * 20) == 20  # the first at a rung is the best there
    assert judged(policy, 1, [0.6] * 20) == 2
    assert judged(policy, 2, [0.4] * 20) == 20
    assert judged(policy, 3, [0.45] * 20) == 2  # of four at the rung one goes on
    assert judged(policy, 4, [0.3, 0.3, 0.9, 0.9, 0.9, 0.9, 0.9]) == 6  # the next rung is at 2 * 3


def test_halving_compares_within_a_group_only() -> None:
    policy = SuccessiveHalving(grace_reports=1)
    assert judged(policy, 0, [0.1] * 5, "xgboost") == 5
    assert judged(policy, 1, [9.0] * 5, "lstm") == 5
    assert judged(policy, 2, [9.5] * 5, "lstm") == 1


def test_the_median_stops_who_is_worse_than_the_middle_of_the_others() -> None:
    policy = MedianStopping(grace_reports=2)
    for number, value in enumerate((0.2, 0.4, 0.6)):
        assert judged(policy, number, [value] * 6) == 6
    assert judged(policy, 3, [0.5] * 6) == 2
    assert judged(policy, 4, [0.9, 0.3, 0.9, 0.9]) == 4  # its best counts
    assert judged(policy, 5, [0.1] * 6) == 6


def test_without_a_policy_nobody_stops() -> None:
    assert judged(NeverStop(), 0, [9.0] * 50) == 50


def test_policies_have_names() -> None:
    found = [type(stop_policy(name, 1)) for name in ("halving", "median", "none")]
    assert found == [SuccessiveHalving, MedianStopping, NeverStop]
    with pytest.raises(ConfigError, match="'stopping': got 'asha', expected one of halving, median, none"):
        stop_policy("asha", 1)
