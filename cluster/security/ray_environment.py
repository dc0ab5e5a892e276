"""What Ray must be told to ask for a token and to encrypt: variables that all its processes need alike."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cluster.security.certificates import certificate_files
from cluster.security.key_file import refuse_open_file
from cluster.settings import Settings

TOKEN_BYTES = 32


def ray_variables(settings: Settings) -> dict[str, str]:
    """Return the RAY_* variables that the settings ask for; none where they ask for nothing.

    Ray's own token file is readable by everybody, and its mode differs by the way it is started: both are said here
    instead. TLS covers what Ray's processes say to each other by gRPC; the dashboard and the HTTP API are not
    covered, the first because it listens on the loopback device only, the second by ML_TLS_DIR.

    Raises
    ------
    ConfigError
        A file is missing or open to others.
    """
    variables: dict[str, str] = {}
    if settings.ray_token_file is not None:
        _make_token(settings.ray_token_file)
        refuse_open_file(settings.ray_token_file, "Ray token file")
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(settings.ray_token_file)}
    if settings.ray_tls_dir is not None:
        certificate, key, authority = certificate_files(settings.ray_tls_dir, authority=True)
        variables |= {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(certificate),
            "RAY_TLS_SERVER_KEY": str(key),
            "RAY_TLS_CA_CERT": str(authority),
        }
    return variables


def _make_token(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(TOKEN_BYTES))
