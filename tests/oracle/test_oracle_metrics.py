"""Metrics against plain loops, and against scikit-learn where it has them."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from sklearn import metrics as sk

from training.core import metrics

RNG = np.random.default_rng(5)
SHAPE = (23, 4, 2)
ACTUAL = RNG.normal(3, 10, SHAPE)
POINT = ACTUAL + RNG.normal(1, 4, SHAPE)
LAST = RNG.normal(3, 10, (23, 2))
LAST[3] = ACTUAL[3, 1]  # a step where the truth did not move
LOW, HIGH = POINT - 5, POINT + 4
PLACES = list(product(*map(range, SHAPE)))


def test_wape() -> None:
    wrong = sum(abs(ACTUAL[p] - POINT[p]) for p in PLACES)
    assert metrics.wape(ACTUAL, POINT) == pytest.approx(wrong / sum(abs(ACTUAL[p]) for p in PLACES))


def test_mae() -> None:
    plain = sum(abs(ACTUAL[p] - POINT[p]) for p in PLACES) / len(PLACES)
    assert metrics.mae(ACTUAL, POINT) == pytest.approx(plain)
    assert metrics.mae(ACTUAL, POINT) == pytest.approx(sk.mean_absolute_error(ACTUAL.ravel(), POINT.ravel()))


def test_rmse() -> None:
    plain = math.sqrt(sum((ACTUAL[p] - POINT[p]) ** 2 for p in PLACES) / len(PLACES))
    assert metrics.rmse(ACTUAL, POINT) == pytest.approx(plain)
    assert metrics.rmse(ACTUAL, POINT) == pytest.approx(sk.root_mean_squared_error(ACTUAL.ravel(), POINT.ravel()))


def test_mase() -> None:
    series = [3.0, 5.0, 4.0, 8.0, 2.0]
    naive = sum(abs(series[i] - series[i - 2]) for i in range(2, 5)) / 3
    assert metrics.mase(np.array([1.0, 2.0]), np.array([2.0, 5.0]), naive) == pytest.approx(2.0 / naive)


def test_r2() -> None:
    mean = sum(ACTUAL[p] for p in PLACES) / len(PLACES)
    plain = 1 - sum((ACTUAL[p] - POINT[p]) ** 2 for p in PLACES) / sum((ACTUAL[p] - mean) ** 2 for p in PLACES)
    assert metrics.r2(ACTUAL, POINT) == pytest.approx(plain)
    assert metrics.r2(ACTUAL, POINT) == pytest.approx(sk.r2_score(ACTUAL.ravel(), POINT.ravel()))


def test_bias() -> None:
    assert metrics.bias(ACTUAL, POINT) == pytest.approx(sum(POINT[p] - ACTUAL[p] for p in PLACES) / len(PLACES))


def test_directional_accuracy() -> None:
    right = moved = 0
    for n, h, t in PLACES:
        change, forecast = ACTUAL[n, h, t] - LAST[n, t], POINT[n, h, t] - LAST[n, t]
        if change != 0:
            moved += 1
            right += (change > 0) == (forecast > 0)
    assert moved < len(PLACES)
    assert metrics.directional_accuracy(ACTUAL, POINT, LAST) == pytest.approx(right / moved)


def test_coverage_and_width() -> None:
    inside = sum(LOW[p] <= ACTUAL[p] <= HIGH[p] for p in PLACES)
    assert 0 < inside < len(PLACES)
    assert metrics.coverage(ACTUAL, LOW, HIGH) == pytest.approx(inside / len(PLACES))
    assert metrics.coverage(ACTUAL, ACTUAL, ACTUAL) == 1
    assert metrics.width(LOW, HIGH) == pytest.approx(9)


def test_pinball() -> None:
    levels = np.array([0.1, 0.5, 0.8])
    quantiles = np.sort(POINT[..., None] + RNG.normal(0, 3, (*SHAPE, 3)), axis=-1)
    total = 0.0
    for p in PLACES:
        for q, level in enumerate(levels):
            error = ACTUAL[p] - quantiles[p][q]
            total += level * error if error >= 0 else (level - 1) * error
    assert metrics.pinball(ACTUAL, quantiles, levels) == pytest.approx(total / len(PLACES) / 3)
    each = [
        sk.mean_pinball_loss(ACTUAL.ravel(), quantiles[..., q].ravel(), alpha=level)
        for q, level in enumerate(levels)
    ]
    assert metrics.pinball(ACTUAL, quantiles, levels) == pytest.approx(np.mean(each))


def test_what_the_data_do_not_define_is_nan() -> None:
    zero = np.zeros((2, 3, 1))
    assert math.isnan(metrics.wape(zero, zero))
    assert math.isnan(metrics.r2(zero, zero))
    assert math.isnan(metrics.mase(zero, zero, 0.0))
    assert math.isnan(metrics.mase(zero, zero, math.nan))
    assert math.isnan(metrics.directional_accuracy(zero, zero, zero[:, 0]))
