"""Which events nobody is told of: those in a maintenance window, and repeats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import pandas as pd

from cluster.errors import ConfigError
from training.alarms.event import Event
from training.alarms.severity import SEVERITIES

REPEAT_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Maintenance:
    """A time in which strange rows are expected.

    Parameters
    ----------
    series
        Id, or a pattern with * and ?.
    start, end
        Half-open, end after start.
    reason
        Why.
    """

    series: str
    start: pd.Timestamp
    end: pd.Timestamp
    reason: str

    def __post_init__(self) -> None:
        if not (pd.notna(self.start) and pd.notna(self.end) and self.start < self.end):
            raise ConfigError(
                f"maintenance of '{self.series}': got {self.start} .. {self.end}, expected end after start"
            )
        if not self.series or not self.reason:
            raise ConfigError(f"maintenance: got series '{self.series}' and reason '{self.reason}', expected both")

    def covers(self, event: Event) -> bool:
        """Say whether the whole event lies in the window: one that outlasts it is told."""
        return fnmatchcase(event.series, self.series) and self.start <= event.start and event.end < self.end


def quieted(
    events: Iterable[Event],
    windows: Sequence[Maintenance] = (),
    *,
    repeat_s: float = REPEAT_S,
    told: Sequence[Event] = (),
) -> tuple[Event, ...]:
    """Return the events in order of time, each with its status.

    A repeat has the series, the type and the main column of an alarm that ended at most `repeat_s` before it
    starts, and is not more severe. Repeats do not prolong the quiet: what goes on is told again.

    Parameters
    ----------
    events
        New ones; one that has a status keeps it.
    windows
        Maintenance.
    repeat_s
        Quiet after an alarm, seconds; 0 tells every event.
    told
        Alarms before these events.
    """
    last = {_key(event): event for event in told if event.status == "alarm"}
    out = []
    for event in sorted(events, key=lambda each: (each.start, each.series)):
        window = next((each for each in windows if each.covers(event)), None)
        before = last.get(_key(event))
        if event.status != "alarm":
            out.append(event)
        elif window is not None:
            out.append(replace(event, status="maintenance", status_reason=window.reason))
        elif before is not None and _repeats(event, before, repeat_s):
            reason = f"repeats {before.id}, which ended {before.end} and was {before.severity}"
            out.append(replace(event, status="repeat", status_reason=reason))
        else:
            out.append(event)
            last[_key(event)] = event
    return tuple(out)


def continued(event: Event, told: Sequence[Event]) -> Event:
    """Return an event that began before these rows: a repeat, unless it is more severe than what was told."""
    before = next((each for each in reversed(told) if each.series == event.series and each.status == "alarm"), None)
    if before is not None and SEVERITIES.index(event.severity) > SEVERITIES.index(before.severity):
        return event
    return replace(event, status="repeat", status_reason="goes on from before these rows")


def _key(event: Event) -> tuple[str, str, str]:
    return event.series, event.type, event.factors[0].column


def _repeats(event: Event, before: Event, repeat_s: float) -> bool:
    soon = (event.start - before.end).total_seconds() <= repeat_s
    return soon and SEVERITIES.index(event.severity) <= SEVERITIES.index(before.severity)
