"""Conformal intervals against ranks counted one by one, and their promise of coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.core.intervals import KEPT_ERRORS, ConformalIntervals
from training.core.windows import Floats

RNG = np.random.default_rng(9)


def plain_quantile(errors: list[float], point: float, level: float) -> float:
    """The finite-sample rank, away from the middle on both sides."""
    ordered, k = sorted(errors), len(errors)
    if level == 0.5:
        rank = round((k - 1) / 2)
    elif level > 0.5:
        rank = math.ceil((k + 1) * level) - 1
    else:
        rank = math.floor((k + 1) * level) - 1
    return point + ordered[min(max(rank, 0), k - 1)]


@pytest.mark.parametrize("count", [1, 2, 19, 100])
def test_quantiles(count: int) -> None:
    actual, predicted = RNG.normal(size=(2, count, 3, 2))
    intervals = ConformalIntervals.fit(actual, predicted)
    point, levels = RNG.normal(size=(4, 3, 2)), np.array([0.01, 0.05, 0.3, 0.5, 0.62, 0.95, 0.999])
    got = intervals.quantiles(point, levels)
    for n, h, t in np.ndindex(*point.shape):
        errors = [float(each) for each in (actual - predicted)[:, h, t]]
        expected = [plain_quantile(errors, float(point[n, h, t]), float(level)) for level in levels]
        assert got[n, h, t] == pytest.approx(expected)


def test_confidence() -> None:
    actual, predicted = RNG.normal(0, 2, size=(2, 50, 3, 2))
    point = RNG.normal(0, 10, size=(6, 3, 2))
    got = ConformalIntervals.fit(actual, predicted).confidence(point)
    for n, h, t in np.ndindex(*point.shape):
        errors = (actual - predicted)[:, h, t]
        assert got[n, h, t] == pytest.approx(sum(abs(e) <= abs(point[n, h, t]) / 10 for e in errors) / 50)


def test_many_errors_are_thinned_without_moving_the_quantiles() -> None:
    errors = RNG.normal(size=(10 * KEPT_ERRORS, 1, 1))
    intervals = ConformalIntervals.fit(errors, np.zeros_like(errors))
    assert intervals.errors.shape == (KEPT_ERRORS, 1, 1)
    levels = np.array([0.025, 0.2, 0.5, 0.9])
    assert intervals.quantiles(np.zeros((1, 1, 1)), levels)[0, 0, 0] == pytest.approx(
        np.quantile(errors, levels), abs=0.01
    )


@pytest.mark.parametrize("count", [30, 200])
def test_the_interval_covers_what_it_promises(count: int) -> None:
    levels = np.array([0.05, 0.95])
    covered: list[float] = []
    for _ in range(300):
        draws: Floats = RNG.standard_t(3, size=(count + 20, 1, 1))
        intervals = ConformalIntervals.fit(draws[:count], np.zeros((count, 1, 1)))
        low, high = np.moveaxis(intervals.quantiles(np.zeros((20, 1, 1)), levels), -1, 0)
        covered.append(float(((draws[count:] >= low) & (draws[count:] <= high)).mean()))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.07)
    assert np.mean(covered) > 0.89
