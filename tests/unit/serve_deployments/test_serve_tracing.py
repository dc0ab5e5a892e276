"""Spans of a request: who is whose child, what they say, and that nothing is loaded where traces are off."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from cluster.clock import SystemClock
from cluster.monitoring.request_log import RequestLines
from cluster.monitoring.tracing import Tracing
from serve_deployments.guard_steps import RecordStep
from serve_deployments.ingress import build_api
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.service import Service
from serve_deployments.spread import Output
from serve_deployments.steps import chain
from serve_deployments.trace_steps import TraceModelStep, TraceStep, traced

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Tracing:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider)


@pytest.fixture
def lines() -> RequestLines:
    return RequestLines()


@pytest.fixture
def caller(service: Service, tracing: Tracing, connect: Callable[[Any], Any], lines: RequestLines) -> Any:
    service._steps = chain([TraceModelStep(tracing)], service._compute)
    record = RecordStep(SystemClock(), audit=None, lines=lines)
    return connect(build_api(service, door=[record, TraceStep(tracing)]))


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_an_answers_span_is_the_requests_child_and_that_the_callers(
    caller: Any,
    exporter: InMemorySpanExporter,
    good_request: dict[str, Any],
    lines: RequestLines,
    capsys: pytest.CaptureFixture[str],
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "r1"}
    assert caller.post(FORECAST_PATH, json=good_request, headers=headers).status_code == 200
    spans = named(exporter)
    request, answer = spans[f"POST {FORECAST_PATH}"], spans["answer nox"]
    assert request.context is not None
    assert request.parent is not None
    assert answer.parent is not None
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    assert answer.parent.span_id == request.context.span_id
    told = {"http.route": FORECAST_PATH, "http.response.status_code": 200, "heliotrope.request_id": "r1"}
    assert dict(request.attributes or {}).items() >= told.items()
    facts = {"heliotrope.model": "nox", "heliotrope.version": "1.0.0", "heliotrope.rung": "primary"}
    assert dict(answer.attributes or {}).items() >= facts.items()
    lines.flush()
    assert f'"trace_id":"{TRACE}"' in capsys.readouterr().err


def test_a_refusal_is_no_fault_and_a_failure_is(
    caller: Any, exporter: InMemorySpanExporter, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caller.post(FORECAST_PATH, json={}).status_code == 422
    refused = named(exporter)[f"POST {FORECAST_PATH}"]
    assert (dict(refused.attributes or {})["http.response.status_code"], refused.status.status_code) == (
        422,
        StatusCode.UNSET,
    )
    exporter.clear()

    async def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(service, "check", broken)
    assert caller.get("/readyz").status_code == 500
    assert named(exporter)["GET /readyz"].status.status_code is StatusCode.ERROR


def test_each_member_elsewhere_has_a_span(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    async def member(features: Any) -> Output:
        return Output(np.zeros(features), 64)

    async def ask() -> None:
        with tracing.node("answer nox", {}):
            await asyncio.gather(traced(tracing, "a", member)(3), traced(tracing, "b", member)(3))

    asyncio.run(ask())
    spans = named(exporter)
    assert set(spans) == {"answer nox", "member a", "member b"}
    parent = spans["answer nox"].context
    assert parent is not None
    for name in ("member a", "member b"):
        span = spans[name]
        assert span.parent is not None
        assert span.parent.span_id == parent.span_id
        assert dict(span.attributes or {}) == {"heliotrope.batch_rows": 3}


def test_without_traces_nothing_of_them_is_imported() -> None:
    probe = (
        "import sys\n"
        "from cluster.clock import SystemClock\n"
        "from cluster.monitoring.metrics import Metrics\n"
        "from serve_deployments.guard import Guard\n"
        "from serve_deployments.guard_spec import GuardSpec\n"
        "guard = Guard(GuardSpec(), application='a', replica='r', clock=SystemClock(), metrics=Metrics())\n"
        "assert guard.traced('m', None) is None and not guard.steps\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
