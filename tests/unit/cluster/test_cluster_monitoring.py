"""Metrics of many replicas as one truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.clock import ManualClock
from cluster.monitoring import metrics as names
from cluster.monitoring.aggregate import Aggregate, render
from cluster.monitoring.metrics import Metrics, Snapshot, total

LABELS = {"model_name": "nox", "model_version": "1.0.0"}


def count(metrics: Metrics, times: int) -> None:
    for _ in range(times):
        metrics.predicted("nox", "1.0.0", duration_s=0.02, batch_requests=2)


def predictions(aggregate: Aggregate) -> float:
    return total(aggregate.snapshot(), names.PREDICTIONS, **LABELS)


def test_metric_names_and_labels_are_those_of_the_contract() -> None:
    metrics = Metrics()
    count(metrics, 3)
    metrics.accuracy("nox", "1.0.0", 0.93)
    text = render(metrics.snapshot())
    assert 'ml_predictions_total{model_name="nox",model_version="1.0.0"} 3.0' in text
    assert 'ml_prediction_duration_seconds_count{model_name="nox",model_version="1.0.0"} 3.0' in text
    assert 'ml_model_accuracy{model_name="nox",model_version="1.0.0"} 0.93' in text


def test_two_processes_with_the_same_metrics_do_not_disturb_each_other() -> None:
    one, two = Metrics(), Metrics()
    count(one, 2)
    assert one.predictions("nox", "1.0.0") == 2
    assert two.predictions("nox", "1.0.0") == 0


def test_a_served_version_shows_zero_before_its_first_request() -> None:
    metrics = Metrics()
    metrics.serves("nox", "1.0.0")
    assert 'ml_predictions_total{model_name="nox",model_version="1.0.0"} 0.0' in render(metrics.snapshot())


def test_replicas_add_up_and_repeated_pushes_add_nothing() -> None:
    aggregate, one, two = Aggregate(ManualClock()), Metrics(), Metrics()
    count(one, 3)
    count(two, 4)
    for _ in range(5):
        aggregate.update("one", one.snapshot())
        aggregate.update("two", two.snapshot())
    assert predictions(aggregate) == 7


def test_counters_never_fall_when_a_replica_goes_and_another_comes() -> None:
    aggregate, gone, new = Aggregate(ManualClock()), Metrics(), Metrics()
    count(gone, 5)
    aggregate.update("gone", gone.snapshot())
    seen = [predictions(aggregate)]
    for _ in range(3):
        count(new, 1)
        aggregate.update("new", new.snapshot())
        seen.append(predictions(aggregate))
    assert seen == [5, 6, 7, 8]


def test_a_late_snapshot_neither_lowers_nor_doubles() -> None:
    aggregate, metrics = Aggregate(ManualClock()), Metrics()
    count(metrics, 2)
    early = metrics.snapshot()
    count(metrics, 3)
    aggregate.update("one", metrics.snapshot())
    aggregate.update("one", early)
    aggregate.update("one", metrics.snapshot())
    assert predictions(aggregate) == 5


def test_histogram_buckets_add_up() -> None:
    aggregate, one, two = Aggregate(ManualClock()), Metrics(), Metrics()
    count(one, 3)
    count(two, 4)
    aggregate.update("one", one.snapshot())
    aggregate.update("two", two.snapshot())
    snapshot = aggregate.snapshot()
    assert total(snapshot, "ml_prediction_duration_seconds_bucket", le="0.025", **LABELS) == 7
    assert total(snapshot, "ml_prediction_duration_seconds_bucket", le="0.01", **LABELS) == 0
    assert total(snapshot, "ml_prediction_duration_seconds_sum", **LABELS) == pytest.approx(0.14)


def test_the_accuracy_of_a_retired_version_disappears() -> None:
    clock = ManualClock()
    aggregate, old, new = Aggregate(clock, stale_s=60), Metrics(), Metrics()
    old.accuracy("nox", "1.0.0", 0.9)
    new.accuracy("nox", "2.0.0", 0.95)
    aggregate.update("old", old.snapshot())
    clock.advance(61)
    aggregate.update("new", new.snapshot())
    text = aggregate.text()
    assert 'model_version="2.0.0"} 0.95' in text
    assert 'ml_model_accuracy{model_name="nox",model_version="1.0.0"}' not in text


def test_memory_is_bounded_in_sources() -> None:
    aggregate = Aggregate(ManualClock(), max_sources=3)
    for number in range(10):
        metrics = Metrics()
        count(metrics, 1)
        aggregate.update(f"replica-{number}", metrics.snapshot())
    assert len(aggregate._last) == 3
    assert predictions(aggregate) == 10


def test_memory_is_bounded_in_series_and_tells_what_it_dropped() -> None:
    aggregate, metrics = Aggregate(ManualClock(), max_series=4), Metrics()
    for number in range(10):
        metrics.rejected(f"reason-{number}")
    aggregate.update("one", metrics.snapshot())
    sent = sum(len(family.samples) for family in metrics.snapshot())
    assert sent >= 10
    assert sum(len(family.samples) for family in aggregate.snapshot()) == 4
    assert f"{names.SERIES_DROPPED} {sent - 4}.0" in aggregate.text()


def test_the_text_is_what_prometheus_reads() -> None:
    aggregate, metrics = Aggregate(ManualClock()), Metrics()
    count(metrics, 2)
    metrics.answered('/a"b\n', "GET", 200)
    aggregate.update("one", metrics.snapshot())
    families = {family.name: family for family in text_string_to_metric_families(aggregate.text())}
    assert families["ml_predictions"].samples[0].value == 2
    assert families["ml_requests"].samples[0].labels["route"] == '/a"b\n'


def test_a_snapshot_holds_no_creation_times() -> None:
    def sample_names(snapshot: Snapshot) -> set[str]:
        return {name for family in snapshot for name, _ in family.samples}

    metrics = Metrics()
    count(metrics, 1)
    assert not any(name.endswith("_created") for name in sample_names(metrics.snapshot()))
    assert replace(metrics.snapshot()[0]) == metrics.snapshot()[0]
