"""Adaptive intervals against a plain loop over single numbers, and against what was known when."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.core.adaptive import RATE, TRACKED, AdaptiveIntervals, follow, moved
from training.core.intervals import ConformalIntervals
from training.core.windows import Floats, Ints

RNG = np.random.default_rng(4)
HORIZON, TARGETS = 3, 2


def calibrated(count: int = 200) -> ConformalIntervals:
    return ConformalIntervals.fit(RNG.normal(size=(count, HORIZON, TARGETS)), np.zeros((count, HORIZON, TARGETS)))


def plain(base: ConformalIntervals, rows: Ints, errors: Floats) -> dict[tuple[int, int, int, float], float]:
    """(origin's row, step, target, level) -> the quantile issued there, one number after another."""
    issued: dict[tuple[int, int, int, float], float] = {}
    made = {int(row): errors[n] for n, row in enumerate(rows)}
    for h in range(1, HORIZON + 1):
        for t in range(TARGETS):
            ends = base.offsets(np.array([0.025, 0.975]))[h - 1, t]
            for level in TRACKED:
                quantile = float(base.offsets(np.array([level]))[h - 1, t, 0])
                for now in range(int(rows[0]), int(rows[-1]) + 1):
                    then = now - h  # the forecast whose step h falls on this row
                    if then in made and math.isfinite(made[then][h - 1, t]):
                        below = made[then][h - 1, t] <= issued[then, h, t, level]
                        quantile += RATE / math.sqrt(h) * float(ends[1] - ends[0]) * (level - below)
                    issued[now, h, t, level] = quantile
    return issued


@pytest.mark.parametrize("rows", [np.arange(40), np.arange(7, 67, 2), np.array([3, 4, 9, 20, 21, 22])])
def test_every_issued_quantile(rows: Ints) -> None:
    base, errors = calibrated(), 3 * RNG.standard_t(3, size=(len(rows), HORIZON, TARGETS)) + 1
    errors[RNG.random(errors.shape) < 0.1] = np.nan
    got, expected = follow(AdaptiveIntervals(base), rows, errors), plain(base, rows, errors)
    for n, row in enumerate(rows):
        for h, t in np.ndindex(HORIZON, TARGETS):
            assert got[n, h, t] == pytest.approx(sorted(expected[row, h + 1, t, level] for level in TRACKED))


def test_learning_in_two_goes_is_learning_in_one() -> None:
    base, rows, errors = calibrated(), np.arange(30), RNG.normal(size=(30, HORIZON, TARGETS))
    whole, parts = AdaptiveIntervals(base), AdaptiveIntervals(base)
    together = follow(whole, rows, errors)
    follow(parts, rows[:18], errors[:18])
    again = follow(AdaptiveIntervals(base).restore(parts.state()), rows[10:], errors[10:], after=17)
    assert np.array_equal(again[7:], together[17:])


def test_a_level_between_two_tracked_ones_moves_with_them() -> None:
    base = calibrated()
    knots = base.offsets(np.array(TRACKED))
    levels = np.array([0.001, 0.025, 0.3, 0.5, 0.92, 0.999])
    assert moved(base, knots, levels) == pytest.approx(base.offsets(levels))
    assert moved(base, 2 * knots + 1, levels)[..., 1:5] == pytest.approx(2 * base.offsets(levels)[..., 1:5] + 1)
