"""The door steps that limit, record and log, and the call step that notes who answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect

from cluster.clock import Clock
from cluster.errors import HeliotropeError
from cluster.monitoring.request_log import RequestFacts, RequestLines, current
from cluster.security.audit_log import AuditedRequest, AuditLog
from cluster.security.identity import UNKNOWN
from cluster.security.rate_limit import RateLimit
from cluster.security.roles import Permission
from serve_deployments.problems import slug
from serve_deployments.steps import Answer, Call, Reply, Visit

CLIENT_GONE = 499


class RecordStep:
    """Outermost: knows what became of every request, answered, refused or failed.

    Parameters
    ----------
    clock
        For the record's time.
    audit
        Where each request is recorded; None records none.
    lines
        Where each request has a log line; None writes none.
    """

    def __init__(self, clock: Clock, *, audit: AuditLog | None, lines: RequestLines | None) -> None:
        self._clock, self._audit, self._lines = clock, audit, lines

    async def __call__(self, asked: Visit, next: Callable[[Visit], Awaitable[Reply]]) -> Reply:  # noqa: A002
        """Let the request through, and note how it ended."""
        facts = RequestFacts(request_id=asked.request_id, route=asked.route, begun_s=time.perf_counter())
        token = current.set(facts)
        status, reason = 500, "internal"
        try:
            reply = await next(asked)
            status, reason = reply.status, ""
        except HeliotropeError as error:
            status, reason = error.http_status, slug(type(error))
            raise
        except (ClientDisconnect, asyncio.CancelledError):
            status, reason = CLIENT_GONE, "client-gone"
            raise
        finally:
            self._note(asked, facts, status, reason)
            current.reset(token)
        return reply

    def _note(self, asked: Visit, facts: RequestFacts, status: int, reason: str) -> None:
        facts.key_id, now_s = asked.identity.key_id, self._clock.now_s()
        if self._audit is not None:
            self._audit.request(
                AuditedRequest(
                    time_s=now_s,
                    key_id=facts.key_id,
                    role="" if asked.identity is UNKNOWN else asked.identity.role,
                    method=asked.method,
                    route=asked.route,
                    status=status,
                    request_id=asked.request_id,
                    duration_us=int((time.perf_counter() - facts.begun_s) * 1e6),
                    model=facts.model,
                    version=facts.version,
                    reason=reason,
                )
            )
        if self._lines is not None:
            self._lines.write(facts, now_s, method=asked.method, status=status, reason=reason)


class NoteModelStep:
    """Notes in the request's facts who is asked and who answered."""

    async def __call__(self, asked: Call, next: Callable[[Call], Awaitable[Answer]]) -> Answer:  # noqa: A002
        """Let the question through."""
        facts = current.get()
        if facts is None:
            return await next(asked)
        facts.model, facts.version = asked.servable.name, asked.servable.version
        answer = await next(asked)
        facts.model, facts.version = answer.servable.name, answer.servable.version
        return answer


class RateStep:
    """Refuses who asks too often; stands behind the step that finds out who asks."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit

    async def __call__(self, asked: Visit, next: Callable[[Visit], Awaitable[Reply]]) -> Reply:  # noqa: A002
        """Raise RateLimitedError where the key's quota is used up; tell in every answer what is left of it."""
        if asked.permission is not Permission.OPEN:
            decision = await self._limit.decide(asked.identity.key_id)
            asked.reply_headers += decision.headers(self._limit.quota)
            if not decision.admitted:
                raise self._limit.refusal(decision)
        return await next(asked)
