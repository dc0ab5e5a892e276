"""Split conformal intervals: the errors made on data set aside say how wide to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from training.core.component import State
from training.core.windows import Floats

KEPT_ERRORS = 2000
"""Sorted errors kept a step: exact up to as many calibration forecasts, a fine grid of ranks beyond."""


@dataclass(frozen=True)
class ConformalIntervals:
    """Sorted signed errors (actual - predicted) of each step and target on the calibration part.

    A level's quantile is the point plus the error at that level's conformal rank, so the interval between levels
    a/2 and 1 - a/2 covers the truth with at least 1 - a while errors stay exchangeable. Levels are free.

    Parameters
    ----------
    errors
        (K, H, T) sorted along K.

    References
    ----------
    Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World; Romano, Patterson and Candes (2019),
    Conformalized Quantile Regression, for the two-sided finite-sample ranks.
    """

    errors: Floats

    @classmethod
    def fit(cls, actual: Floats, predicted: Floats) -> Self:
        """Keep the sorted errors of N forecasts, both (N, H, T)."""
        errors = np.sort(actual - predicted, axis=0)
        if len(errors) > KEPT_ERRORS:
            errors = errors[np.linspace(0, len(errors) - 1, KEPT_ERRORS).round().astype(int)]
        return cls(errors)

    def quantiles(self, point: Floats, levels: Floats) -> Floats:
        """Return (N, H, T, Q) for `point` (N, H, T) and increasing `levels` (Q,)."""
        count = len(self.errors)
        upper = np.ceil((count + 1) * levels) - 1
        lower = np.floor((count + 1) * levels) - 1
        ranks = np.where(levels > 0.5, upper, np.where(levels < 0.5, lower, (count - 1) / 2))
        ranks = np.clip(ranks, 0, count - 1).round().astype(int)
        shifts = np.moveaxis(self.errors[ranks], 0, -1)
        return point[..., None] + shifts[None]

    def confidence(self, point: Floats, tolerance: float = 0.10) -> Floats:
        """Return (N, H, T): the share of calibration errors no larger than `tolerance` of each point."""
        allowed = tolerance * np.abs(point)
        out = np.empty_like(point)
        for h, t in np.ndindex(*point.shape[1:]):
            errors = self.errors[:, h, t]
            inside = np.searchsorted(errors, allowed[:, h, t], side="right")
            inside -= np.searchsorted(errors, -allowed[:, h, t], side="left")
            out[:, h, t] = inside / len(errors)
        return out

    def state(self) -> State:
        """Return the errors for an artifact."""
        return {"errors": self.errors}
