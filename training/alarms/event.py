"""An event: rows that belong together, what they mean, and what to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from training.alarms.event_types import EventType
from training.alarms.evidence import Factor
from training.alarms.impact import Impact
from training.alarms.rulebook import Action
from training.alarms.severity import Rating, Severity
from training.alarms.similar import SimilarEvent

Status = Literal["alarm", "repeat", "maintenance"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """What is told of an event.

    Parameters
    ----------
    id
        The same for the same series and start.
    series
        Id.
    start, end, peak
        Times of the first, last and strangest row.
    rows
        From start to end.
    score, level
        The highest of the rows that were strange, and the level as they began. A detector of pieces finds rows
        beside an event strange too: start, end and peak are of rows that are unusual themselves, where some are.
    p_value
        Chance of such a score at a usual row.
    events_per_month
        How often events reach as high while all is as usual.
    types
        Type -> reason, the naming one first.
    rating
        Severity and its reason.
    factors
        The three main ones, with what would have been normal.
    impacts
        Estimated amounts, where units say.
    actions
        What to do, from the rule book.
    similar
        Past events and what came of them.
    vector
        The event as `similar.embed` gives it.
    status, status_reason
        Whether somebody is told: an `alarm` is, a `repeat` and what falls in `maintenance` are only kept.
    """

    id: str
    series: str
    start: pd.Timestamp
    end: pd.Timestamp
    peak: pd.Timestamp
    rows: int
    score: float
    level: float
    p_value: float
    events_per_month: float
    types: dict[EventType, str]
    rating: Rating
    factors: tuple[Factor, ...]
    impacts: tuple[Impact, ...]
    actions: tuple[Action, ...]
    similar: tuple[SimilarEvent, ...]
    vector: tuple[float, ...]
    status: Status = "alarm"
    status_reason: str = ""

    @property
    def type(self) -> EventType:
        """The type that names it."""
        return next(iter(self.types))

    @property
    def severity(self) -> Severity:
        """low, medium, high, critical."""
        return self.rating.severity

    @property
    def summary(self) -> str:
        """One line."""
        return f"{self.severity} {self.type} event of {self.series} at {self.peak}: {self.factors[0].sentence()}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able facts; null for what is not a number."""
        facts = asdict(self) | {"type": self.type, "severity": self.severity, "summary": self.summary}
        facts |= {name: getattr(self, name).isoformat() for name in ("start", "end", "peak")}
        plain: dict[str, Any] = _plain(facts)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
