"""What workers tell their driver while they train, and how the driver asks them to stop: two small files.

A folder both sides see is there anyway, for the checkpoints. So no further process is needed, nothing is lost
with a killed worker, and the driver hears reports in its own thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

REPORTS, STOP = "reports.jsonl", "stop"


class Journal:
    """The reports of one run, in a folder on shared storage.

    Parameters
    ----------
    path
        The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0

    def open(self) -> None:
        """Begin a run as its driver: reports of earlier runs are not told again, an old stop is forgotten."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / STOP).unlink(missing_ok=True)
        reports = self.path / REPORTS
        self._read_bytes = reports.stat().st_size if reports.exists() else 0

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one report, in one system call."""
        line = json.dumps({"step": step, "metrics": {key: float(value) for key, value in metrics.items()}})
        file = os.open(self.path / REPORTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)

    def unread(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the whole lines written since the last call."""
        reports = self.path / REPORTS
        if not reports.exists():
            return
        with reports.open("rb") as file:
            file.seek(self._read_bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read_bytes += len(line)
                told = json.loads(line)
                yield int(told["step"]), told["metrics"]

    def ask_to_stop(self) -> None:
        """Ask the workers to stop after the step they are at."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / STOP).touch()

    def stop_asked(self) -> bool:
        """Return whether the driver asked to stop."""
        return (self.path / STOP).exists()
