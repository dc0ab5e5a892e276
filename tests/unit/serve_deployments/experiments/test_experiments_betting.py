"""Betting on bounded means: coverage at all looks, width, and a plain twin."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from cluster.errors import ConfigError, DataError
from serve_deployments.experiments.betting import BOLDEST, BettingMean


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (0.2, 3.0), (30.0, 2.0)])
def test_the_true_mean_is_held_at_all_looks(a: float, b: float) -> None:
    rng = np.random.default_rng(3)
    process, missed = BettingMean(rows=200, alpha=0.1, grid=101), np.zeros(200, dtype=bool)
    for _ in range(250):
        process.update(rng.beta(a, b, 200))
        low, high = process.interval()
        missed |= (low > a / (a + b)) | (high < a / (a + b))
    assert missed.mean() <= 0.1
    assert (high - low).mean() < 0.3


def test_one_sided_evidence_rarely_accuses_the_innocent_and_finds_the_guilty() -> None:
    rng = np.random.default_rng(4)
    process, ever = BettingMean(rows=200, low=-1.0, high=1.0, grid=81), np.zeros(200, dtype=bool)
    for _ in range(300):
        process.update(rng.uniform(-1, 1, 200))
        ever |= process.log_evidence_above(0.0) >= log(20)
    assert ever.mean() <= 0.05
    assert (process.log_evidence_above(-0.5) >= log(20)).all()
    assert (process.log_evidence_below(0.5) >= log(20)).all()


def test_it_is_what_two_plain_gamblers_have() -> None:
    rng = np.random.default_rng(5)
    values, m, alpha = rng.random(30), 0.4, 0.05
    up = down = 1.0
    seen: list[float] = []
    squares = 0.25
    for t, x in enumerate(values, start=1):
        bet = sqrt(2 * log(2 / alpha) / (squares / t * t * log(t + 1)))
        up *= 1 + min(bet, BOLDEST / m) * (x - m)
        down *= 1 - min(bet, BOLDEST / (1 - m)) * (x - m)
        seen.append(x)
        squares += (x - (0.5 + sum(seen)) / (t + 1)) ** 2
    process = BettingMean(alpha=alpha)
    for x in values:
        process.update(x)
    assert process.log_evidence_above(m)[0] == pytest.approx(log(up))
    assert process.log_evidence_below(m)[0] == pytest.approx(log(down))
    assert process.mean[0] == pytest.approx(values.mean())


def test_rows_without_a_number_stay_as_they_are() -> None:
    both, one = BettingMean(rows=2), BettingMean()
    for x in (0.2, 0.9, 0.4):
        both.update([x, np.nan])
        one.update(x)
    assert both.count.tolist() == [3, 0]
    assert both.interval()[0][0] == one.interval()[0][0]
    assert np.isnan(both.mean[1])
    assert (both.interval()[0][1], both.interval()[1][1]) == (0.0, 1.0)


def test_numbers_outside_the_bounds_are_refused() -> None:
    with pytest.raises(DataError, match="betting"):
        BettingMean().update(1.2)
    with pytest.raises(ConfigError, match="mean"):
        BettingMean().log_evidence_above(2.0)
    with pytest.raises(ConfigError, match="bounds"):
        BettingMean(low=1.0, high=0.0)
