"""A graph whose members run elsewhere: their features go there, for concurrent requests together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from cluster.errors import TransientError
from cluster.monitoring.metrics import Metrics
from serve_deployments.gathering import Gatherer
from serve_deployments.line import Batched
from serve_deployments.node_cost import INLINE_MOST_S, measure_ends
from serve_deployments.pipelines import Batching, Pipeline
from serve_deployments.servable import Servable

T = TypeVar("T")


@dataclass(frozen=True)
class Output:
    """What a member made of features, and how many rows it would take at once now."""

    value: np.ndarray[Any, Any]
    size: int


MemberCall = Callable[[Any], Awaitable[Output]]
"""Sends features to a member and returns its output."""


class SpreadPipeline(Pipeline):
    """Features, combination and description in this process, each member in a deployment of its own.

    What stays costs less than the way to another process (2 to 4 ms a hop); only what is worth scaling on its own,
    or needs other hardware, travels. Concurrent requests to a version travel together, see `Gatherer`.

    Parameters
    ----------
    servables
        What is served.
    members
        Version key -> one call for each member, in order.
    executor
        Threads for the nodes that stay, where they are slow.
    batching
        Bounds of what travels together.
    metrics
        Counts why it left.
    """

    def __init__(
        self,
        servables: Iterable[Servable],
        members: Mapping[str, Sequence[MemberCall]],
        executor: Executor,
        *,
        batching: Batching,
        metrics: Metrics,
    ) -> None:
        self._gatherers: dict[str, Gatherer[Any, Any]] = {}
        for servable in servables:
            inline = measure_ends(servable) <= INLINE_MOST_S and servable.even
            version = SpreadVersion(
                servable, members[servable.key], None if inline else executor, batching.max_rows
            )
            self._gatherers[servable.key] = Gatherer(
                version.compute_each,
                size=version.size,
                max_waiting=batching.max_waiting,
                rows=servable.weight,
                alike=servable.alike,
                released=partial(metrics.released, servable.key),
            )

    async def run(self, servable: Servable, job: Any) -> Batched[Any]:
        """Return the job's result from the group that it travels with."""
        return await self._gatherers[servable.key].submit(job)


class SpreadVersion:
    """A version whose members are elsewhere.

    Parameters
    ----------
    servable
        Its other nodes.
    calls
        One a member, in order.
    executor
        Threads for those nodes; None runs them on the event loop.
    max_rows
        Most that go to a member at once, whatever it would take.
    """

    def __init__(
        self, servable: Servable, calls: Sequence[MemberCall], executor: Executor | None, max_rows: int
    ) -> None:
        self._servable, self._calls, self._executor = servable, calls, executor
        self._size = self._max_rows = max_rows

    def size(self) -> int:
        """Return how many rows all members would take at once, as they said last."""
        return self._size

    async def compute_each(self, jobs: Sequence[Any]) -> Sequence[Any]:
        """Compute jobs together; where that fails, one by one, so that a bad one fails alone."""
        try:
            return await self._compute(jobs)
        except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to its request
            if len(jobs) == 1 or isinstance(error, TransientError):  # who is overloaded must not get more calls
                return [error] * len(jobs)
        apart = await asyncio.gather(*(self.compute_each([job]) for job in jobs))
        return [answer for (answer,) in apart]

    async def _compute(self, jobs: Sequence[Any]) -> Sequence[Any]:
        features = await self._here(self._servable.prepare, jobs)
        outputs = await asyncio.gather(*(call(features) for call in self._calls))
        self._size = max(1, min(self._max_rows, *(output.size for output in outputs)))
        return await self._here(self._finish, jobs, [output.value for output in outputs])

    def _finish(self, jobs: Sequence[Any], outputs: Sequence[np.ndarray[Any, Any]]) -> Sequence[Any]:
        return self._servable.describe(jobs, self._servable.combine(outputs))

    async def _here(self, node: Callable[..., T], *args: Any) -> T:
        if self._executor is None:
            return node(*args)
        return await asyncio.get_running_loop().run_in_executor(self._executor, node, *args)
