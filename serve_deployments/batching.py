"""Concurrent requests as one call of a model: whatever is there when the model gets free goes together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Generic, TypeVar

from serve_deployments.batch_policy import BatchPolicy, Reason
from serve_deployments.line import Batched, Line, Waiting, hand_out

A = TypeVar("A")
B = TypeVar("B")
TURNS = 3
"""Turns of the event loop before a batch is looked at: what has reached the socket by then is read (first turn),
parsed (second) and submitted (third). A turn without events takes microseconds."""
TURNS_BETWEEN = 16
"""Turns after a batch, before the next: the loop takes one new connection a turn, so that with 3 a crowd of callers
came in no faster than batches went out, one by one, and none of them could even be refused."""


def _one(item: Any) -> int:  # noqa: ARG001 - items that are all one size
    return 1


def _same(item: Any) -> Hashable:  # noqa: ARG001 - items that all fit together
    return None


class Batcher(Generic[A, B]):
    """Runs a blocking function on lists, one batch at a time.

    Ours differs from `ray.serve.batch`: that one waits for a batch to fill before it looks whether the model is
    free, so it either adds its waiting time to a lone request or does not batch. Here a lone request starts at
    once, batches grow by themselves as the model gets busy, and size and wait follow what batches cost. It also
    runs without Ray.

    Parameters
    ----------
    run
        Items -> as many answers; an answer that is an Exception is raised to its own caller.
    executor
        Where `run` runs.
    policy
        Chooses size and wait.
    inline
        Run it on the event loop, which is best where it takes a few milliseconds: a hop to a thread and back, and
        the fight for Python's lock, cost more than the loop misses. An item larger than a batch takes a thread.
    max_waiting
        Most items in the queue; a further one is refused.
    rows
        How much an item adds to a batch.
    alike
        Items of equal value may share a batch, such as those of one length.
    released
        Told why each batch was released.
    """

    def __init__(
        self,
        run: Callable[[Sequence[A]], Sequence[B | Exception]],
        executor: Executor,
        policy: BatchPolicy,
        *,
        inline: bool = False,
        max_waiting: int,
        rows: Callable[[A], int] = _one,
        alike: Callable[[A], Hashable] = _same,
        released: Callable[[Reason], None] = lambda reason: None,  # noqa: ARG005 - nobody counts
    ) -> None:
        self._run, self._executor, self._policy, self._inline = run, executor, policy, inline
        self._released = released
        self._line: Line[A] = Line(most=max_waiting, rows=rows, alike=alike)
        self._ended_s = time.perf_counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin()

    def _begin(self) -> None:
        self._line.clear()
        self._busy = self._working = False
        self._handle: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, item: A) -> Batched[B]:
        """Return the item's answer.

        Raises
        ------
        OverloadedError
            The queue is full.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # what a loop that has ended was about to do, it never will
            self._loop = loop
            self._begin()
        joined = self._line.join(item)
        if self._timer is not None and self._line.rows >= self._policy.size:
            self._stop_waiting("full")
        elif not self._working and self._handle is None and self._timer is None:
            self._look_in(TURNS)
        answer: Batched[B] = await joined
        return answer

    def _look_in(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_soon(self._look_in, turns - 1) if turns else loop.call_soon(self._look)

    def _look(self) -> None:
        self._handle = None
        self._line.drop_cancelled()
        if not self._line:
            self._busy = False
            return
        loop = asyncio.get_running_loop()
        waited_s = loop.time() - self._line.since_s
        decision = self._policy.decide(self._line.rows, waited_s, busy=self._busy)
        if decision.wait_s > 0:
            self._timer = loop.call_later(decision.wait_s, self._stop_waiting, "deadline")
        else:
            self._release(decision.reason)

    def _stop_waiting(self, reason: Reason) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._line.drop_cancelled()
        if self._line:
            self._release(reason)

    def _release(self, reason: Reason) -> None:
        self._released(reason)
        batch, self._working = self._line.take(self._policy.size), True
        items, begun_s = [each.item for each in batch], time.perf_counter()
        if self._inline and sum(each.rows for each in batch) <= self._policy.size:
            self._finish(batch, begun_s, _run_here(self._run, items))
            return
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._executor, self._run, items)
        running.add_done_callback(lambda done: self._finish(batch, begun_s, done))

    def _finish(self, batch: list[Waiting[A]], begun_s: float, done: Future[Any] | asyncio.Future[Any]) -> None:
        self._working, self._busy = False, True
        self._look_in(TURNS_BETWEEN)
        error = done.exception()
        answers: Sequence[Any] = [error] * len(batch) if error is not None else done.result()
        if error is None:
            ended_s = time.perf_counter()
            self._policy.learn(sum(each.rows for each in batch), ended_s - begun_s, begun_s - self._ended_s)
            self._ended_s = ended_s
        hand_out(batch, answers)


def _run_here(run: Callable[[Sequence[Any]], Sequence[Any]], items: Sequence[Any]) -> Future[Any]:
    done: Future[Any] = Future()
    try:
        done.set_result(run(items))
    except Exception as error:  # noqa: BLE001 - every caller must get its answer, or it would wait for ever
        done.set_exception(error)
    return done
