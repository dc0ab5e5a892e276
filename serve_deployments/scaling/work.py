"""What a replica tells the scaling policy of its work."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from cluster.clock import Clock
from serve_deployments.scaling.serve_policy import ANSWERED, ARRIVED, BUSY_S, INSIDE, SLOW_S
from serve_deployments.steps import Answer, Call

KEPT = 200
"""Answers that the 95th percentile is taken of: ten of them are slower."""
FRESH_S = 30.0
"""Slow answers of longer ago say nothing about now."""


class WorkStep:
    """Counts what comes, what is answered, and how long it is inside.

    Parameters
    ----------
    clock
        One that never goes back.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrived = self._answered = self._inside = 0
        self._inside_s = 0.0
        self._last: deque[tuple[float, float]] = deque(maxlen=KEPT)

    async def __call__(self, asked: Call, next: Callable[[Call], Awaitable[Answer]]) -> Answer:  # noqa: A002
        """Pass the call on."""
        self._arrived += 1
        self._inside += 1
        begun_s = self._clock.now_s()
        try:
            answer = await next(asked)
        finally:
            self._inside -= 1
        now_s = self._clock.now_s()
        self._answered += 1
        self._inside_s += now_s - begun_s
        self._last.append((now_s, now_s - begun_s))
        return answer

    def stats(self) -> dict[str, float]:
        """Return what `ServeScaling` reads."""
        oldest_s = self._clock.now_s() - FRESH_S
        took_s = sorted(took_s for at_s, took_s in self._last if at_s >= oldest_s)
        slow_s = took_s[int(0.95 * (len(took_s) - 1))] if took_s else 0.0
        return {
            ARRIVED: float(self._arrived),
            INSIDE: float(self._inside),
            ANSWERED: float(self._answered),
            BUSY_S: self._inside_s,
            SLOW_S: slow_s,
        }
