"""Ridge regression in closed form, its moments summed over chunks of rows: memory does not grow with the data."""

from __future__ import annotations

import numpy as np

from training.core.windows import Floats


class NormalEquations:
    """First and second moments of inputs (N, F) and outputs (N, G), summed around the first chunk's means.

    References
    ----------
    Hoerl and Kennard (1970), Ridge Regression: Biased Estimation for Nonorthogonal Problems. Ours standardises the
    inputs, which makes the penalty free of units and of the number of rows.
    """

    def __init__(self) -> None:
        self._total = 0.0

    def add(self, inputs: Floats, outputs: Floats, weights: Floats | None = None) -> None:
        """Count a chunk in; `weights` (N,) say how much each row counts, 1 when None."""
        joint = np.hstack([inputs, outputs])
        if not self._total:
            self._split, self._shift = inputs.shape[1], joint.mean(axis=0)
            self._sum = np.zeros(joint.shape[1])
            self._products = np.zeros((inputs.shape[1], joint.shape[1]))
        joint -= self._shift
        weighted = joint if weights is None else joint * weights[:, None]
        self._total += len(joint) if weights is None else float(weights.sum())
        self._sum += weighted.sum(axis=0)
        self._products += weighted[:, : self._split].T @ joint

    @property
    def means(self) -> tuple[Floats, Floats]:
        """(F,) and (G,) the weighted means of inputs and outputs."""
        means = self._shift + self._sum / self._total
        return means[: self._split], means[self._split :]

    def solve(self, alpha: float) -> tuple[Floats, Floats]:
        """Return coefficients (F, G) and intercepts (G,) of the standardised ridge regression.

        Parameters
        ----------
        alpha
            Weight of the penalty on squared coefficients, beside the mean squared error; 0 or more.
        """
        off = self._sum / self._total
        moments = self._products / self._total - np.outer(off[: self._split], off)
        spread = np.sqrt(np.diag(moments).clip(0))
        scale = np.where(spread > 0, spread, 1.0)
        scaled = moments[:, : self._split] / np.outer(scale, scale)
        target = moments[:, self._split :] / scale[:, None]
        weights, *_ = np.linalg.lstsq(scaled + alpha * np.eye(self._split), target)
        weights /= scale[:, None]
        inputs, outputs = self.means
        return weights, outputs - inputs @ weights
