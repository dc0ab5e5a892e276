"""The HTTP API around a Service: the same ASGI application in a Serve replica and in a test's process."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from cluster.security.access import Access
from cluster.security.identity import Identity
from cluster.security.roles import Permission
from serve_deployments import problems
from serve_deployments.handlers import body
from serve_deployments.schemas import (
    ForecastRequest,
    ForecastResponse,
    Health,
    ModelList,
    ModelStatus,
    UnreadableError,
    openapi_components,
    read_request,
)
from serve_deployments.service import Service

logger = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FORECAST_PATH = "/v1/emissions/forecast"
COMPONENTS = "#/components/schemas/{model}"
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in (("4XX", "mend the request; `errors` names each field"), ("5XX", "try again later"))
}


def build_api(
    service: Service, access: Access, *, lifespan: Lifespan | None = None, echo_request_id: bool = True
) -> App:
    """Return the ASGI application.

    Parameters
    ----------
    service
        What the routes call.
    access
        Who may call them.
    lifespan
        Runs beside the application, from its start to its end.
    echo_request_id
        Answer with X-Request-ID; off behind Serve's proxy, which does it itself.
    """
    api = FastAPI(
        title="Heliotrope",
        summary="Forecasts of emissions with calibrated intervals.",
        version="1",
        redirect_slashes=False,
        lifespan=lifespan,
    )
    problems.install(api)
    _add_forecast(api, service, access)
    _add_models(api, service, access)
    _add_operations(api, service, access)
    _describe(api)
    return Outermost(api, service, echo_request_id=echo_request_id)


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _entry(access: Access, permission: Permission) -> Any:
    async def enter(request: Request) -> Identity:
        return access.enter(request.headers, permission, request.scope["route"].path)

    return Depends(enter)


def _add_forecast(api: FastAPI, service: Service, access: Access) -> None:
    content = {"application/json": {"schema": {"$ref": COMPONENTS.format(model="ForecastRequest")}}}

    @api.post(
        FORECAST_PATH,
        response_model=ForecastResponse,
        responses=_PROBLEMS,
        openapi_extra={"requestBody": {"required": True, "content": content}},
        dependencies=[_entry(access, Permission.FORECAST)],
        tags=["forecast"],
    )
    async def forecast(request: Request) -> Response:
        """Forecast each series of the request, with intervals."""
        wanted = await _typed(request, service.limits.max_body_bytes, service.limits.request_timeout_s)
        return _json(await service.forecast(wanted, problems.request_id_of(request)))


async def _typed(request: Request, limit_bytes: int, timeout_s: float) -> ForecastRequest:
    headers = request.headers
    body.check_headers(
        headers.get("content-type", ""),
        headers.get("content-encoding", ""),
        headers.get("content-length", ""),
        limit_bytes,
    )
    try:
        async with asyncio.timeout(timeout_s):
            raw = await body.read(request.stream(), limit_bytes)
    except TimeoutError as error:
        raise body.RequestTimeoutError(
            f"the body did not arrive within {timeout_s:g} s", field="body", got="no end", expected="a whole body"
        ) from error
    try:
        return read_request(body.parse(raw))
    except UnreadableError as error:
        raise problems.refused(error.faults, "body") from error


def _add_models(api: FastAPI, service: Service, access: Access) -> None:
    entry = [_entry(access, Permission.READ_MODELS)]

    @api.get("/api/models", response_model=ModelList, responses=_PROBLEMS, dependencies=entry, tags=["models"])
    async def models() -> Response:
        """List the served versions with what they need and how good they are."""
        return _json({"models": service.shelf.infos()})

    @api.get(
        "/api/models/{name}/status",
        response_model=ModelStatus,
        responses=_PROBLEMS,
        dependencies=entry,
        tags=["models"],
    )
    async def status(name: str) -> Response:
        """Try each version of a model and tell whether it answers."""
        return _json(await service.status(name))


def _add_operations(api: FastAPI, service: Service, access: Access) -> None:
    @api.get("/healthz", response_model=Health, tags=["operations"])
    async def healthz() -> Response:
        """Tell that the process lives."""
        return _json({"status": "alive"})

    @api.get("/readyz", response_model=Health, responses=_PROBLEMS, tags=["operations"])
    async def readyz() -> Response:
        """Tell that all models are loaded and answer; 503 otherwise."""
        await service.check()
        return _json({"status": "ready"})

    @api.get(
        "/metrics", responses=_PROBLEMS, dependencies=[_entry(access, Permission.READ_METRICS)], tags=["operations"]
    )
    async def metrics() -> Response:
        """Return the counters of all replicas in the Prometheus text format."""
        return Response(await service.scrape(), headers={"content-type": PROMETHEUS_TEXT})


def _describe(api: FastAPI) -> None:
    """Add to the OpenAPI document what FastAPI does not see, because the body is read here."""
    made = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = made()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(openapi_components(COMPONENTS))
        return made()

    api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


class Outermost:
    """Gives each request its id, counts its answer, and turns what nobody expected into a 500 without internals.

    Parameters
    ----------
    app
        The routes.
    service
        For its metrics.
    echo_request_id
        Answer with X-Request-ID.
    """

    def __init__(self, app: App, service: Service, *, echo_request_id: bool) -> None:
        self._app, self._metrics, self._echo = app, service.metrics, echo_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._echo:
                    message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            status = 499
        except Exception:
            # Answered already by the handler in `problems`; the framework raises it on, to be logged.
            logger.exception("request %s %s failed", request_id, scope["path"])
        self._count(scope, status)

    def _count(self, scope: Scope, status: int) -> None:
        # The route's pattern, never the path: the number of label values must not be in the caller's hands.
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "PUT", "DELETE") else "OTHER"
        self._metrics.answered(route, method, status)
        if "problem" in scope["state"]:
            self._metrics.rejected(scope["state"]["problem"])


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return str(text)
    return uuid.uuid4().hex
