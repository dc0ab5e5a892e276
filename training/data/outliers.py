"""Values that do not fit their season: found by medians, which outliers cannot move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.core.windows import Floats

SEASONS = 7
"""Seasons that a value is compared with: a week where the season is a day."""
NORMAL = 1.4826
"""Standard deviations in a median absolute deviation of normal residuals."""
FEWEST = 3
"""Seasons, or rows, below which there is nothing to judge by."""
NEAREST = 5
"""Rows that show the level now; more in a longer season."""


@dataclass(frozen=True, kw_only=True)
class Fence:
    """What each value may be.

    Parameters
    ----------
    low, high
        (R,); infinite where nothing is known yet.
    """

    low: Floats
    high: Floats

    def outside(self, values: Floats) -> npt.NDArray[np.bool_]:
        """Return (R,) whether a value is beyond the fence; one that was put on it is not."""
        slack = 1e-9 * np.maximum(np.abs(values), 1.0)
        return (values < self.low - slack) | (values > self.high + slack)

    def clip(self, values: Floats) -> Floats:
        """Return the values moved to the fence where they are beyond it (Winsor's way); NaN stays."""
        return np.where(self.outside(values), np.clip(values, self.low, self.high), values)


def fence(values: Floats, *, season: int, deviations: float, causal: bool) -> Fence:
    """Return what each value may be, seen from the rows before it and, unless `causal`, from those after it.

    A value is expected at the median of the same step in the last 7 seasons, moved by the median miss of the last
    rows (a quarter of a season), so a weekend or another level is not an outlier. The fence stands some robust
    standard deviations away, 1.4826 times the median absolute miss: the largest of that of all earlier rows, of
    the last 7 seasons, and of the same step in the last 28. Where one of these is 0, more than half of the values
    being just as expected, there is no spread to judge by and no value is an outlier.

    Parameters
    ----------
    values
        (R,), NaN where missing.
    season
        Steps in a season.
    deviations
        How far out is an outlier, 1 or more: 3 marks 1 of 370 normal values, 6 marks 1 of 500 million. Real loads
        have heavier tails: at 6, 0 to 1.3 % of
        the columns of the bundled samples; causal, 0 to 4 %.
    causal
        True looks back alone: right after a shift of the level, values are outliers. False takes the wider of the
        fences seen from before and from after, so a shift is none and what stands out from both sides is; in the
        first and last 6 seasons one side alone is known.
    """
    back = _seen_from_before(values, season, deviations)
    if causal:
        return Fence(low=_open(back.low, -np.inf), high=_open(back.high, np.inf))
    ahead = _seen_from_before(values[::-1], season, deviations)
    low, high = np.fmin(back.low, ahead.low[::-1]), np.fmax(back.high, ahead.high[::-1])
    return Fence(low=_open(low, -np.inf), high=_open(high, np.inf))


def _open(border: Floats, infinite: float) -> Floats:
    return np.where(np.isnan(border), infinite, border)


def _seen_from_before(values: Floats, season: int, deviations: float) -> Fence:
    """Return the fence by earlier rows; NaN where too little is known of them."""
    profile = _same_step(values, season, SEASONS)
    miss = pd.Series(values - profile)
    near = max(NEAREST, season // 4)
    level = miss.rolling(near, min_periods=FEWEST).median().shift(1)
    size = (miss - level).abs()
    spreads = np.stack(
        [
            size.expanding(season).median().shift(1),
            size.rolling(SEASONS * season, min_periods=season).median().shift(1),
            _same_step(size.to_numpy(), season, 4 * SEASONS),
        ]
    )
    width = deviations * NORMAL * spreads.max(axis=0)
    width[(spreads == 0).any(axis=0)] = np.inf
    middle = profile + level.to_numpy()
    return Fence(low=middle - width, high=middle + width)


def _same_step(values: Floats, season: int, seasons: int) -> Floats:
    """Return (R,) the median of the same step in the seasons before."""
    rows = -(-len(values) // season)
    padded = np.full(rows * season, np.nan)
    padded[: len(values)] = values
    table = pd.DataFrame(padded.reshape(rows, season))
    medians: Floats = table.shift(1).rolling(seasons, min_periods=FEWEST).median().to_numpy()
    return medians.ravel()[: len(values)]
