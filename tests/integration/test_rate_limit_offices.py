"""Buckets shared by processes: a real Redis, a real actor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster.clock import SystemClock
from cluster.errors import TransientError
from cluster.lifecycle import Cluster
from cluster.ports import free_port
from cluster.security.leases import Leases
from cluster.security.quota import Lease, Quota
from cluster.security.rate_limit import Office, RateLimit
from cluster.security.redis_office import RedisOffice

if TYPE_CHECKING:
    from tests.integration.conftest import RedisServer

QUOTA = Quota(per_minute=1, burst=40)
"""So few a minute that none comes back while a test runs, be the machine never so slow."""


async def spend(offices: Sequence[Office], requests: int, most: int = 3) -> tuple[int, Lease]:
    leases = await asyncio.gather(*(offices[i % len(offices)]("key", most) for i in range(requests)))
    return sum(lease.granted for lease in leases), leases[-1]


def test_redis_grants_one_burst_to_all_replicas_together(redis_server: RedisServer) -> None:
    async def test() -> None:
        offices = [RedisOffice(redis_server.url, QUOTA, timeout_s=5, namespace="burst") for _ in range(3)]
        granted, last = await spend(offices, 60)
        assert granted == 40
        assert last.granted == 0
        assert 0 < last.wait_s <= 60
        assert 39 * 60 < last.full_s <= 40 * 60
        other = RedisOffice(redis_server.url, QUOTA, timeout_s=5, namespace="other")
        assert (await other("key", 1)).remaining == 39
        for office in (*offices, other):
            await office.close()

    asyncio.run(test())


def test_redis_under_a_replicas_limit(redis_server: RedisServer) -> None:
    async def test() -> None:
        office = RedisOffice(redis_server.url, QUOTA, timeout_s=5, namespace="limit")
        leases, failures = Leases(QUOTA, SystemClock(), chunk=2), list[int]()
        limit = RateLimit(leases, office, SystemClock(), on_failure=lambda: failures.append(1))
        decisions = [await limit.decide("key") for _ in range(30)]
        assert decisions[0].remaining >= decisions[-1].remaining
        assert failures == []
        await office.close()

    asyncio.run(test())


def test_a_redis_that_is_not_there_is_a_transient_error() -> None:
    async def test() -> None:
        office = RedisOffice(f"redis://:secret@127.0.0.1:{free_port()}/0", QUOTA)
        with pytest.raises(TransientError, match="Redis does not answer") as raised:
            await office("key", 1)
        assert "secret" not in str(raised.value)
        await office.close()

    asyncio.run(test())


@pytest.mark.ray
def test_an_actor_grants_one_burst_to_all_replicas_together(ray_cluster: Cluster, tmp_path: Path) -> None:
    from cluster.actors import detached
    from cluster.actors.rate_office import ray_office, remove

    async def test() -> None:
        offices = [ray_office("test-rate", QUOTA) for _ in range(3)]
        granted, last = await spend(offices, 60)
        assert granted == 40
        assert last.granted == 0
        others = [ray_office(name, QUOTA) for name in ("test-rate.b", "test")]
        for other in others:
            await other("key", 1)
        remove("test-rate")
        with pytest.raises(TransientError, match="being restarted"):
            for _ in range(50):
                await offices[0]("key", 1)
        # Those of others go on, whatever they are called.
        assert [(await other("key", 1)).remaining for other in others] == [38, 38]

    asyncio.run(test())
    for application in ("test-rate.b", "test"):
        remove(application)
    deadline_s = time.monotonic() + 60
    while any(name.startswith("rate.test") for name in detached.names()):
        assert time.monotonic() < deadline_s, detached.names()
        time.sleep(0.05)
