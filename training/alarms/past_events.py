"""What is remembered of past events, read where others write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.clock import Clock
from cluster.storage.files import Storage
from training.alarms.event import Event
from training.alarms.feedback import Feedback, FeedbackLedger

FRESH_S = 5.0
"""How long what was read is taken for true: a judgement counts in served answers this much later."""


class PastEvents:
    """The feedback ledger for readers: served models ask it, and write nothing.

    Parameters
    ----------
    storage
        Where the ledger lives.
    clock
        Tells when to read again.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock
        self._ledger, self._read_s = FeedbackLedger(), -FRESH_S

    def events(self) -> Mapping[str, Mapping[str, Any]]:
        """Return id -> event, with its outcome."""
        return self._fresh().events

    def lean(self, series: str) -> float:
        """Return how far judgements have moved a series' threshold."""
        return self._fresh().lean(series)

    def keep(self, events: Sequence[Event]) -> None:
        """Keep nothing: who only asks leaves no trace; see `Feedback` for who judges."""

    def _fresh(self) -> FeedbackLedger:
        now_s = self._clock.now_s()
        if abs(now_s - self._read_s) >= FRESH_S:
            self._ledger, self._read_s = Feedback(self._storage, self._clock).ledger, now_s
        return self._ledger
