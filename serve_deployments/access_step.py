"""The door step that asks for a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cluster.monitoring.request_log import current
from cluster.security.access import Access
from cluster.security.identity import UNKNOWN
from serve_deployments.steps import Answer, Call, Reply, Visit


class AccessStep:
    """Lets in who may do what the route permits; see `cluster.security.access`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, asked: Visit, next: Callable[[Visit], Awaitable[Reply]]) -> Reply:  # noqa: A002
        """Note who asks, or raise UnauthenticatedError or ForbiddenError."""
        asked.identity = UNKNOWN
        asked.identity = self._access.identify(asked.headers, asked.permission)
        if facts := current.get():
            facts.key_id = asked.identity.key_id
        self._access.allow(asked.identity, asked.permission, asked.route)
        return await next(asked)


class ModelAccessStep:
    """Lets a question through to the models that the key is for."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, asked: Call, next: Callable[[Call], Awaitable[Answer]]) -> Answer:  # noqa: A002
        """Raise ForbiddenError where the key is for other models."""
        self._access.enter_model(asked.visit.identity, asked.servable.name)
        return await next(asked)
