"""Feedback: stored for good, once, moving thresholds only as the list of changes says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.clock import ManualClock
from cluster.errors import ArtifactCorrupt, ConfigError, TransientError, UnknownNameError
from cluster.storage.files import Storage
from training.alarms import feedback as room
from training.alarms.feedback import FILE, Feedback, FeedbackLedger, Judge, Outcome, Remember
from training.evaluation.alarm_budget import Budget
from training.evaluation.peaks_threshold import PeaksThreshold


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


@pytest.fixture
def feedback(storage: Storage) -> Feedback:
    made = Feedback(storage, ManualClock(1_000.0))
    for event in ("one", "two", "three"):
        made.remember(event, "mill", {"summary": event}, (1.0, 0.0))
    return made


def threshold() -> PeaksThreshold:
    scores = np.abs(np.random.default_rng(0).normal(size=3_000))
    return PeaksThreshold().fit(scores, Budget(step_s=300, alarms_per_series_per_month=8))


def test_a_dismissal_raises_the_level_and_is_on_the_list(feedback: Feedback) -> None:
    peaks = threshold()
    before, modelled = peaks.level, peaks.expected_alarms_per_month
    change = feedback.judge("one", "dismissed", by="ana", note="cleaning", threshold=peaks)
    assert change is not None
    assert peaks.level > before
    assert peaks.expected_alarms_per_month == pytest.approx(modelled / 2, rel=0.02)
    assert peaks.budget.alarms_per_series_per_month == 8
    assert list(change.levels or ()) == pytest.approx([before, peaks.level])
    assert change.factor == pytest.approx(0.5)
    assert change.sentence() == (
        "mill: event one dismissed by ana, so its threshold lets through 0.5 times the alarms; its level went "
        f"from {before:.4g} to {peaks.level:.4g}"
    )
    assert feedback.changes("mill") == (change,)
    assert feedback.changes("other") == ()


def test_confirmations_give_back_and_never_more_than_the_budgets_factor(feedback: Feedback) -> None:
    peaks = threshold()
    for event in ("one", "two", "three"):
        feedback.judge(event, "confirmed", by="ana", threshold=peaks)
    assert peaks.lean == pytest.approx(-math.log(1.5))
    assert 8 < peaks.expected_alarms_per_month <= 12.01


def test_saying_the_same_again_changes_nothing_and_another_word_replaces(feedback: Feedback) -> None:
    feedback.judge("one", "dismissed", by="ana")
    assert feedback.judge("one", "dismissed", by="ana") is None
    assert feedback.ledger.lean("mill") == pytest.approx(math.log(2))
    changed = feedback.judge("one", "confirmed", by="bo")
    assert changed is not None
    assert feedback.ledger.lean("mill") == pytest.approx(-math.log(1.5))
    assert feedback.judge("one", "dismissed", by="ana") is not None
    assert feedback.ledger.lean("mill") == pytest.approx(math.log(2))
    assert [change.outcome for change in feedback.changes()] == ["dismissed", "confirmed", "dismissed"]


def test_it_survives_its_process(feedback: Feedback, storage: Storage) -> None:
    feedback.judge("one", "dismissed", by="ana", note="cleaning")
    again = Feedback(storage, ManualClock())
    assert again.changes() == feedback.changes()
    assert again.ledger.events["one"]["note"] == "cleaning"
    moved = threshold()
    level = moved.level
    again.move(moved, "mill")
    assert moved.level > level


def test_what_could_not_be_stored_has_not_happened(feedback: Feedback, storage: Storage, monkeypatch: Any) -> None:
    peaks = threshold()
    level = peaks.level

    def full(path: str, data: bytes) -> None:
        raise TransientError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", full)
        with pytest.raises(TransientError):
            feedback.judge("one", "dismissed", by="ana", threshold=peaks)
    assert (peaks.level, feedback.changes()) == (level, ())
    assert feedback.judge("one", "dismissed", by="ana", threshold=peaks) is not None


@pytest.mark.parametrize(
    ("event", "outcome", "by", "error", "message"),
    [
        ("four", "dismissed", "ana", UnknownNameError, "unknown event 'four'.* Known: one, three, two"),
        ("one", "ignored", "ana", ConfigError, "outcome: got 'ignored', expected one of confirmed, dismissed"),
        ("one", "dismissed", "", ConfigError, "by: got nothing, expected who judges the alarm"),
    ],
)
def test_refused(
    feedback: Feedback, event: str, outcome: Any, by: str, error: type[Exception], message: str
) -> None:
    for peaks in (None, threshold()):
        with pytest.raises(error, match=message):
            feedback.judge(event, outcome, by=by, threshold=peaks)
    assert feedback.changes() == ()


def test_a_broken_file_is_said(feedback: Feedback, storage: Storage) -> None:
    storage.write_bytes(FILE, b"{")
    with pytest.raises(ArtifactCorrupt, match="anomaly/feedback"):
        Feedback(storage, ManualClock())


def test_forgotten_events_leave_what_they_moved(monkeypatch: Any) -> None:
    monkeypatch.setattr(room, "KEPT_EVENTS", 3)
    ledger = FeedbackLedger()
    for number in range(8):
        ledger.apply(Remember(event=str(number), series="mill", facts={}, vector=()), 0.0)
        if number < 3:
            ledger.apply(Judge(event=str(number), outcome="dismissed", by="ana"), 0.0)
    assert len(ledger.events) == 3
    assert ledger.lean("mill") == pytest.approx(3 * math.log(2))
    again = FeedbackLedger.from_json(ledger.to_json())
    assert again.lean("mill") == ledger.lean("mill")


def test_outcomes_are_two() -> None:
    assert room.OUTCOMES == ("confirmed", "dismissed")
    assert room.leaning([]) == 0.0
    outcomes: list[Outcome] = ["dismissed"] * 9
    assert room.leaning(outcomes) == pytest.approx(math.log(32))
