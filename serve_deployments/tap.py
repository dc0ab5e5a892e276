"""Where finished answers can be watched, without the user waiting for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from serve_deployments.steps import Answer, Call

logger = logging.getLogger(__name__)
MAX_WAITING = 1024
"""Answers kept for slow observers, some tens of megabytes at most; beyond it the oldest are dropped and counted."""

Observer = Callable[[Call, Answer], None]


class Tap:
    """The graph's last node: hands each finished call and its answer to observers, when nobody waits for it.

    Parameters
    ----------
    observers
        Called one after another on the event loop, so they must be quick: note, count, enqueue. One that fails is
        logged and does not disturb the others.
    dropped
        Told how many answers no observer saw, because they came faster than they were watched.
    """

    def __init__(self, observers: Sequence[Observer], dropped: Callable[[int], None]) -> None:
        self._observers, self._dropped = tuple(observers), dropped
        self._waiting: deque[tuple[Call, Answer]] = deque(maxlen=MAX_WAITING)
        self._scheduled = False

    def offer(self, call: Call, answer: Answer) -> None:
        """Keep an answer for the observers; returns at once."""
        if not self._observers:
            return
        if len(self._waiting) == MAX_WAITING:
            self._dropped(1)
        self._waiting.append((call, answer))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._show_one)

    def _show_one(self) -> None:
        """Show one answer a turn of the event loop: requests come between."""
        call, answer = self._waiting.popleft()
        for observe in self._observers:
            try:
                observe(call, answer)
            except Exception:
                logger.exception("observer %r failed on request %s", observe, call.visit.request_id)
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._show_one)
