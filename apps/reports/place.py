"""Where a run's report is."""

from __future__ import annotations

from pathlib import Path

REPORT = "report.html"
"""Name of the report among a run's files."""


def report_path(home: Path, run: str) -> Path:
    """Return where the machine that trained keeps the report of a run; a copy is with the run's files."""
    return home / "reports" / run / REPORT


def told_place(home: Path, run: str) -> str:
    """Return where to find the report of a run that has one, in words where it was written on another machine."""
    path = report_path(home, run)
    return str(path) if path.exists() else f"{REPORT} among the files of run {run} in the experiment UI"
