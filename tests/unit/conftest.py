"""Unit tests start no Ray, sleep not, and open no socket."""

from __future__ import annotations

import socket
import time
from typing import Any, NoReturn

import pytest
import ray


@pytest.fixture(autouse=True)
def _pure(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(what: str) -> Any:
        def forbidden(*args: Any, **kwargs: Any) -> NoReturn:
            pytest.fail(f"a unit test called {what}: move it to tests/integration, or inject a clock or a fake")

        return forbidden

    monkeypatch.setattr(ray, "init", forbid("ray.init"))
    monkeypatch.setattr(time, "sleep", forbid("time.sleep"))
    # The class itself stays: event loops build a socket pair that is never bound to a port.
    for name in ("connect", "connect_ex", "bind", "listen"):
        monkeypatch.setattr(socket.socket, name, forbid(f"socket.{name}"))
