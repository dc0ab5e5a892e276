"""Forecasts that were made already: looked up, computed once, kept, and thrown away when they may be wrong."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from serve_deployments.cache.flight import SingleFlight
from serve_deployments.cache.key import CacheKey
from serve_deployments.cache.memory import ExpiringLRU

logger = logging.getLogger(__name__)
V = TypeVar("V")
Source = Literal["hit", "computed", "shared"]
"""Where an answer came from: the store, its own computation, another caller's at the same time."""


@dataclass(frozen=True, kw_only=True)
class Computed(Generic[V]):
    """What a computation gave.

    Parameters
    ----------
    value
        The answer.
    keep
        Whether it may be given again: an answer from a lower rung may not, the model is better when it is back.
    """

    value: V
    keep: bool = True


@dataclass(frozen=True, kw_only=True)
class Found(Generic[V]):
    """An answer and its source.

    Parameters
    ----------
    value
        The answer.
    source
        Where it came from.
    """

    value: V
    source: Source


@dataclass(frozen=True)
class Look(Generic[V]):
    """What a store knows of a key.

    Parameters
    ----------
    value
        The answer, or None.
    era
        Counts the store's invalidations of the key's model: what is computed in one era is not kept in another.
        None where the store cannot tell; then nothing is kept.
    """

    value: V | None
    era: Hashable


class Store(Protocol[V]):
    """Where answers are kept."""

    async def look(self, key: CacheKey) -> Look[V]:
        """Return what is known of a key; never raises for a store that is away."""

    async def keep(self, key: CacheKey, value: V, era: Hashable) -> None:
        """Keep an answer that was computed since `era` was looked up, unless that is over."""

    async def forget(self, model: str | None) -> None:
        """Throw away a version's answers, or all, and end the era."""


class CacheMeter(Protocol):
    """Who counts."""

    def looked_up(self, model: str, source: Source) -> None:
        """Count one answer by its source."""

    def invalidated(self, reason: str) -> None:
        """Count one invalidation."""


def _untold(total_bytes: int) -> None:
    """Tell nobody."""


class MemoryStore(Generic[V]):
    """Answers in this process.

    Parameters
    ----------
    entries
        Their place.
    holds
        Told what they take, when that changes.
    """

    def __init__(self, entries: ExpiringLRU[V], holds: Callable[[int], None] = _untold) -> None:
        self.entries, self._holds = entries, holds
        self._eras: dict[str, int] = {}
        self._era = 0

    async def look(self, key: CacheKey) -> Look[V]:
        """Return the entry and the era."""
        return Look(self.entries.get(key), self._era_of(key.model))

    async def keep(self, key: CacheKey, value: V, era: Hashable) -> None:
        """Keep the answer where its era is not over."""
        if era == self._era_of(key.model):
            self.entries.put(key, value)
            self._holds(self.entries.total_bytes)

    async def forget(self, model: str | None) -> None:
        """Drop entries, and end the era."""
        self.entries.forget(model)
        self._holds(self.entries.total_bytes)
        if model is None:
            self._era += 1
        else:
            self._eras[model] = self._eras.get(model, 0) + 1

    def _era_of(self, model: str) -> tuple[int, int]:
        return self._era, self._eras.get(model, 0)


class PredictionCache(Generic[V]):
    """Answers by version and canonical input.

    Equal requests at the same time cause one computation in this process; one that fails is kept for nobody.

    Parameters
    ----------
    store
        Where answers are kept.
    meter
        Who counts.
    """

    def __init__(self, store: Store[V], meter: CacheMeter) -> None:
        self.store, self._meter = store, meter
        self._flights: SingleFlight[tuple[CacheKey, Hashable], Computed[V]] = SingleFlight()

    async def answer(self, key: CacheKey, compute: Callable[[], Awaitable[Computed[V]]]) -> Found[V]:
        """Return the answer, kept or computed now; raises what `compute` raises."""
        look = await self.store.look(key)
        if look.value is not None:
            return self._told(key, look.value, "hit")
        # The era is part of the flight: who asks after an invalidation does not get what was begun before it.
        computed, shared = await self._flights.fly((key, look.era), lambda: self._compute(key, look.era, compute))
        return self._told(key, computed.value, "shared" if shared else "computed")

    async def renew(self, key: CacheKey, compute: Callable[[], Awaitable[Computed[V]]]) -> None:
        """Compute and keep an answer before it is asked for; does nothing while it is being computed anyway."""
        look = await self.store.look(key)
        if (key, look.era) not in self._flights:
            await self._flights.fly((key, look.era), lambda: self._compute(key, look.era, compute))

    async def invalidate(self, reason: str, model: str | None = None) -> None:
        """Throw answers away: of a version (`name@version`), or all.

        Parameters
        ----------
        reason
            `version`, `features`, `drift`: why they may be wrong; counted and logged.
        model
            Whose; None is everybody's.
        """
        await self.store.forget(model)
        self._meter.invalidated(reason)
        logger.info("cached answers of %s thrown away: %s", model or "all models", reason)

    async def _compute(
        self, key: CacheKey, era: Hashable, compute: Callable[[], Awaitable[Computed[V]]]
    ) -> Computed[V]:
        computed = await compute()
        if computed.keep and era is not None:
            await self.store.keep(key, computed.value, era)
        return computed

    def _told(self, key: CacheKey, value: V, source: Source) -> Found[V]:
        self._meter.looked_up(key.model, source)
        return Found(value=value, source=source)
