"""Penalised least squares for many penalties at once, each with its exact leave-one-out errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.core.windows import Floats

CHUNK_ROWS = 4096
"""Rows whose leverages are computed at a time: some megabytes, whatever the number of rows."""
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
        weights, intercept = self.solve(penalty)
        errors, n = np.empty_like(self.outputs), len(self.inputs)
        spread = self.vectors / np.sqrt(self.values + penalty)
        for start in range(0, n, CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            leverage = np.square((self.inputs[rows] - self.means) @ spread).sum(axis=1) / n + 1 / n
            residual = self.outputs[rows] - self.inputs[rows] @ weights - intercept
            errors[rows] = residual / (1 - leverage).clip(1e-6)[:, None]
        return errors


def best_penalty(factors: Factors, penalties: Floats) -> float:
    """Return the penalty of least squared leave-one-out error, the largest where some tie."""
    losses = [float(np.square(factors.left_out(float(each))).mean()) for each in penalties]
    return float(penalties[len(losses) - 1 - int(np.argmin(losses[::-1]))])
