"""Weights of regressors in each window, leaning on what all windows say together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from training.core.component import State
from training.core.windows import Floats

LEANINGS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Weight of the pooled estimate beside one average window's evidence: from the window's own to everybody's."""
CHUNK = 512
"""Windows whitened at a time."""


@dataclass(frozen=True, kw_only=True)
class Regressors:
    """Bayesian regression of each window's whitened values on its whitened regressors.

    The pooled weights, in units of a window's own error, are the prior: where a regressor hardly moves in a window
    its weight is the pooled one, not noise divided by nothing.

    Parameters
    ----------
    whiten
        (L, L) one-step errors of a window in units of their standard deviations.
    scales
        (K,) root mean square of each whitened regressor over a training window's sum.
    pooled
        (K,) weights that all training windows agree on, of scaled regressors and errors.
    leaning
        Weight of the pooled estimate beside an average window's evidence, above 0.
    """

    whiten: Floats
    scales: Floats
    pooled: Floats
    leaning: float

    @classmethod
    def fit(cls, whiten: Floats, values: Floats, regressors: Floats) -> Self:
        """Pool the evidence of windows (N, L) with regressors (N, L, K)."""
        scales = np.sqrt(np.square(whiten @ regressors).sum(axis=1).mean(axis=0))
        scales = np.where(scales > 0, scales, 1.0)
        none = cls(whiten=whiten, scales=scales, pooled=np.zeros(len(scales)), leaning=LEANINGS[0])
        grams, products, _ = none._evidence(values, regressors)
        pooled = np.linalg.pinv(grams.mean(axis=0), hermitian=True, rcond=1e-9) @ products.mean(axis=0)
        return replace(none, pooled=pooled)

    def leanings(self) -> list[Self]:
        """Return variants that lean on the pooled weights from hardly to wholly."""
        return [replace(self, leaning=each) for each in LEANINGS]

    def effect(self, weights: Floats, values: Floats, past: Floats, ahead: Floats) -> Floats:
        """Return (N, H), to add to the forecast `values @ weights.T`.

        Parameters
        ----------
        weights
            (H, L) of the filter.
        values, past, ahead
            (N, L) windows, (N, L, K) and (N, H, K) regressors.
        """
        out = np.empty((len(values), len(weights)))
        for start in range(0, len(values), CHUNK):
            rows = slice(start, start + CHUNK)
            grams, products, errors = self._evidence(values[rows], past[rows])
            grams = grams + self.leaning * np.eye(len(self.scales))
            slopes = np.linalg.solve(grams, (products + self.leaning * self.pooled)[..., None])[..., 0]
            slopes *= errors[:, None] / self.scales
            moved = ahead[rows] - weights @ past[rows]
            out[rows] = np.einsum("nhk,nk->nh", moved, slopes)
        return out

    def _evidence(self, values: Floats, regressors: Floats) -> tuple[Floats, Floats, Floats]:
        """Return products (N, K, K), (N, K) of whitened, scaled columns and errors, and the errors' sizes (N,)."""
        columns = self.whiten @ regressors / self.scales
        errors = values @ self.whiten.T
        sizes = np.sqrt(np.square(errors).sum(axis=1))
        errors = errors / np.where(sizes > 0, sizes, 1.0)[:, None]
        return columns.transpose(0, 2, 1) @ columns, np.einsum("nlk,nl->nk", columns, errors), sizes

    def state(self) -> State:
        """Return the constructor's arguments."""
        return {"whiten": self.whiten, "scales": self.scales, "pooled": self.pooled, "leaning": self.leaning}
