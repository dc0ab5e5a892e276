"""The callers' buckets in a named actor, for replicas without a Redis. Imported only where Ray runs."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayActorError

from cluster.clock import SystemClock
from cluster.errors import TransientError
from cluster.security.quota import Bucket, Lease, Quota
from cluster.security.rate_limit import Office

NAMESPACE = "heliotrope"


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
            actor = actor or _get_or_create(application, quota)
            lease: Lease = await actor.lease.remote(caller, most)
        except RayActorError as error:
            actor = None
            raise TransientError("the actor with the rate limits is being restarted", retry_after_s=1.0) from error
        return lease

    return ask


def actor_name(application: str, quota: Quota) -> str:
    """Return the name under which the buckets are found; another quota has other buckets."""
    return f"rate.{application}.{quota.per_minute}.{quota.burst}"


def _get_or_create(application: str, quota: Quota) -> Any:
    return (
        ray.remote(RateOfficeActor)
        .options(
            name=actor_name(application, quota),
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            enable_task_events=False,
        )
        .remote(quota)
    )


def remove(application: str, quota: Quota) -> None:
    """End the actor, if there is one."""
    try:
        handle = ray.get_actor(actor_name(application, quota), namespace=NAMESPACE)
    except ValueError:
        # Ray's way to say that no actor has this name.
        return
    ray.kill(handle)
