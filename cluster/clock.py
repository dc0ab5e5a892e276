"""Time as a dependency: the system's clock in production, a clock moved by hand in tests."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch."""

    def now_s(self) -> float:
        """Return the current time in seconds since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        """Return the current time in seconds since the epoch."""
        return time.time()


class MonotonicClock:
    """Seconds since some start of the machine: no date, but it never goes back. For durations and deadlines."""

    def now_s(self) -> float:
        """Return the seconds since that start."""
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told.

    Parameters
    ----------
    now_s
        Where it starts, seconds since the epoch.
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        """Return the time it was last moved to."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self._now_s += seconds
