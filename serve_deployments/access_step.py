"""The door step that asks for a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cluster.security.access import Access
from serve_deployments.steps import Answer, Call, Reply, Visit


class AccessStep:
    """Lets in who may do what the route permits; see `cluster.security.access`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, asked: Visit, next: Callable[[Visit], Awaitable[Reply]]) -> Reply:  # noqa: A002
        """Note who asks, or raise UnauthenticatedError or ForbiddenError."""
        asked.identity = self._access.enter(asked.headers, asked.permission, asked.route)
        return await next(asked)


class ModelAccessStep:
    """Lets a question through to the models that the key is for."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, asked: Call, next: Callable[[Call], Awaitable[Answer]]) -> Answer:  # noqa: A002
        """Raise ForbiddenError where the key is for other models."""
        self._access.enter_model(asked.visit.identity, asked.servable.name)
        return await next(asked)
