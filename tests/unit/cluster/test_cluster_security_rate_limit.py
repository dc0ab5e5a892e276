"""The rate limit of a replica: few questions, exact refusals, and a stated answer where nobody can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cluster.clock import ManualClock
from cluster.errors import ConfigError, RateLimitedError, TransientError
from cluster.security.leases import Leases, chunk_of
from cluster.security.quota import Bucket, Lease, Quota, RateDecision
from cluster.security.rate_limit import OfficeFailure, RateLimit, local_office

QUOTA = Quota(per_minute=1000, burst=100)
KEY = "0123456789ab"


class Office:
    """A bucket that counts the questions, and fails where told."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket, self.asked, self.failed, self.fault = bucket, 0, 0, None
        self.gate: asyncio.Event | None = None

    fault: Exception | None

    def fail(self) -> None:
        self.failed += 1

    async def __call__(self, caller: str, most: int) -> Lease:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return self.bucket.lease(caller, most)


def run(test: Callable[[ManualClock, Office], Coroutine[Any, Any, None]], quota: Quota = QUOTA) -> None:
    clock = ManualClock(1_700_000_000.0)
    asyncio.run(test(clock, Office(Bucket(quota, clock))))


def limit_of(clock: ManualClock, office: Office, chunk: int = 5, **failure: Any) -> RateLimit:
    leases = Leases(office.bucket.quota, clock, chunk=chunk)
    return RateLimit(leases, office, clock, failure=OfficeFailure(**failure), on_failure=office.fail)


async def admit(limit: RateLimit) -> RateDecision:
    decision = await limit.decide(KEY)
    if not decision.admitted:
        raise limit.refusal(decision)
    return decision


async def admitted(limit: RateLimit, requests: int) -> int:
    count = 0
    for _ in range(requests):
        try:
            await admit(limit)
            count += 1
        except RateLimitedError:
            pass
        await asyncio.sleep(0)  # lets what was begun in the background go on
    return count


def test_a_burst_then_the_rate() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit = limit_of(clock, office)
        assert await admitted(limit, 150) == 100
        clock.advance(0.6)
        assert await admitted(limit, 50) == 10
        clock.advance(3600)
        # One chunk was held back from the first lease on at most: the stated bound for one replica.
        assert 100 <= await admitted(limit, 200) <= 105

    run(test)


def test_most_requests_ask_nobody_and_refused_ones_neither() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit = limit_of(clock, office, chunk=10)
        await admitted(limit, 100)
        assert office.asked <= 25
        asked = office.asked
        assert await admitted(limit, 1000) == 0
        assert office.asked <= asked + 1

    run(test)


def test_a_refusal_says_how_long_to_wait_and_that_is_true() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit = limit_of(clock, office, chunk=1)
        await admitted(limit, 100)
        for _ in range(2):
            with pytest.raises(RateLimitedError, match="more than 1000 a minute with a burst of 100") as raised:
                await admit(limit)
            assert raised.value.retry_after_s == pytest.approx(0.06)
        clock.advance(0.0599)
        assert await admitted(limit, 1) == 0
        clock.advance(0.0002)
        assert await admitted(limit, 2) == 1

    run(test)


def test_callers_who_arrive_together_ask_once() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit, office.gate = limit_of(clock, office), asyncio.Event()
        waiting = [asyncio.create_task(admit(limit)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        assert office.asked == 1
        office.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert all(not isinstance(each, BaseException) and each.admitted for each in results[1:])

    run(test)


def test_headers_count_down_and_name_the_policy() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit = limit_of(clock, office)
        first, second = [await admit(limit) for _ in range(2)]
        assert dict(first.headers(QUOTA)) == {
            b"ratelimit-policy": b"1000;w=60;burst=100",
            b"ratelimit-limit": b"100",
            b"ratelimit-remaining": b"99",
            b"ratelimit-reset": b"1",
        }
        assert second.remaining == 98

    run(test)


def test_without_an_office_each_replica_keeps_to_the_quota_alone() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit, office.fault = limit_of(clock, office), TransientError("gone")
        assert await admitted(limit, 300) == 100
        assert (office.asked, office.failed) == (1, 1)
        clock.advance(1.0)
        office.fault = None
        assert await admitted(limit, 1) == 1
        assert office.asked == 2

    run(test)


def test_without_an_office_a_closed_limit_refuses_with_503() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit, office.fault = limit_of(clock, office, admit=False), OSError("gone")
        for _ in range(3):
            with pytest.raises(TransientError, match="ML_RATE_LIMIT_ON_FAILURE") as raised:
                await admit(limit)
            assert raised.value.http_status == 503
        assert office.asked == 1

    run(test)


def test_an_office_that_hangs_is_given_up_and_what_is_held_still_counts() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit = limit_of(clock, office, timeout_s=0.001, admit=False)
        await admit(limit)
        office.gate = asyncio.Event()
        held = 4
        assert [(await admit(limit)).admitted for _ in range(held)] == [True] * held
        with pytest.raises(TransientError):
            await admit(limit)

    run(test)


def test_one_replica_without_an_office_of_its_own_is_exact() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit = RateLimit(Leases(QUOTA, clock, chunk=1), local_office(office.bucket), clock)
        assert await admitted(limit, 120) == 100

    run(test)


def test_memory_is_bounded_by_callers() -> None:
    clock = ManualClock()
    bucket, leases = Bucket(QUOTA, clock, most_callers=10), Leases(QUOTA, clock, chunk=5, most_callers=10)
    for caller in range(1000):
        leases.deposit(str(caller), bucket.lease(str(caller), 5))
    assert len(bucket._full_at) == len(leases._accounts) == 10


def test_a_clock_set_back_locks_nobody_out() -> None:
    clock = ManualClock(1_700_000_000.0)
    bucket, leases = Bucket(QUOTA, clock), Leases(QUOTA, clock, chunk=1)
    bucket.lease(KEY, 100)
    leases.deposit(KEY, bucket.lease(KEY))
    clock.advance(-86_400)
    assert leases.spend(KEY) is None
    clock.advance(0.061)
    assert bucket.lease(KEY).wait_s <= 0.06
    clock.advance(6)
    assert bucket.lease(KEY).granted


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (1, 0), (-1, 5)])
def test_a_quota_is_at_least_one(per_minute: int, burst: int) -> None:
    with pytest.raises(ConfigError, match="expected at least 1 each"):
        Quota(per_minute=per_minute, burst=burst)


def test_a_chunk_is_a_twentieth_of_a_burst() -> None:
    assert [chunk_of(Quota(per_minute=1, burst=burst)) for burst in (1, 19, 100, 10_000)] == [1, 1, 5, 500]


@pytest.mark.timeout(20)
def test_who_comes_right_after_an_answer_asks_anew() -> None:
    async def test(clock: ManualClock, office: Office) -> None:
        limit = limit_of(clock, office, chunk=1)
        await admit(limit)  # leaves a question for the next lease on its way
        # Its answer, who spends it, and who finds nothing left run in one turn of the loop.
        decisions = await asyncio.gather(limit.decide(KEY), limit.decide(KEY))
        assert all(decision.admitted for decision in decisions)

    run(test)
