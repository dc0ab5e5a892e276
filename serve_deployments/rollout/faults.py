"""Tells a loop of crashes, or a health check that goes on failing, from one process that died."""

from __future__ import annotations

from typing import Any, Self

LOOP = 2
"""Faults that came, went and came again: a node that is lost takes its processes once."""
LASTING_S = 30.0
"""A process that died is replaced within some ten seconds."""


class FaultWatch:
    """Faults without statistics, as seen at looks; constant memory.

    A single death says nothing about a version: machines end processes too. It speaks against the version where it
    happens again, or where what took its place does not come up either.
    """

    def __init__(self) -> None:
        self._times, self._since_s = 0, -1.0

    def update(self, faults: tuple[str, ...], now_s: float) -> tuple[str, ...]:
        """Take in what is broken now; return it where it speaks against the version."""
        if not faults:
            self._since_s = -1.0
            return ()
        if self._since_s < 0.0:
            self._times, self._since_s = self._times + 1, now_s
        if self._times >= LOOP:
            return tuple(f"crash loop, {self._times} times: {fault}" for fault in faults)
        lasted_s = now_s - self._since_s
        return tuple(f"for {lasted_s:.0f} s: {fault}" for fault in faults) if lasted_s >= LASTING_S else ()

    def to_json(self) -> dict[str, Any]:
        """Return the whole state."""
        return {"times": self._times, "since_s": self._since_s}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls()
        self._times, self._since_s = data["times"], data["since_s"]
        return self
