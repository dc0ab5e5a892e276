"""Answers in a real Redis: shared, thrown away for all at once, and no request fails when it goes away."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.clock import Clock, ManualClock, SystemClock
from cluster.errors import TransientError
from cluster.ports import free_port
from serve_deployments.cache.key import CacheKey
from serve_deployments.cache.prediction import Computed, Found, PredictionCache, Source
from serve_deployments.cache.redis import BREAKER, RedisStore

KEY = CacheKey("m@1", b"\x00digest\xff")


class Server:
    """A redis-server of its own, on loopback, that keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port, self._folder = free_port(host="127.0.0.1"), folder
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline_s, "redis-server did not answer within 20 s"
            time.sleep(0.02)

    def _answers(self) -> bool:
        from redis import Redis
        from redis.exceptions import RedisError

        with Redis.from_url(self.url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    made = Server(tmp_path)
    yield made
    made.stop()


class Silent:
    """A meter that counts nothing."""

    def looked_up(self, model: str, source: Source) -> None:
        """Nothing."""

    def invalidated(self, reason: str) -> None:
        """Nothing."""


def store(
    server: Server,
    *,
    ttl_s: float = 60,
    timeout_s: float = 5.0,
    clock: Clock | None = None,
    failed: Callable[[], None] = lambda: None,
) -> RedisStore[bytes]:
    return RedisStore(
        server.url,
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


def test_replicas_share_answers_until_one_throws_them_away_or_their_time_is_over(server: Server) -> None:
    async def scenario() -> None:
        stores = [store(server), store(server)]
        first, second = (PredictionCache(each, Silent()) for each in stores)
        assert await ask(first, "old") == Found(value=b"old", source="computed")
        assert await ask(second) == Found(value=b"old", source="hit")
        for model in ("m@1", None):
            await first.invalidate("drift", model)
            assert (await ask(second, f"after {model}")).source == "computed"
            assert (await ask(first)).value == f"after {model}".encode()
        brief = store(server, ttl_s=0.05)
        other = CacheKey("m@1", b"brief")
        await brief.keep(other, b"x", (await brief.look(other)).era)
        assert (await brief.look(other)).value == b"x"
        deadline_s = time.monotonic() + 10
        while (await brief.look(other)).value is not None:
            assert time.monotonic() < deadline_s
        for each in (*stores, brief):
            await each.close()

    asyncio.run(scenario())


def test_what_was_begun_before_an_invalidation_is_given_to_nobody_after_it(server: Server) -> None:
    async def scenario() -> None:
        mine, theirs = store(server), store(server)
        era = (await mine.look(KEY)).era
        await theirs.forget("m@1")
        await mine.keep(KEY, b"begun before", era)
        assert (await theirs.look(KEY)).value is None
        await mine.close()
        await theirs.close()

    asyncio.run(scenario())


def test_no_request_fails_while_redis_is_away_and_it_is_used_again_when_it_is_back(server: Server) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        failures = list[int]()
        kept = store(server, clock=clock, timeout_s=1.0, failed=lambda: failures.append(1))
        cache = PredictionCache(kept, Silent())
        await ask(cache)
        server.stop()
        for _ in range(6):
            assert await ask(cache) == Found(value=b"fresh", source="computed")
        assert kept.breaker.reason, "after three failures it is left alone"
        assert len(failures) >= 6, "each lookup that gave nothing is told"
        with pytest.raises(TransientError, match="were not thrown away: ConnectionError"):
            await cache.invalidate("drift")
        server.start()
        clock.advance(BREAKER.open_s)
        await ask(cache)
        assert (await ask(cache)).source == "hit"
        await kept.close()

    asyncio.run(scenario())
