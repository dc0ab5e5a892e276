"""The HTTP API around a Service: the same ASGI application in a Serve replica and in a test's process.

Questions to models are answered here, on plain ASGI: FastAPI's machinery a request costs more than a forecast.
Everything else goes on to `serve_deployments.api`. Before both stands the door.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from starlette.requests import ClientDisconnect

from cluster.errors import HeliotropeError, PermanentError
from serve_deployments import problems
from serve_deployments.api import Api, Lifespan, add_models, add_operations
from serve_deployments.handlers import arrow, body
from serve_deployments.question_routes import QUESTIONS, QuestionRoute
from serve_deployments.schemas import UnreadableError
from serve_deployments.service import Service
from serve_deployments.steps import DoorStep, Message, Receive, Reply, Scope, Send, Visit, chain

logger = logging.getLogger(__name__)
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Routes = Callable[[Api, Service], None]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_METHODS = frozenset(("GET", "POST", "HEAD", "PUT", "DELETE"))
CLIENT_GONE = 499


def build_api(
    service: Service,
    *,
    door: Sequence[DoorStep] = (),
    more: Sequence[Routes] = (),
    questions: Sequence[QuestionRoute] = QUESTIONS,
    lifespan: Lifespan | None = None,
    echo_request_id: bool = True,
) -> App:
    """Return the ASGI application.

    Parameters
    ----------
    service
        What the routes call.
    door
        Steps before every route, the first outermost.
    more
        Add further rare routes: `(api, service) -> None`.
    questions
        Routes that models answer.
    lifespan
        Runs beside the application, from its start to its end.
    echo_request_id
        Answer with X-Request-ID; off behind Serve's proxy, which does it itself.
    """
    api = Api(questions, lifespan)
    for add in (add_models, add_operations, *more):
        add(api, service)
    return Ingress(service, api, questions, door, echo_request_id=echo_request_id)


class Ingress:
    """Gives each request its id, leads it through the door to its route, counts and sends the answer.

    What nobody expected becomes a 500 without internals.

    Parameters
    ----------
    service, questions, door, echo_request_id
        See `build_api`.
    api
        Answers what is no question.
    """

    def __init__(
        self,
        service: Service,
        api: Api,
        questions: Sequence[QuestionRoute],
        door: Sequence[DoorStep],
        *,
        echo_request_id: bool,
    ) -> None:
        self._service, self._api, self._metrics, self._echo = service, api, service.metrics, echo_request_id
        self._questions = {question.path: question for question in questions}
        self._door = chain(door, self._enter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._api.app(scope, receive, send)
            return
        visit = self._visit(scope, receive, send)
        try:
            reply = await self._door(visit)
        except ClientDisconnect:
            reply = Reply(status=CLIENT_GONE, body=None)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            reply = self._refuse(visit, error)
        self._count(visit, reply.status)
        if reply.body is not None:
            await self._send(visit, reply)

    def _visit(self, scope: Scope, receive: Receive, send: Send) -> Visit:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        method, path = scope["method"], scope["path"]
        question = self._questions.get(path) if method == "POST" else None
        if question is not None:
            route, permission = question.path, question.permission
        else:
            route, permission = self._api.route_of(scope)
        return Visit(
            method=method,
            path=path,
            route=route,
            permission=permission,
            headers=headers,
            client=scope["client"][0] if scope.get("client") else "",
            request_id=_request_id(headers.get("x-request-id", "")),
            connection=(scope, receive, send),
        )

    async def _enter(self, visit: Visit) -> Reply:
        """Answer a request that the door let in."""
        question = self._questions.get(visit.path) if visit.method == "POST" else None
        if question is None:
            return await self._pass_on(visit)
        asked = await self._read(visit, question)
        answer = await self._service.answer(question.kind, asked, visit)
        if _wants_table(visit):
            return Reply(status=200, body=self._service.table(answer, visit), media_type=arrow.MEDIA_TYPE.encode())
        return Reply(status=200, body=orjson.dumps(self._service.fields(answer, visit)))

    async def _read(self, visit: Visit, question: QuestionRoute) -> Any:
        kinds = (body.JSON, arrow.MEDIA_TYPE) if question.read_table else (body.JSON,)
        raw = await self._service.read_body(visit, kinds)
        visit.body_bytes = len(raw)
        try:
            if question.read_table and body.kind_of(visit.headers["content-type"]) == arrow.MEDIA_TYPE:
                return question.read_table(raw, visit.connection[0]["query_string"].decode("latin-1"))
            return question.read(body.parse(raw))
        except UnreadableError as error:
            raise problems.refused(error.faults, error.root) from error

    async def _pass_on(self, visit: Visit) -> Reply:
        """Let FastAPI answer, and see what it answers."""
        scope, receive, send = visit.connection
        scope["state"] = {**scope.get("state", {}), "request_id": visit.request_id, "visit": visit}
        reply = Reply(status=0, body=None)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._own_headers(visit)]
            await send(message)

        try:
            await self._api.app(scope, receive, sending)
        except ClientDisconnect:
            raise
        except Exception:
            # Answered already by the handler in `problems`; the framework raises it on, to be logged.
            logger.exception("request %s %s failed", visit.request_id, visit.path)
        if "problem" in scope["state"]:
            self._metrics.rejected(scope["state"]["problem"])
        return reply

    def _refuse(self, visit: Visit, error: Exception) -> Reply:
        known = error if isinstance(error, HeliotropeError) else problems.InternalError("unexpected")
        if isinstance(known, PermanentError):
            logger.error("request %s %s failed", visit.request_id, visit.path, exc_info=error)
        self._metrics.rejected(problems.slug(type(known)))
        return problems.reply(known, instance=visit.path, request_id=visit.request_id)

    def _count(self, visit: Visit, status: int) -> None:
        method = visit.method if visit.method in _METHODS else "OTHER"
        self._metrics.answered(visit.route, method, status)

    def _own_headers(self, visit: Visit) -> list[tuple[bytes, bytes]]:
        echoed = [(b"x-request-id", visit.request_id.encode())] if self._echo else []
        return [*visit.reply_headers, *echoed]

    async def _send(self, visit: Visit, reply: Reply) -> None:
        _, _, send = visit.connection
        headers = [(b"content-type", reply.media_type), *reply.headers, *self._own_headers(visit)]
        if isinstance(reply.body, bytes):
            headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if isinstance(reply.body, bytes):
            await send({"type": "http.response.body", "body": reply.body})
            return
        if reply.body is not None:
            async for piece in reply.body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _wants_table(visit: Visit) -> bool:
    """Return whether the answer shall be a table: as `Accept` says, else as the question came."""
    accepted = visit.headers.get("accept", "*/*")
    if arrow.MEDIA_TYPE in accepted:
        return True
    return "*/*" in accepted and body.kind_of(visit.headers.get("content-type", "")) == arrow.MEDIA_TYPE


def _request_id(given: str) -> str:
    # Unlike any other, no secret: a random number, where a UUID asks the system each time.
    return given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
