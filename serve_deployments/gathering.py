"""Concurrent requests on one way to another process: the way costs more than what most of them ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from serve_deployments.batch_policy import Reason
from serve_deployments.batching import TURNS
from serve_deployments.line import Batched, Line, Waiting, hand_out

A = TypeVar("A")
B = TypeVar("B")
AT_ONCE = 2
"""Groups under way: one is computed while the next is prepared and the last described."""


class Gatherer(Generic[A, B]):
    """Sends what is there together, a few groups at once.

    A lone request leaves at once. While groups are under way those who come gather, and leave when one is back, or
    when they fill a group: so a crowd pays for few ways, and a full house still keeps many replicas at work.

    Parameters
    ----------
    send
        Items -> as many answers; an answer that is an Exception is raised to its own caller.
    size
        Most rows that a group may have now.
    at_once
        Groups under way from which on those who come wait for company.
    max_waiting
        Most items that wait; a further one is refused.
    rows
        How much an item adds to a group.
    alike
        Items of equal value may share a group.
    released
        Told why each group left: `full`, or `idle` where the way was free.
    """

    def __init__(
        self,
        send: Callable[[Sequence[A]], Awaitable[Sequence[B | Exception]]],
        *,
        size: Callable[[], int],
        at_once: int = AT_ONCE,
        max_waiting: int,
        rows: Callable[[A], int],
        alike: Callable[[A], Hashable],
        released: Callable[[Reason], None],
    ) -> None:
        self._send, self._size, self._at_once, self._released = send, size, at_once, released
        self._line: Line[A] = Line(most=max_waiting, rows=rows, alike=alike)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin()

    def _begin(self) -> None:
        self._line.clear()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._looking = False

    async def submit(self, item: A) -> Batched[B]:
        """Return the item's answer.

        Raises
        ------
        OverloadedError
            Too many wait.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # what a loop that has ended was about to do, it never will
            self._loop = loop
            self._begin()
        answer = self._line.join(item)
        self._look_soon()
        batched: Batched[B] = await answer
        return batched

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            self._look_in(TURNS)

    def _look_in(self, turns: int) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._look_in, turns - 1) if turns else loop.call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        self._line.drop_cancelled()
        while len(self._line):
            size = self._size()
            full = self._line.rows >= size
            if not full and len(self._under_way) >= self._at_once:
                return
            self._released("full" if full else "idle")
            self._leave(self._line.take(size))

    def _leave(self, group: list[Waiting[A]]) -> None:
        items = [each.item for each in group]
        trip = asyncio.get_running_loop().create_task(self._trip(items), context=group[0].context)
        self._under_way.add(trip)
        trip.add_done_callback(lambda done: self._back(group, done))
        for each in group:
            each.future.add_done_callback(lambda _: all(one.future.done() for one in group) and trip.cancel())

    async def _trip(self, items: Sequence[A]) -> Sequence[B | Exception]:
        return await self._send(items)

    def _back(self, group: list[Waiting[A]], trip: asyncio.Task[Any]) -> None:
        self._under_way.discard(trip)
        self._look_soon()
        if trip.cancelled():
            for each in group:
                each.future.cancel()
            return
        error = trip.exception()
        hand_out(group, trip.result() if error is None else [error] * len(group))
