"""Backtests: which origins, and what stands beside what."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.errors import InsufficientHistoryError
from training.core.candidate import HORIZON, Candidate, easy_panel
from training.core.future import future_of
from training.core.panel import Panel
from training.evaluation.backtest import LEVELS, backtest, seasonal_naive_mae
from training.models import MODELS

CANDIDATE = Candidate(MODELS, "ridge")
PANEL, SPLIT = CANDIDATE.panel, CANDIDATE.split


def test_every_horizon_lies_in_the_tested_time() -> None:
    until = SPLIT.test_start + np.timedelta64(30, "h")
    test = backtest(CANDIDATE.model, PANEL, since=SPLIT.test_start, until=until)
    assert test.timestamps.min() == SPLIT.test_start
    assert test.timestamps.max() == until - np.timedelta64(1, "h")
    assert len(test) == 3 * (30 - HORIZON + 1)
    assert test.quantiles.shape == (*test.point.shape, len(LEVELS))


def test_each_origin_is_forecast_as_it_would_have_been_then() -> None:
    test = backtest(CANDIDATE.model, PANEL, since=SPLIT.test_start, stride=11)
    for n in range(len(test)):
        rows = PANEL.frame[PANEL.frame["series_id"] == test.ids[n]]
        known = rows[rows["timestamp"] <= test.origins[n]]
        came = rows[rows["timestamp"].isin(test.timestamps[n])]
        then = CANDIDATE.model.forecast(
            Panel(known, PANEL.schema), future=future_of(PANEL, CANDIDATE.model.known), levels=LEVELS
        )
        assert then.point[0] == pytest.approx(test.point[n], rel=1e-9)
        assert then.values[0] == pytest.approx(test.quantiles[n], rel=1e-9)
        assert np.array_equal(came[["emitted", "used"]].to_numpy(), test.actual[n])
        assert np.array_equal(known[["emitted", "used"]].to_numpy()[-1], test.last[n])


def test_the_unit_of_mase_is_the_naive_error_before_the_test() -> None:
    expected = []
    for target in ("emitted", "used"):
        changes = [
            rows[target].diff(12)[rows["timestamp"] < SPLIT.test_start].abs().dropna()
            for _, rows in PANEL.frame.groupby("series_id")
        ]
        expected.append(float(np.concatenate(changes).mean()))
    assert seasonal_naive_mae(PANEL, ("emitted", "used"), before=SPLIT.test_start) == pytest.approx(expected)


def test_without_a_season_of_rows_mase_has_no_unit() -> None:
    start = easy_panel().frame["timestamp"].min()
    assert np.isnan(seasonal_naive_mae(PANEL, ("used",), before=start)).all()


def test_no_origin_is_an_error_that_says_what_is_missing() -> None:
    with pytest.raises(InsufficientHistoryError, match="nothing to test 'ridge' on: got 0 origins with 24 rows"):
        backtest(CANDIDATE.model, PANEL, since="2031-01-01")
