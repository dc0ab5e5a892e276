"""The callers' buckets in Redis: one script, so that no two replicas take the same request."""

from __future__ import annotations

from typing import Any

from cluster.errors import ConfigError, TransientError
from cluster.security.quota import Lease, Quota

CONNECTIONS = 4
"""Of one replica: questions are rare and short."""
# The bucket of `quota.py`, on Redis's own clock: those of the replicas may differ. Whole microseconds are exact in
# Lua's doubles; the rate is kept to a microsecond a request. A full bucket needs no entry, so it expires then.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local whole = burst * interval
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
full_at = math.min(math.max(full_at, now), now + whole)
local free = math.floor((now + whole - full_at) / interval)
local granted = math.min(most, free)
full_at = full_at + granted * interval
if granted > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
end
local wait = 0
if granted == 0 then wait = full_at + interval - whole - now end
return {granted, free - granted, wait, full_at - now}
"""


class RedisOffice:
    """Buckets that all processes with the same Redis share; call it as an `Office`.

    Parameters
    ----------
    url
        `redis://…` or `rediss://…`.
    quota
        Of each caller.
    timeout_s
        For a free connection, to connect, and for an answer.
    namespace
        Keeps applications apart that share a Redis.

    Raises
    ------
    ConfigError
        The client library is not installed.
    """

    def __init__(self, url: str, quota: Quota, *, timeout_s: float = 0.25, namespace: str = "") -> None:
        try:
            from redis import asyncio as redis
            from redis.exceptions import RedisError
        except ImportError as error:
            raise ConfigError(
                'a rate limit in Redis needs the client library: pip install "heliotrope[redis]"'
            ) from error
        pool: Any = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        self._client: Any = redis.Redis.from_pool(pool)
        self._script: Any = self._client.register_script(_SCRIPT)
        self._faults: tuple[type[Exception], ...] = (RedisError, OSError)
        self._quota, self._prefix = quota, f"heliotrope:rate:{namespace}:"

    async def __call__(self, caller: str, most: int) -> Lease:
        """Take up to `most` requests out of the caller's bucket; raise TransientError where Redis is away."""
        interval_us = max(1, 60_000_000 // self._quota.per_minute)
        try:
            granted, remaining, wait_us, full_us = await self._script(
                keys=[self._prefix + caller], args=[interval_us, self._quota.burst, most]
            )
        except self._faults as error:
            # The message of the fault may hold the URL with its password: only its kind is told.
            raise TransientError(f"Redis does not answer: {type(error).__name__}", retry_after_s=1.0) from None
        return Lease(granted=granted, remaining=remaining, wait_s=wait_us / 1e6, full_s=full_us / 1e6)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
