"""The short way of a request inside a Serve replica: from its HTTP server straight to its application.

Behind HAProxy a replica's own server takes the connections. What Ray Serve then does around each request (metadata,
counters, a semaphore, a context) our service does itself: ids, metrics, admission, time-outs. So Serve's hook for
middleware is used to hand HTTP requests to the application that the replica has registered; WebSockets, Serve's own
routes and every process without an application, such as a proxy, go Serve's way. Draining is the server's, which
ends once each answer is out.

What is given up: Serve's counters of requests stay at zero, and so does its count of ongoing ones. Scaling reads
the replica's own, see `record_autoscaling_stats`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.middleware import Middleware

HOOK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
IMPORT_PATH = "cluster.express:middlewares"
SERVES_OWN = "/-/"

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
_registered: list[App] = []


def is_on() -> bool:
    """Return whether this process's HTTP server looks for a registered application."""
    return os.environ.get(HOOK) == IMPORT_PATH


def register(app: App) -> None:
    """Let HTTP requests to this process's server go straight to `app`, in place of the one before."""
    _registered[:] = [app]


def middlewares() -> list[Middleware]:
    """Return what Serve puts around each of its HTTP applications."""
    return [Middleware(Express)]


class Express:
    """Hands a request to the registered application, or on to Serve's.

    Parameters
    ----------
    app
        Serve's.
    """

    def __init__(self, app: App) -> None:
        self._serves = app

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Choose the way of one connection."""
        if _registered and scope["type"] == "http" and not scope["path"].startswith(SERVES_OWN):
            await _registered[0](scope, receive, send)
        else:
            await self._serves(scope, receive, send)
