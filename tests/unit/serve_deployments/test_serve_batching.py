"""Batches form while the model is busy; a bad item fails alone; queues are bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.errors import DataError, TransientError
from serve_deployments.admission import Admission, OverloadedError
from serve_deployments.batch_policy import BatchPolicy
from serve_deployments.batching import TURNS_BETWEEN, Batcher
from serve_deployments.line import Batched


class Doubler:
    """Doubles numbers; the first call waits until it is let go. Negative numbers get an error of their own."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.go = threading.Event()

    def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.go.wait(10)
        if 666 in items:
            raise RuntimeError("the whole batch")
        return [DataError("negative") if item < 0 else 2 * item for item in items]


def make(run: Doubler, *, max_size: int = 8, max_waiting: int = 100) -> Batcher[int, int]:
    policy = BatchPolicy(target_s=60, max_size=max_size)
    return Batcher(run, ThreadPoolExecutor(1), policy, max_waiting=max_waiting)


async def busy(batcher: Batcher[int, int], run: Doubler) -> asyncio.Task[Batched[int]]:
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.get_running_loop().run_in_executor(None, run.entered.wait, 10)
    return first


async def turn() -> None:
    for _ in range(TURNS_BETWEEN + 2):
        await asyncio.sleep(0)


def test_what_waits_while_the_model_is_busy_goes_together() -> None:
    async def scenario() -> None:
        run = Doubler()
        batcher = make(run)
        first = await busy(batcher, run)
        rest = [asyncio.create_task(batcher.submit(i)) for i in range(1, 13)]
        await turn()
        run.go.set()
        answers = await asyncio.gather(first, *rest)
        assert [answer.value for answer in answers] == [2 * i for i in range(13)]
        assert [answer.requests for answer in answers] == [1] + [8] * 8 + [4] * 4
        assert run.batches == [[0], list(range(1, 9)), list(range(9, 13))]

    asyncio.run(scenario())


def test_a_bad_item_fails_alone() -> None:
    async def scenario() -> None:
        run = Doubler()
        run.go.set()
        answers = await asyncio.gather(*(make(run).submit(i) for i in (1, -1, 2)), return_exceptions=True)
        assert isinstance(answers[1], DataError)
        assert [answers[0], answers[2]] == [Batched(2, 1), Batched(4, 1)]

    asyncio.run(scenario())


def test_a_crash_reaches_every_caller_and_the_next_batch_works() -> None:
    async def scenario() -> None:
        run = Doubler()
        run.go.set()
        batcher = make(run)
        answers = await asyncio.gather(*(batcher.submit(666) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(answer, RuntimeError) for answer in answers)
        assert (await batcher.submit(4)).value == 8

    asyncio.run(scenario())


def test_a_full_queue_refuses_and_recovers() -> None:
    async def scenario() -> None:
        run = Doubler()
        batcher = make(run, max_waiting=2)
        first = await busy(batcher, run)
        waiting = [asyncio.create_task(batcher.submit(i)) for i in (1, 2)]
        await turn()
        with pytest.raises(TransientError, match="busy"):
            await batcher.submit(3)
        run.go.set()
        await asyncio.gather(first, *waiting)
        assert (await batcher.submit(3)).value == 6

    asyncio.run(scenario())


def test_a_caller_that_gave_up_is_not_computed_for() -> None:
    async def scenario() -> None:
        run = Doubler()
        batcher = make(run)
        first = await busy(batcher, run)
        gone, stays = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
        await turn()
        gone.cancel()
        await turn()
        run.go.set()
        assert (await stays).value == 4
        await first
        assert run.batches == [[0], [2]]

    asyncio.run(scenario())


def test_the_door_queues_then_refuses_then_lets_in_again() -> None:
    async def scenario() -> None:
        door, leave = Admission(inside=1, waiting=1), asyncio.Event()
        entered: list[int] = []

        async def visit(number: int) -> None:
            async with door:
                entered.append(number)
                await leave.wait()

        visits = [asyncio.create_task(visit(number)) for number in range(2)]
        await turn()
        assert entered == [0]
        with pytest.raises(OverloadedError) as raised:
            await visit(2)
        assert raised.value.http_status == 503
        assert raised.value.retry_after_s >= 1
        leave.set()
        await asyncio.gather(*visits)
        await visit(3)
        assert entered == [0, 1, 3]

    asyncio.run(scenario())


def test_on_the_loop_what_comes_in_one_turn_goes_together_and_a_large_item_takes_a_thread() -> None:
    threads: list[tuple[int, int]] = []
    reasons: list[str] = []

    def run(items: Sequence[int]) -> Sequence[int | Exception]:
        threads.append((len(items), threading.get_ident()))
        return [2 * item for item in items]

    async def scenario() -> None:
        policy = BatchPolicy(target_s=60, max_size=8)
        batcher: Batcher[int, int] = Batcher(
            run, ThreadPoolExecutor(1), policy, inline=True, max_waiting=9, rows=abs, released=reasons.append
        )
        answers = await asyncio.gather(*(batcher.submit(number) for number in (1, 2, 3)))
        assert [answer.value for answer in answers] == [2, 4, 6]
        assert (await batcher.submit(20)).value == 40

    asyncio.run(scenario())
    here = threading.get_ident()
    assert threads[0] == (3, here)
    assert threads[1][0] == 1
    assert threads[1][1] != here
    assert reasons == ["idle", "full"]


def test_items_that_are_not_alike_go_apart() -> None:
    batches: list[list[int]] = []

    def run(items: Sequence[int]) -> Sequence[int | Exception]:
        batches.append(list(items))
        return list(items)

    async def scenario() -> None:
        policy = BatchPolicy(target_s=60, max_size=8)
        batcher: Batcher[int, int] = Batcher(
            run, ThreadPoolExecutor(1), policy, inline=True, max_waiting=9, alike=lambda item: item % 2
        )
        await asyncio.gather(*(batcher.submit(number) for number in range(6)))

    asyncio.run(scenario())
    assert batches == [[0, 2, 4], [1, 3, 5]]


def test_a_batcher_outlives_its_event_loop() -> None:
    run = Doubler()
    run.go.set()
    batcher = make(run)
    for item in (1, 2):  # the first loop ends before the turns after its batch are over
        assert asyncio.run(asyncio.wait_for(batcher.submit(item), 10)).value == 2 * item
