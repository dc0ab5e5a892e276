"""The dominant period of a series, found where its auto-correlation peaks."""

from __future__ import annotations

import numpy as np

from training.core.windows import Floats

LONGEST_READ = 20_000
"""Rows that are looked at: the first ones."""
MOST_LAGS = 400
SHORTEST, FALLBACK = 3, 125
"""The benchmark's: lags below three are noise; without a usable peak pieces have 125 rows."""
USABLE = (3, 300)
"""Peaks, counted from `SHORTEST`, that are taken for a period."""


def autocorrelation(values: Floats, lags: int) -> Floats:
    """Return the auto-correlation at lags 0 to `lags`, fewer where rows are few; 0 where nothing varies."""
    centred = values - values.mean()
    size = len(centred)
    spectrum = np.fft.rfft(centred, 2 ** int(np.ceil(np.log2(2 * size))))
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[: min(lags, size - 1) + 1]
    if covariance[0] <= 0:
        return np.zeros_like(covariance)
    correlation: Floats = covariance / covariance[0]
    return correlation


def dominant_period(values: Floats, *, rank: int = 1) -> int:
    """Return the lag of the highest local peak of the auto-correlation.

    Parameters
    ----------
    values
        (R,) finite, of one column.
    rank
        1 for the highest peak; 2 for the highest of those at longer lags than it, or the first where there is none.

    References
    ----------
    Liu and Paparrizos (2024), The Elephant in the Room: TSB-AD, whose rule for the length of sub-sequences this is:
    lags 3 to 400 of the first 20,000 rows, and 125 where the peak is below lag 6, above 303, or missing.
    """
    peaks = autocorrelation(values[:LONGEST_READ], MOST_LAGS)[SHORTEST:]
    inside = np.flatnonzero((peaks[1:-1] > peaks[:-2]) & (peaks[1:-1] > peaks[2:])) + 1
    if not len(inside):
        return FALLBACK
    order = np.argsort(peaks[inside])[::-1]
    chosen = order[0]
    if rank == 2:
        later = order[order > order[0]]
        chosen = later[0] if len(later) else chosen
    lag = int(inside[chosen])
    return lag + SHORTEST if USABLE[0] <= lag <= USABLE[1] else FALLBACK


def panel_period(rows: Floats, *, rank: int = 1) -> int:
    """Return the dominant period of the column of `rows` (R, C) whose auto-correlation peaks highest."""
    if rows.shape[1] == 1:
        return dominant_period(rows[:, 0], rank=rank)
    found = [dominant_period(column, rank=rank) for column in rows.T]
    strength = [_at(autocorrelation(column, MOST_LAGS), lag) for column, lag in zip(rows.T, found, strict=True)]
    return found[int(np.argmax(strength))]


def repetition(rows: Floats) -> tuple[int, float]:
    """Return the dominant period of `rows` (R, C) and how much they repeat by it, 0 to 1.

    That is the auto-correlation at the period, 0 where it is negative, of the column that has the highest.
    """
    period = panel_period(rows)
    found = max(_at(autocorrelation(column[:LONGEST_READ], MOST_LAGS), period) for column in rows.T)
    return period, min(max(found, 0.0), 1.0)


def _at(correlation: Floats, lag: int) -> float:
    return float(correlation[lag]) if lag < len(correlation) else 0.0
