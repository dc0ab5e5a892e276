"""The experiment pages: MLflow's web interface as a child process on this machine."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from cluster.errors import TransientError
from cluster.ports import LOOPBACK, free_port
from cluster.registry.mlflow_database import artifact_root, connect
from cluster.settings import Settings, masked

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
LAST_WORDS = 800
SERVER = "cluster.registry.ui_server"


class TrackingUi:
    """Serves the pages from entering to leaving the context; also ends when this process dies.

    Parameters
    ----------
    settings
        `registry_url` and `storage_url` say what is shown, `tracking_port` where, or
        a free one where it is 0 or taken; the server's own output goes to `home`/logs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._port = settings.tracking_port
        self._child: subprocess.Popen[bytes] | None = None
        self._log = settings.home / "logs" / "tracking-ui.log"

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def process_id(self) -> int | None:
        """The server's process; None while it is not running."""
        return None if self._child is None else self._child.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises
        ------
        ConfigError
            The registry is not usable.
        TransientError
            The server ended or did not answer in time; its last words are in the message.
        """
        connect(self._settings.registry_url)
        self._port = free_port(self._settings.tracking_port)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", SERVER],
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and wait until it is gone; nothing happens where it is not running."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            _signal(child, signal.SIGTERM)
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _signal(child, signal.SIGKILL)
            child.wait(STOP_TIMEOUT_S)
        finally:
            if child.stdin is not None:
                child.stdin.close()

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "UI_REGISTRY_URL": self._settings.registry_url,
            "UI_ARTIFACT_ROOT": artifact_root(self._settings.storage_url),
            "UI_PORT": str(self._port),
        }

    def _await(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._healthy():
            code = self._child.poll() if self._child else None
            if code is not None or time.monotonic() > deadline:
                state = f"ended with exit code {code}" if code is not None else "did not answer in time"
                raise TransientError(
                    f"the experiment pages at {self.url} {state} ({START_TIMEOUT_S:g} s allowed): {self._tail()}"
                )
            time.sleep(0.05)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=1.0)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _tail(self) -> str:
        words = self._log.read_text(errors="replace")[-LAST_WORDS:].strip()
        return f"{masked(words)} (all of it in {self._log})"


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if child.poll() is None:
        os.killpg(child.pid, number)
