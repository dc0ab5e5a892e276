"""Fits a Gaussian process' few numbers to what was seen, with the gradient written out.

At a study's sizes most of a general library's time goes into its own machinery: a step of L-BFGS costs 0.5 ms here
at 50 points of 6 parameters, and 1.8 ms through GPyTorch. `tests/oracle` holds value and gradient to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.core.cube import Floats, Mask

LENGTH_PRIOR = (2.0**0.5, 3.0**0.5)
"""Mean, to which half the logarithm of D is added, and spread of a length's logarithm (Hvarfner et al., 2024): in
more dimensions a function is thought smoother in each, so that the prior complexity stays the same."""
SCALE_PRIOR = (0.0, 1.0)
NOISE_PRIOR = (-8.0, 3.0)
"""Of the variance's logarithm, targets having variance 1: from none to a tenth; most objectives are nearly
exact."""
LENGTHS, SCALES, NOISES = (0.01, 100.0), (0.05, 20.0), (1e-6, 1.0)
SHORT_LENGTH = 0.3
"""Where the second descent starts: a bumpy function's length, which a descent from the prior may miss."""
MOST_STEPS, TOLERANCE = 80, 1e-6
ROOT5 = 5.0**0.5


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A Gaussian process' numbers.

    Parameters
    ----------
    lengths
        (D,) how far one goes in each coordinate until values are unlike.
    scale
        Variance of the function.
    noise
        Variance of what is seen around it.
    mean
        What is expected far from everything.
    """

    lengths: Floats
    scale: float
    noise: float
    mean: float


class Evidence:
    """The negative logarithm of the posterior density of lengths, scale and noise, and its gradient.

    The mean is the one that fits best at each of them, so that it needs no gradient of its own.

    Parameters
    ----------
    points, targets, unordered
        (N, D), (N,) and (D,), as the surrogate has them.
    """

    def __init__(self, points: Floats, targets: Floats, unordered: Mask) -> None:
        gaps = points.T[:, :, None] - points.T[:, None, :]
        squares = np.where(unordered[:, None, None], gaps != 0, np.square(gaps))
        self.width = points.shape[1]
        self._squares = np.ascontiguousarray(squares, dtype=np.float64).reshape(self.width, -1)
        self._targets = targets
        length = LENGTH_PRIOR[0] + np.log(self.width) / 2
        self.middle = np.array([length] * self.width + [SCALE_PRIOR[0], NOISE_PRIOR[0]])
        self._spreads = np.array([LENGTH_PRIOR[1]] * self.width + [SCALE_PRIOR[1], NOISE_PRIOR[1]])

    def __call__(self, logs: Floats) -> tuple[float, Floats]:
        """Return (value, gradient) at the logarithms of lengths, scale and noise."""
        weights, scale, noise = self._numbers(logs)
        far = ROOT5 * np.sqrt(weights @ self._squares)
        decay = scale * np.exp(-far)
        kernel = (1 + far + np.square(far) / 3) * decay
        inverse, log_root = self._inverse(kernel, noise)
        rest = self._targets - self._mean(inverse)
        solved = inverse @ rest
        pull = (inverse - np.outer(solved, solved)).ravel()
        lengths = weights * (self._squares @ (pull * (5 / 6) * (1 + far) * decay))
        among = pull[:: len(rest) + 1].sum()
        away = (logs - self.middle) / self._spreads
        gradient = np.concatenate([lengths, [0.5 * (pull @ kernel), 0.5 * noise * among]]) + away / self._spreads
        return float(0.5 * rest @ solved + log_root + 0.5 * away @ away), gradient

    def fitted(self, logs: Floats) -> Fitted:
        """Return the numbers, with the mean that fits best at them."""
        weights, scale, noise = self._numbers(logs)
        far = ROOT5 * np.sqrt(weights @ self._squares)
        inverse, _ = self._inverse(scale * (1 + far + np.square(far) / 3) * np.exp(-far), noise)
        return Fitted(lengths=np.exp(logs[: self.width]), scale=scale, noise=noise, mean=self._mean(inverse))

    def _numbers(self, logs: Floats) -> tuple[Floats, float, float]:
        return np.exp(-2 * logs[: self.width]), float(np.exp(logs[self.width])), float(np.exp(logs[-1]))

    def _mean(self, inverse: Floats) -> float:
        rows = inverse.sum(axis=0)
        return float((rows @ self._targets) / rows.sum())

    def _inverse(self, kernel: Floats, noise: float) -> tuple[Floats, float]:
        from scipy.linalg import cho_solve, cholesky

        count = len(self._targets)
        covariance = kernel.reshape(count, count).copy()
        covariance[np.diag_indices(count)] += noise
        root = cholesky(covariance, lower=True, check_finite=False)
        inverse: Floats = cho_solve((root, True), np.eye(count), check_finite=False)
        return inverse, float(np.log(np.diag(root)).sum())


def fit(points: Floats, targets: Floats, unordered: Mask) -> Fitted:
    """Return the most probable numbers, of two descents the better one's."""
    from scipy.optimize import minimize

    evidence = Evidence(points, targets, unordered)
    limits = [np.log(LENGTHS)] * evidence.width + [np.log(SCALES), np.log(NOISES)]
    short = evidence.middle.copy()
    short[: evidence.width] = np.log(SHORT_LENGTH)
    options = {"maxiter": MOST_STEPS, "ftol": TOLERANCE}
    found = [
        minimize(evidence, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
        for start in (evidence.middle, short)
    ]
    return evidence.fitted(min(found, key=lambda each: each.fun).x)
