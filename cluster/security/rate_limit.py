"""The rate limit of one replica: decides from its leases, and fetches the next before they run out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cluster.clock import Clock
from cluster.errors import HeliotropeError, RateLimitedError, TransientError
from cluster.security.leases import Leases
from cluster.security.quota import Bucket, Lease, Quota, RateDecision

logger = logging.getLogger(__name__)
Office = Callable[[str, int], Awaitable[Lease]]
"""Where the buckets are: (caller, most) -> what may be spent. Raises TransientError where it cannot tell."""


@dataclass(frozen=True, kw_only=True)
class OfficeFailure:
    """What happens while the buckets cannot be asked.

    Parameters
    ----------
    admit
        True: each replica goes on with a full bucket of its own a caller, so that R replicas admit up to R times
        the quota. False: requests that need an answer are refused with 503.
    timeout_s
        Longest wait for an answer.
    pause_s
        How long nobody is asked after a failure; requests do not wait for the same time-out one by one.
    """

    admit: bool = True
    timeout_s: float = 0.25
    pause_s: float = 1.0


class RateLimit:
    """Admits or refuses callers by a quota that all replicas share.

    Parameters
    ----------
    leases
        What this replica holds.
    office
        Where it gets more.
    clock
        For the pause after a failure.
    failure
        What happens while the office does not answer.
    on_failure
        Called each time it did not.
    """

    def __init__(
        self,
        leases: Leases,
        office: Office,
        clock: Clock,
        *,
        failure: OfficeFailure | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.quota: Quota = leases.quota
        self._on_failure = on_failure
        self._leases, self._office, self._clock = leases, office, clock
        self._failure = failure or OfficeFailure()
        self._own = Bucket(self.quota, clock)
        self._asking: dict[str, asyncio.Task[Lease | None]] = {}
        self._paused_until_s = 0.0

    async def decide(self, caller: str) -> RateDecision:
        """Return whether the caller may go on; raise TransientError where nobody can tell and none shall pass."""
        decision = self._leases.spend(caller)
        while decision is None:
            if self._paused():
                decision = _decided(self._alone(caller))
            else:
                # Shielded: a caller who goes away must not end the question of the others.
                lease = await asyncio.shield(self._ask(caller))
                none_left = lease is not None and not lease.granted
                decision = _decided(lease) if lease and none_left else self._leases.spend(caller)
        more = decision.admitted and self._leases.wanted(caller)
        if more and caller not in self._asking and not self._paused():
            self._ask(caller)
        return decision

    def refusal(self, decision: RateDecision) -> RateLimitedError:
        """Return the error for a request that may not go on."""
        return RateLimitedError(
            f"too many requests with this key: got more than {self.quota.per_minute} a minute with a burst of "
            f"{self.quota.burst}, expected a pause of {decision.wait_s:.3f} s",
            retry_after_s=decision.wait_s,
        )

    def _ask(self, caller: str) -> asyncio.Task[Lease | None]:
        """Ask once for all who wait."""
        task = self._asking.get(caller)
        if task is None:
            task = self._asking[caller] = asyncio.create_task(self._fetch(caller))
        return task

    async def _fetch(self, caller: str) -> Lease | None:
        try:
            async with asyncio.timeout(self._failure.timeout_s):
                lease = await self._office(caller, max(1, self._leases.wanted(caller)))
        except (TimeoutError, HeliotropeError, OSError) as error:
            self._on_failure()
            self._paused_until_s = self._clock.now_s() + self._failure.pause_s
            logger.warning("the rate limits of all replicas cannot be asked: %s %s", type(error).__name__, error)
            return None
        finally:
            # Here, not in a callback, which runs later: who found an ended question would ask it for ever.
            self._asking.pop(caller, None)
        self._leases.deposit(caller, lease)
        return lease

    def _paused(self) -> bool:
        left_s = self._paused_until_s - self._clock.now_s()
        return 0 < left_s <= self._failure.pause_s

    def _alone(self, caller: str) -> Lease:
        if not self._failure.admit:
            raise TransientError(
                "the rate limit cannot be checked now; try again after Retry-After seconds "
                "(ML_RATE_LIMIT_ON_FAILURE=admit lets requests pass instead)",
                retry_after_s=self._failure.pause_s,
            )
        return self._own.lease(caller)


def _decided(lease: Lease) -> RateDecision:
    return RateDecision(
        admitted=lease.granted > 0, remaining=lease.remaining, wait_s=lease.wait_s, full_s=lease.full_s
    )


def local_office(bucket: Bucket) -> Office:
    """Return the office of a single replica: the bucket itself."""

    async def ask(caller: str, most: int) -> Lease:
        return bucket.lease(caller, most)

    return ask
