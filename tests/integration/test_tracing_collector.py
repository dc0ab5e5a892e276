"""Spans reach a collector over real HTTP: all that were begun, and of others' traces what they ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.monitoring.tracing import Tracing

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
PARENT = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.taken: list[tuple[str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        self.server.taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_spans_are_sent_at_the_latest_at_the_end(collector: Collector) -> None:
    tracing = Tracing.open(collector.url, ratio=1.0, service="heliotrope-test")
    with tracing.request("POST /x", {}, {"http.route": "/x"}), tracing.node("answer nox", {}):
        pass
    tracing.close()
    ((path, body),) = collector.taken
    assert path == "/v1/traces"
    assert all(text in body for text in (b"heliotrope-test", b"POST /x", b"answer nox"))


def test_a_ratio_of_zero_sends_only_what_the_caller_traces(collector: Collector) -> None:
    tracing = Tracing.open(collector.url, ratio=0.0, service="x")
    with tracing.request("unasked", {}, {}):
        pass
    with tracing.request("asked for", PARENT, {}):
        pass
    tracing.close()
    ((_, body),) = collector.taken
    assert b"asked for" in body
    assert b"unasked" not in body
