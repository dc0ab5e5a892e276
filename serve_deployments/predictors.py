"""Where a model's nodes run: all in this process, or its members elsewhere."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial

from serve_deployments.batching import Batched, Batcher
from serve_deployments.handlers import forecast
from serve_deployments.handlers.models import LoadedModel, Shelf
from training.core.windows import Floats, Windows

MemberCall = Callable[[Windows], Awaitable[Batched[Floats]]]
"""Sends features to a member and returns its (N, H, T)."""


class Predictor(ABC):
    """Turns a valid context into point forecasts."""

    @abstractmethod
    async def points(self, model: LoadedModel, context: Windows) -> Batched[Floats]:
        """Return (N, H, T) for a compact context of N windows, and how many requests shared the batch."""


class FusedPredictor(Predictor):
    """All nodes in this process; concurrent requests to a model share one pass through all of them.

    Parameters
    ----------
    shelf
        The models.
    executor
        Threads for the models.
    max_batch_size
        Most requests in one pass.
    max_waiting
        Most requests that wait for a pass.
    """

    def __init__(self, shelf: Shelf, executor: Executor, *, max_batch_size: int, max_waiting: int) -> None:
        self._batchers: Mapping[str, Batcher[Windows, Floats]] = {
            model.key: Batcher(
                partial(forecast.each, partial(forecast.whole, model)),
                executor,
                max_size=max_batch_size,
                max_waiting=max_waiting,
            )
            for model in shelf
        }

    async def points(self, model: LoadedModel, context: Windows) -> Batched[Floats]:
        """Return the forecasts of the batch that the context goes into."""
        return await self._batchers[model.key].submit(context)


class SpreadPredictor(Predictor):
    """Features and combination in this process, each member in a deployment of its own.

    Features and combination cost less than the way to another process (RAY.md: 2 to 4 ms), so they stay with the
    ingress; only what is worth scaling on its own travels.

    Parameters
    ----------
    members
        Model key -> one call for each member, in the ensemble's order.
    executor
        Threads for features and combination.
    """

    def __init__(self, members: Mapping[str, Sequence[MemberCall]], executor: Executor) -> None:
        self._members, self._executor = members, executor

    async def points(self, model: LoadedModel, context: Windows) -> Batched[Floats]:
        """Return the members' forecasts, combined."""
        loop = asyncio.get_running_loop()
        features = await loop.run_in_executor(self._executor, forecast.prepare, model, context)
        answers = await asyncio.gather(*(call(features) for call in self._members[model.key]))
        points = [answer.value for answer in answers]
        point = await loop.run_in_executor(self._executor, forecast.combine, model, points)
        return Batched(point, max(answer.requests for answer in answers))
