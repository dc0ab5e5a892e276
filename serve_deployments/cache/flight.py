"""One computation for callers who want the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _AbandonedError(Exception):
    """The caller who computed has left before the end."""


class SingleFlight(Generic[K, V]):
    """Lets the first caller of a key compute, and the others wait for the same result.

    The first computes in its own task: alone, which is the usual case, it pays for no other. Where it leaves before
    the end, its work ends with it, and the next who waits begins anew; so nobody's work is done when the last has
    left. An error goes to all who wait for it, and to nobody after them.
    """

    def __init__(self) -> None:
        self._flights: dict[K, list[asyncio.Future[V]]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    async def fly(self, key: K, compute: Callable[[], Awaitable[V]]) -> tuple[V, bool]:
        """Return the result, and whether another caller's computation gave it."""
        while (waiting := self._flights.get(key)) is not None:
            landing: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            waiting.append(landing)
            try:
                return await landing, True
            except _AbandonedError:
                continue
        return await self._lead(key, compute), False

    async def _lead(self, key: K, compute: Callable[[], Awaitable[V]]) -> V:
        waiting = self._flights[key] = []
        try:
            result = await compute()
        except BaseException as error:
            told = error if isinstance(error, Exception) else _AbandonedError()
            for landing in self._land(key, waiting):
                landing.set_exception(told)
            raise
        for landing in self._land(key, waiting):
            landing.set_result(result)
        return result

    def _land(self, key: K, waiting: list[asyncio.Future[V]]) -> list[asyncio.Future[V]]:
        del self._flights[key]
        return [landing for landing in waiting if not landing.done()]
