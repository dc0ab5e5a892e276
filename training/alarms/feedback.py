"""What people said of alarms: kept for good, moving later thresholds, never silently."""

from __future__ import annotations

import fcntl
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from cluster.clock import Clock
from cluster.errors import ConfigError, UnknownNameError
from cluster.state.durable import Durable
from cluster.state.machine import Json, Machine, plain
from cluster.storage.files import Storage
from training.alarms.event import Event
from training.evaluation.threshold import Threshold

Outcome = Literal["confirmed", "dismissed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

STEP = math.log(2.0)
"""One dismissal halves the alarms that a series' threshold lets through."""
MOST_LEAN = math.log(32.0)
LEAST_LEAN = -math.log(1.5)
"""Confirmed alarms are not false, so they may lower a level; never by more than the factor within which a budget is
kept."""
KEPT_EVENTS = 2_000
"""Events that are remembered, about 1 kB each; of the oldest only what they moved stays."""
KEPT_CHANGES = 5_000
FILE = "anomaly/feedback.json"


@dataclass(frozen=True, kw_only=True)
class Remember:
    """Keep an event so that it can be judged and found again; one that is known stays as it is.

    Parameters
    ----------
    event, series
        Ids.
    facts
        JSON shown with it.
    vector
        Its embedding.
    """

    event: str
    series: str
    facts: Mapping[str, Any]
    vector: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Say what an alarm turned out to be; a later word on the same event replaces the earlier one.

    Parameters
    ----------
    event
        Its id.
    outcome
        confirmed or dismissed.
    by, note
        Who says so, and why.
    levels
        Level of the series' threshold before and after, where the caller has one: for the list of changes.
    """

    event: str
    outcome: Outcome
    by: str
    note: str = ""
    levels: tuple[float, float] | None = None


def leaning(outcomes: list[Outcome], start: float = 0.0) -> float:
    """Return the lean after some outcomes, the oldest first: a step up each dismissal, down each confirmation.

    It never falls by a dismissal, wherever in the list: each step is a non-decreasing function of the lean before.
    """
    lean = start
    for outcome in outcomes:
        step = STEP if outcome == "dismissed" else -STEP
        lean = min(max(lean + step, LEAST_LEAN), MOST_LEAN)
    return lean


class FeedbackLedger(Machine[Remember | Judge]):
    """Events with their outcomes, and every change of a threshold with the judgement that made it."""

    kind = "anomaly-feedback"

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.settled: dict[str, float] = {}
        self.changes: list[dict[str, Any]] = []
        self.count = 0

    def apply(self, command: Remember | Judge, now_s: float) -> Json:
        """Answer Remember with `known`, Judge with `change`."""
        match command:
            case Remember():
                return {"known": self._remember(command, now_s)}
            case Judge():
                return {"change": self._judge(command, now_s)}

    def lean(self, series: str) -> float:
        """Return how far a series' threshold leans now."""
        judged = [each for each in self.events.values() if each["series"] == series and each["outcome"]]
        judged.sort(key=lambda each: each["order"])
        return leaning([each["outcome"] for each in judged], self.settled.get(series, 0.0))

    def _remember(self, command: Remember, now_s: float) -> bool:
        if command.event in self.events:
            return True
        self.events[command.event] = {
            "series": command.series,
            "facts": plain(dict(command.facts)),
            "vector": list(command.vector),
            "at_s": now_s,
            "outcome": None,
            "order": None,
            "by": None,
            "note": "",
        }
        while len(self.events) > KEPT_EVENTS:
            self._settle_oldest()
        return False

    def _settle_oldest(self) -> None:
        """Let the oldest unjudged event go, else the one judged first, whose move stays."""
        open_ones = [name for name, event in self.events.items() if not event["outcome"]]
        oldest = (
            open_ones[0]
            if len(open_ones) > 1
            else min(
                (name for name, event in self.events.items() if event["outcome"]),
                key=lambda name: int(self.events[name]["order"]),
            )
        )
        gone = self.events.pop(oldest)
        if gone["outcome"]:
            series = gone["series"]
            self.settled[series] = leaning([gone["outcome"]], self.settled.get(series, 0.0))

    def _judge(self, command: Judge, now_s: float) -> Json:
        if command.event not in self.events:
            raise UnknownNameError.of("event", command.event, list(self.events)[-20:])
        if command.outcome not in OUTCOMES:
            raise ConfigError(f"outcome: got '{command.outcome}', expected one of {', '.join(OUTCOMES)}")
        if not command.by:
            raise ConfigError("by: got nothing, expected who judges the alarm")
        event = self.events[command.event]
        before, was = self.lean(event["series"]), event["outcome"]
        if was == command.outcome:
            return None
        self.count += 1
        event.update(
            outcome=command.outcome,
            order=event["order"] if was else self.count,
            by=command.by,
            note=command.note,
        )
        change = {
            "series": event["series"],
            "event": command.event,
            "outcome": command.outcome,
            "instead_of": was,
            "by": command.by,
            "at_s": now_s,
            "lean_before": before,
            "lean_after": self.lean(event["series"]),
            "levels": list(command.levels) if command.levels else None,
        }
        self.changes = [*self.changes, change][-KEPT_CHANGES:]
        return change

    def to_json(self) -> Json:
        """Return the whole state."""
        return {"events": self.events, "settled": self.settled, "changes": self.changes, "count": self.count}

    @classmethod
    def from_json(cls, state: Json) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls()
        self.events, self.settled, self.changes = state["events"], state["settled"], state["changes"]
        self.count = state["count"]
        return self


@dataclass(frozen=True, kw_only=True)
class ThresholdChange:
    """One line of the list of changes.

    Parameters
    ----------
    series, event, outcome, by, at_s
        What was judged, how, by whom, when.
    factor
        Alarms that the threshold lets through now, over those before.
    levels
        Level before and after, where it was known.
    """

    series: str
    event: str
    outcome: str
    by: str
    at_s: float
    factor: float
    levels: tuple[float, float] | None

    def sentence(self) -> str:
        """Return the change in words."""
        moved = (
            "is where it was" if self.levels is None else f"went from {self.levels[0]:.4g} to {self.levels[1]:.4g}"
        )
        level = "" if self.levels is None else f"; its level {moved}"
        return (
            f"{self.series}: event {self.event} {self.outcome} by {self.by}, so its threshold lets through "
            f"{self.factor:.3g} times the alarms{level}"
        )


class Feedback:
    """The ledger in storage; every judgement is on disk before it is answered, and counts once.

    Parameters
    ----------
    storage, clock
        Where it lives. In a folder any number of processes may write: each does so alone, on what the others left.
        On S3 only one may.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock
        self._read()

    @property
    def ledger(self) -> FeedbackLedger:
        """The state as it is now, whoever wrote it."""
        return FeedbackLedger.from_json(self._read().state())

    def _read(self) -> Durable[Remember | Judge]:
        return Durable(FeedbackLedger, self._storage, FILE, self._clock)

    @contextmanager
    def _alone(self) -> Iterator[Durable[Remember | Judge]]:
        """Give the state to change, while nobody else on this folder does."""
        if self._storage.local is None:
            yield self._read()
            return
        path = self._storage.local / f"{FILE}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._read()

    def events(self) -> Mapping[str, Mapping[str, Any]]:
        """Return id -> event, with its outcome."""
        return self.ledger.events

    def lean(self, series: str) -> float:
        """Return how far a series' threshold leans now."""
        return self.ledger.lean(series)

    def keep(self, events: Sequence[Event]) -> None:
        """Remember events with what is told of them."""
        for event in events:
            self.remember(event.id, event.series, event.to_json() | {"vector": None}, event.vector)

    def remember(self, event: str, series: str, facts: Mapping[str, Any], vector: tuple[float, ...]) -> None:
        """Keep an event; one that is known stays as it is."""
        with self._alone() as state:
            state.do(Remember(event=event, series=series, facts=facts, vector=vector), f"remember-{event}")

    def judge(
        self, event: str, outcome: Outcome, *, by: str, note: str = "", threshold: Threshold | None = None
    ) -> ThresholdChange | None:
        """Store a judgement; return the change it made, None where the same had been said before.

        Parameters
        ----------
        event, outcome, by, note
            See `Judge`.
        threshold
            The series' own; it is moved, and its levels are put on the list.

        Raises
        ------
        UnknownNameError
            Nobody remembers the event.
        ConfigError
            The outcome is none, or nobody says it.
        """
        ledger = self.ledger
        levels = None
        if threshold is not None and event in ledger.events and outcome in OUTCOMES:
            series, before = ledger.events[event]["series"], threshold.level
            ledger.apply(Judge(event=event, outcome=outcome, by=by or "?"), 0.0)
            levels = (before, threshold.level_with(ledger.lean(series)))
        command = Judge(event=event, outcome=outcome, by=by, note=note, levels=levels)
        with self._alone() as state:
            # the number of judgements so far makes a change of mind a new command, and a repeated call the same one
            change = state.do(command, f"judge-{event}-{outcome}-{state.state()['count']}")["change"]
        if change is None:
            return None
        self.move(threshold, change["series"])
        return _change(change)

    def move(self, threshold: Threshold | None, series: str) -> None:
        """Let a threshold lean as the judgements of its series say."""
        if threshold is not None:
            threshold.leaning(self.ledger.lean(series))

    def changes(self, series: str | None = None) -> tuple[ThresholdChange, ...]:
        """Return every change, the oldest first; those of one series where it is named."""
        return tuple(_change(each) for each in self.ledger.changes if series in (None, each["series"]))


def _change(stored: Mapping[str, Any]) -> ThresholdChange:
    levels = stored["levels"]
    return ThresholdChange(
        **{name: stored[name] for name in ("series", "event", "outcome", "by", "at_s")},
        factor=math.exp(stored["lean_before"] - stored["lean_after"]),
        levels=None if levels is None else (float(levels[0]), float(levels[1])),
    )
