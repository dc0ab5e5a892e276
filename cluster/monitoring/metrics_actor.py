"""The aggregate of all replicas' metrics as a named actor. Imported only where Ray runs."""

from __future__ import annotations

from typing import Any

from cluster.actors import detached
from cluster.clock import SystemClock
from cluster.monitoring.aggregate import Aggregate
from cluster.monitoring.metrics import Snapshot


class MetricsActor:
    """Shell over `Aggregate`. After a restart the replicas' next pushes bring their counts back."""

    def __init__(self) -> None:
        self._aggregate = Aggregate(SystemClock())

    def push(self, source: str, snapshot: Snapshot) -> None:
        """Take in a replica's cumulative snapshot."""
        self._aggregate.update(source, snapshot)

    def scrape(self, source: str, snapshot: Snapshot) -> str:
        """Take in the asking replica's snapshot and return the text for Prometheus."""
        self._aggregate.update(source, snapshot)
        return self._aggregate.text()


def actor_name(application: str) -> str:
    """Return the name under which an application's aggregate is found."""
    return f"metrics.{application}"


def get_or_create(application: str) -> Any:
    """Return the handle of an application's aggregate, which outlives the replica that asks first."""
    return detached.get_or_create(MetricsActor, actor_name(application))


def remove(application: str) -> None:
    """End an application's aggregate, if there is one."""
    detached.remove(actor_name(application))
