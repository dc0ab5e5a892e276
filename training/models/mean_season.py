"""The mean course of a season, and where in it a moment stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from training.core.windows import Floats, Ints, Times, Windows

FIRST = np.datetime64("1970-01-05", "ns")
"""A Monday, so that a season of a week begins with the week."""


@dataclass(frozen=True)
class MeanSeason:
    """The mean of each place in the season, as difference from the series' means; one course for all series.

    Parameters
    ----------
    course
        (S, T) what each place adds; one row of zeros where there is no season.
    frequency
        pandas offset alias of the step.
    """

    course: Floats
    frequency: str

    @classmethod
    def fit(cls, windows: Windows, season: int | None) -> Self:
        """Average the rows that the windows cover; a place that they never reach adds nothing."""
        width = windows.rows.shape[1]
        if season is None:
            return cls(np.zeros((1, width)), windows.frequency)
        covered, owner = covered_rows(windows), series_of_rows(windows)
        rows = windows.rows[covered]
        level = _means(rows, owner[covered], len(windows.series))[owner[covered]]
        places = places_of(windows.times[covered], season, windows.frequency)
        return cls(_means(rows - level, places, season), windows.frequency)

    def at(self, times: Times) -> Floats:
        """Return (..., T): what the season adds at each of the times (...)."""
        added: Floats = self.course[places_of(times, len(self.course), self.frequency)]
        return added


def places_of(times: Times, season: int, frequency: str) -> Ints:
    """Return where in a season of `season` steps each time stands: the same in training and in serving."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    if isinstance(offset, pd.offsets.Tick):
        return ((times - FIRST) // pd.Timedelta(offset).to_timedelta64()).astype(np.int64) % season
    if not times.size:
        return np.zeros(times.shape, dtype=np.int64)
    grid = pd.date_range(min(FIRST, times.min()), max(FIRST, times.max()), freq=frequency).to_numpy()
    return (np.searchsorted(grid, times) - np.searchsorted(grid, FIRST)) % season


def covered_rows(windows: Windows) -> Ints:
    """Return the positions of the rows that belong to any of the windows."""
    edges = np.zeros(len(windows.rows) + 1, dtype=np.int64)
    np.add.at(edges, windows.starts, 1)
    np.add.at(edges, windows.starts + windows.length, -1)
    return np.flatnonzero(np.cumsum(edges[:-1]) > 0)


def series_of_rows(windows: Windows) -> Ints:
    """Return (R,) the number of the series that each row belongs to."""
    return np.repeat(np.arange(len(windows.series)), np.diff(windows.segments))


def _means(rows: Floats, group: Ints, groups: int) -> Floats:
    """Return (groups, T) the mean row of each group; zeros for a group without rows."""
    sums = np.zeros((groups, rows.shape[1]))
    np.add.at(sums, group, rows)
    means: Floats = sums / np.maximum(np.bincount(group, minlength=groups), 1)[:, None]
    return means
