"""The fast sliding statistics against the plain ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.features.rolling import STATISTICS, sliding_statistics


def plain(values: list[float], statistic: str) -> float:
    """Compute one statistic of one run of rows as a textbook does."""
    mean = sum(values) / len(values)
    if statistic == "mean":
        return mean
    if statistic == "std":
        return float(np.sqrt(sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)))
    return min(values) if statistic == "min" else max(values)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 70),
    windows=st.lists(st.integers(1, 40), min_size=1, max_size=4, unique=True),
    offset=st.sampled_from([0.0, 1e3, -1e6]),
)
def test_sliding_statistics_equal_the_plain_ones(seed: int, rows: int, windows: list[int], offset: float) -> None:
    values = np.random.default_rng(seed).normal(offset, 3.0, (2, rows, 2))
    found = sliding_statistics(values, windows)
    for (statistic, window), fast in found.items():
        count = max(rows - window + 1, 0)
        slow = [
            [[plain(values[s, t : t + window, k].tolist(), statistic) for k in range(2)] for t in range(count)]
            for s in range(2)
        ]
        expected = np.array(slow).reshape(2, count, 2)
        assert fast.shape == expected.shape
        # At an offset of 1e6 the plain sums lose six digits of sixteen themselves.
        tolerance = 0.0 if statistic in ("min", "max") else 1e-9 + 1e-12 * abs(offset)
        np.testing.assert_allclose(fast, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_sliding_statistics_equal_those_of_pandas(statistic: str) -> None:
    values = np.random.default_rng(1).normal(50, 10, 500)
    fast = sliding_statistics(values[None, :, None], (30,), (statistic,))[statistic, 30][0, :, 0]
    slow = pd.Series(values).rolling(30).agg(statistic)
    np.testing.assert_allclose(fast, slow.dropna().to_numpy(), rtol=1e-10)


def test_a_constant_series_has_no_spread_however_large_it_is() -> None:
    values = np.full((1, 60, 1), 1e15 + 0.125)
    found = sliding_statistics(values, (7, 14, 30))
    for window in (7, 14, 30):
        assert (found["std", window] == 0).all()
        assert (found["mean", window] == values[0, 0, 0]).all()


def test_an_old_spike_leaves_no_trace_in_later_windows() -> None:
    """Where running sums carry an error of the spike's size for ever."""
    values = np.sin(np.arange(200.0))
    spiked = values.copy()
    spiked[10] = 1e17
    found = [sliding_statistics(v[None, :, None], (7,))["std", 7][0, 20:] for v in (values, spiked)]
    np.testing.assert_array_equal(found[0], found[1])
