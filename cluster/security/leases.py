"""A replica's share of the callers' buckets, so that most requests ask nobody."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from cluster.clock import Clock
from cluster.security.quota import Lease, Quota, RateDecision

CHUNKS_A_BURST = 20
"""A chunk is this part of a burst: five replicas that share a burst of 100 hold at most 25 of it."""


def chunk_of(quota: Quota) -> int:
    """Return how many requests a replica leases at once."""
    return max(1, quota.burst // CHUNKS_A_BURST)


@dataclass(slots=True)
class _Account:
    held: int = 0
    remaining: int = 0
    full_s: float = 0.0
    seen_s: float = 0.0
    refused_until_s: float = 0.0


class Leases:
    """What this replica holds of each caller's bucket.

    With R replicas that hold up to `chunk` each, all together admit at most `burst + rate * t + R * chunk` over
    t seconds, and a caller who stays within `rate` and a burst of `burst - (R - 1) * chunk` is never refused:
    what is held elsewhere was taken out of the bucket, but cannot be spent here. A chunk of 1 makes both exact
    to R requests. A caller known to be refused costs no question until the time it was told.

    Parameters
    ----------
    quota
        Of each caller.
    clock
        For the time a refusal lasts.
    chunk
        Most requests held for one caller.
    most_callers
        Callers remembered; what was held for a forgotten one is lost to it.
    """

    def __init__(self, quota: Quota, clock: Clock, *, chunk: int, most_callers: int = 10_000) -> None:
        self.quota, self.chunk = quota, chunk
        self._clock, self._most = clock, most_callers
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def spend(self, caller: str) -> RateDecision | None:
        """Return the decision where it can be made here; None where the bucket must be asked."""
        account = self._account(caller)
        now_s = self._clock.now_s()
        if account.held:
            account.held -= 1
            return RateDecision(
                admitted=True,
                remaining=account.held + account.remaining,
                wait_s=0.0,
                full_s=max(0.0, account.full_s - (now_s - account.seen_s)),
            )
        # A clock set back must not lock anybody out for longer than was said.
        left_s = account.refused_until_s - now_s
        if 0 < left_s <= account.refused_until_s - account.seen_s:
            return RateDecision(admitted=False, remaining=0, wait_s=left_s, full_s=account.full_s)
        return None

    def wanted(self, caller: str) -> int:
        """Return how many to lease now: 0 while more than half a chunk is held."""
        held = self._account(caller).held
        return 0 if 2 * held > self.chunk else self.chunk - held

    def deposit(self, caller: str, lease: Lease) -> None:
        """Take in what was granted, or for how long nothing is."""
        account = self._account(caller)
        account.seen_s = self._clock.now_s()
        account.held += lease.granted
        account.remaining, account.full_s = lease.remaining, lease.full_s
        account.refused_until_s = account.seen_s + lease.wait_s

    def _account(self, caller: str) -> _Account:
        account = self._accounts.get(caller)
        if account is None:
            account = self._accounts[caller] = _Account()
            if len(self._accounts) > self._most:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(caller)
        return account
