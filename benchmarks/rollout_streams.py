"""Simulated rollouts: errors of two versions, second by second, up a canary's ladder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LADDER = (0.05, 0.10, 0.25, 0.50)
STAGE_S = 600
BASE_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Counts a second: (runs, seconds), or (runs, segments, seconds).

    Parameters
    ----------
    shares
        The new version's share in each second.
    new_requests, old_requests, new_errors, old_errors
        Counts.
    """

    shares: Floats
    new_requests: Ints
    old_requests: Ints
    new_errors: Ints
    old_errors: Ints


def ladder(stage_s: int = STAGE_S) -> Floats:
    """Return the default canary's share in each second."""
    return np.repeat(LADDER, stage_s)


def streams(
    rng: np.random.Generator,
    *,
    runs: int,
    shares: Floats,
    requests_per_s: float,
    new_rate: float | Floats,
    old_rate: float | Floats = BASE_RATE,
    segments: int = 0,
) -> Streams:
    """Return runs in which each request goes to the new version with the share's probability.

    Parameters
    ----------
    new_rate, old_rate
        Error rates; they broadcast against (runs, segments, seconds).
    segments
        Parts of the traffic, equally large; 0 for no such dimension.
    """
    shape = (runs, segments, len(shares)) if segments else (runs, len(shares))
    each = requests_per_s / max(1, segments)
    new = rng.poisson(np.broadcast_to(each * shares, shape))
    old = rng.poisson(np.broadcast_to(each * (1.0 - shares), shape))
    return Streams(
        shares=shares,
        new_requests=new,
        old_requests=old,
        new_errors=rng.binomial(new, np.broadcast_to(new_rate, shape)),
        old_errors=rng.binomial(old, np.broadcast_to(old_rate, shape)),
    )


def by_share(counts: Ints, shares: Floats) -> tuple[Ints, Floats]:
    """Return running counts, kept apart by share: (..., seconds, W), and the shares (W,)."""
    kinds = np.unique(shares)
    apart = counts[..., None] * (shares[:, None] == kinds)
    return apart.cumsum(axis=-2), kinds


def first(alarm: NDArray[np.bool_]) -> Floats:
    """Return the second (from 1) of the first alarm along the last axis, infinite where there is none."""
    return np.where(alarm.any(axis=-1), alarm.argmax(axis=-1) + 1.0, np.inf)
