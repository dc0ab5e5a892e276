"""What keeps a replica answering, built from its spec: the cache and the fallback ladder, with all their parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import Request, Response

from cluster.clock import Clock
from cluster.errors import UserError
from cluster.monitoring.metrics import Metrics
from cluster.monitoring.resilience_metrics import ResilienceMetrics
from cluster.security.roles import Permission
from serve_deployments.api import Api, json, visit_of
from serve_deployments.cache.codec import AnswerCodec, answer_bytes
from serve_deployments.cache.hot import HotKeys, HotSpec
from serve_deployments.cache.memory import ExpiringLRU
from serve_deployments.cache.prediction import MemoryStore, PredictionCache, Store
from serve_deployments.cache.redis import RedisStore
from serve_deployments.cache.step import CacheStep, Warmer, request_bytes
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.resilience.safety_spec import SafetySpec
from serve_deployments.resilience.step import FallbackStep
from serve_deployments.service import Service
from serve_deployments.steps import Answer, CallStep

REASONS = ("drift", "features", "version")
TellAll = Callable[[str, str | None], Awaitable[int]]
"""Tells every replica to throw answers away: (reason, `name@version` or None) -> replicas told."""


class SafetyNet:
    """Cache and fallback of one replica. A part that is off is in no list and costs nothing.

    Parameters
    ----------
    spec
        Says what is on.
    application
        Keeps apart what applications share in a Redis.
    replica
        Label of the gauges.
    shelf
        The versions, and their life cycles.
    metrics
        Of the replica.
    clock
        One that never goes back.
    """

    def __init__(
        self, spec: SafetySpec, *, application: str, replica: str, shelf: Shelf, metrics: Metrics, clock: Clock
    ) -> None:
        self._spec, self._application, self._shelf, self._clock = spec, application, shelf, clock
        self.meter, self._metrics = ResilienceMetrics(metrics.registry, replica), metrics
        self._redis: RedisStore[Answer] | None = None
        self.cache = PredictionCache(self._store(), self.meter) if spec.cache.where != "off" else None
        self.fallback = (
            FallbackStep(spec.fallback, shelf, clock, self.meter, shelf.lives.heard)
            if spec.fallback.enabled
            else None
        )
        self.warmer = self._warmer()

    @property
    def steps(self) -> list[CallStep]:
        """Steps around the computation: the cache outside, so that an answer that is there needs no model."""
        cached: list[CallStep] = [CacheStep(self.cache, self._metrics, self.warmer)] if self.cache else []
        return [*cached, self.fallback] if self.fallback else cached

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Close what was opened, when the block ends."""
        try:
            yield
        finally:
            if self._redis is not None:
                await self._redis.close()

    async def forget(self, reason: str, model: str | None = None) -> None:
        """Throw this replica's kept answers away, or those in the Redis of all."""
        if self.cache is not None:
            await self.cache.invalidate(reason, model)

    def routes(self, tell_all: TellAll | None = None) -> Callable[[Api, Service], None]:
        """Return what adds the route that empties the cache.

        Parameters
        ----------
        tell_all
            Reaches every replica; this one alone where None.
        """

        async def here(reason: str, model: str | None) -> int:
            await self.forget(reason, model)
            return 1

        def add(api: Api, service: Service) -> None:
            async def forget(request: Request, reason: str, model: str | None = None) -> Response:
                """Throw kept answers away, in all replicas, of one `name@version` or of all; and why."""
                identity = visit_of(request).identity
                if model is None:
                    identity.need_all_models()
                else:
                    identity.need_model(model.partition("@")[0])
                    service.shelf.of_key(model)
                if reason not in REASONS:
                    raise UserError(
                        f"reason: got '{reason[:100]}', expected one of {', '.join(REASONS)}",
                        field="query.reason",
                        got=reason[:100],
                        expected=f"one of {', '.join(REASONS)}",
                    )
                return json({"replicas": await (tell_all or here)(reason, model)})

            api.add("POST", "/api/cache/forget", Permission.OPERATE, forget, tag="operations")

        return add

    def _store(self) -> Store[Answer]:
        spec = self._spec.cache
        if spec.where == "memory":
            lru = ExpiringLRU(answer_bytes, self._clock, max_bytes=spec.max_bytes, ttl_s=spec.ttl_s)
            return MemoryStore(lru, self.meter.holds)
        codec = AnswerCodec()
        self._redis = RedisStore(
            str(spec.redis_url),
            codec.encode,
            lambda key, data: codec.decode(data, self._shelf.of_key(key.model)),
            application=self._application,
            ttl_s=spec.ttl_s,
            clock=self._clock,
            failed=self.meter.cache_failed,
        )
        return self._redis

    def _warmer(self) -> Warmer | None:
        """Return what keeps hot answers ready; none for a Redis, where each replica would do all replicas' work."""
        store = self.cache.store if self.cache else None
        if self.cache is None or not isinstance(store, MemoryStore):
            return None
        return Warmer(
            self.cache,
            HotKeys(HotSpec(), self._clock, request_bytes),
            store.entries.left_s,
            ttl_s=self._spec.cache.ttl_s,
            warmed=self.meter.warmed,
        )
