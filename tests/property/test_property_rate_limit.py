"""Never more than burst + rate * t, never a refusal below: for one bucket, and shared by replicas."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.clock import ManualClock
from cluster.security.leases import Leases
from cluster.security.quota import Bucket, Quota

QUOTAS = st.builds(Quota, per_minute=st.integers(1, 6000), burst=st.integers(1, 40))
GAPS_MS = st.lists(st.integers(0, 3000), min_size=1, max_size=60)
KEY = "key"


class Truth:
    """A token bucket in exact fractions: the slow twin."""

    def __init__(self, quota: Quota, burst: int) -> None:
        self.rate, self.burst = Fraction(quota.per_minute, 60), Fraction(burst)
        self.level, self.at_s = self.burst, Fraction(0)

    def at(self, now_s: Fraction) -> Fraction:
        self.level = min(self.burst, self.level + self.rate * (now_s - self.at_s))
        self.at_s = now_s
        return self.level


def windows_hold(times_s: Sequence[Fraction], quota: Quota, beyond: int) -> bool:
    """Say whether no window of any two admissions holds more than burst + rate * t + beyond."""
    rate = Fraction(quota.per_minute, 60)
    return all(
        last - first + 1 <= quota.burst + rate * (times_s[last] - times_s[first]) + beyond
        for first in range(len(times_s))
        for last in range(first, len(times_s))
    )


@given(quota=QUOTAS, gaps_ms=GAPS_MS)
def test_a_bucket_is_the_token_bucket_exactly(quota: Quota, gaps_ms: list[int]) -> None:
    clock, truth, now_ms = ManualClock(), Truth(quota, quota.burst), 0
    bucket = Bucket(quota, clock)
    admitted = []
    for gap_ms in gaps_ms:
        now_ms += gap_ms
        clock.advance(now_ms / 1000 - clock.now_s())
        level = truth.at(Fraction(now_ms, 1000))
        granted = bucket.lease(KEY).granted
        assert granted == (level >= 1)
        truth.level -= granted
        admitted += [Fraction(now_ms, 1000)] * granted
    assert windows_hold(admitted, quota, 0)


@given(quota=QUOTAS, taken=st.integers(1, 60), ahead_ms=st.integers(0, 500))
def test_who_waits_as_told_is_admitted_and_a_moment_before_is_not(quota: Quota, taken: int, ahead_ms: int) -> None:
    clock = ManualClock()
    bucket = Bucket(quota, clock)
    bucket.lease(KEY, taken)
    clock.advance(ahead_ms / 1000)
    bucket.lease(KEY, quota.burst)
    told = bucket.lease(KEY)
    assert told.granted == 0
    clock.advance(told.wait_s - 1e-6)
    assert bucket.lease(KEY).granted == 0
    clock.advance(2e-6)
    assert bucket.lease(KEY).granted == 1


class Replica:
    """What RateLimit does, without asyncio: spend, else ask, and ask again before it runs out."""

    def __init__(self, bucket: Bucket, clock: ManualClock, chunk: int) -> None:
        self.bucket, self.leases = bucket, Leases(bucket.quota, clock, chunk=chunk)

    def admits(self) -> bool:
        decision = self.leases.spend(KEY)
        if decision is None:
            self.ask()
            decision = self.leases.spend(KEY)
        admitted = decision is not None and decision.admitted
        if admitted and self.leases.wanted(KEY):
            self.ask()
        return admitted

    def ask(self) -> None:
        self.leases.deposit(KEY, self.bucket.lease(KEY, max(1, self.leases.wanted(KEY))))


@settings(max_examples=300)
@given(
    quota=st.builds(Quota, per_minute=st.integers(1, 6000), burst=st.integers(1, 20)),
    chunk=st.integers(1, 6),
    replicas=st.integers(1, 5),
    runs=st.lists(
        st.tuples(st.sampled_from((0, 0, 0, 1, 7, 60_000)), st.integers(0, 4), st.integers(1, 12)), max_size=25
    ),
)
def test_replicas_together_stay_within_the_stated_bounds(
    quota: Quota, chunk: int, replicas: int, runs: list[tuple[int, int, int]]
) -> None:
    clock, now_ms = ManualClock(), 0
    bucket = Bucket(quota, clock)
    houses = [Replica(bucket, clock, chunk) for _ in range(replicas)]
    # What is promised whatever the replicas hold back; nothing where they may hold all of it.
    promised = Truth(quota, max(0, quota.burst - (replicas - 1) * chunk))
    admitted = []
    for gap_ms, where in [(gap * (turn == 0), where) for gap, where, count in runs for turn in range(count)]:
        now_ms += gap_ms
        clock.advance(now_ms / 1000 - clock.now_s())
        conforms = promised.at(Fraction(now_ms, 1000)) >= 1
        answer = houses[where % replicas].admits()
        assert answer or not conforms
        promised.level -= answer
        admitted += [Fraction(now_ms, 1000)] * answer
    assert windows_hold(admitted, quota, replicas * chunk)


@given(quota=QUOTAS, callers=st.lists(st.integers(0, 5), max_size=80))
def test_callers_do_not_share(quota: Quota, callers: list[int]) -> None:
    together = Bucket(quota, ManualClock())
    alone = {caller: Bucket(quota, ManualClock()) for caller in range(6)}
    for caller in callers:
        assert together.lease(str(caller)) == alone[caller].lease(str(caller))
