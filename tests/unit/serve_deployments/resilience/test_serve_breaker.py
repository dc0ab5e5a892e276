"""A breaker's defaults, slow calls, late calls, and trial calls that never come back."""

from __future__ import annotations

import pytest

from cluster.clock import ManualClock
from cluster.errors import ConfigError
from serve_deployments.resilience.breaker import BreakerSpec, Circuit, CircuitBreaker, Permit


def permit(breaker: CircuitBreaker) -> Permit:
    found = breaker.ask().permit
    assert found is not None
    return found


def opened(clock: ManualClock, **spec: float) -> CircuitBreaker:
    breaker = CircuitBreaker(BreakerSpec(**spec), clock)  # type: ignore[arg-type]  # counts are whole
    for _ in range(breaker.spec.failures):
        breaker.record(permit(breaker), "RuntimeError: no")
    return breaker


def test_the_defaults_are_three_failures_thirty_seconds_ten_trials() -> None:
    spec = BreakerSpec()
    assert (spec.failures, spec.open_s, spec.half_open_calls) == (3, 30.0, 10)


def test_it_says_why_and_when_to_come_back() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(12.0)
    decision = breaker.ask()
    assert (decision.permit, decision.circuit) == (None, Circuit.OPEN)
    assert decision.reason == "RuntimeError: no"
    assert decision.retry_after_s == 18.0


def test_slow_calls_are_failures_though_they_answer() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(BreakerSpec(slow_s=0.5), clock)
    for _ in range(3):
        call = permit(breaker)
        clock.advance(0.8)
        breaker.record(call)
    assert breaker.circuit is Circuit.OPEN
    assert breaker.reason == "slow: took 0.8 s, expected at most 0.5 s"


def test_calls_of_an_earlier_era_say_nothing() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(BreakerSpec(failures=1, half_open_calls=2), clock)
    late, failing = permit(breaker), permit(breaker)
    breaker.record(failing, "broken")
    clock.advance(30)
    assert breaker.circuit is Circuit.HALF_OPEN
    breaker.record(late, "broken too, but begun before")
    assert breaker.circuit is Circuit.HALF_OPEN
    for _ in range(2):
        breaker.record(permit(breaker))
    assert breaker.ask().circuit is Circuit.CLOSED


def test_one_failed_trial_opens_it_for_another_while() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(30)
    breaker.record(permit(breaker))
    breaker.record(permit(breaker), "still broken")
    assert (breaker.circuit, breaker.reason) == (Circuit.OPEN, "still broken")
    assert breaker.ask().retry_after_s == 30


def test_trials_that_never_come_back_do_not_hold_it_half_open() -> None:
    clock = ManualClock()
    breaker = opened(clock)
    clock.advance(30)
    for _ in range(10):
        permit(breaker)
    assert breaker.ask().permit is None
    clock.advance(30)
    assert breaker.ask().permit is not None


def test_a_caller_who_leaves_gives_the_trial_back() -> None:
    clock = ManualClock()
    breaker = opened(clock, half_open_calls=1)
    clock.advance(30)
    trial = permit(breaker)
    assert breaker.ask().permit is None
    breaker.release(trial)
    breaker.record(permit(breaker))
    assert breaker.circuit is Circuit.CLOSED


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"open_s": 0.0}, {"half_open_calls": 0}, {"slow_s": -1.0}])
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="circuit breaker"):
        BreakerSpec(**wrong)  # type: ignore[arg-type]  # that is the test
