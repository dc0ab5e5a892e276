"""Every metric name once, and what one process has counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PREDICTIONS = "ml_predictions_total"
PREDICTION_DURATION = "ml_prediction_duration_seconds"
MODEL_ACCURACY = "ml_model_accuracy"
BATCH_REQUESTS = "ml_batch_requests"
REQUESTS = "ml_requests_total"
REQUESTS_REJECTED = "ml_requests_rejected_total"
BATCHES_RELEASED = "ml_batches_released_total"
ANSWERS_UNWATCHED = "ml_answers_unwatched_total"
AUDIT_DROPPED = "ml_audit_records_dropped_total"
RATE_UNKNOWN = "ml_rate_limit_failures_total"
SERIES_DROPPED = "ml_metric_series_dropped_total"

MODEL_LABELS = ("model_name", "model_version")
# From a tenth of the fastest forecast measured (1 ms) to the default time-out of a request (30 s).
DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One metric's samples at one moment.

    Parameters
    ----------
    name
        As registered, without `_total`.
    kind
        `counter`, `histogram` or `gauge`.
    help
        One line.
    samples
        (sample name, labels) -> value; cumulative for counters and histograms.
    """

    name: str
    kind: str
    help: str
    samples: dict[tuple[str, Labels], float]


Snapshot = tuple[Family, ...]


class Metrics:
    """The counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._predictions = Counter(PREDICTIONS, "Forecast requests answered", MODEL_LABELS, registry=self.registry)
        self._duration = Histogram(
            PREDICTION_DURATION,
            "Seconds from a valid request to its forecast",
            MODEL_LABELS,
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self._accuracy = Gauge(
            MODEL_ACCURACY,
            "Accuracy (1 - WAPE) that the version was registered with",
            MODEL_LABELS,
            registry=self.registry,
        )
        self._batch = Histogram(
            BATCH_REQUESTS,
            "Requests that shared a request's batch, itself counted",
            MODEL_LABELS,
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter(
            REQUESTS, "HTTP requests answered", ("route", "method", "status"), registry=self.registry
        )
        self._rejected = Counter(
            REQUESTS_REJECTED, "HTTP requests answered with a problem", ("reason",), registry=self.registry
        )
        self._released = Counter(
            BATCHES_RELEASED,
            "Batches, by why they were released: full, deadline, idle",
            ("node", "reason"),
            registry=self.registry,
        )
        self._unwatched = Counter(
            ANSWERS_UNWATCHED, "Answers that came faster than observers watch", registry=self.registry
        )
        self._unrecorded = Counter(
            AUDIT_DROPPED, "Requests that the audit log had no room for", registry=self.registry
        )
        self._rate_unknown = Counter(
            RATE_UNKNOWN, "Questions to the shared rate limits without an answer", registry=self.registry
        )

        # A metric finds its series by its labels under a lock, each time; what every request counts is found once.
        self._version = cache(self._find_version)
        self._answers = cache(self._requests.labels)

    def _find_version(self, model: str, version: str) -> tuple[Counter, Histogram, Histogram]:
        labels = (model, version)
        return self._predictions.labels(*labels), self._duration.labels(*labels), self._batch.labels(*labels)

    def predicted(self, model: str, version: str, *, duration_s: float, batch_requests: int) -> None:
        """Count one answered forecast request."""
        predictions, duration, batch = self._version(model, version)
        predictions.inc()
        duration.observe(duration_s)
        batch.observe(batch_requests)

    def accuracy(self, model: str, version: str, accuracy_ratio: float) -> None:
        """Tell the accuracy a version was registered with; start its other series at zero."""
        self._accuracy.labels(model, version).set(accuracy_ratio)

    def serves(self, model: str, version: str) -> None:
        """Start a version's series at zero, so that its first request shows as an increase."""
        self._predictions.labels(model, version)
        self._duration.labels(model, version)

    def answered(self, route: str, method: str, status: int) -> None:
        """Count one HTTP answer."""
        self._answers(route, method, str(status)).inc()

    def rejected(self, reason: str) -> None:
        """Count one problem document by its type."""
        self._rejected.labels(reason).inc()

    def released(self, node: str, reason: str) -> None:
        """Count one batch of a node and why it did not wait longer."""
        self._released.labels(node, reason).inc()

    def unwatched(self, answers: int) -> None:
        """Count answers that no observer saw."""
        self._unwatched.inc(answers)

    def unrecorded(self) -> None:
        """Count a request that the audit log had no room for."""
        self._unrecorded.inc()

    def rate_unknown(self) -> None:
        """Count a question to the shared rate limits that had no answer."""
        self._rate_unknown.inc()

    def predictions(self, model: str, version: str) -> int:
        """Return how many forecasts of a version this process has answered."""
        labels = dict(zip(MODEL_LABELS, (model, version), strict=True))
        return int(self.registry.get_sample_value(PREDICTIONS, labels) or 0)

    def snapshot(self) -> Snapshot:
        """Return all samples now; plain data that travels between processes."""
        return tuple(
            Family(
                name=family.name,
                kind=family.type,
                help=family.documentation,
                samples={
                    (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
                    for sample in family.samples
                    # Creation times differ between replicas and cannot be added up.
                    if not sample.name.endswith("_created")
                },
            )
            for family in self.registry.collect()
        )


def total(snapshot: Iterable[Family], name: str, **labels: str) -> float:
    """Return the sum of the samples called `name` whose labels include `labels`."""
    wanted = set(labels.items())
    return sum(
        value
        for family in snapshot
        for (sample, found), value in family.samples.items()
        if sample == name and wanted <= set(found)
    )
