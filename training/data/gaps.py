"""Missing values: runs of them, and what is put in their place."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from training.core.windows import Floats, Ints

Filling = Literal["refuse", "linear", "seasonal", "previous", "zero"]

LOOKS_AHEAD = frozenset({"linear"})
"""Fillings that use a value after the gap; the others are what one knew at the time."""


NEAR = 3
"""Fewest rows before a gap that tell by how much the level has changed since the last season."""


def missing_runs(values: Floats) -> Ints:
    """Return (G, 2) the half-open stretches of NaN in `values` (R,)."""
    edges = np.diff(np.concatenate([[0], np.isnan(values).astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def fill(values: Floats, policy: Filling, season: int) -> Floats:
    """Return `values` (R,) with every NaN replaced that the policy can replace.

    - `linear`: the line between the values around the gap; after the last value, that value. Looks ahead.
    - `seasonal`: the same step one season before, moved by what the rows before the gap, as many as
      it has, differ from theirs; where there is no season before, as `previous`.
    - `previous`: the last value before the gap.
    - `zero`: nothing was used, nothing emitted.

    But for `zero`, what lies before the first value stays NaN: nothing is known of it.
    """
    if policy == "zero":
        return np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return values.copy()
    if policy == "linear":
        filled = np.interp(np.arange(len(values)), known, values[known])
        filled[: known[0]] = np.nan
        return filled
    filled = values.copy()
    for start, stop in missing_runs(values):
        if start:
            filled[start:stop] = filled[start - 1]
            if policy == "seasonal" and start >= season:
                filled[start:stop] = _last_season(filled, int(start), int(stop), season)
    return filled


def _last_season(values: Floats, start: int, stop: int, season: int) -> Floats:
    ago = start - season + np.arange(stop - start) % season
    rows = min(np.clip(stop - start, NEAR, season), start - season)  # as far back as the gap is long
    change = values[start - rows : start] - values[start - rows - season : start - season]
    change = change[~np.isnan(change)]
    told = values[ago] + (change.mean() if len(change) else 0.0)
    return np.where(np.isnan(told), values[start - 1], told)


def longest(mask: npt.NDArray[np.bool_]) -> int:
    """Return the length of the longest stretch of True in `mask` (R,)."""
    runs = missing_runs(np.where(mask, np.nan, 0.0))
    return int((runs[:, 1] - runs[:, 0]).max(initial=0))
