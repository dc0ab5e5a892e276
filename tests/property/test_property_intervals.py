"""Intervals: ordered at any levels, covering what they promise, and honest whatever the errors do."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.core.adaptive import RATE, TRACKED, AdaptiveIntervals, follow, moved
from training.core.intervals import ConformalIntervals
from training.core.windows import Floats

LEVELS = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=9, unique=True).map(sorted)
SEEDS = st.integers(0, 2**32 - 1)


def errors_of(seed: int, shape: tuple[int, ...]) -> Floats:
    """Return errors with heavy tails, ties and a drift."""
    rng = np.random.default_rng(seed)
    errors = rng.standard_t(2, size=shape) + np.linspace(0, rng.normal(0, 3), shape[0]).reshape(
        -1, *[1] * (len(shape) - 1)
    )
    return np.round(errors, int(rng.integers(0, 4)))


@settings(max_examples=40, deadline=None)
@given(levels=LEVELS, seed=SEEDS, count=st.integers(1, 60))
def test_quantiles_never_cross(levels: list[float], seed: int, count: int) -> None:
    errors = errors_of(seed, (count + 30, 3, 2))
    base = ConformalIntervals.fit(errors[:count], np.zeros((count, 3, 2)), np.abs(errors[:count, 0]))
    issued = follow(AdaptiveIntervals(base), np.arange(30), errors[count:])
    wanted = np.array(levels)
    for offsets in (base.offsets(wanted), moved(base, issued, wanted)):
        assert (np.diff(offsets, axis=-1) >= 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, count=st.sampled_from([19, 39, 100]))
def test_exchangeable_errors_are_covered(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    series = 4000  # as many independent calibrations, as targets
    errors = rng.standard_t(3, size=(count + 1, 1, series))
    intervals = ConformalIntervals.fit(errors[:count], np.zeros((count, 1, series)))
    for share in (0.9, 0.8):
        low, high = np.moveaxis(intervals.offsets(np.array([(1 - share) / 2, (1 + share) / 2])), -1, 0)
        covered = ((errors[count] >= low) & (errors[count] <= high)).mean()
        assert covered >= share - 4 * np.sqrt(share * (1 - share) / series)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(100, 400), kind=st.sampled_from(["random", "against", "jump", "grow"]))
def test_long_run_coverage_against_any_errors(data: st.DataObject, rows: int, kind: str) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    base = ConformalIntervals.fit(rng.normal(size=(300, 1, 1)), np.zeros((300, 1, 1)))
    adaptive, reach = AdaptiveIntervals(base), 20.0
    gain = RATE * float(np.ptp(base.offsets(np.array([0.025, 0.975]))))
    start = adaptive.tracked[0, 0].copy()
    below, below_unsorted = np.zeros(len(TRACKED)), np.zeros(len(TRACKED))
    for row in range(rows):
        issued = adaptive.tracked[0, 0]
        error = {
            "random": rng.uniform(-reach, reach),
            "against": np.clip(issued[-2] + 0.01 if row % 2 else issued[1] - 0.01, -reach, reach),
            "jump": reach if row > rows / 2 else 0.0,
            "grow": reach * row / rows,
        }[kind]
        below += error <= issued
        below_unsorted += error <= adaptive._tracked[0, 0]
        adaptive.learn(np.array([[error]]))
    moves = (reach + np.abs(start)) / gain + 1
    assert (np.abs(below_unsorted - rows * np.array(TRACKED)) <= moves).all()
    # What is issued is sorted, which moves a count from one level to another and loses none.
    assert below.sum() == below_unsorted.sum()
