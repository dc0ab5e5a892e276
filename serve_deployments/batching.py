"""Concurrent requests as one call of a model: whatever waits when the model gets free goes together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from cluster.errors import TransientError

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Batched(Generic[B]):
    """One request's answer, and how many requests shared its batch."""

    value: B
    requests: int


class Batcher(Generic[A, B]):
    """Runs a blocking function on lists, off the event loop, one batch at a time.

    Ours differs from `ray.serve.batch`: that one waits for a batch to fill before it looks whether the model is
    free, so it either adds its waiting time to a lone request or does not batch. Here a lone request starts at
    once, and batches grow by themselves as the model gets busy. It also runs without Ray.

    Parameters
    ----------
    run
        Items -> as many answers; an answer that is an Exception is raised to its own caller.
    executor
        Where `run` runs.
    max_size
        Most items in a call.
    max_waiting
        Most items in the queue; a further one is refused.
    """

    def __init__(
        self,
        run: Callable[[Sequence[A]], Sequence[B | Exception]],
        executor: Executor,
        *,
        max_size: int,
        max_waiting: int,
    ) -> None:
        self._run, self._executor = run, executor
        self._max_size, self._max_waiting = max_size, max_waiting
        self._waiting: deque[tuple[A, asyncio.Future[Batched[B]]]] = deque()
        self._drain: asyncio.Task[None] | None = None

    async def submit(self, item: A) -> Batched[B]:
        """Return the item's answer.

        Raises
        ------
        TransientError
            The queue is full.
        """
        if len(self._waiting) >= self._max_waiting:
            raise TransientError(
                f"the model is busy: got {len(self._waiting)} requests waiting, expected fewer than "
                f"{self._max_waiting}; try again later or raise ML_MAX_CONCURRENT_REQUESTS",
                retry_after_s=1.0,
            )
        future: asyncio.Future[Batched[B]] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._drain is None:
            self._drain = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while batch := self._take():
                await self._answer(batch)
        finally:
            self._drain = None

    def _take(self) -> list[tuple[A, asyncio.Future[Batched[B]]]]:
        batch: list[tuple[A, asyncio.Future[Batched[B]]]] = []
        while self._waiting and len(batch) < self._max_size:
            item, future = self._waiting.popleft()
            if not future.done():  # a caller that has given up is not computed for
                batch.append((item, future))
        return batch

    async def _answer(self, batch: list[tuple[A, asyncio.Future[Batched[B]]]]) -> None:
        loop = asyncio.get_running_loop()
        answers: Sequence[B | Exception]
        try:
            answers = await loop.run_in_executor(self._executor, self._run, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller must get its answer, or it would wait for ever
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(Batched(answer, len(batch)))
