"""How clients connect: where, with which key, for how long, and whom they trust."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from apps.client.retry import RetryPolicy
from cluster.errors import ConfigError
from cluster.security.certificates import client_context

API_KEY_VARIABLE = "HELIOTROPE_API_KEY"
"""Where the commands take their key from; not a setting, which would show in `heliotrope status`."""
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach the API.

    Parameters
    ----------
    endpoint
        Base URL, e.g. `http://127.0.0.1:8000`.
    api_key
        Sent as a bearer token where given; never shown.
    timeout_s
        Longest silence while waiting for an answer, or for a free connection.
    ca_file
        Certificates to trust beside the public ones.
    retry
        When to ask again.
    """

    endpoint: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 30.0
    ca_file: Path | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^/]", self.endpoint):
            raise ConfigError(f"endpoint: got '{self.endpoint}', expected http://HOST:PORT or https://HOST:PORT")
        if self.api_key is not None and not re.fullmatch(r"[!-~]+", self.api_key):
            raise ConfigError("API key: got a text with other characters than ASCII's, or spaces; expected a key")

    def options(self) -> dict[str, Any]:
        """Return the arguments of httpx's clients."""
        return {
            "base_url": self.endpoint,
            "headers": {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {},
            "timeout": httpx.Timeout(self.timeout_s, connect=min(CONNECT_TIMEOUT_S, self.timeout_s)),
            "verify": client_context(self.ca_file) if self.endpoint.startswith("https://") else True,
        }
