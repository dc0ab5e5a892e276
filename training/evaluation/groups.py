"""Which series are alike enough to be forecast by one choice of families: by what their past looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.core.panel import Panel
from training.core.windows import Floats

SHORT_SEASONS = 3
"""Below so many seasons of rows a series says little of its season."""
MANY_ZEROS = 0.25
"""Share of zeros from which demand is intermittent: a mean interval of 1.32 rows between two that are not zero."""
STRONG_SEASON = 0.64
"""Strength of season from which Hyndman's `nsdiffs` takes a seasonal difference."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a series' past looks like.

    Parameters
    ----------
    rows
        How many.
    zeros
        Share of its values that are zero, 0 .. 1.
    season
        Strength of its season, 0 .. 1: the share of the detrended variance that the mean season explains.

    References
    ----------
    Syntetos, Boylan and Croston (2005), On the categorization of demand patterns, for the interval of 1.32;
    Wang, Smith and Hyndman (2006), Characteristic-based clustering for time series data, for the strength of a
    season. Ours takes the mean season in place of an STL decomposition: a thousand series take a fraction of a
    second.
    """

    rows: int
    zeros: float
    season: float

    def group(self, season_length: int) -> str:
        """Return `short`, `intermittent`, `seasonal` or `plain`, the first that applies."""
        if self.rows < SHORT_SEASONS * max(season_length, 2):
            return "short"
        if self.zeros >= MANY_ZEROS:
            return "intermittent"
        return "seasonal" if self.season >= STRONG_SEASON else "plain"


def groups_by_look(panel: Panel) -> Mapping[str, str]:
    """Return series -> group, by the first target; give it the rows before the test part only."""
    table, season = panel.table, panel.schema.season_length
    values = table.rows[:, table.positions(panel.schema.target_names[:1])[0]]
    parts = zip(table.series, table.segments[:-1], table.segments[1:], strict=True)
    return {name: look_of(values[start:stop], season).group(season) for name, start, stop in parts}


def look_of(values: Floats, season_length: int) -> Look:
    """Return what a series of values (R,) looks like."""
    known = values[np.isfinite(values)]
    zeros = float((known == 0).mean()) if len(known) else 0.0
    return Look(rows=len(values), zeros=zeros, season=season_strength(known, season_length))


def season_strength(values: Floats, season_length: int) -> float:
    """Return the share of the detrended variance that the mean season explains; 0 with fewer than two seasons."""
    cycles = len(values) // season_length if season_length > 1 else 0
    if cycles < 2:
        return 0.0
    kept = values[len(values) - cycles * season_length :].reshape(cycles, season_length)
    detrended = kept - kept.mean(axis=1, keepdims=True)
    total = float(np.square(detrended).sum())
    if total <= 1e-20 * float(np.square(kept).sum()):
        return 0.0
    rest = float(np.square(detrended - detrended.mean(axis=0)).sum())
    # a mean season of pure noise explains 1 / cycles of its variance; that share is taken off
    return max(0.0, 1.0 - rest / total * cycles / (cycles - 1))
