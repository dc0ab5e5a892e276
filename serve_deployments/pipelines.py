"""Where a version's nodes run: all in this process, or its members elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from cluster.monitoring.metrics import Metrics
from serve_deployments.batch_policy import BatchPolicy
from serve_deployments.batching import Batcher
from serve_deployments.line import Batched
from serve_deployments.node_cost import INLINE_MOST_S, measure
from serve_deployments.servable import Servable, compute_each


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Bounds of a node's batches.

    Parameters
    ----------
    target_s
        Latency that sizes and waits are chosen for.
    max_rows
        Most rows in a batch.
    max_waiting
        Most requests that wait for one.
    """

    target_s: float
    max_rows: int
    max_waiting: int


class Pipeline(ABC):
    """Turns a valid job into its result."""

    @abstractmethod
    async def run(self, servable: Servable, job: Any) -> Batched[Any]:
        """Return the job's result, and how many requests shared its batch."""


class FusedPipeline(Pipeline):
    """All nodes in this process; concurrent requests to a version share one pass through all of them.

    A version whose passes take a few milliseconds runs on the event loop, a slower one in a thread: measured when
    the pipeline is made.

    Parameters
    ----------
    servables
        What is served.
    executor
        Threads for slow versions.
    batching
        Bounds.
    metrics
        Counts why batches were released.
    """

    def __init__(
        self, servables: Iterable[Servable], executor: Executor, *, batching: Batching, metrics: Metrics
    ) -> None:
        self._executor, self._batching, self._metrics = executor, batching, metrics
        self._batchers: dict[str, Batcher[Any, Any]] = {}
        self._manners: dict[str, tuple[bool, BatchPolicy]] = {}
        for servable in servables:
            self.add(servable)

    def add(self, servable: Servable) -> None:
        """Take a version in: warmed up and measured the first time, and as it went where it comes back."""
        if servable.key not in self._manners:
            inline = measure(servable).total_s <= INLINE_MOST_S and servable.even
            policy = BatchPolicy(target_s=self._batching.target_s, max_size=self._batching.max_rows)
            self._manners[servable.key] = inline, policy
        inline, policy = self._manners[servable.key]
        self._batchers[servable.key] = Batcher(
            partial(compute_each, servable),
            self._executor,
            policy,
            inline=inline,
            max_waiting=self._batching.max_waiting,
            rows=servable.weight,
            alike=servable.alike,
            released=partial(self._metrics.released, servable.key),
        )

    def rest(self, servable: Servable) -> None:
        """Let go of a version that will come back; requests inside end as they would have."""
        self._batchers.pop(servable.key, None)

    def remove(self, servable: Servable) -> None:
        """Forget a version; requests inside end as they would have."""
        self.rest(servable)
        self._manners.pop(servable.key, None)

    async def run(self, servable: Servable, job: Any) -> Batched[Any]:
        """Return the result from the batch that the job goes into."""
        return await self._batchers[servable.key].submit(job)
