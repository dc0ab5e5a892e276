"""Answers in Redis, shared by all replicas; a Redis that is slow or away costs hits, never requests."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

from cluster.clock import Clock
from cluster.errors import ConfigError, TransientError
from serve_deployments.cache.key import CacheKey
from serve_deployments.cache.prediction import Look
from serve_deployments.resilience.breaker import BreakerSpec, CircuitBreaker

logger = logging.getLogger(__name__)
T = TypeVar("T")
V = TypeVar("V")
TIMEOUT_S = 0.05
"""A lookup that takes longer than a forecast would (2 to 20 ms, see README) has lost its purpose."""
FORGET_TIMEOUT_S = 1.0
BREAKER = BreakerSpec(failures=3, open_s=5.0, half_open_calls=1)
_ERA = struct.Struct("<qq")


def _unheard() -> None:
    """Tell nobody."""


class RedisStore(Generic[V]):
    """Answers in a Redis, by application.

    An answer carries the eras it was computed in (of all models, and of its own); they are read in the same round
    trip as the answer, so that an invalidation by one replica holds for all at once. The size is bounded by the
    server's own `maxmemory`, the age by `ttl_s`. Where Redis does not answer, lookups miss and nothing is kept;
    after three failures it is left alone for some seconds, so that a dead server does not cost each request a
    time-out.

    Parameters
    ----------
    url
        `redis://…`.
    encode, decode
        Between answers and bytes; `decode` raises ValueError for bytes that are no answer.
    application
        Keeps apart what several applications store in one server.
    ttl_s
        An entry's life.
    clock
        For the breaker.
    timeout_s
        Of each call.
    failed
        Told of each call that failed, or was not made because of those before.

    Raises
    ------
    ConfigError
        The `redis` package is missing.
    """

    def __init__(
        self,
        url: str,
        encode: Callable[[V], bytes],
        decode: Callable[[CacheKey, bytes], V],
        *,
        application: str,
        ttl_s: float,
        clock: Clock,
        timeout_s: float = TIMEOUT_S,
        failed: Callable[[], None] = _unheard,
    ) -> None:
        self._encode, self._decode, self._failed = encode, decode, failed
        self._client = _client(url, timeout_s)
        self._prefix, self._ttl_ms, self._timeout_s = (
            f"heliotrope:{application}:cache",
            int(ttl_s * 1000),
            timeout_s,
        )
        self.breaker = CircuitBreaker(BREAKER, clock)

    async def look(self, key: CacheKey) -> Look[V]:
        """Return the answer where its eras are the present ones, and these."""
        names = (self._era_name(None), self._era_name(key.model), self._name(key))
        found = await self._try(self._client.mget(names))
        if found is None:
            return Look(None, None)
        era = _ERA.pack(int(found[0] or 0), int(found[1] or 0))
        kept = found[2]
        if kept is None or kept[: _ERA.size] != era:
            return Look(None, era)
        return Look(self._read(key, kept[_ERA.size :]), era)

    def _read(self, key: CacheKey, data: bytes) -> V | None:
        try:
            return self._decode(key, data)
        except ValueError as error:
            logger.warning("what redis holds for %s is no answer: %s", key.model, error)
            return None

    async def keep(self, key: CacheKey, value: V, era: Hashable) -> None:
        """Store the answer under the eras it was computed in; in a later era nobody reads it."""
        if isinstance(era, bytes):
            data = era + self._encode(value)
            await self._try(self._client.set(self._name(key), data, px=self._ttl_ms))

    async def forget(self, model: str | None) -> None:
        """End an era for all replicas.

        Raises
        ------
        TransientError
            Redis is away: who invalidates must know that it did not happen.
        """
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(FORGET_TIMEOUT_S):
                await self._client.incr(self._era_name(model))
        except (RedisError, OSError, TimeoutError) as error:
            raise TransientError(
                f"cached answers were not thrown away: {type(error).__name__}: {error}; they are given for up to "
                f"{self._ttl_ms / 1000:g} s more; try again",
                retry_after_s=BREAKER.open_s,
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _name(self, key: CacheKey) -> bytes:
        return f"{self._prefix}:{key.model}:".encode() + key.digest

    def _era_name(self, model: str | None) -> str:
        return f"{self._prefix}:era" if model is None else f"{self._prefix}:era:{model}"

    async def _try(self, call: Awaitable[T]) -> T | None:
        """Return the call's result; None where Redis is away or left alone."""
        from redis.exceptions import RedisError

        permit = self.breaker.ask().permit
        if permit is None:
            self._failed()
            _close(call)
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await call
        except (RedisError, OSError, TimeoutError) as error:
            self._failed()
            self.breaker.record(permit, f"{type(error).__name__}: {error}")
            logger.warning("redis does not answer, forecasts are computed: %s: %s", type(error).__name__, error)
            return None
        except BaseException:  # cancelled
            self.breaker.release(permit)
            raise
        self.breaker.record(permit)
        return result


def _close(call: Any) -> None:
    close = getattr(call, "close", None)
    if close is not None:
        close()


def _client(url: str, timeout_s: float) -> Any:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise ConfigError(
            'the prediction cache is set to redis: got no package "redis", expected it: '
            'pip install "heliotrope[redis]", or set ML_PREDICTION_CACHE=memory'
        ) from error
    # Trying again is the breaker's affair; the client's own way waits in between.
    return Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )
