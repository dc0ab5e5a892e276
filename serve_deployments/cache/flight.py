"""One computation for callers who want the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    waiters: int = 0


class SingleFlight(Generic[K, V]):
    """Lets the first caller of a key compute, and the others wait for the same result.

    A caller who leaves does not end the computation for the others; when the last has left, it is cancelled, so
    that nobody's work is not done either. An error goes to all who wait for it, and to nobody after them.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    async def fly(self, key: K, compute: Callable[[], Coroutine[Any, Any, V]]) -> tuple[V, bool]:
        """Return the result, and whether another caller's computation gave it."""
        flight = self._flights.get(key)
        shared = flight is not None
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(compute()))
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task), shared
        finally:
            flight.waiters -= 1
            if flight.task.done() or flight.waiters == 0:
                flight.task.cancel()  # does nothing where it is done
                self._land(key, flight)

    def _land(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
