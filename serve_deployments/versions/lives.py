"""The life cycles of all versions that a process was told to serve, those that never came up among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.clock import Clock
from serve_deployments.resilience.breaker import Circuit
from serve_deployments.versions.life_cycle import LifeCycle, Stage


class Lives:
    """Life cycles by `name@version`.

    Parameters
    ----------
    clock
        Dates their steps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lives: dict[str, LifeCycle] = {}

    def of(self, key: str) -> LifeCycle:
        """Return a version's life cycle, which begins when it is first asked for."""
        if key not in self._lives:
            self._lives[key] = LifeCycle(self._clock)
        return self._lives[key]

    def of_name(self, name: str) -> Mapping[str, LifeCycle]:
        """Return version -> life cycle of a name."""
        found = {key.rpartition("@"): life for key, life in self._lives.items()}
        return {version: life for (owner, _, version), life in found.items() if owner == name}

    def heard(self, key: str, circuit: Circuit, reason: str) -> None:
        """Take in that a version's circuit has changed: while it is not closed, the version is degraded."""
        life = self.of(key)
        if not life.serves:
            return
        if circuit is Circuit.OPEN:
            life.move(Stage.DEGRADED, f"circuit open: {reason}")
        elif circuit is Circuit.CLOSED:
            life.move(Stage.ACTIVE, "circuit closed: its trial calls went well")

    def to_json(self, name: str) -> dict[str, Any]:
        """Return what the status page tells of each version of a name."""
        return {version: life.to_json() for version, life in self.of_name(name).items()}
