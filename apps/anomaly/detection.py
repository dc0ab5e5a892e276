"""What a search found: the judged rows of each series with their events, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from cluster.errors import HeliotropeError
from training.alarms.event import Event
from training.alarms.judged import JudgedSeries
from training.alarms.triage import ranked


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Events of all series.

    Parameters
    ----------
    detector
        Catalog name.
    alarms_per_month
        The budget of each series.
    series
        Those that could be judged.
    errors
        Series -> why it could not be.
    """

    detector: str
    alarms_per_month: float
    series: tuple[JudgedSeries, ...]
    errors: Mapping[str, HeliotropeError] = field(default_factory=dict)

    @property
    def events(self) -> tuple[Event, ...]:
        """All events, in order of time."""
        return tuple(sorted((e for each in self.series for e in each.events), key=lambda e: (e.start, e.series)))

    @property
    def alarms(self) -> tuple[Event, ...]:
        """The alarms of all series, the most severe first."""
        return ranked(self.events)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able facts: alarms ranked, then what nobody is told of."""
        told = self.alarms
        quiet = [event for event in self.events if event.status != "alarm"]
        return {
            "detector": self.detector,
            "budget_alarms_per_series_per_month": self.alarms_per_month,
            "series": [each.facts() for each in self.series],
            "errors": {name: error.message for name, error in self.errors.items()},
            "alarms": [_facts(event) for event in told],
            "quieted": [_facts(event) for event in quiet],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return a row an event, alarms first and ranked."""
        quiet = [event for event in self.events if event.status != "alarm"]
        rows = [event_row(event) for event in (*self.alarms, *quiet)]
        return pd.DataFrame(rows, columns=list(COLUMNS))


def _facts(event: Event) -> dict[str, Any]:
    facts = event.to_json()
    del facts["vector"]
    return facts


COLUMNS = (
    "event", "series_id", "start", "end", "peak", "rows", "status", "severity", "severity_reason", "type",
    "type_reason", "score", "level", "p_value", "events_per_month", "factors", "impact", "impact_unit", "actions",
)  # fmt: skip
"""Of the table of events."""


def event_row(event: Event) -> dict[str, Any]:
    """Return an event as a row of a table."""
    impact = event.impacts[0] if event.impacts else None
    return {
        "event": event.id,
        "series_id": event.series,
        "start": event.start,
        "end": event.end,
        "peak": event.peak,
        "rows": event.rows,
        "status": event.status,
        "severity": event.severity,
        "severity_reason": event.rating.reason,
        "type": event.type,
        "type_reason": event.types[event.type],
        "score": event.score,
        "level": event.level,
        "p_value": event.p_value,
        "events_per_month": event.events_per_month,
        "factors": "; ".join(factor.sentence() for factor in event.factors),
        "impact": impact.amount if impact else None,
        "impact_unit": impact.unit if impact else None,
        "actions": "; ".join(action.text for action in event.actions),
    }
