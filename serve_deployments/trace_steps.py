"""The steps that make spans: of a request at the door, of an answer inside, of a member elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cluster.errors import HeliotropeError
from cluster.monitoring.request_log import current
from cluster.monitoring.tracing import Tracing, trace_id_of
from serve_deployments.spread import MemberCall, Output
from serve_deployments.steps import Answer, Call, Reply, Visit


class TraceStep:
    """Gives each request a span, the caller's child where it sent `traceparent`."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def __call__(self, asked: Visit, next: Callable[[Visit], Awaitable[Reply]]) -> Reply:  # noqa: A002
        """Let the request through."""
        from opentelemetry.trace import StatusCode

        told = {
            "http.request.method": asked.method,
            "http.route": asked.route,
            "heliotrope.request_id": asked.request_id,
        }
        with self._tracing.request(f"{asked.method} {asked.route}", asked.headers, told) as span:
            if facts := current.get():
                facts.trace_id = trace_id_of(span)
            status = 500
            try:
                reply = await next(asked)
                status = reply.status
                return reply
            except HeliotropeError as error:
                status = error.http_status
                raise
            finally:
                span.set_attributes(
                    {"http.response.status_code": status, "heliotrope.key_id": asked.identity.key_id}
                )
                if status >= 500:
                    span.set_status(StatusCode.ERROR)


class TraceModelStep:
    """Gives each answer a span: from the question to the version's result, with the company it was computed in."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    async def __call__(self, asked: Call, next: Callable[[Call], Awaitable[Answer]]) -> Answer:  # noqa: A002
        """Let the question through."""
        told = {"heliotrope.model": asked.servable.name, "heliotrope.version": asked.servable.version}
        with self._tracing.node(f"answer {asked.servable.name}", told) as span:
            answer = await next(asked)
            span.set_attributes(
                {"heliotrope.rung": answer.rung, "heliotrope.batch_requests": answer.batch_requests}
            )
            return answer


def traced(tracing: Tracing, name: str, call: MemberCall) -> MemberCall:
    """Return the call of a member with a span around each: the way there, the wait for its batch, and the way back.

    Many requests travel together; the span is the child of the first of them.
    """

    async def run(features: Any) -> Output:
        with tracing.node(f"member {name}", {}) as span:
            output = await call(features)
            span.set_attribute("heliotrope.batch_rows", len(output.value))
            return output

    return run
