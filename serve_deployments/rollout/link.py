"""Keeps a replica and the board in touch: counts there, splits back, about twice a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from cluster.errors import TransientError
from serve_deployments.rollout.traffic import Traffic
from serve_deployments.versions.stock import Stock

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

    Attributes
    ----------
    stock
        Follows the versions that the board names; None where they can only change with the replica.
    """

    def __init__(self, traffic: Traffic, exchange: Exchange, period_s: float) -> None:
        self._traffic, self._exchange, self._period_s = traffic, exchange, period_s
        self.stock: Stock | None = None

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Exchange once before the first request, then all the time, and once more at the end."""
        await self.once()
        if self.stock is not None:
            # A replica that was started anew has the versions of then; it answers with those of now.
            await self.stock.settled()
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
        batch = self._traffic.batch().to_json()
        if self.stock is not None:
            batch["holds"] = [self.stock.holds, self.stock.fault]
        try:
            reply = await self._exchange(batch)
        except TransientError as error:
            logger.warning("no exchange with the board: %s", error)
            return
        self._traffic.answered(reply)
        if self.stock is not None and reply.get("models"):
            self.stock.want(reply["models"])
