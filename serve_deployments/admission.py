"""How many requests may be inside at once, how many may wait, and a refusal for the rest."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cluster.errors import TransientError

RETRY_AFTER_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one ingress replica.

    Parameters
    ----------
    max_body_bytes
        Larger bodies are answered 413.
    request_timeout_s
        For reading the body, and again for the forecast.
    max_concurrent_requests
        Forecasts in progress at once.
    max_queued_requests
        Forecasts that wait beyond these; the next is answered 503.
    """

    max_body_bytes: int
    request_timeout_s: float
    max_concurrent_requests: int
    max_queued_requests: int


class OverloadedError(TransientError):
    """More requests than the service takes at once."""


class Admission:
    """A door with a bounded queue in front of it: `async with admission:` holds a place.

    Parameters
    ----------
    inside
        Requests worked on at once.
    waiting
        Requests that may wait for a place; the next one is refused at once.
    """

    def __init__(self, *, inside: int, waiting: int) -> None:
        self._limit = inside + waiting
        self._places = asyncio.Semaphore(inside)
        self._present = 0

    async def __aenter__(self) -> None:
        """Take a place; raise OverloadedError where the queue is full."""
        if self._present >= self._limit:
            raise OverloadedError(
                f"too many requests: got {self._present} in progress or waiting, "
                f"expected fewer than {self._limit}; try again after Retry-After seconds, "
                "or raise ML_MAX_CONCURRENT_REQUESTS",
                retry_after_s=RETRY_AFTER_S,
            )
        self._present += 1
        try:
            await self._places.acquire()
        except BaseException:
            self._present -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        """Give the place back."""
        self._places.release()
        self._present -= 1
