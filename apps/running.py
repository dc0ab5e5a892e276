"""Where the platform that runs on this machine can be reached: a small file beside its data."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from cluster.errors import TransientError
from cluster.settings import Settings
from cluster.storage.files import write_whole

FILE = "running.json"


@dataclass(frozen=True, kw_only=True)
class Running:
    """Addresses of a running platform.

    Parameters
    ----------
    pid
        Process that keeps it up.
    ray_address
        host:port of Ray.
    dashboard_url
        Ray dashboard; jobs are submitted there.
    endpoint
        HTTP API, empty while nothing is served.
    tracking_url
        Experiment UI, empty where it is not shown.
    deployed
        Version of the desired state that was deployed last.
    fault
        Why that version could not be deployed; empty where it was.
    """

    pid: int
    ray_address: str
    dashboard_url: str
    endpoint: str = ""
    tracking_url: str = ""
    deployed: int = 0
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return asdict(self)

    def save(self, settings: Settings) -> None:
        """Tell the other commands."""
        settings.home.mkdir(parents=True, exist_ok=True)
        write_whole(settings.home / FILE, json.dumps(self.to_json(), indent=2).encode())

    @staticmethod
    def forget(settings: Settings) -> None:
        """Take the file away, if it is this process's own."""
        running = find_running(settings)
        if running and running.pid == os.getpid():
            (settings.home / FILE).unlink(missing_ok=True)


def find_running(settings: Settings) -> Running | None:
    """Return the platform that runs here, or None; a file left by a dead process does not count."""
    path = settings.home / FILE
    if not path.is_file():
        return None
    running = Running(**json.loads(path.read_text()))
    return running if _alive(running.pid) else None


def require_running(settings: Settings) -> Running:
    """Return the running platform; raise TransientError that says how to start one."""
    running = find_running(settings)
    if running is None:
        raise TransientError(
            f"no platform runs with the data folder {settings.home}: start one with `heliotrope up`, "
            "or name its folder in ML_HOME",
            retry_after_s=10,
        )
    return running


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
