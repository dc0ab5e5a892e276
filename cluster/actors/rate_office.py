"""The callers' buckets in a named actor, for replicas without a Redis. Imported only where Ray runs."""

from __future__ import annotations

import re
from typing import Any

from ray.exceptions import RayActorError

from cluster.actors import detached
from cluster.clock import SystemClock
from cluster.errors import TransientError
from cluster.security.quota import Bucket, Lease, Quota
from cluster.security.rate_limit import Office


class RateOfficeActor:
    """Shell over `Bucket`. After a restart every caller has a full bucket: at most one burst more, once."""

    def __init__(self, quota: Quota) -> None:
        self._bucket = Bucket(quota, SystemClock())

    def lease(self, caller: str, most: int) -> Lease:
        """Take up to `most` requests out of the caller's bucket."""
        return self._bucket.lease(caller, most)


def ray_office(application: str, quota: Quota) -> Office:
    """Return an office whose buckets all replicas of an application share."""
    actor: Any = None

    async def ask(caller: str, most: int) -> Lease:
        nonlocal actor
        try:
            actor = actor or detached.get_or_create(RateOfficeActor, actor_name(application, quota), quota)
            lease: Lease = await actor.lease.remote(caller, most)
        except RayActorError as error:
            actor = None
            raise TransientError("the actor with the rate limits is being restarted", retry_after_s=1.0) from error
        return lease

    return ask


def actor_name(application: str, quota: Quota) -> str:
    """Return the name under which the buckets are found; another quota has other buckets."""
    return f"rate.{application}.{quota.per_minute}.{quota.burst}"


def remove(application: str) -> None:
    """End an application's actors, those of quotas that it had before among them."""
    named = re.compile(re.escape(f"rate.{application}.") + r"[0-9]+\.[0-9]+")
    for name in filter(named.fullmatch, detached.names()):
        detached.remove(name)
