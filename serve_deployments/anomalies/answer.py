"""Judged rows and events as the wire carries them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from training.alarms.event import Event
from training.alarms.evidence import Factor
from training.alarms.judged import JudgedSeries
from training.core.windows import Floats
from training.evaluation.threshold import Threshold


def series_fields(judged: JudgedSeries, threshold: Threshold) -> dict[str, Any]:
    """Return the fields of a SeriesScores.

    Parameters
    ----------
    judged
        Rows and events.
    threshold
        As it was fitted.
    """
    count = len(judged.times)
    p_values, strange = np.full(count, np.nan), np.zeros(count, dtype=bool)
    for row, reading in judged.readings.items():
        p_values[row], strange[row] = reading.p_value, reading.strange
    first = next(iter(judged.readings.values()), None)
    return {
        "series_id": judged.series,
        "timestamps": np.datetime_as_string(judged.times, unit="s").tolist(),
        "scores": nullable(judged.scores),
        "p_values": nullable(p_values),
        "strange": strange.tolist(),
        "alarm": _alarmed(judged).tolist(),
        "level": threshold.level if first is None else first.level,
        "budget_alarms_per_month": threshold.budget.alarms_per_series_per_month,
        "events": [event_fields(event) for event in judged.events],
    }


def _alarmed(judged: JudgedSeries) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return (R,) which rows lie in an event that somebody is told of."""
    told = np.zeros(len(judged.times), dtype=bool)
    for event in judged.alarms:
        told |= (judged.times >= np.datetime64(event.start)) & (judged.times <= np.datetime64(event.end))
    return told


def event_fields(event: Event) -> dict[str, Any]:
    """Return the fields of an EventInfo."""
    return {
        "event": event.id,
        "series_id": event.series,
        "start": event.start.isoformat(),
        "end": event.end.isoformat(),
        "peak": event.peak.isoformat(),
        "rows": event.rows,
        "score": event.score,
        "level": event.level,
        "p_value": event.p_value,
        "events_per_month": event.events_per_month,
        "type": event.type,
        "type_reason": event.types[event.type],
        "severity": event.severity,
        "severity_reason": event.rating.reason,
        "status": event.status,
        "status_reason": event.status_reason,
    }


def explained_fields(event: Event) -> dict[str, Any]:
    """Return the fields of an ExplainedEvent."""
    facts = event.to_json()
    return {
        **event_fields(event),
        "types": facts["types"],
        "factors": [factor_fields(factor) for factor in event.factors],
        "similar": facts["similar"],
        "actions": facts["actions"],
        "impacts": facts["impacts"],
    }


def factor_fields(factor: Factor) -> dict[str, Any]:
    """Return the fields of a FactorInfo."""
    return {
        "column": factor.column,
        "unit": factor.unit,
        "share": factor.share,
        "contribution": factor.contribution,
        "deviation": factor.deviation,
        "value": factor.value if math.isfinite(factor.value) else None,
        "normal_low": factor.low,
        "normal_high": factor.high,
        "sentence": factor.sentence(),
    }


def nullable(figures: Floats) -> list[float | None]:
    """Return numbers as JSON has them: null where there is none."""
    return [each if math.isfinite(each) else None for each in figures.tolist()]
