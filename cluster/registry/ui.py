"""The experiment pages: MLflow's web interface as a child process on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from types import TracebackType
from typing import IO, Self

from cluster.errors import ConfigError, TransientError
from cluster.registry.mlflow_database import artifact_root, connect
from cluster.settings import Settings, masked

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


class TrackingUi:
    """Serves the pages from entering to leaving the context; also ends when this process dies.

    Parameters
    ----------
    settings
        `registry_url` and `storage_url` say what is shown, `tracking_port` where; port 0 takes a free one.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._port = settings.tracking_port
        self._child: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://127.0.0.1:{self._port}"

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
            The port is taken, or the registry is not usable.
        TransientError
            The server ended or did not answer in time; its last words are in the message.
        """
        connect(self._settings.registry_url)
        self._port = _free_port(self._settings.tracking_port)
        self._output = tempfile.TemporaryFile()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "cluster.registry.ui_server"],
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=self._output,
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
            if self._output is not None:
                self._output.close()

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
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _tail(self) -> str:
        if self._output is None:
            return ""
        self._output.seek(0)
        return masked(self._output.read().decode(errors="replace")[-800:].strip())


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if child.poll() is None:
        os.killpg(child.pid, number)


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise ConfigError(
                f"the experiment pages' port is taken: got {wanted}, expected a free port; set ML_TRACKING_PORT "
                "(0 takes any free one)",
                variable="ML_TRACKING_PORT",
                got=wanted,
            ) from error
        return int(probe.getsockname()[1])
