"""Every error as one problem document (RFC 9457): what happened, where, got, expected."""

from __future__ import annotations

import http
import inspect
import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from cluster.errors import DataError, HeliotropeError, PermanentError, TransientError
from serve_deployments.steps import Reply

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MAX_FAULTS = 20
SHOWN = 100
UNREAD = (408, 413)
"""Answers to a body that was not read to its end: the connection is closed, or the rest would come in for ever."""


class InternalError(PermanentError):
    """The service failed."""


class UnreadableRequestError(DataError):
    """The request does not have the form that the OpenAPI page describes."""


def refused(faults: Iterable[Mapping[str, Any]], root: str) -> UnreadableRequestError:
    """Return the error for what pydantic found under `root` (`body`)."""
    errors = [_fault(each, root) for each in list(faults)[:MAX_FAULTS]]
    first = errors[0]
    return UnreadableRequestError(
        f"{first['field']}: got {first['got']}, expected {first['expected']}", errors=errors
    )


def _fault(each: Mapping[str, Any], root: str) -> dict[str, Any]:
    kind, message = each["type"], str(each["msg"]).partition(" after validation")[0]
    expected = re.sub(r"^(Input|Field|\w+) (should be|should have|should match|required)\s*", "", message)
    got = shown(each["input"])
    if kind == "missing":
        expected, got = "this field", "nothing"
    elif kind == "extra_forbidden":
        expected, got = "no such field", f"the field '{str(each['loc'][-1])[:SHOWN]}'"
    return {"field": field_path(root, each["loc"]), "got": got, "expected": expected or message}


def field_path(root: str, place: Iterable[Any]) -> str:
    """Return `body.series[0].values.NOX[3]` for ("series", 0, "values", "NOX", 3)."""
    path = root
    for step in place:
        path += f"[{step}]" if isinstance(step, int) else f".{str(step)[:SHOWN]}"
    return path


def shown(value: Any) -> str:
    """Return a value for a message: short, and large things by their size."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return f"an object with {len(value)} keys"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = f"{value!r}"[: SHOWN + 1]
    text = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    return {"True": "true", "False": "false"}.get(text, text)


def document(error: HeliotropeError, *, instance: str, request_id: str) -> dict[str, Any]:
    """Return the problem document of an error.

    A PermanentError's message stays in the log: it may name folders and hosts.
    """
    hidden = isinstance(error, PermanentError)
    return {
        "type": f"urn:heliotrope:problem:{slug(type(error))}",
        "title": (inspect.getdoc(type(error)) or type(error).__name__).partition("\n")[0].rstrip("."),
        "status": error.http_status,
        "detail": "the service failed; its log has the request id" if hidden else error.message,
        "instance": instance,
        "request_id": request_id,
        "errors": [] if hidden else _errors(error.context),
    }


def _errors(context: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "errors" in context:
        return list(context["errors"])
    if "field" not in context and "column" not in context:
        return []
    field = context.get("field") or f"body.series[].values.{context['column']}"
    got, expected = str(context.get("got", "")), str(context.get("expected", ""))
    fault: dict[str, Any] = {"field": field, "got": got, "expected": expected}
    if isinstance(context.get("row"), int):
        fault["row"] = context["row"]
    return [fault]


def slug(kind: type[BaseException]) -> str:
    """Return `payload-too-large` for PayloadTooLargeError."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", kind.__name__.removesuffix("Error"))
    return "-".join(word.lower() for word in words)


def reply(error: HeliotropeError, *, instance: str, request_id: str) -> Reply:
    """Return the answer for an error, with Retry-After where trying again helps."""
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, TransientError):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.http_status in UNREAD:
        headers.append((b"connection", b"close"))
    body = orjson.dumps(document(error, instance=instance, request_id=request_id))
    return Reply(status=error.http_status, body=body, headers=headers, media_type=MEDIA_TYPE.encode())


def request_id_of(request: Request) -> str:
    """Return the id that the outermost layer gave this request."""
    return str(request.scope["state"]["request_id"])


def install(api: FastAPI) -> None:
    """Make `api` answer errors with problem documents."""

    async def heliotrope(request: Request, error: Exception) -> Response:
        if not isinstance(error, HeliotropeError):
            raise error
        if isinstance(error, PermanentError):
            logger.error("request %s %s", request_id_of(request), request.url.path, exc_info=error)
        return _answer(request, error)

    async def unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001 - logged by Ingress
        return _answer(request, InternalError("unexpected"))

    async def unreadable(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        return _answer(request, refused(error.errors(), "request"))

    async def by_framework(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        return _framework(request, error)

    api.add_exception_handler(Exception, unexpected)
    api.add_exception_handler(HeliotropeError, heliotrope)
    api.add_exception_handler(RequestValidationError, unreadable)
    api.add_exception_handler(HTTPException, by_framework)


def _answer(request: Request, error: HeliotropeError) -> Response:
    request.scope["state"]["problem"] = slug(type(error))
    made = reply(error, instance=request.url.path, request_id=request_id_of(request))
    headers = {name.decode(): value.decode() for name, value in made.headers}
    return Response(made.body, made.status, headers=headers, media_type=MEDIA_TYPE)


def _framework(request: Request, error: HTTPException) -> Response:
    """Answer what the router refused by itself: an unknown path, a wrong method."""
    phrase = http.HTTPStatus(error.status_code).phrase
    allowed = (error.headers or {}).get("Allow", "")
    expected = f"method {allowed}" if allowed else "a path of /openapi.json"
    request.scope["state"]["problem"] = phrase.lower().replace(" ", "-")
    body = {
        "type": f"urn:heliotrope:problem:{phrase.lower().replace(' ', '-')}",
        "title": phrase,
        "status": error.status_code,
        "detail": f"{request.method} {request.url.path[:SHOWN]}: expected {expected}",
        "instance": request.url.path,
        "request_id": request_id_of(request),
        "errors": [{"field": "path", "got": f"{request.method} {request.url.path[:SHOWN]}", "expected": expected}],
    }
    return Response(orjson.dumps(body), error.status_code, headers=error.headers, media_type=MEDIA_TYPE)
