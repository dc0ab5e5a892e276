"""A lone request leaves at once; a crowd shares few ways; a full group never waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import pytest

from serve_deployments.admission import OverloadedError
from serve_deployments.gathering import AT_ONCE, Gatherer
from serve_deployments.line import Batched

LOOK = 6
"""Turns of the loop after which a group that may leave has left."""
caller: ContextVar[str] = ContextVar("caller", default="nobody")


class Way:
    """Doubles what travels, when it is let go."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.callers: list[str] = []
        self.reasons: list[str] = []
        self.cancelled = 0
        self.go = asyncio.Event()

    async def send(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(items))
        self.callers.append(caller.get())
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if 666 in items:
            raise RuntimeError("the whole group")
        return [ValueError("negative") if item < 0 else 2 * item for item in items]


def make(way: Way, *, size: int = 8, max_waiting: int = 100) -> Gatherer[int, int]:
    return Gatherer(
        way.send,
        size=lambda: size,
        max_waiting=max_waiting,
        rows=lambda _: 1,
        alike=lambda item: item >= 100,
        released=way.reasons.append,
    )


async def send(gatherer: Gatherer[int, int], *items: int) -> list[asyncio.Task[Batched[int]]]:
    tasks = [asyncio.create_task(gatherer.submit(item)) for item in items]
    for _ in range(LOOK):
        await asyncio.sleep(0)
    return tasks


async def occupy(gatherer: Gatherer[int, int]) -> list[asyncio.Task[Batched[int]]]:
    """Send lone requests until as many are under way as may be."""
    return [(await send(gatherer, item))[0] for item in range(AT_ONCE)]


def test_lone_requests_leave_at_once_and_those_who_then_come_go_together() -> None:
    async def scenario() -> None:
        way = Way()
        gatherer = make(way)
        under_way = await occupy(gatherer)
        rest = await send(gatherer, 2, 3, 4)
        assert way.groups == [[0], [1]]
        way.go.set()
        answers = await asyncio.gather(*under_way, *rest)
        assert answers == [Batched(0, 1), Batched(2, 1), Batched(4, 3), Batched(6, 3), Batched(8, 3)]
        assert way.reasons == ["idle"] * 3

    asyncio.run(scenario())


def test_a_full_group_leaves_whatever_is_under_way() -> None:
    async def scenario() -> None:
        way = Way()
        gatherer = make(way, size=3)
        await occupy(gatherer)
        await send(gatherer, *range(10, 18))
        assert way.groups[AT_ONCE:] == [[10, 11, 12], [13, 14, 15]]
        assert way.reasons[AT_ONCE:] == ["full", "full"]

    asyncio.run(scenario())


def test_only_the_alike_go_together() -> None:
    async def scenario() -> None:
        way = Way()
        gatherer = make(way)
        await occupy(gatherer)
        rest = await send(gatherer, 5, 100, 6, 101)
        way.go.set()
        await asyncio.gather(*rest)
        assert way.groups[AT_ONCE:] == [[5, 6], [100, 101]]

    asyncio.run(scenario())


def test_errors_come_to_whom_they_belong() -> None:
    async def scenario() -> None:
        way = Way()
        way.go.set()
        gatherer = make(way)
        answers = await asyncio.gather(*await send(gatherer, 1, -1, 2), return_exceptions=True)
        assert [answers[0], answers[2]] == [Batched(2, 3), Batched(4, 3)]
        assert isinstance(answers[1], ValueError)
        lost = await asyncio.gather(*await send(gatherer, 666, 667), return_exceptions=True)
        assert [type(each) for each in lost] == [RuntimeError, RuntimeError]
        assert (await gatherer.submit(4)).value == 8

    asyncio.run(scenario())


def test_the_line_is_bounded() -> None:
    async def scenario() -> None:
        way = Way()
        gatherer = make(way, max_waiting=2)
        under_way = await occupy(gatherer)
        waiting = await send(gatherer, 1, 2)
        with pytest.raises(OverloadedError, match="busy"):
            await gatherer.submit(3)
        way.go.set()
        await asyncio.gather(*under_way, *waiting)
        assert (await gatherer.submit(3)).value == 6

    asyncio.run(scenario())


def test_nothing_is_done_for_those_who_gave_up() -> None:
    async def scenario() -> None:
        way = Way()
        gatherer = make(way)
        one, _ = await occupy(gatherer)
        gone, *rest = await send(gatherer, 2, 3, 4)
        one.cancel()
        gone.cancel()
        await asyncio.wait([one, gone])
        await send(gatherer)
        assert way.cancelled == 1, "of a group that nobody waits for the way ends"
        assert way.groups[AT_ONCE:] == [[3, 4]], "its place is free, and who gave up in the line does not take it"
        rest[0].cancel()
        way.go.set()
        assert await rest[1] == Batched(8, 2), "who gave up does not end the way of others"

    asyncio.run(scenario())


def test_a_way_belongs_to_the_request_that_opened_it() -> None:
    async def scenario() -> None:
        way = Way()
        gatherer = make(way)
        await occupy(gatherer)
        for name in ("first", "second"):
            caller.set(name)
            rest = await send(gatherer, 7)
        caller.set("nobody")
        way.go.set()
        await asyncio.gather(*rest)
        assert way.groups[AT_ONCE:] == [[7, 7]]
        assert way.callers[AT_ONCE:] == ["first"]

    asyncio.run(scenario())


def test_it_outlives_its_event_loop() -> None:
    ways: list[Way] = []

    async def send_one(items: Sequence[int]) -> Sequence[int | Exception]:
        return await ways[-1].send(items)

    gatherer: Gatherer[int, int] = Gatherer(
        send_one, size=lambda: 8, max_waiting=9, rows=lambda _: 1, alike=lambda _: None, released=lambda _: None
    )

    async def leave_them() -> None:
        ways.append(Way())
        await occupy(gatherer)
        await send(gatherer, 2)

    async def ask() -> Batched[int]:
        ways.append(Way())
        ways[-1].go.set()
        return await gatherer.submit(5)

    asyncio.run(leave_them())
    assert asyncio.run(ask()) == Batched(10, 1)
