"""Objectives, bounds, Pareto fronts and budgets, and how bad ones are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ConfigError, HeliotropeError, UnknownNameError
from tuning.budget import Budget, budget_of
from tuning.energy import EnergyModel
from tuning.goal import Bound, Goal, front
from tuning.spent import Spent


def test_a_bound_is_read_and_its_excess_is_a_share() -> None:
    bound = Bound.parse("latency_p99_ms <= 5")
    assert bound == Bound(metric="latency_p99_ms", at_most=5.0)
    assert bound.excess({"latency_p99_ms": 6.0}) == pytest.approx(0.2)
    assert bound.excess({"latency_p99_ms": 5.0}) == 0.0


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Goal(objectives=("wpae",)), UnknownNameError, r"unknown objective 'wpae'.*Did you mean 'wape'"),
        (lambda: Goal(objectives=()), ConfigError, "objectives: got none, expected one or more"),
        (lambda: Goal(objectives=("wape", "wape")), ConfigError, "each once"),
        (lambda: Goal(bounds=(Bound(metric="latency", at_most=5),)), UnknownNameError, "'latency'"),
        (lambda: Bound.parse("latency_p99_ms=5"), ConfigError, "got 'latency_p99_ms=5', expected METRIC<=NUMBER"),
        (lambda: Bound.parse("latency_p99_ms<=5-"), ConfigError, "expected METRIC<=NUMBER"),
        (Budget, ConfigError, "a budget bounds something: got nothing, expected one of trials, wall_s"),
        (lambda: Budget(trials=0), ConfigError, "'trials': got 0, expected a whole number, at least 1"),
        (lambda: Budget(wall_s=0.0), ConfigError, "'wall_s': got 0.0, expected a finite number, above 0"),
        (lambda: Budget(cpu_s=-1.0), ConfigError, "'cpu_s': got -1.0"),
        (lambda: Budget(co2e_kg=float("nan")), ConfigError, "'co2e_kg': got nan"),
        (lambda: budget_of("fast"), UnknownNameError, "balanced, quick, thorough|quick, balanced, thorough"),
        (lambda: EnergyModel(cpu_power_w=-1.0), ConfigError, "'cpu_power_w': got -1.0"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], kind: type[HeliotropeError], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_a_preset_takes_free_bounds() -> None:
    assert budget_of("quick") == Budget(trials=12, wall_s=120)
    assert budget_of("quick", trials=3, cpu_s=None) == Budget(trials=3, wall_s=120)


def test_the_scarcest_bound_says_how_far_a_search_is() -> None:
    budget = Budget(trials=10, cpu_s=100.0)
    assert budget.share(Spent(trials=5, cpu_s=80.0)) == 0.8
    assert budget.share(Spent(trials=12)) == 1.0
    assert budget.reached(Spent(trials=9, cpu_s=99.0)) is None


def test_the_front_has_what_nobody_beats() -> None:
    points = {0: (1.0, 5.0), 1: (2.0, 2.0), 2: (3.0, 1.0), 3: (3.0, 3.0), 4: (2.0, 2.0), 5: (1.0, 6.0)}
    assert front(points) == (0, 1, 2, 4)


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=30))
def test_every_point_is_on_the_front_or_beaten_by_one_that_is(values: list[tuple[int, ...]]) -> None:
    points = {at: tuple(map(float, value)) for at, value in enumerate(values)}
    chosen = front(points)

    def beats(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
        return left != right and all(a <= b for a, b in zip(left, right, strict=True))

    for at, point in points.items():
        rivals = [points[other] for other in chosen]
        assert (at in chosen) != any(beats(rival, point) for rival in rivals)
