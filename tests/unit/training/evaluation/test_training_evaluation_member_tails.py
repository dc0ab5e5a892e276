"""Members on one scale: known tails are told as they are, who cannot be calibrated is silent."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.errors import DataError
from training.core.windows import Floats
from training.evaluation.alarm_budget import Budget
from training.evaluation.member_tails import MOST_NATS, MemberTails

BUDGET = Budget(step_s=3_600)
NAMES = ("small", "large")


def scores(rows: int = 4_000) -> Floats:
    """The same kind of scores on scales that are a thousand times apart."""
    told = np.random.default_rng(0).exponential(size=(2, rows))
    told[1] *= 1_000
    return told


def test_surprise_is_minus_the_logarithm_of_the_chance() -> None:
    tails = MemberTails.fit(NAMES, scores(), np.array([1.0, 3.0]), BUDGET)
    new = np.array([[0.7, 2.0, 6.0], [700.0, 2_000.0, 6_000.0]])
    told = tails.surprises(NAMES, new)
    for name in NAMES:  # of an exponential law it is the score itself
        np.testing.assert_allclose(told[name], new[0], rtol=0.15)
    np.testing.assert_allclose(tails.mean(told), 0.25 * told["small"] + 0.75 * told["large"])


def test_rows_without_a_score_are_left_to_the_others() -> None:
    tails = MemberTails.fit(NAMES, scores(), np.ones(2), BUDGET)
    told = tails.surprises(NAMES, np.array([[np.nan, 2.0, np.nan], [1e9, np.nan, np.nan]]))
    assert told["large"][0] <= MOST_NATS
    np.testing.assert_allclose(tails.mean(told), [told["large"][0], told["small"][1], np.nan])


def test_who_cannot_be_calibrated_is_silent_and_says_why() -> None:
    flat = scores()
    flat[0] = 1.0
    tails = MemberTails.fit(NAMES, flat, np.array([1.0, 0.0]), BUDGET)
    assert list(tails.tails) == ["large"]
    assert "all 1" in tails.silent["small"]
    assert tails.weights.tolist() == [1.0]
    with pytest.raises(DataError, match="all 1"):
        MemberTails.fit(NAMES, np.ones((2, 100)), np.ones(2), BUDGET)
