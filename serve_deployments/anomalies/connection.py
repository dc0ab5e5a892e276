"""`POST /v1/anomalies/stream`: rows in, line by line, an answer a row out as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from cluster.errors import HeliotropeError, PayloadTooLargeError, SignatureMismatch, TransientError
from cluster.security.access import Access
from cluster.security.roles import Permission
from serve_deployments import problems
from serve_deployments.anomalies.lines import Lines
from serve_deployments.anomalies.schemas import StreamRow, read_row
from serve_deployments.anomalies.servable import AlarmServable
from serve_deployments.anomalies.stream import AlarmStream
from serve_deployments.api import Api
from serve_deployments.handlers import body
from serve_deployments.schemas import UnreadableError
from serve_deployments.service import Service

MEDIA_TYPE = "application/x-ndjson"
STREAM_PATH = "/v1/anomalies/stream"


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """Bounds of a replica's streams.

    Parameters
    ----------
    max_streams
        That are open at once; a further one is refused.
    idle_s
        After so long without a row a stream is ended.
    max_line_bytes
        Of one row.
    """

    max_streams: int = 64
    idle_s: float = 60.0
    max_line_bytes: int = 65_536


class StreamIdleError(TransientError):
    """No row came for too long."""


class Streams:
    """The open streams of a replica, counted.

    Parameters
    ----------
    limits
        Bounds.
    """

    def __init__(self, limits: StreamLimits) -> None:
        self.limits, self.open = limits, 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for one stream; raise TransientError where there is none left."""
        if self.open >= self.limits.max_streams:
            raise TransientError(
                f"too many streams: got {self.open} open, expected fewer than {self.limits.max_streams}; end "
                "one or ask another replica",
                retry_after_s=5.0,
            )
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class JsonLines(Response):
    """A value a line, as the document describes it."""

    media_type = MEDIA_TYPE


class StreamAnswer(JsonLines):
    """Reads rows from the connection and writes an answer for each, until the rows end or do not come.

    Parameters
    ----------
    stream
        Judges the rows.
    streams
        Where it is counted.
    request_id
        For problems.
    """

    def __init__(self, stream: AlarmStream, streams: Streams, request_id: str) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._stream, self._streams, self._request_id = stream, streams, request_id
        self._lines, self._row = Lines(streams.limits.max_line_bytes), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Handle the connection to its end."""
        with self._streams.place():
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                await self._talk(receive, send)
            except TimeoutError:
                idle = StreamIdleError(
                    f"no row came within {self._streams.limits.idle_s:g} s: open the stream again",
                    retry_after_s=1.0,
                )
                await send({"type": "http.response.body", "body": self._problem(idle), "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _talk(self, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await asyncio.wait_for(receive(), self._streams.limits.idle_s)
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
            lines = self._lines.feed(message.get("body", b""))
            lines += [] if more else self._lines.close()
            if lines:
                answers = await asyncio.to_thread(self._answers, lines)
                await send({"type": "http.response.body", "body": answers, "more_body": True})

    def _answers(self, lines: Sequence[bytes | None]) -> bytes:
        return b"".join(self._answer(line) for line in lines)

    def _answer(self, line: bytes | None) -> bytes:
        """Return the answer to one line; its error where it is wrong, and the stream goes on."""
        self._row += 1
        try:
            return orjson.dumps({"row": self._row, **self._stream.answer(self._read(line))}) + b"\n"
        except HeliotropeError as error:
            return self._problem(error)

    def _read(self, line: bytes | None) -> Any:
        if line is None:
            most = self._streams.limits.max_line_bytes
            raise PayloadTooLargeError(
                f"a row is too long: got more than {most} bytes, expected at most {most} before a newline",
                field="row",
                got=f"more than {most} bytes",
                expected=f"at most {most} bytes",
            )
        try:
            return read_row(body.parse(line))
        except UnreadableError as error:
            raise problems.refused(error.faults, "row") from error

    def _problem(self, error: HeliotropeError) -> bytes:
        document = problems.document(error, instance=f"row {self._row}", request_id=self._request_id)
        return orjson.dumps({"row": self._row, "error": document}) + b"\n"


def stream_routes(streams: Streams, access: Access | None) -> Callable[[Api, Service], None]:
    """Return what adds the route to an application.

    Parameters
    ----------
    streams
        Of the replica.
    access
        Says which models a key is for; None where authentication is off.
    """

    def add(api: Api, service: Service) -> None:
        async def stream(request: Request, model: str, version: str | None = None) -> Response:
            """Answer each row of a body of JSON lines (`StreamRow`) with a line of its own, as the rows come."""
            visit = request.scope["state"]["visit"]
            servable = service.shelf.pick(model, version, AlarmServable.kind)
            if access is not None:
                access.enter_model(visit.identity, servable.name)
            if not isinstance(servable, AlarmServable):
                raise SignatureMismatch(f"model '{model}' is served as '{servable.kind}' and cannot judge a stream")
            judge = AlarmStream(servable.model, servable.memory)
            return StreamAnswer(judge, streams, visit.request_id)

        api.add(
            "POST",
            STREAM_PATH,
            Permission.DETECT,
            stream,
            tag=AlarmServable.kind,
            request=StreamRow,
            media_types=(MEDIA_TYPE,),
            response_class=JsonLines,
        )

    return add
