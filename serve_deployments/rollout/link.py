"""Keeps a replica and the board in touch: counts there, splits back, about twice a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from cluster.errors import TransientError
from serve_deployments.rollout.traffic import Traffic

logger = logging.getLogger(__name__)
Exchange = Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]


class Link:
    """Exchanges batches while a block runs. Without an answer the replica goes on with the splits it knows.

    Parameters
    ----------
    traffic
        Of the replica.
    exchange
        Sends a batch and returns the board's reply; raises TransientError.
    period_s
        Seconds between two exchanges.
    """

    def __init__(self, traffic: Traffic, exchange: Exchange, period_s: float) -> None:
        self._traffic, self._exchange, self._period_s = traffic, exchange, period_s

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Exchange once before the first request, then all the time, and once more at the end."""
        await self.once()
        going = asyncio.create_task(self._for_ever())
        try:
            yield
        finally:
            going.cancel()
            await self.once()

    async def _for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            await self.once()

    async def once(self) -> None:
        """Exchange a batch."""
        try:
            self._traffic.answered(await self._exchange(self._traffic.batch().to_json()))
        except TransientError as error:
            logger.warning("no exchange with the board: %s", error)
