"""The cache as a step around the computation, and the work that keeps hot answers ready."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from cluster.errors import ConfigError, HeliotropeError
from cluster.monitoring.metrics import Metrics
from cluster.security.roles import Permission
from serve_deployments.cache.codec import make_own
from serve_deployments.cache.hot import HotKeys
from serve_deployments.cache.key import CacheKey
from serve_deployments.cache.prediction import Computed, PredictionCache
from serve_deployments.servable import Servable
from serve_deployments.steps import PRIMARY, Answer, Call, Visit

logger = logging.getLogger(__name__)
Next = Callable[[Call], Awaitable[Answer]]
MOST_AT_A_CHANGE = 16
"""Answers a new version is asked for at its first request in this process."""
HEADER = b"x-cache"
WARM_PERIOD_S = 1.0
MOST_A_PERIOD = 4
"""Answers renewed a second at most, one after another: a few per cent of what a replica computes."""


class CacheStep:
    """Gives an equal question the answer that is there; see `PredictionCache`.

    An answer of a lower rung is given and not kept. The header `X-Cache` tells where an answer came from.

    Parameters
    ----------
    cache
        The answers.
    metrics
        Counts the answers that were not computed as predictions too.
    warmer
        Remembers what is asked often; None where nothing is kept warm.
    """

    def __init__(self, cache: PredictionCache[Answer], metrics: Metrics, warmer: Warmer | None = None) -> None:
        self._cache, self._metrics, self._warmer = cache, metrics, warmer

    async def __call__(self, asked: Call, next: Next) -> Answer:  # noqa: A002 - the chain's word
        """Return the kept answer, or the next step's."""
        begun_s = time.perf_counter()
        if not asked.servable.may_be_kept(asked.question):
            return await next(asked)
        key = await _key_of(asked)
        found = await self._cache.answer(key, _Computation(asked, next))
        asked.visit.reply_headers.append((HEADER, found.source.encode()))
        if found.source != "computed":
            servable = asked.servable
            took_s = time.perf_counter() - begun_s
            self._metrics.predicted(servable.name, servable.version, duration_s=took_s, batch_requests=1)
        if self._warmer is not None:
            self._warmer.seen(key, asked, next, again=found.source != "computed")
        return found.value


@dataclass(frozen=True)
class _Computation:
    """What computes a call's answer, and writes it once for all who will get it."""

    call: Call
    next: Next

    async def __call__(self) -> Computed[Answer]:
        answer = await self.next(self.call)
        keep = answer.rung == PRIMARY
        if keep:
            answer.servable = self.call.servable  # not the one in memory, which would stay there with its answer
            make_own(answer)
            answer.write()
        return Computed(value=answer, keep=keep)


class Warmer:
    """Renews the answers that will be asked for again, shortly before they expire.

    Parameters
    ----------
    cache
        The answers.
    hot
        What is asked often.
    left_s
        How long an answer still lives.
    ttl_s
        An answer's life.
    warmed
        Told of each renewal.
    """

    def __init__(
        self,
        cache: PredictionCache[Answer],
        hot: HotKeys[Call],
        left_s: Callable[[CacheKey], float],
        *,
        ttl_s: float,
        warmed: Callable[[], None],
    ) -> None:
        self._cache, self._hot, self._left_s, self._ttl_s, self._warmed = cache, hot, left_s, ttl_s, warmed
        self._next: Next | None = None
        self._task: asyncio.Task[None] | None = None
        self._versions: set[str] = set()
        self._change: asyncio.Task[int] | None = None

    def seen(self, key: CacheKey, call: Call, next: Next, *, again: bool) -> None:  # noqa: A002 - the chain's word
        """Count an access; the first one starts the work beside the requests, each version's first its warming.

        Remembered is what is asked `again` while its answer is there: who asks something new each time leaves
        nothing behind.
        """
        if again or key in self._hot:
            self._hot.seen(key, lambda: without_connection(call))
        self._next = next
        if self._task is None:
            self._task = asyncio.create_task(self._warm_for_ever())
        if call.servable.key not in self._versions:
            self._versions.add(call.servable.key)
            self._change = asyncio.create_task(self.warm_version(call.servable))

    async def _warm_for_ever(self) -> None:
        while True:
            await asyncio.sleep(WARM_PERIOD_S)
            await self.warm()

    async def _ask(self, call: Call) -> Answer:
        if self._next is None:
            raise ConfigError("nothing was asked yet: got a renewal, expected a request before it")
        return await self._next(call)

    async def warm(self) -> int:
        """Renew what is due; return how many answers."""
        lead_s = min(2 * WARM_PERIOD_S, self._ttl_s / 4)
        due = self._hot.due(self._left_s, ttl_s=self._ttl_s, lead_s=lead_s, limit=MOST_A_PERIOD)
        return sum([await self._renew(self._hot.request(key)) for key in due])

    async def warm_version(self, servable: Servable) -> int:
        """Compute a new version's answers to what its predecessors are asked most; return how many."""
        hottest = [self._hot.request(key) for key in self._hot.hottest(MOST_AT_A_CHANGE)]
        calls = [
            call for call in hottest if call.servable.name == servable.name and call.servable.key != servable.key
        ]
        done = 0
        for call in calls:
            if servable.may_be_kept(call.question):
                done += await self._renew(replace(call, servable=servable))
        return done

    async def _renew(self, call: Call) -> bool:
        try:
            key = await _key_of(call)
            await self._cache.renew(key, _Computation(call, self._ask))
        except HeliotropeError as error:
            # Overloaded, or its breaker is open, or the version looks further back: who asks for it will be told.
            logger.info("answer of %s not renewed: %s", call.servable.key, error)
            return False
        self._warmed()
        return True


def without_connection(call: Call) -> Call:
    """Return the call as it can be asked again, when its connection is gone."""
    visit = call.visit
    asked_again = Visit(
        method=visit.method,
        path=visit.path,
        route=visit.route,
        permission=Permission.OPEN,
        headers={},
        client="",
        request_id="warming",
        connection=({}, _nothing, _nothing),
        body_bytes=visit.body_bytes,
    )
    return Call(question=call.question, servable=call.servable, visit=asked_again, validate=call.validate)


async def _key_of(call: Call) -> CacheKey:
    return CacheKey(call.servable.key, call.servable.identity(await call.job()))


def request_bytes(call: Call) -> int:
    """Return what a remembered call takes: a number is 32 bytes in memory, and seldom less than 8 of its text."""
    return 4 * call.visit.body_bytes


async def _nothing(*_: Any) -> Any:
    return {}
