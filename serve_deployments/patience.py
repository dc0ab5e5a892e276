"""Time-outs that cost next to nothing where all is well: one timer of the loop for any number of them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self


class Patience:
    """A time-out of one length, used by many requests at once: `with patience.wait():` raises TimeoutError.

    Equal time-outs end in the order in which they began, so they stand in a queue, and only its first has a timer
    of the event loop. `asyncio.timeout` sets one and takes it back for each use, three times a request: a tenth of
    what a replica does under load.

    Parameters
    ----------
    limit_s
        Length of each wait; above 0.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._waits: deque[_Wait] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def wait(self) -> _Wait:
        """Return a context that cancels the task within it when the time is over, and raises TimeoutError then."""
        return _Wait(self)

    def __len__(self) -> int:
        return len(self._waits)

    def _enter(self, wait: _Wait) -> None:
        loop, waits = asyncio.get_running_loop(), self._waits
        if self._loop is not loop:  # a timer of a loop that has ended would never ring
            self._loop, self._timer = loop, None
            waits.clear()
        wait.ends_s = loop.time() + self.limit_s
        while waits and waits[0].task is None:  # over in time: forgotten by whoever comes next
            waits.popleft()
        waits.append(wait)
        if self._timer is None:
            self._timer = loop.call_at(wait.ends_s, self._end_overdue)

    def _end_overdue(self) -> None:
        loop, waits, self._timer = asyncio.get_running_loop(), self._waits, None
        while waits and (waits[0].task is None or waits[0].ends_s <= loop.time()):
            waits.popleft().end()
        if waits:
            self._timer = loop.call_at(waits[0].ends_s, self._end_overdue)


@dataclass(slots=True, eq=False)
class _Wait:
    """One use of a Patience: holds its task while it lasts."""

    patience: Patience
    task: asyncio.Task[object] | None = None
    ends_s: float = 0.0
    cancelled_before: int = 0
    over: bool = False

    def __enter__(self) -> Self:
        self.task = asyncio.current_task()
        if self.task is None:
            raise RuntimeError("a wait needs a task: got none, expected to be within a coroutine that is awaited")
        self.cancelled_before = self.task.cancelling()
        self.patience._enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self.task = self.task, None
        if not self.over or task is None:
            return
        # Whoever else has cancelled the task meant it: only our own cancellation becomes a time-out.
        if task.uncancel() <= self.cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """Cancel the task, where it still waits."""
        if self.task is not None:
            self.over = True
            self.task.cancel()
