"""Penalised least squares for many penalties at once, each with its exact leave-one-out errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.core.windows import Floats

CHUNK_ROWS = 4096
"""Rows whose leverages are computed at a time: some megabytes, whatever the number of rows."""
JUDGED_ROWS = 8192
"""The most rows that penalties are compared on; the problem itself is solved on all."""
LEAST_SHARE = 1e-12
"""Eigenvalues below this share of the largest are rounding."""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """A least-squares problem, taken apart so that any penalty is solved at the price of a product.

    Parameters
    ----------
    inputs, outputs
        (N, F) and (N, G), as given.
    means, output_means
        (F,) and (G,).
    vectors, values
        (F, R) eigenvectors and (R,) eigenvalues of the inputs' covariance.
    sides
        (R, G) covariance of the inputs with the outputs, along the eigenvectors.
    """

    inputs: Floats
    outputs: Floats
    means: Floats
    output_means: Floats
    vectors: Floats
    values: Floats
    sides: Floats

    @classmethod
    def of(cls, inputs: Floats, outputs: Floats) -> Factors:
        """Take a problem apart; memory beside the inputs does not grow with N."""
        means, output_means = inputs.mean(axis=0), outputs.mean(axis=0)
        n = len(inputs)
        square = inputs.T @ inputs / n - np.outer(means, means)
        side = inputs.T @ outputs / n - np.outer(means, output_means)
        values, vectors = np.linalg.eigh(square)
        kept = values > max(float(values[-1]), 0.0) * LEAST_SHARE
        return cls(
            inputs=inputs,
            outputs=outputs,
            means=means,
            output_means=output_means,
            vectors=vectors[:, kept],
            values=values[kept],
            sides=vectors[:, kept].T @ side,
        )

    def solve(self, penalty: float) -> tuple[Floats, Floats]:
        """Return coefficients (F, G) and intercepts (G,) that minimise mean squared error + penalty * squares."""
        weights: Floats = self.vectors @ (self.sides / (self.values + penalty)[:, None])
        intercept: Floats = self.output_means - self.means @ weights
        return weights, intercept

    def left_out(self, penalty: float) -> Floats:
        """Return (N, G) errors, truth minus prediction, of each row by a fit on all others."""
        return np.vstack([errors[0] for errors in self._errors(np.array([penalty]), len(self.inputs))])

    def losses(self, penalties: Floats, rows: int) -> Floats:
        """Return (P,) mean squared leave-one-out errors, over the first so many rows."""
        sums = sum(np.square(errors).sum(axis=(1, 2)) for errors in self._errors(penalties, rows))
        losses: Floats = np.asarray(sums) / (min(rows, len(self.inputs)) * self.outputs.shape[1])
        return losses

    def _errors(self, penalties: Floats, rows: int) -> Iterator[Floats]:
        """Yield (P, R, G) errors of R rows at a time: turned to the eigenvectors once for all penalties."""
        n, shrink = len(self.inputs), 1 / (self.values + penalties[:, None])
        for start in range(0, min(n, rows), CHUNK_ROWS):
            part = slice(start, min(start + CHUNK_ROWS, n, rows))
            turned = (self.inputs[part] - self.means) @ self.vectors
            leverage = np.square(turned) @ shrink.T / n + 1 / n
            away = self.outputs[part] - self.output_means
            found = [
                (away - turned @ (self.sides * each[:, None])) / (1 - leverage[:, at]).clip(1e-6)[:, None]
                for at, each in enumerate(shrink)
            ]
            yield np.stack(found)


def best_penalty(factors: Factors, penalties: Floats) -> float:
    """Return the penalty of least squared leave-one-out error, the largest where some tie."""
    losses = factors.losses(penalties, JUDGED_ROWS)
    return float(penalties[len(losses) - 1 - int(np.argmin(losses[::-1]))])
