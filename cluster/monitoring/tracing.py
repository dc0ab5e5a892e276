"""Traces by OpenTelemetry: one span a request, one for the answer, one for each member that is asked elsewhere.

Nothing of OpenTelemetry is imported where traces are off.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

from cluster.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span


class Tracing:
    """The spans of one process.

    Parameters
    ----------
    provider
        Makes them, and sends them on.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._tracer = provider, provider.get_tracer("heliotrope")
        self._w3c = TraceContextTextMapPropagator()

    @classmethod
    def open(cls, url: str, *, ratio: float, service: str) -> Self:
        """Return spans that a thread sends to a collector in batches; a slow collector costs spans, not requests.

        Parameters
        ----------
        url
            OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`.
        ratio
            Share of requests traced that come without a decision of their caller's.
        service
            Name that the spans carry.

        Raises
        ------
        ConfigError
            The libraries are not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError as error:
            raise ConfigError(
                'ML_TRACE_URL is set, but traces need libraries: pip install "heliotrope[otel]"'
            ) from error
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create({"service.name": service}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=5)))
        return cls(provider)

    def request(
        self, name: str, headers: Mapping[str, str], attributes: Mapping[str, Any]
    ) -> AbstractContextManager[Span]:
        """Return the span of a request, a child of the caller's where `traceparent` names one."""
        from opentelemetry.trace import SpanKind

        return self._tracer.start_as_current_span(
            name,
            context=self._w3c.extract(headers),
            kind=SpanKind.SERVER,
            attributes=dict(attributes),
            # A refusal is no fault; the step that knows the status says which is which.
            record_exception=False,
            set_status_on_exception=False,
        )

    def node(self, name: str, attributes: Mapping[str, Any]) -> AbstractContextManager[Span]:
        """Return a span inside the present one."""
        return self._tracer.start_as_current_span(name, attributes=dict(attributes))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def trace_id_of(span: Span) -> str:
    """Return a span's trace id as collectors show it."""
    return f"{span.get_span_context().trace_id:032x}"
