"""Whatever happens to its calls, a breaker lets few of them to a failing model, and finds back to a good one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cluster.clock import ManualClock
from serve_deployments.resilience.breaker import BreakerSpec, Circuit, CircuitBreaker, Permit

SPECS = st.builds(
    BreakerSpec,
    failures=st.integers(1, 4),
    open_s=st.sampled_from([1.0, 30.0]),
    half_open_calls=st.integers(1, 10),
    slow_s=st.just(5.0),
)


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin, end well, end badly, are left, and time passes, in any order."""

    @initialize(spec=SPECS)
    def start(self, spec: BreakerSpec) -> None:
        self.clock, self.spec = ManualClock(100.0), spec
        self.breaker = CircuitBreaker(spec, self.clock)
        self.out: list[Permit] = []
        self.trials: dict[int, int] = {}

    @rule()
    def ask(self) -> None:
        circuit, decision = self.breaker.circuit, self.breaker.ask()
        assert decision.circuit is circuit
        if circuit is Circuit.CLOSED:
            assert decision.permit is not None
        if circuit is Circuit.OPEN:
            assert decision.permit is None
            assert 0 <= decision.retry_after_s <= self.spec.open_s
            assert decision.reason
        if decision.permit is not None:
            self.out.append(decision.permit)
            if circuit is Circuit.HALF_OPEN:
                era = decision.permit.era
                self.trials[era] = self.trials.get(era, 0) + 1
                assert self.trials[era] <= self.spec.half_open_calls
        elif circuit is Circuit.HALF_OPEN:
            assert decision.retry_after_s > 0

    @rule(data=st.data(), fault=st.sampled_from(["", "broken"]), subject=st.sampled_from([None, 1, 2]))
    def record(self, data: st.DataObject, fault: str, subject: int | None) -> None:
        if self.out:
            permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
            self.breaker.record(permit, fault, subject)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.out:
            permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
            if permit.era in self.trials:
                self.trials[permit.era] -= 1
            self.breaker.release(permit)

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def tells_why(self) -> None:
        if hasattr(self, "breaker"):
            assert (self.breaker.reason == "") == (self.breaker.circuit is Circuit.CLOSED)


TestBreakerMachine = BreakerMachine.TestCase


@given(SPECS)
def test_failures_in_a_row_open_it_and_good_trials_close_it(spec: BreakerSpec) -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(spec, clock)
    for _ in range(spec.failures):
        assert breaker.circuit is Circuit.CLOSED
        breaker.record(_permit(breaker), "broken")
    assert breaker.ask().permit is None
    clock.advance(spec.open_s)
    for _ in range(spec.half_open_calls):
        assert breaker.circuit is Circuit.HALF_OPEN
        breaker.record(_permit(breaker))
    assert breaker.circuit is Circuit.CLOSED


@given(SPECS, st.integers(1, 50))
def test_one_strange_input_opens_nothing(spec: BreakerSpec, times: int) -> None:
    breaker = CircuitBreaker(BreakerSpec(failures=spec.failures + 1), ManualClock())
    for _ in range(times):
        breaker.record(_permit(breaker), "not finite", subject="the same request")
    assert breaker.circuit is Circuit.CLOSED


@given(st.integers(2, 5), st.lists(st.booleans(), min_size=1, max_size=60))
def test_it_opens_exactly_at_the_first_run_of_failures(failures: int, fine: list[bool]) -> None:
    breaker, run = CircuitBreaker(BreakerSpec(failures=failures), ManualClock()), 0
    for well in fine:
        breaker.record(_permit(breaker), "" if well else "broken")
        run = 0 if well else run + 1
        if run == failures:
            assert breaker.circuit is Circuit.OPEN
            return
    assert breaker.circuit is Circuit.CLOSED


def _permit(breaker: CircuitBreaker) -> Permit:
    permit = breaker.ask().permit
    assert permit is not None
    return permit
