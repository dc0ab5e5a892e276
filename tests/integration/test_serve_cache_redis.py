"""Answers in a real Redis: shared, thrown away for all at once, and no request fails when it goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from cluster.clock import Clock, ManualClock, SystemClock
from cluster.errors import TransientError
from serve_deployments.cache.key import CacheKey
from serve_deployments.cache.prediction import Computed, Found, PredictionCache, Source
from serve_deployments.cache.redis import BREAKER, RedisStore

if TYPE_CHECKING:
    from tests.integration.conftest import RedisServer

KEY = CacheKey("m@1", b"\x00digest\xff")


class Silent:
    """A meter that counts nothing."""

    def looked_up(self, model: str, source: Source) -> None:
        """Nothing."""

    def invalidated(self, reason: str) -> None:
        """Nothing."""


def store(
    redis_server: RedisServer,
    *,
    ttl_s: float = 60,
    timeout_s: float = 5.0,
    clock: Clock | None = None,
    failed: Callable[[], None] = lambda: None,
) -> RedisStore[bytes]:
    return RedisStore(
        redis_server.url,
        bytes,
        lambda _, data: data,
        application="test",
        ttl_s=ttl_s,
        clock=clock or SystemClock(),
        timeout_s=timeout_s,
        failed=failed,
    )


async def ask(cache: PredictionCache[bytes], word: str = "fresh") -> Found[bytes]:
    async def compute() -> Computed[bytes]:
        return Computed(value=word.encode())

    return await cache.answer(KEY, compute)


def test_replicas_share_answers_until_one_throws_them_away_or_their_time_is_over(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        stores = [store(redis_server), store(redis_server)]
        first, second = (PredictionCache(each, Silent()) for each in stores)
        assert await ask(first, "old") == Found(value=b"old", source="computed")
        assert await ask(second) == Found(value=b"old", source="hit")
        for model in ("m@1", None):
            await first.invalidate("drift", model)
            assert (await ask(second, f"after {model}")).source == "computed"
            assert (await ask(first)).value == f"after {model}".encode()
        ttl_s = 0.3
        brief = store(redis_server, ttl_s=ttl_s)
        other = CacheKey("m@1", b"brief")
        kept_s = time.monotonic()
        await brief.keep(other, b"x", (await brief.look(other)).era)
        assert (await brief.look(other)).value == b"x" or time.monotonic() - kept_s > ttl_s
        deadline_s = time.monotonic() + 10
        while (await brief.look(other)).value is not None:
            assert time.monotonic() < deadline_s
        for each in (*stores, brief):
            await each.close()

    asyncio.run(scenario())


def test_what_was_begun_before_an_invalidation_is_given_to_nobody_after_it(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        mine, theirs = store(redis_server), store(redis_server)
        era = (await mine.look(KEY)).era
        await theirs.forget("m@1")
        await mine.keep(KEY, b"begun before", era)
        assert (await theirs.look(KEY)).value is None
        await mine.close()
        await theirs.close()

    asyncio.run(scenario())


def test_no_request_fails_while_redis_is_away_and_it_is_used_again_when_it_is_back(
    redis_server: RedisServer,
) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        failures = list[int]()
        kept = store(redis_server, clock=clock, failed=lambda: failures.append(1))
        cache = PredictionCache(kept, Silent())
        await ask(cache)
        redis_server.stop()
        for _ in range(6):
            assert await ask(cache) == Found(value=b"fresh", source="computed")
        assert kept.breaker.reason, "after three failures it is left alone"
        assert len(failures) >= 6, "each lookup that gave nothing is told"
        with pytest.raises(TransientError, match="were not thrown away: ConnectionError"):
            await cache.invalidate("drift")
        redis_server.start()
        clock.advance(BREAKER.open_s)
        await ask(cache)
        assert (await ask(cache)).source == "hit"
        await kept.close()

    asyncio.run(scenario())
