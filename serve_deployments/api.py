"""The FastAPI application: the rare routes, and the OpenAPI document of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.routing import Match

from cluster.security.roles import Permission
from serve_deployments import problems
from serve_deployments.handlers import arrow, body
from serve_deployments.question_routes import QuestionRoute
from serve_deployments.schemas import Health, ModelList, ModelStatus, Wire, openapi_components, table_options
from serve_deployments.service import Service
from serve_deployments.steps import Scope, Visit

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Endpoint = Callable[..., Awaitable[Response]]
COMPONENTS = "#/components/schemas/{model}"
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
UNKNOWN = "unknown"
FRAMEWORK_PATHS = frozenset(("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"))
"""FastAPI's own pages: they describe the API and know no data."""
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in (("4XX", "mend the request; `errors` names each field"), ("5XX", "try again later"))
}


class Api:
    """Routes that are asked now and then, each with the permission it needs.

    Parameters
    ----------
    questions
        Routes that `Ingress` answers itself; here they are only described.
    lifespan
        Runs beside the application, from its start to its end.
    """

    def __init__(self, questions: Sequence[QuestionRoute], lifespan: Lifespan | None) -> None:
        self.app = FastAPI(
            title="Heliotrope",
            summary="Forecasts of emissions with calibrated intervals.",
            version="1",
            redirect_slashes=False,
            lifespan=lifespan,
        )
        self._permissions: dict[tuple[str, str], Permission] = {}
        self._requests: list[type[Wire]] = []
        problems.install(self.app)
        for question in questions:
            self._describe(question)
        self._complete()

    def add(
        self,
        method: str,
        path: str,
        permission: Permission,
        endpoint: Endpoint,
        *,
        tag: str,
        request: type[Wire] | None = None,
        media_types: Sequence[str] = (body.JSON,),
        answers: Mapping[int | str, dict[str, Any]] = MappingProxyType({}),
        **described: Any,
    ) -> None:
        """Add a route.

        Parameters
        ----------
        method, path
            `GET`, `/api/models/{name}`.
        permission
            Asked for at the door, before `endpoint` is called.
        endpoint
            As FastAPI takes it; its docstring is its description.
        tag
            Chapter of the OpenAPI document.
        request, media_types
            What a body is read as, where the endpoint reads one itself; and what it may be sent as.
        answers
            Described beside the usual one and problems: status -> OpenAPI.
        **described
            More for FastAPI: `response_model`, `response_class`, `operation_id`.
        """
        self._permissions[method, path] = permission
        if request is not None:
            self._requests.append(request)
            schema = {"schema": {"$ref": COMPONENTS.format(model=request.__name__)}}
            content = dict.fromkeys(media_types, schema)
            asked = {"requestBody": {"required": True, "content": content}}
            described["openapi_extra"] = asked | described.get("openapi_extra", {})
        self.app.add_api_route(
            path, endpoint, methods=[method], tags=[tag], responses={**_PROBLEMS, **answers}, **described
        )

    def route_of(self, scope: Scope) -> tuple[str, Permission]:
        """Return the pattern of the route that will answer, and what it asks of a key."""
        for route in self.app.routes:
            if route.matches(scope)[0] is Match.FULL:
                path = str(getattr(route, "path", UNKNOWN))
                return path, self.permission_of(scope["method"], path)
        return UNKNOWN, Permission.OPEN

    def permission_of(self, method: str, path: str) -> Permission:
        """Return what a route asks of a key; what nobody stated, only an administrator may."""
        if path in FRAMEWORK_PATHS:
            return Permission.OPEN
        return self._permissions.get((method, path), Permission.MANAGE_KEYS)

    def _describe(self, question: QuestionRoute) -> None:
        async def answered_by_ingress() -> Response:
            raise AssertionError("Ingress answers this route before FastAPI sees it")

        answered_by_ingress.__doc__ = question.summary
        self.add(
            "POST",
            question.path,
            question.permission,
            answered_by_ingress,
            tag=question.kind,
            operation_id=question.path.rpartition("/")[2],
            response_model=question.response,
            request=question.request,
            **_tables(question),
        )

    def _complete(self) -> None:
        """Add to the OpenAPI document what FastAPI does not see, because the bodies are read elsewhere."""
        made = self.app.openapi

        def openapi() -> dict[str, Any]:
            if self.app.openapi_schema is None:
                document = made()
                schemas = document.setdefault("components", {}).setdefault("schemas", {})
                schemas.update(openapi_components(COMPONENTS, self._requests))
            return made()

        self.app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _tables(question: QuestionRoute) -> dict[str, Any]:
    """Return what the document says of a route that takes tables too: another body, its options, another answer."""
    if question.read_table is None:
        return {}
    table = {arrow.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
    as_json = {body.JSON: {"schema": {"$ref": COMPONENTS.format(model=question.request.__name__)}}}
    options = table_options("of a table; a JSON body has its own")
    return {
        "openapi_extra": {
            "requestBody": {"required": True, "content": as_json | table},
            "parameters": [{"name": name, "in": "query", **told} for name, told in options.items()],
        },
        "answers": {200: {"description": "as asked by `Accept`", "content": table}},
    }


def json(content: Any) -> Response:
    """Return an answer of plain data."""
    return Response(orjson.dumps(content), media_type="application/json")


def visit_of(request: Request) -> Visit:
    """Return the visit that FastAPI answers."""
    visit: Visit = request.scope["state"]["visit"]
    return visit


def add_models(api: Api, service: Service) -> None:
    """Add the routes about models."""

    async def models(request: Request) -> Response:
        """List the served versions with what they need and how good they are: those that the key is for."""
        may_use = visit_of(request).identity.may_use
        return json({"models": [info for info in service.shelf.infos() if may_use(info["name"])]})

    async def status(name: str, request: Request) -> Response:
        """Try each version of a model and tell whether it answers."""
        visit_of(request).identity.need_model(name)
        return json(await service.status(name))

    read = Permission.READ_MODELS
    api.add("GET", "/api/models", read, models, tag="models", response_model=ModelList)
    api.add("GET", "/api/models/{name}/status", read, status, tag="models", response_model=ModelStatus)


def add_operations(api: Api, service: Service) -> None:
    """Add the routes that operators and their tools ask."""

    async def healthz() -> Response:
        """Tell that the process lives."""
        return json({"status": "alive"})

    async def readyz() -> Response:
        """Tell that all models are loaded and answer; 503 otherwise."""
        await service.check()
        return json({"status": "ready"})

    async def metrics(request: Request) -> Response:
        """Return the counters of all replicas in the Prometheus text format."""
        visit_of(request).identity.need_all_models()
        return Response(await service.scrape(), headers={"content-type": PROMETHEUS_TEXT})

    api.add("GET", "/healthz", Permission.OPEN, healthz, tag="operations", response_model=Health)
    api.add("GET", "/readyz", Permission.OPEN, readyz, tag="operations", response_model=Health)
    read = Permission.READ_METRICS
    api.add("GET", "/metrics", read, metrics, tag="operations", response_class=PlainTextResponse)
