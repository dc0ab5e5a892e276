"""What a replica tells of the models that share its memory."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cluster.monitoring.metrics import DURATION_BUCKETS_S

MODELS_RESIDENT = "ml_models_resident"
MODELS_RESIDENT_BYTES = "ml_models_resident_bytes"
MODEL_LOADS = "ml_model_loads_total"
MODEL_EVICTIONS = "ml_model_evictions_total"
MODEL_LOAD_SECONDS = "ml_model_load_seconds"


class ModelCacheMetrics:
    """Counters and gauges of one process; none by model: there may be hundreds.

    Parameters
    ----------
    registry
        Where they are registered.
    replica
        Label of the gauges, which cannot be added up over processes.
    """

    def __init__(self, registry: CollectorRegistry, replica: str) -> None:
        gauges = [
            Gauge(name, told, ("replica",), registry=registry).labels(replica)
            for name, told in (
                (MODELS_RESIDENT, "Versions in memory"),
                (MODELS_RESIDENT_BYTES, "What the versions in memory take"),
            )
        ]
        self._resident, self._bytes = gauges
        loads = Counter(
            MODEL_LOADS, "Loads of versions that slept: loaded, failed, no_room", ("outcome",), registry=registry
        )
        self._loads = {outcome: loads.labels(outcome) for outcome in ("loaded", "failed", "no_room")}
        self._evictions = Counter(MODEL_EVICTIONS, "Versions that made room for others", registry=registry)
        self._load_s = Histogram(
            MODEL_LOAD_SECONDS,
            "Seconds from the first request to a sleeping version until it answers, those of failed loads too",
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )

    def holds(self, versions: int, total_bytes: int) -> None:
        """Tell who is in memory."""
        self._resident.set(versions)
        self._bytes.set(total_bytes)

    def woke(self, outcome: str, duration_s: float) -> None:
        """Count one load: `loaded`, `failed` or `no_room`."""
        self._loads[outcome].inc()
        self._load_s.observe(duration_s)

    def evicted(self) -> None:
        """Count one version that made room."""
        self._evictions.inc()
