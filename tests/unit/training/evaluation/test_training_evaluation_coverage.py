"""Coverage by step and over time: counted by hand, and what comes back after a change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, InsufficientHistoryError
from training.core.candidate import Candidate
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import chronological_split
from training.evaluation.backtest import Backtest, backtest
from training.evaluation.coverage import StepCoverage, interval, interval_score, recovery, rolling_coverage
from training.evaluation.scorecard import Scorecard
from training.models import MODELS
from training.models.seasonal_naive import SeasonalNaive

CANDIDATE = Candidate(MODELS, "seasonal_naive")
HOUR = np.timedelta64(1, "h")


def test_of(inside: list[bool], steps: int = 2) -> Backtest:
    """Return forecasts of 0 within -1 .. 1, the truth inside or outside at all steps of an origin."""
    count = len(inside)
    origins = np.datetime64("2024-01-01", "ns") + np.arange(count) * HOUR
    actual = np.where(inside, 0.5, 3.0)[:, None, None] * np.ones((1, steps, 1))
    return Backtest(
        model="m",
        targets=("a",),
        ids=("s",) * count,
        origins=origins,
        timestamps=origins[:, None] + np.arange(1, steps + 1) * HOUR,
        actual=actual,
        point=np.zeros_like(actual),
        levels=(0.025, 0.975),
        quantiles=np.zeros_like(actual)[..., None] + np.array([-1.0, 1.0]),
        last=np.zeros((count, 1)),
        naive_mae=np.ones(1),
    )


test_of.__test__ = False  # type: ignore[attr-defined]


def test_steps_are_counted_by_hand() -> None:
    test = backtest(CANDIDATE.model, CANDIDATE.panel, since=CANDIDATE.split.test_start)
    steps = StepCoverage.of(test, 0.9)
    low, high = interval(test, 0.9)
    for h, t in np.ndindex(*steps.coverage.shape):
        pairs = list(zip(low[:, h, t], test.actual[:, h, t], high[:, h, t], strict=True))
        assert steps.coverage[h, t] == pytest.approx(np.mean([lo <= y <= hi for lo, y, hi in pairs]))
        assert steps.width[h, t] == pytest.approx(np.mean([hi - lo for lo, _, hi in pairs]))
        score = [hi - lo + 20 * max(lo - y, y - hi, 0) for lo, y, hi in pairs]
        assert steps.score[h, t] == pytest.approx(np.mean(score))


def test_the_true_quantiles_score_best() -> None:
    truth = np.random.default_rng(0).normal(size=20_000)
    scores = {half: interval_score(truth, -half, half, 0.95).mean() for half in (1.0, 1.96, 3.0)}  # type: ignore[arg-type]
    assert min(scores, key=lambda half: scores[half]) == 1.96


def test_the_scorecard_says_the_same() -> None:
    test = backtest(CANDIDATE.model, CANDIDATE.panel, since=CANDIDATE.split.test_start)
    card, steps = Scorecard.of(test), StepCoverage.of(test, 0.95)
    assert card.overall.coverage_95 == pytest.approx(steps.coverage.mean())
    assert card.overall.score_95 == pytest.approx(steps.score.mean())
    assert [step.score_95 for step in card.steps] == pytest.approx(steps.score.mean(axis=1).tolist())
    assert 0 < card.overall.pinball < card.overall.mae


def test_levels_that_are_not_there_are_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"levels 0\.1 and 0\.9"):
        interval(test_of([True]), 0.8)


def test_coverage_rolls_over_origins() -> None:
    test = test_of([True, True, False, False, True])
    times, rolled = rolling_coverage(test, 0.95, origins=2)
    assert rolled == pytest.approx([1, 0.5, 0, 0.5])
    assert times.tolist() == test.origins[:4].tolist()
    with pytest.raises(InsufficientHistoryError, match="got 5 origins, expected 6"):
        rolling_coverage(test, 0.95, origins=6)


def test_recovery_counts_from_the_first_forecast_after_the_change() -> None:
    test = test_of([True] * 4 + [False] * 3 + [True, False] * 10)
    since = test.timestamps[4, 0]
    back = recovery(test, 0.95, since=since, origins=4, band=(0.5, 0.9))
    assert back.steps == 2
    assert back.held == pytest.approx(18 / 20)
    assert back.coverage == pytest.approx(10 / 23)
    assert recovery(test, 0.95, since=since, origins=4, band=(0.9, 1.0)).steps is None


def test_adaptive_intervals_come_back_after_a_shift_and_static_ones_do_not() -> None:
    rng, rows = np.random.default_rng(3), 3000
    steps = np.arange(rows)
    late = steps >= 2200
    values = 50 + np.sin(2 * np.pi * steps / 12) + rng.normal(0, np.where(late, 2.0, 1.0))
    frame = pd.DataFrame({"series_id": "s", "timestamp": pd.Timestamp("2024-01-01") + steps * HOUR, "a": values})
    panel = Panel(frame, Schema(name="s", frequency="h", targets=(Column(name="a"),), season_length=12))
    split = chronological_split(panel, train=0.3, validation=0.4)
    model = SeasonalNaive(season=12).fit_panel(panel, horizon=4, split=split)
    levels = (0.025, 0.975)
    static, adaptive = (
        backtest(model, panel, since=split.test_start, adaptive=flag, levels=levels) for flag in (False, True)
    )
    since, band = frame["timestamp"].to_numpy()[2200], (0.93, 0.97)
    assert recovery(static, 0.95, since=since, origins=400, band=band).coverage < 0.9
    back = recovery(adaptive, 0.95, since=since, origins=400, band=band)
    assert back.steps is not None
    assert back.steps <= 150
