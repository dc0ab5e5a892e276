"""Many series at once: alone as their thresholds say, together earlier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cluster.errors import DataError, UnknownNameError, UserError
from training.evaluation.alarm_budget import Budget
from training.evaluation.many_series import alarms_together
from training.evaluation.peaks_threshold import PeaksThreshold

BUDGET = Budget(step_s=300, alarms_per_series_per_month=20)
NAMES = [f"mill-{number}" for number in range(12)]


@pytest.fixture(scope="module")
def thresholds() -> dict[str, PeaksThreshold]:
    rng = np.random.default_rng(0)
    return {
        name: PeaksThreshold().fit(np.abs(rng.normal(size=3_000)) * (1 + at), BUDGET)
        for at, name in enumerate(NAMES)
    }


def test_calm_series_alarm_as_often_as_alone(thresholds: Any) -> None:
    scores = np.abs(np.random.default_rng(1).normal(size=(12, 20_000))) * np.arange(1.0, 13.0)[:, None]
    together = alarms_together(thresholds, NAMES, scores)
    alone = np.stack([thresholds[name].alarms(row) for name, row in zip(NAMES, scores, strict=True)])
    assert not (alone & ~together).any()
    assert together.sum() <= 1.1 * alone.sum()


def test_what_is_strange_in_all_is_believed_earlier(thresholds: Any) -> None:
    below = np.array([[thresholds[name].level * 0.9] for name in NAMES])
    assert not any(thresholds[name].alarms(row).any() for name, row in zip(NAMES, below, strict=True))
    assert alarms_together(thresholds, NAMES, below).all()
    below[1:] = 0.1
    assert not alarms_together(thresholds, NAMES, below).any()


@pytest.mark.parametrize(
    ("series", "scores", "error", "message"),
    [
        (["mill-0", "x"], np.ones((2, 3)), UnknownNameError, "unknown series 'x'"),
        (["mill-0"], np.ones(3), DataError, r"scores do not match the series: got shape \(3,\), expected \(1, N\)"),
        (["mill-0"], np.full((1, 2), np.nan), DataError, "a score cannot be judged: row 0: got nan"),
    ],
)
def test_refused(thresholds: Any, series: list[str], scores: Any, error: type[UserError], message: str) -> None:
    with pytest.raises(error, match=message):
        alarms_together(thresholds, series, scores)
