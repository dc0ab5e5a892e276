"""The judged rows of a series with their events."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from training.alarms.event import Event
from training.alarms.triage import ranked
from training.core.schema import Column
from training.core.windows import Floats, Times
from training.evaluation.threshold import Reading


@dataclass(frozen=True, kw_only=True)
class JudgedSeries:
    """The later rows of a series.

    Parameters
    ----------
    series
        Id.
    columns, targets
        C columns that explain; names of those among them that are watched.
    learned_rows
        Rows before, which taught what is normal.
    times, values
        (R,), (R, C) the judged rows.
    low, high
        (R, C) what would have been normal, 95 %.
    scores
        (R,) higher is stranger; NaN where a row could not be judged.
    readings
        Row -> what the threshold said of its score; rows without a score are not there.
    events
        In order of time, those that nobody is told of among them.
    months
        That the rows span.
    lean
        Natural logarithm of how many times fewer alarms feedback lets through.
    members
        Member of an ensemble -> (R,) its surprise in nats.
    says
        `member`, `weight`, `why`, the weightiest first; empty where there is no ensemble.
    """

    series: str
    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    learned_rows: int
    times: Times
    values: Floats
    low: Floats
    high: Floats
    scores: Floats
    readings: Mapping[int, Reading]
    events: tuple[Event, ...]
    months: float
    lean: float = 0.0
    members: Mapping[str, Floats] = field(default_factory=dict)
    says: tuple[Mapping[str, Any], ...] = ()

    @property
    def alarms(self) -> tuple[Event, ...]:
        """Those that somebody is told of, the most severe first."""
        return ranked(self.events)

    def facts(self) -> dict[str, Any]:
        """Return JSON-able facts."""
        return {
            "series": self.series,
            "learned_rows": self.learned_rows,
            "judged_rows": len(self.times),
            "judged_from": pd.Timestamp(self.times[0]).isoformat(),
            "judged_to": pd.Timestamp(self.times[-1]).isoformat(),
            "months": self.months,
            "alarms": len(self.alarms),
            "quieted": len(self.events) - len(self.alarms),
            "alarms_factor_by_feedback": math.exp(-self.lean),
            "members": [dict(say) for say in self.says],
        }
