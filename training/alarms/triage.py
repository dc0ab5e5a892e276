"""From rows and scores of a series to few, explained, ranked alarms."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from cluster.errors import DataError, SchemaError
from training.alarms.event import Event
from training.alarms.event_types import types_of
from training.alarms.evidence import FACTORS, Evidence, gather
from training.alarms.impact import Impact, impacts
from training.alarms.quiet import REPEAT_S, Maintenance, continued, quieted
from training.alarms.rulebook import RuleBook, default_book
from training.alarms.severity import Rating, rate
from training.alarms.similar import embed, nearest
from training.alarms.usual import Usual, table_of
from training.core.panel import Panel
from training.core.windows import Floats, Times
from training.evaluation.alarm_budget import runs
from training.evaluation.threshold import Reading, Threshold


@dataclass(frozen=True, kw_only=True)
class Triaged:
    """What the threshold and the rows say.

    Parameters
    ----------
    events
        In order of time, those that nobody is told of among them.
    readings
        Row -> what the threshold said of its score; rows without a score are not there.
    """

    events: tuple[Event, ...]
    readings: Mapping[int, Reading]


@dataclass(frozen=True)
class _Rows:
    """A table with its scores."""

    values: Floats
    times: Times
    scores: Floats
    readings: Mapping[int, Reading]


class Memory(Protocol):
    """What triage asks of a store of past events."""

    def events(self) -> Mapping[str, Mapping[str, Any]]:
        """Return id -> event, as in the feedback ledger."""

    def lean(self, series: str) -> float:
        """Return how far judgements have moved a series' threshold."""

    def keep(self, events: Sequence[Event]) -> None:
        """Remember events, where the store may be written to."""


@dataclass(frozen=True, kw_only=True)
class Triage:
    """The alarms of one series.

    Parameters
    ----------
    usual
        What is usual for it.
    threshold
        Fitted on scores of the same detector; it learns as rows come.
    book
        What to do when.
    feedback
        Where events are remembered and judged; None remembers nothing.
    maintenance
        Times in which nobody is told.
    repeat_s
        Quiet after an alarm of the same kind, seconds.
    """

    usual: Usual
    threshold: Threshold
    book: RuleBook = field(default_factory=default_book)
    feedback: Memory | None = None
    maintenance: Sequence[Maintenance] = ()
    repeat_s: float = REPEAT_S

    def examine(
        self,
        panel: Panel,
        scores: Floats,
        *,
        contributed: Callable[[slice], Floats | None] = lambda _: None,
        told: Sequence[Event] = (),
    ) -> Triaged:
        """Return the events of new rows; the threshold learns, the feedback remembers.

        Parameters
        ----------
        panel
            One series with the columns that `usual` knows.
        scores
            (N,) one a row, NaN where a row could not be judged.
        contributed
            Rows of an event -> (C,) by how much each column raised its score; None takes deviations alone.
        told
            Alarms before these rows, for repeats.

        Raises
        ------
        SchemaError
            A column is missing, unknown, or not of numbers.
        DataError
            The series is another one, the clock runs backwards, a value is infinite, or scores do not match.
        """
        values, times = self._table(panel)
        scores = _matching(scores, len(values))
        if self.feedback is not None:
            self.threshold.leaning(self.feedback.lean(self.usual.series))
        readings = self._readings(scores)
        strange = np.zeros(len(scores), dtype=bool)
        strange[[row for row, reading in readings.items() if reading.strange]] = True
        found, known = [], {} if self.feedback is None else self.feedback.events()
        for start, stop in runs(strange, self.threshold.budget.gap):
            whole = slice(int(start), int(stop))
            event = self._judged(_Rows(values, times, scores, readings), whole, contributed(whole))
            event = replace(event, similar=nearest(np.array(event.vector), known, but=event.id))
            found.append(event if readings[int(start)].begins else continued(event, told))
        events = quieted(found, self.maintenance, repeat_s=self.repeat_s, told=told)
        if self.feedback is not None:
            self.feedback.keep(events)
        return Triaged(events=events, readings=readings)

    def _table(self, panel: Panel) -> tuple[Floats, Times]:
        """Return values and times in the order of the usual columns."""
        self._check(panel)
        values, times = table_of(panel)
        if panel.series != (self.usual.series,):
            raise DataError.at(
                "the series is another one", got=f"'{panel.series[0]}'", expected=f"'{self.usual.series}'"
            )
        return values[:, [panel.schema.names.index(name) for name in self.usual.names]], times

    def _readings(self, scores: Floats) -> dict[int, Reading]:
        readings: dict[int, Reading] = {}
        for row, score in enumerate(scores.tolist()):
            if np.isfinite(score):
                readings[row] = self.threshold.update(score)
            else:
                self.threshold.skip()
        return readings

    def _judged(self, rows: _Rows, whole: slice, parts: Floats | None) -> Event:
        """Return the event of strange rows, bounded by those that are unusual themselves."""
        scores = rows.scores
        narrow = self.usual.narrowed(rows.values, rows.times, whole)
        narrow = narrow if np.isfinite(scores[narrow]).any() else whole
        peak = narrow.start + int(np.nanargmax(scores[narrow]))
        highest = whole.start + int(np.nanargmax(scores[whole]))
        # the level as the event began: the event itself raises it
        reading = replace(rows.readings[highest], level=rows.readings[whole.start].level)
        judged = (rows.times[peak], float(scores[highest]), reading)
        return self._event(rows.values[narrow], rows.times[narrow], scores[narrow], judged, parts)

    def _check(self, panel: Panel) -> None:
        for column in panel.schema.names:
            if column not in self.usual.names:
                raise SchemaError.at(
                    "a column was never seen",
                    column=column,
                    got="new",
                    expected=f"one of {', '.join(self.usual.names)}",
                )
        for column in self.usual.names:
            if column not in panel.schema.names:
                raise SchemaError.at(
                    "a column is missing", column=column, got="none", expected=f"column '{column}'"
                )

    def _event(
        self,
        values: Floats,
        times: Times,
        scores: Floats,
        judged: tuple[np.datetime64, float, Reading],
        parts: Floats | None,
    ) -> Event:
        peak, score, reading = judged
        evidence = gather(self.usual, values, times, gap=self.threshold.budget.gap, contributions=parts)
        types, amounts = types_of(evidence), impacts(self.usual, values, times, self.book.conversions)
        chance = self.threshold.expected_rate(score)
        rating = self._rating(evidence, chance, reading, amounts)
        name = f"{self.usual.series}|{times[0]}"
        identity = hashlib.sha256(name.encode()).hexdigest()[:16]
        vector = embed(evidence, types, _filled(scores), chance=chance)
        main = evidence.factors[:FACTORS]
        return Event(
            id=identity,
            series=self.usual.series,
            start=pd.Timestamp(times[0]),
            end=pd.Timestamp(times[-1]),
            peak=pd.Timestamp(peak),
            rows=len(values),
            score=score,
            level=reading.level,
            p_value=reading.p_value,
            events_per_month=chance * self.threshold.budget.rows_per_month,
            types=types,
            rating=rating,
            factors=main,
            impacts=amounts,
            actions=self.book.actions(tuple(types), {each.column: each.unit for each in main}, rating.severity),
            similar=(),
            vector=tuple(vector.tolist()),
        )

    def _rating(self, evidence: Evidence, chance: float, reading: Reading, amounts: tuple[Impact, ...]) -> Rating:
        return rate(
            event_chance=chance,
            allowed_chance=self.threshold.expected_rate(reading.level),
            duration_s=evidence.rows * self.usual.step_s,
            gap_s=self.threshold.budget.gap * self.usual.step_s,
            impact_days=amounts[0].days if amounts else 0.0,
        )


def ranked(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the alarms among events, the most severe first."""
    alarms = [event for event in events if event.status == "alarm"]
    return tuple(sorted(alarms, key=lambda event: (-event.rating.points, event.start)))


def _matching(scores: Floats, rows: int) -> Floats:
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (rows,):
        raise DataError.at("scores do not match the rows", got=f"shape {array.shape}", expected=f"({rows},)")
    infinite = np.flatnonzero(np.isinf(array))
    if len(infinite):
        row = int(infinite[0])
        raise DataError.at("a score cannot be judged", row=row, got=array[row], expected="a finite number or NaN")
    return array


def _filled(scores: Floats) -> Floats:
    known = np.isfinite(scores)
    rows = np.arange(len(scores))
    out: Floats = np.interp(rows, rows[known], scores[known])
    return out
