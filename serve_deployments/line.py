"""Requests that wait to go together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from serve_deployments.admission import OverloadedError

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Batched(Generic[B]):
    """One request's answer, and how many requests shared its batch."""

    value: B
    requests: int


@dataclass(slots=True)
class Waiting(Generic[A]):
    """A request in the line, and where its caller waits for the answer."""

    item: A
    rows: int
    alike: Hashable
    since_s: float
    future: asyncio.Future[Any]
    context: Context = field(default_factory=copy_context)


class Line(Generic[A]):
    """First come, first served, but that only alike items go together.

    Parameters
    ----------
    most
        Items that may wait; a further one is refused.
    rows
        How much an item adds to a batch.
    alike
        Items of equal value may share a batch, such as those of one length.
    """

    def __init__(self, *, most: int, rows: Callable[[A], int], alike: Callable[[A], Hashable]) -> None:
        self._most, self._rows, self._alike = most, rows, alike
        self._waiting: deque[Waiting[A]] = deque()
        self.rows = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Forget all: their event loop has ended."""
        self._waiting.clear()
        self.rows = 0

    @property
    def since_s(self) -> float:
        """When the first came, on the loop's clock."""
        return self._waiting[0].since_s

    def join(self, item: A) -> asyncio.Future[Any]:
        """Take an item in; return where its answer will be.

        Raises
        ------
        OverloadedError
            The line is full.
        """
        if len(self._waiting) >= self._most:
            raise OverloadedError(
                f"the model is busy: got {len(self._waiting)} requests waiting, expected fewer than "
                f"{self._most}; try again later or raise ML_MAX_CONCURRENT_REQUESTS",
                retry_after_s=1.0,
            )
        loop = asyncio.get_running_loop()
        waiting = Waiting(item, self._rows(item), self._alike(item), loop.time(), loop.create_future())
        self._waiting.append(waiting)
        self.rows += waiting.rows
        return waiting.future

    def take(self, size: int) -> list[Waiting[A]]:
        """Take the first item and those that may go with it, up to `size` rows."""
        batch, left = [self._waiting.popleft()], deque[Waiting[A]]()
        rows = batch[0].rows
        for each in self._waiting:
            if each.alike == batch[0].alike and rows + each.rows <= size:
                batch.append(each)
                rows += each.rows
            else:
                left.append(each)
        self._waiting = left
        self.rows -= rows
        return batch

    def drop_cancelled(self) -> None:
        """Forget callers that have given up: nothing is computed for them."""
        if any(each.future.done() for each in self._waiting):
            self._waiting = deque(each for each in self._waiting if not each.future.done())
            self.rows = sum(each.rows for each in self._waiting)


def hand_out(batch: Sequence[Waiting[Any]], answers: Sequence[Any]) -> None:
    """Give each of a batch its answer; one that is an exception is raised to its own caller."""
    for waiting, answer in zip(batch, answers, strict=True):
        if waiting.future.done():
            continue
        if isinstance(answer, BaseException):
            waiting.future.set_exception(answer)
        else:
            waiting.future.set_result(Batched(answer, len(batch)))
