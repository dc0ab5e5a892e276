"""A Ray that asks for a token and speaks TLS: ours gets in and computes, a stranger does not."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from cluster.security.certificates import make_development_certificates

OWNER = """
import os, sys
from cluster.errors import ConfigError
from cluster.lifecycle import Cluster
from cluster.settings import Settings

settings = Settings.from_environment()

def said(address, token):
    import grpc
    files = [(settings.ray_tls_dir / name).read_bytes() for name in ("ca.crt", "tls.key", "tls.crt")]
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(*files)) as channel:
        call = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")
        try:
            call(b"", timeout=10, metadata=[("authorization", "Bearer " + token)])
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

def plain(address):
    import grpc
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")(b"", timeout=3)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

with Cluster.open(settings, num_cpus=1, dashboard=False) as cluster:
    import ray
    assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
    told = {name: os.environ[name] for name in ("RAY_AUTH_MODE", "RAY_USE_TLS")}
    assert told == {"RAY_AUTH_MODE": "token", "RAY_USE_TLS": "1"}, told
    token = settings.ray_token_file.read_text()
    print(said(cluster.address, token), said(cluster.address, "0" * 64), plain(cluster.address))
assert "RAY_AUTH_MODE" not in os.environ
try:
    Cluster.open(settings)
except ConfigError as error:
    assert "open the cluster before" in error.message
    print("late")
"""


@pytest.mark.ray
def test_only_who_has_the_token_and_the_certificate_gets_in(
    run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    make_development_certificates(tmp_path / "tls")
    token = tmp_path / "token"
    settings = {"ML_HOME": str(tmp_path), "ML_RAY_TOKEN_FILE": str(token), "ML_RAY_TLS_DIR": str(tmp_path / "tls")}
    done = run_script(OWNER, env=settings)
    assert done.stdout.split() == ["OK", "UNAUTHENTICATED", "UNAVAILABLE", "late"], done.stderr[-3000:]
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() not in done.stdout + done.stderr
