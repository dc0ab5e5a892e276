"""By how much each column raised a detector's score: Shapley values against what would have been usual."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from training.core.windows import Floats

Mask = npt.NDArray[np.bool_]
MOST_CALLS = 64
"""Scores that an explanation may cost: exact up to six columns, above that orders are drawn."""


def contributions(score: Callable[[Mask], float], columns: int, *, seed: int = 0) -> Floats:
    """Return (C,) contributions that sum to the score with all columns as measured less that with none.

    A column contributes what it adds to the score when it turns from usual to measured, on average over the orders
    in which columns may turn. No detector has to be told apart from another: each is asked for scores alone.

    Parameters
    ----------
    score
        (C,) which columns are as measured, the others as usual -> the score.
    columns
        C, 1 or more.
    seed
        Of the orders that are drawn, for more columns than `MOST_CALLS` allows to do exactly.

    References
    ----------
    Lundberg and Lee (2017), A Unified Approach to Interpreting Model Predictions; Mitchell et al. (2022), Sampling
    permutations for Shapley value estimation, for orders with their reverses. Ours replaces a column by what would
    have been usual at that time, and not by draws from a background.
    """
    known: dict[bytes, float] = {}

    def cached(mask: Mask) -> float:
        key = mask.tobytes()
        if key not in known:
            known[key] = score(mask)
        return known[key]

    exact = 2**columns <= MOST_CALLS
    return _exact(cached, columns) if exact else _drawn(cached, columns, np.random.default_rng(seed))


def _exact(score: Callable[[Mask], float], columns: int) -> Floats:
    found = np.zeros(columns)
    for c in range(columns):
        others = [each for each in range(columns) if each != c]
        for size in range(columns):
            weight = 1.0 / (columns * comb(columns - 1, size))
            for chosen in combinations(others, size):
                mask = np.zeros(columns, dtype=bool)
                mask[list(chosen)] = True
                without = score(mask)
                mask[c] = True
                found[c] += weight * (score(mask) - without)
    return found


def _drawn(score: Callable[[Mask], float], columns: int, rng: np.random.Generator) -> Floats:
    """Return the mean over some orders and their reverses."""
    pairs = max(1, MOST_CALLS // (2 * columns))
    found = np.zeros(columns)
    for _ in range(pairs):
        order = rng.permutation(columns)
        for each in (order, order[::-1]):
            mask = np.zeros(columns, dtype=bool)
            before = score(mask)
            for c in each:
                mask[c] = True
                after = score(mask)
                found[c] += after - before
                before = after
    return found / (2 * pairs)
