"""One computation for equal requests; nothing wrong, failed or outdated is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.clock import ManualClock
from serve_deployments.cache.flight import SingleFlight
from serve_deployments.cache.key import CacheKey
from serve_deployments.cache.memory import ExpiringLRU
from serve_deployments.cache.prediction import Computed, MemoryStore, PredictionCache, Source

KEY = CacheKey("m@1", b"k")


class Counts:
    """A meter that remembers."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.reasons: list[str] = []

    def looked_up(self, model: str, source: Source) -> None:
        self.sources.append(source)

    def invalidated(self, reason: str) -> None:
        self.reasons.append(reason)


class Model:
    """Answers when it is let go, and counts how often it was asked."""

    def __init__(self, *, keep: bool = True, error: Exception | None = None) -> None:
        self.go, self.calls, self.ended, self.keep, self.error = asyncio.Event(), 0, 0, keep, error

    async def __call__(self) -> Computed[bytes]:
        self.calls += 1
        try:
            await self.go.wait()
        finally:
            self.ended += 1
        if self.error:
            raise self.error
        return Computed(value=f"answer {self.calls}".encode(), keep=self.keep)


def made(counts: Counts | None = None) -> PredictionCache[bytes]:
    return PredictionCache(
        MemoryStore(ExpiringLRU[bytes](len, ManualClock(), max_bytes=10_000, ttl_s=60)), counts or Counts()
    )


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


@given(st.integers(1, 30))
def test_simultaneous_equal_requests_cause_one_computation(count: int) -> None:
    async def scenario() -> None:
        counts, model = Counts(), Model()
        cache = made(counts)
        tasks = [asyncio.create_task(cache.answer(KEY, model)) for _ in range(count)]
        await turns()
        model.go.set()
        answers = await asyncio.gather(*tasks)
        assert {answer.value for answer in answers} == {b"answer 1"}
        assert model.calls == 1
        assert sorted(counts.sources) == ["computed"] + ["shared"] * (count - 1)
        assert (await cache.answer(KEY, model)).source == "hit"
        assert model.calls == 1

    run(scenario())


@given(st.sets(st.integers(0, 9), min_size=1, max_size=9))
def test_those_who_leave_take_nothing_from_those_who_stay(leaving: set[int]) -> None:
    async def scenario() -> None:
        model = Model()
        cache = made()
        tasks = [asyncio.create_task(cache.answer(KEY, model)) for _ in range(10)]
        await turns()
        for place in leaving:
            tasks[place].cancel()
        await turns()
        model.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for place, result in enumerate(results):
            assert isinstance(result, asyncio.CancelledError) is (place in leaving)
        assert model.calls == 1 + (0 in leaving), "where the first leaves, one of the others begins anew"

    run(scenario())


def test_when_all_have_left_the_computation_ends_and_the_next_begins_anew() -> None:
    async def scenario() -> None:
        model, cache = Model(), made()
        tasks = [asyncio.create_task(cache.answer(KEY, model)) for _ in range(3)]
        await turns()
        for task in tasks:
            task.cancel()
        later = asyncio.create_task(cache.answer(KEY, model))
        await turns()
        assert (model.calls, model.ended) == (2, 1)
        model.go.set()
        assert (await later).value == b"answer 2"

    run(scenario())


def test_a_failure_goes_to_all_who_wait_and_is_not_kept() -> None:
    async def scenario() -> None:
        failing, cache = Model(error=RuntimeError("no")), made()
        tasks = [asyncio.create_task(cache.answer(KEY, failing)) for _ in range(4)]
        await turns()
        failing.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["no"] * 4
        assert failing.calls == 1
        fine = Model()
        fine.go.set()
        assert (await cache.answer(KEY, fine)).source == "computed"

    run(scenario())


def test_an_answer_from_a_lower_rung_is_not_kept() -> None:
    async def scenario() -> None:
        model, cache = Model(keep=False), made()
        model.go.set()
        assert [(await cache.answer(KEY, model)).source for _ in range(3)] == ["computed"] * 3

    run(scenario())


@pytest.mark.parametrize("whose", [None, "m@1"])
def test_nothing_of_before_an_invalidation_is_given_after_it(whose: str | None) -> None:
    async def scenario() -> None:
        counts, old, new = Counts(), Model(), Model()
        cache = made(counts)
        begun = asyncio.create_task(cache.answer(KEY, old))
        await turns()
        await cache.invalidate("drift", whose)
        after = asyncio.create_task(cache.answer(KEY, new))
        await turns()
        assert (old.calls, new.calls) == (1, 1), "the later caller joined the earlier computation"
        old.go.set()
        await begun
        new.go.set()
        await after
        new.calls = 41
        assert (await cache.answer(KEY, new)).value == b"answer 1"
        await cache.invalidate("features", whose)
        assert (await cache.answer(KEY, new)).value == b"answer 42"
        assert counts.reasons == ["drift", "features"]

    run(scenario())


def test_other_versions_answers_stay() -> None:
    async def scenario() -> None:
        model, cache = Model(), made()
        model.go.set()
        await cache.answer(KEY, model)
        await cache.invalidate("version", "m@2")
        assert (await cache.answer(KEY, model)).source == "hit"

    run(scenario())


def test_renewing_computes_ahead_of_the_question_and_only_once() -> None:
    async def scenario() -> None:
        model, cache = Model(), made()
        asked = asyncio.create_task(cache.answer(KEY, model))
        await turns()
        await cache.renew(KEY, model)
        model.go.set()
        await asked
        await cache.renew(KEY, model)
        assert model.calls == 2
        assert (await cache.answer(KEY, model)).value == b"answer 2"

    run(scenario())


def test_flights_leave_nothing_behind() -> None:
    async def scenario() -> None:
        flights: SingleFlight[str, int] = SingleFlight()

        async def seven() -> int:
            await turns()
            return 7

        assert await asyncio.gather(*(flights.fly("a", seven) for _ in range(3))) == [
            (7, False),
            (7, True),
            (7, True),
        ]
        assert len(flights) == 0

    run(scenario())
