"""How a pipeline tells where it is; the command line draws bars from it, a job prints lines."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the state of named phases."""

    def update(self, phase: str, done: float, total: float, note: str = "") -> None:
        """Tell that `done` of `total` units of `phase` are finished."""
        ...


class Silent:
    """Shows nothing."""

    def update(self, phase: str, done: float, total: float, note: str = "") -> None:
        """Do nothing."""
