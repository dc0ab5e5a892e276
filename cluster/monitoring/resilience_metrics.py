"""What a replica tells of its cache, its fallbacks and its breakers."""

from __future__ import annotations

import os
import platform
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge

CACHE_REQUESTS = "ml_cache_requests_total"
CACHE_HIT_RATIO = "ml_cache_hit_ratio"
CACHE_BYTES = "ml_cache_bytes"
CACHE_INVALIDATIONS = "ml_cache_invalidations_total"
CACHE_FAILURES = "ml_cache_failures_total"
CACHE_WARMED = "ml_cache_warmed_total"
FALLBACK_ANSWERS = "ml_fallback_answers_total"
BREAKER_OPENED = "ml_breaker_opened_total"
VERSION = ("model_name", "model_version")


class ResilienceMetrics:
    """Counters and gauges of one process.

    Parameters
    ----------
    registry
        Where they are registered.
    replica
        Label of the gauges, which cannot be added up over processes; host and process where left out.
    """

    def __init__(self, registry: CollectorRegistry, replica: str | None = None) -> None:
        self._replica = replica or f"{platform.node()}:{os.getpid()}"
        self._requests = Counter(
            CACHE_REQUESTS,
            "Questions by where their answer came from: hit, computed, shared",
            (*VERSION, "source"),
            registry=registry,
        )
        self._hit_ratio = Gauge(
            CACHE_HIT_RATIO, "Share of questions answered without computing", ("replica",), registry=registry
        )
        self._bytes = Gauge(CACHE_BYTES, "What kept answers take in memory", ("replica",), registry=registry)
        self._invalidations = Counter(
            CACHE_INVALIDATIONS, "Times kept answers were thrown away", ("reason",), registry=registry
        )
        self._failures = Counter(
            CACHE_FAILURES, "Calls of a cache outside the process that failed or were spared", registry=registry
        )
        self._warmed = Counter(CACHE_WARMED, "Answers renewed before they were asked for", registry=registry)
        self._fallbacks = Counter(
            FALLBACK_ANSWERS,
            "Answers of a lower rung than the wanted version",
            ("model_name", "rung"),
            registry=registry,
        )
        self._opened = Counter(BREAKER_OPENED, "Times a version's circuit opened", VERSION, registry=registry)
        self._asked = self._spared = 0
        # Found once: every request counts these.
        self._of_source, self._own_ratio = cache(self._find), self._hit_ratio.labels(self._replica)
        self._own_bytes = self._bytes.labels(self._replica)

    def _find(self, model: str, source: str) -> Counter:
        name, _, version = model.rpartition("@")
        return self._requests.labels(name, version, source)

    def looked_up(self, model: str, source: str) -> None:
        """Count one answer of `name@version` by its source."""
        self._of_source(model, source).inc()
        self._asked += 1
        self._spared += source != "computed"
        self._own_ratio.set(self._spared / self._asked)

    def holds(self, total_bytes: int) -> None:
        """Tell what the kept answers take."""
        self._own_bytes.set(total_bytes)

    def invalidated(self, reason: str) -> None:
        """Count one invalidation."""
        self._invalidations.labels(reason).inc()

    def cache_failed(self) -> None:
        """Count one call of a cache outside the process that gave nothing."""
        self._failures.inc()

    def warmed(self) -> None:
        """Count one answer renewed ahead of its question."""
        self._warmed.inc()

    def fell_back(self, model: str, rung: str) -> None:
        """Count one answer of a lower rung."""
        self._fallbacks.labels(model, rung).inc()

    def opened(self, model: str) -> None:
        """Count one circuit of `name@version` that opened."""
        name, _, version = model.rpartition("@")
        self._opened.labels(name, version).inc()
