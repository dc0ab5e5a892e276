"""How often a key may ask, the bucket that keeps to it, and what an answer says of it."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from cluster.clock import Clock
from cluster.errors import ConfigError

MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, kw_only=True)
class Quota:
    """How often one caller may ask.

    Parameters
    ----------
    per_minute
        Requests a minute in the long run, at least 1.
    burst
        Requests at once after a pause, at least 1.
    """

    per_minute: int
    burst: int

    def __post_init__(self) -> None:
        if self.per_minute < 1 or self.burst < 1:
            raise ConfigError(
                f"rate limit: got {self.per_minute} a minute and a burst of {self.burst}, expected at least 1 each"
            )

    @property
    def policy(self) -> str:
        """The header RateLimit-Policy."""
        return f"{self.per_minute};w=60;burst={self.burst}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Requests that may be made without asking again.

    Parameters
    ----------
    granted
        How many.
    remaining
        How many more there would have been.
    wait_s
        Seconds until the next one; 0 where some were granted.
    full_s
        Seconds until the whole burst is there again.
    """

    granted: int
    remaining: int
    wait_s: float
    full_s: float


class Bucket:
    """The generic cell rate algorithm: a token bucket kept as one number a caller.

    That number is the time when the bucket would be full again. Over any window of t seconds it grants at most
    `burst + per_minute / 60 * t`, and it refuses nobody who stays below. Times are whole nanoseconds times the
    rate, so that no rounding adds up and both bounds hold exactly.

    Parameters
    ----------
    quota
        Of each caller.
    clock
        May jump back: the callers then wait for as long, at most until a whole bucket has filled.
    most_callers
        Callers remembered; above that the ones unheard of for longest are forgotten, which gives them a full
        bucket. Keep it above the number of keys.

    References
    ----------
    ITU-T recommendation I.371, annex A. Ours grants several at once, as many as there are up to a number.
    """

    def __init__(self, quota: Quota, clock: Clock, *, most_callers: int = 100_000) -> None:
        self.quota, self._clock, self._most = quota, clock, most_callers
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def lease(self, caller: str, most: int = 1) -> Lease:
        """Take up to `most` requests out of the caller's bucket."""
        rate, now = self.quota.per_minute, self._now()
        whole = self.quota.burst * MINUTE_NS
        full_at = min(max(self._full_at.get(caller, now), now), now + whole)
        free = (now + whole - full_at) // MINUTE_NS
        granted = min(most, free)
        full_at += granted * MINUTE_NS
        self._keep(caller, full_at)
        wait = 0 if granted else full_at + MINUTE_NS - whole - now
        return Lease(
            granted=granted,
            remaining=free - granted,
            # Rounded up to a nanosecond: who waits exactly as told must not be refused.
            wait_s=-(-wait // rate) / 1e9,
            full_s=(full_at - now) / rate / 1e9,
        )

    def _now(self) -> int:
        return round(self._clock.now_s() * 1e9) * self.quota.per_minute

    def _keep(self, caller: str, full_at: int) -> None:
        self._full_at[caller] = full_at
        self._full_at.move_to_end(caller)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateDecision:
    """What became of one request.

    Parameters
    ----------
    admitted
        Whether it may go on.
    remaining
        Requests the caller may make at once after it, as far as is known here.
    wait_s
        Seconds until the next would be admitted; 0 where this one was.
    full_s
        Seconds until the whole burst is there again.
    """

    admitted: bool
    remaining: int
    wait_s: float
    full_s: float

    def headers(self, quota: Quota) -> list[tuple[bytes, bytes]]:
        """Return the RateLimit headers of the answer (draft-ietf-httpapi-ratelimit-headers-06)."""
        return [
            (b"ratelimit-policy", quota.policy.encode()),
            (b"ratelimit-limit", b"%d" % quota.burst),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % math.ceil(self.full_s)),
        ]
