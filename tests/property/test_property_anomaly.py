"""Dismissals never lower a threshold; repeats are never louder; similar events are the nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.alarms.feedback import FeedbackLedger, Judge, Outcome, Remember, leaning
from training.alarms.similar import nearest
from training.evaluation.alarm_budget import Budget
from training.evaluation.false_discovery import benjamini_hochberg, joint_alarms
from training.evaluation.threshold import THRESHOLDS

OUTCOMES = st.lists(st.sampled_from(["confirmed", "dismissed"]), max_size=12)
SCORES = np.abs(np.random.default_rng(0).normal(size=2_000))
BUDGET = Budget(step_s=300, alarms_per_series_per_month=40)
FITTED = [THRESHOLDS.load(name)().fit(SCORES, BUDGET) for name in THRESHOLDS]


@given(outcomes=OUTCOMES, place=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_dismissal_never_lowers_a_level(outcomes: list[Outcome], place: int) -> None:
    more: list[Outcome] = [*outcomes[:place], "dismissed", *outcomes[place:]]
    changed: list[Outcome] = ["dismissed" if at == place else each for at, each in enumerate(outcomes)]
    for threshold in FITTED:
        level = threshold.level_with(leaning(outcomes))
        assert threshold.level_with(leaning(more)) >= level
        assert threshold.level_with(leaning(changed)) >= level


@given(words=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["confirmed", "dismissed"])), max_size=20))
@settings(max_examples=60, deadline=None)
def test_the_list_of_changes_adds_up_to_the_lean(words: list[tuple[int, Any]]) -> None:
    ledger = FeedbackLedger()
    for event in range(5):
        ledger.apply(Remember(event=str(event), series="mill", facts={}, vector=()), 0.0)
    for event, outcome in words:
        before = ledger.lean("mill")
        ledger.apply(Judge(event=str(event), outcome=outcome, by="ana"), 0.0)
        assert outcome == "confirmed" or ledger.lean("mill") >= before
    moved = sum(change["lean_after"] - change["lean_before"] for change in ledger.changes)
    assert abs(moved - ledger.lean("mill")) < 1e-9


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=30), q=st.floats(0.01, 0.5))
@settings(max_examples=60, deadline=None)
def test_benjamini_hochberg_is_its_definition(p: list[float], q: float) -> None:
    values, count = np.array(p), len(p)
    kept = max((k for k in range(1, count + 1) if sorted(p)[k - 1] / (q / count) <= k), default=0)
    assert benjamini_hochberg(values, q).sum() >= kept  # ties of the k-th are found with it
    assert (benjamini_hochberg(values, q) == (values / (q / count) <= kept)).all() or kept == 0
    alone = values[:, None] <= q / count
    assert (joint_alarms(values[:, None], np.array([q / count])) >= alone).all()


@given(count=st.integers(1, 30), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_similar_events_are_the_nearest(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 6))
    events: dict[str, dict[str, Any]] = {
        str(at): {"vector": list(each), "outcome": None, "series": "a", "note": "", "facts": {}}
        for at, each in enumerate(vectors)
    }
    wanted = rng.normal(size=6)
    found = nearest(wanted, events, count=3)
    plain = sorted((float(each @ wanted) for each in vectors), reverse=True)[:3]
    assert np.allclose([each.similarity for each in found], plain)
