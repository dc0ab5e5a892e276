"""Means and covariances of what one arm has seen: constant memory, any number of rows side by side."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cluster.errors import DataError

Floats = NDArray[np.float64]


class Moments:
    """Count, mean and covariance of D numbers seen together, for each of some rows.

    Parameters
    ----------
    dimensions
        D: 1 for a mean, 2 for a ratio (numerator, denominator) or an outcome with its covariate.
    rows
        Leading shape: arms, experiments.
    """

    def __init__(self, dimensions: int = 1, rows: tuple[int, ...] = ()) -> None:
        self.count = np.zeros(rows)
        self.mean = np.zeros((*rows, dimensions))
        self._spread = np.zeros((*rows, dimensions, dimensions))

    def update(self, values: ArrayLike) -> None:
        """Take in observations: (*rows, N, D).

        Raises
        ------
        DataError
            A number is not finite, or the shape is another.
        """
        x = np.asarray(values, dtype=np.float64)
        if x.shape[:-2] != self.count.shape or x.shape[-1] != self.mean.shape[-1] or not np.isfinite(x).all():
            raise DataError.at(
                "moments", got=f"shape {x.shape}", expected=f"finite numbers, {self.count.shape} + (N, D)"
            )
        if x.shape[-2]:
            mean = x.mean(axis=-2)
            off = x - mean[..., None, :]
            self._merge(np.float64(x.shape[-2]), mean, np.swapaxes(off, -1, -2) @ off)

    def merge(self, other: Moments) -> None:
        """Add what another has seen."""
        self._merge(other.count, other.mean, other._spread)

    def _merge(self, count: Any, mean: Floats, spread: Floats) -> None:
        total = self.count + count
        share = np.divide(count, total, out=np.zeros_like(total), where=total > 0)
        off = mean - self.mean
        self._spread += spread + (self.count * share)[..., None, None] * off[..., :, None] * off[..., None, :]
        self.mean = self.mean + share[..., None] * off
        self.count = total

    @property
    def covariance(self) -> Floats:
        """Unbiased covariance, (*rows, D, D); infinite on the diagonal below two observations."""
        enough = self.count >= 2
        found = self._spread / np.where(enough, self.count - 1, 1.0)[..., None, None]
        unknown = np.where(np.eye(self.mean.shape[-1], dtype=bool), np.inf, 0.0)
        return np.where(enough[..., None, None], found, unknown)

    def to_json(self) -> dict[str, Any]:
        """Return the whole state."""
        return {"count": self.count.tolist(), "mean": self.mean.tolist(), "spread": self._spread.tolist()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        mean = np.asarray(state["mean"], dtype=np.float64)
        self = cls(mean.shape[-1], mean.shape[:-1])
        self.count, self.mean = np.asarray(state["count"], dtype=np.float64), mean
        self._spread = np.asarray(state["spread"], dtype=np.float64)
        return self
