"""Time-outs that share a timer: each ends its own task, nobody else's, and only when its time is over."""

from __future__ import annotations

import asyncio

import pytest

from serve_deployments.patience import Patience


async def hang() -> None:
    await asyncio.Event().wait()


def test_who_waits_too_long_is_told_and_the_others_go_on() -> None:
    async def patient(patience: Patience, work: float | None) -> str:
        try:
            with patience.wait():
                await (hang() if work is None else asyncio.sleep(work))
        except TimeoutError:
            return "over"
        return "done"

    async def scenario() -> list[str]:
        patience = Patience(0.03)
        found = await asyncio.gather(*(patient(patience, work) for work in (None, 0, None, 0.001)))
        found.append(await patient(patience, 0))
        found.append(await patient(patience, None))
        return found

    assert asyncio.run(scenario()) == ["over", "done", "over", "done", "done", "over"]


def test_a_time_that_is_over_in_time_leaves_nothing_behind() -> None:
    async def scenario() -> int:
        patience = Patience(60)
        for _ in range(1000):
            with patience.wait():
                pass
        return len(patience)

    assert asyncio.run(scenario()) <= 1


def test_a_cancellation_from_outside_stays_one() -> None:
    async def waits(patience: Patience) -> None:
        with patience.wait():
            await hang()

    async def scenario() -> None:
        task = asyncio.create_task(waits(Patience(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_the_inner_of_two_ends_first_and_the_outer_lives_on() -> None:
    async def scenario() -> str:
        outer, inner = Patience(60), Patience(0.01)
        with outer.wait():
            try:
                with inner.wait():
                    await hang()
            except TimeoutError:
                await asyncio.sleep(0)  # the task is not cancelled any more
                return "inner"
        return "nobody"

    assert asyncio.run(scenario()) == "inner"


def test_an_error_of_the_work_is_the_works() -> None:
    async def scenario() -> None:
        with Patience(60).wait():
            raise KeyError("its own")

    with pytest.raises(KeyError):
        asyncio.run(scenario())


def test_it_may_be_used_by_one_loop_after_another() -> None:
    patience = Patience(0.01)

    async def scenario() -> None:
        with pytest.raises(TimeoutError), patience.wait():
            await hang()

    asyncio.run(scenario())
    asyncio.run(scenario())
